//! Reads what the cache may do, for everything and for one route.

use http::HeaderName;

use super::CacheMode;
use super::CachePolicy;
use super::Config;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::tree::Node;
use super::value;
use crate::cacheable::CLASSES;
use crate::cacheable::Choices;
use crate::cacheable::directive::MAX_SAMPLES;

pub const MODES: &[(&str, CacheMode)] = &[
    ("on", CacheMode::On),
    ("off", CacheMode::Off),
    ("record", CacheMode::Record),
    ("replay", CacheMode::Replay),
];

/// Reads the section at the top of the file.
pub fn read(s: &mut Section<'_, '_, '_>, config: &mut Config) {
    s.section("cache", |s| {
        policy(s, &mut config.cache);
        s.set("max_bytes", &mut config.cache.max_bytes, value::size);
        if let Some(node) = s.find("vary") {
            let path = s.path("vary");
            config.vary = vary(s.reader, node, &path);
        }
    });
}

/// Reads a route's own section, over what the route inherits.
///
/// There is one store, so its size is said once; and one list of headers, because a header that
/// keeps answers apart on one route only would be forgotten on another.
pub fn of_route(s: &mut Section<'_, '_, '_>, into: &mut CachePolicy) {
    s.section("cache", |s| {
        policy(s, into);
        for key in ["max_bytes", "vary"] {
            if let (Some(at), Some(_)) = (s.key_at(key), s.find(key)) {
                let what = format!("`{}` cannot be set for one route", s.path(key));
                s.reader.problem(at, what, format!("write it under `cache` at the top: {key}"));
            }
        }
    });
}

fn policy(s: &mut Section<'_, '_, '_>, into: &mut CachePolicy) {
    s.set("mode", &mut into.mode, mode);
    s.set("ttl", &mut into.ttl, value::duration);
    s.set("errors", &mut into.error_ttl, value::drain);
    let samples = s.take("samples", value::count(1, MAX_SAMPLES.into()));
    into.samples = samples.and_then(|n| u32::try_from(n).ok()).unwrap_or(into.samples);
    s.set("coalesce", &mut into.coalesce, value::boolean);
    s.section("cacheable", |s| cacheable(s, &mut into.cacheable));
}

fn cacheable(s: &mut Section<'_, '_, '_>, into: &mut Choices) {
    for class in &CLASSES {
        if let Some(allowed) = s.take(class.name, value::boolean) {
            into.set(class.name, allowed);
        }
    }
}

/// Other YAML readers take a bare `on` for true, so true and false are understood as well.
fn mode(node: &Node) -> Result<CacheMode, Wrong> {
    match node.as_bool() {
        Some(true) => Ok(CacheMode::On),
        Some(false) => Ok(CacheMode::Off),
        None => value::choice(MODES)(node),
    }
}

fn vary(reader: &mut Reader<'_>, node: &Node, path: &str) -> Vec<HeaderName> {
    let mut found = Vec::new();
    for (index, node) in reader.items(node, path).unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(name) = reader.value(node, &path, value::header_name) else { continue };
        if found.contains(&name) {
            let what = format!("`{path}` names a header that is already there");
            reader.problem(node.start, what, "keep one of them");
        } else {
            found.push(name);
        }
    }
    found
}
