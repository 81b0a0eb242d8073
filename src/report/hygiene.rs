//! The parts of a report that say whether its numbers can be believed, and what people said.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::exposure::Exposed;
use crate::exposure::Exposures;
use crate::feedback;
use crate::feedback::Opinion;
use crate::report::Rate;
use crate::report::Report;
use crate::stats::Interval;
use crate::stats::Verdict;
use crate::stats::srm::SampleRatio;
use crate::tally::Tally;

/// The word for a split that is not as configured.
const SAMPLE_RATIO: &str = "sample_ratio_mismatch";

/// Who met what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExposuresView {
    /// By variant; a unit belongs to the one that it was assigned first.
    #[serde(flatten)]
    pub variants: BTreeMap<String, Exposed>,
    /// Units whose results are mixed, by reason; they are analysed as they were assigned.
    pub contaminated: Contaminated,
    /// Chance of such a split where it is as configured, valid at every look.
    pub sample_ratio_p: Option<f64>,
    /// Requests of units beyond those that are tracked.
    pub untracked: u64,
}

/// Units that met several variants.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Contaminated {
    /// They were assigned several, because the definition changed.
    pub reconfiguration: u64,
    /// They were answered by somebody else than assigned.
    pub failover: u64,
}

/// Control against itself: what the judge's verdicts vary by when there is no difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NoiseView {
    /// Scored pairs.
    pub pairs: u64,
    /// How often the second answer wins; 0.5 but for chance.
    pub win_rate: Rate,
    /// Pairs the second answer won.
    pub wins: u64,
    /// Pairs neither won.
    pub ties: u64,
    /// Pairs the second answer lost.
    pub losses: u64,
    /// Of the ties, those found by a comparator.
    pub equal: u64,
    /// Pairs without a usable verdict, by reason.
    pub unjudged: BTreeMap<String, u64>,
}

/// What copies cost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CopiesView {
    /// Today (UTC), dollars, with what is set aside for copies under way.
    pub today_usd: f64,
    /// The most for a day.
    pub daily_usd: Option<f64>,
    /// On all days, dollars.
    pub total_usd: f64,
}

/// What people said of one variant's answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OpinionView {
    /// Answers that something was said of.
    pub answers: u64,
    /// Thumbs up.
    pub thumbs_up: u64,
    /// Thumbs down.
    pub thumbs_down: u64,
    /// Share of thumbs that are up.
    pub share_up: Option<f64>,
    /// Answers with a score, and their mean.
    pub scored: u64,
    /// Mean score, from 0 to 1.
    pub score: Option<f64>,
    /// By label.
    pub labels: BTreeMap<String, u64>,
    /// The share of thumbs up less control's, with its interval, valid at every look.
    pub thumbs_difference: Option<Rate>,
}

/// What a report is completed from.
pub struct Seen<'a> {
    /// Who met what.
    pub exposures: &'a Exposures,
    /// What people said, by variant.
    pub opinions: &'a BTreeMap<String, Opinion>,
    /// Pairs of control with itself.
    pub again: Option<&'a Tally>,
    /// What copies cost today and on all days, billionths of a dollar.
    pub copies_nano_usd: (u64, u64),
}

/// Completes a report; a split that is not as configured makes every verdict `review`.
pub fn complete(report: &mut Report, experiment: &Experiment, seen: &Seen<'_>) {
    let ratio = seen.exposures.sample_ratio(experiment);
    report.exposures = ExposuresView {
        variants: seen.exposures.variants.clone(),
        contaminated: Contaminated {
            reconfiguration: seen.exposures.reassigned,
            failover: seen.exposures.failed_over,
        },
        sample_ratio_p: ratio.map(|ratio| ratio.p),
        untracked: report.funnel.untracked,
    };
    let tally = seen.again.filter(|tally| tally.scored() > 0);
    report.noise = tally.map(|tally| noise(tally, experiment.decide.alpha));
    let (today, total) = seen.copies_nano_usd;
    report.copies = CopiesView {
        today_usd: today as f64 / 1e9,
        daily_usd: experiment.shadow_daily_usd,
        total_usd: total as f64 / 1e9,
    };
    report.feedback = opinions(experiment, seen.opinions);
    report.warnings.extend(report.funnel.tide.warning());
    if let Some(ratio) = ratio.filter(SampleRatio::alarms) {
        let what = format!(
            "units do not split as configured (p = {:.1e}): a person must find out why before any \
             number here means anything",
            ratio.p
        );
        report.verdict = Verdict::Review;
        report.reason = SAMPLE_RATIO.to_owned();
        report.routing = None;
        report.summary = format!("A person must look: {what}.");
        report.warnings.push(what);
    }
}

fn noise(tally: &Tally, alpha: f64) -> NoiseView {
    let summary = &tally.win_rate;
    let Interval { lower, upper } = summary.interval(alpha);
    let (estimate, standard_error) = (summary.estimate(), summary.standard_error());
    NoiseView {
        pairs: tally.scored(),
        win_rate: Rate { estimate, standard_error, lower, upper },
        wins: summary.wins(),
        ties: summary.ties().saturating_sub(tally.unsampled),
        losses: summary.losses(),
        equal: tally.equal,
        unjudged: tally.unjudged.clone(),
    }
}

fn opinions(
    experiment: &Experiment,
    opinions: &BTreeMap<String, Opinion>,
) -> BTreeMap<String, OpinionView> {
    let none = Opinion::default();
    let control = opinions.get(&experiment.control.name).unwrap_or(&none);
    let alpha = experiment.decide.alpha / experiment.candidates.len().max(1) as f64;
    let view = |(name, opinion): (&String, &Opinion)| {
        let is_candidate = *name != experiment.control.name;
        let thumbs_difference = is_candidate.then(|| {
            let Interval { lower, upper } = feedback::difference(control, opinion, alpha);
            let estimate = opinion.share_up().zip(control.share_up()).map(|(a, b)| a - b);
            Rate { estimate, standard_error: None, lower, upper }
        });
        let view = OpinionView {
            answers: opinion.answers,
            thumbs_up: opinion.up,
            thumbs_down: opinion.down,
            share_up: opinion.share_up(),
            scored: opinion.scored,
            score: opinion.score(),
            labels: opinion.labels.clone(),
            thumbs_difference,
        };
        (name.clone(), view)
    };
    opinions.iter().map(view).collect()
}
