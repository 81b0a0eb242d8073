//! When a ramp takes its next step.
//!
//! Whether a guardrail is broken is not asked here: a candidate that broke one is halted, and
//! control answers for it whatever the step.

use std::collections::BTreeMap;

use crate::experiment::Experiment;

/// Where a ramp stood when it took its last step, or when this process first saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Steps taken.
    pub step: usize,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Answers of each candidate until then.
    pub answers: BTreeMap<String, u64>,
}

impl Experiment {
    /// Whether the next step may be taken: there is one, the time is over, and every candidate that
    /// is not halted has answered often enough since the last. `answers` is how often until now.
    pub fn is_step_due(&self, mark: &Mark, now_ms: i64, answers: &BTreeMap<String, u64>) -> bool {
        let names = self.candidates.iter().map(|candidate| &candidate.variant.name);
        let going: Vec<&String> =
            names.filter(|name| !self.standing.halted.contains(name)).collect();
        let has_waited = u128::try_from(now_ms.saturating_sub(mark.at_ms))
            .is_ok_and(|waited| waited >= self.step.after.as_millis());
        let count =
            |counts: &BTreeMap<String, u64>, name: &str| counts.get(name).copied().unwrap_or(0);
        let has_answered = |name: &&String| {
            let new = count(answers, name).saturating_sub(count(&mark.answers, name));
            new >= self.step.requests
        };
        self.is_running()
            && self.standing.step < self.ramp.len()
            && has_waited
            && !going.is_empty()
            && going.iter().all(has_answered)
    }
}
