//! Encryption at rest: what a directory tells without the key, and what becomes of it when keys change.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;
use understudy::chat::Frame;
use understudy::feedback::Said;
use understudy::store::Store;
use understudy::store::cipher::Keys;
use understudy::store::exchange::Exchange;

use super::exchange;
use super::id;
use super::key;

/// Words that would be found again anywhere.
const PROMPT: &str = "canaryPrompt7";
const UNIT: &str = "canaryUnit7";

fn keys(words: &[&str]) -> Keys {
    Keys::new(&words.iter().map(|words| SecretString::from(*words)).collect::<Vec<_>>())
}

fn telling(number: u64) -> Exchange {
    let frames = vec![Frame { at_us: 1, bytes: Bytes::from_static(b"answer") }];
    // With noise, because otherwise compression would hide the words.
    let mut request = vec![0; 4000];
    fastrand::Rng::with_seed(number).fill(&mut request);
    request.extend_from_slice(PROMPT.as_bytes());
    Exchange { request: Bytes::from(request), frames, ..exchange(number) }
}

/// Every file below a directory, whole.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(fs::read(entry.path()).unwrap()),
        }
    }
    found
}

fn tells(dir: &Path, word: &str) -> bool {
    let holds = |file: &Vec<u8>| memchr::memmem::find(file, word.as_bytes()).is_some();
    files(dir).iter().any(holds)
}

fn store(dir: &Path, keys: &Keys) -> Store {
    let opened = Store::open_with(dir, keys).unwrap();
    assert_eq!(opened.damage, None);
    opened.store.wait_loaded();
    opened.store
}

fn has(store: &Store, number: u64) -> bool {
    let found = store.exchange(id(number));
    if let Some(found) = &found {
        assert_eq!(found.request, telling(number).request);
        assert_eq!(store.answers(&key(number)).len(), 1);
    }
    found.is_some()
}

#[test]
fn an_encrypted_directory_tells_nothing_and_a_plain_one_does() {
    for (keys, expected) in [(Keys::default(), true), (keys(&["one"]), false)] {
        let dir = TempDir::new().unwrap();
        let store = store(dir.path(), &keys);
        store.put_exchange(&telling(1)).unwrap();
        let said: Said = serde_json::from_value(json!({
            "request_id": "r", "comment": UNIT, "variant": "v", "epoch": 1, "at_ms": 1,
        }))
        .unwrap();
        store.put_said("trial", [1; 16], &said).unwrap();
        assert_eq!(store.said("trial", [1; 16]), Some(said));
        assert!(has(&store, 1));
        store.mark().unwrap();
        drop(store);
        assert_eq!(tells(dir.path(), PROMPT), expected);
        assert_eq!(tells(dir.path(), UNIT), expected);
    }
}

#[test]
fn keys_rotate_and_what_was_written_before_remains_readable() {
    let dir = TempDir::new().unwrap();
    let write = |keys: &Keys, number| {
        let store = store(dir.path(), keys);
        store.put_exchange(&telling(number)).unwrap();
        store.mark().unwrap();
        (1..=number).map(|number| has(&store, number)).collect::<Vec<_>>()
    };
    assert_eq!(write(&Keys::default(), 1), [true]);
    assert_eq!(write(&keys(&["one"]), 2), [true, true]);
    assert_eq!(write(&keys(&["two", "one"]), 3), [true, true, true]);
    // Without its key what the first wrote is as if it were not there.
    assert_eq!(write(&keys(&["two"]), 4), [true, false, true, true]);
}

#[test]
fn a_directory_is_not_opened_without_the_key_that_wrote_last() {
    let dir = TempDir::new().unwrap();
    store(dir.path(), &keys(&["one"])).put_exchange(&telling(1)).unwrap();
    for wrong in [Keys::default(), keys(&["two"])] {
        let error = Store::open_with(dir.path(), &wrong).err().unwrap();
        assert!(error.detail.contains("encryption_keys"), "{}", error.detail);
    }
    assert!(has(&store(dir.path(), &keys(&["two", "one"])), 1));
}
