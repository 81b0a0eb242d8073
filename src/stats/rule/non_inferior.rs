//! The goal `non_inferior`: the candidate does not fall short by the margin.

use super::{Decision, Reason, Rule, Spec, Verdict, because};
use crate::stats::Interval;

/// Ships when the whole interval is above 1/2 less the margin, refuses when it is below.
pub(super) struct NonInferior;

impl Rule for NonInferior {
    fn name(&self) -> &'static str {
        "non_inferior"
    }

    fn see(&self, seen: Interval, spec: &Spec) -> Option<Decision> {
        let least = 0.5 - spec.margin;
        if seen.upper < least {
            Some(because(Verdict::DoNotShip, Reason::CandidateWorse))
        } else if seen.lower > least {
            Some(because(Verdict::Ship, Reason::NotWorse))
        } else {
            None
        }
    }
}
