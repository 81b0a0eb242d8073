//! What a report holds besides its numbers: the audit of the judge, segments, corrections.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::report::Report;
use crate::stats::Interval;
use crate::stats::Score;
use crate::stats::WinRate;

/// Two orders agree less often than this only with a judge that guesses.
const LEAST_CONSISTENT: f64 = 0.7;

/// What a report holds besides its numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// The audit of the judge.
    pub audit: Vec<Check>,
    /// By candidate.
    pub candidates: BTreeMap<String, More>,
    /// The YAML that sends the candidate only the requests on which it is better.
    pub routing: Option<String>,
}

/// One check of the judge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// Its name.
    pub check: String,
    /// `pass`, `warn`, `fail` or `unknown`.
    pub state: String,
    /// What was measured.
    pub value: Option<f64>,
    /// The lower end of its interval.
    pub lower: Option<f64>,
    /// The upper end of its interval.
    pub upper: Option<f64>,
    /// What it is held to.
    pub limit: Option<f64>,
    /// Observations.
    pub n: u64,
    /// In words.
    pub why: String,
}

/// What is known of a candidate besides its win rate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct More {
    /// Units that its pairs come from.
    pub units: Option<u64>,
    /// By how much pairs of one unit resemble each other.
    pub design_effect: Option<f64>,
    /// Pairs that chance left out of the sample that is judged.
    pub unsampled: u64,
    /// The win rate as people's labels correct it.
    pub corrected: Option<Corrected>,
    /// The win rate if answers were of equal length.
    pub length_controlled: Option<Ends>,
    /// The win rate by kind of request.
    pub segments: Vec<Segment>,
    /// Costs, lengths and times of the two, pair by pair.
    pub paired: BTreeMap<String, Paired>,
}

/// An estimate with its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ends {
    /// The estimate.
    pub estimate: Option<f64>,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// A win rate that people's labels correct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Corrected {
    /// Pairs that people labelled.
    pub labels: u64,
    /// The estimate.
    pub estimate: f64,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// How far the judge is trusted, from 0 to 1.
    pub lambda: Option<f64>,
}

/// The pairs of one kind of request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Segment {
    /// What is looked at: `route`, `language` and so on.
    pub dimension: String,
    /// Which.
    pub value: String,
    /// Scored pairs.
    pub pairs: u64,
    /// The candidate's win rate in them.
    pub win_rate: Ends,
    /// Surely better there, all segments taken together.
    pub better: bool,
    /// Surely worse there.
    pub worse: bool,
}

/// A measure of both sides, pair by pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Paired {
    /// Control's mean.
    pub control: Option<f64>,
    /// The candidate's mean.
    pub candidate: Option<f64>,
    /// What is not excluded of the difference.
    pub difference: Option<Difference>,
}

/// The ends of a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    /// The lower end.
    pub lower: Option<f64>,
    /// The upper end.
    pub upper: Option<f64>,
}

impl Evidence {
    /// Of a report; what it does not hold is empty.
    pub fn of(report: &Report) -> Self {
        let value = serde_json::to_value(report).unwrap_or_default();
        let read = |value: Option<&serde_json::Value>| value.cloned().unwrap_or_default();
        let audit = read(value.pointer("/judge/audit"));
        let mut audit: Vec<Check> = serde_json::from_value(audit).unwrap_or_default();
        if audit.is_empty() {
            audit.extend(consistency(report));
        }
        let candidates = serde_json::from_value(read(value.get("candidates"))).unwrap_or_default();
        let routing = value.get("routing").and_then(|yaml| yaml.as_str()).map(str::to_owned);
        Self { audit, candidates, routing }
    }
}

/// How often the judge named the same winner when the answers were swapped.
fn consistency(report: &Report) -> Option<Check> {
    let judges = || report.judge.iter().flat_map(|judge| judge.by_candidate.values());
    let n: u64 = judges().map(|tally| tally.both_orders).sum();
    let flips: u64 = judges().map(|tally| tally.contradictions).sum();
    let agreed = n.checked_sub(flips).filter(|_| n > 0)?;
    let (value, Interval { lower, upper }) = share(agreed, n, report.goal.alpha);
    let (state, why) = match upper < LEAST_CONSISTENT {
        true => ("fail", "it names another winner when the answers are swapped"),
        false => ("pass", "it names the same winner, or none, when the answers are swapped"),
    };
    Some(Check {
        check: "order_consistency".to_owned(),
        state: state.to_owned(),
        value: Some(value),
        lower: Some(lower),
        upper: Some(upper),
        limit: Some(LEAST_CONSISTENT),
        n,
        why: why.to_owned(),
    })
}

/// A share of so many, with its interval at two-sided `alpha`, valid at every look.
pub fn share(hits: u64, of: u64, alpha: f64) -> (f64, Interval) {
    let mut counts = WinRate::new();
    for hit in 0..of {
        counts.add(if hit < hits { Score::WIN } else { Score::LOSS });
    }
    (hits as f64 / of.max(1) as f64, counts.interval(alpha))
}
