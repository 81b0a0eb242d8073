//! The goal `superior`: the candidate wins more often than it loses.

use super::{Decision, Reason, Rule, Spec, Verdict, because};
use crate::stats::Interval;

/// Ships when the whole interval is above 1/2, refuses when it is below. An interval that still
/// holds 1/2 but lies within the margin ends the wait: no difference that matters is left.
pub(super) struct Superior;

impl Rule for Superior {
    fn name(&self) -> &'static str {
        "superior"
    }

    fn see(&self, seen: Interval, spec: &Spec) -> Option<Decision> {
        if seen.upper < 0.5 {
            Some(because(Verdict::DoNotShip, Reason::CandidateWorse))
        } else if seen.lower > 0.5 {
            Some(because(Verdict::Ship, Reason::CandidateBetter))
        } else if seen.within(spec.margin) {
            Some(because(Verdict::Equivalent, Reason::WithinMargin))
        } else {
            None
        }
    }
}
