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

    /// What was spent on a day; `None` when nothing is known yet of the experiment.
    fn spent(&self, name: &str, today: Day) -> Option<u64> {
        let known = self.days().get(name).copied();
        known.map(|(day, spent)| if day == today { spent } else { 0 })
    }

    /// Takes in what is stored, unless something is known already.
    fn learn(&self, name: &str, today: Day, spent: u64) -> u64 {
        self.days().entry(name.to_owned()).or_insert((today, spent)).1
    }

    /// Takes in what a pair cost, if what came before it is known.
    fn spend(&self, name: &str, today: Day, cost: u64) {
        if let Some((day, spent)) = self.days().get_mut(name) {
            let before = if *day == today { *spent } else { 0 };
            *day = today;
            *spent = before.saturating_add(cost);
        }
    }
}

impl Judge {
    /// Billionths of a dollar; the first time it is read from what is stored.
    ///
    /// Calls under way are not in it, so a day may cost as much more as those do.
    pub(super) async fn spent_today(&self, experiment: &Experiment) -> u64 {
        let today = ledger::day(jiff::Timestamp::now().as_millisecond());
        if let Some(spent) = self.purse.spent(&experiment.name, today) {
            return spent;
        }
        let (store, of) = (self.store.clone(), experiment.clone());
        let read = tokio::task::spawn_blocking(move || stored(&store, &of, today));
        self.purse.learn(&experiment.name, today, read.await.unwrap_or(0))
    }

    /// Takes in what a pair cost.
    pub(super) fn spend(&self, run: &str, scored: &Scored) {
        let today = ledger::day(scored.scored_ms);
        let cost = scored.cost_nano_usd.unwrap_or(0);
        self.purse.spend(experiment::name_of(run), today, cost);
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

#[cfg(test)]
mod tests {
    use super::Purse;

    #[test]
    fn a_day_begins_with_an_empty_bill() {
        let purse = Purse::default();
        purse.spend("e", 7, 5);
        assert_eq!(purse.spent("e", 7), None, "what came before is not known");
        assert_eq!(purse.learn("e", 7, 10), 10);
        purse.spend("e", 7, 5);
        assert_eq!((purse.spent("e", 7), purse.spent("e", 8)), (Some(15), Some(0)));
        purse.spend("e", 8, 3);
        assert_eq!((purse.spent("e", 8), purse.spent("other", 8)), (Some(3), None));
    }
}
