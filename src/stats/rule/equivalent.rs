//! The goal `equivalent`: the candidate is neither worse nor better by the margin.

use super::{Decision, Reason, Rule, Spec, Verdict, because};
use crate::stats::Interval;

/// Two one-sided tests read off one interval (Schuirmann 1987). A candidate that is better by
/// more than the margin misses the goal in the direction nobody minds, so it ships.
pub(super) struct Equivalent;

impl Rule for Equivalent {
    fn name(&self) -> &'static str {
        "equivalent"
    }

    fn see(&self, seen: Interval, spec: &Spec) -> Option<Decision> {
        if seen.upper < 0.5 - spec.margin {
            Some(because(Verdict::DoNotShip, Reason::CandidateWorse))
        } else if seen.lower > 0.5 + spec.margin {
            Some(because(Verdict::Ship, Reason::CandidateBetter))
        } else if seen.within(spec.margin) {
            Some(because(Verdict::Equivalent, Reason::WithinMargin))
        } else {
            None
        }
    }
}
