//! Pairs that are not independent: how much less pairs of the same units say.
//!
//! Pairs of one unit, such as a session, are alike: what goes wrong for it once goes wrong again.
//! Taken for independent, ten pairs a session end three experiments in ten with a false verdict
//! at an intraclass correlation of 0.1, and seven at 0.3. So their evidence is discounted.

use serde::Deserialize;
use serde::Serialize;

use super::WinRate;
use super::joint::Joint;

/// The units of [`super::Score`] in one.
const UNITS: f64 = 1e9;

/// By how much the discount exceeds the design effect seen, over the effective number of units: a
/// variance seen in few units may be too small by chance, and then evidence would count too much.
const CAUTION: f64 = 10.0;

/// Units by how many pairs each made and what they scored; merging adds units.
///
/// Integers only, and all that is kept are sums over units: of `1`, `k`, `k^2`, `s`, `s^2` and
/// `k s`, for `k` pairs with scores that add up to `s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clusters {
    /// `x` is pairs, `y` the sum of their scores in units of a [`super::Score`].
    sums: Joint,
}

impl Clusters {
    /// Takes one unit in: how many pairs it made, and the sum of their scores in units of a
    /// [`super::Score`].
    pub fn add(&mut self, pairs: u64, units: u64) {
        self.sums.add(pairs, units);
    }

    /// A unit that is in with so many pairs and such a sum, none at first, comes to this now.
    pub fn replace(&mut self, (pairs, units): (u64, u64), now: (u64, u64)) {
        if pairs > 0 {
            self.sums.remove(pairs, units);
        }
        self.add(now.0, now.1);
    }

    /// Takes in every unit of `other`, which must be units of which `self` has seen no pair.
    pub fn merge(&mut self, other: &Clusters) {
        self.sums.merge(&other.sums);
    }

    /// How many units there are.
    pub fn units(&self) -> u64 {
        self.sums.n()
    }

    /// The mean size of a unit as its pairs see it, `sum k^2 / sum k`: the design effect if all
    /// pairs of a unit were copies of one. 1 without pairs.
    pub fn copies(&self) -> f64 {
        let (pairs, squares) = self.sums.first_powers();
        if pairs > 0.0 { squares / pairs } else { 1.0 }
    }

    /// How many units of equal size would say as much, `(sum k)^2 / sum k^2`: the number of units
    /// if they are alike, and few if a few units made most pairs.
    pub fn effective_units(&self) -> f64 {
        let (pairs, squares) = self.sums.first_powers();
        if squares > 0.0 { pairs * pairs / squares } else { 0.0 }
    }

    /// How many times the variance of as many independent pairs the mean score has, at least 1.
    ///
    /// With mean score `t`, `m` units and `n` pairs the variance of the mean is that of a ratio,
    /// `m/(m-1) sum (s_i - t k_i)^2 / n^2` (Cochran, "Sampling Techniques", 3rd edition (1977),
    /// section 6.3); independent pairs have the square of [`WinRate::standard_error`]. Below two
    /// units, and without any variance, pairs of a unit are taken for copies of each other.
    pub fn design_effect(&self, summary: &WinRate) -> f64 {
        let ratio = self.sums.moments().map(|moments| moments.ratio());
        let clustered = ratio.map(|ratio| ratio.variance / ratio.n / UNITS / UNITS);
        let alone = summary.standard_error().map(|error| error * error);
        match clustered.zip(alone) {
            Some((clustered, alone)) if alone > 0.0 => (clustered / alone).max(1.0),
            _ => self.copies(),
        }
    }

    /// By what evidence must be divided: the design effect times `1 + 10 / effective units`, and
    /// never more than [`Clusters::copies`].
    ///
    /// Dividing by the true design effect keeps the mean of the capital at 1 to second order in
    /// the bets; dividing by as much as a unit has pairs keeps it at most 1 whatever the pairs of
    /// a unit have to do with each other (Hölder's inequality, for units of equal size). In
    /// between, simulation: with the factor, experiments with sessions of 1 to 50 pairs, equal
    /// or not, correlated at 0 to 0.9, one after the other or a thousand at once, gave a false
    /// verdict in at most 4 % of runs to 10,000 pairs at alpha 5 %; without it, in up to 10 %.
    /// It is exactly 1 if every unit made one pair.
    pub fn discount(&self, summary: &WinRate) -> f64 {
        let caution = 1.0 + CAUTION / self.effective_units();
        (self.design_effect(summary) * caution).min(self.copies()).max(1.0)
    }
}
