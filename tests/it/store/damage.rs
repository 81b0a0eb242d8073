//! Bytes that changed on disk: nothing ends, nothing wrong is ever returned, and it is told.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use tempfile::TempDir;
use understudy::store::Store;

use super::exchange;
use super::generations;
use super::is_right;
use super::key;
use super::there;

/// Exchanges in the directory that is damaged.
const STORED: u64 = 600;

const MAX_BYTES: u64 = 8 << 20;

type Damage = fn(&mut Vec<u8>, &mut fastrand::Rng);

const DAMAGES: &[(&str, Damage)] = &[
    ("one bit", |bytes, rng| flip(bytes, rng, 1)),
    ("twenty bits", |bytes, rng| flip(bytes, rng, 20)),
    ("a page of zeros", |bytes, rng| {
        let at = rng.usize(..bytes.len() / 4096 + 1) * 4096;
        let end = bytes.len().min(at + 4096);
        bytes[at.min(end)..end].fill(0);
    }),
    ("cut", |bytes, rng| bytes.truncate(rng.usize(..bytes.len().max(1)))),
    ("noise at the end", |bytes, rng| {
        let at = bytes.len() - bytes.len() / 8;
        rng.fill(&mut bytes[at..]);
    }),
];

fn flip(bytes: &mut [u8], rng: &mut fastrand::Rng, count: usize) {
    for _ in 0..count {
        let at = rng.usize(..bytes.len());
        bytes[at] ^= 1 << rng.u8(..8);
    }
}

/// Copies a directory with everything in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Every file with something in it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false if entry.metadata().unwrap().len() > 0 => found.push(entry.path()),
            false => {}
        }
    }
    found.sort();
    found
}

fn filled(dir: &Path) {
    let store = Store::open(dir).unwrap().store;
    store.limit(MAX_BYTES);
    (0..STORED).for_each(|number| store.put_exchange(&exchange(number)).unwrap());
    store.mark().unwrap();
    assert!(there(&store, STORED).iter().all(|is_there| *is_there));
    drop(store);
    assert!(generations(dir).len() > 2, "{:?}", generations(dir));
}

/// Opens, reads and writes a damaged directory; how many exchanges are there.
fn survive(dir: &Path, what: &str) -> usize {
    let store = Store::open(dir).unwrap_or_else(|error| panic!("{what}: {error}")).store;
    store.limit(MAX_BYTES);
    store.wait_loaded();
    let first = there(&store, STORED);
    store.scan(None, &mut |_| true);
    // What was met while reading is mended by now or a moment later.
    store.wait_loaded();
    let second = there(&store, STORED);
    let fresh = 1_000_000;
    store.put_exchange(&exchange(fresh)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(store.answers(&key(fresh)).iter().any(|found| is_right(found, fresh)), "{what}");
    store.mark().unwrap_or_else(|error| panic!("{what}: {error}"));
    drop(store);
    let store = Store::open(dir).unwrap_or_else(|error| panic!("{what}, again: {error}")).store;
    store.wait_loaded();
    let third = there(&store, STORED);
    assert!(store.exchange(super::id(fresh)).is_some(), "{what}: a new one is lost");
    let count = |there: &[bool]| there.iter().filter(|is_there| **is_there).count();
    assert!(count(&second) <= count(&third) + 1, "{what}: lost again");
    count(&first).max(count(&third))
}

/// How many exchanges are left without the generation that holds the most.
fn least_left(dir: &Path) -> usize {
    let without = |generation: &PathBuf| {
        let copied = TempDir::new().unwrap();
        copy(dir, copied.path());
        let gone = copied.path().join("exchanges").join(generation.file_name().unwrap());
        fs::remove_dir_all(&gone).unwrap();
        fs::remove_file(gone.with_extension("mark")).unwrap();
        let store = Store::open(copied.path()).unwrap().store;
        store.wait_loaded();
        there(&store, STORED).into_iter().filter(|is_there| *is_there).count()
    };
    generations(dir).iter().map(without).min().unwrap()
}

/// Damages one file after another, each in one of the ways.
fn check(rounds: u64) {
    let dir = TempDir::new().unwrap();
    filled(dir.path());
    let least = least_left(dir.path());
    for round in 0..rounds {
        let mut rng = fastrand::Rng::with_seed(round);
        let copied = TempDir::new().unwrap();
        copy(dir.path(), copied.path());
        let files = files(copied.path());
        let file = &files[round as usize % files.len()];
        let (name, damage) = DAMAGES[rng.usize(..DAMAGES.len())];
        let mut bytes = fs::read(file).unwrap();
        damage(&mut bytes, &mut rng);
        fs::write(file, bytes).unwrap();
        let what = format!("{round}: {name} in {}", file.display());
        let left = survive(copied.path(), &what);
        println!("{left:>4} left; {what}");
        assert!(left >= least, "{what}: it took more than its own generation");
    }
}

#[test]
fn damage_in_any_file_is_confined_and_never_read_as_an_answer() {
    check(16);
}

#[test]
#[ignore = "minutes"]
fn much_damage_in_any_file_is_confined_and_never_read_as_an_answer() {
    check(1_500);
}
