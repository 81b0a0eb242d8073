//! The store's own thread: opens what is older, mends what is damaged, and flushes meanwhile.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::store::base::Base;
use crate::store::disk;
use crate::store::generation;
use crate::store::generation::Generation;
use crate::store::generations::Generations;
use crate::store::generations::Wait;
use crate::store::guard::Trouble;
use crate::store::rescue;

/// How long what was written may be in memory only.
const FLUSH: Duration = Duration::from_millis(500);

/// The running thread; dropping it ends it, so that the files are closed when a store is.
pub struct Keeper {
    generations: Arc<Generations>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(generations: Arc<Generations>, base: Arc<Base>) -> std::io::Result<Self> {
        let kept = generations.clone();
        let run = move || run(&kept, &base);
        let thread = Some(thread::Builder::new().name("keeper".into()).spawn(run)?);
        Ok(Self { generations, thread })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.generations.stop();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn run(generations: &Generations, base: &Base) {
    while let Some(wait) = generations.next_waiting(FLUSH) {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        match wait {
            Some(Wait { number, why: Some(why), .. }) => mend(generations, number, &why, now_ms),
            Some(wait) => generations.load(&wait, now_ms),
            None => {
                // The recorder flushes as well, and tells about a disk that fails.
                let _ = generations.flush(false);
                generations.make_room_on_disk(base.has_failed());
                base.revive();
            }
        }
    }
}

/// Moves a damaged generation aside and puts one in its place with what can be read of it.
fn mend(generations: &Generations, number: u64, why: &str, now_ms: i64) {
    let dir = generations.dir();
    let path = dir.join(generation::name(number));
    match replace(generations, number, now_ms) {
        Ok((aside, rescued)) => tracing::error!(
            moved_to = %aside.display(), why, rescued,
            "some stored exchanges were damaged: they are kept aside, and what could be read of \
             them is used"
        ),
        Err(trouble) => {
            let error = crate::error::Error::from(trouble);
            tracing::error!(path = %path.display(), why, %error, "stored exchanges are damaged");
        }
    }
    disk::forget_aside(dir, 2);
}

fn replace(generations: &Generations, number: u64, now_ms: i64) -> Result<(PathBuf, u64), Trouble> {
    let dir = generations.dir();
    let path = dir.join(generation::name(number));
    let aside = disk::aside(&path);
    fs::rename(&path, &aside).map_err(Trouble::Disk)?;
    generation::remove_files(&path);
    let fresh = Generation::open(dir, number, generations.max_bytes(), now_ms)?;
    let rescued = rescue::exchanges(&aside, &fresh, generations.keys());
    fresh.mark()?;
    if fresh.held().0 == 0 {
        // Nothing is left that is worth a place in the row.
        fresh.drop_files();
    } else {
        generations.insert(fresh);
    }
    Ok((aside, rescued))
}
