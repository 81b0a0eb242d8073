//! Cohere's answers, whole or as a stream, read leniently.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::Citation;
use crate::chat::ProviderError;
use crate::chat::Stop;
use crate::chat::TokenLogprob;
use crate::chat::Usage;
use crate::wire::Decode;
use crate::wire::openai::failure::provider_error;
use crate::wire::openai::text::Text;
use crate::wire::scalar::Count;
use crate::wire::scalar::argument_text;
use crate::wire::scalar::part;
use crate::wire::sse;

/// The kind of an answer's part that only Cohere has: what it means to do with tools.
pub const TOOL_PLAN: &str = "tool_plan";

/// What `message-end` and a whole body have in common.
#[derive(Default, Deserialize)]
struct End<'a> {
    #[serde(default, borrow)]
    finish_reason: Text<'a>,
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Text<'a>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default, borrow)]
    id: Text<'a>,
    #[serde(default, borrow)]
    message: Option<&'a RawValue>,
    #[serde(default, borrow)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    tool_plan: Text<'a>,
    #[serde(default, borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(default, borrow)]
    citations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default, borrow)]
    id: Text<'a>,
    #[serde(default)]
    index: Count,
    #[serde(default, borrow)]
    delta: Option<&'a RawValue>,
    #[serde(default, borrow)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(default, borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(default, borrow)]
    text: Text<'a>,
    #[serde(default, borrow)]
    thinking: Text<'a>,
}

/// By far the most frequent event, read in one go where it has its usual shape.
#[derive(Deserialize)]
struct Words<'a> {
    #[serde(borrow)]
    delta: WordsDelta<'a>,
    #[serde(default)]
    logprobs: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WordsDelta<'a> {
    #[serde(borrow)]
    message: WordsMessage<'a>,
}

#[derive(Deserialize)]
struct WordsMessage<'a> {
    #[serde(borrow)]
    content: Piece<'a>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(default, borrow)]
    id: Text<'a>,
    #[serde(default, borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(default, borrow)]
    name: Text<'a>,
    #[serde(default, borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireCitation<'a> {
    #[serde(default)]
    start: Count,
    #[serde(default)]
    end: Count,
    #[serde(default, borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    sources: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
struct WireUsage {
    #[serde(default)]
    tokens: Option<Tokens>,
    #[serde(default)]
    cached_tokens: Count,
}

#[derive(Default, Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}

#[derive(Deserialize)]
struct WireLogprob<'a> {
    #[serde(default, borrow)]
    text: Text<'a>,
    #[serde(default)]
    logprobs: Option<Vec<f64>>,
}

/// Reads a stream; Cohere gives one answer only.
#[derive(Default)]
pub struct Decoder {
    has_plan: bool,
    is_over: bool,
}

impl Decode for Decoder {
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>) {
        let data = event.data.trim();
        if data == "[DONE]" {
            // It comes after the end mark, which is `message-end`.
            self.end(out);
            return;
        }
        if event.name == "content-delta"
            && let Ok(Words { delta, logprobs: None }) = serde_json::from_str(data)
        {
            delta.message.content.events(out);
            return;
        }
        match serde_json::from_str::<Chunk<'_>>(data) {
            Ok(chunk) if !chunk.kind.is_empty() => self.chunk(data, chunk, out),
            _ => out.push(failure(data)),
        }
    }
}

impl Decoder {
    fn chunk(&mut self, data: &str, chunk: Chunk<'_>, out: &mut Vec<ChatEvent>) {
        let kind = chunk.kind.text.as_ref();
        if kind == "message-start" {
            out.push(ChatEvent::Start { id: chunk.id.some(), model: None, fingerprint: None });
        }
        if kind == "message-end" {
            let end: End<'_> = part(chunk.delta).unwrap_or_default();
            if !end.events(out) {
                self.end(out);
            }
            return;
        }
        let delta: Option<Delta<'_>> = part(chunk.delta);
        let message = delta.and_then(|delta| delta.message);
        let is_answer = kind.contains('-') && kind != "message-error";
        match message {
            Some(message) => self.message(kind, chunk.index.index().unwrap_or(0), &message, out),
            None if !is_answer => out.push(failure(data)),
            None => {}
        }
        logprobs(part::<WireLogprob<'_>>(chunk.logprobs).into_iter(), out);
    }

    fn message(&mut self, kind: &str, index: u32, message: &Message<'_>, out: &mut Vec<ChatEvent>) {
        match kind {
            "content-start" | "content-delta" => {
                if let Some(piece) = part::<Piece<'_>>(message.content) {
                    piece.events(out);
                }
            }
            "tool-plan-delta" => plan(&message.tool_plan, &mut self.has_plan, out),
            "tool-call-start" | "tool-call-delta" => {
                if let Some(call) = part::<Call<'_>>(message.tool_calls) {
                    out.push(call.event(index));
                }
            }
            "citation-start" => {
                if let Some(citation) = part::<WireCitation<'_>>(message.citations) {
                    citation.events(out);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) {
        if !std::mem::replace(&mut self.is_over, true) {
            out.push(ChatEvent::Done);
        }
    }
}

/// Reads a whole answer, or an error in its place.
pub fn body(json: &str) -> Vec<ChatEvent> {
    let mut out = Vec::new();
    let Ok(body) = serde_json::from_str::<Body<'_>>(json) else {
        return vec![failure(json)];
    };
    let Some(message) = part::<Message<'_>>(body.message) else {
        return vec![failure(json)];
    };
    out.push(ChatEvent::Start { id: body.id.some(), model: None, fingerprint: None });
    plan(&message.tool_plan, &mut false, &mut out);
    content(message.content, &mut out);
    let calls: Vec<Call<'_>> = part(message.tool_calls).unwrap_or_default();
    out.extend((0..).zip(calls).map(|(index, call)| call.event(index)));
    let citations: Vec<WireCitation<'_>> = part(message.citations).unwrap_or_default();
    citations.into_iter().for_each(|citation| citation.events(&mut out));
    let tokens: Vec<WireLogprob<'_>> = part(body.logprobs).unwrap_or_default();
    logprobs(tokens.into_iter(), &mut out);
    let end: End<'_> = serde_json::from_str(json).unwrap_or_default();
    if !end.events(&mut out) {
        out.push(ChatEvent::Done);
    }
    out
}

/// A list of pieces, or only a string.
fn content(raw: Option<&RawValue>, out: &mut Vec<ChatEvent>) {
    let pieces: Option<Vec<&RawValue>> = part(raw);
    for piece in pieces.unwrap_or_else(|| raw.into_iter().collect()) {
        match part::<Text<'_>>(Some(piece)).and_then(Text::some) {
            Some(text) => out.push(ChatEvent::Text { choice: 0, text }),
            None => part::<Piece<'_>>(Some(piece)).into_iter().for_each(|piece| piece.events(out)),
        }
    }
}

impl Piece<'_> {
    fn events(self, out: &mut Vec<ChatEvent>) {
        if let Some(text) = self.thinking.some() {
            out.push(ChatEvent::Reasoning { choice: 0, text });
        }
        if let Some(text) = self.text.some() {
            out.push(ChatEvent::Text { choice: 0, text });
        }
    }
}

impl Call<'_> {
    fn event(self, index: u32) -> ChatEvent {
        let function = self.function;
        let (name, arguments) = function.map_or((None, String::new()), |function| {
            (function.name.some(), function.arguments.map(argument_text).unwrap_or_default())
        });
        ChatEvent::ToolCall { choice: 0, index, id: self.id.some(), name, arguments }
    }
}

impl WireCitation<'_> {
    /// One for each source; only what is said in the text has a place there.
    fn events(self, out: &mut Vec<ChatEvent>) {
        let is_text = matches!(self.kind.text.as_ref(), "" | "TEXT_CONTENT");
        let span = self.start.0.zip(self.end.0).filter(|_| is_text);
        let sources = self.sources.unwrap_or_default();
        let mut citations: Vec<Citation> =
            sources.iter().map(|source| cited(source, span)).collect();
        if citations.is_empty() {
            citations.push(Citation { span, ..Citation::default() });
        }
        out.extend(
            citations.into_iter().map(|citation| ChatEvent::Citation { choice: 0, citation }),
        );
    }
}

/// A document of the request's, or what a tool gave; both are objects of the application's own.
fn cited(source: &Value, span: Option<(u64, u64)>) -> Citation {
    let object = source.get("document").or_else(|| source.get("tool_output"));
    let word = |keys: &[&str]| {
        let mut found = keys.iter().filter_map(|key| object?.get(key)?.as_str());
        found.next().map(str::to_owned)
    };
    Citation {
        url: word(&["url"]),
        title: word(&["title"]),
        quote: word(&["text", "snippet", "content"]),
        span,
    }
}

impl End<'_> {
    /// How it ended; returns whether it failed.
    fn events(self, out: &mut Vec<ChatEvent>) -> bool {
        if let Some(usage) = part::<WireUsage>(self.usage) {
            let tokens = usage.tokens.unwrap_or_default();
            out.push(ChatEvent::Usage(Usage {
                input_tokens: tokens.input_tokens.0,
                output_tokens: tokens.output_tokens.0,
                cached_input_tokens: usage.cached_tokens.0,
                ..Usage::default()
            }));
        }
        let error = self.error.some();
        let is_failure = matches!(self.finish_reason.text.as_ref(), "ERROR" | "TIMEOUT");
        let kind = self.finish_reason.text.clone().into_owned();
        if let Some(reason) = self.finish_reason.some() {
            let stop = stop(&reason);
            out.push(ChatEvent::Finish { choice: 0, reason, stop });
        }
        if error.is_none() && !is_failure {
            return false;
        }
        let message = error.unwrap_or_else(|| "the provider gave up on the answer".to_owned());
        let kind = Some(kind).filter(|_| is_failure);
        out.push(ChatEvent::Error(ProviderError { kind, message, ..ProviderError::default() }));
        true
    }
}

fn stop(reason: &str) -> Option<Stop> {
    match reason {
        "COMPLETE" | "STOP_SEQUENCE" => Some(Stop::Stop),
        "MAX_TOKENS" => Some(Stop::Length),
        "TOOL_CALL" => Some(Stop::ToolCalls),
        "ERROR_TOXIC" => Some(Stop::ContentFilter),
        _ => None,
    }
}

/// The plan is neither answer nor reasoning, so only that there is one is told, once.
fn plan(plan: &Text<'_>, is_told: &mut bool, out: &mut Vec<ChatEvent>) {
    if !plan.is_empty() && !std::mem::replace(is_told, true) {
        out.push(ChatEvent::Other { choice: 0, kind: TOOL_PLAN.to_owned() });
    }
}

/// An entry may stand for several tokens; their probabilities multiply.
fn logprobs<'a>(items: impl Iterator<Item = WireLogprob<'a>>, out: &mut Vec<ChatEvent>) {
    let token = |item: WireLogprob<'a>| {
        let logprob = item.logprobs.filter(|parts| !parts.is_empty())?.iter().sum();
        Some(TokenLogprob { token: item.text.text.into_owned(), logprob, top: Vec::new() })
    };
    let tokens: Vec<TokenLogprob> = items.filter_map(token).collect();
    if !tokens.is_empty() {
        out.push(ChatEvent::Logprobs { choice: 0, tokens });
    }
}

/// What is no answer is an error, if only a malformed one.
fn failure(json: &str) -> ChatEvent {
    match serde_json::from_str::<Value>(json) {
        Ok(value) => ChatEvent::Error(provider_error(&value)),
        Err(error) => ChatEvent::Error(ProviderError {
            kind: Some(crate::wire::openai::failure::MALFORMED.to_owned()),
            message: format!("not JSON: line {} column {}", error.line(), error.column()),
            ..ProviderError::default()
        }),
    }
}
