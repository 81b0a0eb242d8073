//! The log-spaced grid of effect sizes that every capital mixes over, and log-sum-exp.

/// How many bets the default grid mixes.
pub const NODES: usize = 20;

/// The largest standardised effect on the default grid, in standard deviations.
pub const TOP: f64 = 0.9;

/// The default scale `s0`, in standard deviations: the weight peaks at an effect near 0.05, which
/// is a win rate of 0.525 when nothing ties.
pub const SCALE: f64 = 0.04;

/// A fixed mixture over standardised effects (Cohen's d).
///
/// Node `j` is `s_j = top * 2^(-j/2)` and its weight is proportional to `x^2 / (1 + x^3)` with
/// `x = s_j / scale`: it falls as `1/s` above the scale and as `s^2` below, and sums to one. A
/// mixture of martingales is a martingale (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon
/// 2021, Annals of Statistics 49(2)), so the weights may be anything fixed in advance.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    effects: Vec<f64>,
    ln_weights: Vec<f64>,
}

impl Grid {
    /// A grid of `nodes` effects from `top` downwards, weighted around `scale`. Both are in
    /// standard deviations and must be positive; with anything else every capital is NaN, which
    /// no threshold accepts, so nothing is ever decided.
    pub fn new(nodes: usize, top: f64, scale: f64) -> Grid {
        let effects: Vec<f64> = (0..nodes).map(|j| top * 2_f64.powf(-(j as f64) / 2.0)).collect();
        let weights: Vec<f64> = effects
            .iter()
            .map(|effect| {
                let x = effect / scale;
                x * x / (1.0 + x * x * x)
            })
            .collect();
        let total: f64 = weights.iter().sum();
        let ln_weights = weights.iter().map(|weight| (weight / total).ln()).collect();
        Grid { effects, ln_weights }
    }

    /// The nodes `s_j`, largest first, in standard deviations.
    pub fn effects(&self) -> &[f64] {
        &self.effects
    }

    /// The weights `w_j`, in the order of [`Grid::effects`].
    pub fn weights(&self) -> impl Iterator<Item = f64> {
        self.ln_weights.iter().map(|ln_weight| ln_weight.exp())
    }

    /// `ln sum_j w_j exp(ln_wealth_j)`: the wealth of the whole mixture, from the wealth of each
    /// bet in the order of [`Grid::effects`].
    pub fn mix(&self, ln_wealth: &[f64]) -> f64 {
        log_sum_exp(self.ln_weights.iter().zip(ln_wealth).map(|(weight, wealth)| weight + wealth))
    }
}

impl Default for Grid {
    fn default() -> Grid {
        Grid::new(NODES, TOP, SCALE)
    }
}

/// `ln sum exp(term)` without overflow; negative infinity for no terms, NaN if a term is NaN.
pub fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let larger = |top: f64, term: f64| if term.is_nan() || term > top { term } else { top };
    let top = terms.clone().fold(f64::NEG_INFINITY, larger);
    if top.is_infinite() {
        return top;
    }
    top + terms.map(|term| (term - top).exp()).sum::<f64>().ln()
}
