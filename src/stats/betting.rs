//! Capital processes on bounded scores and the confidence sequence read off them.
//!
//! Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
//! JRSS-B 86 (2024) 1-27: the capital process, and the average of constant bets on a fixed grid.

use super::grid::{Grid, log_sum_exp};
use serde::{Deserialize, Serialize};

/// The share of its wealth that a bet may lose on one score.
pub const CAP: f64 = 0.9;

/// Means closer than this to 0 or 1 are not told apart from them.
const EDGE: f64 = 1e-12;

/// How closely an end of an interval is located.
const TOLERANCE: f64 = 1e-10;

/// Below this many levels, a logarithm for each is fast enough, and exact for any count.
const MANY: usize = 64;

/// The largest logarithm that a running product may reach; `f64` overflows beyond 709.
const LN_ROOM: f64 = 690.0;

/// A score in `[0, 1]` and how often it was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The score.
    pub value: f64,
    /// How often it was seen.
    pub count: u64,
}

/// What is not excluded: at all looks together, the truth is outside with probability at most
/// the alpha that the interval was made with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

impl Interval {
    /// The interval before there is any evidence.
    pub const ALL: Interval = Interval { lower: 0.0, upper: 1.0 };

    /// Of the mean of scores of which only a share was taken, and 1/2 in place of the others: what
    /// it says of the mean of all.
    ///
    /// If each score is taken with probability `share`, whatever it is, the mean of what is
    /// written down is `1/2 + share (mean - 1/2)`, exactly and at every look; so the interval for
    /// one is the interval for the other, and a margin around 1/2 shrinks by `share` on the way
    /// there and grows back on the way here. Without a share nothing is known.
    pub fn of_sample(self, share: f64) -> Interval {
        if !(share > 0.0 && share <= 1.0) {
            return Interval::ALL;
        }
        let all = |end: f64| (0.5 + (end - 0.5) / share).clamp(0.0, 1.0);
        Interval { lower: all(self.lower), upper: all(self.upper) }
    }

    /// Whether every value left is closer to 1/2 than `margin`.
    pub fn within(&self, margin: f64) -> bool {
        self.lower > 0.5 - margin && self.upper < 0.5 + margin
    }
}

/// `ln K+(m)`: the log wealth of betting that the mean is above `null`.
///
/// `K+(m) = sum_j w_j prod_v (1 + lam_j (v - m))^c_v` with `lam_j = min(s_j / sqrt(m (1-m)), C/m)`.
/// It falls as `m` grows, is at most 1 at the mean of `levels`, and at the true mean exceeds `x`
/// at any time with probability at most `1/x` (Ville).
pub fn ln_capital_above(grid: &Grid, levels: &[Level], null: f64) -> f64 {
    ln_capital(grid, levels, null, Side::Above, 1.0)
}

/// `ln K-(m)`: the log wealth of betting that the mean is below `null`; the mirror of
/// [`ln_capital_above`] with `lam_j = min(s_j / sqrt(m (1-m)), C/(1-m))`, growing with `m`.
pub fn ln_capital_below(grid: &Grid, levels: &[Level], null: f64) -> f64 {
    ln_capital(grid, levels, null, Side::Below, 1.0)
}

/// Evidence on both sides of a null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sides {
    /// Log wealth of betting that the mean is above.
    pub above: f64,
    /// Log wealth of betting that the mean is below.
    pub below: f64,
}

/// Both capitals of scores that count for less than independent ones, by `discount`, at least 1:
/// the log wealth of each bet is divided by it before they are mixed. Dividing the wealth of the
/// mixture instead would be too much.
pub fn ln_discounted(
    grid: &Grid,
    (low, high): (&[Level], &[Level]),
    null: f64,
    discount: f64,
) -> Sides {
    Sides {
        above: ln_capital(grid, low, null, Side::Above, discount),
        below: ln_capital(grid, high, null, Side::Below, discount),
    }
}

/// `ln e` against "the mean is `null`", both sides: `e = (K+(null) + K-(null)) / 2`.
///
/// `low` and `high` hold the same scores, each valued at the least and at the most it can be;
/// they are equal when scores are known exactly.
pub fn ln_e_value(grid: &Grid, low: &[Level], high: &[Level], null: f64) -> f64 {
    let sides = [ln_capital_above(grid, low, null), ln_capital_below(grid, high, null)];
    log_sum_exp(sides.into_iter()) - std::f64::consts::LN_2
}

/// The p-value `min(1, 1/e)` of a log e-value: valid at every look, unlike a fixed-sample one.
pub fn anytime_p(ln_e: f64) -> f64 {
    (-ln_e).exp().min(1.0)
}

/// The confidence sequence for the mean: both ends at threshold `ln(2/alpha)`.
///
/// `low` and `high` are as in [`ln_e_value`], so the interval covers whatever the exact scores
/// were. `alpha` is two-sided, in `(0, 1)`; outside of that nothing is excluded. Each end is
/// rounded outwards, by at most 1e-9.
pub fn interval(grid: &Grid, low: &[Level], high: &[Level], alpha: f64) -> Interval {
    interval_discounted(grid, (low, high), alpha, 1.0)
}

/// The same for scores that count for less than independent ones, by `discount`, at least 1; see
/// [`ln_discounted`].
pub fn interval_discounted(
    grid: &Grid,
    (low, high): (&[Level], &[Level]),
    alpha: f64,
    discount: f64,
) -> Interval {
    if !(alpha > 0.0 && alpha < 1.0 && discount >= 1.0) {
        return Interval::ALL;
    }
    let threshold = (2.0 / alpha).ln();
    let above = |null| ln_capital(grid, low, null, Side::Above, discount) - threshold;
    let below = |null| ln_capital(grid, high, null, Side::Below, discount) - threshold;
    let end = |levels, evidence: &dyn Fn(f64) -> f64, far| {
        Spot::of(levels, discount).and_then(|spot| last_excluded(evidence, &spot, far))
    };
    let (lower, upper) = (end(low, &above, EDGE), end(high, &below, 1.0 - EDGE));
    Interval { lower: lower.unwrap_or(0.0), upper: upper.unwrap_or(1.0) }
}

/// Where an end of the interval is looked for.
struct Spot {
    mean: f64,
    /// About how far from the mean the end is: a good guess saves half of the search.
    stride: f64,
}

impl Spot {
    /// `None` if `levels` hold no score.
    fn of(levels: &[Level], discount: f64) -> Option<Spot> {
        let sum = |part: fn(&Level) -> f64| -> f64 { levels.iter().map(part).sum() };
        let count = sum(|level| level.count as f64);
        let mean = sum(|level| level.count as f64 * level.value) / count;
        let square = sum(|level| level.count as f64 * level.value * level.value) / count;
        let variance = (square - mean * mean).max(0.0);
        let worth = count / discount;
        let stride = 3.3 * (variance / worth).sqrt() + 3.0 / worth;
        (0.0..=1.0).contains(&mean).then_some(Spot { mean, stride })
    }
}

#[derive(Clone, Copy)]
enum Side {
    Above,
    Below,
}

fn ln_capital(grid: &Grid, levels: &[Level], null: f64, side: Side, discount: f64) -> f64 {
    let null = null.clamp(EDGE, 1.0 - EDGE);
    // The most that a score can fall short of the null, from the bettor's point of view.
    let (sign, shortfall) = match side {
        Side::Above => (1.0, null),
        Side::Below => (-1.0, 1.0 - null),
    };
    let sd = (null * (1.0 - null)).sqrt();
    let cap = CAP / shortfall;
    let bets: Vec<f64> = grid.effects().iter().map(|effect| (effect / sd).min(cap)).collect();
    let wins: Vec<(f64, u64)> =
        levels.iter().map(|level| (sign * (level.value - null), level.count)).collect();
    let mut wealth = if wins.len() < MANY {
        ln_by_level(&bets, &wins)
    } else {
        let steepest = (1.0 + cap * (1.0 - shortfall)).ln().max(-(1.0 - CAP).ln());
        ln_by_bit(&bets, &wins, (LN_ROOM / steepest) as usize)
    };
    wealth.iter_mut().for_each(|wealth| *wealth /= discount);
    grid.mix(&wealth)
}

/// The log wealth of each bet after `wins`: by how much the null was beaten, how often.
fn ln_by_level(bets: &[f64], wins: &[(f64, u64)]) -> Vec<f64> {
    let ln = |bet: &f64| wins.iter().map(|(win, count)| *count as f64 * (bet * win).ln_1p()).sum();
    bets.iter().map(ln).collect()
}

/// The same for many levels, for speed: `sum_v c_v ln f_v` is `sum_b 2^b ln prod f_v` over the
/// levels `v` whose count has bit `b`, so one logarithm serves the `room` factors that surely
/// fit in a product. A summary of judge probabilities has hundreds of levels.
fn ln_by_bit(bets: &[f64], wins: &[(f64, u64)], room: usize) -> Vec<f64> {
    let most = wins.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let bits = (u64::BITS - most.leading_zeros()) as usize;
    let mut ln = vec![0.0; bets.len()];
    let mut factors = vec![1.0; bets.len()];
    for part in wins.chunks(room.max(1)) {
        let mut products = vec![vec![1.0; bets.len()]; bits];
        for (win, count) in part {
            factors.iter_mut().zip(bets).for_each(|(factor, bet)| *factor = 1.0 + bet * win);
            for (_, product) in products.iter_mut().enumerate().filter(|(b, _)| count >> b & 1 == 1)
            {
                product.iter_mut().zip(&factors).for_each(|(product, factor)| *product *= factor);
            }
        }
        for (bit, product) in products.iter().enumerate() {
            let times = (1_u64 << bit) as f64;
            ln.iter_mut().zip(product).for_each(|(ln, product)| *ln += times * product.ln());
        }
    }
    ln
}

/// The null nearest to the mean that `evidence` still excludes (is not negative at), searched
/// from the mean to `far`; `None` if not even `far` is excluded.
fn last_excluded(evidence: impl Fn(f64) -> f64, spot: &Spot, far: f64) -> Option<f64> {
    let room = far - spot.mean;
    let mut kept = (spot.mean, evidence(spot.mean));
    let mut stride = spot.stride;
    loop {
        let last = stride >= room.abs();
        let x = if last { far } else { spot.mean + stride.copysign(room) };
        let next = (x, evidence(x));
        if next.1 >= 0.0 {
            return Some(narrow(evidence, kept, next));
        }
        if last {
            return None;
        }
        kept = next;
        stride *= 2.0;
    }
}

/// The excluded end of the last bracket around the root of `evidence`, which is negative at
/// `kept` and not at `excluded`. Being monotone it has one root.
///
/// Chandrupatla's method (Advances in Engineering Software 28 (1997) 145-149): inverse quadratic
/// interpolation where that is safe, else bisection.
fn narrow(evidence: impl Fn(f64) -> f64, kept: (f64, f64), excluded: (f64, f64)) -> f64 {
    let (mut a, mut b) = (kept, excluded);
    let mut step: f64 = 0.5;
    // Bisection alone needs 34 steps, and the method at most about three times that.
    for _ in 0..150 {
        let least = TOLERANCE / (b.0 - a.0).abs();
        if least >= 0.5 {
            break;
        }
        let x = a.0 + step.max(least).min(1.0 - least) * (b.0 - a.0);
        let new = (x, evidence(x));
        let c = if (new.1 >= 0.0) == (a.1 >= 0.0) { a } else { std::mem::replace(&mut b, a) };
        a = new;
        step = interpolated(a, b, c).unwrap_or(0.5);
    }
    if a.1 >= 0.0 { a.0 } else { b.0 }
}

/// Where on the way from `a` to `b` the parabola through three points puts the root, if it can
/// be trusted there.
fn interpolated(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> Option<f64> {
    let xi = (a.0 - b.0) / (c.0 - b.0);
    let phi = (a.1 - b.1) / (c.1 - b.1);
    let trusted = phi * phi < xi && (1.0 - phi) * (1.0 - phi) < 1.0 - xi;
    trusted.then(|| {
        a.1 / (b.1 - a.1) * c.1 / (b.1 - c.1)
            + (c.0 - a.0) / (b.0 - a.0) * a.1 / (c.1 - a.1) * b.1 / (c.1 - b.1)
    })
}
