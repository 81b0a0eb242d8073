//! sled: exchanges, pairs and scores on disk, in trees that survive `kill -9` and report corruption.
//!
//! What was measured of sled 0.34 decides the shape: values stay below 60,000 bytes because larger
//! ones leave files that are never removed, a damaged directory makes `open` panic, and every
//! record carries its own checksum because a damaged one could be lost but must never be wrong.

pub mod answer;
pub mod pair;
pub mod seal;

use std::fs;
use std::panic;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// The layout of the trees; a directory of another version is refused with an explanation.
const FORMAT: &[u8] = b"1";

/// The largest value given to sled, bytes.
const CHUNK: usize = 56_000;

/// sled's own page cache, bytes; the answers people ask for often are in moka.
const PAGE_CACHE_BYTES: u64 = 16 << 20;

/// A handle to the open directory; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Trees>,
}

struct Trees {
    db: sled::Db,
    exchanges: sled::Tree,
    answers: sled::Tree,
    pairs: sled::Tree,
    scores: sled::Tree,
    open: sled::Tree,
    funnel: sled::Tree,
    index: std::sync::Mutex<answer::Index>,
    /// Used by the one writer, so nobody waits for it.
    sealer: std::sync::Mutex<seal::Sealer>,
}

/// A store and what happened when it was opened.
pub struct Opened {
    /// The store, perhaps a fresh one.
    pub store: Store,
    /// Where a damaged directory was moved, and why.
    pub quarantined: Option<(PathBuf, String)>,
}

impl Store {
    /// Opens the directory, makes it if absent, and moves it aside if sled cannot read it.
    ///
    /// # Errors
    /// The directory cannot be written, is in use by another process, or is of another format.
    pub fn open(dir: &Path) -> Result<Opened> {
        fs::create_dir_all(dir).map_err(|error| unusable(dir, &error.to_string()))?;
        let path = dir.join("sled");
        match try_open(&path) {
            Ok(store) => Ok(Opened { store, quarantined: None }),
            Err(OpenError::Refused(error)) => Err(error),
            Err(OpenError::Damaged(why)) => {
                let aside = free_name(dir);
                fs::rename(&path, &aside).map_err(|error| unusable(dir, &error.to_string()))?;
                let store = try_open(&path).map_err(|error| match error {
                    OpenError::Refused(error) => error,
                    OpenError::Damaged(why) => unusable(dir, &why),
                })?;
                Ok(Opened { store, quarantined: Some((aside, why)) })
            }
        }
    }

    /// Returns once everything written so far is on disk.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn flush(&self) -> Result<()> {
        self.inner.db.flush().map(drop).map_err(|error| failed(&error))
    }

    fn sealer(&self) -> std::sync::MutexGuard<'_, seal::Sealer> {
        self.inner.sealer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

enum OpenError {
    Refused(Error),
    Damaged(String),
}

fn try_open(path: &Path) -> std::result::Result<Store, OpenError> {
    let opened = catch(|| -> sled::Result<Trees> {
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(PAGE_CACHE_BYTES)
            .flush_every_ms(Some(500))
            .mode(sled::Mode::LowSpace)
            .open()?;
        let tree = |name: &str| db.open_tree(name);
        let (exchanges, answers) = (tree("exchanges")?, tree("answers")?);
        let (pairs, scores) = (tree("pairs")?, tree("scores")?);
        let (open, funnel) = (tree("open")?, tree("funnel")?);
        let index = std::sync::Mutex::new(answer::Index::load(&answers)?);
        let sealer = std::sync::Mutex::new(seal::Sealer::new()?);
        Ok(Trees { db, exchanges, answers, pairs, scores, open, funnel, index, sealer })
    });
    let trees = match opened {
        Err(panicked) => return Err(OpenError::Damaged(panicked)),
        Ok(Err(sled::Error::Io(error))) => return Err(OpenError::Refused(io_error(path, &error))),
        Ok(Err(error)) => return Err(OpenError::Damaged(error.to_string())),
        Ok(Ok(trees)) => trees,
    };
    check_format(path, &trees.db)?;
    Ok(Store { inner: Arc::new(trees) })
}

fn check_format(path: &Path, db: &sled::Db) -> std::result::Result<(), OpenError> {
    let refuse = |error: Error| Err(OpenError::Refused(error));
    match db.get("format") {
        Ok(Some(found)) if found == FORMAT => Ok(()),
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

/// Runs `work` and turns a panic into its message instead of printing it.
fn catch<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(panic::AssertUnwindSafe(work));
    panic::set_hook(previous);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("sled panicked").to_owned()
    })
}

fn io_error(path: &Path, error: &std::io::Error) -> Error {
    let text = error.to_string();
    if text.contains("could not acquire lock") {
        return unusable(
            path,
            "another understudy has it open: stop that one, or give this one its own data_dir",
        );
    }
    unusable(path, &text)
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(Kind::Store, format!("cannot use the data directory {}: {why}", path.display()))
}

fn failed(error: &sled::Error) -> Error {
    Error::new(Kind::Store, format!("the data directory failed: {error}"))
}

fn free_name(dir: &Path) -> PathBuf {
    let named = |n: u32| dir.join(format!("sled.damaged-{n}"));
    (1..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(0))
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
