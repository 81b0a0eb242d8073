//! A definition taken apart: what each of its parts says, and what a change of it means.
//!
//! The parts are what the decision log keeps, so that a process that starts tomorrow sees what was
//! changed meanwhile. Numbers are text, which reads back exactly; what may hold words of a prompt
//! is a hash.

mod evaluate;

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use crate::chat::request::Tool;
use crate::experiment::Candidate;
use crate::experiment::Decide;
use crate::experiment::Experiment;
use crate::experiment::Judges;
use crate::experiment::Layer;
use crate::experiment::Limit;
use crate::experiment::Match;
use crate::experiment::Share;
use crate::experiment::Step;
use crate::experiment::SystemChange;
use crate::experiment::Target;
use crate::experiment::Unit;
use crate::experiment::Variant;
use crate::stats::rule::Goal;

/// What a definition says, by the name of the part.
pub type Parts = BTreeMap<String, String>;

/// What has become of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It says the same.
    Same,
    /// These parts changed, and what was measured before still counts.
    Allowed(Vec<String>),
    /// Because of these parts what was measured before must not be mixed with what comes.
    NewEpoch(Vec<String>),
}

/// What a change of a part means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It says how much, how fast or how it is called, never what is compared.
    Free,
    /// It says what is compared, among whom, or by which rule.
    Epoch,
    /// A limit: it may be drawn tighter while it is watched, but not moved out of the way.
    Limit,
}

/// Everything that changes while an experiment runs without a new epoch; the rest begins one.
const FREE: &[&str] = &[
    "budget_usd",
    "concurrency",
    "daily_usd",
    "max_pairs",
    "min_pairs",
    "question",
    "traffic.again",
    "traffic.ramp",
    "traffic.shadow",
    "traffic.shadow_daily_usd",
    "traffic.step",
];

const SPLIT: &str = "traffic.split.";
const GUARDRAIL: &str = "guardrails.";

/// What changed from one definition to the next.
pub fn difference(old: &Experiment, new: &Experiment) -> Change {
    changed(&parts(old), &parts(new))
}

/// What changed between the parts of two definitions.
///
/// A part that only one of them has is a change, too.
pub fn changed(old: &Parts, new: &Parts) -> Change {
    let names: Vec<&String> =
        old.keys().chain(new.keys().filter(|n| !old.contains_key(*n))).collect();
    let differs = |name: &&&String| old.get(**name) != new.get(**name);
    let differing: Vec<&String> = names.iter().filter(differs).copied().collect();
    if differing.is_empty() {
        return Change::Same;
    }
    let breaks = |name: &&&String| !is_allowed(name, old.get(**name), new.get(**name));
    let breaking: Vec<String> = differing.iter().filter(breaks).map(|n| (**n).clone()).collect();
    match breaking.is_empty() {
        true => Change::Allowed(differing.into_iter().cloned().collect()),
        false => Change::NewEpoch(breaking),
    }
}

fn is_allowed(name: &str, old: Option<&String>, new: Option<&String>) -> bool {
    match class(name) {
        Class::Free => true,
        Class::Epoch => false,
        Class::Limit => match (old, new) {
            (None, Some(_)) => true,
            (Some(old), Some(new)) => is_tighter(old, new),
            (_, None) => false,
        },
    }
}

fn class(name: &str) -> Class {
    match name {
        _ if FREE.contains(&name) || name.starts_with(SPLIT) => Class::Free,
        _ if name.starts_with("judge.") && name.ends_with(".repeat") => Class::Free,
        _ if name.starts_with(GUARDRAIL) => Class::Limit,
        _ => Class::Epoch,
    }
}

/// Whether a limit of the same kind is lower than before.
fn is_tighter(old: &str, new: &str) -> bool {
    let read = |text: &str| {
        let (kind, limit) = text.split_once(' ')?;
        Some((kind.to_owned(), limit.parse::<f64>().ok()?))
    };
    match (read(old), read(new)) {
        (Some((old_kind, old)), Some((new_kind, new))) => old_kind == new_kind && new <= old,
        _ => false,
    }
}

/// The parts of a definition: all it says but its name, its life and how things stand.
pub fn parts(experiment: &Experiment) -> Parts {
    // Without `..`, so that a new field does not compile until it is here.
    let Experiment {
        name: _,
        question,
        salt,
        intent: _,
        standing: _,
        matches,
        layer,
        unit,
        control,
        candidates,
        ramp,
        step,
        shadow,
        again,
        shadow_daily_usd,
        guardrails,
        evaluate,
        decide,
    } = experiment;
    let mut parts = Parts::new();
    let mut put = |name: &str, text: String| {
        if !text.is_empty() {
            parts.insert(name.to_owned(), text);
        }
    };
    put("question", hash(question.as_bytes()));
    put("salt", salt.clone());
    put_matches(matches, &mut put);
    put("layer", layer.as_ref().map(layer_text).unwrap_or_default());
    put("unit", unit_text(unit));
    put_variant("control", control, &mut put);
    let order: Vec<&str> = candidates.iter().map(|c| c.variant.name.as_str()).collect();
    // The order says where each lies on the line of units.
    put("candidates", order.join(" "));
    for Candidate { variant, split } in candidates {
        put_variant(&format!("candidates.{}", variant.name), variant, &mut put);
        put(&format!("{SPLIT}{}", variant.name), split.ppm().to_string());
    }
    let shares: Vec<String> = ramp.iter().map(|share| share.ppm().to_string()).collect();
    put("traffic.ramp", shares.join(" "));
    let Step { after, requests } = step;
    put("traffic.step", format!("{} ms {requests}", after.as_millis()));
    put("traffic.shadow", shadow.ppm().to_string());
    put("traffic.again", again.ppm().to_string());
    put("traffic.shadow_daily_usd", dollars(*shadow_daily_usd));
    for guardrail in guardrails {
        let text = match guardrail.limit {
            Limit::MaxIncrease(limit) => format!("max_increase {limit}"),
            Limit::MaxRatio(limit) => format!("max_ratio {limit}"),
        };
        put(&format!("{GUARDRAIL}{}", guardrail.metric.name()), text);
    }
    evaluate::put(evaluate, &mut put);
    put_decide(decide, &mut put);
    parts
}

/// A hash of what an experiment compares, among whom and by which rule: what was measured under
/// equal ones may be put together.
pub fn essence(experiment: &Experiment) -> String {
    let mut parts = parts(experiment);
    parts.retain(|name, _| class(name) == Class::Epoch);
    digest(&parts)
}

/// A hash of everything that a definition says.
pub fn digest(parts: &Parts) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in parts.iter().flat_map(|(name, text)| [name, text]) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn put_matches(matches: &Match, put: &mut impl FnMut(&str, String)) {
    let Match { route, headers, fields, tenants, share } = matches;
    put("match.route", route.clone().unwrap_or_default());
    let mut headers: Vec<String> =
        headers.iter().map(|(n, value)| format!("{n}\n{value}")).collect();
    headers.sort();
    put("match.headers", hash(headers.join("\n").as_bytes()));
    let mut fields: Vec<String> =
        fields.iter().map(|(at, value)| format!("{at}\n{}", canonical(value))).collect();
    fields.sort();
    put("match.fields", hash(fields.join("\n").as_bytes()));
    let mut tenants = tenants.clone();
    tenants.sort();
    put("match.tenants", tenants.join(" "));
    put("match.share", share.ppm().to_string());
}

fn put_variant(at: &str, variant: &Variant, put: &mut impl FnMut(&str, String)) {
    let Variant { name: _, target, patch, system, tools } = variant;
    put(&format!("{at}.target"), target.to_string());
    let patch = (!patch.is_empty()).then(|| canonical(&Value::Object(patch.clone())));
    put(&format!("{at}.patch"), hash(patch.unwrap_or_default().as_bytes()));
    let system = system.as_ref().map(|change| match change {
        SystemChange::Replace(text) => ("replace", text),
        SystemChange::Prepend(text) => ("prepend", text),
        SystemChange::Append(text) => ("append", text),
    });
    let system = system.map(|(how, text)| format!("{how} {}", hash(format!(" {text}").as_bytes())));
    put(&format!("{at}.system"), system.unwrap_or_default());
    let tools = tools.iter().flatten().map(tool_text).collect::<Vec<_>>().join("\n");
    put(&format!("{at}.tools"), hash(tools.as_bytes()));
}

fn tool_text(tool: &Tool) -> String {
    match tool {
        Tool::Function { name, description, parameters, strict, rest } => canonical(&json!({
            "name": name, "description": description, "parameters": parameters,
            "strict": strict, "rest": rest,
        })),
        Tool::Own(value) => canonical(value),
    }
}

fn put_decide(decide: &Decide, put: &mut impl FnMut(&str, String)) {
    let Decide { goal, margin, alpha, min_pairs, max_pairs } = decide;
    put("goal", goal.to_string());
    put("margin", margin.to_string());
    put("alpha", alpha.to_string());
    put("min_pairs", min_pairs.to_string());
    put("max_pairs", max_pairs.to_string());
}

fn layer_text(layer: &Layer) -> String {
    let Layer { name, from, to } = layer;
    format!("{name} {} {}", from.ppm(), to.ppm())
}

fn unit_text(unit: &Unit) -> String {
    match unit {
        Unit::Conversation => "conversation".to_owned(),
        Unit::Header(name) => format!("header {name}"),
        Unit::Field(pointer) => format!("field {pointer}"),
    }
}

fn dollars(limit: Option<f64>) -> String {
    limit.map(|usd| usd.to_string()).unwrap_or_default()
}

/// Of nothing it is nothing.
fn hash(bytes: &[u8]) -> String {
    match bytes.is_empty() {
        true => String::new(),
        false => blake3::hash(bytes).to_hex().chars().take(32).collect(),
    }
}

impl Experiment {
    /// This experiment as far as a report needs to know how it was defined then.
    pub fn as_of(&self, parts: &Parts) -> Self {
        let text = |name: &str| parts.get(name).map(String::as_str).unwrap_or_default();
        let target = |at: &str| Target::parse(text(&format!("{at}.target")));
        let mut then = self.clone();
        then.control.target = target("control").unwrap_or(then.control.target);
        let candidate = |name: &str| {
            let variant = Variant {
                name: name.to_owned(),
                target: target(&format!("candidates.{name}"))?,
                patch: serde_json::Map::new(),
                system: None,
                tools: None,
            };
            Some(Candidate { variant, split: Share::NONE })
        };
        then.candidates = text("candidates").split(' ').filter_map(candidate).collect();
        let decide = &mut then.decide;
        let goals = [Goal::Superior, Goal::NonInferior, Goal::Equivalent];
        let goal = goals.into_iter().find(|goal| goal.to_string() == text("goal"));
        decide.goal = goal.unwrap_or(decide.goal);
        decide.margin = text("margin").parse().unwrap_or(decide.margin);
        decide.alpha = text("alpha").parse().unwrap_or(decide.alpha);
        decide.min_pairs = text("min_pairs").parse().unwrap_or(decide.min_pairs);
        decide.max_pairs = text("max_pairs").parse().unwrap_or(decide.max_pairs);
        if let (Judges::Models(judges), Some(target)) = (&mut then.evaluate.judge, target("judge"))
            && let Some(judge) = judges.first_mut()
        {
            judge.target = target;
        }
        then.standing.halted.clear();
        then.standing.verdict = None;
        then.standing.overruled = None;
        then
    }
}

/// JSON with its keys sorted, so that equal values are equal texts.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let write = |(name, value): (&String, &Value)| {
                format!("{}:{}", Value::String(name.clone()), canonical(value))
            };
            let members: Vec<String> = members.into_iter().map(write).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        leaf => leaf.to_string(),
    }
}
