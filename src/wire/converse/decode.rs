//! Converse's answers, whole or as a stream.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::ProviderError;
use crate::wire::Decode;
use crate::wire::converse::block::Image;
use crate::wire::converse::block::Reasoning;
use crate::wire::converse::block::ToolUse;
use crate::wire::converse::block::WireCitation;
use crate::wire::converse::block::WireUsage;
use crate::wire::converse::block::finish;
use crate::wire::eventstream;
use crate::wire::openai::text::Text;
use crate::wire::scalar::Count;
use crate::wire::scalar::part;
use crate::wire::sse;

/// The most blocks of an answer that may be open at once; more are no answer.
const MAX_OPEN: usize = 1024;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    #[serde(default, borrow, rename = "stopReason")]
    stop_reason: Text<'a>,
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(default, borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
}

/// One of its fields is there.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(default, borrow)]
    text: Option<Text<'a>>,
    #[serde(default, borrow, rename = "toolUse")]
    tool_use: Option<&'a RawValue>,
    #[serde(default, borrow, rename = "reasoningContent")]
    reasoning: Option<&'a RawValue>,
    #[serde(default, borrow, rename = "citationsContent")]
    cited: Option<&'a RawValue>,
    #[serde(default, borrow)]
    citation: Option<&'a RawValue>,
    #[serde(default, borrow)]
    image: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Cited<'a> {
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    citations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default, borrow)]
    start: Option<&'a RawValue>,
    #[serde(default, borrow)]
    delta: Option<Block<'a>>,
    #[serde(default, rename = "contentBlockIndex")]
    index: Count,
    #[serde(default, borrow, rename = "stopReason")]
    stop_reason: Text<'a>,
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
}

/// What a block that began is.
enum Open {
    /// The application's call of this number.
    Call(u32),
    /// A picture of this format.
    Image(String),
    /// Something the provider did itself.
    Other,
}

/// Reads a stream; Converse gives one answer only.
#[derive(Default)]
pub struct Decoder {
    open: HashMap<u32, Open>,
    calls: u32,
    /// Characters of text so far, and how many there were when the block of the last one began.
    text: u64,
    text_block: Option<(u32, u64)>,
    has_stopped: bool,
    has_metadata: bool,
}

impl Decode for Decoder {
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>) {
        let data = if event.data.trim().is_empty() { "{}" } else { &event.data };
        let name = event.name.as_str();
        if name == eventstream::MALFORMED {
            out.push(malformed(data.to_owned()));
            return;
        }
        if name == eventstream::ERROR || name.ends_with("Exception") {
            out.push(ChatEvent::Error(exception(name, data)));
            return;
        }
        match serde_json::from_str::<Chunk<'_>>(data) {
            Ok(chunk) => self.chunk(name, chunk, out),
            Err(_) if is_known(name) => out.push(not_understood(data)),
            // Bedrock's next kind of event.
            Err(_) => {}
        }
    }
}

fn is_known(name: &str) -> bool {
    const KNOWN: &[&str] = &["contentBlockStart", "contentBlockDelta", "messageStop", "metadata"];
    KNOWN.contains(&name)
}

impl Decoder {
    fn chunk(&mut self, name: &str, chunk: Chunk<'_>, out: &mut Vec<ChatEvent>) {
        let index = chunk.index.index().unwrap_or(0);
        match name {
            "messageStart" => {
                out.push(ChatEvent::Start { id: None, model: None, fingerprint: None });
            }
            "contentBlockStart" => self.begin(index, chunk.start, out),
            "contentBlockDelta" => {
                if let Some(delta) = chunk.delta {
                    self.delta(index, delta, out);
                }
            }
            "contentBlockStop" => {
                self.open.remove(&index);
            }
            "messageStop" => {
                finish(chunk.stop_reason, out);
                self.end(true, false, out);
            }
            "metadata" => {
                out.extend(part::<WireUsage>(chunk.usage).map(WireUsage::event));
                self.end(false, true, out);
            }
            _ => {}
        }
    }

    /// The answer is over when both of its last events were there, in whatever order.
    fn end(&mut self, has_stopped: bool, has_metadata: bool, out: &mut Vec<ChatEvent>) {
        let was_over = self.has_stopped && self.has_metadata;
        self.has_stopped |= has_stopped;
        self.has_metadata |= has_metadata;
        if !was_over && self.has_stopped && self.has_metadata {
            out.push(ChatEvent::Done);
        }
    }

    fn begin(&mut self, index: u32, start: Option<&RawValue>, out: &mut Vec<ChatEvent>) {
        if self.open.len() >= MAX_OPEN {
            return;
        }
        let Some(block) = part::<Block<'_>>(start) else { return };
        let open = if let Some(call) = part::<ToolUse<'_>>(block.tool_use) {
            if call.is_provider_s() {
                out.push(call.other());
                Open::Other
            } else {
                out.push(call.event(self.calls));
                self.next_call()
            }
        } else if let Some(image) = part::<Image<'_>>(block.image) {
            Open::Image(image.format())
        } else {
            out.extend(start.and_then(other));
            Open::Other
        };
        self.open.insert(index, open);
    }

    fn next_call(&mut self) -> Open {
        let call = Open::Call(self.calls);
        self.calls = self.calls.saturating_add(1);
        call
    }

    fn delta(&mut self, index: u32, delta: Block<'_>, out: &mut Vec<ChatEvent>) {
        if let Some(text) = delta.text.and_then(Text::some) {
            if self.text_block.is_none_or(|(block, _)| block != index) {
                self.text_block = Some((index, self.text));
            }
            self.text = self.text.saturating_add(text.chars().count() as u64);
            out.push(ChatEvent::Text { choice: 0, text });
        }
        if let Some(reasoning) = part::<Reasoning<'_>>(delta.reasoning) {
            reasoning.events(out);
        }
        if let Some(call) = part::<ToolUse<'_>>(delta.tool_use) {
            self.arguments(index, call, out);
        }
        if let Some(citation) = part::<WireCitation<'_>>(delta.citation) {
            let begins = self.text_block.filter(|(block, _)| *block == index);
            out.push(citation.event(begins.map(|(_, from)| (from, self.text))));
        }
        if let Some(image) = part::<Image<'_>>(delta.image) {
            let format = match self.open.get(&index) {
                Some(Open::Image(format)) => format,
                _ => "",
            };
            out.extend(image.event(format));
        }
    }

    fn arguments(&mut self, index: u32, call: ToolUse<'_>, out: &mut Vec<ChatEvent>) {
        if !self.open.contains_key(&index) && self.open.len() < MAX_OPEN {
            // Its beginning was lost; the arguments are better than nothing.
            let open = self.next_call();
            self.open.insert(index, open);
        }
        if let Some(Open::Call(number)) = self.open.get(&index) {
            out.push(call.event(*number));
        }
    }
}

/// Reads a whole answer, or an error in its place.
pub fn body(json: &str) -> Vec<ChatEvent> {
    let Ok(body) = serde_json::from_str::<Body<'_>>(json) else {
        return vec![not_understood(json)];
    };
    let Some(message) = body.output.message else { return vec![not_understood(json)] };
    let mut out = vec![ChatEvent::Start { id: None, model: None, fingerprint: None }];
    let blocks: Vec<&RawValue> = part(message.content).unwrap_or_default();
    let mut said = Said::default();
    for block in blocks {
        match part::<Block<'_>>(Some(block)) {
            Some(parts) => said.block(block, parts, &mut out),
            None => out.extend(other(block)),
        }
    }
    finish(body.stop_reason, &mut out);
    out.extend(part::<WireUsage>(body.usage).map(WireUsage::event));
    out.push(ChatEvent::Done);
    out
}

/// How much of a whole answer was read.
#[derive(Default)]
struct Said {
    calls: u32,
    text: u64,
}

impl Said {
    fn block(&mut self, raw: &RawValue, block: Block<'_>, out: &mut Vec<ChatEvent>) {
        if let Some(text) = block.text {
            self.words(text, out);
        } else if let Some(call) = part::<ToolUse<'_>>(block.tool_use) {
            if call.is_provider_s() {
                out.push(call.other());
            } else {
                out.push(call.event(self.calls));
                self.calls = self.calls.saturating_add(1);
            }
        } else if let Some(reasoning) = part::<Reasoning<'_>>(block.reasoning) {
            reasoning.events(out);
        } else if let Some(cited) = part::<Cited<'_>>(block.cited) {
            let from = self.text;
            let words: Vec<Block<'_>> = part(cited.content).unwrap_or_default();
            words.into_iter().filter_map(|b| b.text).for_each(|text| self.words(text, out));
            let span = Some((from, self.text)).filter(|(from, to)| from < to);
            let citations: Vec<WireCitation<'_>> = part(cited.citations).unwrap_or_default();
            out.extend(citations.into_iter().map(|citation| citation.event(span)));
        } else if let Some(image) = part::<Image<'_>>(block.image) {
            out.extend(image.event(""));
        } else {
            out.extend(other(raw));
        }
    }

    fn words(&mut self, text: Text<'_>, out: &mut Vec<ChatEvent>) {
        if let Some(text) = text.some() {
            self.text = self.text.saturating_add(text.chars().count() as u64);
            out.push(ChatEvent::Text { choice: 0, text });
        }
    }
}

/// A block that only Bedrock knows goes by the name of its field.
fn other(raw: &RawValue) -> Option<ChatEvent> {
    let fields: Map<String, Value> = serde_json::from_str(raw.get()).ok()?;
    let kind = fields.into_iter().find(|(_, value)| !value.is_null())?.0;
    Some(ChatEvent::Other { choice: 0, kind })
}

/// An exception inside a stream; its name begins small there.
fn exception(name: &str, data: &str) -> ProviderError {
    let value: Value = serde_json::from_str(data).unwrap_or(Value::Null);
    let mut error = failure(&value);
    if name != eventstream::ERROR {
        let mut letters = name.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        error.kind = Some(first.into_iter().chain(letters).collect());
    } else if error.kind.is_none() {
        error.kind = error.code.take();
    }
    error
}

/// Amazon's errors: a message, and a type that may stand in a header only; gateways and simulators
/// of Bedrock write `error` as other providers do.
fn failure(body: &Value) -> ProviderError {
    let inner =
        ["Output", "error"].iter().find_map(|key| body.get(key).filter(|it| it.is_object()));
    let inner = inner.unwrap_or(body);
    let word = |keys: &[&str]| {
        let found = keys.iter().find_map(|key| inner.get(key).filter(|value| !value.is_null()))?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    // `com.amazon.coral.service#ThrottlingException:http://…`
    let kind = word(&["__type", "type"]).map(|kind| {
        let name = kind.rsplit('#').next().unwrap_or(&kind);
        name.split(':').next().unwrap_or(name).to_owned()
    });
    let message = word(&["message", "Message", "errorMessage", "originalMessage", "error"]);
    let message = message.or_else(|| kind.clone()).filter(|message| !message.is_empty());
    ProviderError {
        kind,
        code: word(&["originalStatusCode", "code"]),
        message: message.unwrap_or_else(|| "an error without a message".to_owned()),
        ..ProviderError::default()
    }
}

/// What is no answer is an error, if only a malformed one.
fn not_understood(json: &str) -> ChatEvent {
    const KEYS: &[&str] = &["message", "Message", "__type", "Output", "error"];
    match serde_json::from_str::<Value>(json) {
        Ok(value) if KEYS.iter().any(|key| value.get(key).is_some()) => {
            ChatEvent::Error(failure(&value))
        }
        Ok(_) => malformed("neither an answer nor an error message".to_owned()),
        Err(error) => {
            malformed(format!("not JSON: line {} column {}", error.line(), error.column()))
        }
    }
}

fn malformed(message: String) -> ChatEvent {
    let kind = Some(eventstream::MALFORMED.to_owned());
    ChatEvent::Error(ProviderError { kind, message, ..ProviderError::default() })
}
