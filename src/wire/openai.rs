//! The OpenAI chat completions dialect, spoken by OpenAI and most others.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::Decode;
use crate::wire::Dialect;
use crate::wire::DialectName;
use crate::wire::Encode;
use crate::wire::Prompt;
use crate::wire::Turn;
use crate::wire::openai_chunk;
use crate::wire::sse;
use crate::wire::text;

/// The longest model name taken, bytes; it comes back in headers and messages.
const MAX_MODEL_BYTES: usize = 512;

/// The dialect; it has no state.
pub struct OpenAi;

/// The few fields we look at; the rest is skipped without being kept.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(default)]
    stream: Option<bool>,
}

impl Dialect for OpenAi {
    fn name(&self) -> DialectName {
        DialectName::OpenAi
    }

    fn chat_path(&self) -> &'static str {
        "/chat/completions"
    }

    fn read_request(&self, body: Bytes) -> Result<ChatRequest> {
        // serde would also take a list for the three fields.
        if body.trim_ascii_start().starts_with(b"[")
            && serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok()
        {
            return Err(bad("the body is not a chat completion request: it is a list"));
        }
        let head: Head<'_> = serde_json::from_slice(&body).map_err(|error| not_readable(&error))?;
        if !head.messages.is_some_and(|messages| messages.get().starts_with('[')) {
            return Err(bad("\"messages\" must be a list of messages"));
        }
        let model: Cow<'_, str> = serde_json::from_str(head.model.get())
            .map_err(|_| bad("\"model\" must be a string, for example \"openai/gpt-4o\""))?;
        if model.is_empty() {
            return Err(bad("\"model\" is empty: name a route, or a target such as openai/gpt-4o"));
        }
        if model.len() > MAX_MODEL_BYTES {
            return Err(bad("\"model\" is longer than 512 bytes"));
        }
        let model = model.into_owned();
        let model_at = span(&body, head.model.get());
        let stream = head.stream.unwrap_or(false);
        Ok(ChatRequest { model, model_at, stream, body })
    }

    fn write_request(
        &self,
        request: &ChatRequest,
        model: &str,
        patch: Option<&Map<String, Value>>,
    ) -> Result<Bytes> {
        let Some(patch) = patch else { return Ok(rename(request, model)) };
        let mut body: Value =
            serde_json::from_slice(&request.body).map_err(|error| not_readable(&error))?;
        merge_patch(&mut body, patch);
        body["model"] = Value::from(model);
        serde_json::to_vec(&body)
            .map(Bytes::from)
            .map_err(|error| Error::new(Kind::Internal, format!("writing a request: {error}")))
    }

    fn write_prompt(&self, prompt: &Prompt) -> Bytes {
        let mut body = json!({
            "model": prompt.model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "temperature": 0,
            "max_tokens": prompt.max_tokens,
        });
        if prompt.top_logprobs > 0 {
            body["logprobs"] = Value::from(true);
            body["top_logprobs"] = Value::from(prompt.top_logprobs);
        }
        Bytes::from(body.to_string())
    }

    fn turns(&self, body: &[u8]) -> Vec<Turn> {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let messages = body.get("messages").and_then(Value::as_array);
        messages.into_iter().flatten().map(turn).collect()
    }

    fn conversation(&self, body: &[u8]) -> String {
        #[derive(Deserialize)]
        struct User {
            user: Option<String>,
        }
        match serde_json::from_slice::<User>(body) {
            Ok(User { user: Some(user) }) if !user.is_empty() => format!("user:{user}"),
            _ => first_turns(&self.turns(body)),
        }
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(Decoder { calls: 0 })
    }

    fn decode_body(&self, body: &[u8]) -> Vec<ChatEvent> {
        let mut events = Vec::new();
        openai_chunk::read(&text(body), &mut 0, &mut events);
        events.push(ChatEvent::Done);
        events
    }

    fn encoder(&self) -> Box<dyn Encode> {
        Box::new(Encoder::default())
    }

    fn error_body(&self, error: &Error) -> Bytes {
        Bytes::from(error_json(error).to_string())
    }

    fn error_frame(&self, error: &Error) -> Bytes {
        Bytes::from(format!("data: {}\n\n", error_json(error)))
    }
}

struct Decoder {
    calls: u32,
}

impl Decode for Decoder {
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>) {
        if event.data.trim() == "[DONE]" {
            out.push(ChatEvent::Done);
        } else {
            openai_chunk::read(&event.data, &mut self.calls, out);
        }
    }
}

/// Remembers id and model, which every chunk repeats.
#[derive(Default)]
struct Encoder {
    id: String,
    model: String,
}

impl Encode for Encoder {
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        let body = match event {
            ChatEvent::Start { id, model } => {
                self.id = id.clone().unwrap_or_default();
                self.model = model.clone().unwrap_or_default();
                self.choice(0, &json!({"role": "assistant", "content": ""}), &Value::Null)
            }
            ChatEvent::Text { choice, text } => {
                self.choice(*choice, &json!({"content": text}), &Value::Null)
            }
            ChatEvent::Reasoning { choice, text } => {
                self.choice(*choice, &json!({"reasoning_content": text}), &Value::Null)
            }
            ChatEvent::Refusal { choice, text } => {
                self.choice(*choice, &json!({"refusal": text}), &Value::Null)
            }
            ChatEvent::Transcript { choice, text } => {
                self.choice(*choice, &json!({"audio": {"transcript": text}}), &Value::Null)
            }
            ChatEvent::ToolCall { choice, index, id, name, arguments } => {
                let mut call = json!({"index": index, "function": {"arguments": arguments}});
                if let Some(id) = id {
                    call["id"] = Value::from(id.as_str());
                    call["type"] = Value::from("function");
                }
                if let Some(name) = name {
                    call["function"]["name"] = Value::from(name.as_str());
                }
                self.choice(*choice, &json!({"tool_calls": [call]}), &Value::Null)
            }
            ChatEvent::Logprobs { choice, tokens } => {
                let tokens: Vec<Value> = tokens.iter().map(logprob_json).collect();
                let mut chunk = self.choice(*choice, &json!({}), &Value::Null);
                chunk["choices"][0]["logprobs"] = json!({"content": tokens});
                chunk
            }
            ChatEvent::Finish { choice, reason } => {
                self.choice(*choice, &json!({}), &Value::from(reason.as_str()))
            }
            ChatEvent::Usage(usage) => {
                let mut chunk = self.choice(0, &json!({}), &Value::Null);
                chunk["choices"] = json!([]);
                chunk["usage"] = usage_json(usage);
                chunk
            }
            ChatEvent::Error(error) => json!({"error": {
                "message": error.message, "type": error.kind, "param": error.param,
                "code": error.code,
            }}),
            ChatEvent::Done => {
                out.extend_from_slice(b"data: [DONE]\n\n");
                return;
            }
        };
        out.extend_from_slice(format!("data: {body}\n\n").as_bytes());
    }
}

impl Encoder {
    fn choice(&self, index: u32, delta: &Value, finish: &Value) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "model": self.model,
            "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
        })
    }
}

fn logprob_json(token: &crate::chat::TokenLogprob) -> Value {
    let top = |(token, logprob): &(String, f64)| json!({"token": token, "logprob": logprob});
    let tops: Vec<Value> = token.top.iter().map(top).collect();
    json!({"token": token.token, "logprob": token.logprob, "top_logprobs": tops})
}

fn usage_json(usage: &crate::chat::Usage) -> Value {
    let mut body = json!({
        "prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    });
    if usage.cached_input_tokens.is_some() || usage.cache_write_tokens.is_some() {
        body["prompt_tokens_details"] = json!({
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        });
    }
    if let Some(tokens) = usage.reasoning_tokens {
        body["completion_tokens_details"] = json!({"reasoning_tokens": tokens});
    }
    body
}

/// Our own failures in OpenAI's shape; `type` says whose fault it is.
fn error_json(error: &Error) -> Value {
    let kind = match error.status() {
        401 => "authentication_error".to_owned(),
        400..=499 => "invalid_request_error".to_owned(),
        _ => format!("{}_error", error.blame().as_str()),
    };
    let message = format!("understudy: {} (fault: {})", error.detail, error.blame().as_str());
    json!({"error": {"message": message, "type": kind, "param": null, "code": error.code()}})
}

/// RFC 7396: objects merge, null removes, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        match value {
            Value::Null => {
                fields.shift_remove(key);
            }
            Value::Object(inner) => {
                merge_patch(fields.entry(key.as_str()).or_insert(Value::Null), inner);
            }
            other => {
                fields.insert(key.clone(), other.clone());
            }
        }
    }
}

/// Replaces the model's name in place; without a change the client's own buffer is passed on.
fn rename(request: &ChatRequest, model: &str) -> Bytes {
    if request.model == model {
        return request.body.clone();
    }
    let name = Value::from(model).to_string();
    let (before, after) =
        (&request.body[..request.model_at.start], &request.body[request.model_at.end..]);
    Bytes::from([before, name.as_bytes(), after].concat())
}

/// Where `part`, a slice of `body`, stands in it.
fn span(body: &[u8], part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + part.len()
}

fn turn(message: &Value) -> Turn {
    let role = message.get("role").and_then(Value::as_str).unwrap_or("user").to_owned();
    let mut text = String::new();
    match message.get("content") {
        Some(Value::String(content)) => text.push_str(content),
        Some(Value::Array(parts)) => parts.iter().for_each(|part| push_part(part, &mut text)),
        _ => {}
    }
    for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        let word = |key: &str| call["function"].get(key).and_then(Value::as_str).unwrap_or("");
        text.push_str(&format!("[calls {}({})]", word("name"), word("arguments")));
    }
    Turn { role, text }
}

/// Everything up to the first thing the user said, which stays when the conversation grows.
fn first_turns(turns: &[Turn]) -> String {
    let first_user = turns.iter().position(|turn| turn.role == "user");
    let end = first_user.map_or(turns.len(), |at| at + 1);
    let opening = turns[..end].iter();
    opening.map(|turn| format!("{}:{}:{}\n", turn.role, turn.text.len(), turn.text)).collect()
}

fn push_part(part: &Value, text: &mut String) {
    match (part.get("text").and_then(Value::as_str), part.get("type").and_then(Value::as_str)) {
        (Some(words), _) => text.push_str(words),
        (None, Some(kind)) => text.push_str(&format!("[{kind}]")),
        (None, None) => {}
    }
}

fn bad(detail: &str) -> Error {
    Error::new(Kind::BadRequest, detail)
}

/// The position, never the text: it may be a prompt.
fn not_readable(error: &serde_json::Error) -> Error {
    let what = match error.classify() {
        serde_json::error::Category::Data => "is not a chat completion request",
        _ => "is not valid JSON",
    };
    let detail = error.to_string();
    let missing = detail.split_once(" at line").map_or("", |(what, _)| what);
    // serde names our own fields in these two, and in nothing else.
    let is_ours = missing.starts_with("missing field") || missing.starts_with("duplicate field");
    let missing = if is_ours { format!(": {missing}") } else { String::new() };
    let (line, column) = (error.line(), error.column());
    bad(&format!("the body {what}{missing} (line {line}, column {column})"))
}
