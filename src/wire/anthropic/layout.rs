//! Lays the events of any answer out as content blocks, for a stream and a body alike.

use crate::chat::ChatEvent;
use crate::chat::Citation;
use crate::chat::Maker;
use crate::chat::Sealed;
use crate::chat::Stop;
use crate::chat::Usage;
use crate::wire::Asked;
use crate::wire::arguments::Pieces;
use crate::wire::seal;

/// How a content block begins.
pub enum Begin<'a> {
    Text,
    Thinking,
    Redacted { data: &'a str },
    Tool { id: &'a str, name: &'a str },
}

/// What is added to a block.
pub enum Grow<'a> {
    Text(&'a str),
    Thinking(&'a str),
    Signature(&'a str),
    Citation(&'a Citation),
    Json(&'a str),
}

/// Takes the blocks as they are laid out.
pub trait Sink {
    /// A block begins; indices count up from 0.
    fn begin(&mut self, index: usize, block: Begin<'_>);

    /// A block that has begun and not ended grows.
    fn grow(&mut self, index: usize, by: Grow<'_>);

    /// A block ends.
    fn end(&mut self, index: usize);
}

/// What is known of the answer beside its blocks.
///
/// Text and thinking have one open block, which ends when anything else begins. Calls may arrive
/// interleaved, so each stays open until its arguments are a complete object and another block
/// begins, or the answer ends. Text after a citation begins a block of its own, so that the
/// citation stays with what it supports.
#[derive(Default)]
pub struct Layout {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that gave it.
    pub model: Option<String>,
    /// Tokens, the last ones told.
    pub usage: Option<Usage>,
    finish: Option<(String, Option<Stop>)>,
    refused: bool,
    has_text: bool,
    next: usize,
    open: Option<Open>,
    calls: Vec<Call>,
    /// Bytes of everything said.
    said: u64,
}

struct Open {
    at: usize,
    is_text: bool,
    is_cited: bool,
}

struct Call {
    /// The number that the events give it.
    index: u32,
    id: Option<String>,
    at: usize,
    is_open: bool,
    pieces: Pieces,
    scan: Scan,
}

impl Layout {
    /// Takes the next event; only the first of several answers has a place.
    pub fn push(&mut self, event: &ChatEvent, asked: &Asked, sink: &mut impl Sink) {
        match event {
            ChatEvent::Start { id, model, .. } => {
                self.id = self.id.take().or_else(|| id.clone());
                self.model = self.model.take().or_else(|| model.clone());
            }
            ChatEvent::Text { choice: 0, text } => {
                self.has_text |= !text.is_empty();
                self.text(text, sink);
            }
            // Servers that write what they say aloud as text too would say it twice.
            ChatEvent::Transcript { choice: 0, text } if !self.has_text => self.text(text, sink),
            ChatEvent::Refusal { choice: 0, text } => {
                self.refused = true;
                self.text(text, sink);
            }
            ChatEvent::Reasoning { choice: 0, text } => self.thinking(text, sink),
            ChatEvent::Seal { choice: 0, on: Sealed::Reasoning, seal } => {
                self.thinking("", sink);
                let at = self.open_block(false, sink);
                sink.grow(at, Grow::Signature(&seal::write(seal, Maker::Anthropic)));
                self.end_open(sink);
            }
            // Gemini's seal of a text or a call stands in a hidden block after it, where the
            // reader of the history looks for it.
            ChatEvent::Seal { choice: 0, seal, .. } => {
                self.end_open(sink);
                let at = self.take_index();
                sink.begin(at, Begin::Redacted { data: &seal::write(seal, Maker::Anthropic) });
                sink.end(at);
            }
            ChatEvent::ToolCall { choice: 0, index, id, name, arguments } => {
                let at = self.call(*index, id.as_deref(), name.as_deref(), asked, sink);
                self.arguments(at, arguments, sink);
            }
            ChatEvent::Citation { choice: 0, citation } => self.citation(citation, sink),
            ChatEvent::Finish { choice: 0, reason, stop } => {
                self.finish = Some((reason.clone(), *stop));
            }
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
            ChatEvent::Done => self.end_all(sink),
            // Other answers, and what these messages have no block for.
            _ => {}
        }
    }

    /// Anthropic's word for why the answer ended.
    pub fn stop_reason(&self) -> &str {
        const OWN: [&str; 8] = [
            "end_turn",
            "max_tokens",
            "stop_sequence",
            "tool_use",
            "pause_turn",
            "compaction",
            "refusal",
            "model_context_window_exceeded",
        ];
        let (reason, stop) = self.finish.as_ref().map_or(("", None), |(r, s)| (r.as_str(), *s));
        if OWN.contains(&reason) {
            return reason;
        }
        match stop {
            _ if self.refused => "refusal",
            Some(Stop::ContentFilter) => "refusal",
            Some(Stop::Length) => "max_tokens",
            // Some servers say that they stopped although they called tools, and applications
            // run tools only when they are told so here.
            Some(Stop::ToolCalls | Stop::Stop) | None if !self.calls.is_empty() => "tool_use",
            Some(Stop::ToolCalls | Stop::Stop) | None => "end_turn",
        }
    }

    /// Output tokens, which the format demands: when the provider does not say, about what the
    /// words make, at four bytes a token.
    pub fn output_tokens(&self) -> u64 {
        let told = self.usage.and_then(|usage| usage.output_tokens);
        told.unwrap_or_else(|| self.said.div_ceil(4))
    }

    fn take_index(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    /// The open block of text or thinking; what else is open ends if it is certain that it may.
    fn open_block(&mut self, is_text: bool, sink: &mut impl Sink) -> usize {
        if let Some(open) = self.open.as_ref().filter(|open| open.is_text == is_text) {
            return open.at;
        }
        self.end_open(sink);
        let at = self.take_index();
        sink.begin(at, if is_text { Begin::Text } else { Begin::Thinking });
        self.open = Some(Open { at, is_text, is_cited: false });
        at
    }

    fn end_open(&mut self, sink: &mut impl Sink) {
        if let Some(open) = self.open.take() {
            sink.end(open.at);
        }
        for call in self.calls.iter_mut().filter(|call| call.is_open && call.scan.is_complete()) {
            call.is_open = false;
            sink.end(call.at);
        }
    }

    fn end_all(&mut self, sink: &mut impl Sink) {
        self.end_open(sink);
        for call in self.calls.iter_mut().filter(|call| call.is_open) {
            call.is_open = false;
            let ending = call.pieces.end();
            if !ending.is_empty() {
                sink.grow(call.at, Grow::Json(ending));
            }
            sink.end(call.at);
        }
    }

    fn text(&mut self, text: &str, sink: &mut impl Sink) {
        if text.is_empty() {
            return;
        }
        if self.open.as_ref().is_some_and(|open| open.is_cited) {
            self.end_open(sink);
        }
        let at = self.open_block(true, sink);
        self.said = self.said.saturating_add(text.len() as u64);
        sink.grow(at, Grow::Text(text));
    }

    fn thinking(&mut self, text: &str, sink: &mut impl Sink) {
        if !text.is_empty() {
            let at = self.open_block(false, sink);
            self.said = self.said.saturating_add(text.len() as u64);
            sink.grow(at, Grow::Thinking(text));
        }
    }

    /// Only a page has a form that needs nothing else; places in documents stay unknown.
    fn citation(&mut self, citation: &Citation, sink: &mut impl Sink) {
        if citation.url.is_some() {
            let at = self.open_block(true, sink);
            sink.grow(at, Grow::Citation(citation));
            if let Some(open) = &mut self.open {
                open.is_cited = true;
            }
        }
    }

    /// The call that this piece belongs to: as when folding, another id and a name begin another.
    fn call(
        &mut self,
        index: u32,
        id: Option<&str>,
        name: Option<&str>,
        asked: &Asked,
        sink: &mut impl Sink,
    ) -> usize {
        let id = id.filter(|id| !id.is_empty());
        let name = name.filter(|name| !name.is_empty());
        let known = self.calls.iter().rposition(|call| call.index == index);
        let continues = |call: &Call| {
            id.is_none() || call.id.is_none() || call.id.as_deref() == id || name.is_none()
        };
        if let Some(known) = known.filter(|at| self.calls.get(*at).is_some_and(continues)) {
            return known;
        }
        self.end_open(sink);
        let at = self.take_index();
        let own_id = format!("call_{}_{index}", asked.id);
        sink.begin(at, Begin::Tool { id: id.unwrap_or(&own_id), name: name.unwrap_or_default() });
        let id = id.map(str::to_owned);
        let (pieces, scan) = (Pieces::default(), Scan::default());
        self.calls.push(Call { index, id, at, is_open: true, pieces, scan });
        self.calls.len() - 1
    }

    fn arguments(&mut self, call: usize, piece: &str, sink: &mut impl Sink) {
        let Some(call) = self.calls.get_mut(call).filter(|call| call.is_open) else { return };
        let more = call.pieces.push(piece);
        if !more.is_empty() {
            self.said = self.said.saturating_add(piece.len() as u64);
            // Text may go on until the answer ends.
            if call.pieces.is_object() {
                call.scan.push(piece);
            }
            sink.grow(call.at, Grow::Json(&more));
        }
    }
}

/// Follows how deep JSON text is nested, to know when an object is complete.
#[derive(Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
    has_closed: bool,
}

impl Scan {
    fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.has_closed = self.depth == 0;
                }
                _ => {}
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.has_closed && self.depth == 0 && !self.in_string
    }
}
