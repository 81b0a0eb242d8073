//! The function tools of a request, where each dialect has them, replaced by others.

use serde_json::Map;
use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::request::Message;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Tool;
use crate::error::Result;
use crate::wire::Recipient;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;

/// Where a dialect has its tools, and how one has to be chosen.
struct Place {
    /// The objects around both, from the outside, each with its other spelling.
    tools: &'static [[&'static str; 2]],
    choice: &'static [[&'static str; 2]],
    /// Fields that mean nothing without any tool.
    idle: &'static [&'static str],
}

const TOOLS: [&str; 2] = ["tools", "tools"];
const CHOICE: [&str; 2] = ["tool_choice", "tool_choice"];

/// Gemini's lists of functions, in both spellings.
const DECLARATIONS: [&str; 2] = ["functionDeclarations", "function_declarations"];

/// Whether requests of this dialect have tools.
pub fn is_known(dialect: DialectName) -> bool {
    place(dialect).is_some()
}

fn place(dialect: DialectName) -> Option<Place> {
    Some(match dialect {
        DialectName::OpenAi | DialectName::Responses => {
            Place { tools: &[TOOLS], choice: &[CHOICE], idle: &["parallel_tool_calls"] }
        }
        DialectName::Anthropic | DialectName::Cohere => {
            Place { tools: &[TOOLS], choice: &[CHOICE], idle: &[] }
        }
        DialectName::Gemini => Place {
            tools: &[TOOLS],
            choice: &[
                ["toolConfig", "tool_config"],
                ["functionCallingConfig", "function_calling_config"],
            ],
            idle: &[],
        },
        DialectName::Converse => Place {
            tools: &[["toolConfig", "toolConfig"], TOOLS],
            choice: &[["toolConfig", "toolConfig"], ["toolChoice", "toolChoice"]],
            idle: &["toolConfig"],
        },
        DialectName::Completions | DialectName::Embeddings | DialectName::GeminiEmbeddings => {
            return None;
        }
    })
}

/// Puts `tools` where the request's functions were; tools that the provider runs stay.
///
/// A choice that names a function which is no longer there goes with it.
///
/// # Errors
/// The provider has no tools.
pub fn replace(
    body: &mut Map<String, Value>,
    dialect: DialectName,
    tools: &[Tool],
    to: &Recipient<'_>,
    losses: &mut Losses,
) -> Result<()> {
    let Some(place) = place(dialect) else { return Ok(()) };
    let fresh = write(dialect, tools, to, losses)?;
    // Older spellings of OpenAI's, and Cohere's one switch for all.
    for older in ["functions", "function_call", "strict_tools"] {
        body.shift_remove(older);
    }
    if let Some(strict) = fresh.get("strict_tools") {
        body.insert("strict_tools".to_owned(), strict.clone());
    }
    let fresh = look(&fresh, place.tools).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = match take(body, place.tools) {
        Some(Value::Array(old)) => old,
        _ => Vec::new(),
    };
    let first = all.iter().position(is_function);
    all.iter_mut().for_each(without_declarations);
    let at = first.unwrap_or(all.len());
    let rear = all.split_off(at);
    let rear = rear.into_iter().filter(|tool| !is_function(tool) && !is_hollow(tool));
    all.retain(|tool| !is_hollow(tool));
    all.extend(fresh.into_iter().chain(rear.collect::<Vec<_>>()));
    let is_empty = !all.iter().any(|tool| tool.get("cachePoint").is_none());
    let is_lost = look(body, place.choice).is_some_and(|choice| {
        named(choice).iter().any(|name| !all.iter().any(|tool| offers(tool, name)))
    });
    if is_empty || is_lost {
        take(body, place.choice);
    }
    if is_lost && !is_empty {
        losses.leave_out(Feature::UnknownField, "tool_choice")?;
    }
    if is_empty {
        place.idle.iter().for_each(|idle| drop(body.shift_remove(*idle)));
    } else {
        put(body, place.tools, Value::Array(all));
    }
    Ok(())
}

/// The tools as the dialect's own writer writes those of another dialect's request.
fn write(
    dialect: DialectName,
    tools: &[Tool],
    to: &Recipient<'_>,
    losses: &mut Losses,
) -> Result<Map<String, Value>> {
    if tools.is_empty() {
        return Ok(Map::new());
    }
    let other = match dialect {
        DialectName::OpenAi => DialectName::Anthropic,
        _ => DialectName::OpenAi,
    };
    let mut request = Request::new(other, to.model);
    request.messages = vec![Message::text(Role::User, ".")];
    request.tools = tools.to_vec();
    let written = dialect.dialect().write(&request, to)?;
    for (feature, field) in written.losses.fields() {
        losses.leave_out(feature, field)?;
    }
    Ok(serde_json::from_slice(&written.body).unwrap_or_default())
}

/// Whether a tool is a function of the application's, in any dialect but Gemini's.
fn is_function(tool: &Value) -> bool {
    match tool.get("type").and_then(Value::as_str) {
        Some(kind) => kind == "function" || kind == "custom" && tool.get("input_schema").is_some(),
        None => ["function", "input_schema", "toolSpec", DECLARATIONS[0], DECLARATIONS[1]]
            .iter()
            .any(|key| tool.get(key).is_some()),
    }
}

/// Gemini has other tools in the same entry.
fn without_declarations(tool: &mut Value) {
    if let Value::Object(fields) = tool {
        DECLARATIONS.iter().for_each(|key| drop(fields.shift_remove(*key)));
    }
}

fn is_hollow(tool: &Value) -> bool {
    tool.as_object().is_some_and(Map::is_empty)
}

/// Whether a tool answers to a name.
fn offers(tool: &Value, name: &str) -> bool {
    let paths = ["/name", "/function/name", "/toolSpec/name"];
    let declared = DECLARATIONS.iter().filter_map(|key| tool.get(key)?.as_array()).flatten();
    paths.iter().filter_map(|path| tool.pointer(path)).any(|own| own == name)
        || declared.filter_map(|function| function.get("name")).any(|own| own == name)
}

/// The names of the functions that a choice allows or demands.
fn named(choice: &Value) -> Vec<&str> {
    match choice {
        Value::Array(items) => items.iter().flat_map(named).collect(),
        Value::Object(fields) => {
            let found = fields.iter().flat_map(|(key, value)| match (key.as_str(), value) {
                ("name", Value::String(name)) => vec![name.as_str()],
                ("allowedFunctionNames" | "allowed_function_names", Value::Array(names)) => {
                    names.iter().filter_map(Value::as_str).collect()
                }
                _ => named(value),
            });
            found.collect()
        }
        _ => Vec::new(),
    }
}

/// The key that is there, else the first spelling.
fn spelled(fields: &Map<String, Value>, keys: &[&'static str; 2]) -> &'static str {
    let [usual, other] = *keys;
    if fields.contains_key(other) { other } else { usual }
}

fn look<'a>(fields: &'a Map<String, Value>, path: &[[&'static str; 2]]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let found = fields.get(spelled(fields, first))?;
    if rest.is_empty() { Some(found) } else { look(found.as_object()?, rest) }
}

fn take(fields: &mut Map<String, Value>, path: &[[&'static str; 2]]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    let key = spelled(fields, first);
    if rest.is_empty() {
        return fields.shift_remove(key);
    }
    let inner = fields.get_mut(key)?.as_object_mut()?;
    let taken = take(inner, rest);
    if inner.is_empty() {
        fields.shift_remove(key);
    }
    taken
}

fn put(fields: &mut Map<String, Value>, path: &[[&'static str; 2]], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    let key = spelled(fields, first);
    if rest.is_empty() {
        fields.insert(key.to_owned(), value);
        return;
    }
    let inner = fields.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}
