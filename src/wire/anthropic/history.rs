//! Writes a conversation as Anthropic's system prompt and turns.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::anthropic::ids::Ids;
use crate::wire::anthropic::think::Model;
use crate::wire::arguments;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::json::bad;

/// The conversation so far.
pub struct History<'a> {
    losses: &'a mut Losses,
    is_own: bool,
    ids: Ids,
    system: Vec<Value>,
    turns: Vec<Turn>,
}

struct Turn {
    role: &'static str,
    blocks: Vec<Value>,
    rest: Map<String, Value>,
}

/// The fields `system`, if there is one, and `messages`.
///
/// # Errors
/// A piece has no place in the dialect, or a call's arguments are no JSON object.
pub fn write(
    request: &Request,
    model: Model,
    losses: &mut Losses,
) -> Result<(Option<Value>, Value)> {
    let is_own = request.dialect == DialectName::Anthropic;
    let (system, turns) = (Vec::new(), Vec::new());
    let mut history = History { losses, is_own, ids: Ids::default(), system, turns };
    for (at, message) in request.messages.iter().enumerate() {
        let next = request.messages.get(at + 1..).unwrap_or_default();
        history.message(message, at, next, model)?;
    }
    let system = (!history.system.is_empty()).then(|| content(history.system));
    let turns: Vec<Value> = history.turns.into_iter().map(Turn::json).collect();
    Ok((system, Value::Array(turns)))
}

impl History<'_> {
    fn message(
        &mut self,
        message: &Message,
        at: usize,
        next: &[Message],
        model: Model,
    ) -> Result<()> {
        let path = format!("messages[{at}]");
        if message.name.is_some() {
            self.losses.leave_out(Feature::Name, &format!("{path}.name"))?;
        }
        let mut blocks = Vec::with_capacity(message.parts.len());
        for (at, part) in message.parts.iter().enumerate() {
            blocks.extend(self.part(part, &format!("{path}.content[{at}]"))?);
        }
        let mut rest = Map::new();
        self.fields(&message.rest, &path, &mut rest)?;
        match message.role {
            Role::System | Role::Developer if self.turns.is_empty() => {
                self.system.append(&mut blocks);
            }
            Role::System | Role::Developer => {
                self.later_system(blocks, rest, &path, next, model)?;
            }
            Role::User | Role::Tool => self.turn("user", blocks, rest),
            Role::Assistant => {
                if !self.is_own {
                    // Anthropic wants thoughts first; other dialects have no order here.
                    blocks.sort_by_key(|block| !is_one_of(block, &THOUGHTS));
                }
                self.turn("assistant", blocks, rest);
            }
        }
        Ok(())
    }

    /// Newer models take a system turn between a user's turn and the answer to it. Elsewhere it
    /// keeps its rank but not its place, because as a user's words it would lose its authority.
    fn later_system(
        &mut self,
        mut blocks: Vec<Value>,
        rest: Map<String, Value>,
        path: &str,
        next: &[Message],
        model: Model,
    ) -> Result<()> {
        let is_system = |message: &&Message| matches!(message.role, Role::System | Role::Developer);
        let next = next.iter().find(|message| !is_system(message));
        let is_before_answer = next.is_none_or(|message| message.role == Role::Assistant);
        let is_after_user = self.turns.last().is_some_and(|turn| turn.role != "assistant");
        if self.is_own || model.takes_system_turn() && is_after_user && is_before_answer {
            self.turn("system", blocks, rest);
            return Ok(());
        }
        if !blocks.is_empty() {
            self.losses.leave_out(Feature::SystemPlace, path)?;
            self.system.append(&mut blocks);
        }
        Ok(())
    }

    /// Turns of one role that follow each other are one to the API.
    fn turn(&mut self, role: &'static str, mut blocks: Vec<Value>, mut rest: Map<String, Value>) {
        if blocks.is_empty() && rest.is_empty() {
            return;
        }
        match self.turns.last_mut().filter(|last| last.role == role) {
            Some(last) => {
                last.blocks.append(&mut blocks);
                last.rest.append(&mut rest);
            }
            None => self.turns.push(Turn { role, blocks, rest }),
        }
    }

    fn part(&mut self, part: &Part, path: &str) -> Result<Option<Value>> {
        let Some(block) = self.block(&part.kind, path)? else { return Ok(None) };
        let Value::Object(mut block) = block else { return Ok(Some(block)) };
        self.fields(&part.rest, path, &mut block)?;
        if let PartKind::ToolCall { seal: Some(_), .. } = &part.kind {
            self.losses.leave_out(Feature::Seal, path)?;
        }
        Ok(Some(Value::Object(block)))
    }

    /// Fields without a canonical place: their own dialect's return, marks for the cache are
    /// understood anywhere.
    fn fields(
        &mut self,
        rest: &Map<String, Value>,
        path: &str,
        out: &mut Map<String, Value>,
    ) -> Result<()> {
        for (key, value) in rest {
            let is_mark = key == "cache_control";
            if self.is_own || is_mark && value["type"] == json!("ephemeral") {
                out.insert(key.clone(), value.clone());
            } else {
                let feature = if is_mark { Feature::CacheMark } else { Feature::UnknownField };
                self.losses.leave_out(feature, &format!("{path}.{key}"))?;
            }
        }
        Ok(())
    }

    fn block(&mut self, kind: &PartKind, path: &str) -> Result<Option<Value>> {
        let block = match kind {
            // The API refuses text that is empty or only space.
            PartKind::Text(text) | PartKind::Refusal(text) => {
                return Ok((!text.trim().is_empty()).then(|| json!({"type": "text", "text": text})));
            }
            PartKind::Image { source, detail } => {
                self.check(Feature::ImageInput, path)?;
                if detail.is_some() {
                    self.losses.leave_out(Feature::ImageDetail, &format!("{path}.detail"))?;
                }
                json!({"type": "image", "source": self.source(source, path)?})
            }
            PartKind::File { source, name } => return self.document(source, name.as_deref(), path),
            PartKind::Audio(_) => return self.without(Feature::AudioInput, path),
            PartKind::Video(_) => return self.without(Feature::VideoInput, path),
            PartKind::Reasoning { text, seal: Some(Seal { by: Maker::Anthropic, data }) } => {
                json!({"type": "thinking", "thinking": text, "signature": data})
            }
            PartKind::Reasoning { .. } => return self.without(Feature::ReasoningHistory, path),
            PartKind::Hidden(Seal { by: Maker::Anthropic, data }) => {
                json!({"type": "redacted_thinking", "data": data})
            }
            PartKind::Hidden(_) => return self.without(Feature::Seal, path),
            PartKind::ToolCall { id, name, arguments, .. } => {
                let id = self.ids.call(id.as_deref(), name);
                json!({"type": "tool_use", "id": id, "name": name,
                       "input": arguments::value(arguments)})
            }
            PartKind::ToolResult { call_id, name, parts, is_error } => {
                let id = self.ids.result(call_id.as_deref(), name.as_deref());
                return self.result(&id, parts, *is_error, path).map(Some);
            }
            PartKind::Own(value) if self.is_own => value.clone(),
            PartKind::Own(_) => return self.without(Feature::OwnPart, path),
        };
        Ok(Some(block))
    }

    fn without(&mut self, feature: Feature, path: &str) -> Result<Option<Value>> {
        self.losses.leave_out(feature, path).map(|()| None)
    }

    /// Whether the provider has what the dialect has.
    fn check(&mut self, feature: Feature, path: &str) -> Result<()> {
        if self.losses.lacks(feature) { self.losses.leave_out(feature, path) } else { Ok(()) }
    }

    fn result(&mut self, id: &str, parts: &[Part], is_error: bool, path: &str) -> Result<Value> {
        let mut blocks = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            let path = format!("{path}.content[{at}]");
            if matches!(part.kind, PartKind::Audio(_) | PartKind::Video(_)) {
                self.losses.leave_out(Feature::ToolResultMedia, &path)?;
            }
            blocks.extend(self.part(part, &path)?);
        }
        let mut result = json!({"type": "tool_result", "tool_use_id": id});
        if !blocks.is_empty() {
            result["content"] = content(blocks);
        }
        if is_error {
            result["is_error"] = json!(true);
        }
        Ok(result)
    }

    fn document(
        &mut self,
        source: &Source,
        name: Option<&str>,
        path: &str,
    ) -> Result<Option<Value>> {
        self.check(Feature::FileInput, path)?;
        let source = match source {
            Source::Inline { mime, data } if is_text(mime) => {
                let text = STANDARD.decode(data).ok().and_then(|text| String::from_utf8(text).ok());
                let text = text.ok_or_else(|| bad(format!("`{path}` is not UTF-8 in base64")))?;
                json!({"type": "text", "media_type": "text/plain", "data": text})
            }
            Source::Inline { mime, .. } if mime != "application/pdf" => {
                return self.without(Feature::FileInput, path);
            }
            _ => self.source(source, path)?,
        };
        let mut document = json!({"type": "document", "source": source});
        if let Some(name) = name {
            document["title"] = json!(name);
        }
        Ok(Some(document))
    }

    fn source(&mut self, source: &Source, path: &str) -> Result<Value> {
        Ok(match source {
            Source::Inline { mime, data } => {
                json!({"type": "base64", "media_type": mime, "data": data})
            }
            Source::Url { url, .. } => {
                self.check(Feature::UrlSource, path)?;
                json!({"type": "url", "url": url})
            }
            Source::Id(id) => {
                if !self.is_own {
                    self.losses.leave_out(Feature::FileId, path)?;
                }
                json!({"type": "file", "file_id": id})
            }
        })
    }
}

static THOUGHTS: [&str; 2] = ["thinking", "redacted_thinking"];

impl Turn {
    fn json(mut self) -> Value {
        if self.role == "user" {
            // The API wants results before anything else in a turn.
            self.blocks.sort_by_key(|block| !is_one_of(block, &["tool_result"]));
        }
        let mut turn = Map::new();
        turn.insert("role".to_owned(), Value::from(self.role));
        if !self.blocks.is_empty() {
            turn.insert("content".to_owned(), content(self.blocks));
        }
        turn.append(&mut self.rest);
        Value::Object(turn)
    }
}

fn is_one_of(block: &Value, kinds: &[&str]) -> bool {
    block.get("type").and_then(Value::as_str).is_some_and(|kind| kinds.contains(&kind))
}

/// A string, where the content is one text without more to it; a list otherwise.
fn content(mut blocks: Vec<Value>) -> Value {
    match blocks.as_mut_slice() {
        [Value::Object(block)] if block.len() == 2 && block.contains_key("text") => {
            block.remove("text").unwrap_or_default()
        }
        _ => Value::Array(blocks),
    }
}

fn is_text(mime: &str) -> bool {
    mime.starts_with("text/") || mime == "application/json"
}
