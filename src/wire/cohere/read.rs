//! Reads Cohere's chat requests.

use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::request::Effort;
use crate::chat::request::Format;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Sampling;
use crate::chat::request::Source;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::fields::Fields;
use crate::wire::json::bad;
use crate::wire::json::not_readable;

/// Reads everything.
///
/// # Errors
/// A field is not as the dialect has it.
pub fn read(head: &ChatRequest) -> Result<Request> {
    let body: Value = serde_json::from_slice(&head.body)
        .map_err(|error| not_readable(&error, "a Cohere chat request"))?;
    let mut body = Fields::of(body, "")?;
    body.take("model");
    body.take("stream");
    let mut request = Request::new(DialectName::Cohere, head.model.as_str());
    (request.stream, request.stream_usage) = (head.stream, true);
    for (at, message) in body.items("messages")?.into_iter().enumerate() {
        let mut message = read_message(Fields::of(message, format!("messages[{at}]"))?)?;
        match request.messages.last_mut() {
            // Results of one round of calls belong together.
            Some(last)
                if (last.role, message.role) == (Role::Tool, Role::Tool)
                    && last.rest.is_empty()
                    && message.rest.is_empty() =>
            {
                last.parts.append(&mut message.parts);
            }
            _ => request.messages.push(message),
        }
    }
    for (at, tool) in body.items("tools")?.into_iter().enumerate() {
        request.tools.push(read_tool(Fields::of(tool, format!("tools[{at}]"))?)?);
    }
    request.tool_choice = match body.text("tool_choice")?.as_deref() {
        None => None,
        Some("REQUIRED") => Some(ToolChoice::Required),
        Some("NONE") => Some(ToolChoice::None),
        Some(other) => Some(ToolChoice::Own(Value::from(other))),
    };
    let strictness = body.flag("strict_tools")?;
    for tool in &mut request.tools {
        if let Tool::Function { strict, .. } = tool {
            *strict = strictness;
        }
    }
    request.sampling = read_sampling(&mut body)?;
    request.reasoning = body.object("thinking")?.map(read_thinking).transpose()?;
    request.format = body
        .object("response_format")?
        .and_then(|format| read_format(format).transpose())
        .transpose()?;
    request.rest = body.rest();
    Ok(request)
}

fn read_sampling(body: &mut Fields) -> Result<Sampling> {
    Ok(Sampling {
        max_tokens: body.count("max_tokens")?,
        temperature: body.number("temperature")?,
        top_p: body.number("p")?,
        top_k: body.count("k")?,
        stop: body.texts("stop_sequences")?,
        seed: body.integer("seed")?,
        frequency_penalty: body.number("frequency_penalty")?,
        presence_penalty: body.number("presence_penalty")?,
        choices: None,
        logprobs: body.flag("logprobs")?.filter(|wanted| *wanted).map(|_| 0),
    })
}

fn read_thinking(mut thinking: Fields) -> Result<Effort> {
    let enabled = match thinking.text("type")?.as_deref() {
        None => None,
        Some("enabled") => Some(true),
        Some("disabled") => Some(false),
        Some(_) => return Err(bad("`thinking.type` must be \"enabled\" or \"disabled\"")),
    };
    Ok(Effort { enabled, budget_tokens: thinking.count("token_budget")?, ..Effort::default() })
}

fn read_format(mut format: Fields) -> Result<Option<Format>> {
    let at = format.at("type");
    match format.required_text("type")?.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(match format.take("json_schema") {
            None => Format::Json,
            Some(schema) => Format::Schema { name: None, description: None, schema, strict: None },
        })),
        _ => Err(bad(format!("`{at}` must be \"text\" or \"json_object\""))),
    }
}

fn read_tool(mut tool: Fields) -> Result<Tool> {
    if tool.text("type")?.is_some_and(|kind| kind != "function") {
        return Err(bad(format!("`{}` must be \"function\"", tool.at("type"))));
    }
    let Some(mut function) = tool.object("function")? else {
        return Err(bad(format!("`{}` is missing", tool.at("function"))));
    };
    let name = function.required_text("name")?;
    let description = function.text("description")?;
    let parameters = function.take("parameters");
    let mut rest = tool.rest();
    function.rest_into("function", &mut rest);
    Ok(Tool::Function { name, description, parameters, strict: None, rest })
}

fn read_message(mut message: Fields) -> Result<Message> {
    let role = match message.required_text("role")?.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => {
            let at = message.at("role");
            return Err(bad(format!("`{at}` must be system, user, assistant or tool")));
        }
    };
    let mut parts = read_content(&mut message)?;
    if role == Role::Tool {
        let call_id = Some(message.required_text("tool_call_id")?);
        let result = PartKind::ToolResult { call_id, name: None, parts, is_error: false };
        parts = vec![Part::new(result)];
    }
    let (calls, at) = (message.items("tool_calls")?, message.at("tool_calls"));
    for (n, call) in calls.into_iter().enumerate() {
        parts.push(read_call(Fields::of(call, format!("{at}[{n}]"))?)?);
    }
    Ok(Message { role, parts, name: None, rest: message.rest() })
}

fn read_call(mut call: Fields) -> Result<Part> {
    call.take("type");
    let id = call.text("id")?;
    let Some(mut function) = call.object("function")? else {
        return Err(bad(format!("`{}` is missing", call.at("function"))));
    };
    let name = function.required_text("name")?;
    let arguments = function.text("arguments")?.unwrap_or_default();
    let mut rest = call.rest();
    function.rest_into("function", &mut rest);
    Ok(Part { kind: PartKind::ToolCall { id, name, arguments, seal: None }, rest })
}

fn read_content(message: &mut Fields) -> Result<Vec<Part>> {
    let at = message.at("content");
    match message.take("content") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(parts)) => {
            let part = |(n, part)| read_part(Fields::of(part, format!("{at}[{n}]"))?);
            parts.into_iter().enumerate().map(part).collect()
        }
        Some(_) => Err(bad(format!("`{at}` must be a string or a list"))),
    }
}

fn read_part(mut part: Fields) -> Result<Part> {
    let kind = part.required_text("type")?;
    let kind = match kind.as_str() {
        "text" => PartKind::Text(part.required_text("text")?),
        "thinking" => PartKind::Reasoning { text: part.required_text("thinking")?, seal: None },
        "image_url" => {
            let Some(mut image) = part.object("image_url")? else {
                return Err(bad(format!("`{}` is missing", part.at("image_url"))));
            };
            let source = source_of(image.required_text("url")?);
            PartKind::Image { source, detail: image.text("detail")? }
        }
        other => {
            let mut own = part.rest();
            own.insert("type".to_owned(), Value::from(other));
            return Ok(Part::new(PartKind::Own(Value::Object(own))));
        }
    };
    Ok(Part { kind, rest: part.rest() })
}

/// A `data:` URL holds the picture itself.
fn source_of(url: String) -> Source {
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match inline {
        Some((mime, data)) => Source::Inline { mime: mime.to_owned(), data: data.to_owned() },
        None => Source::Url { url, mime: None },
    }
}
