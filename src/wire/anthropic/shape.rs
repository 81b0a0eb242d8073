//! What Anthropic's answers look like on the wire, read leniently.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::Citation;
use crate::chat::ProviderError;
use crate::chat::Stop;
use crate::chat::Usage;
use crate::wire::anthropic::lenient::Count;
use crate::wire::anthropic::lenient::List;
use crate::wire::anthropic::lenient::Object;
use crate::wire::anthropic::lenient::Word;

/// An event of a stream, a whole message or an error: their fields do not collide.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Frame<'a> {
    #[serde(rename = "type", default)]
    pub kind: Word<'a>,
    #[serde(default)]
    pub index: Count,
    #[serde(default)]
    pub message: Object<Box<Message<'a>>>,
    #[serde(default)]
    pub content_block: Object<Box<Block<'a>>>,
    #[serde(default)]
    pub delta: Object<Delta<'a>>,
    #[serde(default)]
    pub usage: Object<Box<WireUsage>>,
}

/// A whole message, or what is known of it at its start.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Message<'a> {
    #[serde(rename = "type", default)]
    pub kind: Word<'a>,
    #[serde(default)]
    pub id: Word<'a>,
    #[serde(default)]
    pub model: Word<'a>,
    #[serde(default)]
    pub content: List<Block<'a>>,
    #[serde(default)]
    pub stop_reason: Word<'a>,
    #[serde(default)]
    pub stop_details: Object<StopDetails<'a>>,
    #[serde(default)]
    pub usage: Object<Box<WireUsage>>,
}

/// A content block, whole or at its start.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Block<'a> {
    #[serde(rename = "type", default)]
    pub kind: Word<'a>,
    #[serde(default)]
    pub id: Word<'a>,
    #[serde(default)]
    pub name: Word<'a>,
    #[serde(default)]
    pub text: Word<'a>,
    #[serde(default)]
    pub thinking: Word<'a>,
    #[serde(default)]
    pub signature: Word<'a>,
    #[serde(default)]
    pub data: Word<'a>,
    #[serde(default)]
    pub input: Option<&'a RawValue>,
    #[serde(default)]
    pub citations: List<WireCitation<'a>>,
}

/// What a stream adds to a block or to the message.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Delta<'a> {
    #[serde(rename = "type", default)]
    pub kind: Word<'a>,
    #[serde(default)]
    pub text: Word<'a>,
    #[serde(default)]
    pub partial_json: Word<'a>,
    #[serde(default)]
    pub thinking: Word<'a>,
    #[serde(default)]
    pub signature: Word<'a>,
    #[serde(default)]
    pub citation: Object<Box<WireCitation<'a>>>,
    #[serde(default)]
    pub stop_reason: Word<'a>,
    #[serde(default)]
    pub stop_details: Object<Box<StopDetails<'a>>>,
}

/// Why an answer was withheld.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct StopDetails<'a> {
    #[serde(default)]
    pub explanation: Word<'a>,
}

/// A source: a page, a part of a document, or a search result of the application's.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct WireCitation<'a> {
    #[serde(default)]
    url: Word<'a>,
    #[serde(default)]
    source: Word<'a>,
    #[serde(default)]
    title: Word<'a>,
    #[serde(default)]
    document_title: Word<'a>,
    #[serde(default)]
    cited_text: Word<'a>,
}

impl From<WireCitation<'_>> for Citation {
    fn from(wire: WireCitation<'_>) -> Self {
        Self {
            url: wire.url.some().or(wire.source.some()),
            title: wire.title.some().or(wire.document_title.some()),
            quote: wire.cited_text.some(),
            span: None,
        }
    }
}

/// Tokens as given: what is read from or written to the cache is not among the input's.
#[derive(Clone, Copy, Default, Deserialize)]
pub struct WireUsage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    cache_creation_input_tokens: Count,
    #[serde(default)]
    output_tokens_details: Object<OutputDetails>,
    #[serde(default)]
    cache_creation: Object<Creation>,
}

/// How long what was written to the cache is to be kept.
#[derive(Clone, Copy, Deserialize)]
struct Creation {
    #[serde(default)]
    ephemeral_1h_input_tokens: Count,
}

impl Clone for Object<Creation> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Object<Creation> {}

#[derive(Clone, Copy, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Count,
}

impl Clone for Object<OutputDetails> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Object<OutputDetails> {}

impl WireUsage {
    /// Lays later counts, which are totals so far, over earlier ones.
    pub fn update(&mut self, later: &Self) {
        let newer = |old: &mut Count, new: Count| *old = Count(new.0.or(old.0));
        newer(&mut self.input_tokens, later.input_tokens);
        newer(&mut self.output_tokens, later.output_tokens);
        newer(&mut self.cache_read_input_tokens, later.cache_read_input_tokens);
        newer(&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens);
        if later.output_tokens_details.0.is_some() {
            self.output_tokens_details = later.output_tokens_details;
        }
        if later.cache_creation.0.is_some() {
            self.cache_creation = later.cache_creation;
        }
    }
}

impl From<WireUsage> for Usage {
    fn from(wire: WireUsage) -> Self {
        let (read, write) = (wire.cache_read_input_tokens.0, wire.cache_creation_input_tokens.0);
        let cached = read.unwrap_or(0).saturating_add(write.unwrap_or(0));
        let input = wire.input_tokens.0.map(|given| given.saturating_add(cached));
        let output = wire.output_tokens.0;
        Self {
            input_tokens: input,
            output_tokens: output,
            total_tokens: input.zip(output).map(|(input, output)| input.saturating_add(output)),
            cached_input_tokens: read,
            cache_write_tokens: write,
            cache_write_1h_tokens: wire
                .cache_creation
                .0
                .and_then(|c| c.ephemeral_1h_input_tokens.0),
            reasoning_tokens: wire.output_tokens_details.0.and_then(|said| said.thinking_tokens.0),
        }
    }
}

/// An error body or event; proxies in front of the API write `message` or a bare string.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Failure<'a> {
    #[serde(rename = "type", default)]
    kind: Word<'a>,
    #[serde(default)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    message: Word<'a>,
    #[serde(default)]
    detail: Word<'a>,
}

/// What stands under `error`.
#[derive(Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Inner<'a> {
    #[serde(rename = "type", default)]
    kind: Word<'a>,
    #[serde(default)]
    code: Word<'a>,
    /// Google's word for the class of error, in front of Vertex AI.
    #[serde(default)]
    status: Word<'a>,
    #[serde(default)]
    message: Word<'a>,
    #[serde(default)]
    param: Word<'a>,
}

impl Failure<'_> {
    /// The error told in a body or event; a list of one is how Google's gateways write it.
    pub fn read(json: &str) -> Option<ProviderError> {
        let List(listed) = serde_json::from_str::<List<Failure<'_>>>(json).ok()?;
        let Object(alone) = serde_json::from_str::<Object<Failure<'_>>>(json).ok()?;
        listed.into_iter().next().or(alone).and_then(Failure::error)
    }

    fn error(self) -> Option<ProviderError> {
        let raw = self.error.map_or("null", RawValue::get);
        let inner: Object<Inner<'_>> = serde_json::from_str(raw).unwrap_or_default();
        let word: Word<'_> = serde_json::from_str(raw).unwrap_or_default();
        let has_inner = inner.0.is_some() || !word.0.is_empty();
        let inner = inner.0.unwrap_or_default();
        let mut outer = [self.message, self.detail, word].into_iter().find_map(Word::some);
        let message = inner.message.some().or_else(|| outer.take());
        if self.kind.0 != "error" && !has_inner && message.is_none() {
            return None;
        }
        let kind = inner.kind.some().or(inner.status.some());
        Some(ProviderError {
            message: message.unwrap_or_else(|| "an error without a message".to_owned()),
            kind: kind.or_else(|| self.kind.some().filter(|kind| kind != "error")),
            code: inner.code.some(),
            param: inner.param.some(),
            retry_after_ms: None,
        })
    }
}

/// Anthropic's words for why an answer ended.
pub fn stop(reason: &str) -> Option<Stop> {
    match reason {
        "end_turn" | "stop_sequence" => Some(Stop::Stop),
        "max_tokens" | "model_context_window_exceeded" => Some(Stop::Length),
        "tool_use" => Some(Stop::ToolCalls),
        "refusal" => Some(Stop::ContentFilter),
        _ => None,
    }
}
