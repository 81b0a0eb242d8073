//! Answers as chat completion streams.

pub mod body;
mod call;
mod shape;

use std::sync::Arc;

use serde::Serialize;

use crate::chat::ChatEvent;
use crate::chat::Citation;
use crate::chat::Seal;
use crate::chat::Sealed;
use crate::chat::Stop;
use crate::chat::Usage;
use crate::chat::request::Request;
use crate::wire::Asked;
use crate::wire::Encode;
use crate::wire::openai::chunk;
use crate::wire::openai::detail::DetailOut;
use crate::wire::openai::encode::call::Calls;
use crate::wire::openai::encode::call::Place;
use crate::wire::openai::encode::shape::AnnotationOut;
use crate::wire::openai::encode::shape::AudioOut;
use crate::wire::openai::encode::shape::Delta;
use crate::wire::openai::encode::shape::ImageOut;
use crate::wire::openai::failure;
use crate::wire::openai::json_into;
use crate::wire::openai::usage::LogprobsOut;
use crate::wire::openai::usage::UsageOut;

/// The writer of one stream.
pub struct Encoder {
    request: Arc<Request>,
    id: String,
    model: String,
    asked_id: String,
    created_s: i64,
    /// Up to where the index of the choice stands: the same in every chunk, so written once.
    head: Vec<u8>,
    choices: Vec<Open>,
    usage: Option<Usage>,
    is_over: bool,
}

/// What has been said of one choice.
#[derive(Default)]
struct Open {
    index: u32,
    calls: Calls,
    /// Reasoning that no seal has ended.
    thought: String,
    /// How many entries `reasoning_details` has; the SDK adds entries up by their numbers, and so
    /// with the lists below.
    sealed: u32,
    annotations: u32,
    images: u32,
    /// The sound has its id, which must come once: the SDK puts strings together.
    has_sound: bool,
    finish: Option<(String, Option<Stop>)>,
}

impl Encoder {
    /// Before the first event.
    pub fn new(asked: &Asked) -> Self {
        Self {
            request: Arc::clone(&asked.request),
            id: String::new(),
            model: String::new(),
            asked_id: asked.id.clone(),
            created_s: asked.created_s,
            head: Vec::new(),
            choices: Vec::new(),
            usage: None,
            is_over: false,
        }
    }

    /// The first id and model count, until something was written under others.
    fn start(&mut self, id: Option<&String>, model: Option<&String>) {
        if self.head.is_empty() {
            let keep = |known: &mut String, said: Option<&String>| {
                if known.is_empty() {
                    said.into_iter().for_each(|said| known.clone_from(said));
                }
            };
            keep(&mut self.id, id);
            keep(&mut self.model, model);
        }
    }

    fn write_head(&mut self) {
        if self.id.is_empty() {
            self.id = format!("chatcmpl-{}", self.asked_id);
        }
        if self.model.is_empty() {
            self.model.clone_from(&self.request.model);
        }
        self.head.extend_from_slice(b"data: {\"id\":");
        json_into(&self.id, &mut self.head);
        self.head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        json_into(&self.created_s, &mut self.head);
        self.head.extend_from_slice(b",\"model\":");
        json_into(&self.model, &mut self.head);
        self.head.extend_from_slice(b",\"choices\":[");
    }

    /// One chunk: a delta, and what stands beside it.
    fn chunk(
        &mut self,
        choice: u32,
        delta: &impl Serialize,
        finish: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        self.chunk_with(choice, delta, None, finish, out);
    }

    fn chunk_with(
        &mut self,
        choice: u32,
        delta: &impl Serialize,
        logprobs: Option<&LogprobsOut<'_>>,
        finish: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        if self.head.is_empty() {
            self.write_head();
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        json_into(&choice, out);
        out.extend_from_slice(b",\"delta\":");
        json_into(delta, out);
        if let Some(logprobs) = logprobs {
            out.extend_from_slice(b",\"logprobs\":");
            json_into(logprobs, out);
        }
        out.extend_from_slice(b",\"finish_reason\":");
        json_into(&finish, out);
        out.extend_from_slice(b"}]}\n\n");
    }

    /// Nearly all chunks are words, so these are written without looking for anything else.
    fn words(&mut self, choice: u32, field: &[u8], text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        json_into(&choice, out);
        out.extend_from_slice(field);
        json_into(&text, out);
        out.extend_from_slice(b"},\"finish_reason\":null}]}\n\n");
    }

    /// Where the choice is in `choices`; a new one begins by saying who speaks.
    fn at(&mut self, choice: u32, out: &mut Vec<u8>) -> usize {
        if let Some(at) = self.choices.iter().position(|open| open.index == choice) {
            return at;
        }
        self.choices.push(Open { index: choice, ..Open::default() });
        let delta = Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
        self.chunk(choice, &delta, None, out);
        self.choices.len() - 1
    }

    fn open(&mut self, choice: u32, out: &mut Vec<u8>) -> Option<&mut Open> {
        let at = self.at(choice, out);
        self.choices.get_mut(at)
    }

    fn delta(&mut self, choice: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        self.at(choice, out);
        self.chunk(choice, delta, None, out);
    }

    fn tool_call(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        let ChatEvent::ToolCall { choice, index, id, name, arguments } = event else { return };
        let is_old = body::wants_functions(&self.request);
        let asked_id = self.asked_id.clone();
        let Some(open) = self.open(*choice, out) else { return };
        let place = open.calls.take(*index, id.as_deref(), name.as_deref(), arguments);
        if is_old {
            // The old form knows one call.
            if place.at == 0 {
                let function = shape::FunctionOut { name: place.name, arguments };
                self.delta(*choice, &Delta::function_call(function), out);
            }
            return;
        }
        let made_up;
        let id = match (place.is_new, id.as_deref().filter(|id| !id.is_empty())) {
            (false, _) => None,
            (true, Some(id)) => Some(id),
            (true, None) => {
                made_up = call::made_up_id(&asked_id, *choice, place.at);
                Some(made_up.as_str())
            }
        };
        let call = shape::CallOut::piece(&place, id, arguments);
        self.delta(*choice, &Delta::tool_call(&[call]), out);
    }

    fn seal(&mut self, choice: u32, on: Sealed, seal: &Seal, out: &mut Vec<u8>) {
        let is_old = body::wants_functions(&self.request);
        let Some(open) = self.open(choice, out) else { return };
        if let Sealed::ToolCall(index) = on
            && let Some(at) = open.calls.find(index).filter(|_| !is_old)
        {
            let call = shape::CallOut::sealed(at, seal);
            return self.delta(choice, &Delta::tool_call(&[call]), out);
        }
        let index = open.sealed;
        let words = match on {
            Sealed::Reasoning => std::mem::take(&mut open.thought),
            Sealed::Hidden | Sealed::Text | Sealed::ToolCall(_) => String::new(),
        };
        let details = match on {
            Sealed::Reasoning => DetailOut::signed(&words, seal, index),
            _ => vec![DetailOut::hidden(seal, None, index)],
        };
        if let Some(open) = self.open(choice, out) {
            open.sealed = open.sealed.saturating_add(count(&details));
        }
        self.delta(choice, &Delta { reasoning_details: Some(&details), ..Delta::default() }, out);
    }

    /// Closes everything, in the order that OpenAI does.
    fn done(&mut self, out: &mut Vec<u8>) {
        if self.choices.is_empty() {
            self.at(0, out);
        }
        let is_old = body::wants_functions(&self.request);
        for open in std::mem::take(&mut self.choices) {
            for at in open.calls.without_arguments().filter(|at| !is_old || *at == 0) {
                if is_old {
                    let function = shape::FunctionOut { name: None, arguments: "{}" };
                    self.chunk(open.index, &Delta::function_call(function), None, out);
                } else {
                    let place = Place { at, is_new: false, name: None };
                    let call = shape::CallOut::piece(&place, None, "{}");
                    self.chunk(open.index, &Delta::tool_call(&[call]), None, out);
                }
            }
            let reason = open.finish.as_ref().map_or("", |(reason, _)| reason);
            let stop = open.finish.as_ref().and_then(|(_, stop)| *stop);
            let word = finish_word(reason, stop, !open.calls.is_empty(), is_old);
            self.chunk(open.index, &Delta::default(), Some(word), out);
        }
        if let Some(usage) = self.usage.filter(|_| self.request.stream_usage) {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            json_into(&UsageOut::of(&usage), out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn media(&mut self, choice: u32, mime: &str, data: &str, out: &mut Vec<u8>) {
        if mime.starts_with("audio/") {
            let audio = AudioOut { data: Some(data), ..self.sound(choice, out) };
            return self.delta(choice, &Delta { audio: Some(audio), ..Delta::default() }, out);
        }
        let Some(open) = self.open(choice, out) else { return };
        let index = open.images;
        open.images = index.saturating_add(1);
        let images = [ImageOut::of(mime, data, Some(index))];
        self.delta(choice, &Delta { images: Some(&images), ..Delta::default() }, out);
    }

    /// A piece of the sound, which only the first gives an id.
    fn sound<'a>(&mut self, choice: u32, out: &mut Vec<u8>) -> AudioOut<'a> {
        let has_id =
            self.open(choice, out).is_some_and(|open| std::mem::replace(&mut open.has_sound, true));
        if has_id { AudioOut::default() } else { AudioOut::piece(&self.asked_id) }
    }

    fn citation(&mut self, choice: u32, citation: &Citation, out: &mut Vec<u8>) {
        let Some(open) = self.open(choice, out) else { return };
        let index = open.annotations;
        open.annotations = index.saturating_add(1);
        let annotations = [AnnotationOut::of(citation, Some(index))];
        let delta = Delta { annotations: Some(&annotations), ..Delta::default() };
        self.delta(choice, &delta, out);
    }

    fn beside(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Refusal { choice, text } => {
                self.delta(*choice, &Delta { refusal: Some(text), ..Delta::default() }, out);
            }
            ChatEvent::Transcript { choice, text } => {
                let audio = AudioOut { transcript: Some(text), ..self.sound(*choice, out) };
                self.delta(*choice, &Delta { audio: Some(audio), ..Delta::default() }, out);
            }
            ChatEvent::Citation { choice, citation } => self.citation(*choice, citation, out),
            ChatEvent::Media { choice, mime, data } => self.media(*choice, mime, data, out),
            ChatEvent::Seal { choice, on, seal } => self.seal(*choice, *on, seal, out),
            ChatEvent::Logprobs { choice, tokens } => {
                self.at(*choice, out);
                let logprobs = LogprobsOut::of(tokens);
                self.chunk_with(*choice, &Delta::default(), Some(&logprobs), None, out);
            }
            ChatEvent::ToolCall { .. } => self.tool_call(event, out),
            // What the provider did besides has no place here, and vectors are no chat.
            _ => {}
        }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        match event {
            ChatEvent::Start { id, model, .. } => self.start(id.as_ref(), model.as_ref()),
            ChatEvent::Text { choice, text } => {
                self.at(*choice, out);
                self.words(*choice, b",\"delta\":{\"content\":", text, out);
            }
            ChatEvent::Reasoning { choice, text } => {
                if let Some(open) = self.open(*choice, out) {
                    open.thought.push_str(text);
                }
                self.words(*choice, b",\"delta\":{\"reasoning_content\":", text, out);
            }
            ChatEvent::Finish { choice, reason, stop } => {
                if let Some(open) = self.open(*choice, out) {
                    open.finish = Some((reason.clone(), *stop));
                }
            }
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
            ChatEvent::Error(error) => {
                out.extend_from_slice(b"data: ");
                failure::write(500, error, out);
                out.extend_from_slice(b"\n\n");
                self.is_over = true;
            }
            ChatEvent::Done => {
                self.done(out);
                self.is_over = true;
            }
            other => self.beside(other, out),
        }
    }
}

/// As many as there can be numbers for.
fn count<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

/// The provider's own word where it is one of this dialect's, else the nearest.
fn finish_word(reason: &str, stop: Option<Stop>, has_calls: bool, is_old: bool) -> &'static str {
    match stop.or_else(|| chunk::stop(reason)) {
        Some(Stop::ToolCalls) if is_old => "function_call",
        Some(stop) => stop.as_str(),
        None if has_calls && is_old => "function_call",
        None if has_calls => "tool_calls",
        None => "stop",
    }
}
