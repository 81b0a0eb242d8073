//! What the counts of one candidate say of its win rate: the judge's word, and people's.

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::report::spec;
use crate::stats::Interval;
use crate::stats::corrected;
use crate::tally::Tally;

/// The win rate of one candidate with what it rests on.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The share of the pairs that differ that is judged.
    pub sample: f64,
    /// How many times the variance of independent pairs the mean score has.
    pub design_effect: f64,
    /// By what the evidence of pairs of the same units is divided.
    pub discount: f64,
    /// The estimate by the judge; `None` before the first pair.
    pub estimate: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// What is not excluded by the judge.
    pub judged: Interval,
    /// The same with the judge corrected by people, once there are labels enough.
    pub corrected: Option<Corrected>,
}

/// The win rate as people see it, by their labels and the judge's scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Corrected {
    /// Labels behind it.
    pub labels: u64,
    /// The estimate.
    pub estimate: f64,
    /// Lower end, valid at every look.
    pub lower: f64,
    /// Upper end, valid at every look.
    pub upper: f64,
    /// How far the judge is believed: 0 ignores it, 1 takes it for a person.
    pub lambda: f64,
}

impl Reading {
    /// Of what was counted of a candidate.
    pub fn of(experiment: &Experiment, tally: &Tally) -> Self {
        let (sample, alpha) = (experiment.evaluate.sample.fraction(), spec(experiment).alpha);
        let summary = &tally.win_rate;
        let clusters = tally.units.clusters();
        let (design_effect, discount) =
            (clusters.design_effect(summary), clusters.discount(summary));
        let estimate = summary.estimate().map(|mean| of_all(mean, sample));
        let error = summary.standard_error();
        let standard_error = error.map(|error| error * design_effect.sqrt() / sample);
        let judged = summary.interval_discounted(alpha, discount).of_sample(sample);
        let corrected = corrected(tally, alpha, discount);
        Self { sample, design_effect, discount, estimate, standard_error, judged, corrected }
    }

    /// What the verdict is read off: people's word once there is enough of it.
    pub fn decisive(&self) -> Interval {
        match self.corrected {
            Some(Corrected { lower, upper, .. }) => Interval { lower, upper },
            None => self.judged,
        }
    }
}

/// The win rate of all pairs, where `mean` counts those left out of the sample as ties: with `q`
/// judged, `E[v] = 1/2 + q (theta - 1/2)`.
pub fn of_all(mean: f64, sample: f64) -> f64 {
    (0.5 + (mean - 0.5) / sample).clamp(0.0, 1.0)
}

/// The win rate corrected by labels (prediction-powered inference), from the least number on.
///
/// Labels are of pairs that the comparators told apart, so what they correct is the win rate `t`
/// of those. With a share `w` of them among `n` pairs, that of all is `1/2 + w (t - 1/2)`, and to
/// its variance comes `(t - 1/2)^2 w (1 - w) / n`.
fn corrected(tally: &Tally, alpha: f64, discount: f64) -> Option<Corrected> {
    let labels = tally.labelled.labels();
    let found = tally.labelled.corrected().filter(|_| labels >= corrected::LEAST_LABELS)?;
    let pairs = tally.win_rate.pairs() as f64;
    let differing = 1.0 - tally.equal as f64 / pairs;
    let of_share = (found.estimate - 0.5).powi(2) * differing * (1.0 - differing) / pairs;
    let error = ((differing * found.error).powi(2) * discount + of_share).sqrt();
    let estimate = 0.5 + differing * (found.estimate - 0.5);
    let scaled = corrected::Corrected { estimate, error, ..found };
    let bounds = scaled.interval(alpha);
    Some(Corrected {
        labels,
        estimate,
        lower: bounds.lower.unwrap_or(0.0).clamp(0.0, 1.0),
        upper: bounds.upper.unwrap_or(1.0).clamp(0.0, 1.0),
        lambda: found.lambda,
    })
}
