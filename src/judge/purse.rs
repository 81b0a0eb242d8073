//! What judging has cost today, by experiment.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::experiment;
use crate::experiment::Experiment;
use crate::judge::Judge;
use crate::ledger;
use crate::ledger::Day;
use crate::pair::Scored;
use crate::store::Store;
use crate::tally::AGAIN;

/// Billionths of a dollar by the experiment's name, of the day they were spent on.
#[derive(Debug, Default)]
pub struct Purse(Mutex<HashMap<String, (Day, u64)>>);

impl Purse {
    fn days(&self) -> MutexGuard<'_, HashMap<String, (Day, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge {
    /// Billionths of a dollar; the first time it is read from what is stored.
    ///
    /// Calls under way are not in it, so a day may cost as much more as those do.
    pub(super) async fn spent_today(&self, experiment: &Experiment) -> u64 {
        let today = ledger::day(jiff::Timestamp::now().as_millisecond());
        let known = self.purse.days().get(&experiment.name).copied();
        match known {
            Some((day, spent)) if day == today => return spent,
            Some(_) => return 0,
            None => {}
        }
        let (store, of) = (self.store.clone(), experiment.clone());
        let read = tokio::task::spawn_blocking(move || stored(&store, &of, today));
        let spent = read.await.unwrap_or(0);
        // What was spent while the store was read is in it, or was counted meanwhile.
        let mut days = self.purse.days();
        days.entry(experiment.name.clone()).or_insert((today, spent)).1
    }

    /// Takes in what a pair cost.
    pub(super) fn spend(&self, run: &str, scored: &Scored) {
        let today = ledger::day(scored.scored_ms);
        if let Some((day, spent)) = self.purse.days().get_mut(experiment::name_of(run)) {
            let before = if *day == today { *spent } else { 0 };
            *day = today;
            *spent = before.saturating_add(scored.cost_nano_usd.unwrap_or(0));
        }
    }
}

/// What the scores of a day cost, in every epoch.
fn stored(store: &Store, experiment: &Experiment, today: Day) -> u64 {
    let names = experiment.candidates.iter().map(|candidate| candidate.variant.name.as_str());
    let names: Vec<&str> = names.chain([AGAIN]).collect();
    let runs = (1..=experiment.standing.epoch.max(1)).map(|n| experiment::run(&experiment.name, n));
    let mut sum: u64 = 0;
    for run in runs {
        for name in &names {
            let scores = store.scores(&run, name).unwrap_or_default();
            let costs = scores.iter().filter(|(_, s)| ledger::day(s.scored_ms) == today);
            let costs = costs.filter_map(|(_, scored)| scored.cost_nano_usd);
            sum = costs.fold(sum, u64::saturating_add);
        }
    }
    sum
}
