//! What Anthropic's answers look like when we write them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::chat::Citation;
use crate::chat::Usage;

/// A whole message, or its start.
#[derive(Serialize)]
pub struct Message<'a> {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub role: &'static str,
    pub model: &'a str,
    pub content: Vec<Block<'a>>,
    pub stop_reason: Option<&'a str>,
    pub stop_sequence: Option<&'a str>,
    pub usage: WireUsage,
}

/// Tokens as Anthropic gives them: cached ones beside the input's, unknown ones left out.
#[derive(Serialize)]
pub struct WireUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation: Option<Creation>,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
}

/// How long what was written to the cache is to be kept.
#[derive(Serialize)]
struct Creation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

impl WireUsage {
    /// Of this much, with an output count, which is demanded.
    pub fn new(usage: Option<&Usage>, output_tokens: u64) -> Self {
        let usage = usage.copied().unwrap_or_default();
        let read = usage.cached_input_tokens;
        // Some servers count tokens that are read and written twice; here all three add up.
        let room = usage.input_tokens.map(|input| input.saturating_sub(read.unwrap_or(0)));
        let write = usage.cache_write_tokens.map(|write| write.min(room.unwrap_or(write)));
        let cached = read.unwrap_or(0).saturating_add(write.unwrap_or(0));
        Self {
            input_tokens: usage.input_tokens.map(|input| input.saturating_sub(cached)),
            cache_creation_input_tokens: write,
            cache_read_input_tokens: read,
            cache_creation: usage.cache_write_1h_tokens.map(|hour| Creation {
                ephemeral_5m_input_tokens: write.unwrap_or(0).saturating_sub(hour),
                ephemeral_1h_input_tokens: hour,
            }),
            output_tokens,
            output_tokens_details: usage
                .reasoning_tokens
                .map(|thinking_tokens| OutputDetails { thinking_tokens }),
        }
    }

    /// For where the input's count must be said: about as many as the question has.
    pub fn with_input(mut self, estimate: u64) -> Self {
        self.input_tokens = self.input_tokens.or(Some(estimate));
        self
    }
}

/// A content block.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        citations: Vec<Source<'a>>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Cow<'a, RawValue>,
    },
}

/// What is added to a block.
#[derive(Serialize)]
#[serde(tag = "type")]
pub enum Delta<'a> {
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "citations_delta")]
    Citations { citation: Source<'a> },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

/// A page that is a source.
#[derive(Serialize)]
pub struct Source<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    url: &'a str,
    title: Option<&'a str>,
    cited_text: &'a str,
    /// Only Anthropic's own search makes one, and the format demands it.
    encrypted_index: &'static str,
}

impl<'a> Source<'a> {
    /// The page of a citation that names one.
    pub fn new(citation: &'a Citation) -> Self {
        Self {
            kind: "web_search_result_location",
            url: citation.url.as_deref().unwrap_or_default(),
            title: citation.title.as_deref(),
            cited_text: citation.quote.as_deref().unwrap_or_default(),
            encrypted_index: "",
        }
    }
}
