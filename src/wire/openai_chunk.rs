//! OpenAI chat completion bodies and stream chunks, read leniently.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::ProviderError;
use crate::chat::Stop;
use crate::chat::TokenLogprob;
use crate::chat::Usage;
use crate::wire::openai_text::Text;

/// A whole body (`message`) or a stream chunk (`delta`).
///
/// Large parts that most chunks lack are boxed, because every chunk is moved several times.
#[derive(Deserialize)]
pub struct Chunk<'a> {
    #[serde(default, borrow)]
    id: Text<'a>,
    #[serde(default, borrow)]
    model: Text<'a>,
    #[serde(default, borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Box<WireUsage>>,
    #[serde(default)]
    error: Option<Value>,
    /// Groq puts the usage of a stream here.
    #[serde(default)]
    x_groq: Option<Groq>,
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
    audio: Option<Audio<'a>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    index: Option<u32>,
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
struct Audio<'a> {
    #[serde(default, borrow)]
    transcript: Text<'a>,
}

#[derive(Default, Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    /// DeepSeek.
    prompt_cache_hit_tokens: Option<u64>,
    /// Moonshot, Hugging Face.
    cached_tokens: Option<u64>,
    /// Mistral.
    num_cached_tokens: Option<u64>,
    /// DeepSeek on Azure.
    reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct WireLogprobs {
    #[serde(default)]
    content: Option<Vec<WireLogprob>>,
}

#[derive(Deserialize)]
struct WireLogprob {
    token: String,
    logprob: f64,
    #[serde(default)]
    top_logprobs: Vec<WireTop>,
}

#[derive(Deserialize)]
struct WireTop {
    token: String,
    logprob: f64,
}

/// The kind of error of what is no message of the provider's at all.
pub const MALFORMED: &str = "malformed";

/// Reads one body or chunk; what does not parse becomes a provider error.
///
/// `calls` counts the tool calls begun so far, for servers that number them not at all.
pub fn read(json: &str, calls: &mut u32, out: &mut Vec<ChatEvent>) {
    match serde_json::from_str::<Chunk<'_>>(json) {
        Ok(chunk) => chunk.events(json, calls, out),
        Err(_) => match serde_json::from_str::<Value>(json) {
            Ok(value) => out.push(ChatEvent::Error(provider_error(&value))),
            Err(error) => out.push(ChatEvent::Error(ProviderError {
                kind: Some(MALFORMED.to_owned()),
                message: format!("not JSON: line {} column {}", error.line(), error.column()),
                ..ProviderError::default()
            })),
        },
    }
}

impl Chunk<'_> {
    fn events(self, json: &str, calls: &mut u32, out: &mut Vec<ChatEvent>) {
        if !self.id.is_empty() || !self.model.is_empty() {
            out.push(ChatEvent::Start { id: self.id.some(), model: self.model.some() });
        }
        let is_error = self.error.as_ref().is_some_and(|error| !error.is_null());
        let is_answer = self.choices.is_some() || self.usage.is_some();
        if is_error || !is_answer {
            let value = serde_json::from_str(json).unwrap_or(Value::Null);
            out.push(ChatEvent::Error(provider_error(&value)));
        }
        for (at, choice) in (0..).zip(self.choices.unwrap_or_default()) {
            choice.events(at, calls, out);
        }
        let groq = self.x_groq.and_then(|groq| groq.usage);
        if let Some(usage) = self.usage.or(groq) {
            out.push(ChatEvent::Usage((*usage).into()));
        }
    }
}

impl Choice<'_> {
    fn events(self, at: u32, calls: &mut u32, out: &mut Vec<ChatEvent>) {
        let choice = self.index.unwrap_or(at);
        if let Some(message) = self.delta.or(self.message) {
            message.events(choice, calls, out);
        }
        if let Some(tokens) = self.logprobs.and_then(|logprobs| logprobs.content) {
            let tokens = tokens.into_iter().map(TokenLogprob::from).collect();
            out.push(ChatEvent::Logprobs { choice, tokens });
        }
        if let Some(reason) = self.finish_reason.some() {
            let stop = stop(&reason);
            out.push(ChatEvent::Finish { choice, reason, stop });
        }
    }
}

/// OpenAI's words and its imitators'.
fn stop(reason: &str) -> Option<Stop> {
    match reason {
        "stop" => Some(Stop::Stop),
        "length" => Some(Stop::Length),
        "tool_calls" | "function_call" => Some(Stop::ToolCalls),
        "content_filter" => Some(Stop::ContentFilter),
        _ => None,
    }
}

impl Message<'_> {
    fn events(self, choice: u32, calls: &mut u32, out: &mut Vec<ChatEvent>) {
        let reasoning =
            if self.reasoning_content.is_empty() { self.reasoning } else { self.reasoning_content };
        let thinking = self.content.thinking.into_owned();
        for text in [reasoning.text.into_owned(), thinking].into_iter().filter(|t| !t.is_empty()) {
            out.push(ChatEvent::Reasoning { choice, text });
        }
        if !self.content.text.is_empty() {
            out.push(ChatEvent::Text { choice, text: self.content.text.into_owned() });
        }
        if let Some(text) = self.refusal.some() {
            out.push(ChatEvent::Refusal { choice, text });
        }
        if let Some(text) = self.audio.and_then(|audio| audio.transcript.some()) {
            out.push(ChatEvent::Transcript { choice, text });
        }
        for call in self.tool_calls.unwrap_or_default() {
            let index = call.number(calls);
            let id = call.id.some();
            let (name, arguments) = call.function.map_or((None, String::new()), Function::parts);
            out.push(ChatEvent::ToolCall { choice, index, id, name, arguments });
        }
        if let Some(function) = self.function_call {
            let (name, arguments) = function.parts();
            out.push(ChatEvent::ToolCall { choice, index: 0, id: None, name, arguments });
        }
    }
}

impl ToolCall<'_> {
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

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        let input = usage.prompt_tokens_details.as_ref();
        Self {
            input_tokens: usage.prompt_tokens,
            output_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
            cached_input_tokens: input
                .and_then(|details| details.cached_tokens)
                .or(usage.prompt_cache_hit_tokens)
                .or(usage.cached_tokens)
                .or(usage.num_cached_tokens),
            cache_write_tokens: input.and_then(|details| details.cache_write_tokens),
            reasoning_tokens: usage
                .completion_tokens_details
                .and_then(|details| details.reasoning_tokens)
                .or(usage.reasoning_tokens),
        }
    }
}

impl From<WireLogprob> for TokenLogprob {
    fn from(wire: WireLogprob) -> Self {
        let top = wire.top_logprobs.into_iter().map(|top| (top.token, top.logprob)).collect();
        Self { token: wire.token, logprob: wire.logprob, top }
    }
}

/// Reads an error in any of the shapes that OpenAI-compatible servers use.
pub fn provider_error(body: &Value) -> ProviderError {
    let body = body.get(0).unwrap_or(body);
    let error = match body.get("error") {
        Some(Value::String(message)) => {
            return ProviderError { message: message.clone(), ..ProviderError::default() };
        }
        Some(error @ Value::Object(_)) => error,
        _ => body,
    };
    let word = |key: &str| match error.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let message = word("message").or_else(|| word("detail"));
    let malformed = || message.is_none().then(|| MALFORMED.to_owned());
    ProviderError {
        kind: word("type").or_else(malformed),
        code: word("code"),
        message: message.unwrap_or_else(|| "neither an answer nor an error message".into()),
        param: word("param"),
        retry_after_ms: None,
    }
}
