//! Reads Anthropic's streams and bodies into events.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::Citation;
use crate::chat::Maker;
use crate::chat::ProviderError;
use crate::chat::Seal;
use crate::chat::Sealed;
use crate::wire::Decode;
use crate::wire::anthropic::lenient::Object;
use crate::wire::anthropic::lenient::Word;
use crate::wire::anthropic::shape;
use crate::wire::anthropic::shape::Block;
use crate::wire::anthropic::shape::Delta;
use crate::wire::anthropic::shape::Failure;
use crate::wire::anthropic::shape::Frame;
use crate::wire::anthropic::shape::Message;
use crate::wire::anthropic::shape::WireUsage;
use crate::wire::openai::failure::MALFORMED;
use crate::wire::seal;
use crate::wire::sse;

/// Reads a whole body.
pub fn body(json: &str) -> Vec<ChatEvent> {
    let message = match serde_json::from_str::<Object<Message<'_>>>(json) {
        Ok(Object(Some(message))) => message,
        Ok(Object(None)) => return vec![ChatEvent::Error(failure(json))],
        Err(error) => return vec![ChatEvent::Error(unreadable(&error))],
    };
    let is_answer =
        message.kind.0 == "message" || !message.id.0.is_empty() && message.usage.0.is_some();
    if !is_answer || message.kind.0 == "error" {
        return vec![ChatEvent::Error(failure(json))];
    }
    let mut out = Vec::new();
    let mut decoder = Decoder::default();
    decoder.message(message, &mut out);
    decoder.end_blocks(&mut out);
    out.push(ChatEvent::Done);
    out
}

/// The most blocks that may be open at once; the API has one.
const MAX_OPEN: usize = 256;

/// Reads one stream.
#[derive(Default)]
pub struct Decoder {
    usage: WireUsage,
    /// The blocks begun and not ended, by the API's index.
    open: Vec<(u64, Open)>,
    /// Tool calls begun so far, which numbers them.
    calls: u32,
    /// Characters of answer text so far.
    said: u64,
    /// What ended last, which a seal of another maker's belongs to.
    last: Last,
    done: bool,
}

/// A block that may still grow.
enum Open {
    Text {
        from: u64,
        citations: Vec<Citation>,
    },
    Thinking {
        signature: String,
    },
    /// With the input given at the start, which pieces replace.
    Tool {
        call: u32,
        input: Option<String>,
    },
    Other,
}

#[derive(Clone, Copy, Default)]
enum Last {
    #[default]
    Nothing,
    Text,
    Call(u32),
}

impl Decode for Decoder {
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>) {
        let json = event.data.trim();
        // Gateways in front of the API are known to end streams as OpenAI does.
        if json.is_empty() || json == "[DONE]" {
            return;
        }
        match serde_json::from_str::<Object<Frame<'_>>>(json) {
            Ok(Object(Some(mut frame))) => {
                if frame.kind.0.is_empty() {
                    frame.kind = Word(Cow::Borrowed(&event.name));
                }
                self.frame(frame, json, out);
            }
            Ok(Object(None)) => out.push(ChatEvent::Error(failure(json))),
            Err(error) => out.push(ChatEvent::Error(unreadable(&error))),
        }
    }
}

impl Decoder {
    fn frame(&mut self, frame: Frame<'_>, json: &str, out: &mut Vec<ChatEvent>) {
        let index = frame.index.0.unwrap_or(0);
        match frame.kind.0.as_ref() {
            "message_start" => {
                // A second message in one stream begins anew; what was said stays said.
                self.end_blocks(out);
                self.usage = WireUsage::default();
                if let Some(message) = frame.message.0 {
                    self.message(*message, out);
                }
                self.end_blocks(out);
            }
            "content_block_start" => {
                self.end_block(index, out);
                if let Some(block) = frame.content_block.0 {
                    self.block(index, *block, out);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = frame.delta.0 {
                    self.delta(index, delta, out);
                }
            }
            "content_block_stop" => self.end_block(index, out),
            "message_delta" => {
                self.end_blocks(out);
                if let Some(delta) = frame.delta.0 {
                    explanation(delta.stop_details.0.map(|details| details.explanation), out);
                    finish(delta.stop_reason, out);
                }
                if let Some(usage) = frame.usage.0 {
                    self.usage(&usage, out);
                }
            }
            "message_stop" => {
                self.end_blocks(out);
                if !std::mem::replace(&mut self.done, true) {
                    out.push(ChatEvent::Done);
                }
            }
            "error" => out.push(ChatEvent::Error(failure(json))),
            // The API may add events, which are to be passed over; an error is none of them.
            _ => {
                out.extend(Failure::read(json).map(ChatEvent::Error));
            }
        }
    }

    /// A whole message, or its start, which in rare streams has content already.
    fn message(&mut self, message: Message<'_>, out: &mut Vec<ChatEvent>) {
        out.push(ChatEvent::Start {
            id: message.id.some(),
            model: message.model.some(),
            fingerprint: None,
        });
        for (index, block) in (0..).zip(message.content.0) {
            self.block(index, block, out);
            self.end_block(index, out);
        }
        explanation(message.stop_details.0.map(|details| details.explanation), out);
        finish(message.stop_reason, out);
        if let Some(usage) = message.usage.0 {
            self.usage(&usage, out);
        }
    }

    fn usage(&mut self, usage: &WireUsage, out: &mut Vec<ChatEvent>) {
        self.usage.update(usage);
        out.push(ChatEvent::Usage(self.usage.into()));
    }

    fn block(&mut self, index: u64, block: Block<'_>, out: &mut Vec<ChatEvent>) {
        let open = match block.kind.0.as_ref() {
            "text" => {
                let from = self.said;
                self.text(block.text, out);
                let citations = block.citations.0.into_iter().map(Citation::from).collect();
                Open::Text { from, citations }
            }
            "thinking" => {
                reasoning(block.thinking, out);
                Open::Thinking { signature: block.signature.0.into_owned() }
            }
            "redacted_thinking" => {
                self.hidden(&block.data.0, out);
                Open::Other
            }
            "tool_use" => self.tool(block, out),
            kind => {
                out.push(ChatEvent::Other { choice: 0, kind: kind.to_owned() });
                Open::Other
            }
        };
        // Each event looks for its block among these.
        if self.open.len() >= MAX_OPEN
            && let Some((oldest, _)) = self.open.first()
        {
            self.end_block(*oldest, out);
        }
        self.open.push((index, open));
    }

    fn tool(&mut self, block: Block<'_>, out: &mut Vec<ChatEvent>) -> Open {
        let call = self.calls;
        self.calls = self.calls.saturating_add(1);
        out.push(ChatEvent::ToolCall {
            choice: 0,
            index: call,
            id: block.id.some(),
            name: block.name.some(),
            arguments: String::new(),
        });
        let input = block.input.map(RawValue::get).filter(|input| *input != "null");
        Open::Tool { call, input: input.map(str::to_owned) }
    }

    fn delta(&mut self, index: u64, delta: Delta<'_>, out: &mut Vec<ChatEvent>) {
        let open = self.open.iter_mut().find(|(at, _)| *at == index).map(|(_, open)| open);
        match (delta.kind.0.as_ref(), open) {
            ("text_delta", _) => self.text(delta.text, out),
            ("thinking_delta", _) => reasoning(delta.thinking, out),
            // The SDKs replace an earlier signature too.
            ("signature_delta", Some(Open::Thinking { signature })) => {
                *signature = delta.signature.0.into_owned();
            }
            ("signature_delta", None) => sealed(Sealed::Reasoning, &delta.signature.0, out),
            ("citations_delta", Some(Open::Text { citations, .. })) => {
                citations.extend(delta.citation.0.map(|citation| (*citation).into()));
            }
            ("input_json_delta", Some(Open::Tool { call, input })) => {
                let arguments = delta.partial_json.0.into_owned();
                if !arguments.is_empty() {
                    *input = None;
                    let index = *call;
                    let (id, name) = (None, None);
                    out.push(ChatEvent::ToolCall { choice: 0, index, id, name, arguments });
                }
            }
            // Pieces of what the provider runs itself, and kinds that are not known yet.
            _ => {}
        }
    }

    fn end_blocks(&mut self, out: &mut Vec<ChatEvent>) {
        while let Some((index, _)) = self.open.first() {
            self.end_block(*index, out);
        }
    }

    fn end_block(&mut self, index: u64, out: &mut Vec<ChatEvent>) {
        let Some(at) = self.open.iter().position(|(open, _)| *open == index) else { return };
        match self.open.remove(at).1 {
            Open::Text { from, citations } => {
                let span = (from < self.said).then_some((from, self.said));
                let citations = citations.into_iter().map(|citation| Citation { span, ..citation });
                out.extend(citations.map(|citation| ChatEvent::Citation { choice: 0, citation }));
                self.last = Last::Text;
            }
            Open::Thinking { signature } => sealed(Sealed::Reasoning, &signature, out),
            Open::Tool { call, input } => {
                // A stream gives `{}` at the start and the pieces later; none means none.
                if let Some(arguments) = input {
                    let (id, name) = (None, None);
                    let index = call;
                    out.push(ChatEvent::ToolCall { choice: 0, index, id, name, arguments });
                }
                self.last = Last::Call(call);
            }
            Open::Other => {}
        }
    }

    fn text(&mut self, text: Word<'_>, out: &mut Vec<ChatEvent>) {
        let text = text.0.into_owned();
        if !text.is_empty() {
            self.said += text.chars().count() as u64;
            out.push(ChatEvent::Text { choice: 0, text });
        }
    }

    /// Gemini seals text and calls, which here stand in a hidden block after them.
    fn hidden(&mut self, data: &str, out: &mut Vec<ChatEvent>) {
        let seal = seal::read(data, Maker::Anthropic);
        // The block of what was said last may still be open.
        let last = self.open.last().map_or(self.last, |(_, open)| match open {
            Open::Tool { call, .. } => Last::Call(*call),
            Open::Text { .. } => Last::Text,
            Open::Thinking { .. } | Open::Other => self.last,
        });
        let on = match (seal.by, last) {
            (Maker::Gemini, Last::Call(call)) => Sealed::ToolCall(call),
            (Maker::Gemini, Last::Text) => Sealed::Text,
            _ => Sealed::Hidden,
        };
        out.push(ChatEvent::Seal { choice: 0, on, seal });
    }
}

fn sealed(on: Sealed, signature: &str, out: &mut Vec<ChatEvent>) {
    if !signature.is_empty() {
        let seal: Seal = seal::read(signature, Maker::Anthropic);
        out.push(ChatEvent::Seal { choice: 0, on, seal });
    }
}

fn reasoning(text: Word<'_>, out: &mut Vec<ChatEvent>) {
    if let Some(text) = text.some() {
        out.push(ChatEvent::Reasoning { choice: 0, text });
    }
}

/// The API's words on why it withholds an answer.
fn explanation(words: Option<Word<'_>>, out: &mut Vec<ChatEvent>) {
    if let Some(text) = words.and_then(Word::some) {
        out.push(ChatEvent::Refusal { choice: 0, text });
    }
}

fn finish(reason: Word<'_>, out: &mut Vec<ChatEvent>) {
    if let Some(reason) = reason.some() {
        let stop = shape::stop(&reason);
        out.push(ChatEvent::Finish { choice: 0, reason, stop });
    }
}

/// The error that a body tells.
fn failure(json: &str) -> ProviderError {
    Failure::read(json).unwrap_or_else(|| malformed("neither an answer nor an error message"))
}

fn unreadable(error: &serde_json::Error) -> ProviderError {
    malformed(&format!("not JSON: line {} column {}", error.line(), error.column()))
}

fn malformed(message: &str) -> ProviderError {
    let kind = Some(MALFORMED.to_owned());
    ProviderError { kind, message: message.to_owned(), ..ProviderError::default() }
}
