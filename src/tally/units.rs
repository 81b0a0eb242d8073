//! Scores by unit: pairs of one unit are alike, so they say less than as many pairs of strangers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::stats::Score;
use crate::stats::clusters::Clusters;

/// Units kept apart; of more, those with the lowest hashes are, which is a fair sample.
const MOST: usize = 1 << 15;

/// Pairs and scores of each unit.
///
/// A unit may have pairs in several sidecars, so the sums over units follow only once all of its
/// pairs are together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Units {
    /// By the unit's hash.
    by_unit: BTreeMap<u64, Own>,
    /// Pairs of units that are not kept apart.
    others: u64,
    /// Pairs of which no unit is known: each is taken for a unit of its own.
    alone: Clusters,
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
        let own = Own { n: 1, sum: score.units().into() };
        match unit {
            Some(unit) => self.put(unit, own),
            None => self.alone.add(own.n, own.sum),
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
        self.by_unit.len() as u64 + self.alone.units()
    }

    /// The sums over units, those that are not kept apart left out.
    pub fn clusters(&self) -> Clusters {
        let mut clusters = self.alone;
        self.by_unit.values().for_each(|own| clusters.add(own.n, own.sum));
        clusters
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
