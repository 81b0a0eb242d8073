//! Reads understudy.yaml into a checked configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::CachePolicy;
use super::Config;
use super::Known;
use super::Route;
use super::Timeouts;
use super::Weighted;
use super::cache;
use super::credential::Outside;
use super::endpoint;
use super::load::SENTINEL;
use super::problem::Pos;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::join;
use super::stores;
use super::tree::Kind;
use super::tree::Node;
use super::value;
use crate::experiment::Share;
use crate::experiment::Target;

/// Overwrites the defaults in `config` with what the file says and notes the names it defines.
pub fn read(
    reader: &mut Reader<'_>,
    root: &Node,
    outside: Outside<'_>,
    config: &mut Config,
    known: &mut Known,
) {
    for (kind, a) in [("experiment", "an experiment"), (SENTINEL, "a sentinel")] {
        if let Some(node) = root.get(kind) {
            let help = "pass it with --experiments, or put it in the directory of experiments";
            reader.problem(node.start, format!("this is {a}, not a configuration"), help);
            return;
        }
    }
    reader.section(root, "", |s| {
        addresses(s, config);
        s.set("data_dir", &mut config.data_dir, directory);
        stores::read(s, outside, &mut config.stores);
        if let Some(node) = s.find("providers") {
            let stores = config.stores.clone();
            let outside = Outside { stores: &stores, ..outside };
            endpoint::read(s.reader, node, outside, &mut config.providers);
            // Even a broken provider is a name that targets may use.
            known.providers.extend(node.keys().map(|key| key.name.clone()));
        }
        known.providers.extend(config.providers.keys().cloned());
        timeouts(s, &mut config.timeouts);
        cache::read(s, config);
        limits(s, config);
        s.set("holdout", &mut config.holdout, holdout);
        if let Some(node) = s.find("routes") {
            let inherited = (config.timeouts, config.cache);
            routes(s.reader, node, inherited, known, &mut config.routes);
        }
        known.routes.extend(config.routes.keys().cloned());
    });
}

fn addresses(s: &mut Section<'_, '_, '_>, config: &mut Config) {
    s.set("listen", &mut config.listen, address);
    s.set("admin", &mut config.admin, address);
    config.health = s.take("health", address);
    let (listen, admin) = (("listen", config.listen), ("admin", config.admin));
    differ(s, listen, admin);
    if let Some(health) = config.health {
        differ(s, listen, ("health", health));
        differ(s, admin, ("health", health));
    }
    let (_, admin) = admin;
    let Some(at) = s.key_at("admin") else { return };
    if !admin.ip().is_loopback() {
        let what =
            format!("the admin plane on {admin} shows prompts and answers to other machines");
        s.reader.warn(at, what, "listen on 127.0.0.1 unless something else protects it");
    }
}

/// Two listeners cannot share a port; port 0 asks for any free one, which differs each time.
fn differ(s: &mut Section<'_, '_, '_>, a: (&str, SocketAddr), b: (&str, SocketAddr)) {
    let Some(at) = s.key_at(b.0).or_else(|| s.key_at(a.0)) else { return };
    let ((first, a), (second, b)) = (a, b);
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    if overlap && a.port() == b.port() && a.port() != 0 {
        let what = format!("`{first}` ({a}) and `{second}` ({b}) are the same address");
        s.reader.problem(at, what, "give them different ports");
    }
}

fn address(node: &Node) -> Result<SocketAddr, Wrong> {
    let help = "write an IP address and a port, for example 127.0.0.1:4100";
    let text = value::any_text(node)?;
    text.parse().map_err(|_| value::expected("an address", node, help))
}

fn directory(node: &Node) -> Result<PathBuf, Wrong> {
    let text = value::text(node)?;
    if text.starts_with('~') {
        return Err(value::expected(
            "a plain path",
            node,
            "write the path in full; ~ is not expanded",
        ));
    }
    Ok(PathBuf::from(text))
}

fn timeouts(s: &mut Section<'_, '_, '_>, into: &mut Timeouts) {
    s.section("timeouts", |s| {
        s.set("connect", &mut into.connect, value::duration);
        s.set("first_token", &mut into.first_token, value::duration);
        s.set("idle", &mut into.idle, value::duration);
        s.set("total", &mut into.total, value::duration);
    });
}

/// `limits.shadow_concurrency` is the older name of `shadow.concurrency`.
fn limits(s: &mut Section<'_, '_, '_>, config: &mut Config) {
    let (into, shadowing) = (&mut config.limits, &mut config.shadowing);
    let mut older = None;
    s.section("limits", |s| {
        s.set("max_request_bytes", &mut into.max_request_bytes, value::memory);
        s.set("max_answer_bytes", &mut into.max_answer_bytes, value::memory);
        s.set("max_concurrency", &mut into.max_concurrency, value::places);
        s.set("shadow_concurrency", &mut shadowing.concurrency, value::places);
        s.set("shadow_queue", &mut into.shadow_queue, value::places);
        s.set("judge_concurrency", &mut into.judge_concurrency, value::places);
        s.set("recorder_queue", &mut into.recorder_queue, value::places);
        s.set("socket_life", &mut into.socket_life, value::duration);
        s.set("socket_idle", &mut into.socket_idle, value::duration);
        s.set("drain", &mut into.drain, value::drain);
        older = s.key_at("shadow_concurrency");
    });
    s.section("shadow", |s| {
        s.set("concurrency", &mut shadowing.concurrency, value::places);
        shadowing.rate = s.take("rate", value::above(0.0, "write for example 20, a second"));
        shadowing.daily_usd = s.take("daily_usd", value::above(0.0, "write for example 10"));
        s.set("header", &mut shadowing.header, value::boolean);
        if let (Some(at), Some(_)) = (s.key_at("concurrency"), older) {
            let what = "`shadow.concurrency` and `limits.shadow_concurrency` are the same limit";
            s.reader.problem(at, what, "keep `shadow.concurrency`");
        }
    });
}

/// Who is held out takes part in nothing, so somebody has to be left.
fn holdout(node: &Node) -> Result<Share, Wrong> {
    match value::share(node)? {
        Share::ALL => Err(value::expected("below 100%", node, "write for example 5%")),
        share => Ok(share),
    }
}

fn routes(
    reader: &mut Reader<'_>,
    node: &Node,
    inherited: (Timeouts, CachePolicy),
    known: &Known,
    into: &mut BTreeMap<String, Route>,
) {
    for (key, node) in reader.entries(node, "routes").unwrap_or_default() {
        let path = join("routes", &key.name);
        if key.name.trim().is_empty() {
            reader.problem(key.start, "a route needs a name", "write the model name it answers");
        }
        let (limits, cache) = inherited;
        let mut route = Route { targets: Vec::new(), timeouts: limits, cache };
        reader.section(node, &path, |s| {
            let help = "write for example targets: [openai/gpt-4o]";
            if let Some(node) = s.need("targets", help) {
                let path = s.path("targets");
                route.targets = targets(s.reader, node, &path, known);
            }
            timeouts(s, &mut route.timeouts);
            cache::of_route(s, &mut route.cache);
        });
        // Even a broken route is a name that experiments may use.
        into.insert(key.name.clone(), route);
    }
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
