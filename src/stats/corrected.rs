//! A judge's mean score corrected by human labels: prediction-powered inference.

use serde::Deserialize;
use serde::Serialize;

use super::Bounds;
use super::Score;
use super::grid::Grid;
use super::joint::Joint;
use super::joint::JointMoments;
use super::mean::critical;
use super::plan::normal_quantile;
use super::sums::Moments;
use super::sums::Sums;

/// Labels below which nothing is corrected: the interval is asymptotic.
pub const LEAST_LABELS: u64 = 100;

/// The units of [`Score`] in one.
const UNITS: f64 = 1e9;

/// Pairs with a label and a judge's score, and pairs with a judge's score only; merging adds.
///
/// Labels must be of pairs drawn at random, with a chance fixed before the judge's score is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labelled {
    /// `x` is the label, `y` the judge's score, both in units of a [`Score`].
    both: Joint,
    /// Scores without a label.
    rest: Sums,
}

impl Labelled {
    /// Takes in a pair that a person labelled and the judge scored.
    pub fn add(&mut self, label: Score, judged: Score) {
        self.both.add(label.units().into(), judged.units().into());
    }

    /// Takes in a pair that only the judge scored.
    pub fn add_unlabelled(&mut self, judged: Score) {
        self.rest.add(judged.units().into());
    }

    /// Takes in every pair of `other`, which must be pairs that `self` has not seen.
    pub fn merge(&mut self, other: &Labelled) {
        self.both.merge(&other.both);
        self.rest.merge(&other.rest);
    }

    /// How many pairs have a label.
    pub fn labels(&self) -> u64 {
        self.both.n()
    }

    /// The corrected mean label; `None` below two labels. Below [`LEAST_LABELS`] no decision may
    /// rest on it.
    pub fn corrected(&self) -> Option<Corrected> {
        let both = self.both.moments()?;
        let scaled = JointMoments {
            n: both.n,
            mean_x: both.mean_x / UNITS,
            mean_y: both.mean_y / UNITS,
            var_x: both.var_x / UNITS / UNITS,
            var_y: both.var_y / UNITS / UNITS,
            cov: both.cov / UNITS / UNITS,
        };
        let n = self.rest.n() as f64;
        let mean = self.rest.mean().unwrap_or(0.0) / UNITS;
        let variance = self.rest.moments().map_or(0.0, |rest| rest.variance / UNITS / UNITS);
        Some(Corrected::new(&scaled, Moments { n, mean, variance }))
    }
}

/// A corrected mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Corrected {
    /// The estimate.
    pub estimate: f64,
    /// Its standard error.
    pub error: f64,
    /// How far the judge is believed: 0 ignores it, 1 takes it as if it were a label.
    pub lambda: f64,
    /// Labels behind it.
    pub labels: f64,
}

impl Corrected {
    /// Of labels `x` with scores `y`, and the scores of further pairs.
    ///
    /// PPI++ (Angelopoulos, Duchi and Zrnic, 2023, section 6): with `n` labels `Y`, scores `f` and
    /// `N` further scores, `lambda = cov_n(Y, f) / ((1 + n/N) var_{n+N}(f))`, kept in `[0, 1]`;
    /// `estimate = lambda mean_N(f) + mean_n(Y) - lambda mean_n(f)` and `error^2 = lambda^2
    /// var_N(f) / N + var_n(Y - lambda f) / n`. The covariance and the variances of the error
    /// divide by their counts, `var_{n+N}` by `n + N - 1`. Without further scores or variance
    /// `lambda` is 0 and the estimate is that of the labels alone.
    pub fn new(labelled: &JointMoments, rest: Moments) -> Corrected {
        let (n, more) = (labelled.n, rest.n);
        let biased = (n - 1.0) / n;
        let apart = (labelled.mean_y - rest.mean).powi(2);
        let pooled = (labelled.var_y * (n - 1.0)
            + rest.variance * (more - 1.0).max(0.0)
            + apart * n * more / (n + more))
            / (n + more - 1.0);
        let best = labelled.cov * biased / ((1.0 + n / more) * pooled);
        let lambda = if more > 0.0 && pooled > 0.0 { best.clamp(0.0, 1.0) } else { 0.0 };
        let left = labelled.var_x + lambda * lambda * labelled.var_y - 2.0 * lambda * labelled.cov;
        let of_rest = lambda * lambda * rest.variance * (more - 1.0).max(0.0) / (more * more);
        let of_rest = if more > 0.0 { of_rest } else { 0.0 };
        Corrected {
            estimate: labelled.mean_x + lambda * (rest.mean - labelled.mean_y),
            error: (of_rest + left.max(0.0) * biased / n).sqrt(),
            lambda,
            labels: n,
        }
    }

    /// `estimate ± z_{1-alpha/2} error`, valid at one look only.
    pub fn at_one_look(&self, alpha: f64) -> Bounds {
        self.around(normal_quantile(1.0 - alpha / 2.0))
    }

    /// `estimate ± z*(n) error`, valid at every look, asymptotically (Kilian, Cortinovis and
    /// Caron, "Anytime-valid, Bayes-assisted, prediction-powered inference", 2025), with the
    /// labels as units.
    pub fn interval(&self, alpha: f64) -> Bounds {
        self.around(critical(&Grid::default(), self.labels, alpha))
    }

    fn around(&self, z: f64) -> Bounds {
        let end = |end: f64| end.is_finite().then_some(end);
        let reach = z * self.error;
        Bounds { lower: end(self.estimate - reach), upper: end(self.estimate + reach) }
    }
}
