//! The items of an answer that is being written, and the events that tell of them.

use serde::Serialize;
use serde::Serializer;

use crate::chat::TokenLogprob;

/// One item of the output.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub enum Item {
    /// Words.
    #[serde(rename = "message")]
    Message { id: String, status: &'static str, role: &'static str, content: Vec<Part> },
    /// Thoughts, with what their maker wants back.
    #[serde(rename = "reasoning")]
    Reasoning { id: String, summary: Vec<Summary>, encrypted_content: Option<String> },
    /// A call of a function.
    #[serde(rename = "function_call")]
    Call { id: String, status: &'static str, call_id: String, name: String, arguments: String },
    /// A call of a tool that takes plain text.
    #[serde(rename = "custom_tool_call")]
    Custom { id: String, status: &'static str, call_id: String, name: String, input: String },
    /// A picture.
    #[serde(rename = "image_generation_call")]
    Image { id: String, status: &'static str, result: String, output_format: String },
}

/// A part of a message.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub enum Part {
    /// Text and its sources.
    #[serde(rename = "output_text")]
    Text {
        text: String,
        annotations: Vec<Annotation>,
        #[serde(serialize_with = "write_logprobs")]
        logprobs: Vec<TokenLogprob>,
    },
    /// A refusal.
    #[serde(rename = "refusal")]
    Refusal { refusal: String },
}

/// A part of a summary.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "summary_text")]
pub struct Summary {
    pub text: String,
}

/// A source of a text.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
pub enum Annotation {
    /// A page.
    #[serde(rename = "url_citation")]
    Url { url: String, title: String, start_index: u64, end_index: u64 },
    /// A document.
    #[serde(rename = "file_citation")]
    File { file_id: String, filename: String, index: u64 },
}

/// Any event; each sets the few fields it has.
#[derive(Default, Serialize)]
pub struct Event<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_some_logprobs")]
    pub logprobs: Option<&'a [TokenLogprob]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation: Option<&'a Annotation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Piece<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<&'a Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<&'a Response<'a>>,
}

/// A part in an event of its own.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Piece<'a> {
    /// Of a message.
    Part(&'a Part),
    /// Of a summary.
    Summary(&'a Summary),
}

/// The whole answer as it stands.
#[derive(Serialize)]
pub struct Response<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created_at: i64,
    pub status: &'static str,
    pub model: &'a str,
    pub error: Option<Failure<'a>>,
    pub incomplete_details: Option<Incomplete<'a>>,
    pub output: &'a [Item],
    pub usage: Option<Usage>,
    #[serde(flatten)]
    pub echo: &'a serde_json::Map<String, serde_json::Value>,
}

/// Why it failed.
#[derive(Serialize)]
pub struct Failure<'a> {
    pub code: &'a str,
    pub message: &'a str,
}

/// Why it is incomplete.
#[derive(Serialize)]
pub struct Incomplete<'a> {
    pub reason: &'a str,
}

/// Tokens; what is not known is null or missing, never 0.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    pub input_tokens_details: InputDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    pub output_tokens_details: OutputDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
}

/// What the prompt's tokens are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct InputDetails {
    pub cached_tokens: Option<u64>,
    pub cache_write_tokens: Option<u64>,
}

/// What the answer's tokens are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OutputDetails {
    pub reasoning_tokens: Option<u64>,
}

impl Event<'_> {
    /// Appends it as an event of a stream.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(self.kind.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        // Writing these types into memory cannot fail.
        let _ = serde_json::to_writer(&mut *out, self);
        out.extend_from_slice(b"\n\n");
    }
}

impl Usage {
    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        self.input_tokens.or(self.output_tokens).or(self.total_tokens).is_some()
    }
}

impl From<&crate::chat::Usage> for Usage {
    fn from(usage: &crate::chat::Usage) -> Self {
        let both = usage.input_tokens.zip(usage.output_tokens);
        let sum = both.map(|(input, output)| input.saturating_add(output));
        Self {
            input_tokens: usage.input_tokens,
            input_tokens_details: InputDetails {
                cached_tokens: usage.cached_input_tokens,
                cache_write_tokens: usage.cache_write_tokens,
            },
            output_tokens: usage.output_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens: usage.reasoning_tokens },
            total_tokens: usage.total_tokens.or(sum),
        }
    }
}

#[derive(Serialize)]
struct Logprob<'a> {
    token: &'a str,
    bytes: &'a [u8],
    logprob: f64,
    top_logprobs: Vec<Top<'a>>,
}

#[derive(Serialize)]
struct Top<'a> {
    token: &'a str,
    bytes: &'a [u8],
    logprob: f64,
}

fn write_logprobs<S: Serializer>(
    tokens: &[TokenLogprob],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tokens.iter().map(|one| Logprob {
        token: &one.token,
        bytes: one.token.as_bytes(),
        logprob: one.logprob,
        top_logprobs: one.top.iter().map(top).collect(),
    }))
}

fn top((token, logprob): &(String, f64)) -> Top<'_> {
    Top { token, bytes: token.as_bytes(), logprob: *logprob }
}

fn write_some_logprobs<S: Serializer>(
    tokens: &Option<&[TokenLogprob]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    write_logprobs(tokens.unwrap_or_default(), serializer)
}

impl Item {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Message { id, .. }
            | Self::Reasoning { id, .. }
            | Self::Call { id, .. }
            | Self::Custom { id, .. }
            | Self::Image { id, .. } => id,
        }
    }

    /// Marks it as finished, or as cut.
    pub fn end(&mut self, as_status: &'static str) {
        match self {
            Self::Message { status, .. }
            | Self::Call { status, .. }
            | Self::Custom { status, .. }
            | Self::Image { status, .. } => *status = as_status,
            Self::Reasoning { .. } => {}
        }
    }
}
