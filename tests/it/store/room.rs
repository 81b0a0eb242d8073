//! How much room the exchanges take, when they go, and what that leaves.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;
use understudy::store::Store;

use super::disk;
use super::exchange;
use super::generations;
use super::id;
use super::is_right;
use super::key;
use super::now_ms;
use super::sized;
use super::there;

const MAX_BYTES: u64 = 16 << 20;

/// Sizes as they come: many small ones, and now and then a large one.
fn mixed(rng: &mut fastrand::Rng) -> usize {
    match rng.u32(..100) {
        0..70 => rng.usize(200..4_000),
        70..95 => rng.usize(4_000..16_000),
        95..99 => rng.usize(16_000..100_000),
        _ => rng.usize(100_000..600_000),
    }
}

fn open(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap().store;
    store.limit(MAX_BYTES);
    store
}

#[test]
fn five_times_as_much_as_fits_never_takes_a_third_more_and_the_newest_stays() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let mut rng = fastrand::Rng::with_seed(3);
    let (mut written, mut number, mut most) = (0, 0, 0);
    while written < 5 * MAX_BYTES {
        let size = mixed(&mut rng);
        store.put_exchange(&sized(number, size)).unwrap();
        written += size as u64;
        if number % 50 == 0 {
            store.flush().unwrap();
        }
        let now = disk(dir.path());
        most = most.max(now);
        assert!(now * 10 < MAX_BYTES * 13, "{now} bytes after {written} were written");
        number += 1;
    }
    let size = store.size();
    println!("{number} exchanges, {written} bytes; at most {most} on disk; in the end {size:?}");
    assert!(size.packed_bytes > MAX_BYTES / 4, "hardly anything is kept: {size:?}");
    assert!(store.events().dropped_generations >= 10);
    let kept = there(&store, number);
    assert_eq!(kept.iter().filter(|is_there| **is_there).count() as u64, size.exchanges);
    assert!(kept[kept.len() - 100..].iter().all(|is_there| *is_there), "a new one is gone");
    assert!(!store.has_answer(&key(0)), "it is dropped, but still looked for");
    drop(store);
    let store = open(dir.path());
    store.wait_loaded();
    assert_eq!(there(&store, number), kept, "other ones are there after a start");
}

#[test]
fn what_is_over_gives_its_space_back() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    for number in 0..1_000 {
        let mut old = sized(number, 2_000);
        (old.head.answered_ms, old.head.fresh_until_ms) = (1_000, 2_000);
        store.put_exchange(&old).unwrap();
    }
    store.flush().unwrap();
    let full = disk(&dir.path().join("exchanges"));
    assert!(full > 2_000_000, "{full}");
    assert_eq!(store.sweep(MAX_BYTES, 999).unwrap(), 0, "none of it is old yet");
    let mut gone = 0;
    for _ in 0..10 {
        gone += store.sweep(MAX_BYTES, 1_001).unwrap();
    }
    assert_eq!(gone, 1_000);
    let left = disk(&dir.path().join("exchanges"));
    assert!(left < 1 << 20, "{left} bytes are left of {full}");
    store.put_exchange(&exchange(7)).unwrap();
    assert!(store.answers(&key(7)).iter().all(|found| is_right(found, 7)));
    assert_eq!(store.sweep(MAX_BYTES, now_ms() + 1).unwrap(), 0, "it may still be served");
    assert_eq!(store.size().exchanges, 1);
}

#[test]
fn what_is_forgotten_one_by_one_gives_its_space_back() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    (0..1_000).for_each(|number| store.put_exchange(&sized(number, 3_000)).unwrap());
    for number in 0..1_000 {
        assert!(store.forget_exchange(id(number)).unwrap());
        assert!(!store.forget_exchange(id(number)).unwrap());
    }
    assert_eq!((store.size().exchanges, store.size().packed_bytes), (0, 0));
    assert!((0..1_000).all(|number| !store.has_answer(&key(number))));
    // A sweep is short, so what there is goes in several.
    for _ in 0..4 {
        store.sweep(MAX_BYTES, 0).unwrap();
    }
    assert!(store.size().disk_bytes < 1 << 20, "{:?}", store.size());
}

#[test]
fn an_answer_is_found_by_key_by_prompt_by_name_and_by_request() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    for number in 0..40 {
        store.put_exchange(&exchange(number)).unwrap();
    }
    let mut second = exchange(100);
    second.head.key = key(8);
    second.head.answered_ms += 5;
    store.put_exchange(&second).unwrap();
    let mut unserved = exchange(101);
    (unserved.head.key, unserved.head.fresh_until_ms) = (key(8), 0);
    store.put_exchange(&unserved).unwrap();
    for store in [store.clone(), store] {
        let ids = |found: Vec<understudy::store::exchange::Exchange>| -> Vec<_> {
            found.into_iter().map(|found| found.head.id).collect()
        };
        assert_eq!(ids(store.answers(&key(8))), [id(100), id(8)], "the newest first");
        let mut like = ids(store.answers_like(&key(9)));
        like.sort();
        assert_eq!(like, [id(8), id(9), id(100)], "of every tenant");
        assert_eq!(store.find_request("req-17").unwrap().head.id, id(17));
        assert!(store.find_request("req-99").is_none());
        let mut seen = Vec::new();
        store.scan(Some(id(30)), &mut |found| {
            seen.push(found.head.id);
            seen.len() < 12
        });
        assert_eq!(seen, (18..30).rev().map(id).collect::<Vec<_>>());
        let mut all = 0;
        store.scan(None, &mut |_| {
            all += 1;
            true
        });
        assert_eq!(all, 42);
    }
}

#[test]
fn a_scan_goes_by_age_through_all_generations() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    // Not in order, as an import may write them.
    let numbers: Vec<u64> = (0..800).map(|number| number * 7 % 800).collect();
    numbers.iter().for_each(|number| store.put_exchange(&sized(*number, 4_000)).unwrap());
    assert!(generations(dir.path()).len() > 3);
    let mut seen = Vec::new();
    store.scan(None, &mut |found| {
        seen.push(found.head.id);
        true
    });
    assert_eq!(seen, (0..800).rev().map(id).collect::<Vec<_>>());
}

/// How long until the store takes and serves, and until it has everything.
fn start(dir: &Path, probe: u64) -> (Duration, Duration) {
    let began = Instant::now();
    let store = Store::open(dir).unwrap().store;
    store.put_exchange(&exchange(10_000_000)).unwrap();
    assert_eq!(store.answers(&key(10_000_000)).len(), 1);
    let ready = began.elapsed();
    store.wait_loaded();
    let whole = began.elapsed();
    assert!(is_right(&store.exchange(id(probe)).unwrap(), probe));
    (ready, whole)
}

#[test]
#[ignore = "two minutes: it writes 100,000 exchanges; --nocapture shows the times"]
fn a_start_with_a_hundred_thousand_exchanges_serves_at_once() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap().store;
    (0..100_000).for_each(|number| store.put_exchange(&sized(number, 2_000)).unwrap());
    store.flush().unwrap();
    let before = resident();
    // As after kill -9: the files are as they are now.
    let copied = TempDir::new().unwrap();
    super::damage::copy(dir.path(), copied.path());
    let held = store.size();
    drop(store);
    println!("{held:?} in {} generations; {before} KB resident", generations(dir.path()).len());
    for _ in 0..5 {
        let (ready, whole) = start(copied.path(), 0);
        println!("serves after {ready:?}, everything is there after {whole:?}");
        assert!(ready < Duration::from_secs(1));
    }
}

#[test]
#[ignore = "half an hour, or SOAK_SECONDS: --nocapture shows memory and disk"]
fn memory_and_disk_stay_flat_for_as_long_as_it_runs() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(1_800));
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let mut rng = fastrand::Rng::with_seed(5);
    let (began, mut number, mut warm, mut most) = (Instant::now(), 0, None, 0);
    let mut told = Instant::now();
    while began.elapsed() < length {
        for _ in 0..100 {
            store.put_exchange(&sized(number, mixed(&mut rng))).unwrap();
            assert!(store.answers(&key(number)).len() == 1);
            let _miss_or_hit = store.answers(&key(rng.u64(..=number)));
            number += 1;
        }
        store.mark().unwrap();
        store.sweep(MAX_BYTES, 0).unwrap();
        let taken = disk(dir.path());
        assert!(taken * 10 < MAX_BYTES * 13, "{taken} bytes on disk");
        if began.elapsed() > length / 4 && warm.is_none() {
            warm = Some(resident());
        }
        most = most.max(if warm.is_some() { resident() } else { 0 });
        if told.elapsed() > length / 20 {
            told = Instant::now();
            println!(
                "{:>6.0?}: {number} written, {taken} on disk, {} KB",
                began.elapsed(),
                resident()
            );
        }
    }
    let warm = warm.unwrap();
    println!("{number} written; {warm} KB when warm, {most} KB at most");
    assert!(most < warm + warm / 5 + 8_192, "memory grew from {warm} to {most} KB");
}

/// Resident memory, KB; 0 where the system does not tell.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
