//! Statistics that stay valid however often people look at them: summaries that merge, intervals,
//! checks, decision rules and planning, all pure functions of integer counts.
//!
//! One idea carries everything: a fixed mixture of bets over a grid of effect sizes ([`grid`]),
//! evaluated on counts ([`betting`]). It is a test martingale, so it holds at every look and any
//! stopping time; and because the bets never depend on what came before, only the counts matter,
//! so the summaries ([`winrate`]) of any number of sidecars merge exactly. Two arms that were
//! never paired are compared by the same bets ([`hedge`]): their rates ([`rate`]) and the
//! quantiles of their times ([`quantile`]) exactly, the means of anything else ([`mean`]) nearly.

pub mod grid;

pub mod betting;

pub mod winrate;

pub mod hedge;

pub mod rate;

pub mod sums;

pub mod mean;

pub mod joint;

pub mod clusters;

pub mod normal_mixture;

pub mod histogram;

pub mod quantile;

pub mod srm;

pub mod several;

pub mod agreement;

pub mod swap;

pub mod length;

pub mod corrected;

pub mod rule;

pub mod plan;

pub use agreement::Agreement;
pub use agreement::Choice;
pub use betting::Interval;
pub use clusters::Clusters;
pub use corrected::Labelled;
pub use histogram::Histogram;
pub use joint::Joint;
pub use length::LengthCells;
pub use rate::Rate;
pub use rule::{Decision, Goal, Reason, Rule, Spec, Verdict};
pub use sums::Sums;
pub use swap::Swap;
pub use winrate::{Score, WinRate};

use serde::{Deserialize, Serialize};

/// What is not excluded of a quantity that has no natural ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// The lower end; `None` if nothing is too little.
    pub lower: Option<f64>,
    /// The upper end; `None` if nothing is too much.
    pub upper: Option<f64>,
}

impl Bounds {
    /// The same of what a rising function makes of the quantity.
    pub fn map(self, rising: impl Fn(f64) -> f64) -> Bounds {
        Bounds { lower: self.lower.map(&rising), upper: self.upper.map(&rising) }
    }
}
