//! One generation: a small sled database of exchanges, written for a while and dropped as a whole.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::key::CacheKey;
use crate::key::ExchangeId;
use crate::store::guard;
use crate::store::guard::Trouble;
use crate::store::row::Known;
use crate::store::row::Row;
use crate::store::row::prefix;

/// The smallest segment that holds what sled writes at once.
const MIN_SEGMENT: usize = 32 << 10;

/// sled's own, above which nothing is gained.
const MAX_SEGMENT: usize = 512 << 10;

/// Page cache of a generation, bytes; the answers people ask for often are in moka.
const PAGE_CACHE_BYTES: u64 = 1 << 20;

/// A leaf of sled holds up to 17 values and goes into one message, of which a segment holds four:
/// larger leaves become files of their own. This part of a segment wrote least in a trial with
/// sizes from 2 to 400 KB.
const CHUNKS_IN_SEGMENT: usize = 36;

const MARK: &str = "mark";
const BEGAN: &str = "began";

/// One sled database of exchanges.
pub struct Generation {
    /// Its place in the row: greater is newer.
    pub number: u64,
    path: PathBuf,
    mark_file: PathBuf,
    chunk: usize,
    began_ms: i64,
    trees: RwLock<Option<Trees>>,
    known: RwLock<Known>,
    mark: AtomicU64,
    is_dirty: AtomicBool,
    is_unmarked: AtomicBool,
    /// The mark says how many exchanges there are.
    is_counted: AtomicBool,
}

struct Trees {
    db: sled::Db,
    /// `id ‖ number of the chunk` → piece of a sealed record; chunk 0 is written last, so that a
    /// record is there if its chunk 0 is.
    exchanges: sled::Tree,
    /// `key ‖ id` → [`Row`].
    keys: sled::Tree,
}

impl Generation {
    /// The least that a generation of a store of `max_bytes` takes on disk before it is closed.
    pub fn share(max_bytes: u64) -> u64 {
        (max_bytes / 16).max(2 * segment(max_bytes) as u64)
    }

    /// Opens generation `number` below `dir`; a new one is made for a store of `max_bytes`.
    ///
    /// # Errors
    /// It is damaged, or the disk is full or gone.
    pub fn open(dir: &Path, number: u64, max_bytes: u64, now_ms: i64) -> Result<Self, Trouble> {
        let path = dir.join(name(number));
        let segment = segment_of(&path).unwrap_or_else(|| segment(max_bytes));
        let mark_file = path.with_extension("mark");
        let opened = guard::run(|| {
            let db = guard::open(&config(&path, segment))?;
            let (exchanges, keys) = (db.open_tree("exchanges")?, db.open_tree("keys")?);
            let began = match db.get(BEGAN)? {
                Some(began) => number_in(&began).unwrap_or(0),
                None => {
                    db.insert(BEGAN, &now_ms.to_be_bytes())?;
                    now_ms.unsigned_abs()
                }
            };
            let inside = db.get(MARK)?.and_then(|mark| number_in(&mark)).unwrap_or(0);
            let known = Known::load(&keys)?;
            Ok((Trees { db, exchanges, keys }, began, inside, known))
        });
        let (trees, began, inside, known) = opened?;
        let (mark, counted) = marked(&mark_file);
        // Within what it takes for whole, sled may lose pages in silence as well.
        if inside < mark || known.exchanges < counted {
            return Err(Trouble::Damaged("a part of it is missing".to_owned()));
        }
        Ok(Self {
            number,
            path,
            mark_file,
            chunk: segment / CHUNKS_IN_SEGMENT,
            began_ms: i64::try_from(began).unwrap_or(i64::MAX),
            trees: RwLock::new(Some(trees)),
            known: RwLock::new(known),
            mark: AtomicU64::new(mark.max(inside)),
            is_dirty: AtomicBool::new(mark == 0),
            is_unmarked: AtomicBool::new(mark == 0),
            is_counted: AtomicBool::new(counted > 0),
        })
    }

    /// Whether an exchange may be stored under a key that begins like this one.
    pub fn may_have(&self, key: &CacheKey) -> bool {
        self.known().prefixes.contains(&prefix(key))
    }

    /// How many exchanges there are, and their packed size.
    pub fn held(&self) -> (u64, u64) {
        let known = self.known();
        (known.exchanges, known.packed_bytes)
    }

    /// Whether nothing in it was answered after `expired_ms` or may be served at `now_ms`.
    pub fn is_over(&self, expired_ms: i64, now_ms: i64) -> bool {
        let known = self.known();
        let is_over = known.last_answered_ms < expired_ms && known.last_fresh_ms < now_ms;
        known.exchanges == 0 || is_over
    }

    /// Whether anything was ever put into it.
    pub fn is_used(&self) -> bool {
        let known = self.known();
        known.exchanges > 0 || known.last_answered_ms > 0
    }

    /// When it was begun, Unix milliseconds.
    pub fn began_ms(&self) -> i64 {
        self.began_ms
    }

    /// What its files take, bytes.
    pub fn disk_bytes(&self) -> u64 {
        crate::store::disk::size(&self.path)
    }

    /// Stores a sealed record.
    ///
    /// # Errors
    /// The disk is full or gone, or damage was found.
    pub fn put(&self, row: &Row, record: &[u8]) -> Result<(), Trouble> {
        let pieces = record.chunks(self.chunk);
        let Ok(_) = u16::try_from(pieces.len()) else {
            let text = "an answer is too large for a store of this max_bytes";
            return Err(Trouble::Disk(std::io::Error::other(text)));
        };
        self.touch();
        let old = self.with(|trees| {
            for (number, piece) in (0u16..).zip(pieces).collect::<Vec<_>>().into_iter().rev() {
                trees.exchanges.insert(chunk_key(&row.id, number), piece)?;
            }
            trees.keys.insert(row.name(), row.write())
        })?;
        let mut known = self.known_mut();
        if let Some(old) = old.and_then(|old| Row::read(&row.name(), &old)) {
            known.remove(&old, false);
        }
        known.insert(row);
        Ok(())
    }

    /// The rows whose key begins so.
    ///
    /// # Errors
    /// The disk is gone, or damage was found.
    pub fn rows(&self, prefix: &[u8]) -> Result<Vec<Row>, Trouble> {
        self.with(|trees| {
            let rows = trees.keys.scan_prefix(prefix);
            let read = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
                entry.map(|(name, value)| Row::read(&name, &value)).transpose()
            };
            rows.filter_map(read).collect()
        })
    }

    /// The record of this name as it was given to [`Self::put`], if it is there as a whole.
    ///
    /// # Errors
    /// The disk is gone, or damage was found.
    pub fn record(&self, id: ExchangeId) -> Result<Option<Vec<u8>>, Trouble> {
        self.with(|trees| read_record(&trees.exchanges, id))
    }

    /// The greatest name below `before`.
    ///
    /// # Errors
    /// The disk is gone, or damage was found.
    pub fn newest(&self, before: Option<ExchangeId>) -> Result<Option<ExchangeId>, Trouble> {
        self.with(|trees| {
            let last = match before {
                Some(before) => trees.exchanges.range(..before.0).next_back().transpose()?,
                None => trees.exchanges.last()?,
            };
            let id = last.and_then(|(name, _)| name.first_chunk().copied());
            Ok(id.map(ExchangeId))
        })
    }

    /// Forgets an exchange; false when it was not there.
    ///
    /// # Errors
    /// The disk is gone, or damage was found.
    pub fn remove(&self, key: &CacheKey, id: ExchangeId) -> Result<bool, Trouble> {
        if self.is_counted.swap(false, Ordering::Relaxed) {
            // Fewer than were counted are no damage from here to the next mark.
            self.write_mark(marked(&self.mark_file).0, 0)?;
        }
        self.touch();
        let (is_there, row, is_last) = self.with(|trees| {
            let name = [&key.0[..], &id.0].concat();
            let row = trees.keys.remove(&name)?.and_then(|value| Row::read(&name, &value));
            let is_there = trees.exchanges.remove(chunk_key(&id, 0))?.is_some();
            for name in trees.exchanges.scan_prefix(id.0).keys() {
                trees.exchanges.remove(name?)?;
            }
            let others = trees.keys.scan_prefix(prefix(key).to_be_bytes()).next().transpose()?;
            Ok((is_there, row, others.is_none()))
        })?;
        if let Some(row) = row {
            self.known_mut().remove(&row, is_last);
        }
        Ok(is_there || row.is_some())
    }

    /// Returns once everything written so far is on disk.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn flush(&self) -> Result<(), Trouble> {
        if !self.is_dirty.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let flushed = self.with(|trees| trees.db.flush().map(drop));
        flushed.inspect_err(|_| self.is_dirty.store(true, Ordering::Relaxed))
    }

    /// As [`Self::flush`], and leaves a mark by which the next start sees whether sled lost any.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn mark(&self) -> Result<(), Trouble> {
        if !self.is_unmarked.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let mark = self.mark.fetch_add(1, Ordering::Relaxed) + 1;
        let counted = self.known().exchanges;
        let marked = self.with(|trees| {
            trees.db.insert(MARK, &mark.to_be_bytes())?;
            trees.db.flush().map(drop)
        });
        marked.inspect_err(|_| self.touch())?;
        self.write_mark(mark, counted)?;
        self.is_counted.store(counted > 0, Ordering::Relaxed);
        Ok(())
    }

    /// Only renamed when complete; it may be older than sled's mark, never newer.
    fn write_mark(&self, mark: u64, counted: u64) -> Result<(), Trouble> {
        let bytes = [mark.to_be_bytes(), counted.to_be_bytes()].concat();
        let fresh = self.mark_file.with_extension("mark-new");
        let written = fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, &self.mark_file));
        written.map_err(Trouble::Disk)
    }

    /// Closes the files; every call from now on says that it is closed.
    pub fn close(&self) {
        let trees = self.trees.write().unwrap_or_else(PoisonError::into_inner).take();
        // sled flushes as it closes, and may panic at what it finds.
        let _panicked = guard::catch(|| drop(trees));
    }

    /// Closes the files and removes them.
    pub fn drop_files(&self) {
        self.close();
        remove_files(&self.path);
    }

    fn touch(&self) {
        self.is_dirty.store(true, Ordering::Relaxed);
        self.is_unmarked.store(true, Ordering::Relaxed);
    }

    fn with<T>(&self, work: impl FnOnce(&Trees) -> sled::Result<T>) -> Result<T, Trouble> {
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        let trees = trees.as_ref().ok_or(Trouble::Closed)?;
        guard::run(|| work(trees))
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.close();
    }
}

/// The name of a generation's directory.
pub fn name(number: u64) -> String {
    format!("{number:06}")
}

/// Removes a closed generation's files.
pub fn remove_files(path: &Path) {
    // What cannot be removed now is found, and removed or used, at the next start.
    let _ = fs::remove_file(path.with_extension("mark"));
    let _ = fs::remove_dir_all(path);
}

/// How sled opens a generation: no thread of its own, little memory.
pub fn config(path: &Path, segment: usize) -> sled::Config {
    sled::Config::new()
        .path(path)
        .segment_size(segment)
        .cache_capacity(PAGE_CACHE_BYTES)
        .flush_every_ms(None)
        .mode(sled::Mode::LowSpace)
}

/// The segment size that sled wrote into its settings: it opens with no other.
pub fn segment_of(path: &Path) -> Option<usize> {
    let settings = fs::read(path.join("conf")).ok()?;
    let settings = String::from_utf8_lossy(&settings);
    let text = settings.lines().find_map(|line| line.strip_prefix("segment_size: "))?;
    text.parse().ok().filter(|size: &usize| size.is_power_of_two() && *size <= MAX_SEGMENT)
}

/// Reads the record of this name from a tree of chunks.
pub fn read_record(tree: &sled::Tree, id: ExchangeId) -> sled::Result<Option<Vec<u8>>> {
    let mut record = Vec::new();
    for (number, entry) in (0u16..).zip(tree.scan_prefix(id.0)) {
        let (name, piece) = entry?;
        if *name != chunk_key(&id, number) {
            return Ok(None);
        }
        record.extend_from_slice(&piece);
    }
    Ok((!record.is_empty()).then_some(record))
}

fn segment(max_bytes: u64) -> usize {
    let wanted = usize::try_from(max_bytes / 16 / 8).unwrap_or(MAX_SEGMENT);
    wanted.clamp(MIN_SEGMENT, MAX_SEGMENT).next_power_of_two()
}

fn chunk_key(id: &ExchangeId, number: u16) -> Vec<u8> {
    [&id.0[..], &number.to_be_bytes()].concat()
}

/// The number of the last mark, and how many exchanges there were.
fn marked(file: &Path) -> (u64, u64) {
    let bytes = fs::read(file).unwrap_or_default();
    let number = |at: usize| bytes.get(at..at + 8).and_then(number_in).unwrap_or(0);
    (number(0), number(8))
}

fn number_in(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
