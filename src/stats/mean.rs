//! Means of unbounded measures in two arms that were never paired: cost and tokens.
//!
//! Asymptotic: a standardised mean comes close to Brownian motion, for which the mixture over the
//! grid is an exact martingale (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Annals of
//! Statistics 52(6) (2024) 2380-2407, theorem 2.2). So it is refused below [`LEAST`] units an arm.

use super::Bounds;
use super::grid::Grid;
use super::hedge::threshold;
use super::sums::{Moments, Sums};

/// Values that an arm needs before its mean is compared.
pub const LEAST: u64 = 100;

/// Values that are not zero, of those: the mean of rare events is far from normal.
pub const LEAST_NONZERO: u64 = 20;

/// The standard errors of a difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Each arm's own variance.
    pub welch: f64,
    /// One variance for both.
    pub pooled: f64,
}

impl Errors {
    /// Of values with these counts and variances.
    ///
    /// `welch^2 = s_A^2/n_A + s_B^2/n_B`;
    /// `pooled^2 = ((n_A-1) s_A^2 + (n_B-1) s_B^2) / (n_A+n_B-2) * (1/n_A + 1/n_B)`.
    pub fn of(a: (f64, f64), b: (f64, f64)) -> Errors {
        let ((n_a, var_a), (n_b, var_b)) = (a, b);
        let both = ((n_a - 1.0) * var_a + (n_b - 1.0) * var_b) / (n_a + n_b - 2.0);
        Errors {
            welch: (var_a / n_a + var_b / n_b).sqrt(),
            pooled: (both * (1.0 / n_a + 1.0 / n_b)).sqrt(),
        }
    }

    /// The larger of the two. With skewed values in unequal arms the small arm's low mean comes
    /// with a low variance, and Welch's error alone is then wrong in up to a third of all looks.
    pub fn larger(self) -> f64 {
        self.welch.max(self.pooled)
    }
}

/// An estimate, its standard error, and the number of units behind both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// Units behind it, both arms together.
    pub n: f64,
}

impl Estimate {
    /// The mean of one sample, such as of the differences of pairs: `error = s / sqrt(n)`.
    pub fn of_mean(moments: Moments) -> Estimate {
        let Moments { n, mean, variance } = moments;
        Estimate { value: mean, error: (variance / n).sqrt(), n }
    }

    /// `mean_B - mean_A`.
    pub fn difference(a: Moments, b: Moments) -> Estimate {
        let error = Errors::of((a.n, a.variance), (b.n, b.variance)).larger();
        Estimate { value: b.mean - a.mean, error, n: a.n + b.n }
    }

    /// `ln(mean_B / mean_A)`, its error by the delta method: the variance of each arm over its
    /// squared mean. Not a number unless both means are above zero.
    pub fn ln_ratio(a: Moments, b: Moments) -> Estimate {
        let relative = |arm: Moments| (arm.n, arm.variance / (arm.mean * arm.mean));
        let error = Errors::of(relative(a), relative(b)).larger();
        Estimate { value: (b.mean / a.mean).ln(), error, n: a.n + b.n }
    }

    /// Whether the truth is above `limit`; wrong at any of all looks together with probability at
    /// most `alpha`, asymptotically.
    pub fn exceeds(&self, grid: &Grid, limit: f64, alpha: f64) -> bool {
        let z = (self.value - limit) / self.error;
        // Without any variance the error is zero, and any excess at all is endless evidence.
        z > 0.0 && ln_evidence(grid, z, self.n) >= threshold(alpha)
    }

    /// The confidence sequence at two-sided `alpha`: `value ± z* error`.
    pub fn interval(&self, grid: &Grid, alpha: f64) -> Bounds {
        let reach = critical(grid, self.n, alpha) * self.error;
        let end = |end: f64| end.is_finite().then_some(end);
        Bounds { lower: end(self.value - reach), upper: end(self.value + reach) }
    }
}

/// Both arms' moments; `None` while either is too small for any of this to hold.
pub fn comparable(a: &Sums, b: &Sums) -> Option<(Moments, Moments)> {
    let enough = |sums: &Sums| sums.n() >= LEAST && sums.nonzero() >= LEAST_NONZERO;
    (enough(a) && enough(b)).then(|| a.moments().zip(b.moments())).flatten()
}

/// `ln G(z, n) = ln sum_j w_j exp(s_j z sqrt(n) - n s_j^2 / 2)`: the log e-value for "above" of a
/// standardised estimate `z` from `n` units.
pub fn ln_evidence(grid: &Grid, z: f64, n: f64) -> f64 {
    let wealth = |effect: &f64| effect * z * n.sqrt() - n * effect * effect / 2.0;
    grid.mix(&grid.effects().iter().map(wealth).collect::<Vec<_>>())
}

/// `z*(n, alpha)`, where the evidence reaches `ln(2/alpha)`; infinite if `alpha` makes no sense.
pub fn critical(grid: &Grid, n: f64, alpha: f64) -> f64 {
    let threshold = threshold(alpha / 2.0);
    let reached = |z: f64| ln_evidence(grid, z, n) >= threshold;
    let Some(mut high) = (0..60).map(|k| 2_f64.powi(k)).find(|z| reached(*z)) else {
        return f64::INFINITY;
    };
    let mut low = 0.0;
    while high - low > 1e-10 * high {
        let middle = f64::midpoint(low, high);
        if reached(middle) { high = middle } else { low = middle }
    }
    high
}
