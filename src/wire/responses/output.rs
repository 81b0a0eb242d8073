//! The output of an answer as it grows, and the events that tell of each step.

mod call;

use crate::chat::Citation;
use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::TokenLogprob;
use crate::chat::request::Request;
use crate::chat::request::Tool;
use crate::wire::responses::answer::Annotation;
use crate::wire::responses::answer::Event;
use crate::wire::responses::answer::Item;
use crate::wire::responses::answer::Part;
use crate::wire::responses::answer::Piece;
use crate::wire::responses::answer::Summary;
use crate::wire::responses::sealed;
use crate::wire::responses::tell::Tell;

/// A call of a tool: the provider's number of it, and where it stands.
struct Call {
    index: u32,
    at: usize,
    is_unnamed: bool,
}

/// Every item, and which of them is being spoken.
pub struct Output {
    prefix: String,
    items: Vec<Item>,
    /// The message or the reasoning that grows; calls grow beside it.
    speaking: Option<usize>,
    calls: Vec<Call>,
    /// Characters of text before the current part.
    chars_before: u64,
    chars: u64,
    /// Sources named before any word was said.
    early: Vec<Citation>,
    /// Tools that take plain text.
    custom: Vec<String>,
}

impl Output {
    /// Nothing said yet.
    pub fn new(prefix: &str, request: &Request) -> Self {
        let custom = request.tools.iter().filter_map(|tool| match tool {
            Tool::Own(own) if own.get("type")? == "custom" => {
                own.get("name")?.as_str().map(str::to_owned)
            }
            _ => None,
        });
        Self {
            prefix: prefix.to_owned(),
            items: Vec::new(),
            speaking: None,
            calls: Vec::new(),
            chars_before: 0,
            early: Vec::new(),
            chars: 0,
            custom: custom.collect(),
        }
    }

    /// Every item so far.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    fn id(&self, kind: &str) -> String {
        format!("{kind}_{}_{}", self.prefix, self.items.len())
    }

    fn add(&mut self, item: Item, tell: &mut Tell, out: &mut Vec<u8>) -> usize {
        let at = self.items.len();
        let event = Event { output_index: Some(at), item: Some(&item), ..Event::default() };
        tell.event("response.output_item.added", event, out);
        self.items.push(item);
        at
    }

    /// A piece of text.
    pub fn text(&mut self, text: &str, tell: &mut Tell, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let new =
            || Part::Text { text: String::new(), annotations: Vec::new(), logprobs: Vec::new() };
        let is_same = |part: &Part| matches!(part, Part::Text { .. });
        let at = self.part(new, is_same, tell, out);
        self.chars += text.chars().count() as u64;
        let Some(Item::Message { id, content, .. }) = self.items.get_mut(at) else { return };
        let content_index = content.len().saturating_sub(1);
        if let Some(Part::Text { text: all, .. }) = content.last_mut() {
            all.push_str(text);
        }
        let event = Event {
            item_id: Some(id),
            output_index: Some(at),
            content_index: Some(content_index),
            delta: Some(text),
            logprobs: Some(&[]),
            ..Event::default()
        };
        tell.event("response.output_text.delta", event, out);
        for citation in std::mem::take(&mut self.early) {
            self.citation(&citation, tell, out);
        }
    }

    /// A piece of a refusal.
    pub fn refusal(&mut self, text: &str, tell: &mut Tell, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let new = || Part::Refusal { refusal: String::new() };
        let is_same = |part: &Part| matches!(part, Part::Refusal { .. });
        let at = self.part(new, is_same, tell, out);
        let Some(Item::Message { id, content, .. }) = self.items.get_mut(at) else { return };
        let content_index = content.len().saturating_sub(1);
        if let Some(Part::Refusal { refusal }) = content.last_mut() {
            refusal.push_str(text);
        }
        let event = Event {
            item_id: Some(id),
            output_index: Some(at),
            content_index: Some(content_index),
            delta: Some(text),
            ..Event::default()
        };
        tell.event("response.refusal.delta", event, out);
    }

    /// The message being spoken, whose last part is of the kind that is wanted.
    fn part(
        &mut self,
        new: impl Fn() -> Part,
        is_same: impl Fn(&Part) -> bool,
        tell: &mut Tell,
        out: &mut Vec<u8>,
    ) -> usize {
        let is_message = |item: &Item| matches!(item, Item::Message { .. });
        let open = self.speaking.filter(|at| self.items.get(*at).is_some_and(is_message));
        let at = open.unwrap_or_else(|| {
            self.quiet(tell, out);
            let (id, content) = (self.id("msg"), Vec::new());
            let (status, role) = ("in_progress", "assistant");
            self.add(Item::Message { id, status, role, content }, tell, out)
        });
        self.speaking = Some(at);
        let Some(Item::Message { id, content, .. }) = self.items.get_mut(at) else { return at };
        if !content.last().is_some_and(is_same) {
            part_done(id, at, content, tell, out);
            content.push(new());
            self.chars_before = self.chars;
            let event = Event {
                item_id: Some(id),
                output_index: Some(at),
                content_index: Some(content.len() - 1),
                part: content.last().map(Piece::Part),
                ..Event::default()
            };
            tell.event("response.content_part.added", event, out);
        }
        at
    }

    /// A piece of reasoning, shown as its summary.
    pub fn reasoning(&mut self, text: &str, tell: &mut Tell, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let is_reasoning = |item: &Item| matches!(item, Item::Reasoning { .. });
        let open = self.speaking.filter(|at| self.items.get(*at).is_some_and(is_reasoning));
        let at = open.unwrap_or_else(|| {
            self.quiet(tell, out);
            let item =
                Item::Reasoning { id: self.id("rs"), summary: Vec::new(), encrypted_content: None };
            self.add(item, tell, out)
        });
        self.speaking = Some(at);
        let Some(Item::Reasoning { id, summary, .. }) = self.items.get_mut(at) else { return };
        let place = || Event {
            item_id: Some(id),
            output_index: Some(at),
            summary_index: Some(0),
            ..Event::default()
        };
        if summary.is_empty() {
            summary.push(Summary { text: String::new() });
            let part = summary.first().map(Piece::Summary);
            tell.event("response.reasoning_summary_part.added", Event { part, ..place() }, out);
        }
        if let Some(summary) = summary.first_mut() {
            summary.text.push_str(text);
        }
        let event = Event { delta: Some(text), ..place() };
        tell.event("response.reasoning_summary_text.delta", event, out);
    }

    /// Ends the reasoning with what its maker wants back.
    pub fn seal_reasoning(&mut self, seal: &Seal, tell: &mut Tell, out: &mut Vec<u8>) {
        let open = self.speaking.and_then(|at| self.items.get_mut(at));
        match open {
            Some(Item::Reasoning { id, encrypted_content, .. }) => {
                *encrypted_content = Some(sealed::encrypted(seal, id));
                self.quiet(tell, out);
            }
            _ => self.seal_alone(seal, None, tell, out),
        }
    }

    /// An item that holds nothing but a seal, of hidden reasoning or of a call.
    pub fn seal_alone(
        &mut self,
        seal: &Seal,
        of_call: Option<u32>,
        tell: &mut Tell,
        out: &mut Vec<u8>,
    ) {
        let call = of_call.and_then(|index| self.calls.iter().rev().find(|c| c.index == index));
        let call_id = call.and_then(|call| match self.items.get(call.at) {
            Some(Item::Call { call_id, .. } | Item::Custom { call_id, .. }) => Some(call_id),
            _ => None,
        });
        let own = sealed::open(&seal.data).filter(|_| seal.by == Maker::OpenAi);
        let own = own.map(|own| own.id).filter(|id| !id.is_empty());
        let for_call = call_id.map(|id| sealed::id_for_call(id));
        let id = for_call.or(own).unwrap_or_else(|| self.id("rs"));
        let encrypted_content = Some(sealed::encrypted(seal, &id));
        if call_id.is_none() {
            self.quiet(tell, out);
        }
        let item = Item::Reasoning { id, summary: Vec::new(), encrypted_content };
        let at = self.add(item, tell, out);
        self.item_done(at, "completed", tell, out);
    }

    /// A source of what was said last.
    pub fn citation(&mut self, citation: &Citation, tell: &mut Tell, out: &mut Vec<u8>) {
        let last = self.items.iter_mut().enumerate().rev().find_map(|(at, item)| match item {
            Item::Message { id, content, .. } => Some((at, id, content)),
            _ => None,
        });
        let Some((at, id, content)) = last else {
            // Some servers name the sources first.
            return self.early.push(citation.clone());
        };
        let texts = content.iter_mut().enumerate().rev().find_map(|(index, part)| match part {
            Part::Text { annotations, .. } => Some((index, annotations)),
            Part::Refusal { .. } => None,
        });
        let Some((content_index, annotations)) = texts else { return };
        let end = self.chars - self.chars_before;
        annotations.push(annotation(citation, self.chars_before, end));
        let event = Event {
            item_id: Some(id),
            output_index: Some(at),
            content_index: Some(content_index),
            annotation_index: Some(annotations.len() - 1),
            annotation: annotations.last(),
            ..Event::default()
        };
        tell.event("response.output_text.annotation.added", event, out);
    }

    /// A picture; sound has no place here.
    pub fn media(&mut self, mime: &str, data: &str, tell: &mut Tell, out: &mut Vec<u8>) {
        let Some(format) = mime.strip_prefix("image/") else { return };
        let item = |status, result: &str, id| Item::Image {
            id,
            status,
            result: result.to_owned(),
            output_format: format.to_owned(),
        };
        let id = self.id("ig");
        let at = self.add(item("in_progress", "", id), tell, out);
        if let Some(Item::Image { result, .. }) = self.items.get_mut(at) {
            data.clone_into(result);
        }
        self.item_done(at, "completed", tell, out);
    }

    /// Log-probabilities come after their text; they are told when the text is done.
    pub fn logprobs(&mut self, tokens: &[TokenLogprob]) {
        let last = self.items.iter_mut().rev().find_map(|item| match item {
            Item::Message { content, .. } => content.last_mut(),
            _ => None,
        });
        if let Some(Part::Text { logprobs, .. }) = last {
            logprobs.extend_from_slice(tokens);
        }
    }

    /// Ends what is being spoken.
    fn quiet(&mut self, tell: &mut Tell, out: &mut Vec<u8>) {
        if let Some(at) = self.speaking.take() {
            self.item_done(at, "completed", tell, out);
        }
    }

    /// Ends everything; calls may have grown beside each other until now.
    pub fn close(&mut self, status: &'static str, tell: &mut Tell, out: &mut Vec<u8>) {
        if let Some(at) = self.speaking.take() {
            self.item_done(at, status, tell, out);
        }
        self.end_calls(status, tell, out);
    }

    fn item_done(&mut self, at: usize, status: &'static str, tell: &mut Tell, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(at) else { return };
        item.end(status);
        let place =
            || Event { item_id: Some(item.id()), output_index: Some(at), ..Event::default() };
        match &*item {
            Item::Message { id, content, .. } => part_done(id, at, content, tell, out),
            Item::Reasoning { summary, .. } => {
                if let Some(first) = summary.first() {
                    let summary_index = Some(0);
                    let text = Some(first.text.as_str());
                    let event = Event { summary_index, text, ..place() };
                    tell.event("response.reasoning_summary_text.done", event, out);
                    let part = Some(Piece::Summary(first));
                    let event = Event { summary_index, part, ..place() };
                    tell.event("response.reasoning_summary_part.done", event, out);
                }
            }
            Item::Call { name, arguments, .. } => {
                let event = Event { name: Some(name), arguments: Some(arguments), ..place() };
                tell.event("response.function_call_arguments.done", event, out);
            }
            Item::Custom { input, .. } => {
                let event = Event { input: Some(input), ..place() };
                tell.event("response.custom_tool_call_input.done", event, out);
            }
            Item::Image { .. } => {
                tell.event("response.image_generation_call.completed", place(), out);
            }
        }
        let event = Event { output_index: Some(at), item: Some(item), ..Event::default() };
        tell.event("response.output_item.done", event, out);
    }
}

/// Ends the last part of a message, if there is one.
fn part_done(id: &str, at: usize, content: &[Part], tell: &mut Tell, out: &mut Vec<u8>) {
    let Some(part) = content.last() else { return };
    let place = || Event {
        item_id: Some(id),
        output_index: Some(at),
        content_index: Some(content.len() - 1),
        ..Event::default()
    };
    match part {
        Part::Text { text, logprobs, .. } => {
            let event = Event { text: Some(text), logprobs: Some(logprobs), ..place() };
            tell.event("response.output_text.done", event, out);
        }
        Part::Refusal { refusal } => {
            let event = Event { refusal: Some(refusal), ..place() };
            tell.event("response.refusal.done", event, out);
        }
    }
    let event = Event { part: Some(Piece::Part(part)), ..place() };
    tell.event("response.content_part.done", event, out);
}

/// A source without a stretch of text stands, empty, where the text is just now.
fn annotation(citation: &Citation, before: u64, end: u64) -> Annotation {
    let title = citation.title.clone().unwrap_or_default();
    match &citation.url {
        Some(url) => {
            let within =
                |(from, to): (u64, u64)| Some((from.checked_sub(before)?, to.checked_sub(before)?));
            let (start_index, end_index) = citation.span.and_then(within).unwrap_or((end, end));
            Annotation::Url { url: url.clone(), title, start_index, end_index }
        }
        None => Annotation::File { file_id: String::new(), filename: title, index: end },
    }
}
