//! Reads the alternatives of an experiment: who answers, and what of the request is changed for it.

use serde_json::Map;
use serde_json::Value;

use super::Known;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::join;
use super::read::quote;
use super::route;
use super::tree::Kind;
use super::tree::Node;
use super::value;
use crate::chat::request::Tool;
use crate::experiment::SystemChange;
use crate::experiment::Variant;
use crate::tally::AGAIN;

/// The name of the incumbent in every experiment.
pub const CONTROL: &str = "control";

/// The most challengers at once; each takes its part of alpha.
pub const MAX_CANDIDATES: usize = 4;

/// Fields of a request that a patch may not change.
const FIXED_FIELDS: &[(&str, &str)] = &[
    ("model", "name it in `target`"),
    ("stream", "the application decides whether it wants a stream"),
];

/// Makes a change of a system prompt from its text.
pub type ChangeBy = fn(String) -> SystemChange;

/// What may become of a system prompt, by its name in a file.
pub const SYSTEM_CHANGES: [(&str, ChangeBy); 3] = [
    ("replace", SystemChange::Replace),
    ("prepend", SystemChange::Prepend),
    ("append", SystemChange::Append),
];

/// The longest name of a tool that every provider takes, bytes.
pub const MAX_TOOL_NAME: usize = 64;

const MISSING_TARGET: &str = "write for example target: openai/gpt-4o";

/// Reads `control`.
pub fn control(s: &mut Section<'_, '_, '_>, known: &Known) -> Option<Variant> {
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
    reader.section(node, path, |s| fields(s, name, known)).flatten()
}

/// Reads who answers and what is changed for it, among the keys of a section.
pub fn fields(s: &mut Section<'_, '_, '_>, name: &str, known: &Known) -> Option<Variant> {
    let node = s.need("target", MISSING_TARGET);
    let path = s.path("target");
    let target = node.and_then(|node| route::target(s.reader, node, &path, known));
    let path = s.path("patch");
    let patch = s.find("patch").map(|node| patch(s.reader, node, &path)).unwrap_or_default();
    let system = system(s);
    let path = s.path("tools");
    let tools = s.find("tools").and_then(|node| tools(s.reader, node, &path));
    Some(Variant { name: name.to_owned(), target: target?, patch, system, tools })
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

fn system(s: &mut Section<'_, '_, '_>) -> Option<SystemChange> {
    let help = "write for example system: { replace: \"You are a helpful assistant.\" }";
    let path = s.path("system");
    let node = s.find("system")?;
    if let Kind::Scalar { .. } = &node.kind {
        let what = format!("`{path}` has to say what becomes of the system prompt");
        s.reader.problem(node.start, what, help);
        return None;
    }
    let change = s.section("system", |s| {
        let mut found = None;
        for (key, change) in SYSTEM_CHANGES {
            found = s.take(key, value::text).map(change).or(found);
        }
        let given = SYSTEM_CHANGES.iter().filter(|(key, _)| s.key_at(key).is_some()).count();
        if given != 1 {
            let what = format!("`{path}` needs one of replace, prepend and append and has {given}");
            s.reader.problem(s.at, what, help);
        }
        found
    });
    change.flatten()
}

/// The tools that take the place of the request's; an empty list takes them away.
fn tools(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Vec<Tool>> {
    let mut names: Vec<String> = Vec::new();
    let mut tools = Vec::new();
    for (index, node) in reader.items(node, path)?.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(tool) = reader.section(node, &path, |s| tool(s, &mut names)).flatten() else {
            continue;
        };
        tools.push(tool);
    }
    Some(tools)
}

fn tool(s: &mut Section<'_, '_, '_>, names: &mut Vec<String>) -> Option<Tool> {
    let name = s.need("name", "write for example name: look_up_order");
    let path = s.path("name");
    let name = name.and_then(|node| {
        let name = s.reader.value(node, &path, tool_name)?;
        if names.contains(&name) {
            let what = format!("`{path}` names a tool that is already there");
            s.reader.problem(node.start, what, "keep one of them");
        }
        names.push(name.clone());
        Some(name)
    });
    let description = s.take("description", value::text);
    let parameters = s.take("parameters", schema).flatten();
    let strict = s.take("strict", value::boolean);
    Some(Tool::Function { name: name?, description, parameters, strict, rest: Map::new() })
}

/// What every provider takes as the name of a tool.
fn tool_name(node: &Node) -> Result<String, Wrong> {
    let text = value::any_text(node)?;
    let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if text.is_empty() || text.len() > MAX_TOOL_NAME || !is_plain {
        let help = "use 1 to 64 letters, digits, hyphens and underscores";
        return Err(value::expected("the name of a tool", node, help));
    }
    Ok(text.to_owned())
}

/// The JSON Schema of a tool's arguments, which are always an object.
fn schema(node: &Node) -> Result<Option<Value>, Wrong> {
    let help = "write for example { type: object, properties: { id: { type: string } } }";
    match &node.kind {
        Kind::Map(_) => {}
        Kind::Skipped => return Ok(None),
        _ => return Err(value::expected("a JSON Schema", node, help)),
    }
    let schema = value::json(node);
    let kind = schema.as_ref().and_then(|schema| schema.get("type"));
    match kind.is_none_or(|kind| kind == "object") {
        true => Ok(schema),
        false => Err(Wrong::new("has to be the schema of an object", help)),
    }
}

/// A candidate's name, which may be used even if the rest of it is broken.
pub struct Found {
    /// Its name.
    pub name: String,
    /// All of it, if it can be used.
    pub variant: Option<Variant>,
}

/// Reads `candidates`.
pub fn candidates(s: &mut Section<'_, '_, '_>, known: &Known) -> Vec<Found> {
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
        if name == AGAIN {
            let what = "a candidate cannot be called `again`, which is control asked once more";
            s.reader.problem(key.start, what, "choose another name");
        } else if name == CONTROL {
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
