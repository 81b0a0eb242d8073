//! One candidate's evidence as a report shows it, and the verdict that follows.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::audit::Row;
use crate::experiment::Experiment;
use crate::report::reading::Corrected;
use crate::report::reading::Reading;
use crate::report::segment::SegmentView;
use crate::report::spec;
use crate::stats::Bounds;
use crate::stats::Interval;
use crate::stats::Joint;
use crate::stats::Spec;
use crate::stats::Verdict;
use crate::stats::grid::Grid;
use crate::stats::length;
use crate::stats::mean;
use crate::stats::plan;
use crate::stats::rule;
use crate::tally::Tally;

/// The word for a candidate that a guardrail has stopped.
pub const GUARDRAIL_BROKEN: &str = "guardrail_broken";

/// One candidate's evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CandidateView {
    /// Who it is.
    pub target: String,
    /// What follows from its pairs.
    pub verdict: Verdict,
    /// A short stable word for why; of a review, the check that failed.
    pub reason: String,
    /// Scored pairs.
    pub pairs: u64,
    /// P(win) + P(tie)/2 with its interval, valid at every look.
    pub win_rate: Rate,
    /// Pairs it won.
    pub wins: u64,
    /// Pairs neither won.
    pub ties: u64,
    /// Pairs it lost.
    pub losses: u64,
    /// Of the ties, those found by a comparator.
    pub equal: u64,
    /// Pairs without a usable verdict, by reason.
    pub unjudged: BTreeMap<String, u64>,
    /// Pairs that chance left out of the sample that is judged.
    #[serde(default)]
    pub unsampled: u64,
    /// Units that the pairs are of.
    #[serde(default)]
    pub units: u64,
    /// How many times the variance of independent pairs the win rate has.
    #[serde(default = "one")]
    pub design_effect: f64,
    /// Pairs that people labelled.
    #[serde(default)]
    pub labels: u64,
    /// The win rate as people see it, once there are labels enough.
    #[serde(default)]
    pub corrected: Option<Corrected>,
    /// The win rate if both answers were equally long.
    #[serde(default)]
    pub length_controlled: Option<Rate>,
    /// The win rate by where the request belongs.
    #[serde(default)]
    pub segments: Vec<SegmentView>,
    /// Cost, length and time beside control's.
    #[serde(default)]
    pub paired: Paired,
    /// Pairs still expected: half of such experiments end before `n50`, four of five before `n80`.
    pub remaining: Option<Remaining>,
}

fn one() -> f64 {
    1.0
}

/// An estimate with its interval.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// `null` before the first pair.
    pub estimate: Option<f64>,
    /// Of the mean, at one look; `null` before the second pair.
    pub standard_error: Option<f64>,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Pairs still expected.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Remaining {
    /// In half of such experiments.
    pub n50: u64,
    /// In four of five.
    pub n80: u64,
}

/// Means of both answers of the same pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Paired {
    /// Dollars an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Difference>,
    /// Characters of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_chars: Option<Difference>,
    /// Milliseconds until an answer's end; copies run beside live answers, so this is a hint only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Difference>,
}

/// Two means and how far they are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Pairs behind it.
    pub n: u64,
    /// Control's mean.
    pub control: f64,
    /// The candidate's mean.
    pub candidate: f64,
    /// The candidate's less control's, valid at every look; open while there are too few pairs.
    pub difference: Bounds,
}

/// What was counted of a candidate, with the verdict of the rule.
pub fn view(
    experiment: &Experiment,
    target: String,
    tally: &Tally,
    reading: &Reading,
) -> CandidateView {
    let spec = spec(experiment);
    let (pairs, summary) = (tally.scored(), &tally.win_rate);
    let decision = rule::rule_for(spec.goal).decide_on(pairs, reading.decisive(), &spec);
    let remaining = (decision.verdict == Verdict::KeepRunning)
        .then(|| remaining(tally, reading, &spec))
        .flatten();
    let Interval { lower, upper } = reading.judged;
    let (estimate, standard_error) = (reading.estimate, reading.standard_error);
    CandidateView {
        target,
        verdict: decision.verdict,
        reason: decision.reason.to_string(),
        pairs,
        win_rate: Rate { estimate, standard_error, lower, upper },
        wins: summary.wins(),
        ties: summary.ties().saturating_sub(tally.unsampled),
        losses: summary.losses(),
        equal: tally.equal,
        unjudged: tally.unjudged.clone(),
        unsampled: tally.unsampled,
        units: tally.units.count(),
        design_effect: reading.design_effect,
        labels: tally.labelled.labels(),
        corrected: reading.corrected,
        length_controlled: None,
        segments: Vec::new(),
        paired: Paired::default(),
        remaining,
    }
}

/// What comes before the rule: a judge that cannot be believed, then a guardrail that is broken.
///
/// The judge is doubted as soon as its checks fail, and like every verdict on pairs a review waits
/// for as many of them as the definition wants; what users suffer from waits for nothing.
pub fn settle(view: &mut CandidateView, failed: Option<&Row>, is_broken: bool, spec: &Spec) {
    let is_enough = view.pairs >= spec.min_pairs.min(spec.max_pairs);
    if let Some(row) = failed.filter(|_| is_enough) {
        view.verdict = Verdict::Review;
        view.reason.clone_from(&row.check);
        view.remaining = None;
    } else if is_broken {
        view.verdict = Verdict::DoNotShip;
        GUARDRAIL_BROKEN.clone_into(&mut view.reason);
        view.remaining = None;
    }
}

/// What takes longer to find and decides nothing.
pub fn compare(view: &mut CandidateView, tally: &Tally, alpha: f64) {
    let controlled = tally.length.controlled();
    let controlled = controlled.filter(|_| tally.length.pairs() >= length::LEAST_PAIRS);
    view.length_controlled = controlled.map(|found| {
        let bounds = found.interval(alpha);
        Rate {
            estimate: Some(found.estimate),
            standard_error: Some(found.error),
            lower: bounds.lower.unwrap_or(0.0),
            upper: bounds.upper.unwrap_or(1.0),
        }
    });
    let compared = &tally.compared;
    view.paired = Paired {
        cost_usd: difference(&compared.cost_nano_usd, 1e9, alpha),
        output_chars: difference(&compared.output_chars, 1.0, alpha),
        latency_ms: difference(&compared.took_us, 1e3, alpha),
    };
}

fn difference(of: &Joint, unit: f64, alpha: f64) -> Option<Difference> {
    let moments = of.moments()?;
    let bounds = match of.n() >= mean::LEAST {
        true => moments.difference().interval(&Grid::default(), alpha).map(|end| end / unit),
        false => Bounds::default(),
    };
    let (control, candidate) = (moments.mean_x / unit, moments.mean_y / unit);
    Some(Difference { n: of.n(), control, candidate, difference: bounds })
}

/// Pairs still expected, as far as the judge's word goes.
///
/// Pairs of the same units are worth less by the design effect.
fn remaining(tally: &Tally, reading: &Reading, spec: &Spec) -> Option<Remaining> {
    if reading.corrected.is_some() {
        return None;
    }
    let pairs = plan::remaining_of_sample(&tally.win_rate, reading.sample, spec)?;
    let more = |pairs: u64| (pairs as f64 * reading.design_effect).ceil() as u64;
    Some(Remaining { n50: more(pairs.n50), n80: more(pairs.n80) })
}
