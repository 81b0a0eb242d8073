//! Scores by unit: pairs of one unit are alike, so they say less than as many pairs of strangers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::stats::Score;
use crate::stats::Sums;

/// Units kept apart; of more, those with the lowest hashes are, which is a fair sample.
const MOST: usize = 1 << 15;

/// The units of [`Score`] in one.
const ONE: f64 = 1e9;

/// Pairs and scores of each unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Units {
    /// By the unit's hash.
    by_unit: BTreeMap<u64, Own>,
    /// Pairs of units that are not kept apart.
    others: u64,
    /// Pairs of which no unit is known: each is taken for a unit of its own.
    alone: Sums,
}

/// What one unit came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Own {
    /// Pairs.
    n: u64,
    /// The sum of their scores, in units of a [`Score`].
    sum: u64,
}

impl Units {
    /// Takes one pair in.
    pub fn add(&mut self, unit: Option<u64>, score: Score) {
        match unit {
            Some(unit) => self.put(unit, Own { n: 1, sum: score.units().into() }),
            None => self.alone.add(score.units().into()),
        }
    }

    /// Takes in what another process counted; a unit may have pairs in both.
    pub fn merge(&mut self, other: &Self) {
        self.others = self.others.saturating_add(other.others);
        self.alone.merge(&other.alone);
        other.by_unit.iter().for_each(|(unit, own)| self.put(*unit, *own));
    }

    /// Units, those that are not kept apart left out.
    pub fn count(&self) -> u64 {
        self.by_unit.len() as u64 + self.alone.n()
    }

    /// Whether no unit made more than one pair.
    pub fn is_single(&self) -> bool {
        self.by_unit.values().all(|own| own.n == 1)
    }

    /// How many times the variance of independent pairs the mean score has: 1 if every unit made
    /// one pair.
    ///
    /// With `k_i` pairs and scores `s_i` of unit `i`, `m` units and mean score `t`, the variance of
    /// the mean is `m / (m-1) * sum (s_i - k_i t)^2 / (sum k_i)^2` (the ratio estimator; Cochran,
    /// "Sampling Techniques", 3rd edition, 1977, section 6.3); that of independent pairs is
    /// `deviation^2 / sum k_i`. Without any variance nothing is known of how alike the pairs of a
    /// unit are, and they are taken for copies of each other.
    pub fn design_effect(&self, deviation: f64) -> f64 {
        if self.is_single() {
            return 1.0;
        }
        let own = || self.by_unit.values().map(|own| (own.n as f64, own.sum as f64 / ONE));
        let alone = (self.alone.n() as f64, self.alone.mean().unwrap_or(0.0) / ONE);
        let pairs: f64 = own().map(|(n, _)| n).sum::<f64>() + alone.0;
        let mean = (own().map(|(_, sum)| sum).sum::<f64>() + alone.0 * alone.1) / pairs;
        let independent = deviation * deviation * pairs;
        if independent <= 0.0 {
            return (own().map(|(n, _)| n * n).sum::<f64>() + alone.0) / pairs;
        }
        let within = self.alone.moments().map_or(0.0, |alone| {
            alone.variance * (alone.n - 1.0) / ONE / ONE
        });
        let of_alone = within + alone.0 * (alone.1 - mean).powi(2);
        let apart = own().map(|(n, sum)| (sum - n * mean).powi(2)).sum::<f64>() + of_alone;
        let units = self.count() as f64;
        (apart * units / (units - 1.0).max(1.0) / independent).max(1.0)
    }

    fn put(&mut self, unit: u64, more: Own) {
        let own = self.by_unit.entry(unit).or_default();
        own.n = own.n.saturating_add(more.n);
        own.sum = own.sum.saturating_add(more.sum);
        // As `highest` says, with the hash itself for a rank.
        let out = (self.by_unit.len() > MOST).then(|| self.by_unit.pop_last()).flatten();
        if let Some((_, own)) = out {
            self.others = self.others.saturating_add(own.n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Units;
    use crate::stats::Score;

    fn units(scores: &[(u64, Score)]) -> Units {
        let mut units = Units::default();
        scores.iter().for_each(|(unit, score)| units.add(Some(*unit), *score));
        units
    }

    #[test]
    fn units_of_one_pair_are_independent_and_copies_count_once() {
        let single: Vec<_> =
            (0..100).map(|i| (i, if i % 2 == 0 { Score::WIN } else { Score::LOSS })).collect();
        assert_eq!(units(&single).design_effect(0.5), 1.0);
        let copies: Vec<_> = (0..1000).map(|i| single[i % 100]).collect();
        let effect = units(&copies).design_effect(0.5);
        assert!((effect - 10.0 * 100.0 / 99.0).abs() < 1e-9, "{effect}");
        let mixed: Vec<_> = (0..1000).map(|i| (i / 10, single[i as usize % 100].1)).collect();
        assert_eq!(units(&mixed).design_effect(0.5), 1.0, "pairs of a unit that differ evenly");
        let won: Vec<_> = (0..1000).map(|i| (i / 10, Score::WIN)).collect();
        assert_eq!(units(&won).design_effect(0.0), 10.0);
    }
}
