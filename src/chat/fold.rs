//! Puts events together into one answer, whatever pieces they came in.

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::Choice;
use crate::chat::ToolCall;

/// Collects events; the same for a stream and for a whole body.
#[derive(Debug, Default)]
pub struct Fold {
    answer: Answer,
}

impl Fold {
    /// Nothing folded yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event.
    pub fn push(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Start { id, model, fingerprint } => {
                self.answer.id = self.answer.id.take().or(id);
                self.answer.model = self.answer.model.take().or(model);
                self.answer.fingerprint = self.answer.fingerprint.take().or(fingerprint);
            }
            ChatEvent::Text { choice, text } => self.choice(choice).text.push_str(&text),
            ChatEvent::Reasoning { choice, text } => self.choice(choice).reasoning.push_str(&text),
            ChatEvent::Refusal { choice, text } => self.choice(choice).refusal.push_str(&text),
            ChatEvent::Transcript { choice, text } => {
                self.choice(choice).transcript.push_str(&text);
            }
            ChatEvent::ToolCall { choice, index, id, name, arguments } => {
                add_tool_call(self.choice(choice), index, id, name, &arguments);
            }
            ChatEvent::Logprobs { choice, tokens } => self.choice(choice).logprobs.extend(tokens),
            ChatEvent::Seal { choice, seal, .. } => self.choice(choice).seals.push(seal),
            ChatEvent::Citation { choice, citation } => {
                self.choice(choice).citations.push(citation);
            }
            ChatEvent::Media { choice, mime, data } => self.choice(choice).media.push((mime, data)),
            ChatEvent::Other { choice, kind } => self.choice(choice).others.push(kind),
            ChatEvent::Embedding { index, vector } => self.embedding(index, vector),
            ChatEvent::Finish { choice, reason, stop } => {
                let choice = self.choice(choice);
                choice.finish = Some(reason);
                choice.stop = stop;
            }
            ChatEvent::Usage(usage) => self.answer.usage = Some(usage),
            ChatEvent::Error(error) => {
                self.answer.error.get_or_insert(error);
            }
            ChatEvent::Done => self.answer.done = true,
        }
    }

    /// Lets go of everything that was said, and keeps how it ended.
    pub fn forget_words(&mut self) {
        for choice in &mut self.answer.choices {
            let (index, finish, stop) = (choice.index, choice.finish.take(), choice.stop);
            *choice = Choice { index, finish, stop, ..Choice::default() };
        }
    }

    /// The answer so far.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The answer, once nothing more will come.
    pub fn finish(self) -> Answer {
        self.answer
    }

    /// Vectors come in the order of their inputs; one that would leave a gap is put at the end.
    fn embedding(&mut self, index: u32, vector: Vec<f32>) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let vectors = &mut self.answer.embeddings;
        vectors.insert(at.min(vectors.len()), vector);
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let choices = &mut self.answer.choices;
        let at = match choices.binary_search_by_key(&index, |choice| choice.index) {
            Ok(at) => at,
            Err(at) => {
                choices.insert(at, Choice { index, ..Choice::default() });
                at
            }
        };
        &mut choices[at]
    }
}

/// A known index continues its call, unless it brings both another id and a name: some servers
/// send every parallel call under index 0, others a fresh id with each piece of one call.
fn add_tool_call(
    choice: &mut Choice,
    index: u32,
    id: Option<String>,
    name: Option<String>,
    arguments: &str,
) {
    let id = id.filter(|id| !id.is_empty());
    let name = name.filter(|name| !name.is_empty());
    let begins =
        |call: &ToolCall| id.is_some() && call.id.is_some() && call.id != id && name.is_some();
    let known = choice.tool_calls.iter_mut().rev().find(|call| call.index == index);
    match known {
        Some(call) if !begins(call) => {
            call.id = call.id.take().or(id);
            if call.name.is_empty() {
                call.name = name.unwrap_or_default();
            }
            call.arguments.push_str(arguments);
        }
        _ => choice.tool_calls.push(ToolCall {
            index,
            id,
            name: name.unwrap_or_default(),
            arguments: arguments.to_owned(),
        }),
    }
}
