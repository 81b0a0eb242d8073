//! Directories of other formats: an older one is migrated, a newer one refused.

use std::fs;
use std::path::Path;

use serde::Serialize;
use tempfile::TempDir;
use understudy::key::ExchangeId;
use understudy::pair::PairId;
use understudy::store::Store;
use understudy::store::cipher::Keys;
use understudy::store::seal::Sealer;

use super::disk;
use super::exchange;
use super::key;
use crate::harness::reopen_db;

/// A head as format 1 had it.
#[derive(Serialize)]
struct Head {
    request_id: String,
    key: String,
    target: String,
    dialect: String,
    assigned: Option<String>,
    is_stream: bool,
    status: u16,
    content_type: String,
    answered_ms: i64,
    took_us: u64,
    lengths: Vec<(u64, u32)>,
}

const CHUNK: usize = 56_000;

/// A record as format 1 had it: the request and two frames, the second one of noise.
fn record(sealer: &mut Sealer, number: u64, noise: &[u8]) -> Vec<u8> {
    let request = format!("{{\"number\":{number}}}");
    let head = Head {
        request_id: format!("req-{number}"),
        key: key(number).to_string(),
        target: "p/m".into(),
        dialect: "openai".into(),
        assigned: None,
        is_stream: number.is_multiple_of(2),
        status: 200,
        content_type: "application/json".into(),
        answered_ms: 1_000 + number as i64,
        took_us: 5,
        lengths: vec![(3, 5), (9, noise.len() as u32)],
    };
    let length = (request.len() as u32).to_le_bytes();
    sealer.seal(&head, &[&length, request.as_bytes(), b"first", noise]).unwrap()
}

fn noise(number: u64) -> Vec<u8> {
    let mut noise = vec![0; if number == 7 { 200_000 } else { 900 }];
    fastrand::Rng::with_seed(number).fill(&mut noise);
    noise
}

fn name(number: u64) -> [u8; 16] {
    (u128::from(number) + (1 << 90)).to_be_bytes()
}

/// Writes a directory of format 1 with so many exchanges, a pair and a counter.
fn write_first(dir: &Path, count: u64) {
    fs::create_dir_all(dir).unwrap();
    let db = sled::open(dir.join("sled")).unwrap();
    let (records, answers) = (db.open_tree("exchanges").unwrap(), db.open_tree("answers").unwrap());
    let mut sealer = Sealer::new(Keys::default()).unwrap();
    for number in 0..count {
        let record = record(&mut sealer, number, &noise(number));
        for (chunk, piece) in (0u16..).zip(record.chunks(CHUNK)) {
            let place = [&name(number)[..], &chunk.to_be_bytes()].concat();
            records.insert(place, piece).unwrap();
        }
        let (answered, bytes) = (1_000 + number as i64, record.len() as u32);
        let row = [&name(number)[..], &answered.to_le_bytes(), &bytes.to_le_bytes()].concat();
        answers.insert(key(number).0, row).unwrap();
    }
    db.open_tree("pairs").unwrap().insert([&[9; 16][..], b"intent\0\0"].concat(), "x").unwrap();
    db.open_tree("funnel").unwrap().insert("trial", "counted").unwrap();
    db.insert("promised", &5u64.to_be_bytes()).unwrap();
    db.insert("mark", &3u64.to_be_bytes()).unwrap();
    db.insert("format", "1").unwrap();
    db.flush().unwrap();
    fs::write(dir.join("sled.mark"), 3u64.to_be_bytes()).unwrap();
}

fn check_migrated(dir: &Path, count: u64) {
    let opened = Store::open(dir).unwrap();
    assert_eq!(opened.damage, None);
    let store = opened.store;
    store.wait_loaded();
    assert_eq!(store.funnel("trial").unwrap(), b"counted");
    assert_eq!(store.promised().unwrap(), 5);
    assert!(store.pair_ids().unwrap().contains(&PairId([9; 16])));
    let mut listed = 0;
    store.scan(None, &mut |found| {
        listed += 1;
        let number = count - listed;
        assert_eq!(found.head.id, ExchangeId(name(number)));
        assert_eq!(found.head.key, key(number));
        assert_eq!(found.head.asked.dialect, "openai");
        assert_eq!((found.head.ended.as_str(), found.head.fresh_until_ms), ("whole", 0));
        assert_eq!(&found.request[..], format!("{{\"number\":{number}}}").as_bytes());
        assert_eq!(&found.frames[0].bytes[..], b"first");
        assert_eq!(&found.frames[1].bytes[..], noise(number));
        true
    });
    assert_eq!(listed, count);
    assert!(store.find_request("req-3").is_some());
    assert!(!store.has_answer(&key(3)), "a key of version 1 is looked for");
    store.put_exchange(&exchange(1_000)).unwrap();
    assert_eq!(store.answers(&key(1_000)).len(), 1);
    store.mark().unwrap();
}

#[test]
fn a_directory_of_the_first_format_is_migrated_with_everything_in_it() {
    let dir = TempDir::new().unwrap();
    write_first(dir.path(), 2_000);
    let before = disk(dir.path());
    check_migrated(dir.path(), 2_000);
    let after = disk(dir.path());
    println!("{before} bytes before, {after} after");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert!(names.iter().all(|entry| !entry.file_name().to_string_lossy().contains("format")));
    assert!(disk(&dir.path().join("sled")) < 2 << 20, "the main database keeps their space");
    let store = Store::open(dir.path()).unwrap().store;
    assert_eq!(store.size().exchanges, 2_001, "migrated again");
}

/// What a process that was killed at that moment left.
type Cut = fn(&Path);

/// Each is a moment at which the process was killed while it migrated.
#[test]
fn a_migration_that_was_cut_short_is_finished() {
    let cut: [(&str, Cut); 3] = [
        ("while copying", |dir| {
            write_first(&dir.join("exchanges/000001"), 3);
            fs::create_dir_all(dir.join("sled.format-2/blobs")).unwrap();
        }),
        ("before the last but one step", |dir| {
            super::damage::copy(&dir.join("sled"), &dir.join("sled.format-2"));
        }),
        ("before the last step", |dir| {
            let (old, new) = (dir.join("sled"), dir.join("sled.format-2"));
            let again = TempDir::new().unwrap();
            super::damage::copy(dir, again.path());
            drop(Store::open(again.path()).unwrap());
            fs::rename(&old, dir.join("sled.format-1")).unwrap();
            super::damage::copy(&again.path().join("sled"), &new);
            super::damage::copy(&again.path().join("exchanges"), &dir.join("exchanges"));
        }),
    ];
    for (moment, cut) in cut {
        println!("{moment}");
        let dir = TempDir::new().unwrap();
        write_first(dir.path(), 50);
        cut(dir.path());
        check_migrated(dir.path(), 50);
        assert!(!dir.path().join("sled.format-1").exists());
    }
}

#[test]
fn a_directory_of_a_newer_format_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let db = reopen_db(dir.path());
    db.insert("format", "3").unwrap();
    drop(db);
    for _ in 0..2 {
        let error = Store::open(dir.path()).err().unwrap().to_string();
        let expected = "it holds format 3, this program writes format 2: name another data_dir";
        assert!(error.contains(expected), "{error}");
    }
}
