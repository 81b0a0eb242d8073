//! The pieces of a Converse answer, read leniently; the same in a body and in a stream.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::Citation;
use crate::chat::Maker;
use crate::chat::Sealed;
use crate::chat::Stop;
use crate::chat::Usage;
use crate::wire::converse::media;
use crate::wire::openai::text::Text;
use crate::wire::scalar::Count;
use crate::wire::scalar::argument_text;
use crate::wire::scalar::part;
use crate::wire::seal;

/// What a model thought: whole under `reasoningText`, in a stream without it.
#[derive(Deserialize)]
pub struct Reasoning<'a> {
    #[serde(default, borrow, rename = "reasoningText")]
    whole: Option<Thought<'a>>,
    #[serde(default, borrow)]
    text: Text<'a>,
    #[serde(default, borrow)]
    signature: Text<'a>,
    #[serde(default, borrow, rename = "redactedContent")]
    redacted: Text<'a>,
}

#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(default, borrow)]
    text: Text<'a>,
    #[serde(default, borrow)]
    signature: Text<'a>,
}

impl Reasoning<'_> {
    /// Words first, then the signature that ends them.
    pub fn events(self, out: &mut Vec<ChatEvent>) {
        let (text, signature) = match self.whole {
            Some(whole) => (whole.text, whole.signature),
            None => (self.text, self.signature),
        };
        if let Some(text) = text.some() {
            out.push(ChatEvent::Reasoning { choice: 0, text });
        }
        if let Some(signature) = signature.some() {
            let seal = seal::read(&signature, Maker::Anthropic);
            out.push(ChatEvent::Seal { choice: 0, on: Sealed::Reasoning, seal });
        }
        if let Some(redacted) = self.redacted.some() {
            let seal = seal::read(&media::hidden(&redacted), Maker::Anthropic);
            out.push(ChatEvent::Seal { choice: 0, on: Sealed::Hidden, seal });
        }
    }
}

/// The beginning of a call, or a whole one.
#[derive(Deserialize)]
pub struct ToolUse<'a> {
    #[serde(default, borrow, rename = "toolUseId")]
    id: Text<'a>,
    #[serde(default, borrow)]
    name: Text<'a>,
    #[serde(default, borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default, borrow)]
    input: Option<&'a RawValue>,
}

impl ToolUse<'_> {
    /// The provider runs it itself.
    pub fn is_provider_s(&self) -> bool {
        self.kind.text == "server_tool_use"
    }

    /// As a call of the application's.
    pub fn event(self, index: u32) -> ChatEvent {
        let arguments = self.input.map(argument_text).unwrap_or_default();
        let (id, name) = (self.id.some(), self.name.some());
        ChatEvent::ToolCall { choice: 0, index, id, name, arguments }
    }

    /// As something the provider did.
    pub fn other(self) -> ChatEvent {
        ChatEvent::Other { choice: 0, kind: self.kind.text.into_owned() }
    }
}

/// A picture.
#[derive(Deserialize)]
pub struct Image<'a> {
    #[serde(default, borrow)]
    format: Text<'a>,
    #[serde(default, borrow)]
    source: Option<ImageSource<'a>>,
}

#[derive(Deserialize)]
struct ImageSource<'a> {
    #[serde(default, borrow)]
    bytes: Text<'a>,
}

impl Image<'_> {
    /// In a stream its format was said when it began.
    pub fn event(self, format: &str) -> Option<ChatEvent> {
        let data = self.source?.bytes.some()?;
        let own = self.format.some();
        let format = own.as_deref().unwrap_or(format);
        let mime = media::mime("image", format).unwrap_or("image/png").to_owned();
        Some(ChatEvent::Media { choice: 0, mime, data })
    }

    /// How its format is called.
    pub fn format(self) -> String {
        self.format.text.into_owned()
    }
}

/// A source of what was said.
#[derive(Deserialize)]
pub struct WireCitation<'a> {
    #[serde(default, borrow)]
    title: Text<'a>,
    #[serde(default, borrow)]
    source: Text<'a>,
    #[serde(default, borrow, rename = "sourceContent")]
    content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    location: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Words<'a> {
    #[serde(default, borrow)]
    text: Text<'a>,
}

#[derive(Deserialize)]
struct Location<'a> {
    #[serde(default, borrow)]
    web: Option<Web<'a>>,
}

#[derive(Deserialize)]
struct Web<'a> {
    #[serde(default, borrow)]
    url: Text<'a>,
}

impl WireCitation<'_> {
    /// `span` is what it supports: the block of text it belongs to.
    pub fn event(self, span: Option<(u64, u64)>) -> ChatEvent {
        let location: Option<Location<'_>> = part(self.location);
        let web = location.and_then(|location| location.web?.url.some());
        let words: Vec<Words<'_>> = part(self.content).unwrap_or_default();
        let quote: String = words.into_iter().map(|words| words.text.text).collect();
        // What is searched is often named by its address.
        let source = self.source.some().filter(|source| source.contains("://"));
        let citation = Citation {
            url: web.or(source),
            title: self.title.some(),
            quote: Some(quote).filter(|quote| !quote.is_empty()),
            span,
        };
        ChatEvent::Citation { choice: 0, citation }
    }
}

/// Tokens.
#[derive(Deserialize)]
pub struct WireUsage {
    #[serde(default, rename = "inputTokens")]
    input: Count,
    #[serde(default, rename = "outputTokens")]
    output: Count,
    #[serde(default, rename = "totalTokens")]
    total: Count,
    #[serde(default, rename = "cacheReadInputTokens")]
    read: Count,
    #[serde(default, rename = "cacheWriteInputTokens")]
    written: Count,
}

impl WireUsage {
    /// Bedrock does not count what was cached among the input.
    pub fn event(self) -> ChatEvent {
        let cached = self.read.0.unwrap_or(0).saturating_add(self.written.0.unwrap_or(0));
        ChatEvent::Usage(Usage {
            input_tokens: self.input.0.map(|input| input.saturating_add(cached)),
            output_tokens: self.output.0,
            total_tokens: self.total.0,
            cached_input_tokens: self.read.0,
            cache_write_tokens: self.written.0,
            cache_write_1h_tokens: None,
            reasoning_tokens: None,
        })
    }
}

/// Why it ended.
pub fn finish(reason: Text<'_>, out: &mut Vec<ChatEvent>) {
    let Some(reason) = reason.some() else { return };
    let stop = match reason.as_str() {
        "end_turn" | "stop_sequence" => Some(Stop::Stop),
        "max_tokens" | "model_context_window_exceeded" => Some(Stop::Length),
        "tool_use" => Some(Stop::ToolCalls),
        "guardrail_intervened" | "content_filtered" => Some(Stop::ContentFilter),
        _ => None,
    };
    out.push(ChatEvent::Finish { choice: 0, reason, stop });
}
