//! An experiment without an audience: the recorder, the copies and the judge that work beside live
//! traffic, on a store of their own, fed with requests that are there already.
//!
//! A pair is on disk before anything is asked for it, so a rehearsal that was killed goes on where
//! it was when it is opened again.

pub mod cost;
pub mod run;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::board::Board;
use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::judge::Judge;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::pair::Half;
use crate::pair::Intent;
use crate::pair::PairId;
use crate::price::Prices;
use crate::recorder;
use crate::recorder::Record;
use crate::recorder::Recorder;
use crate::report::Report;
use crate::scene::Scene;
use crate::shadow::Shadow;
use crate::store::Store;
use crate::store::cipher::Keys;

/// Pairs that are open at once, for each copy that may be under way.
const PAIRS_FOR_EACH_COPY: usize = 2;

/// Variants that a pair may have: control, control again and four candidates.
const VARIANTS: usize = 6;

/// How long the recorder may take to write what is queued at the end.
const LAST_WRITE: Duration = Duration::from_secs(10);

/// A rehearsal that is open.
pub struct Rehearsal {
    /// What is rehearsed.
    pub experiment: Arc<Experiment>,
    /// Its results.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Its pairs.
    pub store: Store,
    /// What models cost.
    pub prices: Arc<Prices>,
    recorder: Recorder,
    /// They end when they are let go.
    workers: JoinSet<()>,
    writer: thread::JoinHandle<()>,
    /// Pairs that are whole, or were open when the rehearsal was.
    known: HashSet<PairId>,
    /// Pairs that may be open at once.
    places: usize,
}

/// A pair to make.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which.
    pub id: PairId,
    /// What to ask.
    pub intent: Intent,
    /// What one variant answered before.
    pub half: Option<Half>,
}

impl Rehearsal {
    /// Opens the directory for the one experiment of `config`, and goes on with what is left there.
    ///
    /// # Errors
    /// The directory cannot be used or is in use, or TLS cannot start.
    pub fn open(config: Config, dir: &Path) -> Result<Self> {
        let opened = Store::open_all(dir, &Keys::new(&config.encryption_keys))?;
        if let Some(damage) = &opened.damage {
            tracing::error!(
                moved_to = %damage.aside.display(), why = damage.why, rescued = damage.rescued,
                "the directory was damaged: it is kept aside, and what could be read of it is used"
            );
        }
        let store = opened.store;
        store.mark()?;
        let known = store.pair_ids()?;
        let scene = Arc::new(Scene::new(config)?);
        let config = scene.config.clone();
        let experiment = config
            .experiments
            .first()
            .ok_or_else(|| Error::new(Kind::Internal, "there is no experiment to rehearse"))?;
        let places = config.shadowing.concurrency.max(1) * PAIRS_FOR_EACH_COPY;
        let (metrics, board) =
            (Arc::new(Metrics::new()), Arc::new(Board::load(&config.experiments, &store)?));
        // Nobody changes the scene of a rehearsal.
        let (_, scenes) = watch::channel(scene.clone());
        let copies = places * VARIANTS + config.shadowing.concurrency;
        let (shadow, shadow_jobs) = mpsc::channel(copies);
        let (judge, judge_jobs) = mpsc::channel(places * VARIANTS + known.len());
        let (recorder, writer) = recorder::recorder(recorder::Parts {
            data_dir: dir.to_owned(),
            store: store.clone(),
            scenes: scenes.clone(),
            board: board.clone(),
            metrics: metrics.clone(),
            policy: config.keeping(),
            queue: config.limits.recorder_queue,
            memory: Memory::default(),
            shadow,
            judge,
        })?;
        let started = thread::Builder::new().name("recorder".into()).spawn(move || writer.run());
        let writer = started.map_err(|error| {
            Error::new(Kind::Internal, format!("starting the recorder: {error}"))
        })?;
        let shadow = Shadow::new(scenes.clone(), store.clone(), recorder.clone()).patient();
        let (kept, told, counted) = (store.clone(), recorder.clone(), board.clone());
        let judge = Arc::new(Judge::new(scenes, kept, told, counted, metrics.clone()));
        let mut workers = JoinSet::new();
        workers.spawn(Arc::new(shadow).run(shadow_jobs));
        workers.spawn(judge.run(judge_jobs));
        let experiment = Arc::new(experiment.clone());
        let prices = config.prices.clone();
        Ok(Self {
            experiment,
            board,
            metrics,
            store,
            prices,
            recorder,
            workers,
            writer,
            known,
            places,
        })
    }

    /// Whether a pair was made or begun before.
    pub fn has(&self, id: PairId) -> bool {
        self.known.contains(&id)
    }

    /// The report as things stand.
    ///
    /// # Errors
    /// The board does not know the experiment.
    pub fn report(&self) -> Result<Report> {
        let report = self.board.full_report(&self.experiment.name);
        report.ok_or_else(|| Error::new(Kind::Internal, "the experiment has no report"))
    }

    /// Promises a pair; it is on disk after the next [`Self::flush`].
    pub async fn promise(&mut self, ask: Ask) {
        let Ask { id, intent, half } = ask;
        self.known.insert(id);
        let (credential, original) = (None, None);
        let record = match half {
            Some(half) => Record::Recorded { id, intent, half: Box::new(half), original },
            None => Record::Intent { id, intent, live: String::new(), credential, original },
        };
        self.recorder.deliver(record).await;
    }

    /// Returns once everything promised and answered so far is on disk and counted.
    pub async fn flush(&self) {
        self.recorder.flush().await;
    }

    /// Writes what is there and ends; what is under way is asked again when it is opened again.
    pub async fn close(mut self) {
        self.workers.shutdown().await;
        self.recorder.deliver(Record::Stop).await;
        let written = tokio::task::spawn_blocking(move || self.writer.join());
        if !matches!(tokio::time::timeout(LAST_WRITE, written).await, Ok(Ok(Ok(())))) {
            tracing::error!("the recorder could not write everything in time");
        }
    }
}
