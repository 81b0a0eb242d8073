//! Shares of hits in two arms that were never paired: errors, refusals and the like, exactly.

use super::Bounds;
use super::betting::{self, Interval, Level};
use super::grid::Grid;
use super::hedge::{Product, ln_above, ln_below, threshold};
use serde::{Deserialize, Serialize};

/// Points that the interval of possible rates is divided into, as a power of two.
const FINEST: u32 = 40;

/// Points that a check looks at before it gives up, which it does only next to its threshold.
const CHECK: usize = 256;

/// Points for each step towards the end of an interval.
const SEARCH: usize = 4096;

/// How closely an end of an interval is located: of a difference, or of the logarithm of a ratio.
const TOLERANCE: f64 = 1e-7;

/// The largest ratio that is told apart from an unbounded one.
const MOST_RATIO: f64 = 1e6;

/// How often something happened, of how many times it could have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How often it happened.
    pub hits: u64,
    /// How often it could have.
    pub of: u64,
}

/// How the rate of the second arm is compared with that of the first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Than {
    /// `p_B > p_A + this`.
    More(f64),
    /// `p_B > p_A * this`.
    Times(f64),
}

impl Rate {
    /// Takes one more in.
    pub fn add(&mut self, is_hit: bool) {
        self.hits = self.hits.saturating_add(u64::from(is_hit));
        self.of = self.of.saturating_add(1);
    }

    /// Takes in all of `other`, which `self` must not have seen.
    pub fn merge(&mut self, other: &Rate) {
        self.hits = self.hits.saturating_add(other.hits);
        self.of = self.of.saturating_add(other.of);
    }

    /// The share of hits; `None` if it could never have happened.
    pub fn share(&self) -> Option<f64> {
        (self.of > 0).then(|| self.hits as f64 / self.of as f64)
    }

    /// The confidence sequence for the share at two-sided `alpha`, valid at every look.
    pub fn interval(self, alpha: f64) -> Interval {
        let levels = self.levels();
        betting::interval(&Grid::default(), &levels, &levels, alpha)
    }

    /// Every time it could have happened, as a score of 0 or 1.
    pub fn levels(self) -> [Level; 2] {
        let misses = self.of.saturating_sub(self.hits);
        [Level { value: 0.0, count: misses }, Level { value: 1.0, count: self.hits }]
    }
}

/// Whether `b`'s rate is above `a`'s by more than `more`, which may be negative; wrong at any of
/// all looks together with probability at most `alpha`.
pub fn exceeds_by(grid: &Grid, a: Rate, b: Rate, more: f64, alpha: f64) -> bool {
    exceeds(grid, a, b, Than::More(more), alpha, CHECK)
}

/// Whether `b`'s rate is above `times` that of `a`; as [`exceeds_by`] otherwise.
pub fn exceeds_times(grid: &Grid, a: Rate, b: Rate, times: f64, alpha: f64) -> bool {
    exceeds(grid, a, b, Than::Times(times), alpha, CHECK)
}

/// The confidence sequence for `p_B - p_A` at two-sided `alpha`: each end is wrong with
/// probability at most half of it.
pub fn difference(grid: &Grid, a: Rate, b: Rate, alpha: f64) -> Bounds {
    let end = |a: Rate, b: Rate| -> Option<f64> {
        let from = b.share()? - a.share()?;
        last(-1.0, from, |more| exceeds(grid, a, b, Than::More(more), alpha / 2.0, SEARCH))
    };
    Bounds { lower: end(a, b), upper: end(b, a).map(|lower| -lower) }
}

/// The confidence sequence for `p_B / p_A`, as [`difference`].
pub fn ratio(grid: &Grid, a: Rate, b: Rate, alpha: f64) -> Bounds {
    let end = |a: Rate, b: Rate| -> Option<f64> {
        let (most, estimate) = (MOST_RATIO.ln(), (b.share()? / a.share()?).ln());
        let from = if estimate.is_nan() { 0.0 } else { estimate.clamp(-most, most) };
        let above = |ln: f64| exceeds(grid, a, b, Than::Times(ln.exp()), alpha / 2.0, SEARCH);
        last(-most, from, above).map(f64::exp)
    };
    Bounds { lower: end(a, b), upper: end(b, a).map(|lower| 1.0 / lower) }
}

/// The log e-value against `p_B <= p_A + more`, for display and to compare with references.
///
/// `ln E = min over p of ln H(K-_A(p)) + ln H(K+_B(p + more))`. The least is looked for on 129
/// points, denser at both ends, and 65 between the two estimates, then by golden section around
/// the best; [`exceeds_by`] proves the same without trusting that this found it.
pub fn ln_evidence(grid: &Grid, a: Rate, b: Rate, more: f64) -> f64 {
    let (low, high) = Than::More(more).span();
    let at = |p: f64| ln_below(grid, a.hits, a.of, p) + ln_above(grid, b.hits, b.of, p + more);
    let cosine = |k: i32| (1.0 - (std::f64::consts::PI * f64::from(k) / 128.0).cos()) / 2.0;
    let (from, to) = (a.share().unwrap_or(low), b.share().unwrap_or(high) - more);
    let whole = (0..=128).map(|k| low + (high - low) * cosine(k));
    let between = (0..=64).map(|k| (from + (to - from) * f64::from(k) / 64.0).clamp(low, high));
    let mut points: Vec<f64> = whole.chain(between).collect();
    points.sort_by(f64::total_cmp);
    let values: Vec<f64> = points.iter().map(|p| at(*p)).collect();
    let best = values.iter().enumerate().min_by(|x, y| x.1.total_cmp(y.1));
    let Some((index, least)) = best else { return f64::NAN };
    let left = points.get(index.saturating_sub(1)).copied().unwrap_or(low);
    let right = points.get(index + 1).copied().unwrap_or(high);
    golden(at, left, right).min(*least)
}

fn exceeds(grid: &Grid, a: Rate, b: Rate, than: Than, alpha: f64, effort: usize) -> bool {
    let (low, high) = than.span();
    let scale = (high - low) / (1_u64 << FINEST) as f64;
    let rate = |point: i64| low + scale * point as f64;
    let product = Product {
        parts: |point| {
            let p = rate(point);
            let (below, above) = (ln_below(grid, a.hits, a.of, p), than.from(p));
            (below, ln_above(grid, b.hits, b.of, above))
        },
        span: 0..=1 << FINEST,
        is_dense: true,
    };
    // A NaN or an empty span gives a point at an end, where nothing is shown.
    let guess = ((than.likeliest(a, b) - low) / scale) as i64;
    high >= low && product.reaches(threshold(alpha), guess, effort)
}

impl Than {
    /// The rates of the first arm at which the second has one too.
    fn span(self) -> (f64, f64) {
        match self {
            Than::More(more) => ((-more).max(0.0), (1.0 - more).min(1.0)),
            Than::Times(times) => (0.0, (1.0 / times).min(1.0)),
        }
    }

    /// The rate of the second arm at the limit.
    fn from(self, p: f64) -> f64 {
        match self {
            Than::More(more) => p + more,
            Than::Times(times) => p * times,
        }
    }

    /// About the likeliest rate of the first arm if the second is at the limit.
    fn likeliest(self, a: Rate, b: Rate) -> f64 {
        let (hits, n_a, n_b) = ((a.hits + b.hits) as f64, a.of as f64, b.of as f64);
        match self {
            Than::More(more) => (hits - more * n_b) / (n_a + n_b),
            Than::Times(times) => hits / (n_a + times * n_b),
        }
    }
}

/// The largest value from `low` to `high` for which `holds`, which it does up to some value;
/// `None` if it does not even at `low`.
fn last(low: f64, high: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    let (mut kept, mut lost) = (low + TOLERANCE, high);
    if !holds(kept) {
        return None;
    }
    while lost - kept > TOLERANCE {
        let middle = f64::midpoint(kept, lost);
        if holds(middle) {
            kept = middle;
        } else {
            lost = middle;
        }
    }
    Some(kept)
}

/// The least of `at` between `left` and `right`, where it falls and then rises.
fn golden(at: impl Fn(f64) -> f64, mut left: f64, mut right: f64) -> f64 {
    let part = (5_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..60 {
        let (x, y) = (right - part * (right - left), left + part * (right - left));
        if at(x) < at(y) { right = y } else { left = x }
    }
    at(f64::midpoint(left, right))
}
