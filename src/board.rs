//! The live state of every experiment: counters the request path may touch, scores the recorder adds.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::experiment::Experiment;
use crate::pair::Scored;
use crate::report;
use crate::report::Report;
use crate::store::Store;
use crate::tally::Funnel;
use crate::tally::Tally;

/// All experiments of a process, by name.
#[derive(Debug, Default)]
pub struct Board {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    experiment: Experiment,
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
        let entry = |e: &Experiment| (e.name.clone(), Entry::new(e, Counts::default()));
        Self { entries: experiments.iter().map(entry).collect() }
    }

    /// What the store holds of these experiments.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load(experiments: &[Experiment], store: &Store) -> Result<Self> {
        let entry = |experiment: &Experiment| {
            let counts = Counts::load(experiment, store)?;
            Ok((experiment.name.clone(), Entry::new(experiment, counts)))
        };
        Ok(Self { entries: experiments.iter().map(entry).collect::<Result<_>>()? })
    }

    /// The experiments' definitions, by name.
    pub fn experiments(&self) -> impl Iterator<Item = &Experiment> {
        self.entries.values().map(|entry| &entry.experiment)
    }

    /// One definition.
    pub fn experiment(&self, name: &str) -> Option<&Experiment> {
        self.entries.get(name).map(|entry| &entry.experiment)
    }

    /// A request took part; costs one atomic addition.
    pub fn matched(&self, experiment: &str) {
        if let Some(entry) = self.entries.get(experiment) {
            entry.matched.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Changes an experiment's funnel.
    pub fn count(&self, experiment: &str, change: impl FnOnce(&mut Funnel)) {
        if let Some(entry) = self.entries.get(experiment) {
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
        if let Some(entry) = self.entries.get(experiment) {
            let mut counts = entry.counts();
            counts.funnel.scored += u64::from(scored.outcome.score().is_some());
            counts.tallies.entry(candidate.to_owned()).or_default().add(scored);
        }
    }

    /// Why no more pairs are needed or can be paid: `max_pairs` or `budget_usd`.
    pub fn is_over(&self, experiment: &str) -> Option<&'static str> {
        let entry = self.entries.get(experiment)?;
        let counts = entry.counts();
        let pairs = |name: &str| counts.tallies.get(name).map_or(0, |t| t.win_rate.pairs());
        let mut candidates = entry.experiment.candidates.iter();
        if candidates.all(|c| pairs(&c.variant.name) >= entry.experiment.decide.max_pairs) {
            return Some("max_pairs");
        }
        let nano_usd: u64 = counts.tallies.values().map(|tally| tally.judge.cost_nano_usd).sum();
        let budget = entry.experiment.evaluate.budget_usd;
        budget.filter(|budget| nano_usd as f64 / 1e9 >= *budget).map(|_| "budget_usd")
    }

    /// The counters of every experiment, to be stored.
    pub fn funnels(&self) -> Vec<(String, Funnel)> {
        self.entries.iter().map(|(name, entry)| (name.clone(), entry.funnel())).collect()
    }

    /// The report of one experiment.
    pub fn report(&self, name: &str) -> Option<Report> {
        let entry = self.entries.get(name)?;
        let tallies = entry.counts().tallies.clone();
        Some(report::report(&entry.experiment, entry.funnel(), &tallies))
    }
}

impl Counts {
    fn load(experiment: &Experiment, store: &Store) -> Result<Self> {
        let counters = store.funnel(&experiment.name);
        let mut funnel: Funnel =
            counters.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
        let mut tallies = BTreeMap::new();
        for candidate in &experiment.candidates {
            let name = &candidate.variant.name;
            let mut tally = Tally::default();
            for (_, scored) in store.scores(&experiment.name, name)? {
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
    fn new(experiment: &Experiment, counts: Counts) -> Self {
        Self {
            experiment: experiment.clone(),
            matched: AtomicU64::new(counts.funnel.matched),
            counts: Mutex::new(counts),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn funnel(&self) -> Funnel {
        let matched = self.matched.load(Ordering::Relaxed);
        Funnel { matched, ..self.counts().funnel.clone() }
    }
}
