//! Reads what the judge is held to.

use super::read::Section;
use super::read::Wrong;
use super::tree::Node;
use super::value;
use crate::experiment::Share;
use crate::experiment::audit::Limits;

/// Reads `evaluate.audit`; what is not said stays as it usually is.
pub fn limits(s: &mut Section<'_, '_, '_>, limits: &mut Limits) {
    s.section("audit", |s| {
        s.set("order_consistency", &mut limits.order_consistency, part);
        s.set("repeat_reliability", &mut limits.repeat_reliability, part);
        s.set("false_preference", &mut limits.false_preference, part);
        s.set("human_agreement", &mut limits.human_agreement, part);
        s.set("prompt_independence", &mut limits.prompt_independence, part);
        s.set("injection", &mut limits.injection, part);
        s.set("missing_verdicts", &mut limits.missing_verdicts, part);
        let evidence = value::above(1.0, "write for example 100, for odds of 1 in 100");
        s.set("position_bias", &mut limits.position_bias, evidence);
    });
}

/// A number from 0 to 1, also as a percentage.
fn part(node: &Node) -> Result<f64, Wrong> {
    value::share(node).map(Share::fraction)
}
