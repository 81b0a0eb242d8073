//! What is said of a disk that fails: little, because it fails for every record.

use std::time::Duration;
use std::time::Instant;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::store::guard;

/// How often a disk that fails is told about.
const PAUSE: Duration = Duration::from_secs(30);

/// When it was last told, and what was lost since.
#[derive(Default)]
pub struct Complaints {
    told: Option<Instant>,
    lost: u64,
}

impl Complaints {
    /// A record is lost.
    pub fn lost(&mut self, error: &Error) {
        self.lost += 1;
        self.tell(error);
    }

    /// Says why nothing can be stored, unless that was just said.
    pub fn tell(&mut self, error: &Error) {
        if self.told.is_none_or(|at| at.elapsed() >= PAUSE) {
            self.told = Some(Instant::now());
            let lost = std::mem::take(&mut self.lost);
            tracing::error!(%error, records_lost = lost, "what should be stored is not");
        }
    }
}

/// Calls the store; sled may panic at damage, which must end neither this thread nor anything else.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    guard::catch(work).unwrap_or_else(|panicked| {
        Err(Error::new(Kind::Store, format!("the data directory is damaged: {panicked}")))
    })
}
