//! Quantiles of times, of one arm and of two compared: exact, and conservative by one bucket.
//!
//! A quantile is where a share of the values lies below, so every bound on a share gives one on a
//! quantile (Howard and Ramdas, "Sequential estimation of quantiles", Bernoulli 28(3) (2022)
//! 1704-1728, theorem 1 and section 5); the capital here takes the place of their beta-binomial.

use super::Bounds;
use super::betting::{ln_capital_above, ln_capital_below};
use super::grid::Grid;
use super::hedge::{Product, ln_above, ln_below, threshold};
use super::histogram::{Histogram, bound, bucket};
use super::rate::Rate;

/// Buckets that a check looks at before it gives up; there are never so many between two ends.
const EFFORT: usize = 16_384;

/// What `n` values say of the share `p`: counts that are too low and too high for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// The most values below the quantile that still are too few; `None` if none is.
    pub low: Option<u64>,
    /// The fewest that are too many, above `n` if none is.
    pub high: u64,
}

/// The ranks at two-sided `alpha`: `high` is the least `k` for which the capital of betting that
/// the share is above `p` reaches `ln(2/alpha)`, `low` the most for which that of below does.
pub fn ranks(grid: &Grid, n: u64, p: f64, alpha: f64) -> Ranks {
    let threshold = threshold(alpha / 2.0);
    let levels = |hits: u64| Rate { hits, of: n }.levels();
    let high = first(n, |k| ln_capital_above(grid, &levels(k), p) >= threshold);
    let is_low = |k| ln_capital_below(grid, &levels(k), p) >= threshold;
    let kept = first(n, |k| !is_low(k));
    Ranks { low: kept.checked_sub(1), high }
}

/// The confidence sequence for the quantile `p` of one arm at two-sided `alpha`.
pub fn interval(grid: &Grid, arm: &Histogram, p: f64, alpha: f64) -> Bounds {
    let ranks = ranks(grid, arm.n(), p, alpha);
    let counts = arm.cumulative();
    let upper = counts.iter().find(|(_, count)| *count >= ranks.high);
    // The last bound below which too few lie is the one before the bucket with enough.
    let lower = ranks.low.and_then(|low| counts.iter().find(|(_, count)| *count > low));
    Bounds {
        lower: lower.map(|(bucket, _)| bound(bucket - 1)),
        upper: upper.map(|(bucket, _)| bound(*bucket)),
    }
}

/// Two arms whose quantile `p` is compared.
pub struct Pair<'a> {
    grid: &'a Grid,
    a: Counts,
    b: Counts,
    p: f64,
}

impl<'a> Pair<'a> {
    /// Of these arms.
    pub fn new(grid: &'a Grid, a: &Histogram, b: &Histogram, p: f64) -> Pair<'a> {
        Pair { grid, a: Counts::of(a, p), b: Counts::of(b, p), p }
    }

    /// Whether `Q_B` is above `times` that of `Q_A`; wrong at any of all looks together with
    /// probability at most `alpha`. `times` is rounded up to a whole number of buckets, which are
    /// two per cent apart.
    pub fn exceeds_times(&self, times: f64, alpha: f64) -> bool {
        times > 0.0 && times.is_finite() && self.exceeds(bucket(times), alpha)
    }

    /// Whether there are values enough to show anything at `alpha`, however far the arms are
    /// apart: the further out the quantile, the more it takes.
    pub fn is_decidable(&self, alpha: f64) -> bool {
        let at = |a: u64, b: u64| {
            ln_above(self.grid, a, self.a.n, self.p) + ln_below(self.grid, b, self.b.n, self.p)
        };
        let threshold = threshold(alpha);
        at(0, 0) >= threshold && at(self.a.n, self.b.n) >= threshold
    }

    /// The confidence sequence for `Q_B / Q_A` at two-sided `alpha`.
    pub fn ratio(&self, alpha: f64) -> Bounds {
        let swapped = Pair { grid: self.grid, a: self.b.clone(), b: self.a.clone(), p: self.p };
        let end = |pair: &Pair<'_>| pair.farthest(alpha / 2.0);
        Bounds { lower: end(self).map(bound), upper: end(&swapped).map(|j| bound(-j)) }
    }

    /// The farthest `j` of which it is shown that `Q_B > GAMMA^j Q_A`.
    fn farthest(&self, alpha: f64) -> Option<i32> {
        let (mut kept, mut lost) =
            (self.b.least()? - self.a.most()? - 2, self.b.most()? - self.a.least()? + 2);
        if !self.exceeds(kept, alpha) {
            return None;
        }
        while lost - kept > 1 {
            let middle = i32::midpoint(kept, lost);
            if self.exceeds(middle, alpha) { kept = middle } else { lost = middle }
        }
        Some(kept)
    }

    /// Whether `Q_B > GAMMA^j Q_A`: `min over i of ln H(K+_A(p; C_A(i-1))) + ln H(K-_B(p;
    /// C_B(i+j)))` reaches the threshold, `C(i)` being the count up to bucket `i`. If the
    /// quantile of A is in bucket `i`, less than `p` of A lies up to `i - 1`, and if `Q_B` is no
    /// more than `GAMMA^j Q_A`, at least `p` of B lies up to `i + j`.
    fn exceeds(&self, j: i32, alpha: f64) -> bool {
        let ends = || {
            let low = self.a.least()?.min(self.b.least()? - j) - 1;
            let high = self.a.most()?.max(self.b.most()? - j) + 1;
            Some((low, high))
        };
        let Some((low, high)) = ends() else { return false };
        let product = Product {
            parts: |i: i64| {
                let i = i32::try_from(i).unwrap_or(i32::MAX);
                let (a, b) = (self.a.up_to(i - 1), self.b.up_to(i.saturating_add(j)));
                (ln_above(self.grid, a, self.a.n, self.p), ln_below(self.grid, b, self.b.n, self.p))
            },
            span: i64::from(low)..=i64::from(high),
            is_dense: false,
        };
        product.reaches(threshold(alpha), i64::from(self.a.middle), EFFORT)
    }
}

/// The counts of a histogram, summed up.
#[derive(Clone)]
struct Counts {
    n: u64,
    sums: Vec<(i32, u64)>,
    /// The bucket of the quantile.
    middle: i32,
}

impl Counts {
    fn of(histogram: &Histogram, p: f64) -> Counts {
        let (n, sums) = (histogram.n(), histogram.cumulative());
        let above = sums.iter().find(|(_, count)| *count as f64 >= p * n as f64);
        let middle = above.map_or(0, |(bucket, _)| *bucket);
        Counts { n, sums, middle }
    }

    fn up_to(&self, bucket: i32) -> u64 {
        let after = self.sums.partition_point(|(at, _)| *at <= bucket);
        let last = after.checked_sub(1).and_then(|index| self.sums.get(index));
        last.map_or(0, |(_, count)| *count)
    }

    fn least(&self) -> Option<i32> {
        self.sums.first().map(|(bucket, _)| *bucket)
    }

    fn most(&self) -> Option<i32> {
        self.sums.last().map(|(bucket, _)| *bucket)
    }
}

/// The least `k` up to `n` for which `holds`, which it does from some `k` on; `n + 1` for none.
fn first(n: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, n.saturating_add(1));
    while low < high {
        let middle = u64::midpoint(low, high);
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}
