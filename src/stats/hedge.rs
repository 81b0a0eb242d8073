//! Evidence about two arms at once: the least, over what the arms may share, of a hedged product.
//!
//! Two arms with rates `p_A` and `p_B` are compared without knowing either. For each `p` that
//! `p_A` may be, the product of a capital against `p_A = p` and one against what `p_B` then would
//! be is a martingale if `p` is true, whatever the allocation, so the least of the products is an
//! e-value. The construction is that of the two-sample quantile test of Howard and Ramdas,
//! "Sequential estimation of quantiles", Bernoulli 28(3) (2022) 1704-1728, section 5.

use super::betting::{ln_capital_above, ln_capital_below};
use super::grid::{Grid, log_sum_exp};
use super::rate::Rate;
use std::ops::RangeInclusive;

/// The share of each capital that is bet; the rest is kept, so that an arm about which little is
/// known cannot veto what the other one proves.
const BET: f64 = 0.9;

/// `ln H(K+)` for `hits` of `of`, `H(K) = 0.9 K + 0.1`: evidence that the rate is above `null`.
pub(super) fn ln_above(grid: &Grid, hits: u64, of: u64, null: f64) -> f64 {
    hedged(ln_capital_above(grid, &Rate { hits, of }.levels(), null))
}

/// `ln H(K-)` for `hits` of `of`: evidence that the rate is below `null`.
pub(super) fn ln_below(grid: &Grid, hits: u64, of: u64, null: f64) -> f64 {
    hedged(ln_capital_below(grid, &Rate { hits, of }.levels(), null))
}

/// The threshold that a one-sided claim, wrong with probability at most `alpha`, must reach;
/// infinite, so that nothing is ever claimed, if `alpha` makes no sense.
pub fn threshold(alpha: f64) -> f64 {
    if alpha > 0.0 && alpha < 1.0 { -alpha.ln() } else { f64::INFINITY }
}

/// A product over the points of `span`, as two logarithms, of which the first never falls along
/// it and the second never rises.
pub(super) struct Product<F> {
    pub parts: F,
    pub span: RangeInclusive<i64>,
    /// Whether the points stand for all between them too.
    pub is_dense: bool,
}

impl<F: Fn(i64) -> (f64, f64)> Product<F> {
    /// Whether the product reaches `threshold` everywhere, with certainty: between two points it
    /// is at least the rising part at the first plus the falling part at the second, and where
    /// that does not settle it the middle is looked at. `guess` is about where it is least.
    ///
    /// After `effort` points the answer is no: not shown.
    pub fn reaches(&self, threshold: f64, guess: i64, effort: usize) -> bool {
        let at = |point: i64| {
            let (rising, falling) = (self.parts)(point);
            Point { at: point, rising, falling }
        };
        let fails = |point: &Point| {
            let product = point.rising + point.falling;
            product.is_nan() || product < threshold
        };
        let (low, high) = (*self.span.start(), *self.span.end());
        let guess = at(guess.clamp(low, high));
        if fails(&guess) {
            return false;
        }
        let (first, last) = (at(low), at(high));
        if fails(&first) || fails(&last) {
            return false;
        }
        let mut open = vec![(first, guess), (guess, last)];
        for _ in 0..effort {
            let Some((left, right)) = open.pop() else { return true };
            if left.rising + right.falling >= threshold {
                continue;
            }
            if right.at - left.at <= 1 {
                if self.is_dense {
                    return false;
                }
                continue;
            }
            let middle = at(i64::midpoint(left.at, right.at));
            if fails(&middle) {
                return false;
            }
            open.extend([(left, middle), (middle, right)]);
        }
        open.is_empty()
    }
}

#[derive(Clone, Copy)]
struct Point {
    at: i64,
    rising: f64,
    falling: f64,
}

fn hedged(ln_capital: f64) -> f64 {
    log_sum_exp([BET.ln() + ln_capital, (1.0 - BET).ln()].into_iter())
}
