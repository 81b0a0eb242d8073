//! The shapes that a `generateContent` answer is written in.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::chat::Citation;
use crate::chat::TokenLogprob;
use crate::chat::Usage;
use crate::wire::gemini::span::Widths;

/// A whole body or a chunk.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk<'a> {
    /// The answers, or their next pieces.
    #[serde(skip_serializing_if = "is_empty")]
    pub candidates: &'a [Candidate<'a>],
    /// Why the prompt was blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_feedback: Option<PromptFeedback<'a>>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_metadata: Option<UsageOut>,
    /// The model that answers.
    pub model_version: &'a str,
    /// The answer's id.
    pub response_id: &'a str,
}

/// One answer, or its next piece.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate<'a> {
    /// What is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content<'a>>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<&'a str>,
    /// From 0.
    pub index: u32,
    /// The probabilities of its tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs_result: Option<Logprobs<'a>>,
    /// Its sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grounding_metadata: Option<Grounding<'a>>,
}

/// What is said.
#[derive(Serialize)]
pub struct Content<'a> {
    /// Its pieces.
    pub parts: &'a [Part<'a>],
    /// Always the model.
    pub role: &'static str,
}

impl<'a> Content<'a> {
    /// These pieces.
    pub fn new(parts: &'a [Part<'a>]) -> Option<Self> {
        Some(Self { parts, role: "model" })
    }
}

/// A piece of what is said.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part<'a> {
    /// Words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    /// The words are a thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought: Option<bool>,
    /// A call of the application's tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall>,
    /// A picture or sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_data: Option<Blob<'a>>,
    /// What the maker wants back with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought_signature: Option<String>,
}

impl<'a> Part<'a> {
    /// Words.
    pub fn text(text: &'a str) -> Self {
        Self { text: Some(Cow::Borrowed(text)), ..Self::default() }
    }

    /// A thought.
    pub fn thought(text: &'a str) -> Self {
        Self { thought: Some(true), ..Self::text(text) }
    }
}

/// A whole call.
#[derive(Clone, Serialize)]
pub struct FunctionCall {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// An object.
    pub args: Box<RawValue>,
}

/// Bytes in base64.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob<'a> {
    /// Their media type.
    pub mime_type: &'a str,
    /// The bytes.
    pub data: &'a str,
}

/// Why there is no answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptFeedback<'a> {
    /// The word for it.
    pub block_reason: &'a str,
}

/// Tokens; what is not known is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thoughts_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_token_count: Option<u64>,
}

impl From<&Usage> for UsageOut {
    /// Google counts thoughts beside the answer; where they are not within it they stand beside it
    /// already.
    fn from(usage: &Usage) -> Self {
        let thought = usage.reasoning_tokens;
        let output = usage.output_tokens;
        let said = output.map(|output| output.checked_sub(thought.unwrap_or(0)).unwrap_or(output));
        Self {
            prompt_token_count: usage.input_tokens,
            cached_content_token_count: usage.cached_input_tokens,
            candidates_token_count: said.filter(|said| *said > 0 || thought.is_none()),
            thoughts_token_count: thought,
            total_token_count: usage.total_tokens,
        }
    }
}

/// The probabilities of tokens.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Logprobs<'a> {
    chosen_candidates: Vec<Token<'a>>,
    top_candidates: Vec<Rivals<'a>>,
}

impl<'a> Logprobs<'a> {
    /// Of these tokens.
    pub fn new(tokens: &'a [TokenLogprob]) -> Self {
        let token = |token: &'a str, log_probability| Token { token, log_probability };
        let rivals = |of: &'a TokenLogprob| Rivals {
            candidates: of.top.iter().map(|(rival, logprob)| token(rival, *logprob)).collect(),
        };
        Self {
            chosen_candidates: tokens.iter().map(|it| token(&it.token, it.logprob)).collect(),
            top_candidates: tokens.iter().map(rivals).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Token<'a> {
    token: &'a str,
    log_probability: f64,
}

#[derive(Serialize)]
struct Rivals<'a> {
    candidates: Vec<Token<'a>>,
}

/// Sources.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grounding<'a> {
    grounding_chunks: Vec<GroundingChunk<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    grounding_supports: Vec<Support>,
}

impl<'a> Grounding<'a> {
    /// Each citation is a source of its own, with the stretch that it supports.
    pub fn new(citations: &'a [Citation], said: &Widths) -> Option<Self> {
        let supports = (0..).zip(citations).filter_map(|(at, citation)| {
            let (from, to) = citation.span?;
            let segment = Segment { start_index: said.to_byte(from), end_index: said.to_byte(to) };
            Some(Support { segment, grounding_chunk_indices: [at] })
        });
        (!citations.is_empty()).then(|| Self {
            grounding_chunks: citations.iter().map(GroundingChunk::new).collect(),
            grounding_supports: supports.collect(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum GroundingChunk<'a> {
    Web(Page<'a>),
    RetrievedContext(Page<'a>),
}

impl<'a> GroundingChunk<'a> {
    /// Only documents have words.
    fn new(citation: &'a Citation) -> Self {
        let Citation { url, title, quote, .. } = citation;
        let (uri, title, text) = (url.as_deref(), title.as_deref(), quote.as_deref());
        let page = Page { uri, title, text };
        if uri.is_some() && text.is_none() { Self::Web(page) } else { Self::RetrievedContext(page) }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Support {
    segment: Segment,
    grounding_chunk_indices: [usize; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Segment {
    start_index: u64,
    end_index: u64,
}

fn is_empty(candidates: &&[Candidate<'_>]) -> bool {
    candidates.is_empty()
}
