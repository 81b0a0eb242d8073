//! Other ways to tell a win rate from 1/2, for comparison only: none is part of the product.
//!
//! Every one gets the same pair scores, which is generous to tests made for two samples.

use understudy::stats::mean::Estimate;
use understudy::stats::normal_mixture;
use understudy::stats::plan;
use understudy::stats::sums::Moments;

use super::engine::ALPHA;

/// Scores seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    /// How many.
    pub n: f64,
    sum: f64,
    squares: f64,
    hedged: Hedged,
}

/// A way to decide, looked at after every pair unless it says otherwise.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// Normal mixture with estimated variance, from 30 pairs on, tightest at this many: 5000 is
    /// GrowthBook's sequential test, other numbers are asymptotic confidence sequences.
    NormalMixture(f64),
    /// Mixture sequential probability ratio test with this prior deviation and known variance
    /// (Johari, Koomen, Pekelis and Walsh 2017).
    Msprt(f64),
    /// Hedged betting with predictable bets (Waudby-Smith and Ramdas 2024, section 4).
    Hedged,
    /// O'Brien and Fleming's group sequential test of five looks, the last at this many pairs.
    ObrienFleming(f64),
}

/// The constant of O'Brien and Fleming's five looks at 5 %, two-sided (Jennison and Turnbull,
/// "Group Sequential Methods" (2000), table 2.3), and how much larger than a fixed sample the last
/// look must be for 90 % power (table 2.4).
const FLEMING: f64 = 2.040;
const INFLATION: f64 = 1.026;
const LOOKS: f64 = 5.0;

/// Pairs that a fixed sample needs for 90 % power when a share of pairs ties.
pub fn fixed(mean: f64, ties: f64) -> f64 {
    let v0 = (1.0 - ties) / 4.0;
    let v1 = v0 - (mean - 0.5).powi(2);
    let (z, power) = (plan::normal_quantile(1.0 - ALPHA / 2.0), plan::normal_quantile(0.9));
    ((z * v0.sqrt() + power * v1.sqrt()) / (mean - 0.5)).powi(2).ceil()
}

/// The last of O'Brien and Fleming's looks for 90 % power at this truth.
pub fn last_look(mean: f64, ties: f64) -> f64 {
    (INFLATION * fixed(mean, ties) / LOOKS).ceil() * LOOKS
}

impl Path {
    /// Takes a score in.
    pub fn add(&mut self, score: f64) {
        self.hedged.add(score);
        self.n += 1.0;
        self.sum += score;
        self.squares += score * score;
    }

    fn estimate(&self) -> Estimate {
        let mean = self.sum / self.n;
        let variance = (self.squares - self.n * mean * mean).max(0.0) / (self.n - 1.0);
        Estimate::of_mean(Moments { n: self.n, mean: mean - 0.5, variance })
    }
}

impl Peer {
    /// Whether it stops here, and if so whether for the candidate; `variance` is the known one.
    pub fn stops(self, path: &Path, variance: f64) -> Option<bool> {
        let gap = path.sum / path.n - 0.5;
        let stops = match self {
            Peer::NormalMixture(best) => {
                path.n >= 30.0 && {
                    let bounds = normal_mixture::interval(&path.estimate(), best, ALPHA);
                    bounds.lower.is_some_and(|end| end > 0.0)
                        || bounds.upper.is_some_and(|end| end < 0.0)
                }
            }
            Peer::Msprt(tau) => {
                let total = variance + path.n * tau * tau;
                let square = path.n * path.n * tau * tau * gap * gap;
                (variance / total).ln() / 2.0 + square / (2.0 * variance * total) >= -ALPHA.ln()
            }
            Peer::Hedged => path.hedged.above.max(path.hedged.below) >= (2.0 / ALPHA).ln(),
            Peer::ObrienFleming(last) => {
                let step = last / LOOKS;
                let is_look = path.n % step == 0.0 && path.n <= last;
                let z = gap * (path.n / variance).sqrt();
                is_look && z.abs() >= FLEMING * (last / path.n).sqrt()
            }
        };
        stops.then_some(gap > 0.0)
    }
}

/// Capital of predictable bets against 1/2.
#[derive(Clone, Copy, Debug)]
struct Hedged {
    n: f64,
    sum: f64,
    spread: f64,
    above: f64,
    below: f64,
}

impl Default for Hedged {
    fn default() -> Hedged {
        Hedged { n: 0.0, sum: 0.0, spread: 0.25, above: 0.0, below: 0.0 }
    }
}

impl Hedged {
    fn add(&mut self, score: f64) {
        let t = self.n + 1.0;
        let variance = self.spread / t;
        let bet = (2.0 * (2.0 / ALPHA).ln() / (variance * t * (1.0 + t).ln())).sqrt().min(1.0);
        self.above += (bet * (score - 0.5)).ln_1p();
        self.below += (-bet * (score - 0.5)).ln_1p();
        self.n = t;
        self.sum += score;
        let mean = (0.5 + self.sum) / (t + 1.0);
        self.spread += (score - mean).powi(2);
    }
}
