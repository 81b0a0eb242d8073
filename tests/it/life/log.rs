//! The decision log on disk: what is written is found again, and what is changed is named.

use std::path::Path;
use std::time::Instant;

use understudy::experiment::life::By;
use understudy::experiment::life::Event;
use understudy::store::Store;
use understudy::store::log::Audit;
use understudy::store::log::Broken;
use understudy::store::log::Draft;

use crate::harness::PATIENCE;
use crate::harness::reopen_db;

fn draft(number: i64) -> Draft {
    let event = Event::Paused { by: By::Person, why: format!("reason {number}") };
    let (experiment, definition) = ("trial".to_owned(), "d".to_owned());
    Draft { at_ms: number, experiment, event, definition }
}

/// The directory may stay locked for a moment after it was closed.
fn open(dir: &Path) -> Store {
    let began = Instant::now();
    loop {
        match Store::open(dir) {
            Ok(opened) => return opened.store,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
    }
}

fn broken(audit: &Audit) -> Option<(u64, &str)> {
    audit.broken.as_ref().map(|Broken { seq, why }| (*seq, why.as_str()))
}

/// Writes five entries, lets `damage` have the tree, and gives what is then found wrong.
fn check(damage: impl FnOnce(&sled::Tree), wanted: Option<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append_log(&[draft(1), draft(2)]).unwrap();
    store.append_log(&[draft(3), draft(4), draft(5)]).unwrap();
    let audit = store.audit_log().unwrap();
    assert_eq!((audit.entries.len(), broken(&audit)), (5, None));
    store.mark().unwrap();
    drop(store);
    let db = reopen_db(dir.path());
    damage(&db.open_tree("log").unwrap());
    db.flush().unwrap();
    drop(db);
    let store = open(dir.path());
    let found = store.audit_log().unwrap();
    assert_eq!(broken(&found).map(|(seq, _)| seq), wanted, "{found:?}");
    if wanted.is_none() {
        // What comes later follows what was there.
        let added = store.append_log(&[draft(6)]).unwrap();
        assert_eq!((added[0].seq, &added[0].prev), (6, &found.entries[4].hash));
        assert_eq!(store.audit_log().unwrap().broken, None);
    }
}

#[test]
fn a_log_is_found_again_as_it_was_written_and_goes_on() {
    check(|_| {}, None);
}

#[test]
fn every_changed_byte_of_an_entry_is_found() {
    check(
        |tree| {
            let key = 3u64.to_be_bytes();
            let text = String::from_utf8(tree.get(key).unwrap().unwrap().to_vec()).unwrap();
            tree.insert(key, text.replace("reason 3", "reason 4").as_bytes()).unwrap();
        },
        Some(3),
    );
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let line = |entry| serde_json::to_string(&entry).unwrap();
    let before: Vec<String> =
        store.append_log(&[draft(1)]).unwrap().into_iter().map(line).collect();
    let after: Vec<String> = store.audit_log().unwrap().entries.into_iter().map(line).collect();
    assert_eq!(before, after);
}

#[test]
fn an_entry_that_is_gone_moved_or_spaced_differently_is_found() {
    let key = |seq: u64| seq.to_be_bytes();
    check(|tree| drop(tree.remove(key(2)).unwrap()), Some(2));
    check(|tree| drop(tree.remove(key(1)).unwrap()), Some(1));
    check(
        |tree| {
            let four = tree.get(key(4)).unwrap().unwrap();
            tree.insert(key(3), four).unwrap();
        },
        Some(3),
    );
    check(
        |tree| {
            let text = tree.get(key(5)).unwrap().unwrap();
            let text = String::from_utf8(text.to_vec()).unwrap().replacen(':', ": ", 1);
            tree.insert(key(5), text.as_bytes()).unwrap();
        },
        Some(5),
    );
}
