//! A journal of promised pairs: in a file from the moment they are handed over until sled has them.
//!
//! sled keeps what it is given in memory until a flush, and a flush waits for the disk. A process
//! that is killed meanwhile would take with it pairs whose answers applications already have. An
//! append takes microseconds and survives the process; a power cut may still undo it.
//!
//! Two files take turns: one grows while the other waits until sled has everything in it. Each is
//! a row of `[length u32 le][sealed entry]`; entries are numbered, and sled holds the number of
//! the last one it has, so that none is taken twice.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::pair::PairId;
use crate::store::Store;
use crate::store::cipher::Keys;
use crate::store::failed;
use crate::store::seal;
use crate::store::unusable;

/// A file that is longer than this gives way to the other one, bytes.
const TURN: u64 = 256 << 10;

/// Where sled keeps the number of the last promise it has.
const LAST: &str = "promised";

/// The journal, open for writing.
pub struct Journal {
    active: Part,
    other: Part,
    last: u64,
    stored: Arc<AtomicU64>,
    sealer: seal::Sealer,
}

/// One of the two files.
struct Part {
    file: File,
    bytes: u64,
    /// The number of its last entry.
    last: u64,
}

#[derive(Serialize, Deserialize)]
struct EntryHead {
    number: u64,
    id: [u8; 16],
    intent: IntentHead,
}

impl Journal {
    /// Opens both files, and gives what a former process promised and `store` does not have.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(dir: &Path, store: &Store) -> Result<(Self, Vec<(PairId, Intent)>)> {
        let stored = store.promised()?;
        let mut left = Vec::new();
        let mut part = |name| {
            let path = dir.join(name);
            Part::open(&path, store.keys(), &mut left)
                .map_err(|error| unusable(&path, &error.to_string()))
        };
        let (active, other) = (part("promised-0")?, part("promised-1")?);
        left.sort_unstable_by_key(|(number, ..)| *number);
        let last = left.last().map_or(stored, |(number, ..)| stored.max(*number));
        let left = left.into_iter().filter(|(number, ..)| *number > stored);
        let left = left.map(|(_, id, intent)| (id, intent)).collect();
        let sealer = seal::Sealer::new(store.keys().clone())
            .map_err(|error| unusable(dir, &error.to_string()))?;
        let stored = Arc::new(AtomicU64::new(stored));
        Ok((Self { active, other, last, stored, sealer }, left))
    }

    /// Where to note the number of the last promise that sled has.
    pub fn stored(&self) -> Arc<AtomicU64> {
        self.stored.clone()
    }

    /// The number of the last promise.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Writes a promise down.
    ///
    /// # Errors
    /// The disk is full or gone; the journal then is as it was.
    pub fn append(&mut self, id: PairId, intent: &Intent) -> io::Result<()> {
        self.last += 1;
        let head = EntryHead { number: self.last, id: id.0, intent: intent.head.clone() };
        let entry =
            self.sealer.seal(&head, &[&intent.request]).ok_or(io::ErrorKind::InvalidData)?;
        let length = u32::try_from(entry.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        if self.active.bytes > TURN && self.other.last <= self.stored.load(Ordering::Acquire) {
            self.other.clear()?;
            std::mem::swap(&mut self.active, &mut self.other);
        }
        self.active.append(&[&length.to_le_bytes()[..], &entry].concat(), self.last)
    }

    /// Empties both files, once sled has everything.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn clear(&mut self) -> Result<()> {
        let cleared = self.active.clear().and_then(|()| self.other.clear());
        cleared.map_err(|error| {
            Error::new(Kind::Store, format!("the journal cannot be emptied: {error}"))
        })
    }
}

impl Part {
    fn open(path: &Path, keys: &Keys, left: &mut Vec<(u64, PairId, Intent)>) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rest = &bytes[..];
        let mut last = 0;
        // What follows a damaged entry cannot be found; only a power cut damages one.
        while let Some((entry, behind)) = split(rest) {
            let Some((head, request)) = seal::unseal::<EntryHead>(entry, keys) else { break };
            last = head.number;
            left.push((last, PairId(head.id), Intent { head: head.intent, request }));
            rest = behind;
        }
        Ok(Self { file, bytes: bytes.len() as u64, last })
    }

    fn append(&mut self, entry: &[u8], number: u64) -> io::Result<()> {
        if let Err(error) = self.file.write_all(entry) {
            // Half an entry would hide those behind it.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += entry.len() as u64;
        self.last = number;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Store {
    /// The number of the last promise that is stored here as a pair.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn promised(&self) -> Result<u64> {
        let found = self.main()?.db.get(LAST).map_err(|e| failed(&e))?;
        let number = found.and_then(|bytes| <[u8; 8]>::try_from(&*bytes).ok());
        Ok(number.map_or(0, u64::from_be_bytes))
    }

    /// Notes the number of the last promise; the next flush brings it to disk with the pairs.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_promised(&self, number: u64) -> Result<()> {
        self.main()?.db.insert(LAST, &number.to_be_bytes()).map(drop).map_err(|e| failed(&e))
    }
}

/// The first entry, and what is behind it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::sync::atomic::Ordering;

    use bytes::Bytes;

    use super::Journal;
    use super::TURN;
    use crate::pair::Intent;
    use crate::pair::IntentHead;
    use crate::pair::PairId;
    use crate::store::Store;

    fn promise(number: u8, size: usize) -> (PairId, Intent) {
        let head = IntentHead {
            experiment: "e".into(),
            dialect: "openai".into(),
            in_path: None,
            variants: vec!["control".into(), "new".into()],
            request_id: number.to_string(),
            created_ms: 7,
            unit: None,
            route: String::new(),
            tenant: String::new(),
            headers: BTreeMap::new(),
            is_redacted: false,
        };
        // Random, so that compression does not make it small.
        let mut request = vec![0; size];
        fastrand::Rng::with_seed(u64::from(number)).fill(&mut request);
        (PairId([number; 16]), Intent { head, request: Bytes::from(request) })
    }

    #[test]
    fn what_sled_does_not_have_is_found_again_in_order_and_the_rest_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let (mut journal, left) = Journal::open(dir.path(), &store).unwrap();
        assert!(left.is_empty());
        for number in 1..=5 {
            let (id, intent) = promise(number, 100);
            journal.append(id, &intent).unwrap();
        }
        store.put_promised(2).unwrap();
        let (mut journal, left) = Journal::open(dir.path(), &store).unwrap();
        assert_eq!(left, [3, 4, 5].map(|number| promise(number, 100)));
        assert_eq!(journal.last(), 5);
        journal.clear().unwrap();
        store.put_promised(5).unwrap();
        let (journal, left) = Journal::open(dir.path(), &store).unwrap();
        assert_eq!((left.len(), journal.last()), (0, 5));
    }

    #[test]
    fn the_files_take_turns_and_stay_small_while_sled_keeps_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let (mut journal, _) = Journal::open(dir.path(), &store).unwrap();
        for number in 0..200 {
            let (id, intent) = promise(number, 20_000);
            journal.append(id, &intent).unwrap();
            // Sled is always a few promises behind.
            journal.stored().store(journal.last().saturating_sub(4), Ordering::Release);
        }
        for name in ["promised-0", "promised-1"] {
            let bytes = fs::metadata(dir.path().join(name)).unwrap().len();
            assert!(bytes > 0 && bytes < TURN + 30_000, "{name} has {bytes} bytes");
        }
        store.put_promised(196).unwrap();
        let (_, left) = Journal::open(dir.path(), &store).unwrap();
        assert_eq!(left, [196, 197, 198, 199].map(|number| promise(number, 20_000)));
    }

    #[test]
    fn a_torn_end_costs_only_the_entry_it_tore() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let (mut journal, _) = Journal::open(dir.path(), &store).unwrap();
        for number in 1..=2 {
            let (id, intent) = promise(number, 100);
            journal.append(id, &intent).unwrap();
        }
        let path = dir.path().join("promised-0");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let (_, left) = Journal::open(dir.path(), &store).unwrap();
        assert_eq!(left, [promise(1, 100)]);
    }
}
