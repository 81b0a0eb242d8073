//! Writes requests in Cohere's words.

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

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
use crate::error::Result;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::call_id::CallIds;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;

/// The most stop sequences that Cohere takes.
const MAX_STOPS: usize = 5;

/// Writes everything that has a place.
///
/// # Errors
/// Something has none that must not be left out.
pub fn write(request: &Request, to: &Recipient<'_>) -> Result<Written> {
    let mut writer = Writer {
        is_own: request.dialect == DialectName::Cohere,
        losses: Losses::new(DialectName::Cohere, to.quirks),
        ids: CallIds::new(),
    };
    let mut body = Map::new();
    body.insert("model".to_owned(), Value::from(to.model));
    body.insert("stream".to_owned(), Value::from(request.stream));
    body.insert("messages".to_owned(), writer.messages(request)?);
    writer.tools(request, &mut body)?;
    writer.sampling(&request.sampling, &mut body)?;
    writer.others(request, &mut body)?;
    writer.rest(&request.rest, "", &mut body)?;
    let body = Bytes::from(Value::Object(body).to_string());
    Ok(Written { body, losses: writer.losses })
}

/// Writes a request, and keeps what was left out.
pub struct Writer {
    /// The request was written in Cohere's words.
    pub is_own: bool,
    /// What was left out so far.
    pub losses: Losses,
    ids: CallIds,
}

impl Writer {
    /// Writes the fields without a canonical place back in their own dialect, merged into what is
    /// there.
    ///
    /// # Errors
    /// One must not be left out.
    pub fn rest(
        &mut self,
        rest: &Map<String, Value>,
        at: &str,
        into: &mut Map<String, Value>,
    ) -> Result<()> {
        for (key, value) in rest {
            let feature = match key.as_str() {
                "cache_control" => Feature::CacheMark,
                _ => Feature::UnknownField,
            };
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            match (self.is_own, into.get_mut(key), value) {
                (false, _, _) => self.losses.leave_out(feature, &path)?,
                (true, Some(Value::Object(known)), Value::Object(more)) => {
                    known.extend(more.clone());
                }
                (true, _, value) => {
                    into.insert(key.clone(), value.clone());
                }
            }
        }
        Ok(())
    }

    fn messages(&mut self, request: &Request) -> Result<Value> {
        let mut messages = Vec::new();
        for (n, message) in request.messages.iter().enumerate() {
            let at = format!("messages[{n}]");
            if message.name.is_some() {
                self.losses.leave_out(Feature::Name, &format!("{at}.name"))?;
            }
            match message.role {
                Role::Tool => self.results(message, &at, &mut messages)?,
                Role::Assistant => messages.push(self.assistant(message, &at)?),
                Role::System | Role::Developer => {
                    messages.push(self.plain("system", message, &at)?);
                }
                Role::User => messages.push(self.plain("user", message, &at)?),
            }
        }
        Ok(Value::Array(messages))
    }

    fn plain(&mut self, role: &str, message: &Message, at: &str) -> Result<Value> {
        let mut parts = Vec::new();
        for (n, part) in message.parts.iter().enumerate() {
            parts.extend(self.part(part, &format!("{at}.content[{n}]"))?);
        }
        let mut written = Map::new();
        written.insert("role".to_owned(), Value::from(role));
        written.insert("content".to_owned(), content(parts));
        self.rest(&message.rest, at, &mut written)?;
        Ok(Value::Object(written))
    }

    fn assistant(&mut self, message: &Message, at: &str) -> Result<Value> {
        let (mut parts, mut calls) = (Vec::new(), Vec::new());
        for (n, part) in message.parts.iter().enumerate() {
            let at = format!("{at}.content[{n}]");
            match &part.kind {
                PartKind::ToolCall { id, name, arguments, seal } => {
                    if seal.is_some() {
                        self.losses.leave_out(Feature::Seal, &at)?;
                    }
                    let id = self.ids.call(id.as_deref(), name);
                    let arguments = if arguments.is_empty() { "{}" } else { arguments };
                    let call = json!({"id": id, "type": "function",
                                      "function": {"name": name, "arguments": arguments}});
                    calls.push(self.with_rest(call, part, &at)?);
                }
                _ => parts.extend(self.part(part, &at)?),
            }
        }
        let mut written = Map::new();
        written.insert("role".to_owned(), Value::from("assistant"));
        if !calls.is_empty() && !self.is_own {
            // What is said beside calls is to Cohere the plan behind them.
            let plan = parts.extract_if(.., |part| part["type"] == "text");
            let plan: String =
                plan.filter_map(|part| part["text"].as_str().map(str::to_owned)).collect();
            if !plan.is_empty() {
                written.insert("tool_plan".to_owned(), Value::from(plan));
            }
        }
        if !parts.is_empty() || calls.is_empty() {
            written.insert("content".to_owned(), content(parts));
        }
        if !calls.is_empty() {
            written.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        self.rest(&message.rest, at, &mut written)?;
        Ok(Value::Object(written))
    }

    /// One message for each result.
    fn results(&mut self, message: &Message, at: &str, out: &mut Vec<Value>) -> Result<()> {
        for (n, part) in message.parts.iter().enumerate() {
            let at = format!("{at}.content[{n}]");
            let PartKind::ToolResult { call_id, name, parts, is_error } = &part.kind else {
                self.losses.leave_out(Feature::OwnPart, &at)?;
                continue;
            };
            let mut inner = Vec::new();
            for (n, part) in parts.iter().enumerate() {
                inner.extend(self.result_part(part, &format!("{at}.content[{n}]"))?);
            }
            let id = self.ids.result(call_id.as_deref(), name.as_deref());
            let content = if *is_error { failed(inner) } else { content(inner) };
            let written = json!({"role": "tool", "tool_call_id": id, "content": content});
            let Value::Object(mut written) = self.with_rest(written, part, &at)? else { continue };
            self.rest(&message.rest, &at, &mut written)?;
            out.push(Value::Object(written));
        }
        Ok(())
    }

    fn result_part(&mut self, part: &Part, at: &str) -> Result<Option<Value>> {
        match &part.kind {
            PartKind::Text(_) | PartKind::Own(_) => self.part(part, at),
            _ => self.losses.leave_out(Feature::ToolResultMedia, at).map(|()| None),
        }
    }

    fn part(&mut self, part: &Part, at: &str) -> Result<Option<Value>> {
        let feature = match &part.kind {
            PartKind::Text(text) | PartKind::Refusal(text) => {
                return self.with_rest(json!({"type": "text", "text": text}), part, at).map(Some);
            }
            PartKind::Image { source, detail } => return self.image(source, detail, part, at),
            PartKind::Reasoning { text, seal } => {
                if seal.is_some() {
                    self.losses.leave_out(Feature::Seal, at)?;
                }
                if text.is_empty() {
                    return Ok(None);
                }
                let thinking = json!({"type": "thinking", "thinking": text});
                return self.with_rest(thinking, part, at).map(Some);
            }
            PartKind::Own(own) if self.is_own => return Ok(Some(own.clone())),
            PartKind::Hidden(_) => Feature::Seal,
            PartKind::Audio(_) => Feature::AudioInput,
            PartKind::Video(_) => Feature::VideoInput,
            PartKind::File { .. } => Feature::FileInput,
            PartKind::Own(_) | PartKind::ToolCall { .. } | PartKind::ToolResult { .. } => {
                Feature::OwnPart
            }
        };
        self.losses.leave_out(feature, at).map(|()| None)
    }

    fn image(
        &mut self,
        source: &Source,
        detail: &Option<String>,
        part: &Part,
        at: &str,
    ) -> Result<Option<Value>> {
        let url = match source {
            Source::Inline { mime, data } => format!("data:{mime};base64,{data}"),
            Source::Url { url, .. } => url.clone(),
            Source::Id(_) => {
                return self.losses.leave_out(Feature::FileId, at).map(|()| None);
            }
        };
        if self.losses.lacks(Feature::ImageInput) {
            return self.losses.leave_out(Feature::ImageInput, at).map(|()| None);
        }
        let mut image = json!({"url": url});
        if let Some(detail) = detail {
            image["detail"] = Value::from(detail.as_str());
        }
        self.with_rest(json!({"type": "image_url", "image_url": image}), part, at).map(Some)
    }

    fn with_rest(&mut self, written: Value, part: &Part, at: &str) -> Result<Value> {
        let Value::Object(mut written) = written else { return Ok(written) };
        self.rest(&part.rest, at, &mut written)?;
        Ok(Value::Object(written))
    }

    fn sampling(&mut self, sampling: &Sampling, body: &mut Map<String, Value>) -> Result<()> {
        let values = [
            ("max_tokens", sampling.max_tokens.map(Value::from)),
            ("temperature", sampling.temperature.map(Value::from)),
            ("p", sampling.top_p.map(Value::from)),
            ("k", sampling.top_k.map(Value::from)),
            ("seed", sampling.seed.map(Value::from)),
            ("frequency_penalty", sampling.frequency_penalty.map(Value::from)),
            ("presence_penalty", sampling.presence_penalty.map(Value::from)),
            ("logprobs", sampling.logprobs.map(|_| Value::from(true))),
        ];
        for (key, value) in values {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        }
        if !sampling.stop.is_empty() {
            if sampling.stop.len() > MAX_STOPS && !self.is_own {
                self.losses.leave_out(Feature::StopCount, "stop")?;
            }
            body.insert("stop_sequences".to_owned(), Value::from(sampling.stop.clone()));
        }
        if sampling.choices.is_some_and(|choices| choices > 1) {
            self.losses.leave_out(Feature::Choices, "n")?;
        }
        if sampling.logprobs.is_some_and(|rivals| rivals > 0) {
            self.losses.leave_out(Feature::Logprobs, "top_logprobs")?;
        }
        Ok(())
    }

    fn others(&mut self, request: &Request, body: &mut Map<String, Value>) -> Result<()> {
        if let Some(effort) = &request.reasoning {
            self.thinking(effort, body)?;
        }
        let format = match &request.format {
            None => None,
            Some(Format::Json) => Some(json!({"type": "json_object"})),
            Some(Format::Schema { schema, .. }) => {
                Some(json!({"type": "json_object", "json_schema": schema}))
            }
            Some(Format::Own(own)) if self.is_own => Some(own.clone()),
            Some(Format::Own(_)) => {
                self.losses.leave_out(Feature::JsonSchema, "response_format")?;
                None
            }
        };
        if let Some(format) = format {
            body.insert("response_format".to_owned(), format);
        }
        if request.end_user.is_some() {
            self.losses.leave_out(Feature::EndUser, "user")?;
        }
        if request.metadata.is_some() {
            self.losses.leave_out(Feature::Metadata, "metadata")?;
        }
        Ok(())
    }

    /// Cohere thinks unless told not to, and knows no levels but a budget.
    fn thinking(&mut self, effort: &Effort, body: &mut Map<String, Value>) -> Result<()> {
        let is_off = effort.enabled == Some(false) || effort.level.as_deref() == Some("none");
        let is_said = effort.enabled.is_some() || is_off || effort.budget_tokens.is_some();
        if effort.level.as_deref().is_some_and(|level| level != "none") {
            self.losses.leave_out(Feature::Reasoning, "reasoning.effort")?;
        }
        if is_said {
            let mut thinking = json!({"type": if is_off { "disabled" } else { "enabled" }});
            if let Some(budget) = effort.budget_tokens.filter(|_| !is_off) {
                thinking["token_budget"] = Value::from(budget);
            }
            body.insert("thinking".to_owned(), thinking);
        }
        Ok(())
    }
}

/// A single text is written as such.
fn content(parts: Vec<Value>) -> Value {
    match &parts[..] {
        [] => Value::from(""),
        [only]
            if only["type"] == "text" && only.as_object().is_some_and(|only| only.len() == 2) =>
        {
            only["text"].clone()
        }
        _ => Value::Array(parts),
    }
}

/// Cohere has no mark for a tool that failed, but reads documents by the names of their fields.
fn failed(parts: Vec<Value>) -> Value {
    let texts = parts.into_iter().map(|part| match part["text"].as_str() {
        Some(text) => json!({"type": "document", "document": {"data": {"error": text}}}),
        None => part,
    });
    Value::Array(texts.collect())
}
