//! The summary of a measure in whole units, such as cost in nano-dollars: power sums, so that
//! merging is exact.

use serde::{Deserialize, Serialize};

/// How many values there were, and the sums of their first two powers.
///
/// Integers only, so any order and grouping of additions and merges gives the same summary, bit
/// for bit. Additions saturate; values of up to 10^12 units do not get there before 10^14 of them.
///
/// Written out, the wide sums are decimal strings, because few formats carry 128-bit integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Sums {
    n: u64,
    nonzero: u64,
    sum: u128,
    squares: u128,
}

/// What [`Sums`] say of the values they were made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// How many there were.
    pub n: f64,
    /// Their mean.
    pub mean: f64,
    /// Their variance, dividing by `n - 1`.
    pub variance: f64,
}

impl Sums {
    /// Takes one value in.
    pub fn add(&mut self, units: u64) {
        let wide = u128::from(units);
        self.n = self.n.saturating_add(1);
        self.nonzero = self.nonzero.saturating_add(u64::from(units > 0));
        self.sum = self.sum.saturating_add(wide);
        self.squares = self.squares.saturating_add(wide * wide);
    }

    /// Takes in every value of `other`, which must be values that `self` has not seen.
    pub fn merge(&mut self, other: &Sums) {
        self.n = self.n.saturating_add(other.n);
        self.nonzero = self.nonzero.saturating_add(other.nonzero);
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
    }

    /// How many values there were.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// How many of them were not zero.
    pub fn nonzero(&self) -> u64 {
        self.nonzero
    }

    /// The mean of the values; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum as f64 / self.n as f64)
    }

    /// Mean and variance; `None` below two values.
    pub fn moments(&self) -> Option<Moments> {
        let (n, mean) = (self.n as f64, self.mean()?);
        let spread = spread(self.n, self.squares, self.sum, self.sum).max(0.0);
        (self.n > 1).then(|| Moments { n, mean, variance: spread / (n * (n - 1.0)) })
    }
}

/// `n sum(ab) - sum(a) sum(b)` from sums over `n` units: `n^2` times a covariance, or a variance.
///
/// With whole means `p` and `q` and remainders, `sum(a) = p n + r` and `sum(b) = q n + t`, it is
/// `n (sum(ab) - p q n - p t - q r) - r t`. What is in brackets is about the means already, so
/// nothing cancels; arithmetic that wraps around gives it exactly as long as it fits itself.
pub(super) fn spread(n: u64, product: u128, a: u128, b: u128) -> f64 {
    let wide = u128::from(n.max(1));
    let (p, r, q, t) = (a / wide, a % wide, b / wide, b % wide);
    let centred = product
        .wrapping_sub(p.wrapping_mul(q).wrapping_mul(wide))
        .wrapping_sub(p.wrapping_mul(t))
        .wrapping_sub(q.wrapping_mul(r))
        .cast_signed();
    let rest = r.wrapping_mul(t);
    let exact = i128::from(n)
        .checked_mul(centred)
        .zip(i128::try_from(rest).ok())
        .and_then(|(left, right)| left.checked_sub(right));
    // Beyond that there are so many units that rounding is forgiven.
    exact.map_or_else(|| n as f64 * centred as f64 - rest as f64, |exact| exact as f64)
}

/// [`Sums`] as they are written: nothing that some format cannot carry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    n: u64,
    nonzero: u64,
    sum: String,
    squares: String,
}

impl From<Sums> for Written {
    fn from(sums: Sums) -> Written {
        let Sums { n, nonzero, sum, squares } = sums;
        Written { n, nonzero, sum: sum.to_string(), squares: squares.to_string() }
    }
}

impl TryFrom<Written> for Sums {
    type Error = String;

    fn try_from(written: Written) -> Result<Sums, String> {
        let wide = |digits: &str| digits.parse::<u128>().map_err(|error| error.to_string());
        let (sum, squares) = (wide(&written.sum)?, wide(&written.squares)?);
        let Written { n, nonzero, .. } = written;
        // Whole units: no value is between zero and one, so no square is less than its value.
        if nonzero > n || sum < u128::from(nonzero) || squares < sum || (nonzero == 0 && sum > 0) {
            return Err("the sums of a summary contradict its counts".to_owned());
        }
        Ok(Sums { n, nonzero, sum, squares })
    }
}
