//! Copies what can still be read of a damaged directory into a fresh one.

use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::store::MARK;
use crate::store::catch;

/// How long a directory that was just closed may stay locked.
const UNLOCK: Duration = Duration::from_secs(5);

/// Copies every readable record of the directory `from`; returns how many there were.
///
/// Each record carries its own checksum, so what is copied wrong is later read as absent.
pub fn copy(from: &Path, to: &sled::Db) -> u64 {
    let mut copied = 0;
    // sled may panic at a damaged page; what was copied until then stays.
    let _panicked = catch(|| {
        let Some(db) = open(from) else { return };
        for name in db.tree_names() {
            let trees = db.open_tree(&name).and_then(|old| Ok((old, to.open_tree(&name)?)));
            let Ok((old, new)) = trees else { continue };
            for (key, value) in old.iter().map_while(Result::ok) {
                if *key != *MARK.as_bytes() && new.insert(key, value).is_ok() {
                    copied += 1;
                }
            }
        }
    });
    copied
}

#[allow(clippy::disallowed_methods, reason = "opening sled blocks anyway, once, at the start")]
fn open(path: &Path) -> Option<sled::Db> {
    let began = Instant::now();
    loop {
        match sled::Config::new().path(path).mode(sled::Mode::LowSpace).open() {
            Ok(db) => return Some(db),
            Err(sled::Error::Io(_)) if began.elapsed() < UNLOCK => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(_) => return None,
        }
    }
}
