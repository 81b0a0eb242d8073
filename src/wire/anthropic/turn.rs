//! Reads the turns of a conversation and their content blocks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::Value;

use crate::chat::Maker;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Role;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::fields::Fields;
use crate::wire::json::bad;
use crate::wire::seal;

/// Reads the turn number `at`; results of tools, which stand in the user's turns here, become
/// messages of their own.
///
/// # Errors
/// A field has the wrong type, or one that a block must have is missing.
pub fn read(turn: Value, at: usize, out: &mut Vec<Message>) -> Result<()> {
    let path = format!("messages[{at}]");
    let mut turn = Fields::of(turn, &path)?;
    let role = match turn.required_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        // In the middle of a conversation, since Opus 4.8.
        "system" => Role::System,
        _ => return Err(bad(format!("`{path}.role` must be user, assistant or system"))),
    };
    let parts = match turn.take("content") {
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(blocks)) => parts(blocks, &format!("{path}.content"))?,
        // Newer fields can say everything that such a turn has to say.
        None if role == Role::System => Vec::new(),
        None => return Err(bad(format!("`{path}.content` is missing"))),
        Some(_) => return Err(bad(format!("`{path}.content` must be a string or a list"))),
    };
    let mut messages = split(role, parts);
    if let Some(first) = messages.first_mut() {
        first.rest = turn.rest();
    }
    out.append(&mut messages);
    Ok(())
}

/// Reads a list of content blocks.
///
/// # Errors
/// As [`read`].
pub fn parts(blocks: Vec<Value>, path: &str) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::with_capacity(blocks.len());
    for (at, block) in blocks.into_iter().enumerate() {
        let part = part(block, &format!("{path}[{at}]"))?;
        // Gemini's seal of a call stands in a hidden block right after it, where our answers
        // put it.
        match (parts.last_mut().map(|last| &mut last.kind), part.kind) {
            (Some(PartKind::ToolCall { seal: sealed @ None, .. }), PartKind::Hidden(seal))
                if seal.by == Maker::Gemini =>
            {
                *sealed = Some(seal);
            }
            (_, kind) => parts.push(Part { kind, rest: part.rest }),
        }
    }
    Ok(parts)
}

/// One message for each run of tool results, one for each run of anything else.
fn split(role: Role, parts: Vec<Part>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for part in parts {
        let is_result = matches!(part.kind, PartKind::ToolResult { .. });
        let role = if is_result && role == Role::User { Role::Tool } else { role };
        match messages.last_mut().filter(|last| last.role == role) {
            Some(last) => last.parts.push(part),
            None => messages.push(Message::new(role, vec![part])),
        }
    }
    if messages.is_empty() {
        messages.push(Message::new(role, Vec::new()));
    }
    messages
}

fn part(block: Value, path: &str) -> Result<Part> {
    let Value::Object(fields) = block else {
        return Err(bad(format!("`{path}` must be an object")));
    };
    let Some(kind) = fields.get("type").and_then(Value::as_str).map(str::to_owned) else {
        return Err(bad(format!("`{path}.type` must be a string")));
    };
    if !is_common(&kind, &fields) {
        return Ok(Part::new(PartKind::Own(Value::Object(fields))));
    }
    let mut block = Fields::of(Value::Object(fields), path)?;
    block.take("type");
    let kind = match kind.as_str() {
        "text" => PartKind::Text(block.required_text("text")?),
        "image" => PartKind::Image { source: source(&mut block)?, detail: None },
        "document" => PartKind::File { source: source(&mut block)?, name: block.text("title")? },
        "thinking" => {
            let signature = block.text("signature")?.filter(|signature| !signature.is_empty());
            let seal = signature.map(|signature| seal::read(&signature, Maker::Anthropic));
            PartKind::Reasoning { text: block.required_text("thinking")?, seal }
        }
        "redacted_thinking" => {
            PartKind::Hidden(seal::read(&block.required_text("data")?, Maker::Anthropic))
        }
        "tool_use" => call(&mut block)?,
        _ => result(&mut block)?,
    };
    Ok(Part { kind, rest: block.rest() })
}

/// Whether a block is of a kind that other dialects know too; so is not a document made of blocks,
/// nor a source with more to it than is known.
fn is_common(kind: &str, block: &Map<String, Value>) -> bool {
    if !matches!(kind, "image" | "document") {
        return matches!(
            kind,
            "text" | "thinking" | "redacted_thinking" | "tool_use" | "tool_result"
        );
    }
    // One that is missing is an error to be told where it is read.
    let Some(Value::Object(source)) = block.get("source") else { return true };
    let known: &[&str] = match source.get("type").and_then(Value::as_str) {
        Some("base64") => &["type", "media_type", "data"],
        Some("text") if kind == "document" => &["type", "media_type", "data"],
        Some("url") => &["type", "url"],
        Some("file") => &["type", "file_id"],
        Some(_) => return false,
        None => return true,
    };
    source.keys().all(|key| known.contains(&key.as_str()))
}

fn call(block: &mut Fields) -> Result<PartKind> {
    let input = block.foreign_object("input")?;
    let input = input.ok_or_else(|| bad(format!("`{}` is missing", block.at("input"))))?;
    Ok(PartKind::ToolCall {
        id: Some(block.required_text("id")?),
        name: block.required_text("name")?,
        arguments: Value::Object(input).to_string(),
        seal: None,
    })
}

fn result(block: &mut Fields) -> Result<PartKind> {
    let parts = match block.take("content") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(blocks)) => parts(blocks, &block.at("content"))?,
        Some(_) => {
            let path = block.at("content");
            return Err(bad(format!("`{path}` must be a string or a list of blocks")));
        }
    };
    Ok(PartKind::ToolResult {
        call_id: Some(block.required_text("tool_use_id")?),
        name: None,
        parts,
        is_error: block.flag("is_error")?.unwrap_or(false),
    })
}

fn source(block: &mut Fields) -> Result<Source> {
    let Some(mut source) = block.object("source")? else {
        return Err(bad(format!("`{}` is missing", block.at("source"))));
    };
    match source.required_text("type")?.as_str() {
        "base64" => Ok(Source::Inline {
            mime: source.required_text("media_type")?,
            data: source.required_text("data")?,
        }),
        "text" => Ok(Source::Inline {
            mime: source.text("media_type")?.unwrap_or_else(|| "text/plain".to_owned()),
            data: STANDARD.encode(source.required_text("data")?),
        }),
        "url" => Ok(Source::Url { url: source.required_text("url")?, mime: None }),
        _ => Ok(Source::Id(source.required_text("file_id")?)),
    }
}
