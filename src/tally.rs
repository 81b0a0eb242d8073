//! What is counted of an experiment: the funnel from requests to scores, and the scores themselves.

pub mod tide;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::pair::Outcome;
use crate::pair::Scored;
use crate::stats::WinRate;
use crate::tally::tide::Tide;

/// The name of control when it is asked a second time; no candidate has it.
pub const AGAIN: &str = "again";

/// Reasons for which pairs end because no more are wanted, whatever the time.
const ENDS: [&str; 3] = ["budget_usd", "candidate_halted", "max_pairs"];

/// From matched requests to judged pairs; what is lost on the way is counted by reason.
///
/// Up to `sampled` it counts requests, from `promised` on pairs, of which a request makes one for
/// each candidate. Once nothing is under way, `promised` is `whole` and everything `lost`, and
/// `whole` is `scored` and `unjudged`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Funnel {
    /// Requests that took part.
    pub matched: u64,
    /// Requests that were to make a pair.
    pub sampled: u64,
    /// Of those, prompts that had made one before.
    pub repeated: u64,
    /// Pairs that the others were to make.
    pub promised: u64,
    /// Copies sent to other variants.
    pub sent: u64,
    /// Pairs of which both answers are whole, one for each candidate.
    pub whole: u64,
    /// Pairs scored, ties without a judge included.
    pub scored: u64,
    /// Whole pairs that the judge gave no usable verdict on.
    pub unjudged: u64,
    /// Pairs given up, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Requests that only another variant than the assigned one could answer, by reason.
    pub pinned: BTreeMap<String, u64>,
    /// Requests of units beyond those that are tracked.
    pub untracked: u64,
    /// Pairs of control with itself.
    pub noise: Aside,
    /// Pairs promised and lost, by time.
    pub tide: Tide,
}

/// Pairs of control with itself, which take no part in the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aside {
    /// Pairs that were to be.
    pub promised: u64,
    /// Pairs of which both answers are whole.
    pub whole: u64,
    /// Pairs scored.
    pub scored: u64,
    /// Whole pairs without a usable verdict.
    pub unjudged: u64,
    /// Pairs given up, by reason.
    pub lost: BTreeMap<String, u64>,
}

/// Everything known about one candidate's pairs; merging and order never matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Scores in the candidate's view.
    pub win_rate: WinRate,
    /// Ties found without a judge.
    pub equal: u64,
    /// Pairs without a usable verdict, by reason.
    pub unjudged: BTreeMap<String, u64>,
    /// The judge, seen through its verdicts.
    pub judge: JudgeTally,
}

/// How the judge behaved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgeTally {
    /// Pairs it scored.
    pub pairs: u64,
    /// Calls made.
    pub calls: u64,
    /// Pairs asked in both orders.
    pub both_orders: u64,
    /// Of those, pairs where the two verdicts name different winners.
    pub contradictions: u64,
    /// Mean probability given to whatever was shown first; 0.5 is fair.
    pub first_shown: Option<f64>,
    /// Cost of the calls whose price is known, billionths of a dollar.
    pub cost_nano_usd: u64,
    /// Pairs whose calls have no known price.
    pub unpriced: u64,
    #[serde(skip)]
    first_sum: u128,
    #[serde(skip)]
    first_n: u64,
}

impl Funnel {
    /// Pairs were promised at a moment in Unix milliseconds.
    pub fn promise(&mut self, variants: &[String], at_ms: i64) {
        let again = variants.iter().skip(1).filter(|name| *name == AGAIN).count() as u64;
        let pairs = (variants.len() as u64).saturating_sub(1 + again);
        self.promised += pairs;
        self.noise.promised += again;
        self.tide.promised(at_ms, pairs);
    }

    /// The pair of `variant`, promised then, came to nothing.
    pub fn lose(&mut self, variant: &str, reason: &str, promised_ms: i64) {
        let is_again = variant == AGAIN;
        let lost = if is_again { &mut self.noise.lost } else { &mut self.lost };
        *lost.entry(reason.to_owned()).or_default() += 1;
        if !is_again && !ENDS.contains(&reason) {
            self.tide.lost(promised_ms, 1);
        }
    }

    /// The pair of `variant` is whole.
    pub fn complete(&mut self, variant: &str) {
        *(if variant == AGAIN { &mut self.noise.whole } else { &mut self.whole }) += 1;
    }

    /// A whole pair of `variant` has its outcome.
    pub fn settle(&mut self, variant: &str, is_scored: bool) {
        let count = match (variant == AGAIN, is_scored) {
            (false, true) => &mut self.scored,
            (false, false) => &mut self.unjudged,
            (true, true) => &mut self.noise.scored,
            (true, false) => &mut self.noise.unjudged,
        };
        *count += 1;
    }
}

impl Tally {
    /// Pairs without a usable verdict.
    pub fn without_verdict(&self) -> u64 {
        self.unjudged.values().sum()
    }

    /// Takes one pair in.
    pub fn add(&mut self, scored: &Scored) {
        self.judge.calls += u64::from(scored.calls);
        match scored.cost_nano_usd {
            Some(cost) => self.judge.cost_nano_usd = self.judge.cost_nano_usd.saturating_add(cost),
            None => self.judge.unpriced += 1,
        }
        if let Some(score) = scored.outcome.score() {
            self.win_rate.add(score);
        }
        match &scored.outcome {
            Outcome::Equal { .. } => self.equal += 1,
            Outcome::Settled { .. } | Outcome::Unsampled {} => {}
            Outcome::Unjudged { reason } => *self.unjudged.entry(reason.clone()).or_default() += 1,
            Outcome::Judged { control_first, candidate_first } => {
                self.judge.pairs += 1;
                let first = control_first.map(|score| 1_000_000_000 - score.units());
                self.judge.see_first(first);
                self.judge.see_first(candidate_first.map(super::stats::winrate::Score::units));
                if let (Some(a), Some(b)) = (control_first, candidate_first) {
                    self.judge.both_orders += 1;
                    let (a, b) = (a.value() - 0.5, b.value() - 0.5);
                    self.judge.contradictions += u64::from(a * b < 0.0);
                }
            }
        }
    }
}

impl JudgeTally {
    /// Notes the probability given to the answer that was shown first, in units of 1e-9.
    fn see_first(&mut self, units: Option<u32>) {
        let Some(units) = units else { return };
        self.first_sum += u128::from(units);
        self.first_n += 1;
        self.first_shown = Some(self.first_sum as f64 / 1e9 / self.first_n as f64);
    }
}
