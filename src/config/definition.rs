//! Reads one experiment: who takes part, its variants and how traffic is split.

use http::header::HeaderName;
use serde_json::Map;
use serde_json::Value;

use super::Known;
use super::evaluation;
use super::nearest;
use super::problem::Pos;
use super::read::Reader;
use super::read::Section;
use super::read::join;
use super::read::quote;
use super::settings;
use super::tree::Kind;
use super::tree::Node;
use super::value;
use crate::experiment::Candidate;
use crate::experiment::Experiment;
use crate::experiment::Match;
use crate::experiment::Share;
use crate::experiment::Standing;
use crate::experiment::Status;
use crate::experiment::Step;
use crate::experiment::Unit;
use crate::experiment::Variant;

/// The name of the incumbent in every experiment.
const CONTROL: &str = "control";

/// The most challengers at once; each takes its part of alpha.
const MAX_CANDIDATES: usize = 4;

/// Fields of a request that a patch may not change.
const FIXED_FIELDS: &[(&str, &str)] = &[
    ("model", "name it in `target`"),
    ("stream", "the application decides whether it wants a stream"),
];

const MISSING_TARGET: &str = "write for example target: openai/gpt-4o";

/// The experiment of a file; `None` when it is too broken to be one.
pub fn read(reader: &mut Reader<'_>, root: &Node, known: &mut Known) -> Option<Experiment> {
    if root.is_null() {
        let help = "begin with experiment: NAME, or remove the file";
        reader.problem(root.start, "the file is empty", help);
        return None;
    }
    reader.section(root, "", |s| experiment(s, known)).flatten()
}

fn experiment(s: &mut Section<'_, '_, '_>, known: &mut Known) -> Option<Experiment> {
    let name = name(s, known);
    let question = s.take("question", value::text).unwrap_or_default();
    let matches = matches(s, known);
    let unit = s.find("unit").and_then(|node| unit(s.reader, node)).unwrap_or(Unit::Conversation);
    let control = control(s, known);
    let candidates = candidates(s, known);
    let (splits, shadow) = traffic(s, &candidates);
    let tested: Vec<&Variant> =
        control.iter().chain(candidates.iter().filter_map(|c| c.variant.as_ref())).collect();
    let evaluate = evaluation::evaluate(s, known, &tested);
    let decide = evaluation::decide(s);
    evaluation::guardrails(s);
    let candidates: Option<Vec<Candidate>> = candidates
        .into_iter()
        .zip(splits)
        .map(|(found, split)| Some(Candidate { variant: found.variant?, split }))
        .collect();
    let name = name?;
    Some(Experiment {
        salt: name.clone(),
        name,
        question,
        intent: Status::default(),
        standing: Standing::default(),
        matches,
        layer: None,
        unit,
        control: control?,
        candidates: candidates?,
        ramp: Vec::new(),
        step: Step::default(),
        shadow,
        again: Share::NONE,
        shadow_daily_usd: None,
        guardrails: Vec::new(),
        evaluate,
        decide,
    })
}

fn name(s: &mut Section<'_, '_, '_>, known: &mut Known) -> Option<String> {
    let node = s.need("experiment", "write for example experiment: support-upgrade")?;
    let name = s.reader.value(node, "experiment", value::name)?;
    let here = format!("{}:{}", s.reader.file(), node.start.line);
    match known.experiments.get(&name) {
        Some(first) => {
            let what = format!("there are two experiments called `{name}`");
            s.reader.problem(node.start, what, format!("the first is in {first}; rename one"));
        }
        None => {
            known.experiments.insert(name.clone(), here);
        }
    }
    Some(name)
}

fn matches(s: &mut Section<'_, '_, '_>, known: &Known) -> Match {
    let at = s.key_at("match").unwrap_or(s.at);
    let found = s.section("match", |s| {
        let route = s.take("route", value::text);
        let model = s.take("model", value::text);
        if let (Some(_), Some(_), Some(at)) = (&route, &model, s.key_at("model")) {
            let help = "keep `route`, or `model` for a name that is not a route";
            s.reader.problem(at, "`match.model` and `match.route` are the same condition", help);
        }
        if let (Some(route), Some(at)) = (&route, s.key_at("route")) {
            check_route(s.reader, at, route, known);
        }
        let headers = s.find("headers").map(|node| headers(s.reader, node)).unwrap_or_default();
        Match { route: route.or(model), headers, ..Match::default() }
    });
    let found = found.unwrap_or_default();
    if found == Match::default() {
        let help = "write for example match: { route: support-bot }";
        s.reader.warn(at, "every request takes part in this experiment", help);
    }
    found
}

/// Applications may ask for any model name, so an unknown route is only suspicious.
fn check_route(reader: &mut Reader<'_>, at: Pos, route: &str, known: &Known) {
    if known.is_partial || known.routes.contains(route) || known.is_target(route) {
        return;
    }
    let help = match nearest::nearest(route, known.routes.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "if applications ask for this model name, write `model` for `route`".to_owned(),
    };
    reader.warn(at, format!("no route is called {}", quote(route)), help);
}

fn headers(reader: &mut Reader<'_>, node: &Node) -> Vec<(HeaderName, String)> {
    let mut found: Vec<(HeaderName, String)> = Vec::new();
    for (key, node) in reader.entries(node, "match.headers").unwrap_or_default() {
        let path = join("match.headers", &key.name);
        let value = reader.value(node, &path, value::header_value);
        match HeaderName::from_bytes(key.name.as_bytes()) {
            Err(_) => {
                let what = format!("{} is not the name of a header", quote(&key.name));
                reader.problem(key.start, what, "write for example x-app");
            }
            // Names that differ only in case are one header.
            Ok(name) if found.iter().any(|(other, _)| *other == name) => {
                reader.problem(key.start, format!("`{name}` is here twice"), "keep one of them");
            }
            Ok(name) => found.extend(value.map(|value| (name, value))),
        }
    }
    found
}

fn unit(reader: &mut Reader<'_>, node: &Node) -> Option<Unit> {
    let help = "write conversation, { header: x-user-id } or { field: /user }";
    if let Kind::Scalar { text, .. } = &node.kind {
        if text == "conversation" {
            return Some(Unit::Conversation);
        }
        let wrong = value::expected("conversation, a header or a field", node, help);
        return reader.value(node, "unit", |_| Err(wrong));
    }
    reader.section(node, "unit", |s| {
        let header = s.take("header", value::header_name).map(Unit::Header);
        let field = s.take("field", value::pointer).map(Unit::Field);
        let given = ["header", "field"].iter().filter(|key| s.key_at(key).is_some()).count();
        if given != 1 {
            s.reader.problem(s.at, format!("`unit` needs one source and has {given}"), help);
        }
        header.or(field)
    })?
}

fn control(s: &mut Section<'_, '_, '_>, known: &Known) -> Option<Variant> {
    let node = s.need("control", "write for example control: { target: openai/gpt-4o }")?;
    variant(s.reader, node, CONTROL, CONTROL, known)
}

fn variant(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    name: &str,
    known: &Known,
) -> Option<Variant> {
    let found = reader.section(node, path, |s| {
        let node = s.need("target", MISSING_TARGET);
        let path = s.path("target");
        let target = node.and_then(|node| settings::target(s.reader, node, &path, known));
        let path = s.path("patch");
        let patch = s.find("patch").map(|node| patch(s.reader, node, &path)).unwrap_or_default();
        Some(Variant { name: name.to_owned(), target: target?, patch, system: None, tools: None })
    });
    found.flatten()
}

fn patch(reader: &mut Reader<'_>, node: &Node, path: &str) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, node) in reader.entries(node, path).unwrap_or_default() {
        match FIXED_FIELDS.iter().find(|(field, _)| *field == key.name) {
            Some((field, help)) => {
                reader.problem(key.start, format!("`{path}` may not change `{field}`"), *help);
            }
            None => patch.extend(value::json(node).map(|value| (key.name.clone(), value))),
        }
    }
    patch
}

/// A candidate's name, which may be used even if the rest of it is broken.
struct Found {
    name: String,
    variant: Option<Variant>,
}

fn candidates(s: &mut Section<'_, '_, '_>, known: &Known) -> Vec<Found> {
    let help = "write for example candidates: { next: { target: openai/gpt-4.1 } }";
    let Some(node) = s.need("candidates", help) else { return Vec::new() };
    let Some(entries) = s.reader.entries(node, "candidates") else { return Vec::new() };
    if entries.is_empty() {
        s.reader.problem(node.start, "`candidates` is empty", help);
    }
    if let Some((key, _)) = entries.get(MAX_CANDIDATES) {
        let what = format!("there are {} candidates; at most 4 are compared", entries.len());
        s.reader.problem(key.start, what, "run the others in an experiment of their own");
    }
    let mut found = Vec::new();
    for (key, node) in entries {
        let name = &key.name;
        if name == CONTROL {
            let what = "a candidate cannot be called `control`, which is the incumbent's name";
            s.reader.problem(key.start, what, "choose another name");
        } else if let Some(help) = value::checked_name(name) {
            let what = format!("a candidate cannot be called {}", quote(name));
            s.reader.problem(key.start, what, help);
        }
        let variant = variant(s.reader, node, &join("candidates", name), name, known);
        found.push(Found { name: name.clone(), variant });
    }
    found
}

/// The split of each candidate and the share that makes pairs.
fn traffic(s: &mut Section<'_, '_, '_>, candidates: &[Found]) -> (Vec<Share>, Share) {
    let mut splits = vec![Share::NONE; candidates.len()];
    let mut shadow = Share::NONE;
    let at = s.key_at("traffic").unwrap_or(s.at);
    let mut is_shadow_read = true;
    s.section("traffic", |s| {
        if let Some(node) = s.find("split") {
            split(s.reader, node, candidates, &mut splits);
        }
        ramp(s);
        s.set("shadow", &mut shadow, value::share);
        is_shadow_read = s.key_at("shadow").is_none() || shadow != Share::NONE;
    });
    if shadow == Share::NONE && is_shadow_read {
        let what = "live traffic makes no pairs because `traffic.shadow` is 0%";
        s.reader.warn(at, what, "write for example shadow: 20%, unless pairs come from a backtest");
    }
    (splits, shadow)
}

fn split(reader: &mut Reader<'_>, node: &Node, candidates: &[Found], splits: &mut [Share]) {
    for (key, value) in reader.entries(node, "traffic.split").unwrap_or_default() {
        let path = join("traffic.split", &key.name);
        let share = reader.value(value, &path, value::share);
        match candidates.iter().position(|found| found.name == key.name) {
            Some(index) => {
                if let (Some(slot), Some(share)) = (splits.get_mut(index), share) {
                    *slot = share;
                }
            }
            None if key.name == CONTROL => {
                let help = "remove it: control takes what the candidates leave";
                reader.problem(key.start, "`traffic.split` names `control`", help);
            }
            None => {
                let names = candidates.iter().map(|found| found.name.as_str());
                let names = names.filter(|name| *name != CONTROL);
                let what = format!("{} is not a candidate", quote(&key.name));
                reader.problem(key.start, what, nearest::suggest(&key.name, names));
            }
        }
    }
    let total: u64 = splits.iter().map(|share| u64::from(share.ppm())).sum();
    if total > u64::from(Share::WHOLE) {
        let percent = total as f64 / (f64::from(Share::WHOLE) / 100.0);
        let what = format!("`traffic.split` adds up to {percent}%");
        reader.problem(node.start, what, "give the candidates 100% at most");
    }
}

/// Checked in full but not kept, because nothing acts on it yet.
fn ramp(s: &mut Section<'_, '_, '_>) {
    let Some(node) = s.find("ramp") else { return };
    let mut last = Share::NONE;
    let steps = s.reader.items(node, "traffic.ramp").unwrap_or_default();
    for (index, step) in steps.iter().enumerate() {
        let path = format!("traffic.ramp[{index}]");
        let Some(share) = s.reader.value(step, &path, value::share) else { continue };
        if share <= last {
            let what = format!("`{path}` does not rise above the step before it");
            s.reader.problem(step.start, what, "write rising shares, for example [1%, 5%, 25%]");
        }
        last = share;
    }
    if let Some(at) = s.key_at("ramp") {
        let what = "`traffic.ramp` is not acted on by this version: the split stays as it is";
        s.reader.warn(at, what, "raise `split` by hand, or remove `ramp`");
    }
}
