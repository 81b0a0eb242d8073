//! Planning: how many pairs a verdict will take.

use super::betting::CAP;
use super::grid::Grid;
use super::mean::critical;
use super::rule::{Goal, Spec};
use super::winrate::WinRate;
use serde::{Deserialize, Serialize};
use statrs::function::erf::{erfc, erfc_inv};

/// The 80 % point of the normal distribution.
const Z80: f64 = 0.841_621_233_572_914_3;

/// What simulation shows of the raw median and 80 % point: the formula is cautious by this much,
/// to within about 12 % for win rates from 0.52 to 0.60 with up to 40 % ties, and a fifth for
/// the other goals.
const SHOWN_50: f64 = 0.82;
const SHOWN_80: f64 = 0.85;

/// Below this many pairs the scores seen say too little, and the plan is made as if for none.
const FEW_PAIRS: u64 = 30;

/// The win rate that a candidate meant to be superior is planned for: the default grid's peak.
const HOPED: f64 = 0.525;

/// Beyond this many pairs nothing is planned.
const FAR: u64 = 1 << 50;

/// What is expected of the scores, and the mean that shall be excluded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// The mean to exclude, in `(0, 1)`.
    pub null: f64,
    /// Expected mean less `null`; its sign is the side.
    pub delta: f64,
    /// Standard deviation of the scores.
    pub sd: f64,
}

/// A number of pairs as a range: half of all experiments end by `n50`, four fifths by `n80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairs {
    /// The median.
    pub n50: u64,
    /// The 80 % point.
    pub n80: u64,
}

impl Pairs {
    /// The range to show to people: the raw formula is cautious, and simulation says by how much
    /// (0.82 of `n50` and 0.85 of `n80`, rounded up).
    pub fn shown(self) -> Pairs {
        let part = |pairs: u64, factor: f64| (pairs as f64 * factor).ceil() as u64;
        Pairs { n50: part(self.n50, SHOWN_50), n80: part(self.n80, SHOWN_80) }
    }
}

/// Pairs needed to exclude `effect.null` at two-sided `alpha`, by the raw formula.
///
/// `n_q` is the least `n` with `ln sum_j w_j exp(lam_j (n d - z_q sd sqrt n) - lam_j^2 n
/// (sd^2 + d^2) / 2) >= ln(2/alpha)`, where `d = |delta|` and `lam_j` is the bet of
/// [`super::betting`]: the log capital to second order, along a path `z_q` deviations unlucky.
/// `None` if the effect is too small for the grid, or more than 2^50 pairs are needed.
pub fn plan_pairs(effect: &Effect, alpha: f64) -> Option<Pairs> {
    let n50 = least_pairs(effect, alpha, 0.0)?;
    Some(Pairs { n50, n80: least_pairs(effect, alpha, Z80)? })
}

/// Pairs needed to exclude two nulls, one on each side of the expected mean, at the same time.
///
/// A path that is lucky for one is unlucky for the other: with `z_A(n)` and `z_B(n)` the most
/// deviations of bad luck that the formula of [`plan_pairs`] forgives at `n`, both are excluded
/// with probability `Phi(z_A) + Phi(z_B) - 1`, and `n_q` is the least `n` for which that is `q`.
pub fn plan_within(effects: &[Effect; 2], alpha: f64) -> Option<Pairs> {
    let grid = Grid::default();
    let threshold = (2.0 / alpha).ln();
    let bets = effects.each_ref().map(|effect| bets(&grid, effect));
    let chance = |pairs: u64| {
        let forgiven = effects.iter().zip(&bets).map(|(effect, bets)| {
            let enough = |z: f64| ln_capital(&grid, bets, effect, z, pairs as f64) >= threshold;
            normal_share(most_forgiven(enough))
        });
        forgiven.sum::<f64>() - 1.0
    };
    let least = |share: f64| least_where(|pairs| chance(pairs) >= share);
    Some(Pairs { n50: least(0.5)?, n80: least(0.8)? })
}

/// The most deviations that are still `enough`, which fewer are too.
fn most_forgiven(enough: impl Fn(f64) -> bool) -> f64 {
    let (mut kept, mut lost) = (-10.0, 10.0);
    for _ in 0..40 {
        let middle = f64::midpoint(kept, lost);
        if enough(middle) { kept = middle } else { lost = middle }
    }
    kept
}

/// Pairs, in all, that `spec` is expected to take when scores have this mean and deviation, as
/// shown to people, `spec.margin` being one on that mean; `None` if half of such experiments would
/// end their budget undecided.
pub fn expected(mean: f64, sd: f64, spec: &Spec) -> Option<Pairs> {
    let against = |null: f64| Effect { null, delta: mean - null, sd };
    let raw = match awaited(mean, spec) {
        Awaited::Exclusion(null) => plan_pairs(&against(null), spec.alpha)?,
        Awaited::Margin => {
            let edges = [0.5 - spec.margin, 0.5 + spec.margin];
            plan_within(&edges.map(against), spec.alpha)?
        }
    };
    let plan = raw.shown();
    let least = |pairs: u64| pairs.max(spec.min_pairs);
    (plan.n50 <= spec.max_pairs).then(|| Pairs { n50: least(plan.n50), n80: least(plan.n80) })
}

/// What is expected of an experiment before its first pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospect {
    /// The candidate's win rate, ties counting half.
    pub win_rate: f64,
    /// The share of pairs that tie.
    pub ties: f64,
    /// The share of the pairs that differ that is judged; the others count as 1/2.
    pub judged_share: f64,
}

impl Prospect {
    /// What `spec` is planned for if nobody says otherwise: equal models, or a slightly better
    /// candidate where it must be superior, and no ties, which would shorten the wait.
    pub fn usual(spec: &Spec, judged_share: f64) -> Prospect {
        let win_rate = if spec.goal == Goal::Superior { HOPED } else { 0.5 };
        Prospect { win_rate, ties: 0.0, judged_share }
    }

    /// Mean and standard deviation of what is written down for a pair.
    fn moments(&self) -> (f64, f64) {
        let gap = self.judged_share * (self.win_rate - 0.5);
        let square = self.judged_share * (1.0 - self.ties) / 4.0;
        (0.5 + gap, (square - gap * gap).max(0.0).sqrt())
    }
}

/// Pairs, in all, that `spec` is expected to take, as shown to people; `None` if half of such
/// experiments would end their budget undecided. Where units make several pairs, it takes as many
/// times more as the design effect says ([`super::clusters`]).
pub fn planned(prospect: &Prospect, spec: &Spec) -> Option<Pairs> {
    let (mean, sd) = prospect.moments();
    expected(mean, sd, &narrowed(spec, prospect.judged_share))
}

/// Pairs expected before any is seen and if nobody says otherwise; see [`Prospect::usual`].
pub fn expected_at_start(spec: &Spec) -> Option<Pairs> {
    planned(&Prospect::usual(spec, 1.0), spec)
}

/// How many more pairs are expected after those seen, if the rest is like them; `None` when a
/// decision within the budget is unlikely.
pub fn remaining(summary: &WinRate, spec: &Spec) -> Option<Pairs> {
    remaining_of_sample(summary, 1.0, spec)
}

/// The same where only a share of the pairs that differ is judged and `summary` holds 1/2 for the
/// others.
pub fn remaining_of_sample(summary: &WinRate, judged_share: f64, spec: &Spec) -> Option<Pairs> {
    let seen = summary.pairs();
    let all = match summary.estimate().zip(summary.deviation()) {
        Some((mean, sd)) if seen >= FEW_PAIRS => expected(mean, sd, &narrowed(spec, judged_share)),
        _ => planned(&Prospect::usual(spec, judged_share), spec),
    }?;
    Some(Pairs { n50: all.n50.saturating_sub(seen), n80: all.n80.saturating_sub(seen) })
}

/// A margin on the win rate as one on the mean of what is written down.
fn narrowed(spec: &Spec, judged_share: f64) -> Spec {
    Spec { margin: spec.margin * judged_share, ..*spec }
}

/// Units needed to tell a mean from its null by the interval of [`super::mean`]: `n_q` is the least
/// `n` with `(z*(n) + z_q) sd / sqrt n <= |delta|`, `delta` the expected difference from the null
/// and `sd` the standard deviation of one unit. `None` if more than 2^50 are needed.
pub fn plan_units(delta: f64, sd: f64, alpha: f64) -> Option<Pairs> {
    let grid = Grid::default();
    let least = |z: f64| {
        least_where(|n| {
            (critical(&grid, n as f64, alpha) + z) * sd / (n as f64).sqrt() <= delta.abs()
        })
    };
    Some(Pairs { n50: least(0.0)?, n80: least(Z80)? })
}

/// Pairs that a classical test of a fixed size needs to find a win rate of `mean` without ties:
/// `(z_{1-alpha/2} sqrt(1/4) + z_power sqrt(mean (1-mean)))^2 / (mean - 1/2)^2`. For comparison
/// only, since nobody may look before its end. `None` if no finite number does.
pub fn fixed_pairs(mean: f64, alpha: f64, power: f64) -> Option<u64> {
    let spread = normal_quantile(1.0 - alpha / 2.0) * 0.5
        + normal_quantile(power) * (mean * (1.0 - mean)).sqrt();
    let pairs = (spread / (mean - 0.5)).powi(2).ceil();
    (pairs <= FAR as f64).then_some(pairs as u64)
}

/// What ends an experiment if its scores stay as they are.
enum Awaited {
    /// That this mean is excluded.
    Exclusion(f64),
    /// That the interval lies within the margin.
    Margin,
}

fn awaited(mean: f64, spec: &Spec) -> Awaited {
    let gap = mean - 0.5;
    match spec.goal {
        Goal::NonInferior => Awaited::Exclusion(0.5 - spec.margin),
        Goal::Equivalent if gap.abs() < spec.margin => Awaited::Margin,
        Goal::Equivalent => Awaited::Exclusion(0.5 + spec.margin.copysign(gap)),
        // Within half the margin of 1/2, leaving the margin takes longer than excluding it.
        Goal::Superior if gap.abs() < spec.margin / 2.0 => Awaited::Margin,
        Goal::Superior => Awaited::Exclusion(0.5),
    }
}

/// Once the left side is positive it only grows.
fn least_pairs(effect: &Effect, alpha: f64, z: f64) -> Option<u64> {
    let threshold = (2.0 / alpha).ln();
    let grid = Grid::default();
    let bets = bets(&grid, effect);
    least_where(|pairs| ln_capital(&grid, &bets, effect, z, pairs as f64) >= threshold)
}

/// The least number from 1 to 2^50 that is `enough`, which all larger ones are too.
fn least_where(enough: impl Fn(u64) -> bool) -> Option<u64> {
    let mut most = 1;
    while !enough(most) {
        most *= 2;
        if most > FAR {
            return None;
        }
    }
    let mut short = most / 2;
    while most - short > 1 {
        let middle = short + (most - short) / 2;
        if enough(middle) { most = middle } else { short = middle }
    }
    Some(most)
}

/// The share of the standard normal distribution below `z`.
fn normal_share(z: f64) -> f64 {
    erfc(-z / std::f64::consts::SQRT_2) / 2.0
}

fn bets(grid: &Grid, effect: &Effect) -> Vec<f64> {
    let shortfall = if effect.delta < 0.0 { 1.0 - effect.null } else { effect.null };
    let sd = (effect.null * (1.0 - effect.null)).sqrt();
    grid.effects().iter().map(|node| (node / sd).min(CAP / shortfall)).collect()
}

fn ln_capital(grid: &Grid, bets: &[f64], effect: &Effect, z: f64, pairs: f64) -> f64 {
    let drift = pairs * effect.delta.abs() - z * effect.sd * pairs.sqrt();
    let square = pairs * (effect.sd.powi(2) + effect.delta.powi(2));
    let wealth: Vec<f64> = bets.iter().map(|bet| bet * drift - bet * bet * square / 2.0).collect();
    grid.mix(&wealth)
}

/// The point below which a share `p` of the standard normal distribution lies.
pub fn normal_quantile(p: f64) -> f64 {
    -std::f64::consts::SQRT_2 * erfc_inv(2.0 * p)
}
