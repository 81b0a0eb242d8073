//! Reads `routes`: who answers a model name, under which conditions, and who is asked first.

use std::collections::BTreeMap;

use super::CachePolicy;
use super::Clause;
use super::Condition;
use super::Known;
use super::Route;
use super::Timeouts;
use super::Weighted;
use super::cache;
use super::cascade;
use super::enrolment;
use super::persistence;
use super::problem::Pos;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::join;
use super::settings::limits_of_time;
use super::tree::Kind;
use super::tree::Node;
use super::value;
use crate::choice::Policy;
use crate::choice::Weights;
use crate::experiment::Match;
use crate::experiment::Share;
use crate::experiment::Target;
use crate::retry::Retry;

/// The words for a policy; `weighted` is the order with weights, which has to have some.
pub const POLICIES: &[(&str, Word)] = &[
    ("order", Word::Order),
    ("weighted", Word::Weighted),
    ("latency", Word::Latency),
    ("cost", Word::Cost),
    ("score", Word::Score),
];

/// A word for a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// As the file names them.
    Order,
    /// The first drawn by weight.
    Weighted,
    /// The fastest first.
    Latency,
    /// The cheapest first.
    Cost,
    /// By what matters how much.
    Score,
}

/// The most that something may matter.
const MOST_WEIGHT: f64 = 1000.0;

/// The most tokens that a condition speaks of.
pub const MOST_TOKENS: u64 = 1_000_000_000;

/// Reads `routes`.
pub fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    inherited: (Timeouts, Retry, CachePolicy),
    known: &Known,
    into: &mut BTreeMap<String, Route>,
) {
    for (key, node) in reader.entries(node, "routes").unwrap_or_default() {
        let path = join("routes", &key.name);
        if key.name.trim().is_empty() {
            reader.problem(key.start, "a route needs a name", "write the model name it answers");
        }
        let (timeouts, retry, cache) = inherited;
        let (targets, when, choose) = (Vec::new(), Vec::new(), Policy::default());
        let (cascade, hedge) = (None, None);
        let mut route = Route { targets, when, choose, cascade, timeouts, retry, hedge, cache };
        reader.section(node, &path, |s| {
            let help = "write for example targets: [openai/gpt-4o]";
            if let Some(node) = s.need("targets", help) {
                let path = s.path("targets");
                route.targets = self::targets(s.reader, node, &path, known);
            }
            if let Some(node) = s.find("when") {
                let path = s.path("when");
                route.when = clauses(s.reader, node, &path, known);
            }
            route.choose = policy(s, &route);
            limits_of_time(s, &mut route.timeouts);
            persistence::retry(s, &mut route.retry);
            persistence::hedge(s, &mut route.hedge);
            cache::of_route(s, &mut route.cache);
            cascade::cascade(s, known, &mut route);
        });
        // Even a broken route is a name that experiments may use.
        into.insert(key.name.clone(), route);
    }
}

fn clauses(reader: &mut Reader<'_>, node: &Node, path: &str, known: &Known) -> Vec<Clause> {
    let mut found = Vec::new();
    for (index, node) in reader.items(node, path).unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{index}]");
        let clause = reader.section(node, &path, |s| {
            let condition = condition(s);
            let node = s.need("targets", "write for example targets: [openai/gpt-4o]")?;
            let path = s.path("targets");
            Some(Clause { condition, targets: targets(s.reader, node, &path, known) })
        });
        found.extend(clause.flatten());
    }
    found
}

fn condition(s: &mut Section<'_, '_, '_>) -> Condition {
    let is_empty = s
        .need("if", "write for example if: { min_tokens: 8000 }")
        .is_some_and(|node| node.keys().next().is_none());
    let at = s.key_at("if").unwrap_or(s.at);
    let condition = s.section("if", |s| {
        let path = |key: &str, s: &Section<'_, '_, '_>| s.path(key);
        let (headers, fields, tenants) =
            (path("headers", s), path("fields", s), path("tenants", s));
        let headers = s.find("headers").map(|node| enrolment::headers(s.reader, node, &headers));
        let fields = s.find("fields").map(|node| enrolment::fields(s.reader, node, &fields));
        let tenants = s.find("tenants").map(|node| enrolment::tenants(s.reader, node, &tenants));
        let tokens = || value::count(0, MOST_TOKENS);
        Condition {
            matches: Match {
                route: None,
                headers: headers.unwrap_or_default(),
                fields: fields.unwrap_or_default(),
                tenants: tenants.unwrap_or_default(),
                share: Share::ALL,
            },
            min_tokens: s.take("min_tokens", tokens()),
            max_tokens: s.take("max_tokens", tokens()),
            tools: s.take("tools", value::boolean),
            stream: s.take("stream", value::boolean),
        }
    });
    let condition = condition.unwrap_or_default();
    if is_empty {
        let help = "write for example if: { tools: true }";
        s.reader.warn(at, "this condition holds for every request", help);
    }
    let ends = condition.min_tokens.zip(condition.max_tokens);
    if ends.is_some_and(|(least, most)| least > most) {
        s.reader.problem(at, "no request has so many tokens and so few", "swap the two");
    }
    condition
}

/// Reads `choose`, and `score` beside it.
fn policy(s: &mut Section<'_, '_, '_>, route: &Route) -> Policy {
    let word = s.take("choose", value::choice(POLICIES));
    let mut weights = Weights::default();
    s.section("score", |s| {
        s.set("cost", &mut weights.cost, weight);
        s.set("latency", &mut weights.latency, weight);
        s.set("quality", &mut weights.quality, weight);
        if weights.cost + weights.latency + weights.quality <= 0.0 {
            let help = "write for example score: { cost: 1, latency: 1, quality: 2 }";
            s.reader.problem(s.at, "nothing in this score matters", help);
        }
    });
    let at = |s: &Section<'_, '_, '_>, key: &str| s.key_at(key).unwrap_or(s.at);
    let all = route.when.iter().map(|clause| &clause.targets).chain([&route.targets]);
    let has_weights = all.flatten().any(|target| target.weight.is_some());
    match word {
        Some(Word::Weighted) if !has_weights => {
            let help = "write for example targets: [{ target: openai/gpt-4o, weight: 9 }, ...]";
            s.reader.problem(at(s, "choose"), "no target of this route has a weight", help);
        }
        Some(word) if word != Word::Weighted && has_weights => {
            let help = "remove the weights, or write choose: weighted";
            s.reader.problem(at(s, "choose"), "this choice leaves the weights out", help);
        }
        _ => {}
    }
    if let (Some(at), true) = (s.key_at("score"), word != Some(Word::Score)) {
        let what = format!("`{}` has no effect", s.path("score"));
        s.reader.problem(at, what, "write choose: score beside it, or remove it");
    }
    match word {
        None | Some(Word::Order | Word::Weighted) => Policy::Order,
        Some(Word::Latency) => Policy::Latency,
        Some(Word::Cost) => Policy::Cost,
        Some(Word::Score) => Policy::Score(weights),
    }
}

fn weight(node: &Node) -> Result<f64, Wrong> {
    let number = node.as_number().and_then(|number| number.as_f64());
    number.filter(|n| (0.0..=MOST_WEIGHT).contains(n)).ok_or_else(|| {
        value::expected("a number from 0 to 1000", node, "write for example 1 or 2.5")
    })
}

fn targets(reader: &mut Reader<'_>, node: &Node, path: &str, known: &Known) -> Vec<Weighted> {
    let Some(nodes) = reader.items(node, path) else { return Vec::new() };
    if nodes.is_empty() {
        reader.problem(
            node.start,
            format!("`{path}` is empty"),
            "write at least one provider/model",
        );
    }
    let mut found = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let weighted = match &node.kind {
            Kind::Map(_) => reader.section(node, &path, |s| {
                let weight = s.take("weight", value::count(0, 1_000_000)).map(|n| n as u32);
                let is_weighted = s.key_at("weight").is_some();
                let node = s.need("target", "write for example target: openai/gpt-4o")?;
                let path = s.path("target");
                let target = target(s.reader, node, &path, known)?;
                (!is_weighted || weight.is_some()).then_some(Weighted { target, weight })
            }),
            _ => Some(
                target(reader, node, &path, known).map(|t| Weighted { target: t, weight: None }),
            ),
        };
        found.extend(weighted.flatten().map(|weighted| (node.start, weighted)));
    }
    check_weights(reader, node.start, path, &found);
    found.into_iter().map(|(_, weighted)| weighted).collect()
}

fn check_weights(reader: &mut Reader<'_>, at: Pos, path: &str, targets: &[(Pos, Weighted)]) {
    let weights: Vec<u32> = targets.iter().filter_map(|(_, w)| w.weight).collect();
    let bare = targets.iter().find(|(_, w)| w.weight.is_none());
    match bare {
        Some((at, weighted)) if !weights.is_empty() => {
            let what = format!("`{}` has no weight but others of `{path}` do", weighted.target);
            reader.problem(*at, what, "give every target a weight, or none");
        }
        None if !weights.is_empty() && weights.iter().all(|weight| *weight == 0) => {
            let what = format!("every weight of `{path}` is 0");
            reader.problem(at, what, "give at least one target a weight above 0");
        }
        _ => {}
    }
}

/// A target whose provider exists.
pub fn target(reader: &mut Reader<'_>, node: &Node, path: &str, known: &Known) -> Option<Target> {
    reader.value(node, path, |node| {
        let help = "write provider/model, for example openai/gpt-4o";
        let is_gap = |c: char| c.is_whitespace() || c.is_control();
        let text = value::any_text(node).ok().filter(|text| !text.contains(is_gap));
        let target = text.and_then(Target::parse);
        let target = target.ok_or_else(|| value::expected("a target", node, help))?;
        match known.missing_provider(&target.provider) {
            None => Ok(target),
            Some(wrong) => Err(wrong),
        }
    })
}
