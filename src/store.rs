//! sled: exchanges, pairs and scores on disk, in trees that survive `kill -9` and report corruption.
//!
//! What was measured of sled 0.34 decides the shape: values stay below 60,000 bytes because larger
//! ones leave files that are never removed, a damaged directory makes `open` panic, and every
//! record carries its own checksum because a damaged one could be lost but must never be wrong.

mod base;
pub mod cipher;
pub mod cost;
mod disk;
pub mod exchange;
mod generation;
mod generations;
pub mod guard;
pub mod journal;
pub mod judged;
mod keeper;
mod label;
pub mod log;
pub mod met;
mod migrate;
pub mod pair;
mod redacted;
mod replica;
mod rescue;
mod row;
pub mod seal;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::store::base::Base;
use crate::store::base::Trees;
use crate::store::cipher::KeyId;
use crate::store::cipher::Keys;
use crate::store::generations::Generations;
use crate::store::guard::Trouble;
use crate::store::keeper::Keeper;

/// The layout of the trees; a directory of a newer one is refused with an explanation.
const FORMAT: &[u8] = b"2";

/// The layout before this one, which is migrated.
const FORMER: &[u8] = b"1";

/// The largest value given to sled, bytes.
const CHUNK: usize = 56_000;

/// Where sled keeps the last mark, in the default tree.
const MARK: &str = "mark";

/// Where sled keeps the names of the keys that have written, the last one last.
const KEYS: &str = "keys";

/// Where the generations are.
const EXCHANGES: &str = "exchanges";

/// Damaged main databases that are kept for whoever wants to look.
const KEPT_ASIDE: usize = 2;

/// A handle to the open directory; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// First, because it ends before the files are closed.
    _keeper: Keeper,
    base: Arc<Base>,
    generations: Arc<Generations>,
    /// Used by the one writer, so nobody waits for it.
    sealer: Mutex<seal::Sealer>,
}

/// A store and what happened when it was opened.
pub struct Opened {
    /// The store, perhaps a fresh one.
    pub store: Store,
    /// What became of a damaged directory.
    pub damage: Option<Damage>,
    /// The oldest parts of the exchanges that had to go because the disk was full.
    pub dropped: u64,
}

/// A directory that was not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it was moved.
    pub aside: PathBuf,
    /// What is wrong with it, in sled's words or ours.
    pub why: String,
    /// Records that could still be read and are in the new directory.
    pub rescued: u64,
}

/// What happened to the stored exchanges since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Generations dropped for their age or for room.
    pub dropped_generations: u64,
    /// Generations in which damage was found.
    pub damaged_generations: u64,
    /// Records that were not what was written.
    pub damaged_records: u64,
}

impl Store {
    /// Opens the directory and makes it if absent; a damaged one is moved aside.
    ///
    /// Only the main database and the newest exchanges are open at once: see [`Self::wait_loaded`].
    /// Where the disk is full, the oldest exchanges make room: they are only a cache.
    ///
    /// # Errors
    /// The directory cannot be written, is in use by another process, or is of another format.
    pub fn open(dir: &Path) -> Result<Opened> {
        Self::open_with(dir, &Keys::default())
    }

    /// The same with keys to encrypt what is stored.
    ///
    /// # Errors
    /// As [`Self::open`], or what is there was encrypted with another key.
    pub fn open_with(dir: &Path, keys: &Keys) -> Result<Opened> {
        fs::create_dir_all(dir).map_err(|error| io_error(dir, &error))?;
        let mut dropped = 0;
        while disk::is_full(dir) && generations::drop_oldest_of(&dir.join(EXCHANGES)) {
            dropped += 1;
        }
        Ok(Opened { dropped, ..Self::open_whole(dir, keys)? })
    }

    /// The same, once everything that is stored can be found: for who looks once; blocks.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_all(dir: &Path, keys: &Keys) -> Result<Opened> {
        let opened = Self::open_with(dir, keys)?;
        opened.store.wait_loaded();
        Ok(opened)
    }

    fn open_whole(dir: &Path, keys: &Keys) -> Result<Opened> {
        migrate::finish(dir)?;
        let path = dir.join("sled");
        let (why, is_readable) = match try_open(&path) {
            Ok(base) if !base.is_shortened() => return Self::start(dir, base, keys, None),
            Ok(_) => ("its end is missing".to_owned(), true),
            Err(OpenError::Refused(error)) => return Err(error),
            Err(OpenError::Damaged(why)) => (why, false),
            Err(OpenError::Former) => {
                let moved = migrate::run(dir, FORMAT, keys, now_ms())?;
                tracing::info!(exchanges = moved, "the data directory is of the new format now");
                return Self::open_whole(dir, keys);
            }
        };
        let aside = disk::aside(&path);
        fs::rename(&path, &aside).map_err(|error| io_error(dir, &error))?;
        let base = try_open(&path).map_err(|error| match error {
            OpenError::Refused(error) => error,
            OpenError::Damaged(why) => unusable(dir, &why),
            OpenError::Former => unusable(dir, "it changes while it is opened"),
        })?;
        // sled goes on writing where it believes the end to be, so nothing new may go there.
        let db = &base.trees()?.db;
        let rescued = if is_readable { rescue::copy(&aside, db, |_| true) } else { 0 };
        disk::forget_aside(dir, KEPT_ASIDE);
        Self::start(dir, base, keys, Some(Damage { aside, why, rescued }))
    }

    fn start(dir: &Path, base: Base, keys: &Keys, damage: Option<Damage>) -> Result<Opened> {
        check_keys(dir, &base.trees()?.db, keys)?;
        let exchanges = dir.join(EXCHANGES);
        let failed = |error: std::io::Error| io_error(&exchanges, &error);
        let generations =
            Arc::new(Generations::open(&exchanges, keys.clone(), now_ms()).map_err(failed)?);
        let base = Arc::new(base);
        let keeper = Keeper::start(generations.clone(), base.clone()).map_err(failed)?;
        let sealer = Mutex::new(seal::Sealer::new(keys.clone()).map_err(failed)?);
        let inner = Arc::new(Inner { _keeper: keeper, base, generations, sealer });
        Ok(Opened { store: Self { inner }, damage, dropped: 0 })
    }

    /// Says how much the exchanges may take on disk, before the first sweep does.
    pub fn limit(&self, max_bytes: u64) {
        self.inner.generations.limit(max_bytes);
    }

    /// Whether everything that is stored can be found.
    pub fn is_loaded(&self) -> bool {
        self.inner.generations.is_loaded()
    }

    /// Returns once everything that is stored can be found; blocks.
    pub fn wait_loaded(&self) {
        self.inner.generations.wait_loaded();
    }

    /// What happened to the exchanges so far.
    pub fn events(&self) -> Events {
        let counts = &self.inner.generations.counts;
        Events {
            dropped_generations: counts.dropped.load(Ordering::Relaxed),
            damaged_generations: counts.damaged.load(Ordering::Relaxed),
            damaged_records: counts.damaged_records.load(Ordering::Relaxed),
        }
    }

    /// Returns once everything written so far is on disk.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn flush(&self) -> Result<()> {
        let exchanges = self.inner.generations.flush(false);
        self.inner.base.flush()?;
        exchanges.map_err(Error::from)
    }

    /// As [`Self::flush`], and leaves a mark by which the next start sees whether sled lost any.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn mark(&self) -> Result<()> {
        let exchanges = self.inner.generations.flush(true);
        self.inner.base.mark()?;
        exchanges.map_err(Error::from)
    }

    fn main(&self) -> Result<Arc<Trees>> {
        self.inner.base.trees()
    }

    fn keys(&self) -> &Keys {
        self.inner.generations.keys()
    }

    fn sealer(&self) -> MutexGuard<'_, seal::Sealer> {
        self.inner.sealer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

enum OpenError {
    Refused(Error),
    Damaged(String),
    /// It is of the former format.
    Former,
}

fn try_open(path: &Path) -> std::result::Result<Base, OpenError> {
    let base = Base::open(path).map_err(|trouble| match trouble {
        Trouble::Damaged(why) => OpenError::Damaged(why),
        Trouble::Disk(error) => OpenError::Refused(io_error(path, &error)),
        Trouble::Closed => OpenError::Refused(trouble.into()),
    })?;
    let trees = base.trees().map_err(OpenError::Refused)?;
    check_format(path, &trees.db)?;
    Ok(base)
}

fn check_format(path: &Path, db: &sled::Db) -> std::result::Result<(), OpenError> {
    let refuse = |error: Error| Err(OpenError::Refused(error));
    match db.get("format") {
        Ok(Some(found)) if found == FORMAT => Ok(()),
        Ok(Some(found)) if found == FORMER => Err(OpenError::Former),
        Ok(Some(found)) => refuse(unusable(
            path,
            &format!(
                "it holds format {}, this program writes format {}: name another data_dir",
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(FORMAT)
            ),
        )),
        Ok(None) => match db.insert("format", FORMAT) {
            Ok(_) => Ok(()),
            Err(error) => refuse(failed(&error)),
        },
        Err(error) => Err(OpenError::Damaged(error.to_string())),
    }
}

/// Refuses a directory whose records would all read as absent, and notes which key writes.
fn check_keys(dir: &Path, db: &sled::Db, keys: &Keys) -> Result<()> {
    let noted = db.get(KEYS).map_err(|error| failed(&error))?.unwrap_or_default();
    let noted: Vec<KeyId> = noted.chunks_exact(8).filter_map(|id| id.try_into().ok()).collect();
    let is_known = |id: &KeyId| keys.ids().any(|known| known == *id);
    if noted.last().is_some_and(|last| !is_known(last)) {
        let why = "it is encrypted with a key that encryption_keys does not have: add that key, \
                   behind the one that is to write, or name another data_dir";
        return Err(unusable(dir, why));
    }
    if noted.iter().any(|id| !is_known(id)) {
        tracing::warn!("what a former encryption key wrote cannot be read without it");
    }
    let Some(first) = keys.ids().next().filter(|first| noted.last() != Some(first)) else {
        return Ok(());
    };
    let others = noted.into_iter().filter(|id| *id != first);
    let noted: Vec<u8> = others.chain([first]).flatten().collect();
    db.insert(KEYS, noted).map_err(|error| failed(&error))?;
    Ok(())
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn io_error(path: &Path, error: &std::io::Error) -> Error {
    if guard::is_locked(error) {
        return unusable(
            path,
            "another understudy has it open: stop that one, or give this one its own data_dir",
        );
    }
    let why = match error.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            "a file stands where a directory is needed".to_owned()
        }
        _ => error.to_string(),
    };
    unusable(path, &format!("{why}: choose another data_dir"))
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(Kind::Store, format!("cannot use the data directory {}: {why}", path.display()))
}

fn failed(error: &sled::Error) -> Error {
    Error::new(Kind::Store, format!("the data directory failed: {error}"))
}

/// Writes a value of any size, all or nothing, in chunks below the size that sled handles well.
///
/// A single entry needs no batch to be whole, and before each batch sled writes its buffers out,
/// which costs more than everything else about a request.
fn put(tree: &sled::Tree, key: &[u8], value: &[u8]) -> sled::Result<()> {
    if value.len() <= CHUNK {
        return tree.insert(chunk_key(key, 0), value).map(drop);
    }
    let mut batch = sled::Batch::default();
    for (number, chunk) in (0u16..).zip(value.chunks(CHUNK)) {
        batch.insert(chunk_key(key, number), chunk);
    }
    tree.apply_batch(batch)
}

/// Reads a value that [`put`] wrote.
fn get(tree: &sled::Tree, key: &[u8]) -> sled::Result<Option<Vec<u8>>> {
    let mut value = Vec::new();
    for (number, entry) in (0u16..).zip(tree.scan_prefix(key)) {
        let (found, chunk) = entry?;
        if found != chunk_key(key, number) {
            return Ok(None);
        }
        value.extend_from_slice(&chunk);
    }
    Ok((!value.is_empty()).then_some(value))
}

/// Removes what [`put`] wrote under keys that begin so, all or nothing.
fn remove(tree: &sled::Tree, prefix: &[u8]) -> sled::Result<()> {
    let keys: Vec<sled::IVec> = tree.scan_prefix(prefix).keys().collect::<sled::Result<_>>()?;
    if let [key] = keys.as_slice() {
        return tree.remove(key).map(drop);
    }
    let mut batch = sled::Batch::default();
    keys.into_iter().for_each(|key| batch.remove(key));
    tree.apply_batch(batch)
}

fn chunk_key(key: &[u8], number: u16) -> Vec<u8> {
    [key, &number.to_be_bytes()].concat()
}
