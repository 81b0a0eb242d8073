//! Reads how an experiment scores pairs, when it stops and what must not get worse.

use super::Known;
use super::nearest;
use super::read::Section;
use super::read::join;
use super::read::quote;
use super::settings;
use super::value;
use crate::compare::COMPARATORS;
use crate::compare::Comparator;
use crate::experiment::Decide;
use crate::experiment::Evaluate;
use crate::experiment::Judge;
use crate::experiment::Variant;
use crate::stats::rule::Goal;

const GOALS: &[(&str, Goal)] = &[
    ("equivalent", Goal::Equivalent),
    ("non_inferior", Goal::NonInferior),
    ("superior", Goal::Superior),
];

/// What a decision may be about.
const METRICS: &[(&str, ())] = &[("win_rate", ())];

/// How the limit of a guardrail may be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// A share from 0 to 1, for which a difference makes sense.
    Rate,
    /// A quantity, for which only a ratio makes sense.
    Quantity,
}

/// Every metric a guardrail may watch, sorted by name.
const GUARDRAILS: &[(&str, Scale)] = &[
    ("cost_per_request", Scale::Quantity),
    ("error_rate", Scale::Rate),
    ("latency_p50", Scale::Quantity),
    ("latency_p95", Scale::Quantity),
    ("latency_p99", Scale::Quantity),
    ("ttft_p50", Scale::Quantity),
    ("ttft_p95", Scale::Quantity),
    ("ttft_p99", Scale::Quantity),
];

/// Reads `evaluate`; `tested` are the variants that a judge must not be.
pub fn evaluate(s: &mut Section<'_, '_, '_>, known: &Known, tested: &[&Variant]) -> Evaluate {
    let mut evaluate =
        Evaluate { comparators: vec![Comparator::Exact], judge: None, budget_usd: None };
    s.section("evaluate", |s| {
        let has_comparators = comparators(s, &mut evaluate.comparators);
        evaluate.judge = judge(s, known, tested);
        evaluate.budget_usd = s.take("budget_usd", value::above(0.0, "write for example 25"));
        let has_judge = s.key_at("judge").is_some();
        if !has_judge && !has_comparators {
            let help = "add a judge, or comparators such as [exact, json]";
            s.reader.problem(s.at, "nothing scores the pairs of this experiment", help);
        }
        if let (false, Some(at)) = (has_judge, s.key_at("budget_usd")) {
            let what = "`evaluate.budget_usd` has no effect without a judge";
            s.reader.warn(at, what, "add a judge or remove the budget");
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

fn judge(s: &mut Section<'_, '_, '_>, known: &Known, tested: &[&Variant]) -> Option<Judge> {
    let judge = s.section("judge", |s| {
        let target = s.need("target", "write for example target: openai/gpt-4o-mini");
        let target = target.and_then(|node| {
            let target = settings::target(s.reader, node, "evaluate.judge.target", known)?;
            let served = tested.iter().find(|variant| variant.target == target);
            if let Some(variant) = served {
                let what =
                    format!("the judge `{target}` is itself under test as `{}`", variant.name);
                let help = "choose a model that serves no variant: judges favour their own answers";
                s.reader.problem(node.start, what, help);
            }
            Some(target)
        });
        let criteria = s.take("criteria", value::text).unwrap_or_default();
        let mut both_orders = true;
        s.set("both_orders", &mut both_orders, value::boolean);
        Some(Judge { target: target?, criteria, both_orders })
    });
    judge.flatten()
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

/// Checks `guardrails` in full but keeps nothing, because nothing acts on them yet.
pub fn guardrails(s: &mut Section<'_, '_, '_>) {
    let Some(node) = s.find("guardrails") else { return };
    for (key, node) in s.reader.entries(node, "guardrails").unwrap_or_default() {
        match GUARDRAILS.iter().find(|(name, _)| *name == key.name) {
            Some((name, scale)) => {
                s.reader.section(node, &join("guardrails", name), |s| guardrail(s, name, *scale));
            }
            None => {
                let what = format!("{} is not a metric that guardrails watch", quote(&key.name));
                let names = GUARDRAILS.iter().map(|(name, _)| *name);
                s.reader.problem(key.start, what, nearest::suggest(&key.name, names));
            }
        }
    }
    if let Some(at) = s.key_at("guardrails") {
        let what = "`guardrails` are not enforced by this version: nothing stops a candidate";
        s.reader.warn(at, what, "watch these metrics yourself, or remove `guardrails`");
    }
}

fn guardrail(s: &mut Section<'_, '_, '_>, name: &str, scale: Scale) {
    s.take("max_increase", value::portion(1.0));
    s.take("max_ratio", value::above(1.0, "write for example 1.25, a quarter more"));
    let increase = s.key_at("max_increase");
    if let (Some(at), Scale::Quantity) = (increase, scale) {
        let what = format!("`guardrails.{name}` is not a rate, so it has no `max_increase`");
        s.reader.problem(at, what, "write for example max_ratio: 1.25");
        return;
    }
    let given = usize::from(increase.is_some()) + usize::from(s.key_at("max_ratio").is_some());
    if given != 1 {
        let what = format!("`guardrails.{name}` needs one limit and has {given}");
        s.reader.problem(s.at, what, "write max_increase: 1% or max_ratio: 1.25");
    }
}
