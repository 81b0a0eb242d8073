//! What a judge says of the same pair in both orders: how consistent it is, and whether it prefers
//! a position.

use serde::Deserialize;
use serde::Serialize;

use super::Interval;
use super::Rate;
use super::agreement::Agreement;
use super::agreement::Choice;
use super::betting;
use super::grid::Grid;

/// Counts of pairs by the verdict with the control's answer first (rows) and with the candidate's
/// first (columns), each control, tie or candidate; merging adds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Swap {
    verdicts: Agreement,
}

impl Swap {
    /// The counts of a table.
    pub fn of(table: [[u64; 3]; 3]) -> Swap {
        Swap { verdicts: Agreement::of(table) }
    }

    /// Takes one pair in.
    pub fn add(&mut self, control_first: Choice, candidate_first: Choice) {
        self.verdicts.add(control_first, candidate_first);
    }

    /// Takes in every pair of `other`, which must be pairs that `self` has not seen.
    pub fn merge(&mut self, other: &Swap) {
        self.verdicts.merge(&other.verdicts);
    }

    /// The counts.
    pub fn table(&self) -> &[[u64; 3]; 3] {
        self.verdicts.table()
    }

    /// Pairs judged in both orders.
    pub fn pairs(&self) -> u64 {
        self.verdicts.pairs()
    }

    /// Pairs with the same verdict in both orders.
    pub fn consistent(&self) -> u64 {
        let [[control, ..], [_, tie, _], [.., candidate]] = *self.table();
        control.saturating_add(tie).saturating_add(candidate)
    }

    /// The share of pairs with the same verdict in both orders; `None` without pairs.
    pub fn consistency(&self) -> Option<f64> {
        let pairs = self.pairs();
        (pairs > 0).then(|| self.consistent() as f64 / pairs as f64)
    }

    /// The confidence sequence for that share, valid at every look.
    pub fn consistency_interval(&self, alpha: f64) -> Interval {
        Rate { hits: self.consistent(), of: self.pairs() }.interval(alpha)
    }

    /// Pairs where whatever stood first won twice.
    pub fn first_twice(&self) -> u64 {
        let [[.., flipped], ..] = *self.table();
        flipped
    }

    /// Pairs where whatever stood second won twice.
    pub fn second_twice(&self) -> u64 {
        let [.., [flipped, ..]] = *self.table();
        flipped
    }

    /// The share of verdicts for whatever stood first, ties counting half; 1/2 is fair, and `None`
    /// is without pairs.
    pub fn first_share(&self) -> Option<f64> {
        let [[cc, ct, cb], [tc, tt, tb], [bc, bt, bb]] =
            self.table().map(|row| row.map(|n| n as f64));
        let first = (cc + ct + cb) + (cb + tb + bb);
        let ties = (tc + tt + tb) + (ct + tt + bt);
        let pairs = cc + ct + cb + tc + tt + tb + bc + bt + bb;
        (pairs > 0.0).then(|| (first + ties / 2.0) / (2.0 * pairs))
    }

    /// Pairs by their score, the mean of both verdicts: 0, 1/4, 1/2, 3/4 and 1 for the candidate.
    pub fn by_score(&self) -> [u64; 5] {
        let [[cc, ct, cb], [tc, tt, tb], [bc, bt, bb]] = *self.table();
        let sum = |counts: &[u64]| counts.iter().fold(0_u64, |sum, n| sum.saturating_add(*n));
        [cc, sum(&[ct, tc]), sum(&[cb, tt, bc]), sum(&[tb, bt]), bb]
    }

    /// `ln e` against "neither position is preferred", valid at every look: of the pairs where one
    /// position won twice, the first did as often as the second. A judge that is merely unsure
    /// flips both ways, so only the balance of flips speaks of a preference.
    pub fn ln_e_bias(&self) -> f64 {
        let levels = self.flips().levels();
        betting::ln_e_value(&Grid::default(), &levels, &levels, 0.5)
    }

    /// The confidence sequence for the first position's share of those flips.
    pub fn first_of_flips(&self, alpha: f64) -> Interval {
        self.flips().interval(alpha)
    }

    /// How often the first position won twice, of all the times that one of them did.
    fn flips(&self) -> Rate {
        let (first, second) = (self.first_twice(), self.second_twice());
        Rate { hits: first, of: first.saturating_add(second) }
    }
}
