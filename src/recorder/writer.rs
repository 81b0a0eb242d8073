//! The recorder's thread: writes records in batches and lets things follow once they are on disk.

mod cost;
mod label;
pub mod met;
pub mod pairs;

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use crate::board::Board;
use crate::config::CachePolicy;
use crate::cost::Hour;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::feedback::Subject;
use crate::metrics::Metrics;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::pair::PairId;
use crate::pair::Scored;
use crate::recorder::JudgeJob;
use crate::recorder::Parts;
use crate::recorder::Record;
use crate::recorder::ShadowJob;
use crate::recorder::ahead::Numbered;
use crate::recorder::complaint::Complaints;
use crate::recorder::complaint::guarded;
use crate::recorder::measure;
use crate::recorder::redaction::Redaction;
use crate::recorder::writer::met::Pending;
use crate::recorder::writer::pairs::Private;
use crate::scene::Scenes;
use crate::stats::Score;
use crate::store::Store;
use crate::store::journal::Journal;
use crate::till::Till;

/// Records taken before a flush.
const BATCH: usize = 256;

/// How often counters are stored for certain, and old answers dropped.
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// The receiving end and all it writes to.
pub struct Writer {
    records: mpsc::Receiver<Numbered>,
    /// The number of the last promise taken.
    promised: u64,
    /// The number of the last one that is on disk.
    stored: Arc<AtomicU64>,
    waiting_bytes: Arc<AtomicUsize>,
    till: Arc<Till>,
    /// The last hour in which older costs were merged.
    thinned: Hour,
    metrics: Arc<Metrics>,
    redaction: Redaction,
    store: Store,
    board: Arc<Board>,
    scenes: Scenes,
    policy: CachePolicy,
    shadow: mpsc::Sender<ShadowJob>,
    judge: mpsc::Sender<JudgeJob>,
    /// Pairs that the judge's queue has no room for yet.
    unjudged: VecDeque<JudgeJob>,
    known: HashSet<PairId>,
    open: HashMap<PairId, Progress>,
    met: Pending,
    /// What follows from the batch once it is on disk.
    after: Vec<Effect>,
    dirty: bool,
    is_till_due: bool,
    last_housekeeping: Instant,
    complaints: Complaints,
}

/// An open pair: who has answered, who is still to be scored.
struct Progress {
    head: IntentHead,
    answered: HashSet<String>,
    unscored: HashSet<String>,
    has_score: bool,
}

enum Effect {
    Shadow(ShadowJob),
    /// A copy that a former process promised: it waits for room instead of being given up.
    ShadowAgain(ShadowJob),
    Judge(JudgeJob),
    Score {
        experiment: String,
        candidate: String,
        scored: Scored,
        label: Option<Score>,
    },
    /// A candidate's pairs are to be counted anew, because people labelled some.
    Recount(String, String),
    Flushed(oneshot::Sender<()>),
    Said(oneshot::Sender<Option<Subject>>, Option<Subject>),
    Labelled(oneshot::Sender<()>),
}

impl Writer {
    /// Reads which pairs there are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(
        parts: Parts,
        records: mpsc::Receiver<Numbered>,
        (waiting_bytes, till): (Arc<AtomicUsize>, Arc<Till>),
        redaction: Redaction,
        journal: &Journal,
    ) -> Result<Self> {
        Ok(Self {
            records,
            promised: journal.last(),
            stored: journal.stored(),
            waiting_bytes,
            till,
            thinned: 0,
            known: parts.store.pair_ids()?,
            open: HashMap::new(),
            met: Pending::new(parts.store.count_subjects()?),
            metrics: parts.metrics,
            redaction,
            store: parts.store,
            board: parts.board,
            scenes: parts.scenes,
            policy: parts.policy,
            shadow: parts.shadow,
            judge: parts.judge,
            unjudged: VecDeque::new(),
            after: Vec::new(),
            dirty: false,
            is_till_due: false,
            last_housekeeping: Instant::now(),
            complaints: Complaints::default(),
        })
    }

    /// Works until it is told to stop or every sender is gone, then flushes.
    ///
    /// It blocks, so it wants a thread of its own.
    pub fn run(mut self) {
        self.follow();
        while let Some(first) = self.records.blocking_recv() {
            self.take(first);
            for _ in 1..BATCH {
                let Ok(next) = self.records.try_recv() else { break };
                self.take(next);
            }
            self.commit();
        }
        self.housekeep();
        self.dirty = true;
        self.commit();
    }

    /// Goes on with what a former process left: every open pair, and those only in the journal.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn resume(&mut self, left: Vec<(PairId, Intent)>) -> Result<()> {
        self.reopen()?;
        for (id, intent) in left {
            // Nobody waits for the answer any more, so every variant is asked out of sight.
            self.intent(id, &intent, "", &Private::default())?;
        }
        for effect in &mut self.after {
            if let Effect::Shadow(job) = effect {
                *effect = Effect::ShadowAgain(job.clone());
            }
        }
        self.flush()
    }

    fn take(&mut self, Numbered { promised, bytes, record }: Numbered) {
        self.promised = self.promised.max(promised);
        self.metrics.recorder_queue.dec();
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let written = guarded(|| self.write(record));
        if let Err(error) = written {
            Metrics::count(&self.metrics.dropped, "store_failed");
            self.complaints.lost(&error);
        }
    }

    fn write(&mut self, record: Record) -> Result<()> {
        match record {
            Record::Exchange(exchange) => match self.redaction.exchange(&exchange) {
                Some(exchange) => self.store.put_exchange(&exchange),
                None => Ok(()),
            },
            Record::Intent { id, intent, live, credential, original } => {
                self.intent(id, &intent, &live, &Private { credential, original })
            }
            Record::Recorded { id, intent, half, original } => {
                self.recorded(id, &intent, &half, original)
            }
            Record::Half { id, half } => self.half(id, &half),
            Record::NoHalf { id, variant, reason } => self.no_half(id, &variant, reason),
            Record::Scored { id, candidate, scored } => self.scored(id, candidate, scored),
            Record::Spent { experiment, reserved, cost } => {
                self.board.settle(&experiment, reserved, cost);
                self.dirty = true;
                Ok(())
            }
            Record::Costs => {
                self.is_till_due = true;
                Ok(())
            }
            Record::Exposure(exposure) => {
                self.exposed(&exposure);
                Ok(())
            }
            Record::Feedback { feedback, done } => {
                let subject = self.said(feedback)?;
                self.after.push(Effect::Said(done, subject));
                Ok(())
            }
            Record::Label { run, candidate, id, label, done } => {
                self.label(run, candidate, id, &label, done)
            }
            Record::Flush(done) => {
                self.dirty = true;
                self.after.push(Effect::Flushed(done));
                Ok(())
            }
            Record::Stop => {
                self.records.close();
                Ok(())
            }
        }
    }

    /// Brings the batch to disk and lets it count.
    fn commit(&mut self) {
        if self.last_housekeeping.elapsed() >= HOUSEKEEPING {
            self.housekeep();
        }
        // sled brings it to disk within half a second, and the report shows it at once.
        if !self.dirty
            && let Err(error) = guarded(|| self.put_what_is_due())
        {
            self.complaints.tell(&error);
        }
        if std::mem::take(&mut self.dirty)
            && let Err(error) = guarded(|| self.flush())
        {
            // Nobody may be told that what was handed over is on disk.
            let is_promise = |effect: &Effect| {
                matches!(effect, Effect::Flushed(_) | Effect::Said(..) | Effect::Labelled(_))
            };
            self.after.retain(|effect| !is_promise(effect));
            self.complaints.tell(&error);
        }
        self.follow();
    }

    fn put_what_is_due(&mut self) -> Result<()> {
        self.put_met()?;
        match std::mem::take(&mut self.is_till_due) {
            true => self.put_costs(),
            false => Ok(()),
        }
    }

    /// Brings everything to disk, with the number of the last promise and the counters up to it.
    fn flush(&mut self) -> Result<()> {
        self.put_costs()?;
        self.put_met()?;
        for (name, funnel) in self.board.funnels() {
            let json = serde_json::to_vec(&funnel).map_err(|error| {
                Error::new(Kind::Internal, format!("counters cannot be written: {error}"))
            })?;
            self.store.put_funnel(&name, &json)?;
        }
        self.store.put_promised(self.promised)?;
        self.store.flush()?;
        self.stored.store(self.promised, Ordering::Release);
        Ok(())
    }

    fn follow(&mut self) {
        let (mut recounts, mut labelled) = (BTreeSet::new(), Vec::new());
        for effect in std::mem::take(&mut self.after) {
            match effect {
                Effect::Shadow(job) => {
                    if let Some(job) = self.send(job) {
                        let experiment = &job.head.experiment;
                        self.board.settle(experiment, job.reserved, Some(0));
                        let _ = self.no_half(job.id, &job.variant, "shadow_queue_full");
                    }
                }
                Effect::ShadowAgain(job) => {
                    // The next record tells, at the latest, that a copy has ended and left room.
                    if let Some(job) = self.send(job) {
                        self.after.push(Effect::ShadowAgain(job));
                    }
                }
                Effect::Judge(job) => {
                    self.metrics.judge_queue.inc();
                    self.unjudged.push_back(job);
                }
                Effect::Score { experiment, candidate, scored, label } => {
                    self.board.scored(&experiment, &candidate, &scored, label);
                    self.metrics.step(&experiment, "scored");
                }
                Effect::Recount(run, candidate) => drop(recounts.insert((run, candidate))),
                Effect::Flushed(done) => drop(done.send(())),
                Effect::Said(done, subject) => drop(done.send(subject)),
                Effect::Labelled(done) => labelled.push(done),
            }
        }
        // After every score of the batch, which the store has already.
        self.recount(recounts);
        for done in labelled {
            let _nobody_waits = done.send(());
        }
        self.offer();
    }

    /// Hands pairs to the judge in their order, as many as it has room for; the next record, which
    /// is a score at the latest, tells that there is more.
    fn offer(&mut self) {
        while let Some(job) = self.unjudged.pop_front() {
            if let Err(TrySendError::Full(job)) = self.judge.try_send(job) {
                self.unjudged.push_front(job);
                return;
            }
        }
    }

    /// Hands a copy over; gives it back when there is no room for it.
    fn send(&self, job: ShadowJob) -> Option<ShadowJob> {
        let name = job.head.experiment.clone();
        if let Err(error) = self.shadow.try_send(job) {
            return Some(error.into_inner());
        }
        self.board.count(&name, |funnel| funnel.sent += 1);
        self.metrics.step(&name, "sent");
        None
    }

    fn housekeep(&mut self) {
        self.last_housekeeping = Instant::now();
        // Requests that took part without making a pair are counted, but write nothing.
        self.dirty = true;
        let ttl_ms = i64::try_from(self.policy.ttl.as_millis()).unwrap_or(i64::MAX);
        let expired = jiff::Timestamp::now().as_millisecond().saturating_sub(ttl_ms);
        let swept = guarded(|| {
            for (run, seen) in self.board.vitals() {
                self.store.put_vitals(&run, &seen)?;
            }
            self.store.sweep(self.policy.max_bytes, expired)?;
            self.thin_costs()?;
            self.forget_old()?;
            self.store.mark()
        });
        if let Err(error) = swept {
            self.complaints.tell(&error);
        }
        measure::measure(&self.store, &self.metrics);
    }
}
