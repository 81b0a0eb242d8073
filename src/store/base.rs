//! The main database: pairs, scores, counters and the number of the last promise.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::error::Error;
use crate::error::Result;
use crate::store::MARK;
use crate::store::failed;
use crate::store::guard;
use crate::store::guard::Trouble;
use crate::store::io_error;
use crate::store::number;

/// sled's own page cache, bytes.
const PAGE_CACHE_BYTES: u64 = 16 << 20;

/// After a failure of the disk the database is opened again no sooner.
const PAUSE: Duration = Duration::from_secs(5);

/// The open database.
pub struct Base {
    path: PathBuf,
    /// Absent only while the disk refuses to open it again.
    trees: RwLock<Option<Arc<Trees>>>,
    /// The highest mark given so far.
    mark: AtomicU64,
    mark_file: PathBuf,
    failed_at: Mutex<Option<Instant>>,
}

/// The trees of the open database.
pub struct Trees {
    /// What is in no tree of its own.
    pub db: sled::Db,
    /// Promises and halves.
    pub pairs: sled::Tree,
    /// What was judged.
    pub scores: sled::Tree,
    /// What people said of pairs.
    pub labels: sled::Tree,
    /// Pairs that wait.
    pub open: sled::Tree,
    /// Counters.
    pub funnel: sled::Tree,
    /// Decisions, in the order in which they were made.
    pub log: sled::Tree,
    /// What was seen of live answers.
    pub vitals: sled::Tree,
    /// Units and what they met.
    pub units: sled::Tree,
    /// Requests that feedback may come to.
    pub subjects: sled::Tree,
    /// The same by time.
    pub subject_order: sled::Tree,
    /// What was said of them.
    pub feedback: sled::Tree,
    /// What copies cost.
    pub ledger: sled::Tree,
    /// What calls cost.
    pub costs: sled::Tree,
    /// What judges said, by what they were asked.
    pub judged: sled::Tree,
}

impl Base {
    /// Opens the directory and makes it if absent.
    pub fn open(path: &Path) -> std::result::Result<Self, Trouble> {
        let trees = guard::run(|| open(path))?;
        let mark_file = path.with_extension("mark");
        let beside = fs::read(&mark_file).ok().and_then(|mark| number(&mark)).unwrap_or(0);
        Ok(Self {
            path: path.to_owned(),
            trees: RwLock::new(Some(Arc::new(trees))),
            mark: AtomicU64::new(beside),
            mark_file,
            failed_at: Mutex::default(),
        })
    }

    /// The trees.
    ///
    /// # Errors
    /// The disk failed, and gives nothing yet.
    pub fn trees(&self) -> Result<Arc<Trees>> {
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner).clone();
        trees.ok_or_else(|| {
            let error = std::io::Error::other("it failed, and cannot be opened again yet");
            Error::from(Trouble::Disk(error))
        })
    }

    /// Returns once everything written so far is on disk.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn flush(&self) -> Result<()> {
        let flushed = self.trees()?.db.flush().map(drop);
        flushed.map_err(|error| self.failed(&error))
    }

    /// As [`Self::flush`], and leaves a mark by which the next start sees whether sled lost any.
    ///
    /// sled takes a damaged log for one that a crash cut short, and forgets the rest in silence.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn mark(&self) -> Result<()> {
        let mark = self.mark.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = mark.to_be_bytes();
        let marked = self.trees()?.db.insert(MARK, &bytes);
        marked.map_err(|error| self.failed(&error))?;
        self.flush()?;
        let (path, fresh) = (&self.mark_file, self.mark_file.with_extension("new"));
        // Only renamed when complete; it may be older than sled's mark, never newer.
        fs::write(&fresh, bytes)
            .and_then(|()| fs::rename(&fresh, path))
            .map_err(|error| io_error(path, &error))
    }

    /// Whether sled's mark is older than the one beside it.
    pub fn is_shortened(&self) -> bool {
        let inside = self.trees().ok().and_then(|trees| trees.db.get(MARK).ok().flatten());
        let inside = inside.and_then(|mark| number(&mark)).unwrap_or(0);
        inside < self.mark.load(Ordering::Relaxed)
    }

    /// Opens the database again some time after the disk failed: until then sled only repeats the
    /// error.
    pub fn revive(&self) {
        let failed_at = *self.failed_at();
        if failed_at.is_none_or(|at| at.elapsed() < PAUSE) {
            return;
        }
        let mut trees = self.trees.write().unwrap_or_else(PoisonError::into_inner);
        let old = trees.take();
        let _panicked = guard::catch(|| drop(old));
        match guard::run(|| open(&self.path)) {
            Ok(opened) => {
                *trees = Some(Arc::new(opened));
                *self.failed_at() = None;
                tracing::warn!("the data directory is open again after the disk failed");
            }
            // A reader may have held the old one for a moment.
            Err(_) => *self.failed_at() = Some(Instant::now()),
        }
    }

    /// Whether the disk failed and the database is not open again yet.
    pub fn has_failed(&self) -> bool {
        self.failed_at().is_some()
    }

    fn failed(&self, error: &sled::Error) -> Error {
        self.failed_at().get_or_insert_with(Instant::now);
        failed(error)
    }

    fn failed_at(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.failed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> sled::Result<Trees> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(PAGE_CACHE_BYTES)
        .flush_every_ms(Some(500))
        .mode(sled::Mode::LowSpace);
    let db = guard::open(&config)?;
    let tree = |name: &str| db.open_tree(name);
    let (pairs, scores, labels) = (tree("pairs")?, tree("scores")?, tree("labels")?);
    let (open, funnel, log) = (tree("open")?, tree("funnel")?, tree("log")?);
    let (units, feedback) = (tree("units")?, tree("feedback")?);
    let (subjects, subject_order) = (tree("subjects")?, tree("subject_order")?);
    let (ledger, vitals) = (tree("ledger")?, tree("vitals")?);
    let (costs, judged) = (tree("costs")?, tree("judged")?);
    Ok(Trees {
        db,
        pairs,
        scores,
        labels,
        open,
        funnel,
        log,
        vitals,
        units,
        subjects,
        subject_order,
        feedback,
        ledger,
        costs,
        judged,
    })
}
