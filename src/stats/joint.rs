//! Two measures of each unit, such as the cost of both answers of a pair: power sums, so that
//! merging is exact.

use serde::Deserialize;
use serde::Serialize;

use super::mean::Estimate;
use super::sums::Moments;
use super::sums::spread;

/// How many units there were, and the sums of first and second powers of two measures of each.
///
/// Integers only, so any order and grouping of additions and merges gives the same summary, bit
/// for bit. Additions saturate; values of up to 10^12 do not get there before 10^14 units.
///
/// Written out, the wide sums are decimal strings, because few formats carry 128-bit integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Joint {
    n: u64,
    x: u128,
    y: u128,
    xx: u128,
    yy: u128,
    xy: u128,
}

/// What two measures are like together; variances and covariance divide by `n - 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JointMoments {
    /// How many units there were.
    pub n: f64,
    /// Mean of the first measure.
    pub mean_x: f64,
    /// Mean of the second measure.
    pub mean_y: f64,
    /// Variance of the first.
    pub var_x: f64,
    /// Variance of the second.
    pub var_y: f64,
    /// Their covariance.
    pub cov: f64,
}

impl Joint {
    /// Takes one unit in.
    pub fn add(&mut self, x: u64, y: u64) {
        let (x, y) = (u128::from(x), u128::from(y));
        let one = Joint { n: 1, x, y, xx: x * x, yy: y * y, xy: x * y };
        self.merge(&one);
    }

    /// Takes out a unit that was put in with exactly these values.
    pub fn remove(&mut self, x: u64, y: u64) {
        let (x, y) = (u128::from(x), u128::from(y));
        self.n = self.n.saturating_sub(1);
        self.x = self.x.saturating_sub(x);
        self.y = self.y.saturating_sub(y);
        self.xx = self.xx.saturating_sub(x * x);
        self.yy = self.yy.saturating_sub(y * y);
        self.xy = self.xy.saturating_sub(x * y);
    }

    /// Takes in every unit of `other`, which must be units that `self` has not seen.
    pub fn merge(&mut self, other: &Joint) {
        self.n = self.n.saturating_add(other.n);
        self.x = self.x.saturating_add(other.x);
        self.y = self.y.saturating_add(other.y);
        self.xx = self.xx.saturating_add(other.xx);
        self.yy = self.yy.saturating_add(other.yy);
        self.xy = self.xy.saturating_add(other.xy);
    }

    /// How many units there were.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The sums of the first measure and of its square.
    pub(super) fn first_powers(&self) -> (f64, f64) {
        (self.x as f64, self.xx as f64)
    }

    /// Means, variances and covariance; `None` below two units.
    pub fn moments(&self) -> Option<JointMoments> {
        let n = self.n as f64;
        let pairs = n * (n - 1.0);
        (self.n > 1).then(|| JointMoments {
            n,
            mean_x: self.x as f64 / n,
            mean_y: self.y as f64 / n,
            var_x: spread(self.n, self.xx, self.x, self.x).max(0.0) / pairs,
            var_y: spread(self.n, self.yy, self.y, self.y).max(0.0) / pairs,
            cov: spread(self.n, self.xy, self.x, self.y) / pairs,
        })
    }
}

impl JointMoments {
    /// Of `n` units with these sums of `x`, `y`, `x^2`, `y^2` and `x y`; `None` below two units.
    pub fn of_sums(n: f64, [x, y, xx, yy, xy]: [f64; 5]) -> Option<JointMoments> {
        let about = |product: f64, a: f64, b: f64| (product - a * b / n) / (n - 1.0);
        (n > 1.0).then(|| JointMoments {
            n,
            mean_x: x / n,
            mean_y: y / n,
            var_x: about(xx, x, x).max(0.0),
            var_y: about(yy, y, y).max(0.0),
            cov: about(xy, x, y),
        })
    }

    /// `mean_y - mean_x` of pairs: what both have in common falls out of the error,
    /// `error^2 = (var_x + var_y - 2 cov) / n`.
    pub fn difference(&self) -> Estimate {
        let variance = (self.var_x + self.var_y - 2.0 * self.cov).max(0.0);
        Estimate::of_mean(Moments { n: self.n, mean: self.mean_y - self.mean_x, variance })
    }

    /// `ln(mean_y / mean_x)` of pairs, by the delta method: `n error^2 = var_x / mean_x^2 +
    /// var_y / mean_y^2 - 2 cov / (mean_x mean_y)`. Not a number unless both means are above zero.
    pub fn ln_ratio(&self) -> Estimate {
        let relative = self.var_x / self.mean_x.powi(2) + self.var_y / self.mean_y.powi(2)
            - 2.0 * self.cov / (self.mean_x * self.mean_y);
        let mean = (self.mean_y / self.mean_x).ln();
        Estimate::of_mean(Moments { n: self.n, mean, variance: relative.max(0.0) })
    }

    /// `sum y / sum x` of clusters, for example a session's metric `y` over its requests `x`, with
    /// the variance that one cluster contributes: `V = var_y / x^2 - 2 cov y / x^3 + y^2 var_x /
    /// x^4` at the means (Deng, Knoblich and Lu, KDD 2018). Two arms of these go to
    /// [`Estimate::difference`].
    pub fn ratio(&self) -> Moments {
        let (x, y) = (self.mean_x, self.mean_y);
        let variance = self.var_y / x.powi(2) - 2.0 * self.cov * y / x.powi(3)
            + y * y * self.var_x / x.powi(4);
        Moments { n: self.n, mean: y / x, variance: variance.max(0.0) }
    }

    /// The mean of `y` less what `x` explains of it, `y - theta x`; see [`common_slope`].
    pub fn adjusted(&self, theta: f64) -> Moments {
        let variance = self.var_y + theta * theta * self.var_x - 2.0 * theta * self.cov;
        let mean = self.mean_y - theta * self.mean_x;
        Moments { n: self.n, mean, variance: variance.max(0.0) }
    }
}

/// The slope of `y` on `x` over all units of two arms, `theta = Cov(x, y) / Var(x)`: the control
/// variate that takes most variance out (CUPED; Deng, Xu, Kohavi and Walker, WSDM 2013). `x` must
/// be fixed before assignment and not touched by the arm, such as input tokens. Zero if `x` never
/// varies.
pub fn common_slope(a: &JointMoments, b: &JointMoments) -> f64 {
    let both = a.n * b.n / (a.n + b.n);
    let (gap_x, gap_y) = (a.mean_x - b.mean_x, a.mean_y - b.mean_y);
    let within = |of: fn(&JointMoments) -> f64| of(a) * (a.n - 1.0) + of(b) * (b.n - 1.0);
    let variance = within(|arm| arm.var_x) + both * gap_x * gap_x;
    let covariance = within(|arm| arm.cov) + both * gap_x * gap_y;
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

/// [`Joint`] as it is written: nothing that some format cannot carry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    n: u64,
    x: String,
    y: String,
    xx: String,
    yy: String,
    xy: String,
}

impl From<Joint> for Written {
    fn from(joint: Joint) -> Written {
        let Joint { n, .. } = joint;
        let [x, y, xx, yy, xy] =
            [joint.x, joint.y, joint.xx, joint.yy, joint.xy].map(|sum| sum.to_string());
        Written { n, x, y, xx, yy, xy }
    }
}

impl TryFrom<Written> for Joint {
    type Error = String;

    fn try_from(written: Written) -> Result<Joint, String> {
        let wide = |digits: &str| digits.parse::<u128>().map_err(|error| error.to_string());
        let joint = Joint {
            n: written.n,
            x: wide(&written.x)?,
            y: wide(&written.y)?,
            xx: wide(&written.xx)?,
            yy: wide(&written.yy)?,
            xy: wide(&written.xy)?,
        };
        // Whole units: a value is no more than its square, and twice a product no more than the
        // sum of two squares.
        let squares = joint.xx.checked_add(joint.yy);
        let fits = joint.xx >= joint.x && joint.yy >= joint.y;
        if !fits || squares.is_none_or(|squares| joint.xy > squares / 2) {
            return Err("the sums of a summary contradict each other".to_owned());
        }
        Ok(joint)
    }
}
