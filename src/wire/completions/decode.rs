//! Reads completions; a body and a chunk of a stream look the same.

use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;

use crate::chat::ChatEvent;
use crate::chat::TokenLogprob;
use crate::wire::Decode;
use crate::wire::openai::chunk::not_json;
use crate::wire::openai::chunk::stop;
use crate::wire::openai::failure::provider_error;
use crate::wire::openai::mend::mend;
use crate::wire::openai::text::Text;
use crate::wire::openai::usage::UNLIKELY;
use crate::wire::openai::usage::WireUsage;
use crate::wire::sse;

/// A decoder of a stream, in which nothing depends on what came before.
pub struct Decoder;

impl Decode for Decoder {
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>) {
        if event.data.trim() == "[DONE]" {
            out.push(ChatEvent::Done);
        } else {
            read(&event.data, out);
        }
    }
}

#[derive(Deserialize)]
struct Completion<'a> {
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
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default, borrow)]
    text: Text<'a>,
    #[serde(default, borrow)]
    finish_reason: Text<'a>,
    #[serde(default)]
    logprobs: Option<Value>,
}

/// Reads a body or a chunk; what does not parse becomes a provider error.
pub fn read(json: &str, out: &mut Vec<ChatEvent>) {
    if let Ok(completion) = serde_json::from_str::<Completion<'_>>(json) {
        return completion.events(json, out);
    }
    let mut value: Value = match serde_json::from_str(json) {
        Ok(value) => value,
        Err(error) => return out.push(ChatEvent::Error(not_json(&error))),
    };
    if let Value::Object(fields) = &mut value {
        mend(fields);
        let mended = value.to_string();
        if let Ok(completion) = serde_json::from_str::<Completion<'_>>(&mended) {
            return completion.events(&mended, out);
        }
    }
    out.push(ChatEvent::Error(provider_error(&value)));
}

impl Completion<'_> {
    fn events(self, json: &str, out: &mut Vec<ChatEvent>) {
        if !self.id.is_empty() || !self.model.is_empty() {
            let (id, model) = (self.id.some(), self.model.some());
            let fingerprint = self.system_fingerprint.some();
            out.push(ChatEvent::Start { id, model, fingerprint });
        }
        let is_error = self.error.is_some_and(|error| !error.is_null());
        if is_error || (self.choices.is_none() && self.usage.is_none()) {
            let value = serde_json::from_str(json).unwrap_or(Value::Null);
            out.push(ChatEvent::Error(provider_error(&value)));
        }
        for (at, choice) in (0..).zip(self.choices.unwrap_or_default()) {
            choice.events(at, out);
        }
        out.extend(self.usage.map(|usage| ChatEvent::Usage((*usage).into())));
    }
}

impl Choice<'_> {
    fn events(self, at: u32, out: &mut Vec<ChatEvent>) {
        let choice = self.index.unwrap_or(at);
        if let Some(text) = self.text.some() {
            out.push(ChatEvent::Text { choice, text });
        }
        let tokens = self.logprobs.as_ref().map(tokens).filter(|tokens| !tokens.is_empty());
        out.extend(tokens.map(|tokens| ChatEvent::Logprobs { choice, tokens }));
        if let Some(reason) = self.finish_reason.some() {
            let stop = stop(&reason);
            out.push(ChatEvent::Finish { choice, reason, stop });
        }
    }
}

/// The old shape: lists side by side; the first token of an echo has no probability.
fn tokens(logprobs: &Value) -> Vec<TokenLogprob> {
    let list = |key: &str| logprobs.get(key).and_then(Value::as_array);
    let (probabilities, tops) = (list("token_logprobs"), list("top_logprobs"));
    let names = list("tokens").into_iter().flatten().filter_map(Value::as_str).enumerate();
    let tokens = names.map(|(at, token)| {
        let logprob = probabilities.and_then(|list| list.get(at)?.as_f64()).unwrap_or(UNLIKELY);
        let top = tops.and_then(|list| list.get(at)?.as_object());
        let rival =
            |(token, of): (&String, &Value)| (token.clone(), of.as_f64().unwrap_or(UNLIKELY));
        let top = top.into_iter().flat_map(Map::iter).map(rival).collect();
        TokenLogprob { token: token.to_owned(), logprob, top }
    });
    tokens.collect()
}
