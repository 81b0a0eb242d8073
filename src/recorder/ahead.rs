//! Runs ahead of the writer: what was promised is in the journal before the writer gets to it, and
//! what must not be stored is gone before that.

use std::thread;

use tokio::sync::mpsc;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::recorder::Record;
use crate::recorder::redaction::Redaction;
use crate::store::journal::Journal;

/// A record on its way to the writer.
pub struct Numbered {
    /// The number of the last promise up to it; 0 when it came past the journal.
    pub promised: u64,
    /// What it held when it was handed over, bytes.
    pub bytes: usize,
    /// The record.
    pub record: Record,
}

impl Numbered {
    /// One that has no part in the journal.
    pub fn past(record: Record) -> Self {
        Self { promised: 0, bytes: record.bytes(), record }
    }
}

/// Starts the thread that redacts, writes promises down, and passes every record on, in order.
///
/// The writer is busy for as long as the disk takes; this thread waits only while as many records
/// as the queue holds are already ahead of it.
///
/// # Errors
/// No thread can be started.
pub fn start(
    journal: Journal,
    redaction: Redaction,
    handed_over: mpsc::Receiver<Record>,
    onward: mpsc::Sender<Numbered>,
) -> Result<()> {
    let run = move || run(journal, &redaction, handed_over, &onward);
    let started = thread::Builder::new().name("journal".into()).spawn(run);
    let failed = |e| Error::new(Kind::Internal, format!("starting the journal: {e}"));
    started.map(drop).map_err(failed)
}

fn run(
    mut journal: Journal,
    redaction: &Redaction,
    mut handed_over: mpsc::Receiver<Record>,
    onward: &mpsc::Sender<Numbered>,
) {
    while let Some(record) = handed_over.blocking_recv() {
        let bytes = record.bytes();
        let record = redaction.apply(record);
        if let Record::Intent { id, intent, .. } = &record
            && let Err(error) = journal.append(*id, intent)
        {
            tracing::warn!(pair = %id, %error, "a promised pair is not in the journal");
        }
        let is_last = matches!(record, Record::Stop);
        let numbered = Numbered { promised: journal.last(), bytes, record };
        if onward.blocking_send(numbered).is_err() || is_last {
            return;
        }
    }
}
