//! Writes events as Anthropic's streams, bodies and errors.

use bytes::Bytes;
use serde::Serialize;

use crate::chat::ChatEvent;
use crate::chat::ProviderError;
use crate::error::Blame;
use crate::wire::Asked;
use crate::wire::Encode;
use crate::wire::anthropic::blocks::Blocks;
use crate::wire::anthropic::blocks::no_input;
use crate::wire::anthropic::form::Block;
use crate::wire::anthropic::form::Delta;
use crate::wire::anthropic::form::Message;
use crate::wire::anthropic::form::Source;
use crate::wire::anthropic::form::WireUsage;
use crate::wire::anthropic::layout::Begin;
use crate::wire::anthropic::layout::Grow;
use crate::wire::anthropic::layout::Layout;
use crate::wire::anthropic::layout::Sink;

/// Writes one stream.
pub struct Encoder {
    asked: Asked,
    layout: Layout,
    has_started: bool,
    is_over: bool,
}

impl Encoder {
    /// Before the first event.
    pub fn new(asked: Asked) -> Self {
        Self { asked, layout: Layout::default(), has_started: false, is_over: false }
    }

    /// The first event, which waits for whatever may already be known of the usage.
    fn start(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_started, true) {
            let usage = WireUsage::new(self.layout.usage.as_ref(), 0);
            let usage = usage.with_input(self.asked.input_estimate);
            let message = message(&self.layout, &self.asked, Vec::new(), None, usage);
            event("message_start", &Start { kind: "message_start", message }, out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let delta = Ending { stop_reason: self.layout.stop_reason(), stop_sequence: None };
        let usage = WireUsage::new(self.layout.usage.as_ref(), self.layout.output_tokens());
        event("message_delta", &Finish { kind: "message_delta", delta, usage }, out);
        event("message_stop", &Kind { kind: "message_stop" }, out);
    }
}

impl Encode for Encoder {
    fn encode(&mut self, told: &ChatEvent, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        match told {
            ChatEvent::Error(error) => {
                self.is_over = true;
                out.extend_from_slice(&error_frame(500, error));
            }
            ChatEvent::Start { .. } | ChatEvent::Usage(_) => {
                self.layout.push(told, &self.asked, &mut Stream(out));
            }
            ChatEvent::Done => {
                self.is_over = true;
                self.start(out);
                self.layout.push(told, &self.asked, &mut Stream(out));
                self.finish(out);
            }
            _ => {
                self.start(out);
                self.layout.push(told, &self.asked, &mut Stream(out));
            }
        }
    }
}

/// Writes a whole body.
pub fn body(asked: &Asked, events: &[ChatEvent]) -> Bytes {
    let mut layout = Layout::default();
    let mut blocks = Blocks::default();
    events.iter().for_each(|event| layout.push(event, asked, &mut blocks));
    layout.push(&ChatEvent::Done, asked, &mut blocks);
    let usage = WireUsage::new(layout.usage.as_ref(), layout.output_tokens());
    let usage = usage.with_input(asked.input_estimate);
    json(&message(&layout, asked, blocks.content(), Some(layout.stop_reason()), usage))
}

/// An error body; Anthropic's own words for its class, and ours, stay, others follow the status.
pub fn error_body(status: u16, error: &ProviderError) -> Bytes {
    const OWN: [&str; 9] = [
        "api_error",
        "authentication_error",
        "billing_error",
        "invalid_request_error",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "timeout_error",
    ];
    let is_ours = |kind: &str| {
        let blamed = [Blame::Understudy, Blame::Provider];
        blamed.iter().any(|blame| kind.strip_suffix("_error") == Some(blame.as_str()))
    };
    let known = |kind: &&str| OWN.contains(kind) || *kind == "request_too_large" || is_ours(kind);
    let kind = error.kind.as_deref().filter(known).unwrap_or(match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        529 => "overloaded_error",
        _ => "api_error",
    });
    let error = Failure { kind, message: &error.message };
    json(&Failed { kind: "error", error })
}

/// The event that ends a broken stream.
pub fn error_frame(status: u16, error: &ProviderError) -> Bytes {
    let body = error_body(status, error);
    Bytes::from([b"event: error\ndata: ", &body[..], b"\n\n"].concat())
}

/// The answer to a request to count tokens.
pub fn token_count(input_tokens: u64) -> Bytes {
    #[derive(Serialize)]
    struct Counted {
        input_tokens: u64,
    }
    json(&Counted { input_tokens })
}

#[derive(Serialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Failed<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Failure<'a>,
}

#[derive(Serialize)]
struct Failure<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Start<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: Message<'a>,
}

#[derive(Serialize)]
struct Finish<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    delta: Ending<'a>,
    usage: WireUsage,
}

#[derive(Serialize)]
struct Ending<'a> {
    stop_reason: &'a str,
    stop_sequence: Option<&'a str>,
}

fn message<'a>(
    layout: &'a Layout,
    asked: &'a Asked,
    content: Vec<Block<'a>>,
    stop_reason: Option<&'a str>,
    usage: WireUsage,
) -> Message<'a> {
    Message {
        id: layout.id.clone().unwrap_or_else(|| format!("msg_{}", asked.id)),
        kind: "message",
        role: "assistant",
        model: layout.model.as_deref().unwrap_or(&asked.request.model),
        content,
        stop_reason,
        stop_sequence: None,
        usage,
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // Only maps with keys that are no strings fail, and there are none here.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

fn event(name: &str, value: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // Writing to memory does not fail, nor do these types.
    let _ = serde_json::to_writer(&mut *out, value);
    out.extend_from_slice(b"\n\n");
}

/// Nearly all events add words, so these are written without looking for anything else.
fn words(index: usize, field: &[u8], text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
    );
    // Writing to memory does not fail, nor do a number and a string.
    let _ = serde_json::to_writer(&mut *out, &index);
    out.extend_from_slice(b",\"delta\":{\"type\":");
    out.extend_from_slice(field);
    let _ = serde_json::to_writer(&mut *out, text);
    out.extend_from_slice(b"}}\n\n");
}

/// Writes blocks as events.
struct Stream<'a>(&'a mut Vec<u8>);

impl Sink for Stream<'_> {
    fn begin(&mut self, index: usize, block: Begin<'_>) {
        #[derive(Serialize)]
        struct BlockStart<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            index: usize,
            content_block: Block<'a>,
        }
        let content_block = match block {
            Begin::Text => Block::Text { text: "", citations: Vec::new() },
            Begin::Thinking => Block::Thinking { thinking: "", signature: "" },
            Begin::Redacted { data } => Block::RedactedThinking { data },
            Begin::Tool { id, name } => Block::ToolUse { id, name, input: no_input() },
        };
        let kind = "content_block_start";
        event(kind, &BlockStart { kind, index, content_block }, self.0);
    }

    fn grow(&mut self, index: usize, by: Grow<'_>) {
        #[derive(Serialize)]
        struct BlockDelta<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            index: usize,
            delta: Delta<'a>,
        }
        let delta = match by {
            Grow::Text(text) => return words(index, b"\"text_delta\",\"text\":", text, self.0),
            Grow::Thinking(text) => {
                return words(index, b"\"thinking_delta\",\"thinking\":", text, self.0);
            }
            Grow::Signature(signature) => Delta::Signature { signature },
            Grow::Citation(citation) => Delta::Citations { citation: Source::new(citation) },
            Grow::Json(partial_json) => Delta::InputJson { partial_json },
        };
        let kind = "content_block_delta";
        event(kind, &BlockDelta { kind, index, delta }, self.0);
    }

    fn end(&mut self, index: usize) {
        #[derive(Serialize)]
        struct BlockStop {
            #[serde(rename = "type")]
            kind: &'static str,
            index: usize,
        }
        let kind = "content_block_stop";
        event(kind, &BlockStop { kind, index }, self.0);
    }
}
