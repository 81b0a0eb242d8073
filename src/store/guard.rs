//! Calls into sled that may panic: the panic becomes a message, is printed nowhere and ends nothing.

use std::cell::Cell;
use std::panic;
use std::sync::Once;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::error::Error;
use crate::error::Kind;

/// Why a call into sled failed.
#[derive(Debug)]
pub enum Trouble {
    /// What is on disk is not what was written.
    Damaged(String),
    /// The disk is full, gone or somebody else's.
    Disk(std::io::Error),
    /// It was closed meanwhile: dropped for room, or set aside.
    Closed,
}

impl From<sled::Error> for Trouble {
    fn from(error: sled::Error) -> Self {
        use std::io::ErrorKind;
        match error {
            // A file that is shorter than sled remembers.
            sled::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Self::Damaged(error.to_string())
            }
            sled::Error::Io(error) => Self::Disk(error),
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        let why = match trouble {
            Trouble::Damaged(why) => format!("the data directory is damaged: {why}"),
            Trouble::Disk(error) => format!("the data directory failed: {error}"),
            Trouble::Closed => "this part of the data directory was just closed".to_owned(),
        };
        Self::new(Kind::Store, why)
    }
}

/// How long a directory may stay locked whose owner is just closing it.
const UNLOCK: Duration = Duration::from_secs(2);

/// Opens a directory, which sled may hold locked for a moment after it was closed.
///
/// # Errors
/// It is somebody else's, cannot be used, or is damaged.
#[allow(clippy::disallowed_methods, reason = "opening sled blocks anyway, on a thread for it")]
pub fn open(config: &sled::Config) -> sled::Result<sled::Db> {
    let began = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if is_locked(&error) && began.elapsed() < UNLOCK => {
                thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

/// Whether a directory cannot be opened because it is open already.
pub fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Runs calls into sled; a panic is damage.
///
/// # Errors
/// Whatever went wrong, by its remedy.
pub fn run<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, Trouble> {
    catch(work).map_err(Trouble::Damaged)?.map_err(Trouble::from)
}

/// Runs `work` and turns a panic into its message instead of printing it.
///
/// # Errors
/// The message of the panic.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // The hook is the process's: it is set once and asks each thread whether it is guarded.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_GUARDED.get() && !is_of_sled() {
                previous(info);
            }
        }));
    });
    let before = IS_GUARDED.replace(true);
    let result = panic::catch_unwind(panic::AssertUnwindSafe(work));
    IS_GUARDED.set(before);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        // sled prints whole pages into some of its messages.
        text.unwrap_or("sled panicked").chars().take(200).collect()
    })
}

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// sled reads segments on threads of its own, and the one that waits for them panics as well.
fn is_of_sled() -> bool {
    thread::current().name().is_some_and(|name| name.starts_with("sled-io-"))
}
