//! Format 1 becomes format 2: exchanges leave the main database and become generations.
//!
//! The old directory stays as it is until the new one is complete, so a kill at any moment only
//! means to begin again.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::error::Result;
use crate::store::cipher::Keys;
use crate::store::exchange::Exchange;
use crate::store::generations::Generations;
use crate::store::guard;
use crate::store::guard::Trouble;
use crate::store::io_error;
use crate::store::seal::Sealer;

const OLD: &str = "sled.format-1";
const NEW: &str = "sled.format-2";

/// Ends a migration that was cut short between its last two steps.
///
/// # Errors
/// The disk is gone.
pub fn finish(dir: &Path) -> Result<()> {
    let (path, new) = (dir.join("sled"), dir.join(NEW));
    if !path.exists() && new.exists() {
        fs::rename(&new, &path).map_err(|error| io_error(&path, &error))?;
    }
    for left in [NEW, OLD] {
        let _absent = fs::remove_dir_all(dir.join(left));
    }
    Ok(())
}

/// Makes the closed directory of format 1 one of format 2; returns how many exchanges moved.
///
/// # Errors
/// The disk is full or gone, or the directory is damaged.
pub fn run(dir: &Path, format: &[u8], keys: &Keys, now_ms: i64) -> Result<u64> {
    let (path, new) = (dir.join("sled"), dir.join(NEW));
    let exchanges = dir.join("exchanges");
    for unfinished in [&new, &exchanges] {
        let _absent = fs::remove_dir_all(unfinished);
    }
    let old = guard::open(&sled::Config::new().path(&path)).ok();
    let old = old.ok_or_else(|| Error::from(Trouble::Damaged("it cannot be read".to_owned())))?;
    guard::run(|| copy_rest(&old, &new, format))?;
    let moved = move_exchanges(&old, &exchanges, keys, now_ms)?;
    drop(old);
    let rename = || {
        fs::rename(&path, dir.join(OLD))?;
        fs::rename(&new, &path)
    };
    rename().map_err(|error| io_error(&path, &error))?;
    finish(dir)?;
    Ok(moved)
}

/// Copies every tree but those of the exchanges: only a new file gives their space back.
fn copy_rest(old: &sled::Db, new: &Path, format: &[u8]) -> sled::Result<()> {
    let to = guard::open(&sled::Config::new().path(new))?;
    for name in old.tree_names() {
        if !matches!(&name[..], b"exchanges" | b"answers") {
            let tree = to.open_tree(&name)?;
            for entry in old.open_tree(&name)?.iter() {
                let (key, value) = entry?;
                tree.insert(key, value)?;
            }
        }
    }
    to.insert("format", format)?;
    to.flush().map(drop)
}

fn move_exchanges(old: &sled::Db, dir: &Path, keys: &Keys, now_ms: i64) -> Result<u64> {
    let trees = guard::run(|| Ok((old.open_tree("answers")?, old.open_tree("exchanges")?)))?;
    let (answers, records) = trees;
    let mut rows = guard::run(|| answers.iter().values().collect::<sled::Result<Vec<_>>>())?;
    // The name comes first in a row, and names are in the order of time.
    rows.sort_unstable();
    let mut sealer = Sealer::new(keys.clone()).map_err(|error| io_error(dir, &error))?;
    let generations =
        Generations::open(dir, keys.clone(), now_ms).map_err(|error| io_error(dir, &error))?;
    let mut moved = 0;
    for row in rows {
        let Some(id) = row.first_chunk().copied() else { continue };
        let record = guard::run(|| crate::store::get(&records, &id));
        // One that cannot be read is one answer less, as it would have been before.
        let read = record.ok().flatten().and_then(|record| Exchange::unseal(&record, keys));
        let Some(mut exchange) = read else { continue };
        complete(&mut exchange, id);
        if let Some(record) = exchange.seal(&mut sealer) {
            generations.put(&exchange.row(record.len()), &record, now_ms)?;
            moved += 1;
        }
    }
    generations.flush(true)?;
    Ok(moved)
}

/// Says in the words of format 2 what format 1 left unsaid: it held whole answers only.
fn complete(exchange: &mut Exchange, id: [u8; 16]) {
    let head = &mut exchange.head;
    head.id = crate::key::ExchangeId(id);
    head.asked.dialect.clone_from(&head.dialect);
    head.asked.model.clone_from(&head.target);
    head.asked.stream = head.is_stream;
    "whole".clone_into(&mut head.ended);
    head.not_served = Some("its key is of an older version".to_owned());
}
