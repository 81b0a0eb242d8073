//! What is gathered of an answer until Gemini's form allows to write it, and whole bodies.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::Citation;
use crate::chat::Maker;
use crate::chat::Sealed;
use crate::chat::Stop;
use crate::chat::TokenLogprob;
use crate::chat::Usage;
use crate::wire::Asked;
use crate::wire::arguments;
use crate::wire::gemini::encode::block_reason;
use crate::wire::gemini::shape::Blob;
use crate::wire::gemini::shape::Candidate;
use crate::wire::gemini::shape::Chunk;
use crate::wire::gemini::shape::Content;
use crate::wire::gemini::shape::FunctionCall;
use crate::wire::gemini::shape::Grounding;
use crate::wire::gemini::shape::Logprobs;
use crate::wire::gemini::shape::Part;
use crate::wire::gemini::shape::PromptFeedback;
use crate::wire::gemini::shape::UsageOut;
use crate::wire::gemini::span::Widths;
use crate::wire::seal;

/// One of the answers, as far as it waits.
#[derive(Default)]
pub struct Choice {
    /// From 0.
    pub index: u32,
    /// What it said, for the offsets of its sources.
    pub said: Widths,
    /// Its sources.
    pub citations: Vec<Citation>,
    /// Why it ended, once it did.
    pub ended: Option<Ended>,
    has_text: bool,
    calls: Vec<Call>,
}

/// Why an answer ended.
pub struct Ended {
    /// The prompt was blocked, and why.
    pub blocked: Option<String>,
    word: &'static str,
}

struct Call {
    index: u32,
    id: Option<String>,
    name: String,
    arguments: String,
    signature: Option<String>,
}

/// Google's words for why an answer ended.
///
/// Source: the `FinishReason` of Google's Gen AI SDK.
const REASONS: &[&str] = &[
    "BLOCKLIST",
    "ESCALATION",
    "IMAGE_OTHER",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_SAFETY",
    "LANGUAGE",
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "MAX_TOKENS",
    "MISSING_THOUGHT_SIGNATURE",
    "MODEL_ARMOR",
    "NO_IMAGE",
    "OTHER",
    "PROHIBITED_CONTENT",
    "RECITATION",
    "SAFETY",
    "SPII",
    "STOP",
    "TOO_MANY_TOOL_CALLS",
    "UNEXPECTED_TOOL_CALL",
];

impl Choice {
    /// The answer of that index, in order.
    pub fn find(choices: &mut Vec<Self>, index: u32) -> &mut Self {
        let at = match choices.binary_search_by_key(&index, |choice| choice.index) {
            Ok(at) => at,
            Err(at) => {
                choices.insert(at, Self { index, ..Self::default() });
                at
            }
        };
        &mut choices[at]
    }

    /// Takes words; whether they are to be written. Servers that write what they say aloud as text
    /// too would say it twice.
    pub fn says(&mut self, event: &ChatEvent, text: &str) -> bool {
        let is_aloud = matches!(event, ChatEvent::Transcript { .. });
        self.has_text |= !is_aloud && !text.is_empty();
        let is_new = !(is_aloud && self.has_text);
        if is_new {
            self.said.push(text);
        }
        is_new
    }

    /// Takes a piece of a call; a known index continues its call unless it brings another id with
    /// a name.
    pub fn call(&mut self, index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) {
        let id = id.filter(|id| !id.is_empty());
        let name = name.filter(|name| !name.is_empty());
        let begins = |call: &Call| {
            id.is_some() && call.id.is_some() && call.id.as_deref() != id && name.is_some()
        };
        let known = self.calls.iter_mut().rev().find(|call| call.index == index);
        if let Some(call) = known.filter(|call| !begins(call)) {
            call.id = call.id.take().or(id.map(str::to_owned));
            if call.name.is_empty() {
                call.name = name.unwrap_or_default().to_owned();
            }
            call.arguments.push_str(arguments);
            return;
        }
        self.calls.push(Call {
            index,
            id: id.map(str::to_owned),
            name: name.unwrap_or_default().to_owned(),
            arguments: arguments.to_owned(),
            signature: None,
        });
    }

    /// Keeps the signature of a call that waits; gives back any other.
    pub fn seal_call(&mut self, on: Sealed, signature: String) -> Option<String> {
        let Sealed::ToolCall(index) = on else { return Some(signature) };
        let call = self.calls.iter_mut().rev().find(|call| call.index == index);
        match call {
            Some(call) => {
                call.signature = Some(signature);
                None
            }
            None => Some(signature),
        }
    }

    /// The calls, which are whole now; or only those whose arguments show it.
    pub fn take_calls<'a>(&mut self, only_whole: bool) -> Vec<Part<'a>> {
        let is_whole = |call: &Call| !only_whole || is_object(&call.arguments);
        self.calls.drain(..).filter(is_whole).filter_map(Call::part).collect()
    }

    /// It ended.
    pub fn end(&mut self, reason: &str, stop: Option<Stop>) {
        let known = REASONS.iter().find(|known| **known == reason);
        let word = known.copied().unwrap_or(match stop {
            Some(Stop::Stop | Stop::ToolCalls) => "STOP",
            Some(Stop::Length) => "MAX_TOKENS",
            Some(Stop::ContentFilter) => "SAFETY",
            None => "OTHER",
        });
        self.ended = Some(Ended { blocked: block_reason(reason), word });
    }

    /// Why it ended; what ended without a word ended well.
    pub fn finish_reason(&self) -> &'static str {
        self.ended.as_ref().map_or("STOP", |ended| ended.word)
    }
}

impl Call {
    fn part<'a>(self) -> Option<Part<'a>> {
        // An object in one line stays as it is, to the digit.
        let is_good = is_object(&self.arguments) && !self.arguments.contains(['\n', '\r']);
        let text =
            if is_good { self.arguments } else { arguments::value(&self.arguments).to_string() };
        let args = RawValue::from_string(text).ok()?;
        let function_call = Some(FunctionCall { id: self.id, name: self.name, args });
        Some(Part { function_call, thought_signature: self.signature, ..Part::default() })
    }
}

fn is_object(text: &str) -> bool {
    let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    text.trim_start().starts_with('{') && is_json()
}

/// A whole answer in Gemini's pieces.
#[derive(Default)]
struct Whole<'a> {
    choice: Choice,
    parts: Vec<Slot<'a>>,
    tokens: Vec<TokenLogprob>,
}

/// A piece, or the place of a call that is gathered elsewhere.
enum Slot<'a> {
    Part(Part<'a>),
    Call,
}

/// Writes a whole body.
pub fn body(asked: &Asked, events: &[ChatEvent]) -> Bytes {
    let mut wholes: Vec<Whole<'_>> = Vec::new();
    let (mut id, mut model, mut usage) = (None, None, None);
    for event in events {
        match event {
            ChatEvent::Start { id: said, model: by, .. } => {
                (id, model) = (id.or(said.as_deref()), model.or(by.as_deref()));
            }
            ChatEvent::Usage(counts) => usage = Some(*counts),
            _ => take(&mut wholes, event),
        }
    }
    let (id, model) = (id.unwrap_or(&asked.id), model.unwrap_or(&asked.request.model));
    Bytes::from(written(wholes, usage, id, model))
}

fn written(mut wholes: Vec<Whole<'_>>, usage: Option<Usage>, id: &str, model: &str) -> Vec<u8> {
    let contents: Vec<Vec<Part<'_>>> = wholes.iter_mut().map(Whole::take_parts).collect();
    let blocked = wholes.iter().find_map(|whole| whole.choice.ended.as_ref()?.blocked.as_deref());
    let is_said =
        |whole: &Whole<'_>| whole.choice.ended.as_ref().is_none_or(|it| it.blocked.is_none());
    let mut candidates = Vec::new();
    for (whole, parts) in wholes.iter().zip(&contents).filter(|(whole, _)| is_said(whole)) {
        let tokens = Some(&whole.tokens).filter(|tokens| !tokens.is_empty());
        candidates.push(Candidate {
            content: Content::new(parts),
            finish_reason: Some(whole.choice.finish_reason()),
            index: whole.choice.index,
            logprobs_result: tokens.map(|tokens| Logprobs::new(tokens)),
            grounding_metadata: Grounding::new(&whole.choice.citations, &whole.choice.said),
        });
    }
    let chunk = Chunk {
        candidates: &candidates,
        prompt_feedback: blocked.map(|block_reason| PromptFeedback { block_reason }),
        usage_metadata: usage.as_ref().map(UsageOut::from),
        model_version: model,
        response_id: id,
    };
    // Strings and numbers are always JSON.
    serde_json::to_vec(&chunk).unwrap_or_default()
}

fn take<'a>(wholes: &mut Vec<Whole<'a>>, event: &'a ChatEvent) {
    match event {
        ChatEvent::Text { choice, text }
        | ChatEvent::Refusal { choice, text }
        | ChatEvent::Transcript { choice, text } => {
            let whole = find(wholes, *choice);
            if whole.choice.says(event, text) {
                whole.words(text, None);
            }
        }
        ChatEvent::Reasoning { choice, text } => find(wholes, *choice).words(text, Some(true)),
        ChatEvent::Media { choice, mime, data } => {
            let inline_data = Some(Blob { mime_type: mime, data });
            find(wholes, *choice).push(Part { inline_data, ..Part::default() });
        }
        ChatEvent::Seal { choice, on, seal } => {
            let whole = find(wholes, *choice);
            let signature = seal::write(seal, Maker::Gemini);
            if let Some(signature) = whole.choice.seal_call(*on, signature) {
                whole.seal(*on, signature);
            }
        }
        ChatEvent::ToolCall { choice, index, id, name, arguments } => {
            let whole = find(wholes, *choice);
            let before = whole.choice.calls.len();
            whole.choice.call(*index, id.as_deref(), name.as_deref(), arguments);
            if whole.choice.calls.len() > before {
                whole.parts.push(Slot::Call);
            }
        }
        ChatEvent::Citation { choice, citation } => {
            find(wholes, *choice).choice.citations.push(citation.clone());
        }
        ChatEvent::Logprobs { choice, tokens } => {
            find(wholes, *choice).tokens.extend_from_slice(tokens);
        }
        ChatEvent::Finish { choice, reason, stop } => {
            find(wholes, *choice).choice.end(reason, *stop);
        }
        ChatEvent::Start { .. }
        | ChatEvent::Usage(_)
        | ChatEvent::Other { .. }
        | ChatEvent::Embedding { .. }
        | ChatEvent::Error(_)
        | ChatEvent::Done => {}
    }
}

fn find<'a, 'b>(wholes: &'b mut Vec<Whole<'a>>, index: u32) -> &'b mut Whole<'a> {
    let at = match wholes.binary_search_by_key(&index, |whole| whole.choice.index) {
        Ok(at) => at,
        Err(at) => {
            let choice = Choice { index, ..Choice::default() };
            wholes.insert(at, Whole { choice, ..Whole::default() });
            at
        }
    };
    &mut wholes[at]
}

impl<'a> Whole<'a> {
    fn push(&mut self, part: Part<'a>) {
        self.parts.push(Slot::Part(part));
    }

    /// Words continue the last piece if it is of the same kind and not sealed.
    fn words(&mut self, more: &'a str, thought: Option<bool>) {
        if let Some(Slot::Part(Part {
            text: Some(text),
            thought: last,
            thought_signature: None,
            ..
        })) = self.parts.last_mut()
            && *last == thought
        {
            text.to_mut().push_str(more);
        } else {
            self.push(Part { text: Some(Cow::Borrowed(more)), thought, ..Part::default() });
        }
    }

    /// A signature stands on the words it belongs to; hidden thoughts have none.
    fn seal(&mut self, on: Sealed, signature: String) {
        let thought = (on == Sealed::Reasoning).then_some(true);
        if let Some(Slot::Part(Part { text: Some(_), thought: last, thought_signature, .. })) =
            self.parts.last_mut()
            && *last == thought
            && thought_signature.is_none()
            && on != Sealed::Hidden
        {
            *thought_signature = Some(signature);
            return;
        }
        let text = Some(Cow::Borrowed(""));
        self.push(Part { text, thought, thought_signature: Some(signature), ..Part::default() });
    }

    fn take_parts(&mut self) -> Vec<Part<'a>> {
        let mut calls = self.choice.take_calls(false).into_iter();
        let slots = self.parts.drain(..);
        slots
            .filter_map(|slot| match slot {
                Slot::Part(part) => Some(part),
                Slot::Call => calls.next(),
            })
            .collect()
    }
}
