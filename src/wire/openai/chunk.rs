//! OpenAI chat completion bodies and stream chunks, read leniently.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::ProviderError;
use crate::chat::Stop;
use crate::wire::openai::failure::MALFORMED;
use crate::wire::openai::failure::provider_error;
use crate::wire::openai::mend::mend;
use crate::wire::openai::piece;
use crate::wire::openai::piece::Piece;
use crate::wire::openai::text::Text;
use crate::wire::openai::usage::WireLogprobs;
use crate::wire::openai::usage::WireUsage;

/// A whole body (`message`) or a stream chunk (`delta`).
///
/// Large parts that most chunks lack are boxed, because every chunk is moved several times.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default, borrow)]
    id: Text<'a>,
    #[serde(default, borrow)]
    model: Text<'a>,
    #[serde(default, borrow)]
    system_fingerprint: Text<'a>,
    #[serde(default, borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Box<WireUsage>>,
    #[serde(default)]
    error: Option<Value>,
    /// Groq puts the usage of a stream here.
    #[serde(default)]
    x_groq: Option<Groq>,
    /// Perplexity and xAI name their sources here, in every chunk.
    #[serde(default, borrow)]
    citations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Groq {
    usage: Option<Box<WireUsage>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default, borrow)]
    delta: Option<Box<Message<'a>>>,
    #[serde(default, borrow)]
    message: Option<Box<Message<'a>>>,
    #[serde(default, borrow)]
    finish_reason: Text<'a>,
    #[serde(default)]
    logprobs: Option<WireLogprobs>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default, borrow)]
    content: Text<'a>,
    #[serde(default, borrow)]
    reasoning_content: Text<'a>,
    #[serde(default, borrow)]
    reasoning: Text<'a>,
    #[serde(default, borrow)]
    refusal: Text<'a>,
    #[serde(default, borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(default, borrow)]
    function_call: Option<Function<'a>>,
    #[serde(default, borrow)]
    audio: Option<&'a RawValue>,
    #[serde(default, borrow)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(default, borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(default, borrow)]
    images: Option<&'a RawValue>,
    /// Groq's account of the tools it ran.
    #[serde(default, borrow)]
    executed_tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default, borrow)]
    id: Text<'a>,
    #[serde(default, borrow)]
    function: Option<Function<'a>>,
    /// A tool whose input is no JSON.
    #[serde(default, borrow)]
    custom: Option<&'a RawValue>,
    #[serde(default, borrow)]
    extra_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(default, borrow)]
    name: Text<'a>,
    #[serde(default, borrow)]
    arguments: Option<&'a RawValue>,
}

/// Reads the chunks of one answer; a body is a single chunk.
#[derive(Default)]
pub struct Reader {
    /// Tool calls begun so far, for servers that number them not at all.
    calls: u32,
    /// Id and model have both been told; every chunk repeats them.
    has_started: bool,
    /// What earlier chunks said that later ones may repeat.
    seen: piece::Seen,
}

impl Reader {
    /// Reads one body or chunk; what does not parse becomes a provider error.
    pub fn read(&mut self, json: &str, out: &mut Vec<ChatEvent>) {
        match serde_json::from_str::<Chunk<'_>>(json) {
            Ok(chunk) => chunk.events(json, self, out),
            Err(_) => self.read_mended(json, out),
        }
    }

    /// The slow way, for what has values of wrong types or a field twice.
    fn read_mended(&mut self, json: &str, out: &mut Vec<ChatEvent>) {
        let mut value: Value = match serde_json::from_str(json) {
            Ok(value) => value,
            Err(error) => return out.push(ChatEvent::Error(not_json(&error))),
        };
        if let Value::Object(fields) = &mut value {
            mend(fields);
            let mended = value.to_string();
            if let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(&mended) {
                return chunk.events(&mended, self, out);
            }
        }
        out.push(ChatEvent::Error(provider_error(&value)));
    }
}

/// The position, never the text.
pub fn not_json(error: &serde_json::Error) -> ProviderError {
    ProviderError {
        kind: Some(MALFORMED.to_owned()),
        message: format!("not JSON: line {} column {}", error.line(), error.column()),
        ..ProviderError::default()
    }
}

impl Chunk<'_> {
    fn events(self, json: &str, reader: &mut Reader, out: &mut Vec<ChatEvent>) {
        let names_itself = !self.id.is_empty() || !self.model.is_empty();
        if names_itself && !reader.has_started {
            reader.has_started = !self.id.is_empty() && !self.model.is_empty();
            let (id, model) = (self.id.some(), self.model.some());
            let fingerprint = self.system_fingerprint.some();
            out.push(ChatEvent::Start { id, model, fingerprint });
        }
        let is_error = self.error.as_ref().is_some_and(|error| !error.is_null());
        let is_answer = self.choices.is_some() || self.usage.is_some();
        if is_error || !is_answer {
            let value = serde_json::from_str(json).unwrap_or(Value::Null);
            out.push(ChatEvent::Error(provider_error(&value)));
        }
        for (at, choice) in (0..).zip(self.choices.unwrap_or_default()) {
            choice.events(at, reader, out);
        }
        if let Some(citations) = self.citations {
            piece::sources(citations, &mut reader.seen, out);
        }
        let groq = self.x_groq.and_then(|groq| groq.usage);
        if let Some(usage) = self.usage.or(groq) {
            out.push(ChatEvent::Usage((*usage).into()));
        }
    }
}

impl Choice<'_> {
    fn events(self, at: u32, reader: &mut Reader, out: &mut Vec<ChatEvent>) {
        let choice = self.index.unwrap_or(at);
        if let Some(message) = self.delta.or(self.message) {
            message.events(choice, reader, out);
        }
        if let Some(tokens) = self.logprobs.map(WireLogprobs::tokens).filter(|t| !t.is_empty()) {
            out.push(ChatEvent::Logprobs { choice, tokens });
        }
        if let Some(reason) = self.finish_reason.some() {
            let stop = stop(&reason);
            out.push(ChatEvent::Finish { choice, reason, stop });
        }
    }
}

/// OpenAI's words and its imitators'.
pub fn stop(reason: &str) -> Option<Stop> {
    match reason {
        "stop" | "eos" | "stop_sequence" | "end_turn" => Some(Stop::Stop),
        "length" | "max_tokens" | "model_length" => Some(Stop::Length),
        "tool_calls" | "function_call" => Some(Stop::ToolCalls),
        "content_filter" | "sensitive" | "refusal" => Some(Stop::ContentFilter),
        _ => None,
    }
}

impl Message<'_> {
    fn events(self, choice: u32, reader: &mut Reader, out: &mut Vec<ChatEvent>) {
        let reasoning =
            if self.reasoning_content.is_empty() { self.reasoning } else { self.reasoning_content };
        let (plain, thinking) = (reasoning.text.into_owned(), self.content.thinking.into_owned());
        match self.reasoning_details {
            Some(details) => piece::details(details, choice, plain, &mut reader.seen, out),
            None => piece::reasoning(choice, plain, &mut reader.seen, out),
        }
        piece::reasoning(choice, thinking, &mut reader.seen, out);
        if !self.content.text.is_empty() {
            out.push(ChatEvent::Text { choice, text: self.content.text.into_owned() });
        }
        if let Some(text) = self.refusal.some() {
            out.push(ChatEvent::Refusal { choice, text });
        }
        let rare = [
            (Piece::Audio, self.audio),
            (Piece::Annotations, self.annotations),
            (Piece::Images, self.images),
            (Piece::ExecutedTools, self.executed_tools),
        ];
        for (kind, raw) in rare {
            if let Some(raw) = raw {
                piece::read(kind, raw, choice, &mut reader.seen, out);
            }
        }
        for call in self.tool_calls.unwrap_or_default() {
            call.events(choice, reader, out);
        }
        if let Some(function) = self.function_call {
            let (name, arguments) = function.parts();
            out.push(ChatEvent::ToolCall { choice, index: 0, id: None, name, arguments });
        }
    }
}

impl ToolCall<'_> {
    fn events(self, choice: u32, reader: &mut Reader, out: &mut Vec<ChatEvent>) {
        let index = self.number(&mut reader.calls);
        let id = self.id.some();
        reader.seen.call(choice, index, id.as_deref());
        let seal = self.extra_content.and_then(piece::thought_signature);
        if let Some((name, input)) = self.custom.and_then(piece::custom) {
            out.push(ChatEvent::ToolCall { choice, index, id, name, arguments: input });
        } else {
            let (name, arguments) = self.function.map_or((None, String::new()), Function::parts);
            out.push(ChatEvent::ToolCall { choice, index, id, name, arguments });
        }
        out.extend(seal.map(|seal| piece::on_call(choice, index, seal)));
    }

    /// The server's index; without one, an id or a name begins a call and anything else continues.
    fn number(&self, calls: &mut u32) -> u32 {
        if let Some(index) = self.index {
            *calls = (*calls).max(index.saturating_add(1));
            return index;
        }
        let named = self.function.as_ref().is_some_and(|function| !function.name.is_empty());
        if !self.id.is_empty() || named || *calls == 0 {
            *calls = calls.saturating_add(1);
        }
        *calls - 1
    }
}

impl Function<'_> {
    /// Name and arguments; arguments sent as a JSON object instead of a string keep their text.
    fn parts(self) -> (Option<String>, String) {
        let arguments = match self.arguments.map(RawValue::get) {
            None | Some("null") => String::new(),
            Some(raw) if raw.starts_with('"') => serde_json::from_str(raw).unwrap_or_default(),
            Some(raw) => raw.to_owned(),
        };
        (self.name.some(), arguments)
    }
}
