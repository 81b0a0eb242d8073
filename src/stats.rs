//! Statistics that stay valid however often people look at them: summaries that merge, intervals,
//! checks, decision rules and planning, all pure functions of integer counts.
//!
//! One idea carries everything: a fixed mixture of bets over a grid of effect sizes ([`grid`]),
//! evaluated on counts ([`betting`]). It is a test martingale, so it holds at every look and any
//! stopping time; and because the bets never depend on what came before, only the counts matter,
//! so the summaries ([`winrate`]) of any number of sidecars merge exactly.

pub mod grid;

pub mod betting;

pub mod winrate;

pub mod srm;

pub mod rule;

pub mod plan;

pub use betting::Interval;
pub use rule::{Decision, Goal, Reason, Rule, Spec, Verdict};
pub use winrate::{Score, WinRate};
