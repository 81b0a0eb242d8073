//! The other dialects of the simulator: requests are translated into OpenAI's before they are heard,
//! answers out of it after they are made, by the rules of `wire`.

use std::sync::Arc;

use bytes::Bytes;
use http::Uri;

use super::chance;
use super::openai;
use super::reply::Refusal;
use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::Usage;
use crate::chat::request::EmbedInput;
use crate::error::Error;
use crate::wire::Asked;
use crate::wire::Dialect;
use crate::wire::Framing;
use crate::wire::InPath;
use crate::wire::Recipient;
use crate::wire::endpoint;
use crate::wire::endpoint::Endpoint;
use crate::wire::openai::failure;
use crate::wire::quirk::Quirks;
use crate::wire::sse;

/// How long a vector is unless the request says.
const DIMENSIONS: u64 = 256;

/// A text that no answer holds, in whose place a flood goes.
const HOLE: &str = "@@hole@@";

/// What a request is written in, and its answer will be.
#[derive(Clone)]
pub(super) struct Tongue {
    pub(super) name: DialectName,
    in_path: Option<InPath>,
    in_array: bool,
}

/// A request that was understood.
pub(super) struct Understood {
    /// It, as a chat completion request.
    pub(super) body: Bytes,
    asked: Asked,
}

impl Tongue {
    /// The dialect of a path, below any prefix.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let path = uri.path().trim_end_matches('/');
        let starts = path.match_indices('/').map(|(at, _)| at);
        let below = starts.filter_map(|at| path.get(at..));
        let (name, in_path) = below.into_iter().find_map(of_path)?;
        let query = uri.query().unwrap_or_default();
        let in_array = name == DialectName::Gemini && !query.contains("alt=sse");
        Some(Self { name, in_path, in_array })
    }

    pub(super) fn dialect(&self) -> &'static dyn Dialect {
        self.name.dialect()
    }

    /// Reads a request and writes it as a chat completion request.
    pub(super) fn understand(&self, body: Bytes, mark: &str) -> Result<Understood, Refusal> {
        let head = self.dialect().read_head(body, self.in_path.clone()).map_err(refusal)?;
        let mut request = self.dialect().read(&head).map_err(refusal)?;
        let quirks = Quirks::NONE;
        let to = Recipient { model: &head.model, quirks: &quirks };
        // What cannot be said in OpenAI's dialect is nothing the simulator would heed.
        request.stream = head.stream;
        let body = match self.name.is_embedding() {
            true => Bytes::new(),
            false => DialectName::OpenAi.dialect().write(&request, &to).map_err(refusal)?.body,
        };
        let asked = Asked {
            request: Arc::new(request),
            id: mark.to_owned(),
            created_s: 0,
            input_estimate: 0,
            in_array: self.in_array && head.stream,
        };
        Ok(Understood { body, asked })
    }

    /// The media type of its answers.
    pub(super) fn content_type(&self, is_stream: bool) -> &'static str {
        match self.dialect().framing() {
            _ if !is_stream || self.in_array => "application/json",
            Framing::Sse => "text/event-stream; charset=utf-8",
            Framing::EventStream => "application/vnd.amazon.eventstream",
        }
    }

    /// A refusal in its words.
    pub(super) fn error(&self, refusal: &Refusal) -> Bytes {
        self.dialect().error_body(refusal.status, &provider_error(refusal))
    }

    /// A refusal inside a stream, in its words.
    pub(super) fn error_event(&self, refusal: &Refusal) -> Bytes {
        self.dialect().error_frame(refusal.status, &provider_error(refusal))
    }
}

impl Understood {
    /// The events of a chat completion stream in another dialect, one for one; some may be empty.
    pub(super) fn events(&self, tongue: &Tongue, chunks: Vec<Bytes>) -> Vec<Bytes> {
        let mut frames = sse::Parser::new();
        let mut decoder = DialectName::OpenAi.dialect().decoder();
        let mut encoder = tongue.dialect().encoder(&self.asked);
        let translated = chunks.into_iter().map(|chunk| {
            let (mut events, mut out) = (Vec::new(), Vec::new());
            frames.push(&chunk, |event| decoder.decode(event, &mut events));
            events.iter().for_each(|event| encoder.encode(event, &mut out));
            Bytes::from(out)
        });
        translated.collect()
    }

    /// A whole chat completion in another dialect.
    pub(super) fn whole(&self, tongue: &Tongue, body: &[u8]) -> Bytes {
        let events = DialectName::OpenAi.dialect().decode_body(body);
        tongue.dialect().encode_body(&self.asked, &events)
    }

    /// A whole answer or stream with a hole for filler text: what comes before and after.
    pub(super) fn flood(&self, tongue: &Tongue, is_stream: bool) -> (Bytes, Bytes) {
        let events = [
            ChatEvent::Start { id: None, model: None, fingerprint: None },
            ChatEvent::Text { choice: 0, text: HOLE.to_owned() },
            ChatEvent::Done,
        ];
        let all = if is_stream {
            let (mut encoder, mut out) = (tongue.dialect().encoder(&self.asked), Vec::new());
            events.iter().for_each(|event| encoder.encode(event, &mut out));
            Bytes::from(out)
        } else {
            tongue.dialect().encode_body(&self.asked, &events)
        };
        let hole = all.windows(HOLE.len()).position(|window| window == HOLE.as_bytes());
        let hole = hole.unwrap_or(all.len());
        (all.slice(..hole), all.slice((hole + HOLE.len()).min(all.len())..))
    }

    /// A vector for every input: the same for the same words, of length one.
    pub(super) fn vectors(&self, tongue: &Tongue, seed: u64) -> Bytes {
        let request = &self.asked.request;
        let embed = request.embed.clone().unwrap_or_default();
        let length = embed.dimensions.unwrap_or(DIMENSIONS).clamp(1, 4096);
        let model = Some(request.model.clone());
        let mut events = vec![ChatEvent::Start { id: None, model, fingerprint: None }];
        let mut tokens = 0;
        for (index, input) in (0..).zip(&embed.inputs) {
            let words = match input {
                EmbedInput::Text(text) => text.clone(),
                EmbedInput::Tokens(tokens) => format!("{tokens:?}"),
            };
            tokens += words.len().div_ceil(4) as u64;
            events.push(ChatEvent::Embedding { index, vector: vector(seed, &words, length) });
        }
        let (input_tokens, total_tokens) = (Some(tokens), Some(tokens));
        events.push(ChatEvent::Usage(Usage { input_tokens, total_tokens, ..Usage::default() }));
        events.push(ChatEvent::Done);
        tongue.dialect().encode_body(&self.asked, &events)
    }
}

fn vector(seed: u64, words: &str, length: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(chance::hash(seed, &[words.as_bytes()]));
    let vector: Vec<f32> = (0..length).map(|_| random.f32() - 0.5).collect();
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.into_iter().map(|x| x / norm).collect()
}

/// The dialect of a path and what it says; Cohere's and Bedrock's are no paths of the sidecar's.
fn of_path(path: &str) -> Option<(DialectName, Option<InPath>)> {
    if let Some(Endpoint::Answer { dialect, in_path }) = endpoint::of(path) {
        return Some((dialect, in_path));
    }
    if path == "/v2/chat" {
        return Some((DialectName::Cohere, None));
    }
    let (model, verb) = path.strip_prefix("/model/")?.rsplit_once('/')?;
    let stream = match verb {
        "converse" => false,
        "converse-stream" => true,
        _ => return None,
    };
    Some((DialectName::Converse, Some(InPath { model: endpoint::decoded(model).into(), stream })))
}

fn provider_error(refusal: &Refusal) -> crate::chat::ProviderError {
    let body = serde_json::from_slice(&openai::error(refusal)).unwrap_or_default();
    // OpenAI's word for the kind is not another provider's, which follows from the status.
    crate::chat::ProviderError { kind: None, ..failure::provider_error(&body) }
}

fn refusal(error: Error) -> Refusal {
    Refusal::new(error.status(), error.detail)
}
