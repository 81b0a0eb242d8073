//! An experiment's state as people and programs read it: the verdict first, then the numbers.

pub mod drift;
pub mod hygiene;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::experiment::State;
use crate::guard::View;
use crate::report::hygiene::CopiesView;
use crate::report::hygiene::ExposuresView;
use crate::report::hygiene::NoiseView;
use crate::report::hygiene::OpinionView;
use crate::stats::Interval;
use crate::stats::Reason;
use crate::stats::Spec;
use crate::stats::Verdict;
use crate::stats::plan;
use crate::stats::rule;
use crate::tally::Funnel;
use crate::tally::JudgeTally;
use crate::tally::Tally;

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
}

fn first() -> u32 {
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

/// One candidate's evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CandidateView {
    /// Who it is.
    pub target: String,
    /// What follows from its pairs.
    pub verdict: Verdict,
    /// A short stable word for why.
    pub reason: Reason,
    /// Scored pairs.
    pub pairs: u64,
    /// P(win) + P(tie)/2 with its interval, valid at every look.
    pub win_rate: Rate,
    /// Pairs it won.
    pub wins: u64,
    /// Pairs neither won.
    pub ties: u64,
    /// Pairs it lost.
    pub losses: u64,
    /// Of the ties, those found by a comparator.
    pub equal: u64,
    /// Pairs without a usable verdict, by reason.
    pub unjudged: BTreeMap<String, u64>,
    /// Pairs still expected: half of such experiments end before `n50`, four of five before `n80`.
    pub remaining: Option<Remaining>,
}

/// An estimate with its interval.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// `null` before the first pair.
    pub estimate: Option<f64>,
    /// Of the mean, at one look; `null` before the second pair.
    pub standard_error: Option<f64>,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Pairs still expected.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Remaining {
    /// In half of such experiments.
    pub n50: u64,
    /// In four of five.
    pub n80: u64,
}

/// The evaluator and how it behaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JudgeView {
    /// Who judges.
    pub target: String,
    /// Over all candidates, by name.
    pub by_candidate: BTreeMap<String, JudgeTally>,
}

/// Puts the report together from the definition and what was counted.
pub fn report(
    experiment: &Experiment,
    funnel: Funnel,
    tallies: &BTreeMap<String, Tally>,
) -> Report {
    let none = Tally::default();
    let tally = |name: &str| tallies.get(name).unwrap_or(&none);
    let candidates: BTreeMap<String, CandidateView> = experiment
        .candidates
        .iter()
        .map(|candidate| {
            let name = &candidate.variant.name;
            let target = candidate.variant.target.to_string();
            (name.clone(), candidate_view(experiment, target, tally(name)))
        })
        .collect();
    let (verdict, reason, best) = overall(&candidates);
    // A verdict that was given stays, whatever late pairs say.
    let verdict = experiment.standing.verdict.unwrap_or(verdict);
    let judge = experiment.evaluate.judge.as_ref().map(|judge| JudgeView {
        target: judge.target.to_string(),
        by_candidate: tallies.iter().map(|(k, t)| (k.clone(), t.judge.clone())).collect(),
    });
    let priced = tallies.values().all(|tally| tally.judge.unpriced == 0);
    let cost: u64 = tallies.values().map(|tally| tally.judge.cost_nano_usd).sum();
    Report {
        experiment: experiment.name.clone(),
        state: experiment.standing.state,
        epoch: experiment.standing.epoch,
        halted: experiment.standing.halted.clone(),
        question: experiment.question.clone(),
        verdict,
        reason: reason.to_string(),
        summary: summary(
            experiment,
            verdict,
            reason,
            best.and_then(|name| candidates.get_key_value(name)),
        ),
        goal: GoalView {
            metric: "win_rate".to_owned(),
            goal: experiment.decide.goal,
            margin: experiment.decide.margin,
            alpha: experiment.decide.alpha,
            min_pairs: experiment.decide.min_pairs,
            max_pairs: experiment.decide.max_pairs,
        },
        control: experiment.control.target.to_string(),
        funnel,
        guardrails: BTreeMap::new(),
        judge,
        cost_usd: priced.then_some(cost as f64 / 1e9),
        candidates: candidates.clone(),
        exposures: ExposuresView::default(),
        noise: None,
        copies: CopiesView::default(),
        feedback: BTreeMap::new(),
        warnings: Vec::new(),
    }
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

fn candidate_view(experiment: &Experiment, target: String, tally: &Tally) -> CandidateView {
    let spec = spec(experiment);
    let summary = &tally.win_rate;
    let decision = rule::rule_for(spec.goal).decide(summary, &spec);
    let Interval { lower, upper } = summary.interval(spec.alpha);
    let (estimate, standard_error) = (summary.estimate(), summary.standard_error());
    let remaining = (decision.verdict == Verdict::KeepRunning)
        .then(|| plan::remaining(summary, &spec))
        .flatten()
        .map(|pairs| Remaining { n50: pairs.n50, n80: pairs.n80 });
    CandidateView {
        target,
        verdict: decision.verdict,
        reason: decision.reason,
        pairs: summary.pairs(),
        win_rate: Rate { estimate, standard_error, lower, upper },
        wins: summary.wins(),
        ties: summary.ties(),
        losses: summary.losses(),
        equal: tally.equal,
        unjudged: tally.unjudged.clone(),
        remaining,
    }
}

/// The best that any candidate reached; among those that may ship, the highest lower end.
fn overall(candidates: &BTreeMap<String, CandidateView>) -> (Verdict, Reason, Option<&String>) {
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
        Some((name, view)) => (view.verdict, view.reason, Some(name)),
        None => (Verdict::KeepRunning, Reason::Collecting, None),
    }
}

fn summary(
    experiment: &Experiment,
    verdict: Verdict,
    reason: Reason,
    best: Option<(&String, &CandidateView)>,
) -> String {
    let Some((name, view)) = best else { return "no candidate is defined".to_owned() };
    let margin = experiment.decide.margin * 100.0;
    let rate = match view.win_rate.estimate {
        None => "no pair is scored yet".to_owned(),
        Some(estimate) => format!(
            "it wins {:.1} % of {} pairs ({:.1} to {:.1} %; 50 % is even)",
            estimate * 100.0,
            view.pairs,
            view.win_rate.lower * 100.0,
            view.win_rate.upper * 100.0
        ),
    };
    let (candidate, control) = (format!("{name} ({})", view.target), &experiment.control.target);
    match (verdict, reason) {
        (Verdict::Ship, Reason::NotWorse) => {
            format!("Ship {candidate}: not worse than {control} by {margin} points; {rate}.")
        }
        (Verdict::Ship, _) => format!("Ship {candidate}: better than {control}; {rate}."),
        (Verdict::DoNotShip, Reason::BudgetExhausted) => {
            format!("Do not ship {candidate}: the pairs ran out before the goal was shown; {rate}.")
        }
        (Verdict::DoNotShip, _) => {
            format!("Do not ship {candidate}: worse than {control}; {rate}.")
        }
        (Verdict::Equivalent, _) => {
            format!("{candidate} and {control} are equivalent within {margin} points; {rate}.")
        }
        (Verdict::Review, _) => format!("A person must look at {candidate}; {rate}."),
        (Verdict::KeepRunning, _) => match view.remaining {
            Some(left) => format!(
                "Keep running {candidate}: some {} to {} more pairs are expected; {rate}.",
                left.n50, left.n80
            ),
            None => format!("Keep running {candidate}: too early to tell; {rate}."),
        },
    }
}
