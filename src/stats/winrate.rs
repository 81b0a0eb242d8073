//! The summary of an experiment's pair scores: integers only, so that merging is exact.

use super::betting::{self, Interval, Level, Sides};
use super::grid::Grid;
use super::sums;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many units of [`Score`] make 1.
const UNITS: u32 = 1_000_000_000;

/// Units between two points of the histogram's grid: one thousandth.
const STEP: u32 = UNITS / 1000;

/// The bin of a tie: exactly 500 thousandths.
const TIE_BIN: u16 = 1000;

/// The bin of a win, which is the last.
const LAST_BIN: u16 = 2000;

/// More pairs than this are refused when a summary is read: counts above 2^53 are not exact as
/// `f64`.
const MOST_PAIRS: u64 = 1 << 53;

/// The score of one pair for the candidate, in `[0, 1]` to nine decimals: 1 when the candidate's
/// answer was better, 0 when the control's was, in between when the judge was unsure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Score(u32);

impl Score {
    /// The control's answer was better.
    pub const LOSS: Score = Score(0);
    /// Neither was better.
    pub const TIE: Score = Score(UNITS / 2);
    /// The candidate's answer was better.
    pub const WIN: Score = Score(UNITS);

    /// The score nearest to `value`; `None` if it is NaN or outside `[0, 1]`.
    pub fn new(value: f64) -> Option<Score> {
        let known = (0.0..=1.0).contains(&value);
        known.then(|| Score((value * f64::from(UNITS)).round() as u32))
    }

    /// The mean of two scores, rounded down to a whole unit of 1e-9.
    pub fn mean(self, other: Score) -> Score {
        Score(u32::midpoint(self.0, other.0))
    }

    /// The same score in the other's view.
    pub fn flipped(self) -> Score {
        Score(UNITS - self.0)
    }

    /// The score in units of 1e-9.
    pub fn units(self) -> u32 {
        self.0
    }

    /// The score in `[0, 1]`.
    pub fn value(self) -> f64 {
        f64::from(self.0) / f64::from(UNITS)
    }

    /// Bin `2k` is exactly `k` thousandths, bin `2k + 1` the open interval above it. Plain
    /// verdicts and their averages fall on the first kind and lose nothing.
    fn bin(self) -> u16 {
        let between = u32::from(!self.0.is_multiple_of(STEP));
        u16::try_from(2 * (self.0 / STEP) + between).unwrap_or(LAST_BIN)
    }
}

impl TryFrom<u32> for Score {
    type Error = String;

    fn try_from(units: u32) -> Result<Score, String> {
        if units > UNITS {
            return Err(format!("a score of {units} units is above {UNITS}"));
        }
        Ok(Score(units))
    }
}

impl From<Score> for u32 {
    fn from(score: Score) -> u32 {
        score.0
    }
}

/// What is kept of all pair scores of one candidate.
///
/// The estimate and its standard error come from exact sums, the interval from a histogram of
/// at most 2,001 bins. Merging adds integers, so any order and grouping of additions and merges
/// gives the same summary, bit for bit. Additions saturate, the first at 2^64 pairs with equal
/// scores; up to that many pairs the sums cannot overflow.
///
/// Written out, the wide sums are decimal strings, because few formats carry 128-bit integers.
/// A written summary whose parts contradict each other, or that claims more than 2^53 pairs, is
/// refused when read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct WinRate {
    /// Sum of the scores, in units.
    sum: u128,
    /// Sum of the squared scores, in squared units.
    squares: u128,
    /// Pairs in each bin that has any.
    bins: BTreeMap<u16, u64>,
}

impl WinRate {
    /// A summary of no pairs.
    pub fn new() -> WinRate {
        WinRate::default()
    }

    /// Takes one pair's score in.
    pub fn add(&mut self, score: Score) {
        let units = u128::from(score.units());
        self.sum = self.sum.saturating_add(units);
        self.squares = self.squares.saturating_add(units * units);
        self.count(score.bin(), 1);
    }

    /// Takes in every pair of `other`, which must be pairs that `self` has not seen.
    pub fn merge(&mut self, other: &WinRate) {
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
        for (&bin, &count) in &other.bins {
            self.count(bin, count);
        }
    }

    /// How many pairs were taken in.
    pub fn pairs(&self) -> u64 {
        total(self.bins.values())
    }

    /// Pairs that scored above 1/2.
    pub fn wins(&self) -> u64 {
        total(self.bins.range(TIE_BIN + 1..).map(|(_, count)| count))
    }

    /// Pairs that scored exactly 1/2.
    pub fn ties(&self) -> u64 {
        self.bins.get(&TIE_BIN).copied().unwrap_or(0)
    }

    /// Pairs that scored below 1/2.
    pub fn losses(&self) -> u64 {
        total(self.bins.range(..TIE_BIN).map(|(_, count)| count))
    }

    /// The mean score, which is P(win) + P(tie)/2 for plain verdicts; `None` without pairs.
    pub fn estimate(&self) -> Option<f64> {
        let pairs = self.pairs();
        (pairs > 0).then(|| self.sum as f64 / (pairs as f64 * f64::from(UNITS)))
    }

    /// The standard deviation of the scores seen, dividing by `n`; `None` without pairs.
    pub fn deviation(&self) -> Option<f64> {
        let pairs = self.pairs();
        (pairs > 0).then(|| self.spread(pairs).sqrt() / pairs as f64)
    }

    /// The standard error of the estimate, sample deviation over `sqrt(n)`; `None` below two
    /// pairs. It is for comparison with published tables: for decisions use the interval.
    pub fn standard_error(&self) -> Option<f64> {
        let pairs = self.pairs();
        let n = pairs as f64;
        (pairs > 1).then(|| (self.spread(pairs) / (n - 1.0)).sqrt() / n)
    }

    /// The confidence sequence for the mean score at two-sided `alpha`; `[0, 1]` without pairs.
    ///
    /// Exact for scores on whole thousandths. A score between two thousandths is valued at its
    /// lower neighbour for the lower end and its upper neighbour for the upper end, so then the
    /// interval still covers, and is wider by about 1/1000 on each side at most.
    pub fn interval(&self, alpha: f64) -> Interval {
        let (low, high) = self.levels();
        betting::interval(&Grid::default(), &low, &high, alpha)
    }

    /// `ln e` against "the mean score is `null`", valid at every look; see [`betting::anytime_p`].
    pub fn ln_e_value(&self, null: f64) -> f64 {
        let (low, high) = self.levels();
        betting::ln_e_value(&Grid::default(), &low, &high, null)
    }

    /// The confidence sequence of pairs that count for less than independent ones; `discount` is
    /// that of [`super::clusters`], 1 for independent pairs.
    pub fn interval_discounted(&self, alpha: f64, discount: f64) -> Interval {
        let (low, high) = self.levels();
        betting::interval_discounted(&Grid::default(), (&low, &high), alpha, discount)
    }

    /// `ln e` against "the mean score is at most `null`" and against "it is at least `null`", each
    /// valid at every look, of pairs that count for less than independent ones by `discount`.
    pub fn ln_e_sides(&self, null: f64, discount: f64) -> Sides {
        let (low, high) = self.levels();
        betting::ln_discounted(&Grid::default(), (&low, &high), null, discount)
    }

    /// The histogram twice: each score valued at the least, then at the most, that it can be.
    pub fn levels(&self) -> (Vec<Level>, Vec<Level>) {
        (self.valued(|bin| bin / 2), self.valued(|bin| bin.div_ceil(2)))
    }

    fn valued(&self, thousandths: impl Fn(u16) -> u16) -> Vec<Level> {
        let mut levels: Vec<Level> = Vec::with_capacity(self.bins.len());
        for (&bin, &count) in &self.bins {
            let value = f64::from(thousandths(bin)) / 1000.0;
            match levels.last_mut() {
                Some(last) if last.value == value => last.count = last.count.saturating_add(count),
                _ => levels.push(Level { value, count }),
            }
        }
        levels
    }

    fn count(&mut self, bin: u16, more: u64) {
        let count = self.bins.entry(bin).or_insert(0);
        *count = count.saturating_add(more);
    }

    /// `n sum(x^2) - (sum x)^2` for scores in `[0, 1]`, which is `n^2` times their variance.
    fn spread(&self, pairs: u64) -> f64 {
        let scale = f64::from(UNITS) * f64::from(UNITS);
        sums::spread(pairs, self.squares, self.sum, self.sum).max(0.0) / scale
    }
}

fn total<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.fold(0, |sum, count| sum.saturating_add(*count))
}

/// [`WinRate`] as it is written: nothing that some format cannot carry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    sum: String,
    squares: String,
    bins: Vec<(u16, u64)>,
}

impl From<WinRate> for Written {
    fn from(summary: WinRate) -> Written {
        Written {
            sum: summary.sum.to_string(),
            squares: summary.squares.to_string(),
            bins: summary.bins.into_iter().collect(),
        }
    }
}

impl TryFrom<Written> for WinRate {
    type Error = String;

    fn try_from(written: Written) -> Result<WinRate, String> {
        let wide = |digits: &str| digits.parse::<u128>().map_err(|error| error.to_string());
        let (sum, squares) = (wide(&written.sum)?, wide(&written.squares)?);
        let mut bins = BTreeMap::new();
        let (mut pairs, mut least, mut most) = (0_u64, Sums::default(), Sums::default());
        for (bin, count) in written.bins {
            if bin > LAST_BIN || count == 0 || bins.insert(bin, count).is_some() {
                return Err(format!("bin {bin} is out of range, empty or repeated"));
            }
            pairs = pairs.saturating_add(count);
            if pairs > MOST_PAIRS {
                return Err(format!("a summary of more than {MOST_PAIRS} pairs"));
            }
            least.add(u32::from(bin / 2) * STEP, count);
            most.add(u32::from(bin.div_ceil(2)) * STEP, count);
        }
        let sums_fit = (least.sum..=most.sum).contains(&sum);
        if !sums_fit || !(least.squares..=most.squares).contains(&squares) {
            return Err("the sums of a summary contradict its histogram".to_owned());
        }
        Ok(WinRate { sum, squares, bins })
    }
}

/// The sums that a histogram allows. They cannot overflow: pairs are limited before they count.
#[derive(Default)]
struct Sums {
    sum: u128,
    squares: u128,
}

impl Sums {
    fn add(&mut self, units: u32, count: u64) {
        let (units, count) = (u128::from(units), u128::from(count));
        self.sum += units * count;
        self.squares += units * units * count;
    }
}
