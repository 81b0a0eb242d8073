//! Runs ahead of the writer: what was promised is in the journal before the writer gets to it.

use std::thread;

use tokio::sync::mpsc;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::recorder::Record;
use crate::store::journal::Journal;

/// A record with the number of the last promise up to it; 0 when it came past the journal.
pub type Numbered = (u64, Record);

/// Starts the thread that writes promises down and passes every record on, in order.
///
/// The writer is busy for as long as the disk takes; this thread waits only while as many records
/// as the queue holds are already ahead of it.
///
/// # Errors
/// No thread can be started.
pub fn start(
    journal: Journal,
    handed_over: mpsc::Receiver<Record>,
    onward: mpsc::Sender<Numbered>,
) -> Result<()> {
    let run = move || run(journal, handed_over, &onward);
    let started = thread::Builder::new().name("journal".into()).spawn(run);
    let failed = |e| Error::new(Kind::Internal, format!("starting the journal: {e}"));
    started.map(drop).map_err(failed)
}

fn run(
    mut journal: Journal,
    mut handed_over: mpsc::Receiver<Record>,
    onward: &mpsc::Sender<Numbered>,
) {
    while let Some(record) = handed_over.blocking_recv() {
        if let Record::Intent { id, intent, .. } = &record
            && let Err(error) = journal.append(*id, intent)
        {
            tracing::warn!(pair = %id, %error, "a promised pair is not in the journal");
        }
        let is_last = matches!(record, Record::Stop);
        if onward.blocking_send((journal.last(), record)).is_err() || is_last {
            return;
        }
    }
}
