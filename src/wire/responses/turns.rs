//! Writes turns as the items of `input`.

use std::collections::VecDeque;

use serde_json::Value;
use serde_json::json;

use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::error::Result;
use crate::wire::carry::Feature;
use crate::wire::responses::content::Writer;
use crate::wire::responses::history::ITEM;
use crate::wire::responses::sealed;

/// The instructions, if the request begins with a system message, and the items.
pub fn write(request: &Request, writer: &mut Writer<'_>) -> Result<(Option<String>, Vec<Value>)> {
    let mut items = Items { writer, items: Vec::new(), nameless: VecDeque::new() };
    let mut messages = request.messages.as_slice();
    let mut instructions = None;
    if let [first, others @ ..] = messages
        && let Some(text) = items.instructions(first)?
    {
        (instructions, messages) = (Some(text), others);
    }
    let skipped = request.messages.len() - messages.len();
    for (at, message) in messages.iter().enumerate() {
        items.message(message, &format!("messages[{}]", at + skipped))?;
    }
    Ok((instructions, items.items))
}

struct Items<'a, 'w> {
    writer: &'a mut Writer<'w>,
    items: Vec<Value>,
    /// Tools called without an id, with the ids we made for the calls, until they are answered.
    nameless: VecDeque<(String, String)>,
}

impl Items<'_, '_> {
    /// The first message as instructions, if it is one of the system's and holds only words.
    fn instructions(&mut self, first: &Message) -> Result<Option<String>> {
        if first.role != Role::System || (self.writer.is_own() && !first.rest.is_empty()) {
            return Ok(None);
        }
        let words = first.parts.iter().map(|part| match &part.kind {
            PartKind::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let Some(words) = words.collect::<Option<Vec<&str>>>() else { return Ok(None) };
        for (at, part) in first.parts.iter().enumerate() {
            self.writer.leave_rest(&part.rest, &format!("messages[0].content[{at}]"))?;
        }
        self.about_speaker(first, "messages[0]")?;
        Ok(Some(words.join("\n\n")))
    }

    fn about_speaker(&mut self, message: &Message, path: &str) -> Result<()> {
        if message.name.is_some() {
            self.writer.losses.leave_out(Feature::Name, &format!("{path}.name"))?;
        }
        if !self.writer.is_own() {
            self.writer.leave_rest(&message.rest, path)?;
        }
        Ok(())
    }

    fn message(&mut self, message: &Message, path: &str) -> Result<()> {
        self.about_speaker(message, path)?;
        match message.role {
            Role::Assistant => self.assistant(message, path),
            Role::Tool => self.results(message, path),
            Role::System | Role::Developer | Role::User => {
                // Tool results may also stand in a user's turn.
                let is_result = |part: &&Part| matches!(part.kind, PartKind::ToolResult { .. });
                if message.parts.iter().any(|part| is_result(&part)) {
                    self.results(message, path)?;
                }
                let parts: Vec<Part> =
                    message.parts.iter().filter(|part| !is_result(part)).cloned().collect();
                if parts.is_empty() && !message.parts.is_empty() {
                    return Ok(());
                }
                let content = self.writer.content(&parts, &format!("{path}.content"))?;
                let role = message.role.as_str();
                let mut item = json!({"type": "message", "role": role, "content": content});
                if self.writer.is_own() {
                    self.writer.add_rest(&mut item, &message.rest, path)?;
                }
                self.items.push(item);
                Ok(())
            }
        }
    }

    /// Words in one message item until something else comes or another item begins.
    fn assistant(&mut self, message: &Message, path: &str) -> Result<()> {
        let mut words: Option<Value> = None;
        for (at, part) in message.parts.iter().enumerate() {
            let path = format!("{path}.content[{at}]");
            let piece = match &part.kind {
                PartKind::Text(text) => {
                    json!({"type": "output_text", "text": text, "annotations": []})
                }
                PartKind::Refusal(text) => json!({"type": "refusal", "refusal": text}),
                _ => {
                    self.end_words(&mut words);
                    self.not_words(part, &path)?;
                    continue;
                }
            };
            if part.rest.contains_key(ITEM) {
                self.end_words(&mut words);
            }
            self.add_words(&mut words, piece, part, &path)?;
        }
        self.end_words(&mut words);
        Ok(())
    }

    /// A message of the model's without an id has its words as a string: the types of the SDK know
    /// `output_text` only where the provider gave the message an id.
    fn end_words(&mut self, words: &mut Option<Value>) {
        let Some(mut item) = words.take() else { return };
        if let Some(content) = item.get_mut("content").filter(|_| !self.writer.is_own()) {
            let pieces = content.as_array().into_iter().flatten();
            let text = pieces.map(|piece| piece.get("text").and_then(Value::as_str));
            if let Some(text) = text.collect::<Option<String>>() {
                *content = Value::from(text);
            }
        }
        self.items.push(item);
    }

    fn add_words(
        &mut self,
        words: &mut Option<Value>,
        mut piece: Value,
        part: &Part,
        path: &str,
    ) -> Result<()> {
        let mut rest = part.rest.clone();
        let of_item = if self.writer.is_own() { rest.shift_remove(ITEM) } else { None };
        self.writer.add_rest(&mut piece, &rest, path)?;
        let item = words.get_or_insert_with(|| {
            let mut item = json!({"type": "message", "role": "assistant", "content": []});
            if let (Some(fields), Some(Value::Object(own))) = (item.as_object_mut(), of_item) {
                fields.extend(own);
            }
            item
        });
        if let Some(content) = item.get_mut("content").and_then(Value::as_array_mut) {
            content.push(piece);
        }
        Ok(())
    }

    fn not_words(&mut self, part: &Part, path: &str) -> Result<()> {
        match &part.kind {
            PartKind::ToolCall { id, name, arguments, seal } => {
                if seal.is_some() {
                    self.writer.losses.leave_out(Feature::Seal, path)?;
                }
                self.call(part, id.as_deref(), (name, arguments), path)
            }
            PartKind::Reasoning { text, seal } => self.reasoning(part, text, seal.as_ref(), path),
            PartKind::Hidden(seal) => self.reasoning(part, "", Some(seal), path),
            PartKind::Own(own) if self.writer.is_own() => {
                self.items.push(own.clone());
                Ok(())
            }
            PartKind::ToolResult { .. } => self.result(part, path),
            PartKind::Image { .. } => self.leave(Feature::ImageInput, path),
            PartKind::Audio(_) => self.leave(Feature::AudioInput, path),
            PartKind::Video(_) => self.leave(Feature::VideoInput, path),
            PartKind::File { .. } => self.leave(Feature::FileInput, path),
            PartKind::Own(_) | PartKind::Text(_) | PartKind::Refusal(_) => {
                self.leave(Feature::OwnPart, path)
            }
        }
    }

    fn leave(&mut self, feature: Feature, path: &str) -> Result<()> {
        self.writer.losses.leave_out(feature, path)
    }

    fn call(
        &mut self,
        part: &Part,
        id: Option<&str>,
        (name, arguments): (&str, &str),
        path: &str,
    ) -> Result<()> {
        let made = || format!("call_{}", self.items.len());
        let id = id.map_or_else(made, str::to_owned);
        if matches!(&part.kind, PartKind::ToolCall { id: None, .. }) {
            self.nameless.push_back((name.to_owned(), id.clone()));
        }
        let is_empty = arguments.trim().is_empty() && !self.writer.is_own();
        let arguments = if is_empty { "{}" } else { arguments };
        let mut item = json!({
            "type": "function_call", "call_id": id, "name": name, "arguments": arguments,
        });
        self.writer.add_rest(&mut item, &part.rest, path)?;
        self.items.push(item);
        Ok(())
    }

    /// Reasoning returns only to its maker; without a seal only where it came from.
    fn reasoning(
        &mut self,
        part: &Part,
        text: &str,
        seal: Option<&Seal>,
        path: &str,
    ) -> Result<()> {
        let is_own = seal.is_some_and(|seal| seal.by == Maker::OpenAi);
        if !is_own && seal.is_some() {
            self.leave(Feature::Seal, path)?;
        }
        if !is_own && (seal.is_some() || !self.writer.is_own()) {
            return if text.is_empty() {
                Ok(())
            } else {
                self.leave(Feature::ReasoningHistory, path)
            };
        }
        let mut item = json!({"type": "reasoning"});
        if let Some(sealed) = seal.and_then(|seal| sealed::open(&seal.data)) {
            if !sealed.id.is_empty() {
                item["id"] = Value::from(sealed.id);
            }
            item["encrypted_content"] = Value::from(sealed.encrypted_content);
        } else if let Some(seal) = seal {
            item["encrypted_content"] = Value::from(seal.data.as_str());
        }
        let summary = json!([{"type": "summary_text", "text": text}]);
        item["summary"] = if text.is_empty() { json!([]) } else { summary };
        self.writer.add_rest(&mut item, &part.rest, path)?;
        self.items.push(item);
        Ok(())
    }

    fn results(&mut self, message: &Message, path: &str) -> Result<()> {
        for (at, part) in message.parts.iter().enumerate() {
            if matches!(part.kind, PartKind::ToolResult { .. }) {
                self.result(part, &format!("{path}.content[{at}]"))?;
            }
        }
        Ok(())
    }

    fn result(&mut self, part: &Part, path: &str) -> Result<()> {
        let PartKind::ToolResult { call_id, name, parts, is_error } = &part.kind else {
            return Ok(());
        };
        let call_id = call_id.clone().or_else(|| self.made_id(name.as_deref()));
        let has_media = parts.iter().any(|part| !matches!(part.kind, PartKind::Text(_)));
        if has_media && !self.writer.is_own() {
            self.writer.has(Feature::ToolResultMedia, path)?;
        }
        let mut item = json!({"type": "function_call_output"});
        if let Some(call_id) = call_id {
            item["call_id"] = Value::from(call_id);
        }
        item["output"] = match parts.as_slice() {
            [] => Value::from(""),
            parts => self.writer.content(parts, &format!("{path}.output"))?,
        };
        if *is_error {
            self.leave(Feature::UnknownField, &format!("{path}.is_error"))?;
        }
        self.writer.add_rest(&mut item, &part.rest, path)?;
        self.items.push(item);
        Ok(())
    }

    /// The id we made for the first unanswered call of that tool.
    fn made_id(&mut self, name: Option<&str>) -> Option<String> {
        let of_name = |(tool, _): &(String, String)| name.is_none_or(|name| name == tool);
        let at = self.nameless.iter().position(of_name)?;
        self.nameless.remove(at).map(|(_, id)| id)
    }
}
