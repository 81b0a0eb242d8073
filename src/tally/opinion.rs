//! The judge, seen through its verdicts.

use serde::Deserialize;
use serde::Serialize;

use crate::pair::Outcome;
use crate::pair::Scored;
use crate::stats::Agreement;
use crate::stats::Choice;
use crate::stats::Score;
use crate::stats::Swap;
use crate::stats::WinRate;

/// How the judge behaved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JudgeTally {
    /// Pairs it scored.
    pub pairs: u64,
    /// Calls made.
    pub calls: u64,
    /// Pairs asked in both orders, by both verdicts.
    pub swap: Swap,
    /// Of each pair, the mean preference for whatever was shown first; 1/2 is fair.
    pub first_shown: WinRate,
    /// Pairs of which the same question was asked twice, by both verdicts.
    pub repeats: Agreement,
    /// Cost of the calls whose price is known, billionths of a dollar.
    pub cost_nano_usd: u64,
    /// Pairs whose calls have no known price.
    pub unpriced: u64,
}

impl JudgeTally {
    /// Takes one pair in.
    pub fn add(&mut self, scored: &Scored) {
        self.calls += u64::from(scored.calls);
        match scored.cost_nano_usd {
            Some(cost) => self.cost_nano_usd = self.cost_nano_usd.saturating_add(cost),
            None => self.unpriced += 1,
        }
        if let Some((first, second)) = scored.facts.repeat {
            self.repeats.add(Choice::of(first), Choice::of(second));
        }
        let Outcome::Judged { control_first, candidate_first } = &scored.outcome else { return };
        self.pairs += 1;
        let first = match (control_first.map(Score::flipped), *candidate_first) {
            (Some(a), Some(b)) => Some(a.mean(b)),
            (a, b) => a.or(b),
        };
        first.into_iter().for_each(|first| self.first_shown.add(first));
        if let (Some(a), Some(b)) = (control_first, candidate_first) {
            self.swap.add(Choice::of(*a), Choice::of(*b));
        }
    }

    /// Takes in what another process counted.
    pub fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.calls += other.calls;
        self.swap.merge(&other.swap);
        self.first_shown.merge(&other.first_shown);
        self.repeats.merge(&other.repeats);
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(other.cost_nano_usd);
        self.unpriced += other.unpriced;
    }

    /// Pairs where the two orders name different winners.
    pub fn contradictions(&self) -> u64 {
        self.swap.first_twice() + self.swap.second_twice()
    }
}
