//! Writes the messages of a chat completion request.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Role;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::carry::Feature;
use crate::wire::openai::detail::DetailOut;
use crate::wire::openai::read::IS_LIST;
use crate::wire::openai::write::Draft;
use crate::wire::seal;

/// The field in which reasoning returns with its seals.
const DETAILS: &str = "reasoning_details";

/// Ids made up for calls that have none, until their results take them.
#[derive(Default)]
struct MadeUp {
    count: usize,
    open: Vec<(String, String)>,
}

impl MadeUp {
    fn call(&mut self, tool: &str) -> String {
        self.count += 1;
        let id = format!("call_{}", self.count);
        self.open.push((tool.to_owned(), id.clone()));
        id
    }

    /// The first open call of that tool, else the first open one.
    fn result(&mut self, tool: Option<&str>) -> String {
        let of_tool = self.open.iter().position(|(name, _)| Some(name.as_str()) == tool);
        match of_tool.or((!self.open.is_empty()).then_some(0)) {
            Some(at) => self.open.remove(at).1,
            None => self.call(tool.unwrap_or_default()),
        }
    }
}

impl<'a> Draft<'a> {
    pub(super) fn messages(&mut self) -> Result<()> {
        let (request, mut made_up, mut out) = (self.request, MadeUp::default(), Vec::new());
        for (at, message) in request.messages.iter().enumerate() {
            let path = format!("messages[{at}]");
            if message.role == Role::Tool {
                for (at, part) in message.parts.iter().enumerate() {
                    let path = format!("{path}.content[{at}]");
                    let spelled = self.spelled(out.len());
                    let whole = self.tool_result(part, &path, spelled, &mut made_up)?;
                    out.extend(whole.map(|whole| finished(whole, spelled)));
                }
                continue;
            }
            let spelled = self.spelled(out.len());
            let mut whole = Map::new();
            whole.insert("role".to_owned(), self.role(message.role).into());
            if message.role == Role::Assistant {
                self.assistant(&mut whole, message, &path, spelled, &mut made_up)?;
            } else {
                let parts: Vec<_> = message.parts.iter().enumerate().collect();
                let content = self.content(&parts, &path, spelled)?;
                if !self.is_own || content.is_some() {
                    whole.insert("content".to_owned(), content.unwrap_or_else(|| "".into()));
                }
            }
            if let Some(name) = &message.name {
                if self.losses.lacks(Feature::Name) {
                    self.losses.leave_out(Feature::Name, &format!("{path}.name"))?;
                } else {
                    whole.insert("name".to_owned(), name.as_str().into());
                }
            }
            self.give_back(&mut whole, &message.rest, &path)?;
            out.push(finished(whole, spelled));
        }
        self.set("messages", out);
        Ok(())
    }

    fn role(&self, role: Role) -> &'static str {
        match role {
            Role::Developer if !self.to.quirks.developer_role => Role::System.as_str(),
            role => role.as_str(),
        }
    }

    /// How the message at that place of the body was spelled.
    fn spelled(&self, at: usize) -> Option<&'a Map<String, Value>> {
        if !self.is_own {
            return None;
        }
        self.request.spelling.get(&format!("messages[{at}]"))?.as_object()
    }

    fn assistant(
        &mut self,
        whole: &mut Map<String, Value>,
        message: &Message,
        path: &str,
        spelled: Option<&Map<String, Value>>,
        made_up: &mut MadeUp,
    ) -> Result<()> {
        let (mut said, mut calls, mut thoughts, mut refusals) =
            (Vec::new(), Vec::new(), Thoughts::default(), String::new());
        for (at, part) in message.parts.iter().enumerate() {
            let path = format!("{path}.content[{at}]");
            match &part.kind {
                PartKind::Reasoning { text, seal } => thoughts.add(text, seal.as_ref(), path),
                PartKind::Hidden(seal) => thoughts.add("", Some(seal), path),
                PartKind::Refusal(text) => refusals.push_str(text),
                PartKind::ToolCall { id: None, .. } if has(spelled, "function_call") => {}
                PartKind::ToolCall { .. } => {
                    calls.push(self.tool_call(part, &path, made_up, &mut thoughts)?);
                }
                PartKind::Own(own) if own.get("custom").is_some() => {
                    if !self.is_own {
                        self.losses.leave_out(Feature::OwnPart, &path)?;
                    }
                    calls.push(own.clone());
                }
                PartKind::Audio(Source::Id(id)) if self.is_own => {
                    whole.insert("audio".to_owned(), json!({"id": id}));
                }
                _ => said.push((at, part)),
            }
        }
        let content = self.content(&said, path, spelled)?;
        if !self.is_own || content.is_some() {
            whole.insert("content".to_owned(), content.unwrap_or(Value::Null));
        }
        if !refusals.is_empty() && !has(spelled, "content") {
            whole.insert("refusal".to_owned(), refusals.into());
        }
        if !calls.is_empty() {
            whole.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        let is_spelled = ["reasoning_content", "reasoning", DETAILS].map(|key| has(spelled, key));
        if is_spelled.contains(&true) {
            return Ok(());
        }
        self.thoughts(whole, &thoughts)
    }

    fn tool_call(
        &mut self,
        part: &Part,
        path: &str,
        made_up: &mut MadeUp,
        thoughts: &mut Thoughts<'_>,
    ) -> Result<Value> {
        let PartKind::ToolCall { id, name, arguments, seal } = &part.kind else {
            return Ok(Value::Null);
        };
        let id = id.clone().unwrap_or_else(|| made_up.call(name));
        let is_nothing = arguments.trim().is_empty() && !self.is_own;
        let arguments = if is_nothing { "{}" } else { arguments };
        let mut call = Map::new();
        call.insert("id".to_owned(), id.as_str().into());
        call.insert("type".to_owned(), "function".into());
        call.insert("function".to_owned(), json!({"name": name, "arguments": arguments}));
        if let Some(seal) = seal {
            if self.is_own {
                let signature = seal::write(seal, Maker::Gemini);
                let extra = json!({"google": {"thought_signature": signature}});
                call.insert("extra_content".to_owned(), extra);
            } else if self.to.quirks.reasoning_history == Some(DETAILS) {
                let hidden = DetailOut::hidden(seal, Some(&id), 0);
                thoughts.on_calls.extend(serde_json::to_value(hidden));
            } else {
                self.losses.leave_out(Feature::Seal, &format!("{path}.signature"))?;
            }
        }
        self.give_back(&mut call, &part.rest, path)?;
        Ok(Value::Object(call))
    }

    /// Reasoning returns only to providers that take it, and seals only where their maker is named.
    fn thoughts(&mut self, whole: &mut Map<String, Value>, thoughts: &Thoughts<'_>) -> Result<()> {
        let field = self.to.quirks.reasoning_history;
        if field == Some(DETAILS) {
            let mut details = Vec::new();
            for (text, seal, _) in &thoughts.said {
                let index = u32::try_from(details.len()).unwrap_or(u32::MAX);
                match seal {
                    Some(seal) if text.is_empty() => {
                        details.extend(serde_json::to_value(DetailOut::hidden(seal, None, index)));
                    }
                    Some(seal) => {
                        let signed = DetailOut::signed(text, seal, index).into_iter();
                        details.extend(signed.flat_map(serde_json::to_value));
                    }
                    None => details.push(json!({
                        "type": "reasoning.text", "text": text, "index": index,
                    })),
                }
            }
            details.extend(thoughts.on_calls.iter().cloned());
            if !details.is_empty() {
                whole.insert(DETAILS.to_owned(), Value::Array(details));
            }
            return Ok(());
        }
        let mut words = String::new();
        for (text, seal, path) in &thoughts.said {
            if field.is_none() {
                self.losses.leave_out(Feature::ReasoningHistory, path)?;
            } else if seal.is_some() {
                self.losses.leave_out(Feature::Seal, path)?;
            }
            words.push_str(text);
        }
        if let Some(field) = field.filter(|_| !words.is_empty()) {
            whole.insert(field.to_owned(), words.into());
        }
        Ok(())
    }

    fn tool_result(
        &mut self,
        part: &Part,
        path: &str,
        spelled: Option<&Map<String, Value>>,
        made_up: &mut MadeUp,
    ) -> Result<Option<Map<String, Value>>> {
        let PartKind::ToolResult { call_id, name, parts, is_error } = &part.kind else {
            self.losses.leave_out(Feature::OwnPart, path)?;
            return Ok(None);
        };
        let mut whole = Map::new();
        whole.insert("role".to_owned(), "tool".into());
        let is_old = has(spelled, "role");
        if !is_old && (call_id.is_some() || !self.is_own) {
            let id = call_id.clone().unwrap_or_else(|| made_up.result(name.as_deref()));
            whole.insert("tool_call_id".to_owned(), id.into());
        }
        if let Some(name) = name.as_deref().filter(|_| self.is_own) {
            whole.insert("name".to_owned(), name.into());
        }
        let is_media = |part: &Part| !matches!(part.kind, PartKind::Text(_) | PartKind::Refusal(_));
        if !self.is_own
            && let Some(at) = parts.iter().position(is_media)
        {
            self.losses.leave_out(Feature::ToolResultMedia, &format!("{path}.content[{at}]"))?;
        }
        if *is_error {
            self.losses.leave_out(Feature::UnknownField, &format!("{path}.is_error"))?;
        }
        let parts: Vec<_> = parts.iter().enumerate().collect();
        let content = self.content(&parts, path, spelled)?;
        if !self.is_own || content.is_some() {
            whole.insert("content".to_owned(), content.unwrap_or_else(|| "".into()));
        }
        self.give_back(&mut whole, &part.rest, path)?;
        Ok(Some(whole))
    }
}

/// What a turn holds besides what it says: reasoning with seals, and where it stands.
#[derive(Default)]
struct Thoughts<'a> {
    said: Vec<(&'a str, Option<&'a Seal>, String)>,
    on_calls: Vec<Value>,
}

impl<'a> Thoughts<'a> {
    fn add(&mut self, text: &'a str, seal: Option<&'a Seal>, path: String) {
        self.said.push((text, seal, path));
    }
}

fn has(spelled: Option<&Map<String, Value>>, key: &str) -> bool {
    spelled.is_some_and(|spelled| spelled.contains_key(key))
}

/// The message with its own spelling over the canonical one.
fn finished(mut whole: Map<String, Value>, spelled: Option<&Map<String, Value>>) -> Value {
    let fields = spelled.into_iter().flatten().filter(|(key, _)| key.as_str() != IS_LIST);
    whole.extend(fields.map(|(key, value)| (key.clone(), value.clone())));
    Value::Object(whole)
}
