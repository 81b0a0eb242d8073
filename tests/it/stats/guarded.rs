//! The decision table of the reference vectors: the program's rules behind an alarm of the split and
//! guardrails that must all have passed.
//!
//! A report of the program says the same of a split and of a broken guardrail. Where a guardrail has
//! not passed it ships nevertheless, and names it: a verdict on pairs does not wait for users.

use understudy::stats::Bounds;
use understudy::stats::Decision;
use understudy::stats::Reason;
use understudy::stats::Rule;
use understudy::stats::Spec;
use understudy::stats::Verdict;
use understudy::stats::WinRate;

/// What is known of one way in which a candidate may do harm, and how much of it is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guardrail {
    /// The confidence sequence for the harm at the experiment's alpha.
    pub harm: Bounds,
    /// The lower end at alpha divided by the number of guardrails: the one that stops.
    pub alarm: Option<f64>,
    /// The most harm allowed, in the same unit.
    pub margin: f64,
}

impl Guardrail {
    /// Whether too much harm is shown. Any one of several guardrails stops, so each has its part
    /// of alpha (Bonferroni).
    pub fn is_violated(&self) -> bool {
        self.alarm.is_some_and(|least| least > self.margin)
    }

    /// Whether it is shown that there is not too much harm. All guardrails must pass, so each has
    /// the whole alpha (intersection-union).
    pub fn passes(&self) -> bool {
        self.harm.upper.is_some_and(|most| most < self.margin)
    }
}

/// What settled a guarded verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Traffic does not split as configured, so the pairs mean nothing.
    SampleRatioMismatch,
    /// The guardrail of this index is violated.
    Violated(usize),
    /// The goal is reached, but the guardrail of this index has not passed yet.
    Unresolved(usize),
    /// The rule, for its own reason.
    Rule(Reason),
}

/// A rule's verdict, unless the split is wrong or a guardrail violated; and nothing ships before
/// all guardrails have passed. Once the budget has ended without that, nothing ships at all.
pub fn guarded(
    rule: &dyn Rule,
    (summary, spec): (&WinRate, &Spec),
    split_alarms: bool,
    guardrails: &[Guardrail],
) -> (Verdict, Cause) {
    if split_alarms {
        return (Verdict::Review, Cause::SampleRatioMismatch);
    }
    if let Some(index) = guardrails.iter().position(Guardrail::is_violated) {
        return (Verdict::DoNotShip, Cause::Violated(index));
    }
    let Decision { verdict, reason } = rule.decide(summary, spec);
    let unresolved = guardrails.iter().position(|guardrail| !guardrail.passes());
    match unresolved {
        Some(_) if verdict == Verdict::Ship && summary.pairs() >= spec.max_pairs => {
            (Verdict::DoNotShip, Cause::Rule(Reason::BudgetExhausted))
        }
        Some(index) if verdict == Verdict::Ship => (Verdict::KeepRunning, Cause::Unresolved(index)),
        _ => (verdict, Cause::Rule(reason)),
    }
}
