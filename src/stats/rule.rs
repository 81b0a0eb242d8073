//! Decision rules: from a summary to a verdict, one rule for each goal.

mod equivalent;
mod non_inferior;
mod superior;

use super::betting::Interval;
use super::winrate::WinRate;
use equivalent::Equivalent;
use non_inferior::NonInferior;
use serde::{Deserialize, Serialize};
use std::fmt;
use superior::Superior;

/// The answer to "can we move to the candidate?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Move: the goal is reached.
    Ship,
    /// Stay: the candidate is worse, or the budget ended without the goal being reached.
    DoNotShip,
    /// The two do not differ by the margin: take the cheaper one.
    Equivalent,
    /// More pairs are needed.
    KeepRunning,
    /// A check failed, so the pairs mean nothing: a person must look.
    Review,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Ship => "ship",
            Verdict::DoNotShip => "do_not_ship",
            Verdict::Equivalent => "equivalent",
            Verdict::KeepRunning => "keep_running",
            Verdict::Review => "review",
        })
    }
}

/// Why a verdict was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Fewer pairs than the least that a verdict needs.
    TooFewPairs,
    /// The candidate is worse, by the margin where the goal has one.
    CandidateWorse,
    /// The candidate is better, by the margin where the goal is equivalence.
    CandidateBetter,
    /// The candidate is not worse by the margin.
    NotWorse,
    /// The candidate is neither worse nor better by the margin.
    WithinMargin,
    /// The most pairs allowed were judged and nothing is certain.
    BudgetExhausted,
    /// Nothing is certain yet.
    Collecting,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Reason::TooFewPairs => "too_few_pairs",
            Reason::CandidateWorse => "candidate_worse",
            Reason::CandidateBetter => "candidate_better",
            Reason::NotWorse => "not_worse",
            Reason::WithinMargin => "within_margin",
            Reason::BudgetExhausted => "budget_exhausted",
            Reason::Collecting => "collecting",
        })
    }
}

/// What the candidate must achieve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Win more often than it loses.
    Superior,
    /// Not fall short of a win rate of 1/2 by the margin.
    NonInferior,
    /// Stay within the margin around a win rate of 1/2.
    Equivalent,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Goal::Superior => "superior",
            Goal::NonInferior => "non_inferior",
            Goal::Equivalent => "equivalent",
        })
    }
}

/// What a decision is held to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// What the candidate must achieve.
    pub goal: Goal,
    /// The difference in win rate that does not matter, in `(0, 1/2)`.
    pub margin: f64,
    /// The two-sided chance of a wrong verdict, ever. For `K` candidates the caller divides it by
    /// `K` (Bonferroni).
    pub alpha: f64,
    /// No verdict below this many pairs.
    pub min_pairs: u64,
    /// No more pairs than this: then the verdict is `do_not_ship`.
    pub max_pairs: u64,
}

impl Spec {
    /// The defaults for a goal: margin 0.03, alpha 0.05, from 50 to 10,000 pairs.
    pub fn new(goal: Goal) -> Spec {
        Spec { goal, margin: 0.03, alpha: 0.05, min_pairs: 50, max_pairs: 10_000 }
    }
}

/// A verdict and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
}

/// A way to reach a verdict.
///
/// A rule reads everything off one interval, so that all it says is true at all times together
/// with probability `1 - alpha`. The caller keeps the first final verdict and does not ask again.
pub trait Rule: Sync {
    /// The goal's word, as in a definition.
    fn name(&self) -> &'static str;

    /// What the goal sees in an interval for the win rate; `None` while nothing is certain.
    fn see(&self, seen: Interval, spec: &Spec) -> Option<Decision>;

    /// The verdict on `summary`; the rule's own goal holds, whatever `spec.goal` says.
    fn decide(&self, summary: &WinRate, spec: &Spec) -> Decision {
        let pairs = summary.pairs();
        let is_early = pairs < spec.min_pairs.min(spec.max_pairs);
        let seen = if is_early { Interval::ALL } else { summary.interval(spec.alpha) };
        self.decide_on(pairs, seen, spec)
    }

    /// The verdict on so many pairs, of whose win rate this interval is known: enough pairs, then
    /// what the goal sees in the interval, then the budget.
    ///
    /// A budget below the least number of pairs wins over it, or such an experiment would never
    /// end.
    fn decide_on(&self, pairs: u64, seen: Interval, spec: &Spec) -> Decision {
        let is_exhausted = pairs >= spec.max_pairs;
        if pairs < spec.min_pairs && !is_exhausted {
            return because(Verdict::KeepRunning, Reason::TooFewPairs);
        }
        let open = match is_exhausted {
            true => because(Verdict::DoNotShip, Reason::BudgetExhausted),
            false => because(Verdict::KeepRunning, Reason::Collecting),
        };
        self.see(seen, spec).unwrap_or(open)
    }
}

/// All rules, by name.
pub static RULES: &[&dyn Rule] = &[&Equivalent, &NonInferior, &Superior];

/// The rule for a goal.
pub fn rule_for(goal: Goal) -> &'static dyn Rule {
    match goal {
        Goal::Superior => &Superior,
        Goal::NonInferior => &NonInferior,
        Goal::Equivalent => &Equivalent,
    }
}

fn because(verdict: Verdict, reason: Reason) -> Decision {
    Decision { verdict, reason }
}
