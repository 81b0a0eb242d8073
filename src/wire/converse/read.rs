//! Reads Converse requests.

use serde_json::Map;
use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::Maker;
use crate::chat::request::Format;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Source;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::converse::media;
use crate::wire::fields::Fields;
use crate::wire::json::bad;
use crate::wire::json::not_readable;
use crate::wire::seal;

/// Reads everything.
///
/// # Errors
/// A field is not as the dialect has it.
pub fn read(head: &ChatRequest) -> Result<Request> {
    let body: Value = serde_json::from_slice(&head.body)
        .map_err(|error| not_readable(&error, "a Converse request"))?;
    let mut body = Fields::of(body, "")?;
    let mut request = Request::new(DialectName::Converse, head.model.as_str());
    (request.stream, request.stream_usage) = (head.stream, true);
    let system = read_blocks(body.items("system")?, "system")?;
    if !system.is_empty() {
        request.messages.push(Message::new(Role::System, system));
    }
    for (at, message) in body.items("messages")?.into_iter().enumerate() {
        read_turn(Fields::of(message, format!("messages[{at}]"))?, &mut request.messages)?;
    }
    let mut rest = Map::new();
    if let Some(config) = body.object("inferenceConfig")? {
        read_inference(config, &mut request, &mut rest)?;
    }
    if let Some(config) = body.object("toolConfig")? {
        read_tools(config, &mut request, &mut rest)?;
    }
    if let Some(config) = body.object("outputConfig")? {
        read_output(config, &mut request, &mut rest)?;
    }
    request.metadata = body.take("requestMetadata");
    request.rest = body.rest();
    request.rest.extend(rest);
    Ok(request)
}

fn read_inference(
    mut config: Fields,
    request: &mut Request,
    rest: &mut Map<String, Value>,
) -> Result<()> {
    let sampling = &mut request.sampling;
    sampling.max_tokens = config.count("maxTokens")?;
    sampling.temperature = config.number("temperature")?;
    sampling.top_p = config.number("topP")?;
    sampling.stop = config.texts("stopSequences")?;
    config.rest_into("inferenceConfig", rest);
    Ok(())
}

fn read_tools(
    mut config: Fields,
    request: &mut Request,
    rest: &mut Map<String, Value>,
) -> Result<()> {
    for (at, tool) in config.items("tools")?.into_iter().enumerate() {
        request.tools.push(read_tool(tool, &format!("toolConfig.tools[{at}]"))?);
    }
    request.tool_choice = match config.take("toolChoice") {
        None => None,
        Some(choice) if choice.get("auto").is_some() => Some(ToolChoice::Auto),
        Some(choice) if choice.get("any").is_some() => Some(ToolChoice::Required),
        Some(choice) => match choice.pointer("/tool/name").and_then(Value::as_str) {
            Some(name) => Some(ToolChoice::Named(name.to_owned())),
            None => Some(ToolChoice::Own(choice)),
        },
    };
    config.rest_into("toolConfig", rest);
    Ok(())
}

fn read_tool(tool: Value, at: &str) -> Result<Tool> {
    let mut fields = Fields::of(tool, at)?;
    let Some(mut spec) = fields.object("toolSpec")? else {
        return Ok(Tool::Own(Value::Object(fields.rest())));
    };
    let name = spec.required_text("name")?;
    let description = spec.text("description")?;
    let strict = spec.flag("strict")?;
    let parameters = spec.object("inputSchema")?.and_then(|mut schema| schema.take("json"));
    let mut rest = fields.rest();
    spec.rest_into("toolSpec", &mut rest);
    Ok(Tool::Function { name, description, parameters, strict, rest })
}

/// The schema is JSON in a string; one that does not parse goes back as it came.
fn read_output(
    mut config: Fields,
    request: &mut Request,
    rest: &mut Map<String, Value>,
) -> Result<()> {
    if let Some(format) = config.take("textFormat") {
        let definition = format.pointer("/structure/jsonSchema");
        let word = |key: &str| definition?.get(key)?.as_str().map(str::to_owned);
        let schema = word("schema").and_then(|schema| serde_json::from_str(&schema).ok());
        request.format = Some(match schema {
            Some(schema) => {
                let (name, description) = (word("name"), word("description"));
                Format::Schema { name, description, schema, strict: None }
            }
            None => Format::Own(format),
        });
    }
    config.rest_into("outputConfig", rest);
    Ok(())
}

/// Results of tools stand in the user's turns, and become turns of their own.
fn read_turn(mut message: Fields, out: &mut Vec<Message>) -> Result<()> {
    let role = match message.required_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => {
            let at = message.at("role");
            return Err(bad(format!("`{at}` must be user, assistant or system")));
        }
    };
    let at = message.at("content");
    let parts = read_blocks(message.items("content")?, &at)?;
    let begin = out.len();
    for part in parts {
        let is_result = matches!(part.kind, PartKind::ToolResult { .. });
        let role = if is_result { Role::Tool } else { role };
        match out.get_mut(begin..).and_then(|new| new.last_mut()) {
            Some(last) if last.role == role => last.parts.push(part),
            _ => out.push(Message::new(role, vec![part])),
        }
    }
    if out.len() == begin {
        out.push(Message::new(role, Vec::new()));
    }
    if let Some(last) = out.last_mut() {
        last.rest = message.rest();
    }
    Ok(())
}

fn read_blocks(blocks: Vec<Value>, at: &str) -> Result<Vec<Part>> {
    let block = |(n, block): (usize, Value)| read_block(block, &format!("{at}[{n}]"));
    blocks.into_iter().enumerate().map(block).collect()
}

/// A block has one field, which says what it is.
fn read_block(block: Value, at: &str) -> Result<Part> {
    let original = block.clone();
    let own = |original| Ok(Part::new(PartKind::Own(original)));
    let mut block = Fields::of(block, at)?;
    let mut rest = Map::new();
    let kind = if block.has("text") {
        PartKind::Text(block.required_text("text")?)
    } else if let Some(mut call) = block.object("toolUse")? {
        let id = Some(call.required_text("toolUseId")?);
        let name = call.required_text("name")?;
        let arguments = call.take("input").map(|input| input.to_string()).unwrap_or_default();
        call.rest_into("toolUse", &mut rest);
        PartKind::ToolCall { id, name, arguments, seal: None }
    } else if let Some(mut result) = block.object("toolResult")? {
        let kind = read_result(&mut result)?;
        result.rest_into("toolResult", &mut rest);
        kind
    } else if let Some(reasoning) = block.object("reasoningContent")? {
        match read_reasoning(reasoning, &mut rest)? {
            Some(kind) => kind,
            None => return own(original),
        }
    } else {
        match read_media(&mut block, &mut rest)? {
            Some(kind) => kind,
            None => return own(original),
        }
    };
    let more = block.rest();
    if more.is_empty() { Ok(Part { kind, rest }) } else { own(original) }
}

fn read_result(result: &mut Fields) -> Result<PartKind> {
    let call_id = Some(result.required_text("toolUseId")?);
    let parts = read_blocks(result.items("content")?, &result.at("content"))?;
    let is_error = result.text("status")?.as_deref() == Some("error");
    Ok(PartKind::ToolResult { call_id, name: None, parts, is_error })
}

fn read_reasoning(
    mut reasoning: Fields,
    rest: &mut Map<String, Value>,
) -> Result<Option<PartKind>> {
    if let Some(blob) = reasoning.text("redactedContent")? {
        return Ok(Some(PartKind::Hidden(seal::read(&media::hidden(&blob), Maker::Anthropic))));
    }
    let Some(mut thought) = reasoning.object("reasoningText")? else { return Ok(None) };
    let text = thought.text("text")?.unwrap_or_default();
    let signature = thought.text("signature")?;
    let seal = signature.map(|signature| seal::read(&signature, Maker::Anthropic));
    let mut inner = Map::new();
    thought.rest_into("reasoningText", &mut inner);
    if !inner.is_empty() {
        rest.insert("reasoningContent".to_owned(), Value::Object(inner));
    }
    Ok(Some(PartKind::Reasoning { text, seal }))
}

/// Pictures, sounds and documents; `None` for what has no canonical form.
fn read_media(block: &mut Fields, rest: &mut Map<String, Value>) -> Result<Option<PartKind>> {
    for key in ["image", "document", "video", "audio"] {
        let Some(mut held) = block.object(key)? else { continue };
        let format = held.text("format")?.unwrap_or_default();
        let Some(mime) = media::mime(key, &format) else { return Ok(None) };
        let Some(mut place) = held.object("source")? else { return Ok(None) };
        let mime = mime.to_owned();
        let source = if let Some(data) = place.text("bytes")? {
            Source::Inline { mime, data }
        } else if let Some(mut stored) = place.object("s3Location")? {
            let url = stored.required_text("uri")?;
            if !stored.rest().is_empty() {
                return Ok(None);
            }
            Source::Url { url, mime: Some(mime) }
        } else {
            return Ok(None);
        };
        let kind = match key {
            "image" => PartKind::Image { source, detail: None },
            "video" => PartKind::Video(source),
            "audio" => PartKind::Audio(source),
            _ => PartKind::File { source, name: held.text("name")? },
        };
        held.rest_into(key, rest);
        return Ok(Some(kind));
    }
    Ok(None)
}
