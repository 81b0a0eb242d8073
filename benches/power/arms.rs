//! Identical arms, compared by everything but verdicts: errors, cost, times, and labels.

use fastrand::Rng;
use understudy::stats::Histogram;
use understudy::stats::Joint;
use understudy::stats::Labelled;
use understudy::stats::Rate;
use understudy::stats::Score;
use understudy::stats::Sums;
use understudy::stats::corrected::LEAST_LABELS;
use understudy::stats::grid::Grid;
use understudy::stats::mean;
use understudy::stats::mean::Estimate;
use understudy::stats::mean::comparable;
use understudy::stats::quantile::Pair;
use understudy::stats::rate;
use understudy::stats::srm;

use super::draw::normal;
use super::engine::ALPHA;

/// What is compared between two arms that are the same.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// How often requests fail, as this share does; exact.
    Errors(f64),
    /// Mean cost, lognormal with this sigma; asymptotic.
    Cost(f64),
    /// The ratio of mean costs of that kind, as guardrails compare them; asymptotic.
    CostRatio(f64),
    /// Mean cost of both answers of the same pairs; asymptotic.
    PairedCost(f64),
    /// This quantile of times, lognormal with sigma 1; exact.
    Time(f64),
    /// The win rate of a judge that errs in this share of pairs, corrected by labels of one pair
    /// in ten; asymptotic.
    Labels(f64),
    /// The split of traffic itself.
    Split,
}

impl Measure {
    /// What it is called in a table.
    pub fn label(self) -> String {
        match self {
            Measure::Errors(rate) => format!("error rate {rate}, two arms"),
            Measure::Cost(sigma) => format!("mean cost, sigma {sigma}, two arms"),
            Measure::CostRatio(sigma) => format!("cost ratio, sigma {sigma}, two arms"),
            Measure::PairedCost(sigma) => format!("mean cost, sigma {sigma}, pairs"),
            Measure::Time(p) => format!("p{:.0} of times, two arms", 100.0 * p),
            Measure::Labels(errs) => {
                format!("win rate by labels, judge errs {:.0} %", 100.0 * errs)
            }
            Measure::Split => "sample ratio, e >= 100".to_owned(),
        }
    }

    /// Requests, pairs or both between two looks.
    fn step(self) -> u64 {
        match self {
            Measure::Time(_) => 100,
            _ => 10,
        }
    }

    /// The chance of a false alarm that is allowed.
    pub fn allowed(self) -> f64 {
        if matches!(self, Measure::Split) { 1.0 / srm::ALARM } else { ALPHA }
    }
}

/// What was seen of both arms.
#[derive(Default)]
struct Arms {
    errors: [Rate; 2],
    cost: [Sums; 2],
    times: [Histogram; 2],
    both: Joint,
    labelled: Labelled,
    counts: [u64; 2],
}

/// Whether two identical arms are told apart by `horizon` requests (or pairs), of which a share
/// goes to the second; watched all the time.
pub fn is_fooled(measure: Measure, split: f64, horizon: u64, seed: u64) -> bool {
    let (mut random, grid, mut arms) = (Rng::with_seed(seed), Grid::default(), Arms::default());
    (1..=horizon).any(|n| {
        arms.add(measure, split, &mut random);
        n % measure.step() == 0 && arms.differ(measure, split, &grid)
    })
}

impl Arms {
    fn add(&mut self, measure: Measure, split: f64, random: &mut Rng) {
        let arm = usize::from(random.f64() < split);
        self.counts[arm] += 1;
        match measure {
            Measure::Errors(rate) => self.errors[arm].add(random.f64() < rate),
            Measure::Cost(sigma) | Measure::CostRatio(sigma) => {
                self.cost[arm].add(lognormal(sigma * normal(random)));
            }
            Measure::PairedCost(sigma) => {
                let prompt = normal(random);
                let mut one = || lognormal(sigma * (0.8 * prompt + 0.6 * normal(random)));
                self.both.add(one(), one());
            }
            Measure::Time(_) => self.times[arm].add(lognormal(normal(random))),
            Measure::Labels(errs) => {
                let is_win = random.bool();
                let label = if is_win { Score::WIN } else { Score::LOSS };
                // A judge that errs more often when control is better: its own mean is not 1/2.
                let errs = if is_win { errs / 2.0 } else { 1.5 * errs };
                let judged = if random.f64() < errs { label.flipped() } else { label };
                match random.f64() < 0.1 {
                    true => self.labelled.add(label, judged),
                    false => self.labelled.add_unlabelled(judged),
                }
            }
            Measure::Split => {}
        }
    }

    fn differ(&self, measure: Measure, split: f64, grid: &Grid) -> bool {
        let ([a, b], half) = (self.errors, ALPHA / 2.0);
        match measure {
            Measure::Errors(_) => {
                rate::exceeds_by(grid, a, b, 0.0, half) || rate::exceeds_by(grid, b, a, 0.0, half)
            }
            Measure::Cost(_) => {
                let both = comparable(&self.cost[0], &self.cost[1]);
                both.is_some_and(|(a, b)| is_off(&Estimate::difference(a, b), grid))
            }
            Measure::CostRatio(_) => {
                let both = comparable(&self.cost[0], &self.cost[1]);
                both.is_some_and(|(a, b)| is_off(&Estimate::ln_ratio(a, b), grid))
            }
            Measure::PairedCost(_) => {
                let moments = self.both.moments().filter(|_| self.both.n() >= mean::LEAST);
                moments.is_some_and(|moments| is_off(&moments.difference(), grid))
            }
            Measure::Time(p) => {
                let [a, b] = &self.times;
                let exceeds = |a, b| Pair::new(grid, a, b, p).exceeds_times(1.0, half);
                exceeds(a, b) || exceeds(b, a)
            }
            Measure::Labels(_) => {
                let enough = self.labelled.labels() >= LEAST_LABELS;
                enough
                    && self.labelled.corrected().is_some_and(|found| {
                        let n = found.labels;
                        is_off(
                            &Estimate { value: found.estimate - 0.5, error: found.error, n },
                            grid,
                        )
                    })
            }
            Measure::Split => srm::sample_ratio(&self.counts, &[1.0 - split, split], 10_000.0)
                .is_some_and(|found| found.alarms()),
        }
    }
}

/// Whether an estimate is shown not to be zero.
fn is_off(estimate: &Estimate, grid: &Grid) -> bool {
    let mirrored = Estimate { value: -estimate.value, ..*estimate };
    estimate.exceeds(grid, 0.0, ALPHA / 2.0) || mirrored.exceeds(grid, 0.0, ALPHA / 2.0)
}

/// Around a million units, so that rounding does not matter.
fn lognormal(exponent: f64) -> u64 {
    (1e6 * exponent.exp()) as u64
}
