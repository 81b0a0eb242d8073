//! The sole writer: takes records from bounded queues, brings them to disk, then lets them count.
//!
//! It runs on a thread of its own because sled blocks. Records are taken in batches and flushed
//! once; only after the flush does anything follow from them (a shadow call, a judge call, a
//! score in the report), so what people have seen is never lost.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use http::HeaderValue;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::board::Board;
use crate::config::CachePolicy;
use crate::error::Result;
use crate::key::CacheKey;
use crate::metrics::Metrics;
use crate::pair::Half;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::pair::PairId;
use crate::pair::Scored;
use crate::store::Store;
use crate::store::answer::Exchange;

/// The most that waiting records may hold, bytes.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Records taken before a flush.
const BATCH: usize = 256;

/// How often counters are stored and old answers dropped.
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// Something to bring to disk.
#[derive(Debug)]
pub enum Record {
    /// An answer to keep.
    Answer {
        /// Its key.
        key: CacheKey,
        /// Request, facts and frames.
        exchange: Arc<Exchange>,
    },
    /// A request that is to make a pair.
    Intent {
        /// Which pair.
        id: PairId,
        /// What to ask again.
        intent: Intent,
        /// The variant the application is being answered by.
        live: String,
        /// The client's own credential, for one provider only and never stored.
        credential: Option<Credential>,
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
        /// A short stable word.
        reason: &'static str,
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
}

/// A pair that is ready to be scored.
pub type JudgeJob = (PairId, String, String);

/// The sending end; clones share the queue.
#[derive(Clone)]
pub struct Recorder {
    records: mpsc::Sender<Record>,
    waiting_bytes: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// Hands a record over without waiting; a full queue costs the record and is counted.
    pub fn record(&self, record: Record) -> bool {
        let bytes = record.bytes();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = waiting + bytes <= MAX_WAITING_BYTES && self.records.try_send(record).is_ok();
        if sent {
            self.metrics.recorder_queue.inc();
        } else {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            Metrics::count(&self.metrics.dropped, "queue_full");
        }
        sent
    }

    /// Hands over what must not be lost: waits for room. For work out of the application's sight.
    pub async fn deliver(&self, record: Record) {
        self.waiting_bytes.fetch_add(record.bytes(), Ordering::Relaxed);
        self.metrics.recorder_queue.inc();
        if self.records.send(record).await.is_err() {
            tracing::debug!("the recorder has stopped");
        }
    }

    /// Returns once everything handed over before is on disk.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.deliver(Record::Flush(done)).await;
        // An error means that the recorder has ended, and it flushes when it does.
        let _ = flushed.await;
    }
}

impl Record {
    fn bytes(&self) -> usize {
        match self {
            Self::Answer { exchange, .. } => {
                let frames: usize = exchange.frames.iter().map(|frame| frame.bytes.len()).sum();
                frames + exchange.request.len()
            }
            Self::Intent { intent, .. } => intent.request.len(),
            Self::Half { half, .. } => half.answer.text().len(),
            _ => 0,
        }
    }
}

/// The receiving end and all it writes to.
pub struct Writer {
    records: mpsc::Receiver<Record>,
    waiting_bytes: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    store: Store,
    board: Arc<Board>,
    policy: CachePolicy,
    shadow: mpsc::Sender<ShadowJob>,
    judge: mpsc::Sender<JudgeJob>,
    known: HashSet<PairId>,
    open: HashMap<PairId, Progress>,
    /// What follows from the batch once it is on disk.
    after: Vec<Effect>,
    dirty: bool,
    last_housekeeping: Instant,
}

/// An open pair: who has answered, who is still to be scored.
struct Progress {
    head: IntentHead,
    answered: HashSet<String>,
    unscored: HashSet<String>,
}

enum Effect {
    Shadow(ShadowJob),
    Judge(JudgeJob),
    Score { experiment: String, candidate: String, scored: Scored },
    Flushed(oneshot::Sender<()>),
}

/// What the recorder is built from.
pub struct Parts {
    /// Where everything goes.
    pub store: Store,
    /// Where scores are counted.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Size and age of stored answers.
    pub policy: CachePolicy,
    /// Records that may wait.
    pub queue: usize,
    /// Copies to send.
    pub shadow: mpsc::Sender<ShadowJob>,
    /// Pairs to score.
    pub judge: mpsc::Sender<JudgeJob>,
}

/// Reads what a former process left, and gives both ends of the queue.
///
/// # Errors
/// The store cannot be read.
pub fn recorder(parts: Parts) -> Result<(Recorder, Writer)> {
    let (sender, records) = mpsc::channel(parts.queue);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let handle = Recorder {
        records: sender,
        waiting_bytes: waiting_bytes.clone(),
        metrics: parts.metrics.clone(),
    };
    let mut writer = Writer {
        records,
        waiting_bytes,
        known: parts.store.pair_ids()?,
        open: HashMap::new(),
        metrics: parts.metrics,
        store: parts.store,
        board: parts.board,
        policy: parts.policy,
        shadow: parts.shadow,
        judge: parts.judge,
        after: Vec::new(),
        dirty: false,
        last_housekeeping: Instant::now(),
    };
    writer.resume()?;
    Ok((handle, writer))
}

impl Writer {
    /// Works until it is told to stop or every sender is gone, then flushes; call it on a thread of its own.
    pub fn run(mut self) {
        self.follow();
        while let Some(record) = self.records.blocking_recv() {
            let mut next = Some(record);
            for _ in 0..BATCH {
                let Some(record) = next else { break };
                self.take(record);
                next = self.records.try_recv().ok();
            }
            if let Some(record) = next {
                self.take(record);
            }
            self.commit();
        }
        self.housekeep();
        self.dirty = true;
        self.commit();
    }

    /// Goes on with every pair that is open: asks who has not answered, queues what is whole.
    fn resume(&mut self) -> Result<()> {
        for open in self.store.open_pairs()? {
            let candidates = open.head.variants.iter().skip(1);
            let is_scored =
                |name: &&String| self.store.has_score(&open.head.experiment, name, open.id);
            let unscored: HashSet<String> = candidates.filter(|n| !is_scored(n)).cloned().collect();
            if unscored.is_empty() || self.board.experiment(&open.head.experiment).is_none() {
                self.store.close_pair(open.id)?;
                continue;
            }
            for variant in open.head.variants.iter().filter(|v| !open.answered.contains(v)) {
                let (head, variant) = (open.head.clone(), variant.clone());
                let job = ShadowJob { id: open.id, head, variant, credential: None };
                self.after.push(Effect::Shadow(job));
            }
            let answered = open.answered.into_iter().collect();
            self.open.insert(open.id, Progress { head: open.head, answered, unscored });
            self.queue_whole(open.id, None);
        }
        Ok(())
    }

    fn take(&mut self, record: Record) {
        self.metrics.recorder_queue.dec();
        self.waiting_bytes.fetch_sub(record.bytes(), Ordering::Relaxed);
        let written = match record {
            Record::Answer { key, exchange } => {
                self.store.put_answer(key, Uuid::now_v7().into_bytes(), &exchange)
            }
            Record::Intent { id, intent, live, credential } => {
                self.intent(id, &intent, &live, credential.as_ref())
            }
            Record::Half { id, half } => self.half(id, &half),
            Record::NoHalf { id, reason } => self.no_half(id, reason),
            Record::Scored { id, candidate, scored } => self.scored(id, candidate, scored),
            Record::Flush(done) => {
                self.dirty = true;
                self.after.push(Effect::Flushed(done));
                Ok(())
            }
            Record::Stop => {
                self.records.close();
                Ok(())
            }
        };
        if let Err(error) = written {
            Metrics::count(&self.metrics.dropped, "store_failed");
            tracing::error!(%error, "a record is lost");
        }
    }

    fn intent(
        &mut self,
        id: PairId,
        intent: &Intent,
        live: &str,
        credential: Option<&Credential>,
    ) -> Result<()> {
        let name = &intent.head.experiment;
        let Some(experiment) = self.board.experiment(name) else { return Ok(()) };
        let is_new = self.known.insert(id);
        let is_over = experiment.candidates.iter().all(|candidate| {
            self.board.spent(name, &candidate.variant.name).0 >= experiment.decide.max_pairs
        });
        self.board.count(name, |funnel| {
            funnel.sampled += 1;
            funnel.repeated += u64::from(!is_new);
        });
        self.metrics.step(name, if is_new { "sampled" } else { "repeated" });
        if !is_new {
            return Ok(());
        }
        if is_over {
            self.known.remove(&id);
            self.board.lost(name, "max_pairs");
            return Ok(());
        }
        self.store.put_intent(id, intent)?;
        self.dirty = true;
        for variant in intent.head.variants.iter().filter(|variant| *variant != live) {
            let (head, variant) = (intent.head.clone(), variant.clone());
            let job = ShadowJob { id, head, variant, credential: credential.cloned() };
            self.after.push(Effect::Shadow(job));
        }
        let head = intent.head.clone();
        let unscored = head.variants.iter().skip(1).cloned().collect();
        self.open.insert(id, Progress { head, answered: HashSet::new(), unscored });
        Ok(())
    }

    fn half(&mut self, id: PairId, half: &Half) -> Result<()> {
        let Some(progress) = self.open.get_mut(&id) else { return Ok(()) };
        if !progress.answered.insert(half.variant.clone()) {
            return Ok(());
        }
        self.store.put_half(id, half)?;
        self.dirty = true;
        self.queue_whole(id, Some(&half.variant));
        Ok(())
    }

    /// Queues every candidate whose pair became whole, now that `new` has answered.
    fn queue_whole(&mut self, id: PairId, new: Option<&str>) {
        let Some(progress) = self.open.get(&id) else { return };
        let control = progress.head.variants.first();
        if !control.is_some_and(|control| progress.answered.contains(control)) {
            return;
        }
        let is_new =
            |name: &str| new.is_none_or(|new| control.is_some_and(|c| c == new) || name == new);
        let whole = progress.unscored.iter().filter(|name| progress.answered.contains(*name));
        for candidate in whole.filter(|name| is_new(name)) {
            let name = progress.head.experiment.clone();
            if new.is_some() {
                self.board.count(&name, |funnel| funnel.whole += 1);
                self.metrics.step(&name, "whole");
            }
            self.after.push(Effect::Judge((id, name, candidate.clone())));
        }
    }

    /// Without one of its halves a pair comes to nothing; the prompt may make another one later.
    fn no_half(&mut self, id: PairId, reason: &'static str) -> Result<()> {
        let Some(progress) = self.open.remove(&id) else { return Ok(()) };
        self.known.remove(&id);
        self.board.lost(&progress.head.experiment, reason);
        self.metrics.step(&progress.head.experiment, "lost");
        self.dirty = true;
        self.store.forget_pair(id)
    }

    fn scored(&mut self, id: PairId, candidate: String, scored: Scored) -> Result<()> {
        let Some(progress) = self.open.get_mut(&id) else { return Ok(()) };
        if !progress.unscored.remove(&candidate) {
            return Ok(());
        }
        let experiment = progress.head.experiment.clone();
        let is_done = progress.unscored.is_empty();
        self.dirty = true;
        if self.store.put_score(&experiment, &candidate, id, &scored)? {
            self.after.push(Effect::Score { experiment, candidate, scored });
        }
        if is_done {
            self.open.remove(&id);
            self.store.close_pair(id)?;
        }
        Ok(())
    }

    /// Brings the batch to disk and lets it count.
    fn commit(&mut self) {
        if self.last_housekeeping.elapsed() >= HOUSEKEEPING {
            self.housekeep();
        }
        if std::mem::take(&mut self.dirty)
            && let Err(error) = self.store.flush()
        {
            tracing::error!(%error, "nothing can be stored");
        }
        self.follow();
    }

    fn follow(&mut self) {
        for effect in std::mem::take(&mut self.after) {
            match effect {
                Effect::Shadow(job) => {
                    let (id, name) = (job.id, job.head.experiment.clone());
                    if self.shadow.try_send(job).is_err() {
                        let _ = self.no_half(id, "shadow_queue_full");
                    } else {
                        self.board.count(&name, |funnel| funnel.sent += 1);
                        self.metrics.step(&name, "sent");
                    }
                }
                Effect::Judge(job) => {
                    self.metrics.judge_queue.inc();
                    // The judge's queue holds as many as may be open; a full one is met at restart.
                    if self.judge.try_send(job).is_err() {
                        self.metrics.judge_queue.dec();
                        Metrics::count(&self.metrics.dropped, "judge_queue_full");
                    }
                }
                Effect::Score { experiment, candidate, scored } => {
                    self.board.scored(&experiment, &candidate, &scored);
                    self.metrics.step(&experiment, "scored");
                }
                Effect::Flushed(done) => drop(done.send(())),
            }
        }
    }

    fn housekeep(&mut self) {
        self.last_housekeeping = Instant::now();
        for (name, funnel) in self.board.funnels() {
            let stored =
                serde_json::to_vec(&funnel).map(|json| self.store.put_funnel(&name, &json));
            if let Ok(Err(error)) = stored {
                tracing::error!(%error, experiment = name, "counters are not stored");
            }
        }
        let ttl_ms = i64::try_from(self.policy.ttl.as_millis()).unwrap_or(i64::MAX);
        let expired = jiff::Timestamp::now().as_millisecond().saturating_sub(ttl_ms);
        if let Err(error) = self.store.trim_answers(self.policy.max_bytes, expired) {
            tracing::error!(%error, "old answers stay");
        }
        if let Err(error) = self.store.mark() {
            tracing::error!(%error, "nothing can be stored");
        }
        let (answers, bytes) = self.store.answers_size();
        self.metrics.stored_answers.set(i64::try_from(answers).unwrap_or(i64::MAX));
        self.metrics.stored_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
