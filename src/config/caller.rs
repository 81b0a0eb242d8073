//! Reads who may call, by keys of ours.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use super::Config;
use super::Known;
use super::credential;
use super::credential::Outside;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::join;
use super::read::quote;
use super::tree::Node;
use super::value;
use crate::budget::Cap;
use crate::budget::Caps;
use crate::caller;
use crate::caller::Limits;
use crate::caller::Patron;
use crate::cost::view::DIMENSIONS;

/// The most of anything that is counted in a minute or a month.
const MOST: u64 = 1_000_000_000_000;

/// Reads the section at the top of the file; it comes after the routes, which it names.
pub fn read(s: &mut Section<'_, '_, '_>, outside: Outside<'_>, config: &mut Config, known: &Known) {
    s.set("callers_required", &mut config.callers_required, value::boolean);
    let Some(node) = s.find("callers") else { return };
    for (key, node) in s.reader.entries(node, "callers").unwrap_or_default() {
        let path = join("callers", &key.name);
        if let Some(wrong) = value::checked_name(&key.name) {
            s.reader.problem(key.start, format!("`{path}` {wrong}"), "write for example team-a");
        }
        let mut patron = Patron::new(&key.name);
        let digest = s.reader.section(node, &path, |s| {
            scope(s, known, &mut patron);
            limits(s, &mut patron.limits);
            budget(s, &mut patron.budget);
            if let Some(node) = s.find("metadata") {
                let path = s.path("metadata");
                patron.labels = labels(s.reader, node, &path);
            }
            digest(s, outside)
        });
        let Some(digest) = digest.flatten() else { continue };
        if !config.patrons.insert(digest, patron) {
            let what = format!("`{path}` has the key of another caller");
            s.reader.problem(key.start, what, "make one with understudy callers new NAME");
        }
    }
}

/// By what the caller's key is known: its digest, or that of a key that is kept elsewhere.
fn digest(s: &mut Section<'_, '_, '_>, outside: Outside<'_>) -> Option<[u8; 32]> {
    let given = s.take("key_blake3", hash);
    let key = s.find("key").and_then(|node| {
        let path = s.path("key");
        credential::at_hand(s.reader, node, &path, outside)
    });
    let help = "make one with understudy callers new NAME";
    match (s.key_at("key_blake3"), s.key_at("key")) {
        (Some(at), Some(_)) => s.reader.problem(at, "both `key_blake3` and `key` are given", help),
        (None, None) => s.reader.problem(s.at, "a caller needs `key_blake3` or `key`", help),
        _ => {}
    }
    given.or(key.map(|key| caller::digest(key.expose_secret().as_bytes())))
}

fn hash(node: &Node) -> Result<[u8; 32], Wrong> {
    let text = value::any_text(node)?;
    let help = "make one with understudy callers new NAME";
    // What stands there by mistake may be the key itself, so it is not shown.
    let wrong = || Wrong::new("has to be the 64 hexadecimal digits of a key's blake3", help);
    blake3::Hash::from_hex(text).map(|hash| *hash.as_bytes()).map_err(|_| wrong())
}

fn scope(s: &mut Section<'_, '_, '_>, known: &Known, patron: &mut Patron) {
    patron.routes = names(s, "routes", |name| match known.routes.contains(name) {
        true => None,
        false => Some(Wrong::new(
            format!("names the unknown route {}", quote(name)),
            "name a route of `routes`, or list targets under `models`",
        )),
    });
    patron.models = names(s, "models", |name| match name.split_once('/') {
        Some((provider, model)) if !model.is_empty() => known.missing_provider(provider),
        _ => Some(Wrong::new(
            format!("names {}, which is no target", quote(name)),
            "write for example openai/gpt-4o or openai/*",
        )),
    });
}

fn names(
    s: &mut Section<'_, '_, '_>,
    key: &'static str,
    wrong: impl Fn(&str) -> Option<Wrong>,
) -> Option<Vec<String>> {
    let (node, path) = (s.find(key)?, s.path(key));
    let mut names = Vec::new();
    for (at, node) in s.reader.items(node, &path)?.iter().enumerate() {
        let read = |node: &Node| {
            let name = value::text(node)?;
            wrong(&name).map_or(Ok(name), Err)
        };
        names.extend(s.reader.value(node, &format!("{path}[{at}]"), read));
    }
    Some(names)
}

fn limits(s: &mut Section<'_, '_, '_>, into: &mut Limits) {
    s.section("limits", |s| {
        into.requests_per_minute = s.take("requests_per_minute", value::count(1, MOST));
        into.tokens_per_minute = s.take("tokens_per_minute", value::count(1, MOST));
        into.concurrency = s.take("concurrency", value::count(1, MOST));
    });
}

fn budget(s: &mut Section<'_, '_, '_>, into: &mut Caps) {
    s.section("budget", |s| {
        let usd = |usd: f64| (usd * 1e9).round() as u64;
        let money = || value::above(0.0, "write for example 10");
        let day = s.take("usd_per_day", money()).map(usd);
        let month = s.take("usd_per_month", money()).map(usd);
        into.day = Cap { nano_usd: day, tokens: s.take("tokens_per_day", value::count(1, MOST)) };
        let tokens = s.take("tokens_per_month", value::count(1, MOST));
        into.month = Cap { nano_usd: month, tokens };
    });
}

fn labels(reader: &mut Reader<'_>, node: &Node, path: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, node) in reader.entries(node, path).unwrap_or_default() {
        let path = join(path, &key.name);
        if DIMENSIONS.contains(&key.name.as_str()) || key.name.contains(',') {
            let what = format!("`{path}` cannot be told from what costs are summed by anyway");
            reader.problem(key.start, what, "write for example team");
        }
        let value = reader.value(node, &path, value::text);
        labels.extend(value.map(|value| (key.name.clone(), value)));
    }
    labels
}
