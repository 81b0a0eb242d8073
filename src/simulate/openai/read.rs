//! Reads a chat completions request, refusing what OpenAI refuses.

use serde_json::{Map, Value};

use crate::simulate::ask::{Ask, Format, Role, Streaming, Tool, ToolChoice, Turn};
use crate::simulate::reply::Refusal;

const MAX_CHOICES: u64 = 128;
const MAX_TOP_LOGPROBS: u64 = 20;

/// Reads the body of a request.
pub(crate) fn read(body: &[u8]) -> Result<Ask, Refusal> {
    let mut root = match serde_json::from_slice(body) {
        Ok(Value::Object(root)) => root,
        Ok(_) => return Err(Refusal::new(400, "The body must be a JSON object.")),
        Err(_) => return Err(Refusal::new(400, "The body is not valid JSON.")),
    };
    let model = match root.remove("model") {
        Some(Value::String(model)) if !model.is_empty() => model,
        None | Some(Value::Null) => {
            let message = "you must provide a model parameter";
            return Err(Refusal::new(400, message).on("model"));
        }
        Some(_) => return Err(wrong_type("model", "a string")),
    };
    let turns = turns(root.remove("messages"))?;
    let tools = tools(root.remove("tools"))?;
    let newer = number(&root, "max_completion_tokens", 1..=u64::MAX)?;
    let older = number(&root, "max_tokens", 1..=u64::MAX)?;
    Ok(Ask {
        model,
        turns,
        max_tokens: newer.or(older).map(to_usize),
        choices: number(&root, "n", 1..=MAX_CHOICES)?.map_or(1, to_usize),
        stop: stop(root.get("stop"))?,
        tool_choice: tool_choice(root.get("tool_choice"), &tools)?,
        tools,
        parallel_tools: flag(&root, "parallel_tool_calls")?.unwrap_or(true),
        top_logprobs: top_logprobs(&root)?,
        format: format(root.get("response_format"))?,
        stream: stream(&root)?,
    })
}

fn turns(messages: Option<Value>) -> Result<Vec<Turn>, Refusal> {
    let messages = match messages {
        Some(Value::Array(messages)) => messages,
        None | Some(Value::Null) => {
            let refusal = Refusal::new(400, "Missing required parameter: 'messages'.");
            return Err(refusal.on("messages").code("missing_required_parameter"));
        }
        Some(_) => return Err(wrong_type("messages", "an array of messages")),
    };
    if messages.is_empty() {
        return Err(bad("messages", "'messages' must have at least one message."));
    }
    messages.into_iter().map(turn).collect()
}

fn turn(message: Value) -> Result<Turn, Refusal> {
    let Value::Object(mut message) = message else {
        return Err(wrong_type("messages", "an array of objects"));
    };
    let role = match message.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => Role::Tool,
        Some(_) => return Err(bad("messages", "A message has an unknown role.")),
        None => return Err(bad("messages", "A message has no role.")),
    };
    let text = match message.remove("content") {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        None | Some(Value::Null) if role == Role::Assistant => String::new(),
        _ => return Err(bad("messages", "A message has no content that is text or parts.")),
    };
    Ok(Turn { role, text })
}

fn tools(tools: Option<Value>) -> Result<Vec<Tool>, Refusal> {
    let tools = match tools {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(wrong_type("tools", "an array")),
    };
    // Other kinds of tools exist; the simulator calls functions only.
    let function = |mut tool: Value| tool.get_mut("function").map(Value::take);
    let functions = tools.into_iter().filter_map(function);
    functions
        .map(|mut function| match function.get("name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => Ok(Tool {
                name: name.to_owned(),
                parameters: function.get_mut("parameters").map(Value::take).unwrap_or_default(),
            }),
            _ => Err(bad("tools", "A tool has no name.")),
        })
        .collect()
}

fn tool_choice(choice: Option<&Value>, tools: &[Tool]) -> Result<ToolChoice, Refusal> {
    let choice = match choice {
        None | Some(Value::Null) => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => return Ok(ToolChoice::Auto),
            "none" => return Ok(ToolChoice::Never),
            "required" if tools.is_empty() => {
                return Err(bad("tool_choice", "'tool_choice' is set, but there are no tools."));
            }
            "required" => return Ok(ToolChoice::Required),
            _ => return Err(bad("tool_choice", "'tool_choice' is not a known word.")),
        },
        Some(other) => other,
    };
    match choice.pointer("/function/name").and_then(Value::as_str) {
        Some(name) if tools.iter().any(|tool| tool.name == name) => {
            Ok(ToolChoice::Named(name.to_owned()))
        }
        _ => Err(bad("tool_choice", "'tool_choice' names no tool of 'tools'.")),
    }
}

fn format(format: Option<&Value>) -> Result<Format, Refusal> {
    let Some(format) = format.filter(|format| !format.is_null()) else { return Ok(Format::Text) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Json),
        Some("json_schema") => match format.pointer("/json_schema/schema") {
            Some(schema) => Ok(Format::Schema(schema.clone())),
            None => Err(bad("response_format", "'response_format' has no schema.")),
        },
        _ => Err(bad("response_format", "'response_format' has no known type.")),
    }
}

fn top_logprobs(root: &Map<String, Value>) -> Result<Option<usize>, Refusal> {
    let wanted = flag(root, "logprobs")?.unwrap_or(false);
    let top = number(root, "top_logprobs", 0..=MAX_TOP_LOGPROBS)?;
    match (wanted, top) {
        (false, Some(_)) => Err(bad("top_logprobs", "'top_logprobs' needs 'logprobs'.")),
        (false, None) => Ok(None),
        (true, top) => Ok(Some(top.map_or(0, to_usize))),
    }
}

fn stream(root: &Map<String, Value>) -> Result<Option<Streaming>, Refusal> {
    let options = root.get("stream_options").filter(|options| !options.is_null());
    if !flag(root, "stream")?.unwrap_or(false) {
        return match options {
            Some(_) => Err(bad("stream_options", "'stream_options' needs 'stream'.")),
            None => Ok(None),
        };
    }
    let usage = options.and_then(|options| options.get("include_usage"));
    Ok(Some(Streaming { include_usage: usage.and_then(Value::as_bool).unwrap_or(false) }))
}

fn stop(stop: Option<&Value>) -> Result<Vec<String>, Refusal> {
    match stop {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(many)) if many.len() <= 4 => {
            Ok(many.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        Some(_) => Err(wrong_type("stop", "a string or up to four strings")),
    }
}

fn flag(root: &Map<String, Value>, key: &'static str) -> Result<Option<bool>, Refusal> {
    match root.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(set)) => Ok(Some(*set)),
        Some(_) => Err(wrong_type(key, "true or false")),
    }
}

fn number(
    root: &Map<String, Value>,
    key: &'static str,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Refusal> {
    let value = match root.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    match value.as_u64() {
        Some(number) if allowed.contains(&number) => Ok(Some(number)),
        Some(_) => Err(bad(key, &format!("'{key}' is out of its range."))),
        None => Err(wrong_type(key, "a whole number")),
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn bad(param: &'static str, message: &str) -> Refusal {
    Refusal::new(400, message).on(param).code("invalid_value")
}

fn wrong_type(param: &'static str, wanted: &str) -> Refusal {
    let message = format!("Invalid type for '{param}': expected {wanted}.");
    Refusal::new(400, message).on(param).code("invalid_type")
}
