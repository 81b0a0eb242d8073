//! Reads the items of `input` into turns: what the model said in one go becomes one message.

use serde_json::Map;
use serde_json::Value;

use crate::chat::Maker;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Role;
use crate::error::Result;
use crate::wire::fields::Fields;
use crate::wire::json::bad;
use crate::wire::responses::content;
use crate::wire::responses::sealed;

/// The key of a part's `rest` that holds the other fields of the message item it begins.
pub const ITEM: &str = "item";

/// Reads every item, appending to `messages`.
pub fn read(items: Vec<Value>, messages: &mut Vec<Message>) -> Result<()> {
    for (at, item) in items.into_iter().enumerate() {
        let mut item = Fields::of(item, format!("input[{at}]"))?;
        match item.word("type") {
            None | Some("message") if item.peek("role").is_some() => message(item, messages)?,
            Some("message") => return Err(bad(format!("`{}` is missing", item.at("role")))),
            None => return Err(bad(format!("`{}` is missing", item.at("type")))),
            Some("function_call") => {
                let part = function_call(&mut item)?;
                said(messages, Part { kind: part, rest: item.rest() });
            }
            Some("function_call_output") => tool_result(item, messages)?,
            Some("reasoning") => reasoning(item, messages)?,
            Some(_) => said(messages, Part::new(PartKind::Own(item.whole_again()))),
        }
    }
    Ok(())
}

/// Adds to the model's turn.
fn said(messages: &mut Vec<Message>, part: Part) {
    match messages.last_mut() {
        Some(Message { role: Role::Assistant, parts, .. }) => parts.push(part),
        _ => messages.push(Message::new(Role::Assistant, vec![part])),
    }
}

fn message(mut item: Fields, messages: &mut Vec<Message>) -> Result<()> {
    let role = match item.word("role") {
        Some("user") => Role::User,
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        Some("assistant") => Role::Assistant,
        _ => {
            let at = item.at("role");
            return Err(bad(format!("`{at}` must be user, assistant, system or developer")));
        }
    };
    if role == Role::Assistant {
        return assistant(item, messages);
    }
    item.take("type");
    item.take("role");
    let at = item.at("content");
    let content = item.take("content").ok_or_else(|| bad(format!("`{at}` is missing")))?;
    let parts = content::read(content, &at)?;
    messages.push(Message { role, parts, name: None, rest: item.rest() });
    Ok(())
}

/// The item's own fields go to its first part; an item with a content that is not words stays
/// whole, because among the parts of an assistant every own piece is an item.
fn assistant(mut item: Fields, messages: &mut Vec<Message>) -> Result<()> {
    let whole = item.peek("content").filter(|content| !content::is_words(content));
    if whole.is_some() || item.peek("content").is_none() {
        said(messages, Part::new(PartKind::Own(item.whole_again())));
        return Ok(());
    }
    item.take("type");
    item.take("role");
    let at = item.at("content");
    let content = item.take("content").unwrap_or_default();
    let mut parts = content::read(content, &at)?;
    let rest = item.rest();
    let Some(first) = parts.first_mut() else {
        let mut whole = rest;
        whole.insert("type".to_owned(), Value::from("message"));
        whole.insert("role".to_owned(), Value::from("assistant"));
        whole.insert("content".to_owned(), Value::Array(Vec::new()));
        said(messages, Part::new(PartKind::Own(Value::Object(whole))));
        return Ok(());
    };
    let is_plain = rest.is_empty();
    if !is_plain {
        first.rest.insert(ITEM.to_owned(), Value::Object(rest));
    }
    let is_word = |part: &Part| matches!(part.kind, PartKind::Text(_) | PartKind::Refusal(_));
    match messages.last_mut() {
        Some(Message { role: Role::Assistant, parts: before, .. })
            if !(is_plain && before.last().is_some_and(is_word)) =>
        {
            before.append(&mut parts);
        }
        // Two messages without fields would run together in one turn.
        _ => messages.push(Message::new(Role::Assistant, parts)),
    }
    Ok(())
}

fn function_call(item: &mut Fields) -> Result<PartKind> {
    item.take("type");
    Ok(PartKind::ToolCall {
        id: item.text("call_id")?,
        name: item.required_text("name")?,
        arguments: item.text("arguments")?.unwrap_or_default(),
        seal: None,
    })
}

fn tool_result(mut item: Fields, messages: &mut Vec<Message>) -> Result<()> {
    item.take("type");
    let call_id = item.text("call_id")?;
    let at = item.at("output");
    let output = item.take("output").unwrap_or_else(|| Value::from(""));
    let parts = content::read(output, &at)?;
    let told = call_id.as_deref().and_then(|id| name_of(messages, id));
    let name = item.word("name").or(told).map(str::to_owned);
    let kind = PartKind::ToolResult { call_id, name, parts, is_error: false };
    let part = Part { kind, rest: item.rest() };
    match messages.last_mut() {
        Some(Message { role: Role::Tool, parts, .. }) => parts.push(part),
        _ => messages.push(Message::new(Role::Tool, vec![part])),
    }
    Ok(())
}

fn name_of<'a>(messages: &'a [Message], call_id: &str) -> Option<&'a str> {
    let parts = messages.iter().rev().flat_map(|message| &message.parts);
    parts.into_iter().find_map(|part| match &part.kind {
        PartKind::ToolCall { id: Some(id), name, .. } if id == call_id => Some(name.as_str()),
        _ => None,
    })
}

/// A reasoning item, or the seal of a call that we sent as one.
fn reasoning(mut item: Fields, messages: &mut Vec<Message>) -> Result<()> {
    item.take("type");
    let id = item.text("id")?;
    let encrypted = item.text("encrypted_content")?;
    let seal = encrypted.map(|text| sealed::read(id.as_deref().unwrap_or_default(), &text));
    let call_id = id.as_deref().and_then(sealed::call_of_id);
    if let (Some(call_id), Some(new)) = (call_id, &seal)
        && let Some(Message { role: Role::Assistant, parts, .. }) = messages.last_mut()
    {
        let call = parts.iter_mut().rev().find_map(|part| match &mut part.kind {
            PartKind::ToolCall { id: Some(id), seal, .. } if id == call_id => Some(seal),
            _ => None,
        });
        if let Some(seal) = call {
            *seal = Some(new.clone());
            return Ok(());
        }
    }
    if let Some(id) = id.filter(|_| !seal.as_ref().is_some_and(|seal| seal.by == Maker::OpenAi)) {
        item.keep("id", Value::from(id));
    }
    let text = texts(&mut item)?;
    let kind = match seal {
        Some(seal) if text.is_empty() => PartKind::Hidden(seal),
        seal => PartKind::Reasoning { text, seal },
    };
    said(messages, Part { kind, rest: item.rest() });
    Ok(())
}

/// The words of summary and content; a form that the words alone do not tell stays in the item.
fn texts(item: &mut Fields) -> Result<String> {
    let mut text = String::new();
    let summary = item.list("summary")?.unwrap_or_default();
    let content = item.list("content")?.unwrap_or_default();
    for piece in summary.iter().chain(&content) {
        text.push_str(piece.get("text").and_then(Value::as_str).unwrap_or_default());
    }
    let is_plain = content.is_empty() && summary.iter().all(is_plain_summary) && summary.len() < 2;
    if !is_plain {
        item.keep("summary", Value::Array(summary));
        if !content.is_empty() {
            item.keep("content", Value::Array(content));
        }
    }
    Ok(text)
}

fn is_plain_summary(piece: &Value) -> bool {
    let is_type = piece.get("type").and_then(Value::as_str) == Some("summary_text");
    let has_text =
        piece.get("text").is_some_and(|text| text.as_str().is_some_and(|t| !t.is_empty()));
    is_type && has_text && piece.as_object().map_or(0, Map::len) == 2
}
