//! The items of one answer and how much of each has been said, so that a repetition adds nothing.

use crate::chat::ChatEvent;
use crate::chat::Citation;
use crate::chat::Sealed;
use crate::chat::TokenLogprob;
use crate::wire::responses::decode;
use crate::wire::responses::event;
use crate::wire::responses::event::Annotation;
use crate::wire::responses::event::Event;
use crate::wire::responses::event::Item;
use crate::wire::responses::event::Number;
use crate::wire::responses::event::Part;
use crate::wire::responses::sealed;

/// More items than answers have; each is looked for among all, so what comes beyond is passed over.
const MAX_ITEMS: usize = 4096;

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Message,
    /// Thoughts.
    Reasoning,
    /// A call of one of the application's functions.
    Call,
    /// A call of one of the application's tools that takes plain text.
    Custom,
    /// Anything else, by its type.
    Other(String),
}

impl Kind {
    fn of(word: &str) -> Self {
        match word {
            "message" => Self::Message,
            "reasoning" => Self::Reasoning,
            "function_call" => Self::Call,
            "custom_tool_call" => Self::Custom,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What is said piece by piece within an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Text of a message.
    Text,
    /// A refusal.
    Refusal,
    /// A summary of reasoning.
    Summary,
    /// Reasoning itself.
    Thought,
    /// Arguments of a call.
    Arguments,
}

/// How much was said of one part.
struct Said {
    channel: Channel,
    at: u64,
    bytes: usize,
    /// Characters of the whole answer's text before this part.
    chars_before: u64,
    citations: usize,
    tokens: usize,
}

struct Slot {
    kind: Kind,
    index: Option<u64>,
    id: String,
    said: Vec<Said>,
    /// Which of the calls, for tools.
    call: u32,
    has_name: bool,
    /// Arguments that came before the call's name.
    held: String,
    is_told: bool,
    has_media: bool,
    has_words: bool,
    is_done: bool,
}

/// Every item so far.
#[derive(Default)]
pub struct Slots {
    slots: Vec<Slot>,
    calls: u32,
    chars: u64,
}

impl Slots {
    /// The item that an event of a piece belongs to.
    pub fn open(&mut self, index: Option<u64>, id: &str, kind: Kind) -> usize {
        self.find(index, id, &kind).unwrap_or_else(|| self.add(index, id, kind))
    }

    /// The index comes first: some gateways give an item another id with every event.
    fn find(&self, index: Option<u64>, id: &str, kind: &Kind) -> Option<usize> {
        self.slots.iter().rposition(|slot| {
            slot.kind == *kind
                && match index {
                    Some(_) => slot.index == index,
                    None if !id.is_empty() => slot.id == id,
                    None => !slot.is_done,
                }
        })
    }

    /// The item that is added or done.
    pub fn of_item(&mut self, index: Option<u64>, item: &Item<'_>, is_done: bool) -> usize {
        let (kind, id) = (Kind::of(&item.kind.text), &*item.id.text);
        let found = self.find(index, id, &kind);
        let is_same = |slot: &&Slot| {
            let is_same_id = slot.id == id && !id.is_empty();
            if is_done { !slot.is_done || is_same_id } else { slot.id.is_empty() || is_same_id }
        };
        match found.filter(|at| self.slots.get(*at).as_ref().is_some_and(is_same)) {
            Some(at) => at,
            None => self.add(index, id, kind),
        }
    }

    /// The item that a part belongs to.
    pub fn of_part(&mut self, event: &Event<'_>, part: &Part<'_>) -> usize {
        let is_thought = part.kind.text == "reasoning_text";
        let kind = if is_thought { Kind::Reasoning } else { Kind::Message };
        self.open(event.output_index.0, &event.item_id.text, kind)
    }

    fn add(&mut self, index: Option<u64>, id: &str, kind: Kind) -> usize {
        if self.slots.len() >= MAX_ITEMS {
            return MAX_ITEMS;
        }
        let is_call = matches!(kind, Kind::Call | Kind::Custom);
        let call = self.calls;
        self.calls = self.calls.saturating_add(u32::from(is_call));
        self.slots.push(Slot {
            kind,
            index,
            id: id.to_owned(),
            said: Vec::new(),
            call,
            has_name: false,
            held: String::new(),
            is_told: false,
            has_media: false,
            has_words: false,
            is_done: false,
        });
        self.slots.len() - 1
    }

    /// Whether the application's own tools are called.
    pub fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// The next piece.
    pub fn say(
        &mut self,
        slot: usize,
        channel: Channel,
        at: u64,
        text: &str,
        out: &mut Vec<ChatEvent>,
    ) {
        if text.is_empty() {
            return;
        }
        let Some(said) = self.said(slot, channel, at) else { return };
        said.bytes += text.len();
        let Some(slot) = self.slots.get_mut(slot) else { return };
        let (choice, text) = (0, text.to_owned());
        match channel {
            Channel::Text => {
                self.chars += text.chars().count() as u64;
                out.push(ChatEvent::Text { choice, text });
            }
            Channel::Refusal => out.push(ChatEvent::Refusal { choice, text }),
            Channel::Summary | Channel::Thought => {
                slot.has_words = true;
                out.push(ChatEvent::Reasoning { choice, text });
            }
            Channel::Arguments if slot.has_name => {
                let (index, arguments) = (slot.call, text);
                out.push(ChatEvent::ToolCall { choice, index, id: None, name: None, arguments });
            }
            Channel::Arguments => slot.held.push_str(&text),
        }
    }

    /// What `all` has beyond what was said.
    pub fn rest(
        &mut self,
        slot: usize,
        channel: Channel,
        at: u64,
        all: &str,
        out: &mut Vec<ChatEvent>,
    ) {
        let Some(said) = self.said(slot, channel, at) else { return };
        let new = all.get(said.bytes..).unwrap_or_default();
        self.say(slot, channel, at, new, out);
    }

    fn said(&mut self, slot: usize, channel: Channel, at: u64) -> Option<&mut Said> {
        let chars_before = self.chars;
        let said = &mut self.slots.get_mut(slot)?.said;
        let known = said.iter().rposition(|said| said.channel == channel && said.at == at);
        let known = known.unwrap_or_else(|| {
            said.push(Said { channel, at, bytes: 0, chars_before, citations: 0, tokens: 0 });
            said.len() - 1
        });
        said.get_mut(known)
    }

    /// Log-probabilities that come with a piece.
    pub fn more_logprobs(
        &mut self,
        slot: usize,
        at: Number,
        tokens: Vec<TokenLogprob>,
        out: &mut Vec<ChatEvent>,
    ) {
        if tokens.is_empty() {
            return;
        }
        let Some(said) = self.said(slot, Channel::Text, at.0.unwrap_or(0)) else { return };
        said.tokens += tokens.len();
        out.push(ChatEvent::Logprobs { choice: 0, tokens });
    }

    /// Log-probabilities that come with the whole part.
    pub fn all_logprobs(
        &mut self,
        slot: usize,
        at: Number,
        mut all: Vec<TokenLogprob>,
        out: &mut Vec<ChatEvent>,
    ) {
        if all.is_empty() {
            return;
        }
        let Some(said) = self.said(slot, Channel::Text, at.0.unwrap_or(0)) else { return };
        let known = said.tokens.min(all.len());
        self.more_logprobs(slot, at, all.split_off(known), out);
    }

    /// A part of a message or of reasoning, as it begins or as a whole.
    pub fn part(
        &mut self,
        slot: usize,
        at: Number,
        part: &Part<'_>,
        is_done: bool,
        out: &mut Vec<ChatEvent>,
    ) {
        let index = at.0.unwrap_or(0);
        match &*part.kind.text {
            "refusal" => self.rest(slot, Channel::Refusal, index, &part.refusal.text, out),
            "reasoning_text" => self.rest(slot, Channel::Thought, index, &part.text.text, out),
            _ => {
                self.rest(slot, Channel::Text, index, &part.text.text, out);
                if is_done {
                    self.all_logprobs(slot, at, event::logprobs(part.logprobs), out);
                    let all: Vec<Annotation<'_>> = event::list(part.annotations);
                    let known = self.said(slot, Channel::Text, index);
                    let known = known.map_or(0, |said| said.citations);
                    all.iter().skip(known).for_each(|one| self.citation(slot, at, one, out));
                }
            }
        }
    }

    /// A source, in characters of the whole text.
    pub fn citation(
        &mut self,
        slot: usize,
        at: Number,
        one: &Annotation<'_>,
        out: &mut Vec<ChatEvent>,
    ) {
        let Some(said) = self.said(slot, Channel::Text, at.0.unwrap_or(0)) else { return };
        said.citations += 1;
        let before = said.chars_before;
        // An empty stretch of text supports nothing: it stands where none is known.
        let span = one.start_index.0.zip(one.end_index.0).filter(|(from, to)| from < to);
        let span = span.map(|(from, to)| (before.saturating_add(from), before.saturating_add(to)));
        let word = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let title = [&one.title, &one.filename, &one.file_id];
        let title = title.into_iter().find_map(|text| word(&text.text));
        let citation = Citation { url: word(&one.url.text), title, quote: None, span };
        out.push(ChatEvent::Citation { choice: 0, citation });
    }

    /// Names a call, once, and says what was held back for want of a name.
    pub fn name(&mut self, slot: usize, id: &str, name: &str, out: &mut Vec<ChatEvent>) {
        let Some(slot) = self.slots.get_mut(slot) else { return };
        if slot.has_name || (name.is_empty() && id.is_empty()) {
            return;
        }
        slot.has_name = true;
        let word = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let arguments = std::mem::take(&mut slot.held);
        let (index, id, name) = (slot.call, word(id), word(name));
        out.push(ChatEvent::ToolCall { choice: 0, index, id, name, arguments });
    }

    /// What an item says as it begins or as a whole.
    pub fn item(&mut self, at: usize, item: &Item<'_>, is_done: bool, out: &mut Vec<ChatEvent>) {
        match self.slots.get(at).map(|slot| slot.kind.clone()) {
            None => return,
            Some(Kind::Message) => {
                if let Some(text) = decode::bare(item.content) {
                    self.rest(at, Channel::Text, 0, &text, out);
                }
                for (index, part) in (0..).zip(event::list::<Part<'_>>(item.content)) {
                    self.part(at, Number(Some(index)), &part, is_done, out);
                }
            }
            Some(Kind::Reasoning) => self.reasoning(at, item, is_done, out),
            Some(kind @ (Kind::Call | Kind::Custom)) => {
                let call_id =
                    if item.call_id.is_empty() { &item.id.text } else { &item.call_id.text };
                self.name(at, call_id, &item.name.text, out);
                let arguments = event::arguments(item.arguments);
                let all = if kind == Kind::Call { &arguments } else { &item.input.text };
                self.rest(at, Channel::Arguments, 0, all, out);
            }
            Some(Kind::Other(kind)) => self.other(at, kind, item, out),
        }
        if let Some(slot) = self.slots.get_mut(at) {
            slot.is_done |= is_done;
        }
    }

    fn reasoning(&mut self, at: usize, item: &Item<'_>, is_done: bool, out: &mut Vec<ChatEvent>) {
        for (index, part) in (0..).zip(event::list::<Part<'_>>(item.summary)) {
            self.rest(at, Channel::Summary, index, &part.text.text, out);
        }
        for (index, part) in (0..).zip(event::list::<Part<'_>>(item.content)) {
            self.rest(at, Channel::Thought, index, &part.text.text, out);
        }
        let Some(slot) = self.slots.get_mut(at) else { return };
        if !is_done || slot.is_told || item.encrypted_content.is_empty() {
            return;
        }
        slot.is_told = true;
        let seal = sealed::read(&item.id.text, &item.encrypted_content.text);
        let on = if slot.has_words { Sealed::Reasoning } else { Sealed::Hidden };
        out.push(ChatEvent::Seal { choice: 0, on, seal });
    }

    fn other(&mut self, at: usize, kind: String, item: &Item<'_>, out: &mut Vec<ChatEvent>) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let is_image = kind == "image_generation_call";
        if !slot.is_told {
            slot.is_told = true;
            out.push(ChatEvent::Other { choice: 0, kind });
        }
        if is_image && !slot.has_media && !item.result.is_empty() {
            slot.has_media = true;
            let format = &*item.output_format.text;
            let mime = format!("image/{}", if format.is_empty() { "png" } else { format });
            out.push(ChatEvent::Media { choice: 0, mime, data: item.result.text.to_string() });
        }
    }

    /// The items of the final response. They are known by their id, else as the first, second, …
    /// of their kind: ids may change and items be missing, so that places in the list may not agree.
    pub fn finally(&mut self, items: &[Item<'_>], out: &mut Vec<ChatEvent>) {
        let mut before: Vec<Kind> = Vec::new();
        for item in items.iter().take(MAX_ITEMS) {
            let kind = Kind::of(&item.kind.text);
            let id = &*item.id.text;
            let of_kind = || self.slots.iter().enumerate().filter(|(_, slot)| slot.kind == kind);
            let by_id = of_kind().find(|(_, slot)| !id.is_empty() && slot.id == id);
            let nth = before.iter().filter(|known| **known == kind).count();
            let found = by_id.or_else(|| of_kind().nth(nth)).map(|(at, _)| at);
            let at = found.unwrap_or_else(|| self.add(None, id, kind.clone()));
            before.push(kind);
            self.item(at, item, true, out);
        }
    }

    /// Says what was held back for calls that never got a name.
    pub fn let_go(&mut self, out: &mut Vec<ChatEvent>) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.held.is_empty()) {
            slot.has_name = true;
            let arguments = std::mem::take(&mut slot.held);
            let index = slot.call;
            out.push(ChatEvent::ToolCall { choice: 0, index, id: None, name: None, arguments });
        }
    }
}
