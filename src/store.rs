//! sled: exchanges, pairs and scores on disk, in trees that survive `kill -9` and report corruption.
//!
//! What was measured of sled 0.34 decides the shape: values stay below 60,000 bytes because larger
//! ones leave files that are never removed, a damaged directory makes `open` panic, and every
//! record carries its own checksum because a damaged one could be lost but must never be wrong.

pub mod exchange;
pub mod journal;
pub mod pair;
mod rescue;
pub mod seal;

use std::fs;
use std::panic;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// The layout of the trees; a directory of another version is refused with an explanation.
const FORMAT: &[u8] = b"1";

/// The largest value given to sled, bytes.
const CHUNK: usize = 56_000;

/// sled's own page cache, bytes; the answers people ask for often are in moka.
const PAGE_CACHE_BYTES: u64 = 16 << 20;

/// Where sled keeps the last mark, in the default tree.
const MARK: &str = "mark";

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
    index: Mutex<exchange::Index>,
    /// The highest mark given so far.
    mark: AtomicU64,
    mark_file: PathBuf,
    /// Used by the one writer, so nobody waits for it.
    sealer: Mutex<seal::Sealer>,
}

/// A store and what happened when it was opened.
pub struct Opened {
    /// The store, perhaps a fresh one.
    pub store: Store,
    /// What became of a damaged directory.
    pub damage: Option<Damage>,
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

impl Store {
    /// Opens the directory and makes it if absent; a damaged one is moved aside.
    ///
    /// # Errors
    /// The directory cannot be written, is in use by another process, or is of another format.
    pub fn open(dir: &Path) -> Result<Opened> {
        fs::create_dir_all(dir).map_err(|error| io_error(dir, &error))?;
        let path = dir.join("sled");
        let (why, is_readable) = match try_open(&path) {
            Ok(store) if !store.is_shortened() => return Ok(Opened { store, damage: None }),
            Ok(_) => ("its end is missing".to_owned(), true),
            Err(OpenError::Refused(error)) => return Err(error),
            Err(OpenError::Damaged(why)) => (why, false),
        };
        let aside = free_name(dir);
        fs::rename(&path, &aside).map_err(|error| io_error(dir, &error))?;
        let store = try_open(&path).map_err(|error| match error {
            OpenError::Refused(error) => error,
            OpenError::Damaged(why) => unusable(dir, &why),
        })?;
        // sled goes on writing where it believes the end to be, so nothing new may go there.
        let rescued = if is_readable { rescue::copy(&aside, &store.inner.db) } else { 0 };
        store.reload_index()?;
        Ok(Opened { store, damage: Some(Damage { aside, why, rescued }) })
    }

    /// Returns once everything written so far is on disk.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn flush(&self) -> Result<()> {
        self.inner.db.flush().map(drop).map_err(|error| failed(&error))
    }

    /// As [`Self::flush`], and leaves a mark by which the next start sees whether sled lost any.
    ///
    /// sled takes a damaged log for one that a crash cut short, and forgets the rest in silence.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn mark(&self) -> Result<()> {
        let mark = self.inner.mark.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = mark.to_be_bytes();
        self.inner.db.insert(MARK, &bytes).map_err(|error| failed(&error))?;
        self.flush()?;
        let (path, fresh) = (&self.inner.mark_file, self.inner.mark_file.with_extension("new"));
        // Only renamed when complete; it may be older than sled's mark, never newer.
        fs::write(&fresh, bytes)
            .and_then(|()| fs::rename(&fresh, path))
            .map_err(|error| io_error(path, &error))
    }

    /// Whether sled's mark is older than the one beside it.
    fn is_shortened(&self) -> bool {
        let inside = self.inner.db.get(MARK).ok().flatten();
        let inside = inside.and_then(|mark| number(&mark)).unwrap_or(0);
        inside < self.inner.mark.load(Ordering::Relaxed)
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
        let index = Mutex::new(exchange::Index::load(&answers)?);
        let mark_file = path.with_extension("mark");
        let beside = fs::read(&mark_file).ok().and_then(|mark| number(&mark)).unwrap_or(0);
        let mark = AtomicU64::new(beside);
        let sealer = Mutex::new(seal::Sealer::new()?);
        Ok(Trees {
            db,
            exchanges,
            answers,
            pairs,
            scores,
            open,
            funnel,
            index,
            mark,
            mark_file,
            sealer,
        })
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
    // The hook is the process's: two at once would each put back what the other had set.
    static HOOK: Mutex<()> = Mutex::new(());
    let _alone = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
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
    let why = match error.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            "a file stands where a directory is needed".to_owned()
        }
        _ => text,
    };
    unusable(path, &format!("{why}: choose another data_dir"))
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
