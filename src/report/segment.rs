//! The win rate by where the request belongs, with as few false discoveries as promised.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::report::candidate::Rate;
use crate::report::reading;
use crate::report::reading::Reading;
use crate::report::spec;
use crate::stats::Interval;
use crate::stats::WinRate;
use crate::stats::several;
use crate::tally::Tally;

/// The share of segments called better or worse that may be called so without reason.
const FALSE_DISCOVERIES: f64 = 0.10;

/// The largest exponent that is told apart from an endless one.
const MOST_LN: f64 = 700.0;

/// A part of the requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SegmentView {
    /// `route`, `tools`, `prompt_length`, `language` or `tenant`.
    pub dimension: String,
    /// Which.
    pub value: String,
    /// Pairs of it.
    pub pairs: u64,
    /// The win rate in it; each interval for itself is valid at every look.
    pub win_rate: Rate,
    /// The candidate is better here; of all that are called better or worse, at most one in ten is
    /// expected to be so without reason.
    pub better: bool,
    /// The candidate is worse here.
    pub worse: bool,
}

/// All segments of all candidates, by candidate.
pub fn segments(
    experiment: &Experiment,
    tallies: &BTreeMap<String, Tally>,
    readings: &BTreeMap<&String, Reading>,
) -> BTreeMap<String, Vec<SegmentView>> {
    let alpha = spec(experiment).alpha;
    let all = || {
        readings.iter().flat_map(|(name, reading)| {
            let segments = tallies.get(*name).into_iter().flat_map(|tally| tally.segments.iter());
            segments.map(move |segment| (*name, reading, segment))
        })
    };
    // Both sides of each segment are claims of their own.
    let evidence: Vec<f64> =
        all().flat_map(|(_, reading, (.., scores))| e_values(scores, reading)).collect();
    let found = several::e_bh(&evidence, FALSE_DISCOVERIES);
    let mut views: BTreeMap<String, Vec<SegmentView>> = BTreeMap::new();
    for ((name, reading, (dimension, value, scores)), found) in all().zip(found.chunks(2)) {
        let Reading { sample, discount, .. } = *reading;
        let seen = scores.interval_discounted(alpha, discount).of_sample(sample);
        let Interval { lower, upper } = seen;
        let estimate = scores.estimate().map(|mean| reading::of_all(mean, sample));
        let standard_error = scores.standard_error().map(|error| error / sample);
        views.entry(name.clone()).or_default().push(SegmentView {
            dimension: dimension.to_owned(),
            value: value.to_owned(),
            pairs: scores.pairs(),
            win_rate: Rate { estimate, standard_error, lower, upper },
            better: found.first().copied().unwrap_or(false),
            worse: found.last().copied().unwrap_or(false),
        });
    }
    views
}

/// The evidence that a segment's win rate is above 1/2, and that it is below; that of pairs of the
/// same units is discounted.
fn e_values(scores: &WinRate, reading: &Reading) -> [f64; 2] {
    let sides = scores.ln_e_sides(0.5, reading.discount);
    [sides.above, sides.below].map(|ln| ln.min(MOST_LN).exp())
}
