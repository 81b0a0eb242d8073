//! What a model was asked and what it answered, in no provider's words.

pub mod dialect;
pub mod fold;
pub mod request;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

pub use dialect::DIALECTS;
pub use dialect::DialectName;

use crate::error::Blame;
use crate::error::Error;

/// Who can read a [`Seal`]; to anyone else it is noise, and Anthropic refuses a stranger's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Maker {
    /// Anthropic, wherever its models run.
    Anthropic,
    /// Google.
    Gemini,
    /// OpenAI.
    OpenAi,
}

/// Bytes that only the model's maker understands and that must return unchanged with the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Who made it.
    pub by: Maker,
    /// As its maker writes it: a signature, encrypted reasoning.
    pub data: String,
}

/// What a [`Seal`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// The reasoning said since the last seal; it ends that piece of reasoning.
    Reasoning,
    /// Reasoning of which nothing is shown; the seal is all there is.
    Hidden,
    /// The text said last.
    Text,
    /// The tool call of this index.
    ToolCall(u32),
}

/// Why an answer ended, in one set of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It was finished, or met a stop sequence.
    Stop,
    /// It reached the most tokens it may have, or that the model can hold.
    Length,
    /// It wants tools called.
    ToolCalls,
    /// It was withheld, refused or blocked.
    ContentFilter,
}

impl Stop {
    /// OpenAI's word, which is the field's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// Where a statement of the answer comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// The page.
    pub url: Option<String>,
    /// The page's or document's title.
    pub title: Option<String>,
    /// The words of the source.
    pub quote: Option<String>,
    /// The characters of the choice's text it supports, from and to (exclusive), when known.
    pub span: Option<(u64, u64)>,
}

/// A piece of an answer's body as it came, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Microseconds from the moment the request was sent.
    pub at_us: u64,
    /// The piece.
    pub bytes: Bytes,
}

/// One thing a provider's answer said, in the order it said it.
///
/// A whole JSON answer decodes to the same events as the stream of the same answer.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatEvent {
    /// The answer's own id and the model that gave it; may come with every chunk, first wins.
    Start {
        /// The provider's id of the answer.
        id: Option<String>,
        /// The model as the provider names it.
        model: Option<String>,
        /// The provider's name for the exact system that runs it, in dialects that have one.
        fingerprint: Option<String>,
    },
    /// Answer text.
    Text {
        /// Which of the answers, from 0.
        choice: u32,
        /// The piece.
        text: String,
    },
    /// Reasoning text shown beside the answer.
    Reasoning {
        /// Which of the answers, from 0.
        choice: u32,
        /// The piece.
        text: String,
    },
    /// Bytes of the maker's that must return with the history.
    Seal {
        /// Which of the answers, from 0.
        choice: u32,
        /// What it belongs to.
        on: Sealed,
        /// The bytes and their maker.
        seal: Seal,
    },
    /// The words of a refusal.
    Refusal {
        /// Which of the answers, from 0.
        choice: u32,
        /// The piece.
        text: String,
    },
    /// What an audio answer says.
    Transcript {
        /// Which of the answers, from 0.
        choice: u32,
        /// The piece.
        text: String,
    },
    /// A piece of a tool call.
    ToolCall {
        /// Which of the answers, from 0.
        choice: u32,
        /// Tells parallel calls apart; need not start at 0.
        index: u32,
        /// The call's id, once.
        id: Option<String>,
        /// The tool's name, once.
        name: Option<String>,
        /// A piece of the arguments, JSON when put together.
        arguments: String,
    },
    /// A source of what was said last.
    Citation {
        /// Which of the answers, from 0.
        choice: u32,
        /// The source.
        citation: Citation,
    },
    /// An image or sound that the model made.
    Media {
        /// Which of the answers, from 0.
        choice: u32,
        /// Its media type.
        mime: String,
        /// Base64.
        data: String,
    },
    /// Something the provider did or said that only its own dialect knows, such as a tool it ran.
    Other {
        /// Which of the answers, from 0.
        choice: u32,
        /// The provider's word for it.
        kind: String,
    },
    /// The vector of one input.
    Embedding {
        /// Which of the inputs, from 0.
        index: u32,
        /// The vector.
        vector: Vec<f32>,
    },
    /// Log-probabilities of the next tokens.
    Logprobs {
        /// Which of the answers, from 0.
        choice: u32,
        /// One entry a token.
        tokens: Vec<TokenLogprob>,
    },
    /// The answer ended, and why.
    Finish {
        /// Which of the answers, from 0.
        choice: u32,
        /// The provider's word.
        reason: String,
        /// The same in one set of words; `None` when none of them fits, such as a paused turn.
        stop: Option<Stop>,
    },
    /// Tokens so far; the last one counts.
    Usage(Usage),
    /// The provider reports a failure, in a body or inside a stream.
    Error(ProviderError),
    /// The dialect's end mark.
    Done,
}

/// A token with the probability the model gave it and its rivals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The likeliest tokens at this place with their natural log-probabilities.
    pub top: Vec<(String, f64)>,
}

/// Tokens of one answer; what a provider does not say is `None`, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub input_tokens: Option<u64>,
    /// Answer tokens, reasoning included where the provider counts it there.
    pub output_tokens: Option<u64>,
    /// The provider's own total.
    pub total_tokens: Option<u64>,
    /// Prompt tokens read from the provider's cache.
    pub cached_input_tokens: Option<u64>,
    /// Prompt tokens written to the provider's cache.
    pub cache_write_tokens: Option<u64>,
    /// Those of them that are to be kept for an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_tokens: Option<u64>,
    /// Answer tokens spent on reasoning.
    pub reasoning_tokens: Option<u64>,
}

/// A failure as the provider told it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProviderError {
    /// The provider's class of error.
    pub kind: Option<String>,
    /// The provider's code; numbers are kept as their digits.
    pub code: Option<String>,
    /// The provider's sentence.
    pub message: String,
    /// The request field at fault.
    pub param: Option<String>,
    /// How long to wait before trying again, milliseconds, where the body says so.
    pub retry_after_ms: Option<u64>,
}

impl From<&Error> for ProviderError {
    /// Our own failures; where the kind is missing, the dialect has a word for the HTTP status.
    fn from(error: &Error) -> Self {
        let blame = error.blame();
        let is_ours = blame != Blame::Client && error.status() != 429;
        Self {
            kind: is_ours.then(|| format!("{}_error", blame.as_str())),
            code: Some(error.code().to_owned()),
            message: format!("understudy: {} (fault: {})", error.detail, blame.as_str()),
            ..Self::default()
        }
    }
}

/// A whole answer: every event folded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model as the provider names it.
    pub model: Option<String>,
    /// The provider's name for the exact system that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// By their index; one unless the request asked for several.
    pub choices: Vec<Choice>,
    /// The vectors of an embedding request, by input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<Vec<f32>>,
    /// Tokens, if the provider said.
    pub usage: Option<Usage>,
    /// The failure, if the provider told one.
    pub error: Option<ProviderError>,
    /// The dialect's end mark was there.
    pub done: bool,
}

/// One of the answers to a prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// From 0.
    pub index: u32,
    /// The answer.
    pub text: String,
    /// Reasoning shown beside it.
    pub reasoning: String,
    /// The words of a refusal.
    pub refusal: String,
    /// What an audio answer says.
    pub transcript: String,
    /// In the order they began.
    pub tool_calls: Vec<ToolCall>,
    /// One entry a token, if asked for.
    pub logprobs: Vec<TokenLogprob>,
    /// The provider's word for why it ended.
    pub finish: Option<String>,
    /// The same in one set of words.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Sources, in the order they were given.
    #[serde(default)]
    pub citations: Vec<Citation>,
    /// Images and sounds: media type and base64.
    #[serde(default)]
    pub media: Vec<(String, String)>,
    /// What only the maker understands, in the order it came.
    #[serde(default)]
    pub seals: Vec<Seal>,
    /// What the provider did besides, in its own words.
    #[serde(default)]
    pub others: Vec<String>,
}

/// A tool the model wants called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// To tell the pieces of parallel calls apart.
    pub index: u32,
    /// The call's id; old-style function calls have none.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// As received; JSON unless the answer was cut.
    pub arguments: String,
}

impl ToolCall {
    /// The arguments as JSON; empty and `null` mean no arguments; `None` when they do not parse.
    pub fn arguments_json(&self) -> Option<Value> {
        let text = self.arguments.trim();
        if text.is_empty() || text == "null" {
            return Some(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_str(text).ok()
    }
}

impl Answer {
    /// Whether the provider ended every answer itself and reported no failure.
    pub fn is_whole(&self) -> bool {
        self.error.is_none()
            && !(self.choices.is_empty() && self.embeddings.is_empty())
            && (self.done || self.choices.iter().all(|choice| choice.finish.is_some()))
    }

    /// The first answer's text, or its refusal, or what it says aloud.
    pub fn text(&self) -> &str {
        self.choices.first().map_or("", Choice::said)
    }

    /// Whether the model declined to answer.
    pub fn refused(&self) -> bool {
        self.choices
            .iter()
            .any(|choice| !choice.refusal.is_empty() || choice.stop == Some(Stop::ContentFilter))
    }

    /// What the application acts on, for comparing two answers: no ids, no reasoning.
    pub fn content(&self) -> Vec<(&str, Vec<(&str, &str)>)> {
        self.choices
            .iter()
            .map(|choice| {
                let calls = choice.tool_calls.iter();
                let calls = calls.map(|call| (call.name.as_str(), call.arguments.as_str()));
                (choice.said(), calls.collect())
            })
            .collect()
    }
}

impl Choice {
    /// Text, else refusal, else transcript.
    pub fn said(&self) -> &str {
        let all = [&self.text, &self.refusal, &self.transcript];
        all.into_iter().find(|text| !text.is_empty()).map_or("", String::as_str)
    }
}
