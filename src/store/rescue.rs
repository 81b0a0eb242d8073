//! Copies what can still be read of a damaged directory into a fresh one.

use std::collections::BTreeSet;
use std::path::Path;

use crate::key::ExchangeId;
use crate::store::MARK;
use crate::store::cipher::Keys;
use crate::store::exchange::Exchange;
use crate::store::generation;
use crate::store::generation::Generation;
use crate::store::guard;

/// Copies every readable record of the main directory `from`; returns how many there were.
///
/// Each record carries its own checksum, so what is copied wrong is later read as absent.
pub fn copy(from: &Path, to: &sled::Db, is_wanted: impl Fn(&[u8]) -> bool) -> u64 {
    let mut copied = 0;
    // sled may panic at a damaged page; what was copied until then stays.
    let _panicked = guard::catch(|| {
        let Ok(db) = guard::open(&sled::Config::new().path(from)) else { return };
        for name in db.tree_names().into_iter().filter(|name| is_wanted(name)) {
            let trees = db.open_tree(&name).and_then(|old| Ok((old, to.open_tree(&name)?)));
            let Ok((old, new)) = trees else { continue };
            let mut last = None;
            each(&mut old.iter(), |key, value| {
                if *key != *MARK.as_bytes() && new.insert(&key, value).is_ok() {
                    copied += 1;
                }
                last = Some(key);
                true
            });
            each(&mut old.iter().rev(), |key, value| {
                let is_new = last.as_ref().is_none_or(|last| key > *last);
                if is_new && *key != *MARK.as_bytes() && new.insert(&key, value).is_ok() {
                    copied += 1;
                }
                is_new
            });
        }
    });
    copied
}

/// Copies every whole exchange of the damaged generation at `from`; returns how many there were.
pub fn exchanges(from: &Path, to: &Generation, keys: &Keys) -> u64 {
    let segment = generation::segment_of(from).unwrap_or(512 << 10);
    let opened = guard::catch(|| {
        let db = guard::open(&generation::config(from, segment)).ok()?;
        let tree = db.open_tree("exchanges").ok()?;
        Some((db, tree))
    });
    let Ok(Some((db, tree))) = opened else { return 0 };
    let mut copied = 0;
    for id in names(&tree) {
        let record = guard::run(|| generation::read_record(&tree, id)).ok().flatten();
        let read = record.and_then(|record| Some((Exchange::unseal(&record, keys)?, record)));
        if let Some((exchange, record)) = read.filter(|(exchange, _)| exchange.head.id == id) {
            copied += u64::from(to.put(&exchange.row(record.len()), &record).is_ok());
        }
    }
    let _panicked = guard::catch(|| drop((tree, db)));
    copied
}

/// The names in a tree of chunks, from both ends up to whatever cannot be read.
fn names(tree: &sled::Tree) -> BTreeSet<ExchangeId> {
    let mut names = BTreeSet::new();
    let id = |key: &[u8]| key.first_chunk().copied().map(ExchangeId);
    each(&mut tree.iter(), |key, _| {
        names.extend(id(&key));
        true
    });
    let last = names.last().copied();
    each(&mut tree.iter().rev(), |key, _| {
        let id = id(&key);
        names.extend(id);
        id > last
    });
    names
}

/// Shows the entries up to one that cannot be read, or until `show` gives false.
fn each(
    entries: &mut dyn Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    mut show: impl FnMut(sled::IVec, sled::IVec) -> bool,
) {
    let _panicked = guard::catch(|| {
        for (key, value) in entries.map_while(Result::ok) {
            if !show(key, value) {
                return;
            }
        }
    });
}
