//! Answers and the events that they are made of, without what the rules match.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::Choice;
use crate::chat::Citation;
use crate::redact::Found;
use crate::redact::Redactor;
use crate::redact::spread;

/// Events whose texts are one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Channel {
    Text(u32),
    Reasoning(u32),
    Refusal(u32),
    Transcript(u32),
    /// Of a choice, by its index and how many calls of that index came before.
    ToolCall(u32, u32, u32),
}

impl Channel {
    fn choice(self) -> u32 {
        match self {
            Self::Text(choice)
            | Self::Reasoning(choice)
            | Self::Refusal(choice)
            | Self::Transcript(choice)
            | Self::ToolCall(choice, ..) => choice,
        }
    }
}

/// Tells apart tool calls that come under one index.
#[derive(Default)]
struct Calls(BTreeMap<(u32, u32), (u32, Option<String>)>);

impl Calls {
    fn channel(&mut self, event: &ChatEvent) -> Option<Channel> {
        Some(match event {
            ChatEvent::Text { choice, .. } => Channel::Text(*choice),
            ChatEvent::Reasoning { choice, .. } => Channel::Reasoning(*choice),
            ChatEvent::Refusal { choice, .. } => Channel::Refusal(*choice),
            ChatEvent::Transcript { choice, .. } => Channel::Transcript(*choice),
            ChatEvent::ToolCall { choice, index, id, name, .. } => {
                let (number, last) = self.0.entry((*choice, *index)).or_default();
                let id = id.as_ref().filter(|id| !id.is_empty());
                let is_named = name.as_ref().is_some_and(|name| !name.is_empty());
                // As the answer is put together.
                if id.is_some() && last.is_some() && last.as_ref() != id && is_named {
                    *number += 1;
                    *last = id.cloned();
                }
                *last = last.take().or_else(|| id.cloned());
                Channel::ToolCall(*choice, *index, *number)
            }
            _ => return None,
        })
    }
}

impl Redactor {
    /// An answer without what the rules match; `None` when they match nothing.
    pub fn answer(&self, answer: &Answer, found: &mut Found) -> Option<Answer> {
        let (before, mut edited) = (found.values().sum::<u64>(), answer.clone());
        for choice in &mut edited.choices {
            self.choice(choice, found);
        }
        if let Some(error) = &mut edited.error {
            self.replace(&mut error.message, found);
        }
        (found.values().sum::<u64>() > before).then_some(edited)
    }

    /// Edits the events of an answer, each with its time; false when nothing matches.
    ///
    /// A value that begins in one event and ends in another is replaced where it begins. Of a
    /// choice that is edited, the tokens go, and so do the places that its sources are for.
    pub fn events(&self, events: &mut Vec<(u64, ChatEvent)>, found: &mut Found) -> bool {
        let before = found.values().sum::<u64>();
        let mut channels: BTreeMap<Channel, Vec<usize>> = BTreeMap::new();
        let mut calls = Calls::default();
        for (at, (_, event)) in events.iter().enumerate() {
            if let Some(channel) = calls.channel(event) {
                channels.entry(channel).or_default().push(at);
            }
        }
        let mut changed = BTreeSet::new();
        for (channel, places) in channels {
            let pieces: Vec<Cow<'_, str>> = places
                .iter()
                .filter_map(|at| events.get(*at).and_then(|(_, event)| words(event)))
                .map(Cow::Borrowed)
                .collect();
            let edits = self.edits(&pieces.concat(), found);
            if edits.is_empty() {
                continue;
            }
            changed.insert(channel.choice());
            for (at, text) in places.into_iter().zip(spread(&pieces, &edits)) {
                if let Some(words) = events.get_mut(at).and_then(|(_, event)| words_mut(event)) {
                    *words = text;
                }
            }
        }
        for (_, event) in events.iter_mut() {
            match event {
                ChatEvent::Citation { choice, citation } => {
                    self.cite(citation, changed.contains(choice), found);
                }
                ChatEvent::Error(error) => self.replace(&mut error.message, found),
                ChatEvent::ToolCall { name: Some(name), .. } => self.replace(name, found),
                _ => {}
            }
        }
        let tells = |event: &ChatEvent| matches!(event, ChatEvent::Logprobs { choice, .. } if changed.contains(choice));
        events.retain(|(_, event)| !tells(event));
        found.values().sum::<u64>() > before
    }

    fn choice(&self, choice: &mut Choice, found: &mut Found) {
        let before = found.values().sum::<u64>();
        let Choice { text, reasoning, refusal, transcript, tool_calls, .. } = choice;
        for said in [text, reasoning, refusal, transcript] {
            self.replace(said, found);
        }
        for call in tool_calls {
            self.replace(&mut call.arguments, found);
            self.replace(&mut call.name, found);
        }
        let is_changed = found.values().sum::<u64>() > before;
        if is_changed {
            choice.logprobs.clear();
        }
        for citation in &mut choice.citations {
            self.cite(citation, is_changed, found);
        }
    }

    fn cite(&self, citation: &mut Citation, is_moved: bool, found: &mut Found) {
        let Citation { url, title, quote, span } = citation;
        for said in [url, title, quote].into_iter().flatten() {
            self.replace(said, found);
        }
        if is_moved {
            *span = None;
        }
    }

    fn replace(&self, text: &mut String, found: &mut Found) {
        if let Some(edited) = self.text(text, found) {
            *text = edited;
        }
    }
}

fn words(event: &ChatEvent) -> Option<&str> {
    match event {
        ChatEvent::Text { text, .. }
        | ChatEvent::Reasoning { text, .. }
        | ChatEvent::Refusal { text, .. }
        | ChatEvent::Transcript { text, .. }
        | ChatEvent::ToolCall { arguments: text, .. } => Some(text),
        _ => None,
    }
}

fn words_mut(event: &mut ChatEvent) -> Option<&mut String> {
    match event {
        ChatEvent::Text { text, .. }
        | ChatEvent::Reasoning { text, .. }
        | ChatEvent::Refusal { text, .. }
        | ChatEvent::Transcript { text, .. }
        | ChatEvent::ToolCall { arguments: text, .. } => Some(text),
        _ => None,
    }
}
