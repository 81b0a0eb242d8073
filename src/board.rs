//! The live state of every experiment: counters the request path may touch, scores the recorder adds.
//!
//! An epoch of an experiment has an entry of its own, under its ledger's name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use crate::error::Result;
use crate::experiment::Experiment;
use crate::pair::Scored;
use crate::report;
use crate::report::Report;
use crate::store::Store;
use crate::tally::Funnel;
use crate::tally::Tally;

/// All experiments of a process, by the name of their ledger.
#[derive(Debug, Default)]
pub struct Board {
    entries: RwLock<BTreeMap<String, Arc<Entry>>>,
    scored: Notify,
}

#[derive(Debug)]
struct Entry {
    /// Replaced when the definition or its standing changes; the counters stay.
    experiment: RwLock<Arc<Experiment>>,
    matched: AtomicU64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    funnel: Funnel,
    tallies: BTreeMap<String, Tally>,
}

impl Board {
    /// Nothing counted yet.
    pub fn new(experiments: &[Experiment]) -> Self {
        let entry = |e: &Experiment| (e.ledger().into_owned(), Entry::new(e, Counts::default()));
        Self::of(experiments.iter().map(entry).collect())
    }

    /// What the store holds of these experiments.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load(experiments: &[Experiment], store: &Store) -> Result<Self> {
        let entry = |experiment: &Experiment| {
            let counts = Counts::load(experiment, store)?;
            Ok((experiment.ledger().into_owned(), Entry::new(experiment, counts)))
        };
        Ok(Self::of(experiments.iter().map(entry).collect::<Result<_>>()?))
    }

    fn of(entries: BTreeMap<String, Arc<Entry>>) -> Self {
        Self { entries: RwLock::new(entries), scored: Notify::new() }
    }

    /// Puts these definitions in the place of the present ones; what was counted stays.
    ///
    /// Those that are new are looked up in the store, and those that are gone are counted no more.
    ///
    /// # Errors
    /// The store cannot be read; then nothing is changed.
    pub fn follow(&self, experiments: &[Experiment], store: &Store) -> Result<()> {
        let mut next = BTreeMap::new();
        for experiment in experiments {
            let ledger = experiment.ledger();
            let entry = match self.entry(&ledger) {
                Some(entry) => entry,
                None => Entry::new(experiment, Counts::load(experiment, store)?),
            };
            next.insert(ledger.into_owned(), (entry, experiment));
        }
        let settle = |(ledger, (entry, experiment)): (String, (Arc<Entry>, &Experiment))| {
            entry.define(experiment);
            (ledger, entry)
        };
        let next = next.into_iter().map(settle).collect();
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Puts the standing of an experiment that is here in the place of the present one.
    pub fn define(&self, experiment: &Experiment) {
        if let Some(entry) = self.entry(&experiment.ledger()) {
            entry.define(experiment);
        }
    }

    /// The experiments' definitions, by name.
    pub fn experiments(&self) -> Vec<Arc<Experiment>> {
        self.all().iter().map(|(_, entry)| entry.experiment()).collect()
    }

    /// The definition whose results stand in this ledger.
    pub fn experiment(&self, ledger: &str) -> Option<Arc<Experiment>> {
        self.entry(ledger).map(|entry| entry.experiment())
    }

    /// Returns once a score was counted since the last time it returned.
    pub async fn changed(&self) {
        self.scored.notified().await;
    }

    fn entry(&self, ledger: &str) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(ledger).cloned()
    }

    fn all(&self) -> Vec<(String, Arc<Entry>)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|(ledger, entry)| (ledger.clone(), entry.clone())).collect()
    }

    /// A request took part; costs one atomic addition.
    pub fn matched(&self, experiment: &str) {
        if let Some(entry) = self.entry(experiment) {
            entry.matched.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Changes an experiment's funnel.
    pub fn count(&self, experiment: &str, change: impl FnOnce(&mut Funnel)) {
        if let Some(entry) = self.entry(experiment) {
            change(&mut entry.counts().funnel);
        }
    }

    /// Work was given up, and why.
    pub fn lost(&self, experiment: &str, reason: &str) {
        self.count(experiment, |funnel| {
            *funnel.lost.entry(reason.to_owned()).or_default() += 1;
        });
    }

    /// Takes a newly stored score in.
    pub fn scored(&self, experiment: &str, candidate: &str, scored: &Scored) {
        if let Some(entry) = self.entry(experiment) {
            let mut counts = entry.counts();
            counts.funnel.scored += u64::from(scored.outcome.score().is_some());
            counts.tallies.entry(candidate.to_owned()).or_default().add(scored);
        }
        self.scored.notify_one();
    }

    /// Why no more pairs are needed or can be paid: `max_pairs` or `budget_usd`.
    pub fn is_over(&self, experiment: &str) -> Option<&'static str> {
        let entry = self.entry(experiment)?;
        let experiment = entry.experiment();
        let counts = entry.counts();
        let pairs = |name: &str| counts.tallies.get(name).map_or(0, |t| t.win_rate.pairs());
        let mut candidates = experiment.candidates.iter();
        if candidates.all(|c| pairs(&c.variant.name) >= experiment.decide.max_pairs) {
            return Some("max_pairs");
        }
        let nano_usd: u64 = counts.tallies.values().map(|tally| tally.judge.cost_nano_usd).sum();
        let budget = experiment.evaluate.budget_usd;
        budget.filter(|budget| nano_usd as f64 / 1e9 >= *budget).map(|_| "budget_usd")
    }

    /// The counters of every experiment, to be stored.
    pub fn funnels(&self) -> Vec<(String, Funnel)> {
        self.all().into_iter().map(|(ledger, entry)| (ledger, entry.funnel())).collect()
    }

    /// The report of one experiment, by its name.
    pub fn report(&self, name: &str) -> Option<Report> {
        let all = self.all();
        let (_, entry) = all.iter().find(|(_, entry)| entry.experiment().name == name)?;
        let tallies = entry.counts().tallies.clone();
        Some(report::report(&entry.experiment(), entry.funnel(), &tallies))
    }
}

impl Counts {
    fn load(experiment: &Experiment, store: &Store) -> Result<Self> {
        let counters = store.funnel(&experiment.ledger());
        let mut funnel: Funnel =
            counters.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
        let mut tallies = BTreeMap::new();
        for candidate in &experiment.candidates {
            let name = &candidate.variant.name;
            let mut tally = Tally::default();
            for (_, scored) in store.scores(&experiment.ledger(), name)? {
                tally.add(&scored);
            }
            tallies.insert(name.clone(), tally);
        }
        // Scores are the truth; the counters may lag behind them after a crash.
        funnel.scored = tallies.values().map(|tally| tally.win_rate.pairs()).sum();
        funnel.whole = funnel.whole.max(funnel.scored);
        Ok(Self { funnel, tallies })
    }
}

impl Entry {
    fn new(experiment: &Experiment, counts: Counts) -> Arc<Self> {
        Arc::new(Self {
            experiment: RwLock::new(Arc::new(experiment.clone())),
            matched: AtomicU64::new(counts.funnel.matched),
            counts: Mutex::new(counts),
        })
    }

    fn define(&self, experiment: &Experiment) {
        let mut current = self.experiment.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(experiment.clone());
    }

    fn experiment(&self) -> Arc<Experiment> {
        self.experiment.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn funnel(&self) -> Funnel {
        let matched = self.matched.load(Ordering::Relaxed);
        Funnel { matched, ..self.counts().funnel.clone() }
    }
}
