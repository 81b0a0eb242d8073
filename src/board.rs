//! The live state of every experiment: counters the request path may touch, scores the recorder adds.
//!
//! An epoch of an experiment has an entry of its own, under the name of its run.

mod counted;
mod counts;
mod summary;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use crate::board::counts::Counts;
use crate::board::counts::is_judged_by_people;
use crate::error::Result;
use crate::experiment;
use crate::experiment::Experiment;
use crate::exposure::Exposures;
use crate::exposure::UnitRow;
use crate::feedback::Said;
use crate::guard::Seen;
use crate::guard::Watch;
use crate::ledger::Ledger;
use crate::ledger::Reserved;
use crate::pair::Scored;
use crate::stats::Score;
use crate::store::Store;
use crate::tally::Funnel;
use crate::tally::Tally;

pub use counted::Counted;
pub use counts::tally;

/// All experiments of a process, by the names of their runs.
#[derive(Debug, Default)]
pub struct Board {
    entries: RwLock<BTreeMap<String, Arc<Entry>>>,
    scored: Notify,
    ledger: Mutex<Ledger>,
}

#[derive(Debug)]
struct Entry {
    /// Replaced when the definition or its standing changes; the counters stay.
    experiment: RwLock<Arc<Experiment>>,
    matched: AtomicU64,
    counts: Mutex<Counts>,
    /// What the live answers of its variants say.
    watch: Mutex<Watch>,
    /// Requests in what was last stored of it.
    stored: AtomicU64,
}

impl Board {
    /// Nothing counted yet.
    pub fn new(experiments: &[Experiment]) -> Self {
        let entry = |e: &Experiment| {
            (e.run().into_owned(), Entry::new(e, Counts::default(), Seen::default()))
        };
        Self::of(experiments.iter().map(entry).collect(), Ledger::default())
    }

    /// What the store holds of these experiments.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load(experiments: &[Experiment], store: &Store) -> Result<Self> {
        let entry = |experiment: &Experiment| {
            Ok((experiment.run().into_owned(), Entry::load(experiment, store)?))
        };
        let entries = experiments.iter().map(entry).collect::<Result<_>>()?;
        Ok(Self::of(entries, Ledger::new(store.spent()?)))
    }

    fn of(entries: BTreeMap<String, Arc<Entry>>, ledger: Ledger) -> Self {
        let (entries, ledger) = (RwLock::new(entries), Mutex::new(ledger));
        Self { entries, scored: Notify::new(), ledger }
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
            let run = experiment.run();
            let entry = match self.entry(&run) {
                Some(entry) => entry,
                None => Entry::load(experiment, store)?,
            };
            next.insert(run.into_owned(), (entry, experiment));
        }
        let settle = |(run, (entry, experiment)): (String, (Arc<Entry>, &Experiment))| {
            entry.define(experiment);
            (run, entry)
        };
        let next = next.into_iter().map(settle).collect();
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Puts the standing of an experiment that is here in the place of the present one.
    pub fn define(&self, experiment: &Experiment) {
        if let Some(entry) = self.entry(&experiment.run()) {
            entry.define(experiment);
        }
    }

    /// The experiments' definitions, by name.
    pub fn experiments(&self) -> Vec<Arc<Experiment>> {
        self.all().iter().map(|(_, entry)| entry.experiment()).collect()
    }

    /// The definition of this run.
    pub fn experiment(&self, run: &str) -> Option<Arc<Experiment>> {
        self.entry(run).map(|entry| entry.experiment())
    }

    /// Returns once a score was counted since the last time it returned.
    pub async fn changed(&self) {
        self.scored.notified().await;
    }

    fn entry(&self, run: &str) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(run).cloned()
    }

    fn named(&self, name: &str) -> Option<Arc<Entry>> {
        self.all().into_iter().map(|(_, entry)| entry).find(|e| e.experiment().name == name)
    }

    fn all(&self) -> Vec<(String, Arc<Entry>)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|(run, entry)| (run.clone(), entry.clone())).collect()
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

    /// What copies cost, and may cost.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy has ended; the epochs of an experiment share its budget.
    pub fn settle(&self, run: &str, reserved: Reserved, cost: Option<u64>) {
        self.ledger().settle(experiment::name_of(run), reserved, cost);
    }

    /// Units tracked of an experiment.
    pub fn units(&self, experiment: &str) -> u64 {
        self.entry(experiment).map_or(0, |entry| entry.counts().exposures.units)
    }

    /// Takes in what is newly stored of a unit; a newer definition begins at nothing.
    pub fn met(&self, experiment: &str, epoch: u32, before: Option<&UnitRow>, now: &UnitRow) {
        let Some(entry) = self.entry(experiment) else { return };
        let exposures = &mut entry.counts().exposures;
        if exposures.epoch < epoch {
            *exposures = Exposures::of_epoch(epoch);
        }
        if exposures.epoch == epoch {
            exposures.renew(before, now);
        }
    }

    /// The name that a label counts under.
    pub fn label_name(&self, experiment: &str, variant: &str, label: &str) -> String {
        let entry = self.entry(experiment);
        let name =
            entry.and_then(|entry| Some(entry.counts().opinions.get(variant)?.name_of(label)));
        name.unwrap_or_else(|| label.to_owned())
    }

    /// Takes in what was newly stored of somebody's opinion, in the place of what was said before.
    pub fn said(&self, experiment: &str, before: Option<&Said>, now: &Said) {
        let Some(entry) = self.entry(experiment) else { return };
        let opinions = &mut entry.counts().opinions;
        if let Some(before) = before {
            opinions.entry(before.variant.clone()).or_default().remove(before);
        }
        opinions.entry(now.variant.clone()).or_default().add(now);
    }

    /// Takes a newly stored score in, with what a person said of the pair.
    pub fn scored(&self, experiment: &str, candidate: &str, scored: &Scored, label: Option<Score>) {
        if let Some(entry) = self.entry(experiment) {
            let label = label.filter(|_| !is_judged_by_people(&entry.experiment()));
            let mut counts = entry.counts();
            counts.funnel.settle(candidate, &scored.outcome);
            counts.tallies.entry(candidate.to_owned()).or_default().add(scored, label);
        }
        self.scored.notify_one();
    }

    /// Counts a candidate's pairs anew from what is stored, because people labelled some of them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn recount(&self, run: &str, candidate: &str, store: &Store) -> Result<()> {
        if let Some(entry) = self.entry(run) {
            let tally = tally(&entry.experiment(), candidate, store, i64::MAX)?;
            entry.counts().tallies.insert(candidate.to_owned(), tally);
        }
        self.scored.notify_one();
        Ok(())
    }

    /// Why no more pairs are needed or can be paid: `max_pairs` or `budget_usd`.
    pub fn is_over(&self, experiment: &str) -> Option<&'static str> {
        let entry = self.entry(experiment)?;
        let experiment = entry.experiment();
        let counts = entry.counts();
        let pairs = |name: &str| counts.tallies.get(name).map_or(0, Tally::scored);
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
        self.all().into_iter().map(|(run, entry)| (run, entry.funnel())).collect()
    }
}

impl Entry {
    fn new(experiment: &Experiment, counts: Counts, seen: Seen) -> Arc<Self> {
        Arc::new(Self {
            experiment: RwLock::new(Arc::new(experiment.clone())),
            matched: AtomicU64::new(counts.funnel.matched),
            counts: Mutex::new(counts),
            stored: AtomicU64::new(seen.requests()),
            watch: Mutex::new(Watch::resume(experiment, seen)),
        })
    }

    fn load(experiment: &Experiment, store: &Store) -> Result<Arc<Self>> {
        let counts = Counts::load(experiment, store)?;
        let seen = store.vitals(&experiment.run());
        let seen = seen.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
        Ok(Self::new(experiment, counts, seen))
    }

    fn define(&self, experiment: &Experiment) {
        let new = Arc::new(experiment.clone());
        *self.experiment.write().unwrap_or_else(PoisonError::into_inner) = new;
        let mut watch = self.watch();
        let seen = watch.seen().clone();
        *watch = Watch::resume(experiment, seen);
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
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
