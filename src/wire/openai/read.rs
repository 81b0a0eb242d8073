//! Reads chat completion requests.

mod message;
mod part;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::Effort;
use crate::chat::request::Format;
use crate::chat::request::Request;
use crate::chat::request::Sampling;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::fields::Fields;
use crate::wire::json::not_readable;
pub use crate::wire::openai::read::message::IS_LIST;

/// Fields with several spellings of one meaning; each is kept as it was.
const SPELLED: &[&str] = &[
    "enable_thinking",
    "function_call",
    "functions",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "reasoning",
    "reasoning_effort",
    "stop",
    "stream",
    "stream_options",
    "thinking",
    "thinking_budget",
    "top_logprobs",
];

/// The request, whole.
///
/// # Errors
/// A field we understand holds what it cannot.
pub fn request(head: &ChatRequest) -> Result<Request> {
    let body: Value = serde_json::from_slice(&head.body)
        .map_err(|error| not_readable(&error, "a chat completion request"))?;
    let mut fields = Fields::of(body, "")?;
    let mut request = Request::new(DialectName::OpenAi, head.model.as_str());
    for key in SPELLED {
        if let Some(value) = fields.peek(key) {
            request.spelling.insert((*key).to_owned(), value.clone());
        }
    }
    fields.take("model");
    fields.take("stream");
    request.stream = head.stream;
    request.stream_usage = stream_usage(&mut fields)?;
    let messages = fields.list("messages")?;
    let messages = messages.ok_or_else(|| fields.wrong("messages", "a list of messages"))?;
    message::read(messages, &mut request)?;
    tools(&mut fields, &mut request)?;
    request.tool_choice = tool_choice(&mut fields, &mut request.spelling)?;
    request.parallel_tools = fields.flag("parallel_tool_calls")?;
    request.format = format(&mut fields, &mut request.spelling)?;
    request.reasoning = effort(&mut fields)?;
    request.sampling = sampling(&mut fields)?;
    request.end_user = fields.text("user")?;
    request.metadata = fields.take("metadata");
    request.rest = fields.rest();
    Ok(request)
}

/// Whether a stream is to end with the usage; other options stay in the body.
///
/// # Errors
/// The options are no object.
pub fn stream_usage(fields: &mut Fields) -> Result<bool> {
    let Some(mut options) = fields.object("stream_options")? else { return Ok(false) };
    let wanted = options.flag("include_usage")?.unwrap_or(false);
    fields.leave("stream_options", options);
    Ok(wanted)
}

/// How tokens are drawn and when to end; legacy completions spell `logprobs` otherwise.
fn sampling(fields: &mut Fields) -> Result<Sampling> {
    let mut sampling = plain_sampling(fields)?;
    let old = fields.count("max_tokens")?;
    sampling.max_tokens = fields.count("max_completion_tokens")?.or(old);
    sampling.top_k = fields.count("top_k")?;
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    let rivals = fields.count("top_logprobs")?.unwrap_or(0);
    sampling.logprobs = wanted.then_some(rivals);
    Ok(sampling)
}

/// What chat and legacy completions spell alike.
///
/// # Errors
/// A field holds what it cannot.
pub fn plain_sampling(fields: &mut Fields) -> Result<Sampling> {
    Ok(Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        stop: stop(fields)?,
        seed: fields.integer("seed")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        presence_penalty: fields.number("presence_penalty")?,
        choices: fields.count("n")?,
        ..Sampling::default()
    })
}

fn stop(fields: &mut Fields) -> Result<Vec<String>> {
    let wrong = || fields.wrong("stop", "a string or a list of strings");
    let words = match fields.peek("stop") {
        None => Vec::new(),
        Some(Value::String(word)) => vec![word.clone()],
        Some(Value::Array(words)) => {
            let words = words.iter().map(|word| word.as_str().map(str::to_owned));
            words.collect::<Option<_>>().ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    fields.take("stop");
    Ok(words)
}

/// How much to think, in any of the ways that are in use; the more exact one wins.
fn effort(fields: &mut Fields) -> Result<Option<Effort>> {
    let mut effort = Effort::default();
    if let Some(mut object) = fields.object("reasoning")? {
        effort.enabled = object.flag("enabled")?;
        effort.level = object.text("effort")?;
        effort.budget_tokens = object.count("max_tokens")?;
        effort.summary = object.text("summary")?;
        if object.flag("exclude")? == Some(true) {
            effort.summary = Some("none".to_owned());
        }
        fields.leave("reasoning", object);
    }
    if let Some(mut object) = fields.object("thinking")? {
        let switch = object.text("type")?;
        effort.enabled = match switch.as_deref() {
            Some("enabled" | "adaptive") => Some(true),
            Some("disabled") => Some(false),
            _ => effort.enabled,
        };
        effort.budget_tokens = object.count("budget_tokens")?.or(effort.budget_tokens);
        fields.leave("thinking", object);
    }
    effort.enabled = fields.flag("enable_thinking")?.or(effort.enabled);
    effort.budget_tokens = fields.count("thinking_budget")?.or(effort.budget_tokens);
    effort.level = fields.text("reasoning_effort")?.or(effort.level);
    Ok((effort != Effort::default()).then_some(effort))
}

fn tools(fields: &mut Fields, request: &mut Request) -> Result<()> {
    let mut untyped = Vec::new();
    let tools = fields.list("tools")?;
    let is_empty = tools.as_ref().is_some_and(Vec::is_empty);
    for (at, tool) in tools.unwrap_or_default().into_iter().enumerate() {
        let path = format!("tools[{at}]");
        let kind = tool.get("type").and_then(Value::as_str);
        let is_function = kind.map_or(tool.get("function").is_some(), |kind| kind == "function");
        if is_function {
            // Mistral's own SDK writes no type.
            untyped.extend(kind.is_none().then_some(at));
            request.tools.push(function_tool(Fields::of(tool, path)?)?);
        } else {
            Fields::of(tool.clone(), path)?;
            request.tools.push(Tool::Own(tool));
        }
    }
    if is_empty || !untyped.is_empty() {
        request.spelling.insert("tools".to_owned(), json!(untyped));
    }
    for (at, function) in fields.list("functions")?.unwrap_or_default().into_iter().enumerate() {
        let function = Fields::of(function, format!("functions[{at}]"))?;
        let (tool, mut rest) = function_parts(function)?;
        request.tools.push(with_rest(tool, std::mem::take(&mut rest)));
    }
    Ok(())
}

fn function_tool(mut tool: Fields) -> Result<Tool> {
    tool.take("type");
    let function = tool.object("function")?;
    let function =
        function.ok_or_else(|| tool.wrong("function", "an object with the function's name"))?;
    let (function, inner) = function_parts(function)?;
    if !inner.is_empty() {
        tool.keep("function", Value::Object(inner));
    }
    Ok(with_rest(function, tool.rest()))
}

fn with_rest(mut tool: Tool, fields: Map<String, Value>) -> Tool {
    if let Tool::Function { rest, .. } = &mut tool {
        *rest = fields;
    }
    tool
}

fn function_parts(mut function: Fields) -> Result<(Tool, Map<String, Value>)> {
    let tool = Tool::Function {
        name: function.required_text("name")?,
        description: function.text("description")?,
        parameters: function.take("parameters"),
        strict: function.flag("strict")?,
        rest: Map::new(),
    };
    Ok((tool, function.rest()))
}

fn tool_choice(
    fields: &mut Fields,
    spelling: &mut Map<String, Value>,
) -> Result<Option<ToolChoice>> {
    let old = fields.take("function_call");
    let choice = fields.take("tool_choice");
    let Some(choice) = choice.or(old) else { return Ok(None) };
    let named = choice.pointer("/function/name").or_else(|| choice.get("name"));
    Ok(Some(match (&choice, named) {
        (Value::String(word), _) => match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            // Mistral's word.
            "any" => {
                spelling.insert("tool_choice".to_owned(), choice.clone());
                ToolChoice::Required
            }
            _ => ToolChoice::Own(choice),
        },
        (Value::Object(object), Some(Value::String(name)))
            if object.get("type").is_none_or(|kind| kind == "function") =>
        {
            ToolChoice::Named(name.clone())
        }
        (Value::Object(_), _) => ToolChoice::Own(choice),
        _ => return Err(fields.wrong("tool_choice", "a word or an object")),
    }))
}

fn format(fields: &mut Fields, spelling: &mut Map<String, Value>) -> Result<Option<Format>> {
    let Some(whole) = fields.take("response_format") else { return Ok(None) };
    let mut format = Fields::of(whole.clone(), "response_format")?;
    let schema = match format.text("type")?.as_deref() {
        Some("text") => {
            spelling.insert("response_format".to_owned(), whole);
            return Ok(None);
        }
        Some("json_object") => None,
        Some("json_schema") => format.object("json_schema")?,
        _ => return Ok(Some(Format::Own(whole))),
    };
    let Some(mut schema) = schema else {
        let is_known = format.rest().is_empty() && whole.get("json_schema").is_none();
        return Ok(Some(if is_known { Format::Json } else { Format::Own(whole) }));
    };
    let (name, description) = (schema.text("name")?, schema.text("description")?);
    let (strict, of) = (schema.flag("strict")?, schema.take("schema"));
    match of {
        Some(of) if schema.rest().is_empty() && format.rest().is_empty() => {
            Ok(Some(Format::Schema { name, description, schema: of, strict }))
        }
        _ => Ok(Some(Format::Own(whole))),
    }
}
