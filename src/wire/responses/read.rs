//! Reads a whole request into the canonical form.

use serde_json::Map;
use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::request::Effort;
use crate::chat::request::Format;
use crate::chat::request::Message;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::fields::Fields;
use crate::wire::json;
use crate::wire::json::bad;
use crate::wire::responses::LOGPROBS;
use crate::wire::responses::history;

/// Reads everything.
///
/// # Errors
/// A field we understand has another type than the API says.
pub fn request(head: &ChatRequest) -> Result<Request> {
    let body: Value = serde_json::from_slice(&head.body)
        .map_err(|error| json::not_readable(&error, "a response request"))?;
    let mut fields = Fields::of(body, "").map_err(|_| bad("the body must be an object"))?;
    let mut request = Request::new(DialectName::Responses, head.model.as_str());
    fields.take("model");
    fields.take("stream");
    request.stream = head.stream;
    // A response's end always says its usage.
    request.stream_usage = true;
    request.messages = messages(&mut fields)?;
    request.tools = tools(&mut fields)?;
    request.tool_choice = fields.take("tool_choice").map(tool_choice).transpose()?;
    request.parallel_tools = fields.flag("parallel_tool_calls")?;
    request.format = format(&mut fields)?;
    request.reasoning = reasoning(&mut fields)?;
    sampling(&mut fields, &mut request)?;
    request.end_user = fields.text("user")?;
    request.metadata = fields.take("metadata");
    if fields.flag("background")? == Some(true) {
        fields.keep("background", Value::Bool(true));
    }
    request.rest = fields.rest();
    Ok(request)
}

/// The instructions, which become the first system message, and the input.
fn messages(fields: &mut Fields) -> Result<Vec<Message>> {
    let instructions = fields.text("instructions")?;
    let has_instructions = instructions.is_some();
    let mut messages: Vec<Message> =
        instructions.into_iter().map(|text| Message::text(Role::System, text)).collect();
    match fields.take("input") {
        None => {}
        Some(Value::String(text)) => messages.push(Message::text(Role::User, text)),
        Some(Value::Array(items)) => history::read(items, &mut messages)?,
        Some(_) => return Err(bad("`input` must be a string or a list of items")),
    }
    if !has_instructions && let Some(first) = messages.first_mut() {
        mark_as_item(first);
    }
    Ok(messages)
}

/// A system message that stands first is written as instructions unless it says it is an item.
fn mark_as_item(first: &mut Message) {
    if first.role == Role::System {
        first.rest.insert("type".to_owned(), Value::from("message"));
    }
}

fn tools(fields: &mut Fields) -> Result<Vec<Tool>> {
    let tools = fields.list("tools")?.unwrap_or_default();
    tools.into_iter().enumerate().map(|(at, tool)| self::tool(tool, at)).collect()
}

fn tool(tool: Value, at: usize) -> Result<Tool> {
    let mut fields = Fields::of(tool, format!("tools[{at}]"))?;
    if fields.word("type") != Some("function") {
        return Ok(Tool::Own(fields.whole_again()));
    }
    fields.take("type");
    Ok(Tool::Function {
        name: fields.required_text("name")?,
        description: fields.text("description")?,
        parameters: fields.take("parameters"),
        strict: fields.flag("strict")?,
        rest: fields.rest(),
    })
}

fn tool_choice(choice: Value) -> Result<ToolChoice> {
    match &choice {
        Value::String(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Ok(ToolChoice::Own(choice)),
        },
        Value::Object(fields) => {
            let is_function = fields.get("type").and_then(Value::as_str) == Some("function");
            match fields.get("name").and_then(Value::as_str) {
                Some(name) if is_function && fields.len() == 2 => {
                    Ok(ToolChoice::Named(name.to_owned()))
                }
                _ => Ok(ToolChoice::Own(choice)),
            }
        }
        _ => Err(bad("`tool_choice` must be a string or an object")),
    }
}

/// `text.format`; the rest of `text` stays.
fn format(fields: &mut Fields) -> Result<Option<Format>> {
    let Some(mut text) = fields.object("text")? else { return Ok(None) };
    let format = text.object("format")?.map(one_format).transpose()?.flatten();
    keep_rest(fields, "text", text.rest());
    Ok(format)
}

fn one_format(mut format: Fields) -> Result<Option<Format>> {
    match format.word("type") {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Format::Json)),
        Some("json_schema") => {
            let name = format.text("name")?;
            let description = format.text("description")?;
            let strict = format.flag("strict")?;
            let at = format.at("schema");
            let schema = format.take("schema").ok_or_else(|| bad(format!("`{at}` is missing")))?;
            Ok(Some(Format::Schema { name, description, schema, strict }))
        }
        _ => Ok(Some(Format::Own(format.whole_again()))),
    }
}

fn reasoning(fields: &mut Fields) -> Result<Option<Effort>> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok(None) };
    let level = reasoning.text("effort")?;
    let summary = reasoning.text("summary")?;
    keep_rest(fields, "reasoning", reasoning.rest());
    let is_said = level.is_some() || summary.is_some();
    Ok(is_said.then(|| Effort { level, summary, ..Effort::default() }))
}

fn keep_rest(fields: &mut Fields, key: &str, rest: Map<String, Value>) {
    if !rest.is_empty() {
        fields.keep(key, Value::Object(rest));
    }
}

fn sampling(fields: &mut Fields, request: &mut Request) -> Result<()> {
    let sampling = &mut request.sampling;
    sampling.max_tokens = fields.count("max_output_tokens")?;
    sampling.temperature = fields.number("temperature")?;
    sampling.top_p = fields.number("top_p")?;
    let mut include = fields.list("include")?.unwrap_or_default();
    if include.iter().any(|what| what == LOGPROBS) {
        include.retain(|what| what != LOGPROBS);
        sampling.logprobs = Some(fields.count("top_logprobs")?.unwrap_or(0));
    }
    if !include.is_empty() {
        fields.keep("include", Value::Array(include));
    }
    Ok(())
}
