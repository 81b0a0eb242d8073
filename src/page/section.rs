//! The parts of the page, from top to bottom.

pub mod plots;
pub mod record;
pub mod trust;
pub mod verdict;

use crate::page::plot::colour;
use crate::report::Report;

/// The class of a variant's colour: candidates by their place, everybody else as control.
pub fn colour_of(report: &Report, variant: &str) -> &'static str {
    report.candidates.keys().position(|name| name == variant).map_or("control", colour)
}
