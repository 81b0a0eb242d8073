//! The win rate if both answers were equally long: how much of a preference is for length.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use super::Bounds;
use super::Score;
use super::grid::Grid;
use super::mean::critical;
use super::sums::Sums;

/// Bins on each side of equal lengths.
pub const BINS: i8 = 20;

/// Pairs below which no length-controlled win rate is given: its error is asymptotic.
pub const LEAST_PAIRS: u64 = 100;

/// Steps of the fit at most, and the change below which it has settled.
const STEPS: usize = 50;
const SETTLED: f64 = 1e-12;

/// Keeps the fit solvable when all lengths are equal.
const RIDGE: f64 = 1e-9;

/// The units of [`Score`] in one.
const UNITS: f64 = 1e9;

/// Pairs by how much longer the candidate's answer is, with the sums of their scores.
///
/// The difference is `z = (b - a) / (b + a)`, which is `tanh(ln(b/a) / 2)`, in bins of 1/20. It
/// needs no spread of differences as AlpacaEval's term does, so summaries of parts merge exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(i8, Sums)>", into = "Vec<(i8, Sums)>")]
pub struct LengthCells {
    bins: BTreeMap<i8, Sums>,
}

/// The bin of lengths `control` and `candidate`, in `-20..=20`; two empty answers are equally long.
pub fn bin(control: u64, candidate: u64) -> i8 {
    let (a, b) = (control as f64, candidate as f64);
    if a + b == 0.0 { 0 } else { (f64::from(BINS) * (b - a) / (b + a)).round() as i8 }
}

impl LengthCells {
    /// Takes one pair in: both lengths in whatever unit, and its score.
    pub fn add(&mut self, control: u64, candidate: u64, score: Score) {
        self.bins.entry(bin(control, candidate)).or_default().add(score.units().into());
    }

    /// Takes in every pair of `other`, which must be pairs that `self` has not seen.
    pub fn merge(&mut self, other: &LengthCells) {
        for (bin, sums) in &other.bins {
            self.bins.entry(*bin).or_default().merge(sums);
        }
    }

    /// How many pairs were taken in.
    pub fn pairs(&self) -> u64 {
        self.bins.values().fold(0, |sum, bin| sum.saturating_add(bin.n()))
    }

    /// The length-controlled win rate; see [`controlled`].
    pub fn controlled(&self) -> Option<Controlled> {
        let cell = |(bin, sums): (&i8, &Sums)| {
            let (n, sum) = (sums.n() as f64, sums.mean()? * sums.n() as f64 / UNITS);
            let within = sums.moments().map_or(0.0, |moments| moments.variance * (n - 1.0));
            let squares = within / UNITS / UNITS + sum * sum / n;
            Some(Cell { z: f64::from(*bin) / f64::from(BINS), n, sum, squares })
        };
        controlled(&self.bins.iter().filter_map(cell).collect::<Vec<_>>())
    }
}

/// Pairs with one difference in length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// The difference, in `[-1, 1]`.
    pub z: f64,
    /// How many pairs.
    pub n: f64,
    /// The sum of their scores.
    pub sum: f64,
    /// The sum of their squared scores.
    pub squares: f64,
}

/// The win rate where lengths are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controlled {
    /// The win rate.
    pub estimate: f64,
    /// Its standard error.
    pub error: f64,
    /// Log odds at equal lengths.
    pub intercept: f64,
    /// Log odds gained from `z = 0` to `z = 1`.
    pub slope: f64,
    /// Pairs behind it.
    pub pairs: f64,
}

impl Controlled {
    /// `estimate ± z*(n) error`, valid at every look, asymptotically; cut off at 0 and 1.
    pub fn interval(&self, alpha: f64) -> Bounds {
        let reach = critical(&Grid::default(), self.pairs, alpha) * self.error;
        let end = |end: f64| end.is_finite().then_some(end.clamp(0.0, 1.0));
        Bounds { lower: end(self.estimate - reach), upper: end(self.estimate + reach) }
    }
}

/// Fits `logit E[score] = b0 + b1 z` and gives `expit(b0)` (after Dubois, Galambosi, Liang and
/// Hashimoto, "Length-controlled AlpacaEval", 2024).
///
/// The fit is by iteratively reweighted least squares: with `mu = expit(b0 + b1 z)`, each step adds
/// `A^-1 g`, `g = sum x (y - mu)`, `A = sum mu (1 - mu) x x' + ridge`, `x = (1, z)`. The error is
/// the sandwich `A^-1 B A^-1` with `B = sum (y - mu)^2 x x'` (HC0), through the delta method. It
/// says what goes with length, not what length causes, so it warns and never decides.
///
/// `None` without pairs, and where scores leave nothing to fit, such as wins alone.
pub fn controlled(cells: &[Cell]) -> Option<Controlled> {
    let (mut b0, mut b1) = (0.0, 0.0);
    for _ in 0..STEPS {
        let (bread, mut slopes) = (bread(cells, b0, b1), [0.0; 2]);
        for cell in cells {
            let residual = cell.sum - cell.n * expit(b0 + b1 * cell.z);
            slopes = [slopes[0] + residual, slopes[1] + residual * cell.z];
        }
        let [d0, d1] = solve(bread, slopes)?;
        (b0, b1) = (b0 + d0, b1 + d1);
        if d0.abs().max(d1.abs()) < SETTLED {
            break;
        }
    }
    let bread = bread(cells, b0, b1);
    let mut filling = [0.0; 3];
    for cell in cells {
        let mu = expit(b0 + b1 * cell.z);
        let residuals = cell.squares - 2.0 * mu * cell.sum + cell.n * mu * mu;
        add(&mut filling, residuals, cell.z);
    }
    // The first row of A^-1, so that its product with B is the variance of b0.
    let [r0, r1] = solve(bread, [1.0, 0.0])?;
    let variance = r0 * r0 * filling[0] + 2.0 * r0 * r1 * filling[1] + r1 * r1 * filling[2];
    let estimate = expit(b0);
    let error = estimate * (1.0 - estimate) * variance.max(0.0).sqrt();
    let pairs = cells.iter().map(|cell| cell.n).sum();
    let is_settled = bread[0] > 1e-3 && error.is_finite();
    is_settled.then_some(Controlled { estimate, error, intercept: b0, slope: b1, pairs })
}

/// `A`, as its three different entries.
fn bread(cells: &[Cell], b0: f64, b1: f64) -> [f64; 3] {
    let mut sum = [RIDGE, 0.0, RIDGE];
    for cell in cells {
        let mu = expit(b0 + b1 * cell.z);
        add(&mut sum, cell.n * mu * (1.0 - mu), cell.z);
    }
    sum
}

fn add(sum: &mut [f64; 3], weight: f64, z: f64) {
    *sum = [sum[0] + weight, sum[1] + weight * z, sum[2] + weight * z * z];
}

fn solve([a, b, c]: [f64; 3], [x, y]: [f64; 2]) -> Option<[f64; 2]> {
    let determinant = a * c - b * b;
    let solved = [(c * x - b * y) / determinant, (a * y - b * x) / determinant];
    solved.iter().all(|part| part.is_finite()).then_some(solved)
}

fn expit(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl From<LengthCells> for Vec<(i8, Sums)> {
    fn from(cells: LengthCells) -> Self {
        cells.bins.into_iter().collect()
    }
}

impl TryFrom<Vec<(i8, Sums)>> for LengthCells {
    type Error = String;

    fn try_from(written: Vec<(i8, Sums)>) -> Result<LengthCells, String> {
        let mut bins = BTreeMap::new();
        for (bin, sums) in written {
            let known = (-BINS..=BINS).contains(&bin);
            if !known || sums.n() == 0 || bins.insert(bin, sums).is_some() {
                return Err(format!("bin {bin} is out of range, empty or repeated"));
            }
        }
        Ok(LengthCells { bins })
    }
}
