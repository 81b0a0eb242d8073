//! How far two raters of the same pairs agree beyond chance: Cohen's kappa.

use serde::Deserialize;
use serde::Serialize;

use super::Interval;
use super::plan::normal_quantile;
use super::winrate::Score;

/// What one rater said of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The control's answer is better.
    Control,
    /// Neither is.
    Tie,
    /// The candidate's answer is better.
    Candidate,
}

impl Choice {
    /// The side of 1/2 on which a score is.
    pub fn of(score: Score) -> Choice {
        match score.cmp(&Score::TIE) {
            std::cmp::Ordering::Less => Choice::Control,
            std::cmp::Ordering::Equal => Choice::Tie,
            std::cmp::Ordering::Greater => Choice::Candidate,
        }
    }
}

/// Counts of pairs by what two raters said of them; merging adds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Agreement {
    table: [[u64; 3]; 3],
}

impl Agreement {
    /// The counts of a table.
    pub fn of(table: [[u64; 3]; 3]) -> Agreement {
        Agreement { table }
    }

    /// Takes one pair in.
    pub fn add(&mut self, one: Choice, other: Choice) {
        let cell = self.table.get_mut(one as usize).and_then(|row| row.get_mut(other as usize));
        if let Some(count) = cell {
            *count = count.saturating_add(1);
        }
    }

    /// Takes in every pair of `other`, which must be pairs that `self` has not seen.
    pub fn merge(&mut self, other: &Agreement) {
        for (into, from) in self.table.iter_mut().flatten().zip(other.table.iter().flatten()) {
            *into = into.saturating_add(*from);
        }
    }

    /// Pairs by what the first rater said (rows) and the second (columns): control, tie,
    /// candidate.
    pub fn table(&self) -> &[[u64; 3]; 3] {
        &self.table
    }

    /// How many pairs both rated.
    pub fn pairs(&self) -> u64 {
        self.table.iter().flatten().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Cohen's kappa; see [`kappa`].
    pub fn kappa(&self) -> Option<Kappa> {
        kappa(&self.table)
    }
}

/// Agreement beyond chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kappa {
    /// 1 for perfect agreement, 0 for that of chance.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// The share of pairs on which both say the same.
    pub agreement: f64,
}

impl Kappa {
    /// `value ± z_{1-alpha/2} error`, valid at one look only: there is no anytime-valid interval
    /// for kappa here. Not cut off at 1.
    pub fn interval(&self, alpha: f64) -> Interval {
        let reach = normal_quantile(1.0 - alpha / 2.0) * self.error;
        Interval { lower: self.value - reach, upper: self.value + reach }
    }
}

/// Cohen's kappa of a square table of counts, rows by one rater and columns by the other.
///
/// With shares `p_ij`, margins `r_i` (rows) and `c_j` (columns), `a = sum p_ii` and
/// `e = sum r_i c_i`: `kappa = (a - e) / (1 - e)`. Its large-sample variance is
/// `(A + B - C) / (n (1 - e)^2)` with `A = sum_i p_ii (1 - (r_i + c_i)(1 - kappa))^2`,
/// `B = (1 - kappa)^2 sum_{i != j} p_ij (c_i + r_j)^2` and `C = (kappa - e (1 - kappa))^2`
/// (Fleiss, Cohen and Everitt, Psychological Bulletin 72 (1969) 323-327).
///
/// `None` for a table that is not square or empty, and if both raters only ever said one and the
/// same thing, which shows nothing about chance.
pub fn kappa(table: &[impl AsRef<[u64]>]) -> Option<Kappa> {
    let rows: Vec<&[u64]> = table.iter().map(AsRef::as_ref).collect();
    if rows.iter().any(|row| row.len() != rows.len()) {
        return None;
    }
    let n: f64 = rows.iter().flat_map(|row| row.iter()).map(|count| *count as f64).sum();
    let mut by_row = vec![0.0; rows.len()];
    let mut by_column = vec![0.0; rows.len()];
    let cells = || {
        let cells = |(i, row): (usize, &'_ &[u64])| {
            let shares: Vec<f64> = row.iter().map(|count| *count as f64 / n).collect();
            shares.into_iter().enumerate().map(move |(j, share)| (i, j, share))
        };
        rows.iter().enumerate().flat_map(cells)
    };
    for (i, j, share) in cells() {
        by_row.iter_mut().skip(i).take(1).for_each(|sum| *sum += share);
        by_column.iter_mut().skip(j).take(1).for_each(|sum| *sum += share);
    }
    let margins = |row: usize, column: usize| {
        let of = |sums: &[f64], at: usize| sums.get(at).copied().unwrap_or(0.0);
        of(&by_row, row) + of(&by_column, column)
    };
    let agreement: f64 = cells().filter(|(i, j, _)| i == j).map(|(_, _, share)| share).sum();
    let chance: f64 = by_row.iter().zip(&by_column).map(|(row, column)| row * column).sum();
    let value = (agreement - chance) / (1.0 - chance);
    let parts = cells().map(|(i, j, share)| match i == j {
        true => share * (1.0 - margins(i, i) * (1.0 - value)).powi(2),
        false => share * (margins(j, i) * (1.0 - value)).powi(2),
    });
    let spread = parts.sum::<f64>() - (value - chance * (1.0 - value)).powi(2);
    let error = (spread.max(0.0) / n).sqrt() / (1.0 - chance);
    (value.is_finite() && error.is_finite()).then_some(Kappa { value, error, agreement })
}
