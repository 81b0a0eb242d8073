//! What a sentinel's alarm does to the report of the experiment whose question it opens again.

use crate::experiment::Experiment;
use crate::experiment::State;
use crate::report::Report;
use crate::stats::Verdict;

/// The reason of such a verdict.
pub const DRIFTED: &str = "drifted";

/// An experiment that is over is to be looked at again; one that runs goes on, with a warning.
pub fn mark(report: &mut Report, experiment: &Experiment) {
    let Some(why) = &experiment.standing.drifted else { return };
    report.warnings.push(format!("{why}; a new epoch asks the question again"));
    if matches!(experiment.standing.state, State::Decided | State::Stopped) {
        report.verdict = Verdict::Review;
        report.reason = DRIFTED.to_owned();
        report.summary = format!("A person must look: {why}.");
    }
}
