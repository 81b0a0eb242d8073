//! What to do next: one sentence for each verdict and reason, and the YAML where there is some.

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::experiment::State;
use crate::forecast::outlook::Outlook;
use crate::guard::Health;
use crate::guard::View;
use crate::report::CandidateView;
use crate::report::Report;
use crate::report::words;
use crate::stats::Verdict;

/// What a person does next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Next {
    /// In one sentence.
    pub say: String,
    /// What goes into understudy.yaml, where the candidate may take over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yaml: Option<String>,
}

/// What follows from a report that is complete but for this.
pub fn next(report: &Report, experiment: &Experiment) -> Next {
    let best = best(report);
    let say = match (report.verdict, best) {
        (Verdict::Ship, Some((name, view))) => {
            let say = format!(
                "Let {name} ({}) answer: put this into understudy.yaml, and keep an experiment \
                 with a small `split` on it for a while, so that guardrails watch real users.{}",
                view.target,
                unproven(report, name)
            );
            return Next { say, yaml: Some(route(experiment, &view.target)) };
        }
        (Verdict::Equivalent, Some((name, view))) => {
            let say = format!(
                "Take whichever is cheaper or faster: this lets {name} ({}) answer; leave \
                 understudy.yaml as it is to stay with {}.",
                view.target, report.control
            );
            return Next { say, yaml: Some(route(experiment, &view.target)) };
        }
        (Verdict::DoNotShip, _) => stay(report),
        (Verdict::Review, _) => look(report),
        (Verdict::KeepRunning, _) => wait(report),
        (Verdict::Ship | Verdict::Equivalent, None) => String::new(),
    };
    match &report.routing {
        Some(yaml) if report.verdict != Verdict::Review => Next {
            say: format!("{say} It is better on some requests only: this sends it those."),
            yaml: Some(yaml.clone()),
        },
        _ => Next { say, yaml: None },
    }
}

/// The candidate that the report's verdict is about.
pub fn best(report: &Report) -> Option<(&String, &CandidateView)> {
    let views = || report.candidates.iter();
    let same = views().filter(|(_, view)| view.verdict == report.verdict);
    let lower = |view: &CandidateView| view.win_rate.lower;
    let of = |a: &(&String, &CandidateView), b: &(&String, &CandidateView)| {
        lower(a.1).total_cmp(&lower(b.1))
    };
    same.max_by(of).or_else(|| views().max_by(of))
}

fn route(experiment: &Experiment, target: &str) -> String {
    let control = experiment.control.target.to_string();
    match &experiment.matches.route {
        // A target asked for by its own name needs a route with a name to be moved.
        Some(route) if !route.contains('/') => format!(
            "routes:\n  {}:\n    # the second answers if the first fails\n    targets: [{}, {}]\n",
            quoted(route),
            quoted(target),
            quoted(&control)
        ),
        _ => format!(
            "routes:\n  # applications ask for this name instead of {control}\n  my-route:\n    \
             # the second answers if the first fails\n    targets: [{}, {}]\n",
            quoted(target),
            quoted(&control)
        ),
    }
}

/// As YAML reads it in a flow sequence.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./@".contains(c);
    let begins = word.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    match begins && word.chars().all(is_plain) && !matches!(word, "on" | "off" | "yes" | "no") {
        true => word.to_owned(),
        false => serde_json::Value::String(word.to_owned()).to_string(),
    }
}

fn stay(report: &Report) -> String {
    let control = &report.control;
    let broken = broken(report).map(|(name, rail)| format!("{name} broke {}", rail.metric));
    match (report.reason.as_str(), broken) {
        ("budget_exhausted", _) => format!(
            "Stay with {control}: {} pairs were not enough to show the goal, so a new experiment \
             needs a larger `margin` or `max_pairs`; see `understudy experiment plan {}`.",
            report.goal.max_pairs, report.experiment
        ),
        (_, Some(broken)) => format!(
            "Stay with {control}: {broken}, so look at its answers with `understudy cache ls \
             --experiment {}` before you try it again.",
            report.experiment
        ),
        _ => format!(
            "Stay with {control}: read some pairs that the candidate lost, and change its prompt \
             or model before you ask again."
        ),
    }
}

/// The first guardrail that a candidate has broken.
fn broken(report: &Report) -> Option<(&String, &View)> {
    let rails = report.guardrails.iter();
    let mut rails = rails.flat_map(|(name, rails)| rails.iter().map(move |rail| (name, rail)));
    rails.find(|(_, rail)| rail.health == Health::Breached)
}

/// What the answers that users got have not shown yet: a verdict on pairs says nothing of it.
fn unproven(report: &Report, candidate: &str) -> String {
    let is_open = |rail: &&View| rail.bounds.upper.is_none_or(|upper| upper >= rail.limit);
    let rails = report.guardrails.get(candidate).map(Vec::as_slice).unwrap_or_default();
    let open: Vec<&str> = rails.iter().filter(is_open).map(|rail| rail.metric.as_str()).collect();
    match open.is_empty() {
        true => String::new(),
        false => format!(" Not shown yet on users' answers: {}.", open.join(", ")),
    }
}

fn look(report: &Report) -> String {
    let name = &report.experiment;
    match report.reason.as_str() {
        "sample_ratio_mismatch" => "Find out why units do not split as configured, such as a \
             header that some requests lack or a variant that loses requests, then begin a new \
             epoch: until then no number here means anything."
            .to_owned(),
        "order_consistency" => format!(
            "The judge changes its mind when the answers are swapped: take a stronger judge or \
             clearer criteria, or label pairs yourself with `understudy experiment label {name}`."
        ),
        "human_agreement" => format!(
            "The judge does not agree with people: read what they labelled, then change the \
             criteria or the judge, or let people decide with `understudy experiment label {name}`."
        ),
        "prompt_independence" | "injection" => "Read some of the candidate's answers: they do \
             not depend on the question or speak to the judge, so the win rate says nothing about \
             their worth."
            .to_owned(),
        "false_preference" => "The judge prefers one of two answers of the same model: do not \
             believe its verdict, and take another judge or criteria."
            .to_owned(),
        "repeat_reliability" => "The judge answers the same question differently each time: take \
             a stronger judge, a panel, or a temperature of 0."
            .to_owned(),
        "missing_verdicts" => "Too many pairs came back without a verdict: see under `judge` why, \
             and mend that first."
            .to_owned(),
        reason => format!(
            "A check failed ({reason}): look at the judge's audit and the warnings below before \
             you believe any number; a person decides with `understudy experiment override {name}`."
        ),
    }
}

fn wait(report: &Report) -> String {
    let name = &report.experiment;
    match report.state {
        State::Draft => return "Set `status: running` in its file when it shall begin.".to_owned(),
        State::Paused => return format!("Go on with `understudy experiment resume {name}`."),
        State::Stopped => {
            return format!(
                "It was stopped before its verdict: set `status` to `stopped` and back to \
                 `running` to begin again, or decide yourself with `understudy experiment override {name}`."
            );
        }
        State::Running | State::Decided => {}
    }
    let pairs: u64 = report.candidates.values().map(|view| view.pairs).sum();
    if pairs == 0 {
        return format!(
            "Send traffic and raise `traffic.shadow` if no pairs come; `understudy experiment plan {name}` \
             says how many are needed."
        );
    }
    match report.outlook.as_ref().and_then(|ahead| more(ahead, report.candidates.len())) {
        Some(more) => format!("Wait: {more} are expected, at the pace and the cost so far."),
        None => format!(
            "Wait, or state a larger margin in a new experiment: no verdict is likely within \
             max_pairs ({}).",
            words::grouped(report.goal.max_pairs)
        ),
    }
}

/// How much is still to come, in words.
fn more(ahead: &Outlook, candidates: usize) -> Option<String> {
    let pairs = ahead.pairs?;
    let each = if candidates > 1 { " of each candidate" } else { "" };
    let mut all = vec![format!("{} more pairs{each}", words::pairs(pairs))];
    all.extend(ahead.hours.map(words::time));
    all.extend(ahead.usd.map(words::dollars));
    Some(all.join(", "))
}
