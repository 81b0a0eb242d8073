//! Reads streams and bodies: what an event, a finished item or the final response adds to what has
//! been said becomes chat events, each word exactly once.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::ProviderError;
use crate::chat::Stop;
use crate::wire::Decode;
use crate::wire::openai::failure::MALFORMED;
use crate::wire::openai::text::Text;
use crate::wire::responses::event;
use crate::wire::responses::event::Event;
use crate::wire::responses::event::IncompleteDetails;
use crate::wire::responses::event::Item;
use crate::wire::responses::event::Response;
use crate::wire::responses::failure;
use crate::wire::responses::slot::Channel;
use crate::wire::responses::slot::Kind;
use crate::wire::responses::slot::Slots;
use crate::wire::sse;

/// A decoder of one stream, or of one body.
#[derive(Default)]
pub struct Decoder {
    slots: Slots,
    has_started: bool,
    has_failed: bool,
    is_over: bool,
}

impl Decode for Decoder {
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>) {
        if event.data.trim() == "[DONE]" {
            self.done(out);
            return;
        }
        match serde_json::from_str::<Event<'_>>(&event.data) {
            Ok(read) => {
                let kind = if read.kind.is_empty() { &event.name } else { &*read.kind.text };
                self.event(kind, &read, &event.data, out);
            }
            Err(error) => self.fail(not_json(&error), out),
        }
    }
}

/// Reads a whole body.
pub fn body(json: &str) -> Vec<ChatEvent> {
    let mut out = Vec::new();
    let mut decoder = Decoder::default();
    match serde_json::from_str::<Response<'_>>(json) {
        Ok(response) if response.output.is_some() || !response.status.is_empty() => {
            decoder.end(&response, "", &mut out);
        }
        Ok(_) => {
            let value: Value = serde_json::from_str(json).unwrap_or_default();
            decoder.fail(failure::read(&value), &mut out);
        }
        Err(error) => {
            let value = serde_json::from_str::<Value>(json);
            let failure = value.map_or_else(|_| not_json(&error), |value| failure::read(&value));
            decoder.fail(failure, &mut out);
        }
    }
    out
}

fn not_json(error: &serde_json::Error) -> ProviderError {
    ProviderError {
        kind: Some(MALFORMED.to_owned()),
        message: format!("not JSON: line {} column {}", error.line(), error.column()),
        ..ProviderError::default()
    }
}

impl Decoder {
    fn event(&mut self, kind: &str, event: &Event<'_>, json: &str, out: &mut Vec<ChatEvent>) {
        let kind = kind.strip_prefix("response.").unwrap_or(kind);
        match kind {
            "output_text.delta" => {
                let at = self.say(Kind::Message, Channel::Text, event, out);
                let tokens = event::logprobs(event.logprobs);
                self.slots.more_logprobs(at, event.content_index, tokens, out);
            }
            "refusal.delta" => drop(self.say(Kind::Message, Channel::Refusal, event, out)),
            "reasoning_summary_text.delta" => {
                self.say(Kind::Reasoning, Channel::Summary, event, out);
            }
            "reasoning_text.delta" => drop(self.say(Kind::Reasoning, Channel::Thought, event, out)),
            "function_call_arguments.delta" => {
                self.say(Kind::Call, Channel::Arguments, event, out);
            }
            "custom_tool_call_input.delta" => {
                self.say(Kind::Custom, Channel::Arguments, event, out);
            }
            "audio.transcript.delta" if !event.delta.is_empty() => {
                let text = event.delta.text.to_string();
                out.push(ChatEvent::Transcript { choice: 0, text });
            }
            "created" | "in_progress" | "queued" => {
                if let Some(response) = event::object::<Response<'_>>(event.response) {
                    self.start(&response, out);
                }
            }
            "completed" | "incomplete" | "failed" | "cancelled" => {
                match event::object::<Response<'_>>(event.response) {
                    Some(response) => self.end(&response, kind, out),
                    None => self.finish(kind, "", None, out),
                }
            }
            "output_item.added" | "output_item.done" => {
                if let Some(item) = event::object::<Item<'_>>(event.item) {
                    let is_done = kind == "output_item.done";
                    let at = self.slots.of_item(event.output_index.0, &item, is_done);
                    self.slots.item(at, &item, is_done, out);
                }
            }
            "error" => self.fail(failure::of_event(json), out),
            "" if event.error.is_some() => self.fail(failure::of_event(json), out),
            _ => self.completed_piece(kind, event, out),
        }
    }

    /// Events that repeat a piece as a whole.
    fn completed_piece(&mut self, kind: &str, event: &Event<'_>, out: &mut Vec<ChatEvent>) {
        match kind {
            "output_text.done" => {
                let at = self.rest(Kind::Message, Channel::Text, event, &event.text.text, out);
                let all = event::logprobs(event.logprobs);
                self.slots.all_logprobs(at, event.content_index, all, out);
            }
            "refusal.done" => {
                self.rest(Kind::Message, Channel::Refusal, event, &event.refusal.text, out);
            }
            "reasoning_summary_text.done" => {
                self.rest(Kind::Reasoning, Channel::Summary, event, &event.text.text, out);
            }
            "reasoning_text.done" => {
                self.rest(Kind::Reasoning, Channel::Thought, event, &event.text.text, out);
            }
            "function_call_arguments.done" => {
                let at = self.slot(Kind::Call, event);
                self.slots.name(at, "", &event.name.text, out);
                let all = event::arguments(event.arguments);
                self.slots.rest(at, Channel::Arguments, 0, &all, out);
            }
            "custom_tool_call_input.done" => {
                self.rest(Kind::Custom, Channel::Arguments, event, &event.input.text, out);
            }
            "content_part.added" | "content_part.done" => {
                if let Some(part) = event::object(event.part) {
                    let at = self.slots.of_part(event, &part);
                    let index = event.content_index;
                    self.slots.part(at, index, &part, kind == "content_part.done", out);
                }
            }
            "reasoning_summary_part.added" | "reasoning_summary_part.done" => {
                if let Some(part) = event::object::<event::Part<'_>>(event.part) {
                    self.rest(Kind::Reasoning, Channel::Summary, event, &part.text.text, out);
                }
            }
            "output_text.annotation.added" => {
                let at = self.slot(Kind::Message, event);
                if let Some(annotation) = event::object(event.annotation) {
                    self.slots.citation(at, event.content_index, &annotation, out);
                }
            }
            // Progress of tools that the provider runs, whose items tell of them.
            _ => {}
        }
    }

    fn slot(&mut self, kind: Kind, event: &Event<'_>) -> usize {
        self.slots.open(event.output_index.0, &event.item_id.text, kind)
    }

    fn say(
        &mut self,
        kind: Kind,
        channel: Channel,
        event: &Event<'_>,
        out: &mut Vec<ChatEvent>,
    ) -> usize {
        let slot = self.slot(kind, event);
        self.slots.say(slot, channel, index(channel, event), &event.delta.text, out);
        slot
    }

    fn rest(
        &mut self,
        kind: Kind,
        channel: Channel,
        event: &Event<'_>,
        all: &str,
        out: &mut Vec<ChatEvent>,
    ) -> usize {
        let slot = self.slot(kind, event);
        self.slots.rest(slot, channel, index(channel, event), all, out);
        slot
    }

    fn start(&mut self, response: &Response<'_>, out: &mut Vec<ChatEvent>) {
        if self.has_started || (response.id.is_empty() && response.model.is_empty()) {
            return;
        }
        self.has_started = true;
        let word = |text: &Text<'_>| (!text.is_empty()).then(|| text.text.to_string());
        out.push(ChatEvent::Start {
            id: word(&response.id),
            model: word(&response.model),
            fingerprint: None,
        });
    }

    /// The final response, of a stream or as a body; `by_event` is the status its event implies.
    fn end(&mut self, response: &Response<'_>, by_event: &str, out: &mut Vec<ChatEvent>) {
        if self.is_over {
            return;
        }
        self.start(response, out);
        let items: Vec<Item<'_>> = event::list(response.output);
        self.slots.finally(&items, out);
        if let Some(usage) = event::usage(response.usage) {
            out.push(ChatEvent::Usage(usage));
        }
        let said = if response.status.is_empty() { by_event } else { &*response.status.text };
        // Servers that leave the status out have still sent a whole body.
        let status = if said.is_empty() { "completed" } else { said };
        let details: Option<IncompleteDetails<'_>> = event::object(response.incomplete_details);
        let reason = details.map(|details| details.reason.text).unwrap_or_default();
        self.finish(status, &reason, response.error, out);
    }

    fn finish(
        &mut self,
        status: &str,
        reason: &str,
        error: Option<&RawValue>,
        out: &mut Vec<ChatEvent>,
    ) {
        if self.is_over {
            return;
        }
        self.slots.let_go(out);
        let why = if status == "incomplete" && !reason.is_empty() { reason } else { status };
        let stop = match why {
            "completed" if self.slots.has_calls() => Some(Stop::ToolCalls),
            "completed" => Some(Stop::Stop),
            "max_output_tokens" => Some(Stop::Length),
            "content_filter" => Some(Stop::ContentFilter),
            _ => None,
        };
        out.push(ChatEvent::Finish { choice: 0, reason: why.to_owned(), stop });
        if status == "failed" || error.is_some() {
            let value = error.and_then(|error| serde_json::from_str(error.get()).ok());
            self.fail(failure::read(&value.unwrap_or(Value::Null)), out);
            self.is_over = true;
        } else {
            self.done(out);
        }
    }

    fn done(&mut self, out: &mut Vec<ChatEvent>) {
        if !self.is_over && !self.has_failed {
            self.slots.let_go(out);
            out.push(ChatEvent::Done);
        }
        self.is_over = true;
    }

    /// OpenAI tells a failure twice: in an event of its own and in the final response.
    fn fail(&mut self, error: ProviderError, out: &mut Vec<ChatEvent>) {
        if !self.has_failed && !self.is_over {
            out.push(ChatEvent::Error(error));
        }
        self.has_failed = true;
    }
}

/// Which part of its item an event speaks of.
fn index(channel: Channel, event: &Event<'_>) -> u64 {
    let number = match channel {
        Channel::Summary => event.summary_index,
        Channel::Text | Channel::Refusal | Channel::Thought => event.content_index,
        Channel::Arguments => return 0,
    };
    number.0.unwrap_or(0)
}

/// The words of a content that is a bare string instead of a list of parts.
pub fn bare(content: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let raw = content.map(RawValue::get).filter(|raw| raw.starts_with('"'))?;
    serde_json::from_str::<Text<'_>>(raw).ok().map(|text| text.text)
}
