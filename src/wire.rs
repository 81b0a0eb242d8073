//! Dialects: provider bytes in, events out, and back; pure, without IO or clock.

pub mod anthropic;
pub mod arguments;
pub mod call_id;
pub mod carry;
pub mod cohere;
pub mod completions;
pub mod conversation;
pub mod converse;
pub mod embeddings;
pub mod endpoint;
pub mod eventstream;
pub mod fields;
pub mod gemini;
pub mod gemini_embeddings;
pub mod json;
pub mod openai;
pub mod quirk;
pub mod responses;
pub mod scalar;
pub mod seal;
pub mod sse;
pub mod turn;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::ProviderError;
use crate::chat::fold::Fold;
use crate::chat::request::Format;
use crate::chat::request::Message;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::error::Error;
use crate::wire::carry::Losses;
use crate::wire::quirk::Quirks;

impl DialectName {
    /// Its implementation.
    pub fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::OpenAi => &openai::OpenAi,
            Self::Responses => &responses::Responses,
            Self::Anthropic => &anthropic::Anthropic,
            Self::Gemini => &gemini::Gemini,
            Self::Completions => &completions::Completions,
            Self::Embeddings => &embeddings::Embeddings,
            Self::GeminiEmbeddings => &gemini_embeddings::GeminiEmbeddings,
            Self::Cohere => &cohere::Cohere,
            Self::Converse => &converse::Converse,
        }
    }
}

/// What is read from a request before anything is decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatRequest {
    /// The bytes as they came.
    pub body: Bytes,
    /// The model name the application asked for.
    pub model: String,
    /// Where in `body` the JSON string of the model stands, quotes included; `None` when the path
    /// names the model.
    pub model_at: Option<std::ops::Range<usize>>,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
}

/// What a path says about a request, in dialects that say it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InPath {
    /// The model asked for.
    pub model: String,
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
    /// How freely tokens are drawn, if that is said.
    pub temperature: Option<f64>,
    /// The shape of the reply, if it is to have one.
    pub format: Option<Format>,
}

/// For whom a request is written.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    /// The model as the provider names it.
    pub model: &'a str,
    /// What is peculiar about the provider.
    pub quirks: &'a Quirks,
}

/// A request in another dialect, and what did not go into it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The body.
    pub body: Bytes,
    /// What was left out.
    pub losses: Losses,
}

/// What an answer must know of the question, in a dialect other than the provider's.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The question.
    pub request: Arc<Request>,
    /// An id for answers that bring none: letters, digits and hyphens.
    pub id: String,
    /// When it was asked, seconds since 1970.
    pub created_s: i64,
    /// About how many tokens the question has, for dialects that must say so before the answer.
    pub input_estimate: u64,
    /// A stream is one JSON array instead of server-sent events; Gemini only.
    pub in_array: bool,
}

/// How the events of a stream are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// Amazon's binary event stream.
    EventStream,
}

/// One wire format, in both directions.
pub trait Dialect: Send + Sync {
    /// Its name in YAML and in metrics.
    fn name(&self) -> DialectName;

    /// Where the endpoint is, below the base URL that the provider's own SDK takes.
    fn path(&self, model: &str, is_stream: bool) -> String;

    /// Where this body belongs, where one dialect has several endpoints.
    fn path_of(&self, model: &str, is_stream: bool, _body: &[u8]) -> String {
        self.path(model, is_stream)
    }

    /// The request for another model of its own dialect, every other byte as it came.
    fn rename(&self, head: &ChatRequest, model: &str) -> Bytes {
        json::rename(head, model)
    }

    /// How its streams are divided.
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    /// Reads the few things we need and leaves the rest alone.
    ///
    /// # Errors
    /// A body that is not JSON or lacks what the dialect requires, said for the client.
    fn read_head(&self, body: Bytes, in_path: Option<InPath>) -> Result<ChatRequest, Error>;

    /// Reads everything.
    ///
    /// # Errors
    /// As [`Self::read_head`], naming the field and what is expected there.
    fn read(&self, head: &ChatRequest) -> Result<Request, Error>;

    /// Writes a request of any dialect; in its own, `rest` and `Own` pieces are written back.
    ///
    /// # Errors
    /// It asks for something that [`carry`] does not allow to leave out.
    fn write(&self, request: &Request, to: &Recipient<'_>) -> Result<Written, Error>;

    /// A decoder of one stream.
    fn decoder(&self) -> Box<dyn Decode>;

    /// Decodes a whole body.
    fn decode_body(&self, body: &[u8]) -> Vec<ChatEvent>;

    /// A writer of one stream.
    fn encoder(&self, asked: &Asked) -> Box<dyn Encode>;

    /// Writes a whole body from the events of an answer, which must not hold an error.
    fn encode_body(&self, asked: &Asked, events: &[ChatEvent]) -> Bytes;

    /// Writes an error body; a missing kind follows from the HTTP status.
    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes;

    /// Writes the frame that ends a broken stream so that it cannot look complete.
    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes;

    /// Where the endpoint that counts a request's tokens is, below the base URL, if there is one.
    fn count_path(&self, _model: &str) -> Option<String> {
        None
    }

    /// Reads a request that is only to be counted.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn read_count(&self, head: &ChatRequest) -> Result<Request, Error> {
        self.read(head)
    }

    /// Writes a count of tokens; empty in dialects without [`Self::count_path`].
    fn write_count(&self, _tokens: u64) -> Bytes {
        Bytes::new()
    }

    /// What tells one conversation from another; see [`conversation`].
    fn conversation(&self, head: &ChatRequest) -> String {
        match self.read(head) {
            Ok(request) => conversation::of(&request, &head.body),
            Err(_) => conversation::of_unread(&head.body),
        }
    }
}

/// Turns the payloads of one stream into events.
pub trait Decode: Send {
    /// Decodes the payload of one event of the stream, appending to `out`.
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>);
}

/// Turns events into the bytes of one stream.
pub trait Encode: Send {
    /// Appends what this event looks like on the wire.
    ///
    /// Exactly one [`ChatEvent::Done`] or [`ChatEvent::Error`] comes last. Until then anything may
    /// be held back, as long as words are not.
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>);
}

/// Divides the bytes of a stream into events, whatever its framing.
#[derive(Debug)]
pub enum Frames {
    /// Server-sent events.
    Sse(sse::Parser),
    /// Amazon's binary event stream.
    EventStream(eventstream::Parser),
}

impl Frames {
    /// Before the first byte.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Sse => Self::Sse(sse::Parser::new()),
            Framing::EventStream => Self::EventStream(eventstream::Parser::new()),
        }
    }

    /// Takes the next piece and hands every event it completes to `on_event`.
    pub fn push(&mut self, piece: &[u8], on_event: impl FnMut(&sse::Event)) {
        match self {
            Self::Sse(parser) => parser.push(piece, on_event),
            Self::EventStream(parser) => parser.push(piece, on_event),
        }
    }

    /// At the end of the stream: hands out what it can of an unfinished event.
    pub fn finish(self, on_event: impl FnMut(&sse::Event)) {
        match self {
            Self::Sse(parser) => parser.finish(on_event),
            Self::EventStream(parser) => parser.finish(on_event),
        }
    }
}

/// A request of our own in a provider's dialect.
///
/// # Errors
/// The dialect has no chat.
pub fn write_prompt(
    dialect: &dyn Dialect,
    prompt: &Prompt,
    quirks: &Quirks,
) -> Result<Bytes, Error> {
    let mut request = Request::new(dialect.name(), prompt.model.as_str());
    request.messages = vec![
        Message::text(Role::System, prompt.system.as_str()),
        Message::text(Role::User, prompt.user.as_str()),
    ];
    request.sampling.temperature = prompt.temperature;
    request.format.clone_from(&prompt.format);
    request.sampling.max_tokens = Some(prompt.max_tokens.into());
    request.sampling.logprobs = (prompt.top_logprobs > 0).then(|| prompt.top_logprobs.into());
    let to = Recipient { model: &prompt.model, quirks };
    dialect.write(&request, &to).map(|written| written.body)
}

/// The request as `to` is to receive it, in its provider's dialect.
///
/// In the same dialect every byte but the model's name stays as it came.
///
/// # Errors
/// It cannot be read, or asks for what the other dialect does not have.
pub fn rewrite(
    head: &ChatRequest,
    from: &dyn Dialect,
    into: &dyn Dialect,
    to: &Recipient<'_>,
) -> Result<Written, Error> {
    // Seals of other makers, which an earlier answer carried, are noise to the dialect's own maker.
    if from.name() == into.name() && !seal::is_in(&head.body) {
        return Ok(Written { body: from.rename(head, to.model), losses: Losses::default() });
    }
    into.write(&from.read(head)?, to)
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
    events(dialect, is_stream, pieces, |event| fold.push(event));
    fold.finish()
}

/// Decodes a recorded stream or body, given in any pieces.
pub fn events<'a>(
    dialect: &dyn Dialect,
    is_stream: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    mut on_event: impl FnMut(ChatEvent),
) {
    if is_stream {
        let mut frames = Frames::new(dialect.framing());
        let mut decoder = dialect.decoder();
        let mut events = Vec::new();
        for piece in pieces {
            frames.push(piece, |event| decoder.decode(event, &mut events));
            events.drain(..).for_each(&mut on_event);
        }
        frames.finish(|event| decoder.decode(event, &mut events));
        events.into_iter().for_each(on_event);
    } else {
        let mut pieces = pieces.into_iter();
        let first = pieces.next().unwrap_or_default();
        let body: Cow<'_, [u8]> = match pieces.next() {
            None => first.into(),
            Some(second) => {
                [first, second].into_iter().chain(pieces).collect::<Vec<_>>().concat().into()
            }
        };
        dialect.decode_body(&body).into_iter().for_each(on_event);
    }
}
