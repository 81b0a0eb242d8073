//! Reads who takes part in an experiment: conditions, layer and unit.

use http::header::HeaderName;
use serde_json::Value;

use super::Known;
use super::nearest;
use super::problem::Pos;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::join;
use super::read::quote;
use super::tree::Kind;
use super::tree::Node;
use super::value;
use crate::experiment::Layer;
use crate::experiment::Match;
use crate::experiment::Share;
use crate::experiment::Unit;

/// Reads `match`.
pub fn matches(s: &mut Section<'_, '_, '_>, known: &Known) -> Match {
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
        let headers = s
            .find("headers")
            .map(|node| headers(s.reader, node, "match.headers"))
            .unwrap_or_default();
        let fields =
            s.find("fields").map(|node| fields(s.reader, node, "match.fields")).unwrap_or_default();
        let tenants = s
            .find("tenants")
            .map(|node| tenants(s.reader, node, "match.tenants"))
            .unwrap_or_default();
        let share = s.take("share", some).unwrap_or(Share::ALL);
        Match { route: route.or(model), headers, fields, tenants, share }
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

/// Headers with the value that they have to have.
pub fn headers(reader: &mut Reader<'_>, node: &Node, path: &str) -> Vec<(HeaderName, String)> {
    let mut found: Vec<(HeaderName, String)> = Vec::new();
    for (key, node) in reader.entries(node, path).unwrap_or_default() {
        let path = join(path, &key.name);
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

/// What a body has to hold, at JSON pointers; only single values can be compared.
pub fn fields(reader: &mut Reader<'_>, node: &Node, path: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, node) in reader.entries(node, path).unwrap_or_default() {
        let path = join(path, &key.name);
        if let Some(help) = value::checked_pointer(&key.name) {
            let what = format!("{} is not a JSON pointer", quote(&key.name));
            reader.problem(key.start, what, help);
        }
        let value = reader.value(node, &path, |node| match &node.kind {
            Kind::Scalar { .. } => Ok(value::json(node)),
            _ => Err(value::expected("a single value", node, "point at the field inside it")),
        });
        found.extend(value.flatten().map(|value| (key.name.clone(), value)));
    }
    found
}

/// Tenants, at least one.
pub fn tenants(reader: &mut Reader<'_>, node: &Node, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let nodes = reader.items(node, path).unwrap_or_default();
    if let (Kind::List(_), []) = (&node.kind, nodes) {
        let help = "name at least one, or remove the key to take all of them";
        reader.problem(node.start, format!("`{path}` is empty"), help);
    }
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(tenant) = reader.value(node, &path, tenant) else { continue };
        if found.contains(&tenant) {
            let what = format!("`{path}` names a tenant that is already there");
            reader.problem(node.start, what, "keep one of them");
        } else {
            found.push(tenant);
        }
    }
    found
}

/// A tenant as `understudy explain` shows it; a number's leading zeros count, so it stays text.
fn tenant(node: &Node) -> Result<String, Wrong> {
    let help = "write the 16 hex digits that `understudy explain` shows, in quotes";
    let text = value::any_text(node)?;
    let is_hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match is_hex {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(value::expected("a tenant", node, help)),
    }
}

/// A share of which something is left.
pub fn some(node: &Node) -> Result<Share, Wrong> {
    match value::share(node)? {
        Share::NONE => Err(value::expected("above 0%", node, "write for example 50%")),
        share => Ok(share),
    }
}

/// Reads `layer`.
pub fn layer(s: &mut Section<'_, '_, '_>) -> Option<Layer> {
    let layer = s.section("layer", |s| {
        let help = "write for example name: checkout; experiments of one name share its units";
        let name = s.need("name", help);
        let name = name.and_then(|node| s.reader.value(node, "layer.name", value::name));
        let (from, to) = match s.find("slice") {
            Some(node) => slice(s.reader, node)?,
            None => (Share::NONE, Share::ALL),
        };
        Some(Layer { name: name?, from, to })
    });
    layer.flatten()
}

fn slice(reader: &mut Reader<'_>, node: &Node) -> Option<(Share, Share)> {
    let help = "write where it begins and ends, for example [0%, 50%]";
    let nodes = reader.items(node, "layer.slice")?;
    let [from, to] = nodes else {
        let what = format!("`layer.slice` needs two shares and has {}", nodes.len());
        reader.problem(node.start, what, help);
        return None;
    };
    let from = reader.value(from, "layer.slice[0]", value::share);
    let end = reader.value(to, "layer.slice[1]", value::share);
    let (from, end) = (from?, end?);
    if from >= end {
        let what =
            format!("`layer.slice` ends at {} and begins at {}", percent(end), percent(from));
        reader.problem(to.start, what, help);
        return None;
    }
    Some((from, end))
}

/// A share as people write it.
pub fn percent(share: Share) -> String {
    format!("{}%", f64::from(share.ppm()) / (f64::from(Share::WHOLE) / 100.0))
}

/// Reads `unit`.
pub fn unit(reader: &mut Reader<'_>, node: &Node) -> Option<Unit> {
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
