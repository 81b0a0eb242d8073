//! What has become of a sentinel: its pinned answers, its runs, when the next is due, and whether it
//! has alarmed. Time is passed in.

use serde::Deserialize;
use serde::Serialize;

use crate::ledger;
use crate::ledger::Day;
use crate::report::Rate;
use crate::sentinel::Sentinel;

/// Runs that are remembered.
const REMEMBERED: usize = 100;

/// What is kept of a sentinel between its runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Of the definition that the pinned answers belong to.
    pub digest: String,
    /// The answers that all others are compared with.
    pub pinned: Option<Pinned>,
    /// How many runs there were since they were pinned, the pinning one included.
    pub count: u64,
    /// The last of them, the newest at the end.
    pub runs: Vec<Ran>,
    /// When the run began that is under way, or was when the process ended, Unix milliseconds.
    pub running_since_ms: Option<i64>,
    /// When the next run is due, Unix milliseconds; 0 is at once.
    pub due_ms: i64,
    /// That it has alarmed since the answers were pinned.
    pub drifted: Option<Drifted>,
    /// What was spent, by the last day on which anything was, billionths of a dollar.
    pub spent: (Day, u64),
    /// Why the last run came to nothing.
    pub trouble: Option<String>,
}

/// The answers that all others are compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pinned {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// How many.
    pub prompts: u64,
    /// What the provider called the model.
    pub models: Vec<String>,
    /// What the provider called the system.
    pub fingerprints: Vec<String>,
}

/// A run that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ran {
    /// Counts from 1, since the answers were pinned.
    pub run: u64,
    /// When it began, Unix milliseconds.
    pub began_ms: i64,
    /// When it ended, Unix milliseconds.
    pub ended_ms: i64,
    /// Prompts whose answer of the day is there.
    pub pairs: u64,
    /// Prompts that were not asked, because the day's money was spent, or were not answered.
    pub missing: u64,
    /// Of the pairs, those that no comparator found equal.
    pub moved: u64,
    /// Their share, with its interval at the run's share of alpha.
    pub moved_share: Rate,
    /// How the answers of the day did against the pinned ones, at the same level; absent when
    /// nothing was judged.
    pub win_rate: Option<Rate>,
    /// Pairs won, tied and lost by the answers of the day.
    pub wins_ties_losses: [u64; 3],
    /// What the provider calls the model.
    pub models: Vec<String>,
    /// What the provider calls the system.
    pub fingerprints: Vec<String>,
    /// What it cost, dollars.
    pub cost_usd: f64,
    /// Why it alarmed; empty when it did not.
    pub alarms: Vec<String>,
}

/// An alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drifted {
    /// The run it was.
    pub run: u64,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Why, in words.
    pub why: Vec<String>,
    /// Whether it is in the decision log.
    pub is_logged: bool,
}

impl State {
    /// What goes on under this definition: everything, or nothing but what was spent.
    pub fn under(self, sentinel: &Sentinel) -> Self {
        let digest = sentinel.digest();
        match self.digest == digest {
            true => self,
            false => Self { digest, spent: self.spent, ..Self::default() },
        }
    }

    /// How long until the next run, milliseconds; 0 when it is due or under way.
    pub fn wait_ms(&self, now_ms: i64) -> i64 {
        match self.running_since_ms {
            Some(_) => 0,
            None => (self.due_ms - now_ms).max(0),
        }
    }

    /// A run begins, or goes on that was under way when the process ended.
    pub fn begin(&mut self, now_ms: i64) {
        self.running_since_ms.get_or_insert(now_ms);
    }

    /// A run has ended; what was due meanwhile is not made up for.
    pub fn end(&mut self, ran: Ran, every_ms: i64, now_ms: i64) {
        if !ran.alarms.is_empty() && self.drifted.is_none() {
            let (run, at_ms, why) = (ran.run, ran.ended_ms, ran.alarms.clone());
            self.drifted = Some(Drifted { run, at_ms, why, is_logged: false });
        }
        self.count = ran.run;
        self.runs.push(ran);
        let surplus = self.runs.len().saturating_sub(REMEMBERED);
        self.runs.drain(..surplus);
        self.trouble = None;
        self.schedule(every_ms, now_ms);
    }

    /// A run came to nothing; it is tried again when the next is due.
    pub fn fail(&mut self, why: String, every_ms: i64, now_ms: i64) {
        self.trouble = Some(why);
        self.schedule(every_ms, now_ms);
    }

    fn schedule(&mut self, every_ms: i64, now_ms: i64) {
        let began = self.running_since_ms.take().unwrap_or(now_ms);
        // On the beat of the run that was due, so that runs do not wander through the day.
        let beat = if self.due_ms > 0 { self.due_ms.min(began) } else { began };
        let every_ms = every_ms.max(1);
        let missed = (now_ms - beat).max(0) / every_ms;
        self.due_ms = beat + (missed + 1) * every_ms;
    }

    /// What may still be spent today, dollars.
    pub fn left_usd(&self, daily_usd: Option<f64>, now_ms: i64) -> Option<f64> {
        let (day, spent) = self.spent;
        let spent = if day == ledger::day(now_ms) { spent } else { 0 };
        daily_usd.map(|usd| (usd - spent as f64 / 1e9).max(0.0))
    }

    /// Notes what was spent.
    pub fn spend(&mut self, nano_usd: u64, now_ms: i64) {
        let today = ledger::day(now_ms);
        let before = if self.spent.0 == today { self.spent.1 } else { 0 };
        self.spent = (today, before.saturating_add(nano_usd));
    }
}

#[cfg(test)]
mod tests {
    use super::Ran;
    use super::State;
    use crate::report::Rate;

    const HOUR: i64 = 3_600_000;

    fn ran(run: u64, alarms: &[&str]) -> Ran {
        let rate = Rate { estimate: None, standard_error: None, lower: 0.0, upper: 1.0 };
        Ran {
            run,
            began_ms: 0,
            ended_ms: 7,
            pairs: 1,
            missing: 0,
            moved: 0,
            moved_share: rate,
            win_rate: None,
            wins_ties_losses: [0; 3],
            models: Vec::new(),
            fingerprints: Vec::new(),
            cost_usd: 0.0,
            alarms: alarms.iter().map(|why| (*why).to_owned()).collect(),
        }
    }

    #[test]
    fn runs_keep_to_their_beat_and_a_restart_neither_skips_nor_repeats_one() {
        let mut state = State::default();
        assert_eq!(state.wait_ms(1_000 * HOUR), 0, "the first is due at once");
        state.begin(1_000 * HOUR);
        // The process ends meanwhile; the run is still under way and keeps its beginning.
        let mut state: State =
            serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!(state.wait_ms(1_001 * HOUR), 0);
        state.begin(1_001 * HOUR);
        state.end(ran(1, &[]), 24 * HOUR, 1_002 * HOUR);
        assert_eq!(state.due_ms, 1_024 * HOUR);
        assert_eq!(state.wait_ms(1_014 * HOUR), 10 * HOUR);
        // It was late by minutes, and the next is on the beat.
        state.begin(1_024 * HOUR + 5);
        state.end(ran(2, &[]), 24 * HOUR, 1_025 * HOUR);
        assert_eq!(state.due_ms, 1_048 * HOUR);
        // Nothing ran for days: one run at once, then on the beat.
        assert_eq!(state.wait_ms(1_150 * HOUR), 0);
        state.begin(1_150 * HOUR);
        state.end(ran(3, &[]), 24 * HOUR, 1_150 * HOUR);
        assert_eq!(state.due_ms, 1_168 * HOUR);
    }

    #[test]
    fn the_first_alarm_stays_and_a_failed_run_is_tried_again() {
        let mut state = State::default();
        state.begin(1);
        state.end(ran(1, &["it moved"]), HOUR, 2);
        state.begin(HOUR);
        state.end(ran(2, &["more"]), HOUR, HOUR);
        let drifted = state.drifted.clone().unwrap();
        assert_eq!((drifted.run, drifted.why.as_slice()), (1, &["it moved".to_owned()][..]));
        state.begin(2 * HOUR);
        state.fail("nobody answers".to_owned(), HOUR, 2 * HOUR);
        assert_eq!((state.count, state.runs.len(), state.due_ms > 2 * HOUR), (2, 2, true));
    }

    #[test]
    fn money_is_counted_by_the_day() {
        let mut state = State::default();
        assert_eq!(state.left_usd(None, 0), None);
        state.spend(400_000_000, 0);
        state.spend(200_000_000, HOUR);
        assert!((state.left_usd(Some(1.0), 2 * HOUR).unwrap() - 0.4).abs() < 1e-9);
        assert_eq!(state.left_usd(Some(1.0), 30 * HOUR), Some(1.0));
        assert_eq!(state.left_usd(Some(0.5), 2 * HOUR), Some(0.0));
    }
}
