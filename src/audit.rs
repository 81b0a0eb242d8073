//! Whether the judge can be believed: checks of its verdicts, and of the answers that it was shown.
//!
//! To add a check, write one function and one row of [`CHECKS`]. A check fails only when its bound
//! is beyond its limit, at all looks together with probability `alpha` at most for a judge that
//! keeps to the limit; while too little is known it says so, and stops nothing.

mod answers;
mod judged;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::audit::Limits;
use crate::stats::Interval;
use crate::tally::Tally;

/// Whom a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The judge, over all candidates.
    Judge,
    /// The pairs of one candidate.
    Candidate,
}

/// A check.
pub struct Check {
    /// Its name in definitions, reports and reasons.
    pub name: &'static str,
    /// Whom it is about.
    pub subject: Subject,
    run: fn(&Evidence<'_>) -> Finding,
}

/// All checks, by name.
pub static CHECKS: &[Check] = &[
    Check { name: "false_preference", subject: Subject::Judge, run: judged::false_preference },
    Check { name: "human_agreement", subject: Subject::Judge, run: judged::human_agreement },
    Check { name: "injection", subject: Subject::Candidate, run: answers::injection },
    Check { name: "length_effect", subject: Subject::Candidate, run: answers::length_effect },
    Check { name: "missing_verdicts", subject: Subject::Candidate, run: answers::missing_verdicts },
    Check { name: "order_consistency", subject: Subject::Judge, run: judged::order_consistency },
    Check { name: "position_bias", subject: Subject::Judge, run: judged::position_bias },
    Check {
        name: "prompt_independence",
        subject: Subject::Candidate,
        run: answers::prompt_independence,
    },
    Check { name: "repeat_reliability", subject: Subject::Judge, run: judged::repeat_reliability },
];

/// What a check looks at.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// The candidate's pairs; of checks of the judge, those of all candidates.
    pub tally: &'a Tally,
    /// Control against itself.
    pub again: Option<&'a Tally>,
    /// What the candidate's win rate may be.
    pub win_rate: Interval,
    /// What it is held to.
    pub limits: &'a Limits,
    /// The chance that a check fails without reason.
    pub alpha: f64,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing speaks against the judge.
    Pass,
    /// A person should know of it; the verdict stands.
    Warn,
    /// The verdict cannot be given.
    Fail,
    /// Too little was seen to say anything.
    Unknown,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    state: State,
    value: Option<f64>,
    bounds: Option<Interval>,
    limit: Option<f64>,
    n: u64,
    why: String,
}

/// A check as a report shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub check: String,
    /// The candidate that it is about; `null` for the judge as such.
    #[serde(default)]
    pub candidate: Option<String>,
    /// What it came to.
    pub state: State,
    /// What was measured.
    pub value: Option<f64>,
    /// Where its interval begins.
    pub lower: Option<f64>,
    /// Where it ends.
    pub upper: Option<f64>,
    /// What it is held to.
    pub limit: Option<f64>,
    /// How many observations it rests on.
    pub n: u64,
    /// What it means, and what to do about it.
    pub why: String,
}

impl Check {
    /// What the check says of the evidence.
    pub fn look(&self, evidence: &Evidence<'_>, candidate: Option<&str>) -> Row {
        let Finding { state, value, bounds, limit, n, why } = (self.run)(evidence);
        Row {
            check: self.name.to_owned(),
            candidate: candidate.map(str::to_owned),
            state,
            value,
            lower: bounds.map(|bounds| bounds.lower),
            upper: bounds.map(|bounds| bounds.upper),
            limit,
            n,
            why,
        }
    }
}

/// All checks about a subject, in their order.
pub fn audit(subject: Subject, evidence: &Evidence<'_>, candidate: Option<&str>) -> Vec<Row> {
    let checks = CHECKS.iter().filter(|check| check.subject == subject);
    checks.map(|check| check.look(evidence, candidate)).collect()
}

/// Each check's part of the chance that any of them fails without reason (Bonferroni).
pub fn share_of(alpha: f64) -> f64 {
    alpha / CHECKS.len() as f64
}

impl Finding {
    /// Too little was seen.
    fn unknown(n: u64, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { state: State::Unknown, value: None, bounds: None, limit: None, n, why }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
