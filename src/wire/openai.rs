//! The OpenAI chat completions dialect, spoken by OpenAI and most others.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;

use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::ProviderError;
use crate::chat::request::Request;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::wire::Asked;
use crate::wire::ChatRequest;
use crate::wire::Decode;
use crate::wire::Dialect;
use crate::wire::Encode;
use crate::wire::InPath;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::json;
use crate::wire::openai_chunk;
use crate::wire::sse;
use crate::wire::text;

/// The dialect; it has no state.
pub struct OpenAi;

impl Dialect for OpenAi {
    fn name(&self) -> DialectName {
        DialectName::OpenAi
    }

    fn path(&self, _model: &str, _is_stream: bool) -> String {
        "/chat/completions".to_owned()
    }

    fn read_head(&self, body: Bytes, in_path: Option<InPath>) -> Result<ChatRequest> {
        json::head(body, in_path, "a chat completion request")
    }

    fn read(&self, _head: &ChatRequest) -> Result<Request> {
        Err(Error::new(Kind::Internal, "being written"))
    }

    fn write(&self, _request: &Request, _to: &Recipient<'_>) -> Result<Written> {
        Err(Error::new(Kind::Internal, "being written"))
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

    fn encoder(&self, _asked: &Asked) -> Box<dyn Encode> {
        Box::new(Encoder::default())
    }

    fn encode_body(&self, _asked: &Asked, _events: &[ChatEvent]) -> Bytes {
        Bytes::new()
    }

    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes {
        Bytes::from(error_json(status, error).to_string())
    }

    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes {
        Bytes::from(format!("data: {}\n\n", error_json(status, error)))
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
            ChatEvent::Finish { choice, reason, .. } => {
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
            ChatEvent::Seal { .. }
            | ChatEvent::Citation { .. }
            | ChatEvent::Media { .. }
            | ChatEvent::Other { .. }
            | ChatEvent::Embedding { .. } => return,
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

/// A failure in OpenAI's shape.
fn error_json(status: u16, error: &ProviderError) -> Value {
    let kind = error.kind.as_deref().unwrap_or(match status {
        401 => "authentication_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    });
    json!({"error": {"message": error.message, "type": kind, "param": error.param,
                     "code": error.code}})
}
