//! Whether a candidate's live answers are so much worse than control's that it must be stopped.

mod watch;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Guardrail;
use crate::experiment::Limit;
use crate::stats::Bounds;
use crate::stats::grid::Grid;
use crate::stats::mean::Estimate;
use crate::stats::mean::comparable;
use crate::stats::quantile::Pair;
use crate::stats::rate;
use crate::vital::Measure;
use crate::vital::Vitals;

pub use watch::Breach;
pub use watch::Seen;
pub use watch::Watch;

/// Answers of each arm below which a share is not said to hold, though a breach may be.
const LEAST: u64 = 100;

/// What a guardrail says as things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Too little was seen to say anything.
    NotEnough,
    /// Nothing shows that the limit is passed.
    Holds,
    /// It is passed, or one experiment in `1/alpha` has come to be.
    Breached,
}

/// How a limit compares two estimates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The candidate's less control's.
    Increase,
    /// The candidate's over control's.
    Ratio,
}

/// A guardrail as a report shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The metric's name.
    pub metric: String,
    /// How its limit is meant.
    pub change: Change,
    /// The most that the change may be.
    pub limit: f64,
    /// Control's estimate: a share, dollars, tokens or seconds.
    pub control: Option<f64>,
    /// The answers it is of.
    pub control_n: u64,
    /// The candidate's estimate.
    pub candidate: Option<f64>,
    /// The answers it is of.
    pub candidate_n: u64,
    /// What is not excluded of the change. A candidate is stopped when the lower end, to within
    /// rounding, is above the limit; each end is wrong with probability at most the guardrail's
    /// share of alpha, over all looks.
    pub bounds: Bounds,
    /// What that means.
    pub health: Health,
}

/// What a guardrail says of two variants at one-sided `alpha`: with a candidate no worse than the
/// limit, the chance that any of all looks together is [`Health::Breached`] is at most that.
pub fn check(guardrail: &Guardrail, control: &Vitals, candidate: &Vitals, alpha: f64) -> Health {
    Pairing::new(guardrail, control, candidate).health(&Grid::default(), alpha)
}

/// The same with its figures. It searches for the ends of an interval, so it is for a report and
/// not for every answer.
pub fn view(guardrail: &Guardrail, control: &Vitals, candidate: &Vitals, alpha: f64) -> View {
    let grid = Grid::default();
    let pairing = Pairing::new(guardrail, control, candidate);
    let (change, limit) = match guardrail.limit {
        Limit::MaxIncrease(limit) => (Change::Increase, limit),
        Limit::MaxRatio(limit) => (Change::Ratio, limit),
    };
    View {
        metric: guardrail.metric.name().to_owned(),
        change,
        limit,
        control: pairing.control.estimate(),
        control_n: pairing.control.n(),
        candidate: pairing.candidate.estimate(),
        candidate_n: pairing.candidate.n(),
        bounds: pairing.bounds(&grid, alpha),
        health: pairing.health(&grid, alpha),
    }
}

/// One metric of two variants.
struct Pairing<'a> {
    limit: Limit,
    control: Measure<'a>,
    candidate: Measure<'a>,
}

impl<'a> Pairing<'a> {
    fn new(guardrail: &Guardrail, control: &'a Vitals, candidate: &'a Vitals) -> Pairing<'a> {
        Pairing {
            limit: guardrail.limit,
            control: control.measure(guardrail.metric),
            candidate: candidate.measure(guardrail.metric),
        }
    }

    fn health(&self, grid: &Grid, alpha: f64) -> Health {
        use Measure::{Mean, Rate, Time};
        let (is_enough, is_breached) = match (self.control, self.candidate, self.limit) {
            (Rate(a), Rate(b), Limit::MaxIncrease(limit)) => {
                (a.of.min(b.of) >= LEAST, rate::exceeds_by(grid, a, b, limit, alpha))
            }
            (Rate(a), Rate(b), Limit::MaxRatio(limit)) => {
                (a.of.min(b.of) >= LEAST, rate::exceeds_times(grid, a, b, limit, alpha))
            }
            (Mean(a, unit), Mean(b, _), limit) => match comparable(a, b) {
                None => (false, false),
                Some((a, b)) => {
                    let (estimate, limit) = match limit {
                        Limit::MaxIncrease(limit) => (Estimate::difference(a, b), limit * unit),
                        Limit::MaxRatio(limit) => (Estimate::ln_ratio(a, b), limit.ln()),
                    };
                    (true, estimate.exceeds(grid, limit, alpha))
                }
            },
            (Time(a, p), Time(b, _), Limit::MaxRatio(limit)) => {
                let pair = Pair::new(grid, a, b, p);
                let is_enough = pair.is_decidable(alpha);
                (is_enough, is_enough && pair.exceeds_times(limit, alpha))
            }
            // A definition with a difference of times is refused, and two measures of one metric
            // are of one kind.
            _ => (false, false),
        };
        match (is_enough, is_breached) {
            (_, true) => Health::Breached,
            (true, false) => Health::Holds,
            (false, false) => Health::NotEnough,
        }
    }

    /// Both ends, each at `alpha`.
    fn bounds(&self, grid: &Grid, alpha: f64) -> Bounds {
        use Measure::{Mean, Rate, Time};
        let both = 2.0 * alpha;
        match (self.control, self.candidate, self.limit) {
            (Rate(a), Rate(b), Limit::MaxIncrease(_)) => rate::difference(grid, a, b, both),
            (Rate(a), Rate(b), Limit::MaxRatio(_)) => rate::ratio(grid, a, b, both),
            (Mean(a, unit), Mean(b, _), limit) => {
                let Some((a, b)) = comparable(a, b) else { return Bounds::default() };
                match limit {
                    Limit::MaxIncrease(_) => {
                        Estimate::difference(a, b).interval(grid, both).map(|end| end / unit)
                    }
                    Limit::MaxRatio(_) => {
                        Estimate::ln_ratio(a, b).interval(grid, both).map(f64::exp)
                    }
                }
            }
            (Time(a, p), Time(b, _), Limit::MaxRatio(_)) => Pair::new(grid, a, b, p).ratio(both),
            _ => Bounds::default(),
        }
    }
}
