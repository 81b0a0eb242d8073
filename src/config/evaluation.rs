//! Reads how an experiment scores pairs and when it stops.

use super::Known;
use super::audit;
use super::enrolment;
use super::judge;
use super::judge::MAX_JUDGES;
use super::read::Section;
use super::value;
use crate::compare::COMPARATORS;
use crate::compare::Comparator;
use crate::experiment::Decide;
use crate::experiment::Evaluate;
use crate::experiment::Judges;
use crate::experiment::Variant;
use crate::stats::rule::Goal;

/// What a decision may be for.
pub const GOALS: &[(&str, Goal)] = &[
    ("equivalent", Goal::Equivalent),
    ("non_inferior", Goal::NonInferior),
    ("superior", Goal::Superior),
];

/// What a decision may be about.
pub const METRICS: &[(&str, ())] = &[("win_rate", ())];

/// Keys that say something of a judge.
const JUDGES_ONLY: [(&str, &str); 6] = [
    ("audit", "it"),
    ("budget_usd", "the budget"),
    ("concurrency", "it"),
    ("daily_usd", "the budget"),
    ("quorum", "it"),
    ("sample", "it"),
];

/// Reads `evaluate`; `tested` are the variants that a judge must not be.
pub fn evaluate(s: &mut Section<'_, '_, '_>, known: &Known, tested: &[&Variant]) -> Evaluate {
    let mut evaluate = Evaluate::default();
    s.section("evaluate", |s| {
        let has_comparators = comparators(s, &mut evaluate.comparators);
        evaluate.judge = judge::judges(s, known, tested).unwrap_or(Judges::Nobody);
        s.set("sample", &mut evaluate.sample, enrolment::some);
        let (most, help) = (evaluate.judges().len().max(1), value::count(1, MAX_JUDGES as u64));
        evaluate.quorum = s.take("quorum", help).map(|n| n as usize);
        if let (Some(at), true) = (s.key_at("quorum"), evaluate.quorum.is_some_and(|n| n > most)) {
            let what =
                format!("`evaluate.quorum` asks for more verdicts than there are judges ({most})");
            s.reader.problem(at, what, "lower it or add a judge");
        }
        evaluate.budget_usd = s.take("budget_usd", value::above(0.0, "write for example 25"));
        evaluate.daily_usd = s.take("daily_usd", value::above(0.0, "write for example 5"));
        evaluate.concurrency = s.take("concurrency", value::places);
        audit::limits(s, &mut evaluate.audit);
        let has_judge = s.key_at("judge").is_some();
        if !has_judge && !has_comparators {
            let help = "add a judge, or comparators such as [exact, json]";
            s.reader.problem(s.at, "nothing scores the pairs of this experiment", help);
        }
        for (key, thing) in JUDGES_ONLY {
            if let (false, Some(at)) = (has_judge, s.key_at(key)) {
                let what = format!("`evaluate.{key}` has no effect without a judge");
                s.reader.warn(at, what, format!("add a judge or remove {thing}"));
            }
        }
    });
    evaluate
}

/// Overwrites the default; says whether any comparator is named, rightly or not.
fn comparators(s: &mut Section<'_, '_, '_>, into: &mut Vec<Comparator>) -> bool {
    let Some(node) = s.find("comparators") else { return true };
    let Some(nodes) = s.reader.items(node, "evaluate.comparators") else { return true };
    into.clear();
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("evaluate.comparators[{index}]");
        let read = value::choice(COMPARATORS);
        let Some(comparator) = s.reader.value(node, &path, read) else { continue };
        if into.contains(&comparator) {
            let what = format!("the comparator `{}` is here twice", comparator.name());
            s.reader.problem(node.start, what, "keep one of them");
            continue;
        }
        into.push(comparator);
    }
    !nodes.is_empty()
}

/// Reads `decide`.
pub fn decide(s: &mut Section<'_, '_, '_>) -> Decide {
    let mut decide = Decide {
        goal: Goal::NonInferior,
        margin: 0.03,
        alpha: 0.05,
        min_pairs: 50,
        max_pairs: 10_000,
    };
    s.section("decide", |s| {
        s.take("metric", value::choice(METRICS));
        s.set("goal", &mut decide.goal, value::choice(GOALS));
        // A win rate cannot differ from 1/2 by more than 1/2.
        s.set("margin", &mut decide.margin, value::portion(0.5));
        s.set("alpha", &mut decide.alpha, value::portion(0.5));
        s.set("min_pairs", &mut decide.min_pairs, value::count(1, 1_000_000_000));
        s.set("max_pairs", &mut decide.max_pairs, value::count(1, 1_000_000_000));
        let at = s.key_at("max_pairs").or_else(|| s.key_at("min_pairs"));
        if let (Some(at), true) = (at, decide.max_pairs < decide.min_pairs) {
            let (most, least) = (decide.max_pairs, decide.min_pairs);
            let what = format!("`max_pairs` ({most}) is below `min_pairs` ({least})");
            s.reader.problem(at, what, "raise max_pairs or lower min_pairs");
        }
    });
    decide
}
