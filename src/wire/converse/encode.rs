//! Writes answers in Converse's words.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;

use crate::chat::ChatEvent;
use crate::chat::Choice;
use crate::chat::Citation;
use crate::chat::Maker;
use crate::chat::ProviderError;
use crate::chat::Seal;
use crate::chat::Sealed;
use crate::chat::Stop;
use crate::chat::ToolCall;
use crate::chat::Usage;
use crate::chat::fold::Fold;
use crate::wire::Asked;
use crate::wire::Encode;
use crate::wire::arguments;
use crate::wire::converse::media;
use crate::wire::eventstream;
use crate::wire::seal;

/// What the open block holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    /// Nothing may be said any more that the sources do not support.
    Cited,
    Reasoning,
}

/// Writes a stream; calls and the end are held back until the end, words are not.
pub struct Encoder {
    answer_id: String,
    is_started: bool,
    has_text: bool,
    blocks: u32,
    open: Option<Open>,
    held: Fold,
}

impl Encoder {
    /// Before the first event.
    pub fn new(asked: &Asked) -> Self {
        Self {
            answer_id: asked.id.clone(),
            is_started: false,
            has_text: false,
            blocks: 0,
            open: None,
            held: Fold::new(),
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_started, true) {
            event("messageStart", &json!({"role": "assistant"}), out);
        }
    }

    /// A piece in a block of its kind.
    fn piece(&mut self, wanted: Open, delta: &Value, out: &mut Vec<u8>) {
        self.start(out);
        let goes_on =
            self.open == Some(wanted) || (wanted == Open::Cited && self.open == Some(Open::Text));
        if !goes_on {
            self.close(out);
        }
        self.open = Some(wanted);
        self.delta(delta, out);
    }

    fn delta(&self, delta: &Value, out: &mut Vec<u8>) {
        let delta = json!({"contentBlockIndex": self.blocks, "delta": delta});
        event("contentBlockDelta", &delta, out);
    }

    fn begin(&self, start: &Value, out: &mut Vec<u8>) {
        let start = json!({"contentBlockIndex": self.blocks, "start": start});
        event("contentBlockStart", &start, out);
    }

    /// Ends a block that [`Self::begin`] began.
    fn stop(&mut self, out: &mut Vec<u8>) {
        event("contentBlockStop", &json!({"contentBlockIndex": self.blocks}), out);
        self.blocks += 1;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            self.stop(out);
        }
    }

    fn seal(&mut self, on: Sealed, seal: &Seal, out: &mut Vec<u8>) {
        let written = seal::write(seal, Maker::Anthropic);
        match on {
            Sealed::Reasoning => {
                let delta = json!({"reasoningContent": {"signature": written}});
                self.piece(Open::Reasoning, &delta, out);
            }
            Sealed::Hidden => {
                self.start(out);
                self.close(out);
                let blob = media::blob(&written);
                self.delta(&json!({"reasoningContent": {"redactedContent": blob}}), out);
                self.stop(out);
                return;
            }
            // Converse has no place for seals on anything but reasoning.
            Sealed::Text | Sealed::ToolCall(_) => return,
        }
        self.close(out);
    }

    fn media(&mut self, mime: &str, data: &str, out: &mut Vec<u8>) {
        let Some(format) = media::format("image", mime) else { return };
        self.start(out);
        self.close(out);
        self.begin(&json!({"image": {"format": format}}), out);
        self.delta(&json!({"image": {"source": {"bytes": data}}}), out);
        self.stop(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        self.close(out);
        let held = std::mem::take(&mut self.held).finish();
        let choice = held.choices.into_iter().next().unwrap_or_default();
        for (at, call) in choice.tool_calls.iter().enumerate() {
            let id = call_id(&self.answer_id, at, call);
            self.begin(&json!({"toolUse": {"toolUseId": id, "name": call.name}}), out);
            if !call.arguments.is_empty() {
                let input = arguments::object(&call.arguments);
                self.delta(&json!({"toolUse": {"input": input}}), out);
            }
            self.stop(out);
        }
        event("messageStop", &json!({"stopReason": stop_word(&choice)}), out);
        let mut metadata = json!({"metrics": {}});
        if let Some(usage) = &held.usage {
            metadata["usage"] = usage_json(usage);
        }
        event("metadata", &metadata, out);
    }
}

impl Encode for Encoder {
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Start { .. } => self.start(out),
            ChatEvent::Text { choice: 0, text } => {
                self.has_text = true;
                self.piece(Open::Text, &json!({"text": text}), out);
            }
            // Beside text they only repeat it.
            ChatEvent::Refusal { choice: 0, text } | ChatEvent::Transcript { choice: 0, text }
                if !self.has_text =>
            {
                self.piece(Open::Text, &json!({"text": text}), out);
            }
            ChatEvent::Reasoning { choice: 0, text } => {
                let delta = json!({"reasoningContent": {"text": text}});
                self.piece(Open::Reasoning, &delta, out);
            }
            ChatEvent::Seal { choice: 0, on, seal } => self.seal(*on, seal, out),
            ChatEvent::Citation { choice: 0, citation } => {
                self.piece(Open::Cited, &json!({"citation": citation_json(citation)}), out);
            }
            ChatEvent::Media { choice: 0, mime, data } => self.media(mime, data, out),
            ChatEvent::ToolCall { choice: 0, .. }
            | ChatEvent::Finish { choice: 0, .. }
            | ChatEvent::Usage(_) => self.held.push(event.clone()),
            ChatEvent::Error(failure) => error(500, failure, out),
            ChatEvent::Done => self.end(out),
            // Converse gives one answer, and has no place for what is left.
            _ => {}
        }
    }
}

/// Writes a whole answer: the blocks in the order in which they were said.
pub fn body(asked: &Asked, events: &[ChatEvent]) -> Bytes {
    let mut fold = Fold::new();
    events.iter().for_each(|event| fold.push(event.clone()));
    let answer = fold.finish();
    let choice = answer.choices.first().cloned().unwrap_or_default();
    let mut blocks = Blocks::default();
    events.iter().for_each(|event| blocks.push(event, choice.text.is_empty()));
    let mut content = blocks.list;
    for (at, call) in choice.tool_calls.iter().enumerate() {
        let input = arguments::value(&call.arguments);
        let id = call_id(&asked.id, at, call);
        content.push(json!({"toolUse": {"toolUseId": id, "name": call.name, "input": input}}));
    }
    let message = json!({"role": "assistant", "content": content});
    let mut body = json!({"output": {"message": message}, "stopReason": stop_word(&choice),
                          "metrics": {}});
    if let Some(usage) = &answer.usage {
        body["usage"] = usage_json(usage);
    }
    Bytes::from(body.to_string())
}

/// The blocks of a whole answer so far, calls aside.
#[derive(Default)]
struct Blocks {
    list: Vec<Value>,
    open: Option<Open>,
}

impl Blocks {
    fn push(&mut self, event: &ChatEvent, is_wordless: bool) {
        match event {
            ChatEvent::Text { choice: 0, text } => self.words(text),
            ChatEvent::Refusal { choice: 0, text } | ChatEvent::Transcript { choice: 0, text }
                if is_wordless =>
            {
                self.words(text);
            }
            ChatEvent::Reasoning { choice: 0, text } => {
                if let Some(thought) = self.thought() {
                    append(thought, "text", text);
                }
            }
            ChatEvent::Seal { choice: 0, on: Sealed::Reasoning, seal } => {
                let signature = seal::write(seal, Maker::Anthropic);
                if let Some(thought) = self.thought() {
                    thought["signature"] = Value::from(signature);
                }
                self.open = None;
            }
            ChatEvent::Seal { choice: 0, on: Sealed::Hidden, seal } => {
                let blob = media::blob(&seal::write(seal, Maker::Anthropic));
                self.add(None, json!({"reasoningContent": {"redactedContent": blob}}));
            }
            ChatEvent::Citation { choice: 0, citation } => self.cite(citation),
            ChatEvent::Media { choice: 0, mime, data } => {
                if let Some(format) = media::format("image", mime) {
                    let source = json!({"bytes": data});
                    self.add(None, json!({"image": {"format": format, "source": source}}));
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, open: Option<Open>, block: Value) {
        self.open = open;
        self.list.push(block);
    }

    fn words(&mut self, text: &str) {
        if self.open != Some(Open::Text) {
            self.add(Some(Open::Text), json!({"text": ""}));
        }
        if let Some(block) = self.list.last_mut() {
            append(block, "text", text);
        }
    }

    /// The reasoning that is open, or a new one.
    fn thought(&mut self) -> Option<&mut Value> {
        if self.open != Some(Open::Reasoning) {
            let block = json!({"reasoningContent": {"reasoningText": {"text": ""}}});
            self.add(Some(Open::Reasoning), block);
        }
        self.list.last_mut()?.get_mut("reasoningContent")?.get_mut("reasoningText")
    }

    /// Text turns into cited text when the first source comes.
    fn cite(&mut self, citation: &Citation) {
        match self.open {
            Some(Open::Cited) => {}
            Some(Open::Text) => {
                let said = self.list.pop().unwrap_or_default();
                let cited = json!({"content": [said], "citations": []});
                self.add(Some(Open::Cited), json!({"citationsContent": cited}));
            }
            _ => {
                let cited = json!({"content": [], "citations": []});
                self.add(Some(Open::Cited), json!({"citationsContent": cited}));
            }
        }
        let cited = self.list.last_mut().and_then(|block| block.get_mut("citationsContent"));
        if let Some(Value::Array(list)) = cited.and_then(|cited| cited.get_mut("citations")) {
            list.push(citation_json(citation));
        }
    }
}

fn append(to: &mut Value, key: &str, text: &str) {
    if let Some(Value::String(words)) = to.get_mut(key) {
        words.push_str(text);
    }
}

/// The exception that ends a stream.
pub fn error(status: u16, error: &ProviderError, out: &mut Vec<u8>) {
    let name = exception(status, error);
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    let name: String = first.into_iter().chain(letters).collect();
    let body = json!({"message": error.message});
    eventstream::write_exception(&name, out, |out| push(&body, out));
}

/// Bedrock's name for a failure.
pub fn exception(status: u16, error: &ProviderError) -> String {
    if let Some(own) = error.kind.as_ref().filter(|kind| kind.ends_with("Exception")) {
        return own.clone();
    }
    let name = match status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 | 504 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        400..=499 => "ValidationException",
        502 | 503 | 529 => "ServiceUnavailableException",
        _ => "InternalServerException",
    };
    name.to_owned()
}

fn event(name: &str, payload: &Value, out: &mut Vec<u8>) {
    eventstream::write_event(name, out, |out| push(payload, out));
}

fn push(payload: &Value, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, payload);
}

fn call_id(answer_id: &str, at: usize, call: &ToolCall) -> String {
    call.id.clone().unwrap_or_else(|| format!("call_{answer_id}_{at}"))
}

fn stop_word(choice: &Choice) -> &str {
    const WORDS: &[&str] = &[
        "end_turn",
        "tool_use",
        "max_tokens",
        "stop_sequence",
        "guardrail_intervened",
        "content_filtered",
        "malformed_model_output",
        "malformed_tool_use",
        "model_context_window_exceeded",
    ];
    match (choice.finish.as_deref(), choice.stop) {
        (Some(own), _) if WORDS.contains(&own) => own,
        (_, Some(Stop::Length)) => "max_tokens",
        (_, Some(Stop::ToolCalls)) => "tool_use",
        (_, Some(Stop::ContentFilter)) => "content_filtered",
        (_, Some(Stop::Stop)) => "end_turn",
        (_, None) if choice.tool_calls.is_empty() => "end_turn",
        (_, None) => "tool_use",
    }
}

fn citation_json(citation: &Citation) -> Value {
    let mut written = json!({});
    if let Some(title) = &citation.title {
        written["title"] = Value::from(title.as_str());
    }
    if let Some(quote) = &citation.quote {
        written["sourceContent"] = json!([{"text": quote}]);
    }
    if let Some(url) = &citation.url {
        written["location"] = json!({"web": {"url": url}});
    }
    written
}

/// Elsewhere tokens may count as read from and written to a cache at once; to Bedrock they are
/// different tokens, none of them among the input.
fn usage_json(usage: &Usage) -> Value {
    let read = usage.cached_input_tokens.unwrap_or(0);
    let fits =
        |tokens: &u64| usage.input_tokens.is_none_or(|input| read.saturating_add(*tokens) <= input);
    let cache_write = usage.cache_write_tokens.filter(fits);
    let cached = read.saturating_add(cache_write.unwrap_or(0));
    let mut written = json!({});
    for (key, count) in [
        ("inputTokens", usage.input_tokens.map(|input| input.saturating_sub(cached))),
        ("outputTokens", usage.output_tokens),
        ("totalTokens", usage.total_tokens),
        ("cacheReadInputTokens", usage.cached_input_tokens),
        ("cacheWriteInputTokens", cache_write),
    ] {
        if let Some(count) = count {
            written[key] = Value::from(count);
        }
    }
    written
}
