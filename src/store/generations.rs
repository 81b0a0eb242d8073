//! The row of generations: the newest is written, the oldest is dropped, a damaged one set aside.

mod room;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::store::cipher::Keys;
use crate::store::disk;
use crate::store::generation;
use crate::store::generation::Generation;
use crate::store::guard::Trouble;
use crate::store::row::Row;

/// Less than this and a generation would hold next to nothing, bytes.
const LEAST_BYTES: u64 = 256 << 10;

/// After a failure of the disk nothing is tried for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// All exchanges, by age.
pub struct Generations {
    dir: PathBuf,
    keys: Keys,
    /// Those that are open, oldest first; the last is written.
    row: RwLock<Vec<Arc<Generation>>>,
    /// Those that are not open.
    waiting: Mutex<Waiting>,
    woken: Condvar,
    pen: Mutex<Pen>,
    max_bytes: AtomicU64,
    /// The disk refused something since the keeper looked last.
    is_refused: AtomicBool,
    /// What happened so far.
    pub counts: Counts,
}

/// What happened since the process began.
#[derive(Default)]
pub struct Counts {
    /// Generations dropped for their age or for room.
    pub dropped: AtomicU64,
    /// Generations in which damage was found.
    pub damaged: AtomicU64,
    /// Records that were not what was written.
    pub damaged_records: AtomicU64,
}

/// What the keeper has to do.
#[derive(Default)]
struct Waiting {
    rows: Vec<Wait>,
    /// The one it is busy with.
    at: Option<u64>,
    is_stopped: bool,
}

/// A generation that is not open.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Which one.
    pub number: u64,
    /// What is wrong with it, if it is damaged.
    pub why: Option<String>,
    not_before: Option<Instant>,
}

/// Held by the one who writes or changes the row.
struct Pen {
    next: u64,
    /// Written since the sizes were last looked at.
    written: u64,
    shut_until: Option<Instant>,
}

impl Generations {
    /// Opens the newest generation below `dir`; the others wait for [`Self::wait`].
    pub fn open(dir: &Path, keys: Keys, now_ms: i64) -> std::io::Result<Self> {
        fs::create_dir_all(dir)?;
        let numbers = numbers_in(dir)?;
        let next = numbers.last().map_or(1, |last| last + 1);
        let rows = numbers.into_iter();
        let rows = rows.map(|number| Wait { number, why: None, not_before: None }).collect();
        let opened = Self {
            dir: dir.to_owned(),
            keys,
            row: RwLock::default(),
            waiting: Mutex::new(Waiting { rows, ..Waiting::default() }),
            woken: Condvar::new(),
            pen: Mutex::new(Pen { next, written: 0, shut_until: None }),
            max_bytes: AtomicU64::new(1 << 30),
            is_refused: AtomicBool::new(false),
            counts: Counts::default(),
        };
        let newest = opened.waiting().rows.pop();
        if let Some(newest) = newest {
            opened.load(&newest, now_ms);
        }
        Ok(opened)
    }

    /// Says how much all of them may take on disk.
    pub fn limit(&self, max_bytes: u64) {
        self.max_bytes.store(max_bytes.max(LEAST_BYTES), Ordering::Relaxed);
    }

    /// Those that are open, the newest first.
    pub fn open_ones(&self) -> Vec<Arc<Generation>> {
        self.row().iter().rev().cloned().collect()
    }

    /// Whether any that is open satisfies this; reads no disk.
    pub fn any(&self, is: impl Fn(&Generation) -> bool) -> bool {
        self.row().iter().any(|generation| is(generation))
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What their records are encrypted with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How much they may take.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// What their files take, with those that are not open or were set aside.
    pub fn disk_bytes(&self) -> u64 {
        disk::size(&self.dir)
    }

    /// Stores a sealed record.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put(&self, row: &Row, record: &[u8], now_ms: i64) -> Result<(), Trouble> {
        let mut pen = self.pen();
        let largest = self.max_bytes() / 8;
        if record.len() as u64 > largest {
            let text = format!("an answer is larger than an eighth of cache.max_bytes, {largest}");
            return Err(Trouble::Disk(std::io::Error::other(text)));
        }
        let mut tries = 0..2;
        loop {
            let newest = self.newest(&mut pen, now_ms)?;
            match newest.put(row, record) {
                Ok(()) => break,
                Err(Trouble::Disk(error)) => {
                    pen.shut_until = Some(Instant::now() + PAUSE);
                    self.fail(&newest, None);
                    return Err(Trouble::Disk(error));
                }
                Err(Trouble::Damaged(why)) => self.fail(&newest, Some(why)),
                Err(Trouble::Closed) => {}
            }
            tries.next().ok_or(Trouble::Closed)?;
        }
        pen.written += record.len() as u64;
        if pen.written >= Generation::share(self.max_bytes()) / 8 {
            pen.written = 0;
            self.make_room(&mut pen, now_ms);
        }
        Ok(())
    }

    /// Returns once everything written so far is on disk; with a mark, if it is time for one.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn flush(&self, with_mark: bool) -> Result<(), Trouble> {
        for generation in self.open_ones() {
            let flushed = if with_mark { generation.mark() } else { generation.flush() };
            if let Err(trouble) = flushed {
                self.trouble(&generation, trouble)?;
            }
        }
        Ok(())
    }

    /// Deals with what a call into `generation` met; gives back what is the disk's fault.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn trouble(&self, generation: &Arc<Generation>, trouble: Trouble) -> Result<(), Trouble> {
        match trouble {
            Trouble::Damaged(why) => self.fail(generation, Some(why)),
            Trouble::Closed => {}
            Trouble::Disk(error) => {
                self.fail(generation, None);
                return Err(Trouble::Disk(error));
            }
        }
        Ok(())
    }

    /// Whether every generation is open, but for those that the disk does not give.
    pub fn is_loaded(&self) -> bool {
        is_loaded(&self.waiting())
    }

    /// Returns once [`Self::is_loaded`].
    pub fn wait_loaded(&self) {
        let mut waiting = self.waiting();
        while !is_loaded(&waiting) && !waiting.is_stopped {
            waiting = self.woken.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for at most so long for a generation to open or mend, the newest first; `None` after
    /// [`Self::stop`].
    pub fn next_waiting(&self, at_most: Duration) -> Option<Option<Wait>> {
        let mut waiting = self.waiting();
        let ready = |waiting: &Waiting| {
            let now = Instant::now();
            let is_due = |wait: &Wait| wait.not_before.is_none_or(|time| time <= now);
            waiting.rows.iter().rposition(is_due)
        };
        waiting.at = None;
        self.woken.notify_all();
        if ready(&waiting).is_none() && !waiting.is_stopped {
            let waited = self.woken.wait_timeout(waiting, at_most);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if waiting.is_stopped {
            return None;
        }
        let wait = ready(&waiting).map(|at| waiting.rows.remove(at));
        waiting.at = wait.as_ref().map(|wait| wait.number);
        Some(wait)
    }

    /// Ends whoever waits.
    pub fn stop(&self) {
        self.waiting().is_stopped = true;
        self.woken.notify_all();
    }

    /// Opens a generation and puts it into the row, or says what is wrong with it.
    pub fn load(&self, wait: &Wait, now_ms: i64) {
        match Generation::open(&self.dir, wait.number, self.max_bytes(), now_ms) {
            Ok(generation) => self.insert(generation),
            Err(Trouble::Damaged(why)) => {
                self.counts.damaged.fetch_add(1, Ordering::Relaxed);
                self.postpone(wait.number, Some(why));
            }
            Err(_) => self.postpone(wait.number, None),
        }
    }

    /// Puts a generation where its number belongs.
    pub fn insert(&self, generation: Generation) {
        let mut row = self.row.write().unwrap_or_else(PoisonError::into_inner);
        let at = row.partition_point(|other| other.number < generation.number);
        row.insert(at, Arc::new(generation));
    }

    /// Takes a generation out of the row: it is damaged, or has to be opened again.
    fn fail(&self, generation: &Arc<Generation>, why: Option<String>) {
        if !self.take_out(generation) {
            return;
        }
        generation.close();
        match why {
            Some(_) => {
                self.counts.damaged.fetch_add(1, Ordering::Relaxed);
            }
            None => self.is_refused.store(true, Ordering::Relaxed),
        }
        self.postpone(generation.number, why);
    }

    fn postpone(&self, number: u64, why: Option<String>) {
        let not_before = why.is_none().then(|| Instant::now() + PAUSE);
        self.waiting().rows.push(Wait { number, why, not_before });
        self.woken.notify_all();
    }

    fn take_out(&self, generation: &Arc<Generation>) -> bool {
        let mut row = self.row.write().unwrap_or_else(PoisonError::into_inner);
        let before = row.len();
        row.retain(|other| !Arc::ptr_eq(other, generation));
        row.len() < before
    }

    /// The generation to write to.
    fn newest(&self, pen: &mut Pen, now_ms: i64) -> Result<Arc<Generation>, Trouble> {
        if pen.shut_until.is_some_and(|until| Instant::now() < until) {
            return Err(Trouble::Disk(std::io::Error::other("it failed a moment ago")));
        }
        pen.shut_until = None;
        // Were the newest set aside, an older one must not grow again.
        let last = self.row().last().filter(|last| last.number + 1 == pen.next).cloned();
        last.map_or_else(|| self.begin(pen, now_ms), Ok)
    }

    /// Begins a new generation, which closes the one before.
    fn begin(&self, pen: &mut Pen, now_ms: i64) -> Result<Arc<Generation>, Trouble> {
        let before = self.row().last().cloned();
        if let Some(before) = before
            && let Err(trouble) = before.mark()
        {
            self.trouble(&before, trouble)?;
        }
        let number = pen.next;
        let begun = Generation::open(&self.dir, number, self.max_bytes(), now_ms);
        let begun = begun.inspect_err(|_| {
            pen.shut_until = Some(Instant::now() + PAUSE);
            generation::remove_files(&self.dir.join(generation::name(number)));
        })?;
        pen.next += 1;
        self.insert(begun);
        self.row().last().cloned().ok_or(Trouble::Closed)
    }

    fn row(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Generation>>> {
        self.row.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pen(&self) -> MutexGuard<'_, Pen> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The generations below a directory, the oldest first.
fn numbers_in(dir: &Path) -> std::io::Result<Vec<u64>> {
    let entries = fs::read_dir(dir)?.flatten();
    let mut numbers: Vec<u64> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes the oldest generation below a directory where none is open; false if there is none.
pub fn drop_oldest_of(dir: &Path) -> bool {
    let numbers = numbers_in(dir).unwrap_or_default();
    let oldest = numbers.first().map(|number| dir.join(generation::name(*number)));
    oldest.is_some_and(|path| {
        generation::remove_files(&path);
        !path.exists()
    })
}

/// One that the disk refused is tried again later, and nobody need wait for that.
fn is_loaded(waiting: &Waiting) -> bool {
    waiting.at.is_none() && waiting.rows.iter().all(|wait| wait.not_before.is_some())
}
