//! Dialects: provider bytes in, events out, and back; pure, without IO or clock.

pub mod openai;
pub mod openai_chunk;
pub mod openai_text;
pub mod sse;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::fold::Fold;
use crate::error::Error;

/// The wire formats by name, as configuration writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialectName {
    /// OpenAI chat completions and everything compatible with it.
    OpenAi,
}

/// Every dialect with its name in YAML.
pub static DIALECTS: &[(&str, DialectName)] = &[("openai", DialectName::OpenAi)];

impl DialectName {
    /// The dialect of that name.
    pub fn parse(name: &str) -> Option<Self> {
        DIALECTS.iter().find(|(n, _)| *n == name).map(|(_, d)| *d)
    }

    /// Its name in YAML and in metrics.
    pub fn as_str(self) -> &'static str {
        DIALECTS.iter().find(|(_, d)| *d == self).map_or("", |(name, _)| name)
    }

    /// Its implementation.
    pub fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::OpenAi => &openai::OpenAi,
        }
    }
}

/// One turn of a conversation as text, for prompts to a judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// `system`, `user`, `assistant`, `tool`, …
    pub role: String,
    /// The text parts; other parts are named in brackets, for example `[image_url]`.
    pub text: String,
}

/// What is read from a request before anything is decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatRequest {
    /// The bytes as they came.
    pub body: Bytes,
    /// The model name the application asked for.
    pub model: String,
    /// Where in `body` the JSON string of the model stands, quotes included.
    pub model_at: std::ops::Range<usize>,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
}

/// A prompt of our own, to write in any dialect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    /// Who answers.
    pub model: String,
    /// What it is.
    pub system: String,
    /// What it is asked.
    pub user: String,
    /// The most tokens it may answer with.
    pub max_tokens: u32,
    /// Ask for this many rivals of each token with their log-probabilities; 0 asks for none.
    pub top_logprobs: u8,
}

/// One wire format, in both directions.
pub trait Dialect: Send + Sync {
    /// Its name in YAML and in metrics.
    fn name(&self) -> DialectName;
    /// Where the chat endpoint is, below the base URL.
    fn chat_path(&self) -> &'static str;
    /// Reads the few things we need and leaves the rest alone.
    ///
    /// # Errors
    /// A body that is not JSON or lacks what the dialect requires, said for the client.
    fn read_request(&self, body: Bytes) -> Result<ChatRequest, Error>;
    /// The request for `model` with `patch` (RFC 7396) laid over it.
    ///
    /// Without a patch every byte but the model's name stays as it came.
    ///
    /// # Errors
    /// A patched body that cannot be written.
    fn write_request(
        &self,
        request: &ChatRequest,
        model: &str,
        patch: Option<&Map<String, Value>>,
    ) -> Result<Bytes, Error>;
    /// A request of our own.
    fn write_prompt(&self, prompt: &Prompt) -> Bytes;
    /// The conversation as text.
    fn turns(&self, body: &[u8]) -> Vec<Turn>;
    /// What tells one conversation from another: a name the application gave, else its first turns.
    fn conversation(&self, body: &[u8]) -> String;
    /// Decodes a stream of server-sent events, one payload at a time.
    fn decoder(&self) -> Box<dyn Decode>;
    /// Decodes a whole body.
    fn decode_body(&self, body: &[u8]) -> Vec<ChatEvent>;
    /// Writes events as the frames of a stream.
    fn encoder(&self) -> Box<dyn Encode>;
    /// Writes an error body.
    fn error_body(&self, error: &Error) -> Bytes;
    /// Writes the frame that ends a broken stream so that it cannot look complete.
    fn error_frame(&self, error: &Error) -> Bytes;
}

/// Turns the payloads of one stream into events.
pub trait Decode: Send {
    /// Decodes the payload of one server-sent event, appending to `out`.
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>);
}

/// Turns events into the bytes of one stream.
pub trait Encode: Send {
    /// Appends what this event looks like on the wire.
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>);
}

/// Bytes as text; what is not UTF-8 in them is replaced.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    // Good text, which is nearly all, is checked several times faster than replaced.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Folds a recorded stream or body, given in any pieces.
pub fn fold<'a>(
    dialect: &dyn Dialect,
    is_stream: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Answer {
    let mut fold = Fold::new();
    if is_stream {
        let mut frames = sse::Parser::new();
        let mut decoder = dialect.decoder();
        let mut events = Vec::new();
        for piece in pieces {
            frames.push(piece, |event| decoder.decode(event, &mut events));
            events.drain(..).for_each(|event| fold.push(event));
        }
        frames.finish(|event| decoder.decode(event, &mut events));
        events.into_iter().for_each(|event| fold.push(event));
    } else {
        let mut pieces = pieces.into_iter();
        let first = pieces.next().unwrap_or_default();
        let body: Cow<'_, [u8]> = match pieces.next() {
            None => first.into(),
            Some(second) => {
                [first, second].into_iter().chain(pieces).collect::<Vec<_>>().concat().into()
            }
        };
        dialect.decode_body(&body).into_iter().for_each(|event| fold.push(event));
    }
    fold.finish()
}
