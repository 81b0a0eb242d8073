//! The sole writer: takes records from bounded queues, brings them to disk, then lets them count.
//!
//! It runs on a thread of its own because sled blocks. Another thread, just ahead of it, writes into
//! a journal what was promised, so that a kill while the disk is busy loses no pair. Records are
//! taken in batches and flushed once; only after the flush does anything follow from them (a shadow
//! call, a judge call, a score in the report), so what people have seen is never lost.

mod ahead;
mod complaint;
mod measure;
mod redaction;
pub mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::board::Board;
use crate::config::CachePolicy;
use crate::cost::Line;
use crate::cost::Sums;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exposure::Exposure;
use crate::feedback::Feedback;
use crate::feedback::Subject;
use crate::label::Label;
use crate::ledger::Reserved;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::pair::Half;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::pair::PairId;
use crate::pair::Scored;
use crate::recorder::ahead::Numbered;
use crate::recorder::redaction::Original;
use crate::recorder::redaction::Redaction;
use crate::recorder::writer::Writer;
use crate::redact::Redactor;
use crate::scene::Scenes;
use crate::store::Store;
use crate::store::exchange::Exchange;
use crate::store::journal::Journal;
use crate::till::Till;

/// How long the till may fill before it is emptied: a disk takes longer for one line of the books
/// than a stored answer takes altogether.
const CASHING_UP: Duration = Duration::from_millis(200);

/// Something to bring to disk.
#[derive(Debug)]
pub enum Record {
    /// An exchange to keep.
    Exchange(Arc<Exchange>),
    /// A request that is to make a pair.
    Intent {
        /// Which pair.
        id: PairId,
        /// What to ask again.
        intent: Intent,
        /// The variant whose half is the application's own answer; empty when none is.
        live: String,
        /// The client's own credential, for one provider only and never stored.
        credential: Option<Credential>,
        /// What was asked, where the intent is redacted; filled in on the way.
        original: Option<Arc<Original>>,
    },
    /// A recorded request that is to make a pair, with what one variant answered then: either both
    /// are on disk or neither is, so that a crash never asks for what was known.
    Recorded {
        /// Which pair.
        id: PairId,
        /// What to ask again.
        intent: Intent,
        /// The recorded answer.
        half: Box<Half>,
        /// What was asked, where the intent is redacted; filled in on the way.
        original: Option<Arc<Original>>,
    },
    /// A variant's answer.
    Half {
        /// Which pair.
        id: PairId,
        /// The answer.
        half: Box<Half>,
    },
    /// A variant gave no whole answer.
    NoHalf {
        /// Which pair.
        id: PairId,
        /// Whose answer is missing.
        variant: String,
        /// A short stable word.
        reason: &'static str,
    },
    /// A copy has ended.
    Spent {
        /// Of which experiment.
        experiment: String,
        /// What was set aside for it.
        reserved: Reserved,
        /// What it cost, billionths of a dollar; `None` when that is not known.
        cost: Option<u64>,
    },
    /// A unit met a variant.
    Exposure(Box<Exposure>),
    /// Calls cost something, which is in the till.
    Costs,
    /// Somebody said something of an answer.
    Feedback {
        /// What.
        feedback: Feedback,
        /// Told, once it is on disk, what the request was part of; `None` when it is not known.
        done: oneshot::Sender<Option<Subject>>,
    },
    /// A person labelled a pair.
    Label {
        /// The run it is of.
        run: String,
        /// The candidate whose pair it is.
        candidate: String,
        /// Which pair.
        id: PairId,
        /// What was said.
        label: Label,
        /// Told once it is on disk.
        done: oneshot::Sender<()>,
    },
    /// A pair was scored.
    Scored {
        /// Which pair.
        id: PairId,
        /// Of which candidate.
        candidate: String,
        /// The outcome.
        scored: Scored,
    },
    /// Answer once everything before this is on disk.
    Flush(oneshot::Sender<()>),
    /// Write everything before this, then end.
    Stop,
}

/// A credential header with the provider it may be shown to.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The provider it was sent for.
    pub provider: String,
    /// Header name.
    pub name: &'static str,
    /// Header value, marked sensitive.
    pub value: HeaderValue,
}

/// A copy of a request to send to a variant.
#[derive(Clone, Debug)]
pub struct ShadowJob {
    /// Which pair.
    pub id: PairId,
    /// Experiment and dialect.
    pub head: IntentHead,
    /// Who is asked.
    pub variant: String,
    /// The client's own credential, if it may be used.
    pub credential: Option<Credential>,
    /// What was asked, where something else is stored.
    pub original: Option<Arc<Original>>,
    /// What it may cost.
    pub reserved: Reserved,
}

/// A pair that is ready to be scored.
pub type JudgeJob = (PairId, String, String);

/// The sending end; clones share the queue.
#[derive(Clone)]
pub struct Recorder {
    records: mpsc::Sender<Record>,
    /// Past the journal, for what it has no part in.
    answers: mpsc::Sender<Numbered>,
    waiting_bytes: Arc<AtomicUsize>,
    /// The most of them.
    room: usize,
    till: Arc<Till>,
    redaction: Redaction,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// Hands a record over without waiting; a full queue costs the record and is counted.
    pub fn record(&self, record: Record) -> bool {
        let bytes = record.bytes();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let hand_over = |record| match record {
            Record::Exchange(_) => self.answers.try_send(Numbered::past(record)).is_ok(),
            record => self.records.try_send(record).is_ok(),
        };
        let sent = waiting + bytes <= self.room && hand_over(record);
        if sent {
            self.metrics.recorder_queue.inc();
        } else {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            Metrics::count(&self.metrics.dropped, "queue_full");
        }
        sent
    }

    /// Notes what a call comes to, without waiting and without losing it to a full queue.
    pub fn book(&self, line: Line, sums: &Sums) {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        if !self.till.add(now_ms, line, sums) {
            return;
        }
        let (answers, metrics) = (self.answers.clone(), self.metrics.clone());
        let tell = move || {
            // Where there is no room, the till is emptied with the next housekeeping.
            if answers.try_send(Numbered::past(Record::Costs)).is_ok() {
                metrics.recorder_queue.inc();
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(CASHING_UP).await;
                tell();
            })),
            Err(_) => tell(),
        }
    }

    /// Hands over what must not be lost: waits for room. For work out of the application's sight.
    pub async fn deliver(&self, record: Record) {
        self.waiting_bytes.fetch_add(record.bytes(), Ordering::Relaxed);
        self.metrics.recorder_queue.inc();
        if self.records.send(record).await.is_err() {
            tracing::debug!("the recorder has stopped");
        }
    }

    /// The rules of redaction in force.
    pub fn rules(&self) -> Redactor {
        self.redaction.rules()
    }

    /// Returns once everything handed over before is on disk.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.deliver(Record::Flush(done)).await;
        // An error means that the recorder has ended, and it flushes when it does.
        let _ = flushed.await;
    }
}

impl Recorder {
    /// Hands over what somebody said of an answer, and waits until it is on disk.
    ///
    /// # Errors
    /// Nothing is known of the request, or the disk could not take it.
    pub async fn say(&self, feedback: Feedback) -> Result<Subject> {
        let request_id: String = feedback.request_id.chars().take(64).collect();
        let (done, told) = oneshot::channel();
        self.deliver(Record::Feedback { feedback, done }).await;
        let subject = told.await.map_err(|_| {
            Error::new(Kind::Store, "the feedback could not be stored: send it again later")
        })?;
        subject.ok_or_else(|| {
            let what = format!(
                "no request \"{request_id}\" took part in an experiment within 30 days: send the \
                 `x-request-id` header of an answer that also has `x-understudy-experiment`"
            );
            Error::new(Kind::NotFound, what)
        })
    }
}

impl Recorder {
    /// Hands over what a person said of a pair, and waits until it is on disk.
    ///
    /// # Errors
    /// The disk could not take it.
    pub async fn label(
        &self,
        run: String,
        candidate: String,
        id: PairId,
        label: Label,
    ) -> Result<()> {
        let (done, told) = oneshot::channel();
        self.deliver(Record::Label { run, candidate, id, label, done }).await;
        told.await.map_err(|_| {
            Error::new(Kind::Store, "the label could not be stored: send it again later")
        })
    }
}

impl Record {
    fn bytes(&self) -> usize {
        match self {
            Self::Exchange(exchange) => {
                let frames: usize = exchange.frames.iter().map(|frame| frame.bytes.len()).sum();
                frames + exchange.request.len()
            }
            Self::Intent { intent, .. } => intent.request.len(),
            Self::Recorded { intent, half, .. } => intent.request.len() + half.answer.text().len(),
            Self::Half { half, .. } => half.answer.text().len(),
            Self::Feedback { feedback, .. } => feedback.comment.as_ref().map_or(0, String::len),
            _ => 0,
        }
    }
}

/// What the recorder is built from.
pub struct Parts {
    /// Where the journal is.
    pub data_dir: PathBuf,
    /// Where everything goes.
    pub store: Store,
    /// The definitions in force.
    pub scenes: Scenes,
    /// Where scores are counted.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Size and age of stored answers.
    pub policy: CachePolicy,
    /// Records that may wait.
    pub queue: usize,
    /// Memory that they may hold.
    pub memory: Memory,
    /// Copies to send.
    pub shadow: mpsc::Sender<ShadowJob>,
    /// Pairs to score.
    pub judge: mpsc::Sender<JudgeJob>,
}

/// Reads what a former process left, and gives both ends of the queue.
///
/// # Errors
/// The store or the journal cannot be used.
pub fn recorder(parts: Parts) -> Result<(Recorder, Writer)> {
    let (records, handed_over) = mpsc::channel(parts.queue);
    let (onward, numbered) = mpsc::channel(parts.queue);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let till = Arc::new(Till::default());
    let redaction = Redaction::new(parts.scenes.clone(), parts.metrics.clone());
    let handle = Recorder {
        records,
        answers: onward.clone(),
        waiting_bytes: waiting_bytes.clone(),
        room: usize::try_from(parts.memory.waiting).unwrap_or(usize::MAX),
        till: till.clone(),
        redaction: redaction.clone(),
        metrics: parts.metrics.clone(),
    };
    let (mut journal, left) = Journal::open(&parts.data_dir, &parts.store)?;
    let mut writer =
        Writer::new(parts, numbered, (waiting_bytes, till), redaction.clone(), &journal)?;
    writer.resume(left)?;
    journal.clear()?;
    ahead::start(journal, redaction, handed_over, onward)?;
    Ok((handle, writer))
}
