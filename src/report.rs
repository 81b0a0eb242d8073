//! An experiment's state as people and programs read it: the verdict first, then the numbers.

pub mod candidate;
pub mod drift;
pub mod hygiene;
pub mod next;
pub mod reading;
mod routing;
mod segment;
mod sentence;
pub mod words;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::audit;
use crate::audit::Evidence;
use crate::audit::Row;
use crate::audit::Subject;
use crate::experiment::Experiment;
use crate::experiment::Overruled;
use crate::experiment::State;
use crate::forecast::outlook::Outlook;
use crate::guard::View;
use crate::report::hygiene::CopiesView;
use crate::report::hygiene::ExposuresView;
use crate::report::hygiene::NoiseView;
use crate::report::hygiene::OpinionView;
use crate::report::next::Next;
use crate::report::reading::Reading;
use crate::stats::Interval;
use crate::stats::Reason;
use crate::stats::Spec;
use crate::stats::Swap;
use crate::stats::Verdict;
use crate::stats::rule;
use crate::tally::Funnel;
use crate::tally::JudgeTally;
use crate::tally::Tally;

pub use crate::report::candidate::CandidateView;
pub use crate::report::candidate::Rate;
pub use crate::report::candidate::Remaining;
pub use crate::report::segment::SegmentView;

/// One experiment, now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its name.
    pub experiment: String,
    /// Where it stands: draft, running, paused, stopped or decided.
    #[serde(default)]
    pub state: State,
    /// Counts the definitions whose results are kept apart, from 1.
    #[serde(default = "first")]
    pub epoch: u32,
    /// Sidecars whose counts are in it.
    #[serde(default = "alone")]
    pub replicas: usize,
    /// Candidates for whom control answers, because a guardrail or a person stopped them.
    #[serde(default)]
    pub halted: Vec<String>,
    /// What its authors want to know.
    pub question: String,
    /// The best verdict of any candidate.
    pub verdict: Verdict,
    /// A short stable word for why.
    pub reason: String,
    /// The verdict in one sentence.
    pub summary: String,
    /// What was asked for.
    pub goal: GoalView,
    /// Who answers now.
    pub control: String,
    /// By name.
    pub candidates: BTreeMap<String, CandidateView>,
    /// Definitions to paste, when a candidate is better for some requests only.
    #[serde(default)]
    pub routing: Option<String>,
    /// From matched requests to scores.
    pub funnel: Funnel,
    /// What stops a candidate when it gets worse, by candidate; filled in by who shows it.
    pub guardrails: BTreeMap<String, Vec<View>>,
    /// The evaluator, if there is one.
    pub judge: Option<JudgeView>,
    /// Known cost of judging, dollars; `null` when no price is known.
    pub cost_usd: Option<f64>,
    /// Who met what.
    #[serde(default)]
    pub exposures: ExposuresView,
    /// Control against itself, if it is asked again.
    #[serde(default)]
    pub noise: Option<NoiseView>,
    /// What copies cost.
    #[serde(default)]
    pub copies: CopiesView,
    /// What people said, by variant.
    #[serde(default)]
    pub feedback: BTreeMap<String, OpinionView>,
    /// What a person should know before believing the numbers.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What a person decided against or without the verdict.
    #[serde(default)]
    pub overruled: Option<Overruled>,
    /// What is still to come; filled in by who shows it.
    #[serde(default)]
    pub outlook: Option<Outlook>,
    /// What to do; filled in by who shows it.
    #[serde(default)]
    pub next: Next,
}

fn first() -> u32 {
    1
}

fn alone() -> usize {
    1
}

/// The goal in numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoalView {
    /// What decides.
    pub metric: String,
    /// `superior`, `non_inferior` or `equivalent`.
    pub goal: rule::Goal,
    /// As a difference of win rates.
    pub margin: f64,
    /// Two-sided, before it is shared among candidates.
    pub alpha: f64,
    /// The least pairs before any verdict.
    pub min_pairs: u64,
    /// The most pairs.
    pub max_pairs: u64,
}

/// The evaluator and how it behaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JudgeView {
    /// Who judges.
    pub target: String,
    /// Over all candidates, by name.
    pub by_candidate: BTreeMap<String, Behaviour>,
    /// Whether it can be believed.
    #[serde(default)]
    pub audit: Vec<Row>,
}

/// How the judge behaved with the pairs of one candidate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Behaviour {
    /// Pairs it scored.
    pub pairs: u64,
    /// Calls made.
    pub calls: u64,
    /// Pairs asked in both orders.
    pub both_orders: u64,
    /// Of those, pairs where the two verdicts name different winners.
    pub contradictions: u64,
    /// Pairs by the verdict with control's answer first (rows) and with the candidate's first
    /// (columns): control, tie, candidate.
    pub swap: Swap,
    /// Questions asked twice.
    pub repeats: u64,
    /// Mean probability given to whatever was shown first; 0.5 is fair.
    pub first_shown: Option<f64>,
    /// Cost of the calls whose price is known, billionths of a dollar.
    pub cost_nano_usd: u64,
    /// Pairs whose calls have no known price.
    pub unpriced: u64,
}

/// What a report is made from.
#[derive(Clone, Copy)]
pub struct Counted<'a> {
    /// From matched requests to scores.
    pub funnel: &'a Funnel,
    /// By candidate.
    pub tallies: &'a BTreeMap<String, Tally>,
    /// Control against itself.
    pub again: Option<&'a Tally>,
    /// Candidates that have broken a guardrail.
    pub broken: &'a [String],
}

/// How much of a report is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The verdict and what it rests on.
    Verdict,
    /// Segments, costs and lengths, too, which takes longer.
    Full,
}

/// Puts the report together from the definition and what was counted.
pub fn report(experiment: &Experiment, counted: Counted<'_>, detail: Detail) -> Report {
    let none = Tally::default();
    let tally = |name: &str| counted.tallies.get(name).unwrap_or(&none);
    let names = || experiment.candidates.iter().map(|candidate| &candidate.variant.name);
    let readings: BTreeMap<&String, Reading> =
        names().map(|name| (name, Reading::of(experiment, tally(name)))).collect();
    let audit = audited(experiment, &counted, &readings);
    let mut segments = match detail {
        Detail::Full => segment::segments(experiment, counted.tallies, &readings),
        Detail::Verdict => BTreeMap::new(),
    };
    let mut candidates = BTreeMap::new();
    for candidate in &experiment.candidates {
        let name = &candidate.variant.name;
        let Some(reading) = readings.get(name) else { continue };
        let failed = failure(&audit, name);
        let is_broken = counted.broken.contains(name);
        let target = candidate.variant.target.to_string();
        let mut view = candidate::view(experiment, target, tally(name), reading);
        candidate::settle(&mut view, failed, is_broken, &spec(experiment));
        view.segments = segments.remove(name).unwrap_or_default();
        if detail == Detail::Full {
            candidate::compare(&mut view, tally(name), spec(experiment).alpha);
        }
        candidates.insert(name.clone(), view);
    }
    assemble(experiment, counted, candidates, audit)
}

fn assemble(
    experiment: &Experiment,
    counted: Counted<'_>,
    candidates: BTreeMap<String, CandidateView>,
    audit: Vec<Row>,
) -> Report {
    let (verdict, reason, best) = overall(&candidates);
    // A verdict that was given stays, whatever late pairs say.
    let given = experiment.standing.overruled.as_ref().map(|overruled| overruled.instead_of);
    let verdict = given.or(experiment.standing.verdict).unwrap_or(verdict);
    let best = best.and_then(|name| candidates.get_key_value(&name));
    let summary = sentence::summary(experiment, verdict, &reason, best, &audit);
    let names = experiment.evaluate.judge_names();
    let judge = (!names.is_empty()).then(|| JudgeView {
        target: names.join(", "),
        by_candidate: counted.tallies.iter().map(|(k, t)| (k.clone(), (&t.judge).into())).collect(),
        audit,
    });
    let decide = &experiment.decide;
    let judges = || counted.tallies.values().map(|tally| &tally.judge);
    let cost: u64 = judges().map(|judge| judge.cost_nano_usd).sum();
    Report {
        experiment: experiment.name.clone(),
        state: experiment.standing.state,
        epoch: experiment.standing.epoch,
        replicas: 1,
        halted: experiment.standing.halted.clone(),
        question: experiment.question.clone(),
        verdict,
        reason,
        summary,
        goal: GoalView {
            metric: "win_rate".to_owned(),
            goal: decide.goal,
            margin: decide.margin,
            alpha: decide.alpha,
            min_pairs: decide.min_pairs,
            max_pairs: decide.max_pairs,
        },
        control: experiment.control.target.to_string(),
        routing: routing::routing(experiment, &candidates),
        candidates,
        funnel: counted.funnel.clone(),
        guardrails: BTreeMap::new(),
        judge,
        cost_usd: judges().all(|judge| judge.unpriced == 0).then_some(cost as f64 / 1e9),
        exposures: ExposuresView::default(),
        noise: None,
        copies: CopiesView::default(),
        feedback: BTreeMap::new(),
        warnings: Vec::new(),
        overruled: experiment.standing.overruled.clone(),
        outlook: None,
        next: Next::default(),
    }
}

/// Puts a person's decision in the place of the verdict, and says so.
pub fn overrule(report: &mut Report) {
    let Some(overruled) = &report.overruled else { return };
    let why = match overruled.why.trim_end_matches('.') {
        "" => "no reason was given".to_owned(),
        why => why.to_owned(),
    };
    report.summary = format!(
        "A person decided {} where the evidence said {}: {why}. The evidence: {}",
        overruled.verdict, overruled.instead_of, report.summary
    );
    report.verdict = overruled.verdict;
    report.reason = "overruled".to_owned();
}

/// What the rules need; each of several candidates gets its share of alpha (Bonferroni).
pub fn spec(experiment: &Experiment) -> Spec {
    let decide = &experiment.decide;
    Spec {
        goal: decide.goal,
        margin: decide.margin,
        alpha: decide.alpha / experiment.candidates.len().max(1) as f64,
        min_pairs: decide.min_pairs,
        max_pairs: decide.max_pairs,
    }
}

/// Every check of the judge, then those of each candidate's pairs; none without a judge.
fn audited(
    experiment: &Experiment,
    counted: &Counted<'_>,
    readings: &BTreeMap<&String, Reading>,
) -> Vec<Row> {
    if experiment.evaluate.judges().is_empty() {
        return Vec::new();
    }
    let mut together = Tally::default();
    for tally in counted.tallies.values() {
        together.judge.merge(&tally.judge);
        together.human.merge(&tally.human);
    }
    let alpha = audit::share_of(experiment.decide.alpha);
    let none = Tally::default();
    let evidence = Evidence {
        tally: &together,
        again: counted.again,
        win_rate: Interval::ALL,
        limits: &experiment.evaluate.audit,
        alpha,
    };
    let mut rows = audit::audit(Subject::Judge, &evidence, None);
    for (name, reading) in readings {
        let tally = counted.tallies.get(*name).unwrap_or(&none);
        let evidence = Evidence { tally, win_rate: reading.judged, ..evidence };
        rows.extend(audit::audit(Subject::Candidate, &evidence, Some(name)));
    }
    rows
}

/// The check that a candidate's verdict fails by, if any does.
fn failure<'r>(audit: &'r [Row], candidate: &str) -> Option<&'r Row> {
    let concerns = |row: &&Row| row.candidate.as_ref().is_none_or(|name| name == candidate);
    audit.iter().filter(concerns).find(|row| row.state == audit::State::Fail)
}

/// The best that any candidate reached; among those that may ship, the highest lower end.
fn overall(candidates: &BTreeMap<String, CandidateView>) -> (Verdict, String, Option<String>) {
    let rank = |verdict| match verdict {
        Verdict::Review => 5,
        Verdict::Ship => 4,
        Verdict::Equivalent => 3,
        Verdict::KeepRunning => 2,
        Verdict::DoNotShip => 1,
    };
    let best = candidates.iter().max_by(|(_, a), (_, b)| {
        let lower = a.win_rate.lower.total_cmp(&b.win_rate.lower);
        rank(a.verdict).cmp(&rank(b.verdict)).then(lower)
    });
    match best {
        Some((name, view)) => (view.verdict, view.reason.clone(), Some(name.clone())),
        None => (Verdict::KeepRunning, Reason::Collecting.to_string(), None),
    }
}

impl From<&JudgeTally> for Behaviour {
    fn from(tally: &JudgeTally) -> Self {
        Self {
            pairs: tally.pairs,
            calls: tally.calls,
            both_orders: tally.swap.pairs(),
            contradictions: tally.contradictions(),
            swap: tally.swap,
            repeats: tally.repeats.pairs(),
            first_shown: tally.first_shown.estimate(),
            cost_nano_usd: tally.cost_nano_usd,
            unpriced: tally.unpriced,
        }
    }
}
