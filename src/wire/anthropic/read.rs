//! Reads the requests of Anthropic's clients.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

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
use crate::wire::anthropic::turn;
use crate::wire::fields::Fields;
use crate::wire::json::bad;
use crate::wire::json::not_readable;

/// Reads a request for an answer.
///
/// # Errors
/// As the API's own: a required field is missing, or one has the wrong type.
pub fn request(head: &ChatRequest) -> Result<Request> {
    let request = without_limit(head)?;
    if request.sampling.max_tokens.is_none() {
        return Err(bad("`max_tokens` is missing: a messages request must say the most tokens \
                        that the answer may have"));
    }
    Ok(request)
}

/// Reads a request that need not limit its answer, such as one to count its tokens.
///
/// # Errors
/// As [`request`].
pub fn without_limit(head: &ChatRequest) -> Result<Request> {
    let body: Map<String, Value> = serde_json::from_slice(&head.body)
        .map_err(|error| not_readable(&error, "a messages request"))?;
    let mut body = Fields::of(Value::Object(body), "")?;
    let mut request = Request::new(DialectName::Anthropic, head.model.as_str());
    body.take("model");
    body.take("stream");
    request.stream = head.stream;
    messages(&mut body, &mut request)?;
    sampling(&mut body, &mut request)?;
    tools(&mut body, &mut request)?;
    if let Some(mut metadata) = body.object("metadata")? {
        request.end_user = metadata.text("user_id")?;
        let labels = metadata.rest();
        request.metadata = (!labels.is_empty()).then_some(Value::Object(labels));
    }
    reasoning(&mut body, &mut request)?;
    request.rest.append(&mut body.rest());
    Ok(request)
}

fn messages(body: &mut Fields, request: &mut Request) -> Result<()> {
    match body.take("system") {
        None => {}
        Some(Value::String(text)) => request.messages.push(Message::text(Role::System, text)),
        Some(Value::Array(blocks)) => {
            let parts = turn::parts(blocks, "system")?;
            request.messages.push(Message::new(Role::System, parts));
        }
        Some(_) => return Err(bad("`system` must be a string or a list of text blocks")),
    }
    let turns = body.list("messages")?.ok_or_else(|| bad("`messages` is missing"))?;
    for (at, turn) in turns.into_iter().enumerate() {
        turn::read(turn, at, &mut request.messages)?;
    }
    Ok(())
}

fn sampling(body: &mut Fields, request: &mut Request) -> Result<()> {
    let sampling = &mut request.sampling;
    sampling.max_tokens = body.count("max_tokens")?;
    sampling.temperature = body.number("temperature")?;
    sampling.top_p = body.number("top_p")?;
    sampling.top_k = body.count("top_k")?;
    for (at, word) in body.list("stop_sequences")?.unwrap_or_default().into_iter().enumerate() {
        let Value::String(word) = word else {
            return Err(bad(format!("`stop_sequences[{at}]` must be a string")));
        };
        sampling.stop.push(word);
    }
    Ok(())
}

fn tools(body: &mut Fields, request: &mut Request) -> Result<()> {
    for (at, tool) in body.list("tools")?.unwrap_or_default().into_iter().enumerate() {
        request.tools.push(self::tool(tool, &format!("tools[{at}]"))?);
    }
    let Some(mut choice) = body.object("tool_choice")? else { return Ok(()) };
    let kind = choice.text("type")?.unwrap_or_default();
    let disabled = choice.flag("disable_parallel_tool_use")?;
    request.parallel_tools = disabled.map(|disabled| !disabled);
    request.tool_choice = Some(match kind.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.required_text("name")?),
        _ => {
            let mut whole = choice.rest();
            whole.insert("type".to_owned(), Value::from(kind));
            ToolChoice::Own(Value::Object(whole))
        }
    });
    Ok(())
}

/// Tools of other types than `custom` are Anthropic's own.
fn tool(tool: Value, path: &str) -> Result<Tool> {
    let Value::Object(tool) = tool else {
        return Err(bad(format!("`{path}` must be an object")));
    };
    let kind = tool.get("type").filter(|kind| !kind.is_null());
    if kind.is_some_and(|kind| kind != "custom") {
        return Ok(Tool::Own(Value::Object(tool)));
    }
    let mut tool = Fields::of(Value::Object(tool), path)?;
    tool.take("type");
    let schema = tool.foreign_object("input_schema")?;
    let schema = schema.ok_or_else(|| bad(format!("`{path}.input_schema` is missing")))?;
    Ok(Tool::Function {
        name: tool.required_text("name")?,
        description: tool.text("description")?,
        parameters: Some(Value::Object(schema)),
        strict: tool.flag("strict")?,
        rest: tool.rest(),
    })
}

/// How much to think and the shape of the answer stand in three fields; what of them has no
/// canonical place stays under their names, to be merged again.
fn reasoning(body: &mut Fields, request: &mut Request) -> Result<()> {
    let mut effort = Effort::default();
    if let Some(mut thinking) = body.object("thinking")? {
        match thinking.text("type")?.as_deref() {
            Some("enabled" | "adaptive") => effort.enabled = Some(true),
            Some("disabled") => effort.enabled = Some(false),
            Some(other) => thinking.keep("type", Value::from(other)),
            None => return Err(bad("`thinking.type` is missing")),
        }
        effort.budget_tokens = thinking.count("budget_tokens")?;
        match thinking.text("display")?.as_deref() {
            Some("summarized") => effort.summary = Some("auto".to_owned()),
            Some("omitted") => effort.summary = Some("none".to_owned()),
            Some(other) => thinking.keep("display", Value::from(other)),
            None => {}
        }
        keep("thinking", thinking.rest(), request);
    }
    if let Some(mut output) = body.object("output_config")? {
        effort.level = output.text("effort")?;
        request.format = output.take("format").map(format);
        keep("output_config", output.rest(), request);
    }
    // The field's name while it was in beta.
    if let Some(value) = body.take("output_format") {
        request.format = Some(format(value));
    }
    request.reasoning = (effort != Effort::default()).then_some(effort);
    Ok(())
}

fn keep(name: &str, rest: Map<String, Value>, request: &mut Request) {
    if !rest.is_empty() {
        request.rest.insert(name.to_owned(), Value::Object(rest));
    }
}

fn format(value: Value) -> Format {
    let is_plain = value.as_object().is_some_and(|format| format.len() == 2);
    match value.get("schema") {
        Some(schema) if is_plain && value["type"] == json!("json_schema") => {
            let schema = schema.clone();
            Format::Schema { name: None, description: None, schema, strict: None }
        }
        _ => Format::Own(value),
    }
}
