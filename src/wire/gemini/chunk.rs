//! The shapes of a `generateContent` answer, whole or a chunk of a stream, read leniently.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Number;
use serde_json::Value;
use serde_json::value::RawValue;

/// A string that is the same in every chunk and so seldom needed, borrowed where it can be.
#[derive(Deserialize)]
pub struct Word<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Something of which it is enough to know that it is there.
pub type Mark = Option<IgnoredAny>;

/// A whole body or a chunk, which have one form.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Chunk<'a> {
    /// The answer's id.
    #[serde(borrow)]
    pub response_id: Option<Word<'a>>,
    /// The model that answers.
    #[serde(borrow)]
    pub model_version: Option<Word<'a>>,
    /// The answers.
    pub candidates: Option<Vec<Candidate>>,
    /// Why the prompt was blocked.
    pub prompt_feedback: Option<PromptFeedback>,
    /// Tokens so far.
    pub usage_metadata: Option<Usage>,
    /// A failure, instead of everything else.
    pub error: Option<Value>,
}

/// One answer, or its next piece.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Candidate {
    /// From 0; absent for the only one.
    pub index: Option<u32>,
    /// What is said.
    pub content: Option<Content>,
    /// Why it ended.
    pub finish_reason: Option<String>,
    /// The probabilities of its tokens.
    pub logprobs_result: Option<Box<Logprobs>>,
    /// The sources that a search found.
    pub grounding_metadata: Option<Box<Grounding>>,
    /// The sources that the model recites.
    pub citation_metadata: Option<Box<Citations>>,
    /// The pages that were fetched.
    pub url_context_metadata: Option<Box<Fetched>>,
}

/// What is said.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Content {
    /// Its pieces.
    pub parts: Option<Vec<Part>>,
}

/// A piece of what is said; one of its fields is there.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Part {
    /// Words.
    pub text: Option<String>,
    /// The words are a thought.
    pub thought: Option<bool>,
    /// What the maker wants back with the piece.
    pub thought_signature: Option<String>,
    /// A call of the application's tool.
    pub function_call: Option<Box<FunctionCall>>,
    /// A picture or sound.
    pub inline_data: Option<Box<Blob>>,
    /// A picture or sound that stands elsewhere.
    pub file_data: Mark,
    /// Code that the provider runs.
    pub executable_code: Mark,
    /// What came of it.
    pub code_execution_result: Mark,
    /// A call of a tool that the provider runs.
    pub tool_call: Mark,
    /// What came of it.
    pub tool_response: Mark,
}

/// A call, whole or in pieces.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionCall {
    /// Its id; most have none.
    pub id: Option<String>,
    /// The tool; absent where a call goes on.
    pub name: Option<String>,
    /// Whole arguments.
    pub args: Option<Box<RawValue>>,
    /// Arguments value by value.
    pub partial_args: Option<Vec<PartialArg>>,
    /// More of the call follows.
    pub will_continue: Option<bool>,
}

/// A value among the arguments, or a piece of a string.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PartialArg {
    /// Where it belongs, `$.a[0].b`.
    pub json_path: Option<String>,
    /// A string, or the next piece of one.
    pub string_value: Option<String>,
    /// A number.
    pub number_value: Option<Number>,
    /// A truth value.
    pub bool_value: Option<bool>,
    /// Null, in whatever word.
    pub null_value: Option<Value>,
}

/// Bytes in base64.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Blob {
    /// Their media type.
    pub mime_type: String,
    /// The bytes.
    pub data: String,
}

/// Why there is no answer.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PromptFeedback {
    /// The word for it.
    pub block_reason: Option<String>,
}

/// Tokens.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Of the prompt, cached ones included.
    pub prompt_token_count: Option<u64>,
    /// Of the answers.
    pub candidates_token_count: Option<u64>,
    /// Of the thoughts, beside the answers.
    pub thoughts_token_count: Option<u64>,
    /// All, with those of the results of the provider's own tools.
    pub total_token_count: Option<u64>,
    /// Of the prompt, from the cache.
    pub cached_content_token_count: Option<u64>,
}

/// The probabilities of tokens.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Logprobs {
    /// The tokens that were taken.
    pub chosen_candidates: Vec<Token>,
    /// Their rivals, place by place.
    pub top_candidates: Vec<Rivals>,
}

/// The likeliest tokens of one place.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Rivals {
    /// The likeliest first.
    pub candidates: Vec<Token>,
}

/// A token with its probability.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Token {
    /// The token.
    pub token: String,
    /// Natural logarithm of its probability; 0, a sure token, may be left out.
    pub log_probability: f64,
}

/// The sources of a search.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Grounding {
    /// The sources.
    pub grounding_chunks: Option<Vec<GroundingChunk>>,
    /// What they support.
    pub grounding_supports: Option<Vec<Support>>,
    /// What was searched for.
    pub web_search_queries: Option<Vec<Value>>,
}

/// One source; one of its fields is there.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroundingChunk {
    /// A page.
    pub web: Option<Page>,
    /// A document of the application's.
    pub retrieved_context: Option<Page>,
    /// A place.
    pub maps: Option<Page>,
}

/// A page or document.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Page {
    /// Where.
    pub uri: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its words.
    pub text: Option<String>,
}

/// A statement and its sources.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Support {
    /// The statement.
    pub segment: Option<Segment>,
    /// The numbers of its sources.
    pub grounding_chunk_indices: Option<Vec<usize>>,
}

/// A stretch of the answer, in bytes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Segment {
    /// The part that the bytes are counted in.
    pub part_index: Option<u64>,
    /// From.
    pub start_index: Option<u64>,
    /// To, exclusive.
    pub end_index: Option<u64>,
}

/// Recited sources, under the Gemini API's name or Vertex AI's.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Citations {
    /// The sources.
    #[serde(alias = "citations")]
    pub citation_sources: Option<Vec<Recited>>,
}

/// A recited source.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Recited {
    /// From, bytes.
    pub start_index: Option<u64>,
    /// To, exclusive.
    pub end_index: Option<u64>,
    /// Where.
    pub uri: Option<String>,
    /// Its title.
    pub title: Option<String>,
}

/// The pages that were fetched.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fetched {
    /// One entry a page.
    pub url_metadata: Option<Vec<Value>>,
}

/// Parses a body or chunk and hands it on; of one with fields of the wrong type, all that can be
/// read.
///
/// # Errors
/// It is not JSON.
pub fn parse(json: &str, then: impl FnOnce(Chunk<'_>)) -> Result<(), serde_json::Error> {
    match serde_json::from_str(json) {
        Ok(chunk) => then(chunk),
        Err(_) => then(lenient(&serde_json::from_str(json)?)),
    }
    Ok(())
}

/// What can be read of a chunk, field by field and part by part.
pub fn lenient(value: &Value) -> Chunk<'_> {
    let candidates = value.get("candidates").and_then(Value::as_array);
    Chunk {
        response_id: read(value, "responseId"),
        model_version: read(value, "modelVersion"),
        candidates: candidates.map(|all| all.iter().map(lenient_candidate).collect()),
        prompt_feedback: read(value, "promptFeedback"),
        usage_metadata: value.get("usageMetadata").filter(|usage| usage.is_object()).map(|usage| {
            Usage {
                prompt_token_count: read(usage, "promptTokenCount"),
                candidates_token_count: read(usage, "candidatesTokenCount"),
                thoughts_token_count: read(usage, "thoughtsTokenCount"),
                total_token_count: read(usage, "totalTokenCount"),
                cached_content_token_count: read(usage, "cachedContentTokenCount"),
            }
        }),
        error: read(value, "error"),
    }
}

fn lenient_candidate(value: &Value) -> Candidate {
    let parts = value.pointer("/content/parts").and_then(Value::as_array);
    let part = |part: &Value| {
        Part::deserialize(part).unwrap_or_else(|_| Part {
            text: read(part, "text"),
            thought: read(part, "thought"),
            thought_signature: read(part, "thoughtSignature"),
            function_call: read(part, "functionCall"),
            inline_data: read(part, "inlineData"),
            ..Part::default()
        })
    };
    let parts = parts.map(|parts| parts.iter().map(part).collect());
    Candidate {
        index: read(value, "index"),
        content: Some(Content { parts }),
        finish_reason: read(value, "finishReason"),
        logprobs_result: read(value, "logprobsResult"),
        grounding_metadata: read(value, "groundingMetadata"),
        citation_metadata: read(value, "citationMetadata"),
        url_context_metadata: read(value, "urlContextMetadata"),
    }
}

fn read<'a, T: Deserialize<'a>>(value: &'a Value, key: &str) -> Option<T> {
    value.get(key).and_then(|field| T::deserialize(field).ok())
}
