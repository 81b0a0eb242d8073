//! Gathers content blocks for a whole body.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::chat::Citation;
use crate::wire::anthropic::form::Block;
use crate::wire::anthropic::form::Source;
use crate::wire::anthropic::layout::Begin;
use crate::wire::anthropic::layout::Grow;
use crate::wire::anthropic::layout::Sink;
use crate::wire::arguments;

/// The blocks so far.
#[derive(Default)]
pub struct Blocks {
    built: Vec<Built>,
    /// Characters of text so far.
    said: u64,
}

enum Built {
    Text(Vec<Segment>),
    Thinking { text: String, signature: String },
    Redacted(String),
    Tool { id: String, name: String, arguments: String },
}

/// Text that becomes a block of its own, because citations support no more and no less.
#[derive(Default)]
struct Segment {
    /// Where in the answer's text it begins and ends, in characters.
    from: u64,
    to: u64,
    text: String,
    citations: Vec<Citation>,
}

impl Sink for Blocks {
    fn begin(&mut self, _index: usize, block: Begin<'_>) {
        self.built.push(match block {
            Begin::Text => {
                let (from, to) = (self.said, self.said);
                Built::Text(vec![Segment { from, to, ..Segment::default() }])
            }
            Begin::Thinking => Built::Thinking { text: String::new(), signature: String::new() },
            Begin::Redacted { data } => Built::Redacted(data.to_owned()),
            Begin::Tool { id, name } => {
                Built::Tool { id: id.to_owned(), name: name.to_owned(), arguments: String::new() }
            }
        });
    }

    fn grow(&mut self, index: usize, by: Grow<'_>) {
        if let Grow::Citation(citation) = by {
            self.cite(index, citation);
            return;
        }
        match (self.built.get_mut(index), by) {
            (Some(Built::Text(segments)), Grow::Text(text)) => {
                self.said += text.chars().count() as u64;
                if let Some(segment) = segments.last_mut() {
                    segment.text.push_str(text);
                    segment.to = self.said;
                }
            }
            (Some(Built::Thinking { text, .. }), Grow::Thinking(piece)) => text.push_str(piece),
            (Some(Built::Thinking { signature, .. }), Grow::Signature(whole)) => {
                whole.clone_into(signature);
            }
            (Some(Built::Tool { arguments, .. }), Grow::Json(piece)) => arguments.push_str(piece),
            // The layout grows blocks only by what they are made of.
            _ => {}
        }
    }

    fn end(&mut self, _index: usize) {}
}

impl Blocks {
    /// The blocks as the body holds them.
    pub fn content(&self) -> Vec<Block<'_>> {
        let mut content = Vec::new();
        for built in &self.built {
            match built {
                Built::Text(segments) => content.extend(segments.iter().map(|segment| {
                    let citations = segment.citations.iter().map(Source::new).collect();
                    Block::Text { text: &segment.text, citations }
                })),
                Built::Thinking { text: thinking, signature } => {
                    content.push(Block::Thinking { thinking, signature });
                }
                Built::Redacted(data) => content.push(Block::RedactedThinking { data }),
                Built::Tool { id, name, arguments } => {
                    content.push(Block::ToolUse { id, name, input: input(arguments) });
                }
            }
        }
        content
    }

    /// Puts a citation on the text it supports, which stands alone from then on.
    fn cite(&mut self, index: usize, citation: &Citation) {
        if let Some((from, to)) = citation.span.filter(|(from, to)| from < to) {
            self.cut(from);
            self.cut(to);
            let mut segments = self.built.iter_mut().flat_map(Built::segments);
            if let Some(segment) = segments.find(|segment| segment.to == to) {
                segment.citations.push(citation.clone());
                return;
            }
        }
        let last = self.built.get_mut(index).and_then(|built| built.segments().last());
        if let Some(segment) = last {
            segment.citations.push(citation.clone());
        }
    }

    /// Cuts the segment that goes across this character; its citations stay with its end.
    fn cut(&mut self, at: u64) {
        for built in &mut self.built {
            let Built::Text(segments) = built else { continue };
            let across = |segment: &Segment| segment.from < at && at < segment.to;
            let Some(position) = segments.iter().position(across) else { continue };
            if let Some(segment) = segments.get_mut(position) {
                let head = segment.split_head(at);
                segments.insert(position, head);
            }
        }
    }
}

impl Built {
    fn segments(&mut self) -> std::slice::IterMut<'_, Segment> {
        match self {
            Self::Text(segments) => segments.iter_mut(),
            _ => [].iter_mut(),
        }
    }
}

impl Segment {
    fn split_head(&mut self, at: u64) -> Self {
        let characters = usize::try_from(at.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let byte = self.text.char_indices().nth(characters).map_or(self.text.len(), |(at, _)| at);
        let tail = self.text.split_off(byte);
        let text = std::mem::replace(&mut self.text, tail);
        let from = std::mem::replace(&mut self.from, at);
        Self { from, to: at, text, citations: Vec::new() }
    }
}

/// `{}`, which is what a call's input is until its pieces come.
pub fn no_input() -> Cow<'static, RawValue> {
    Cow::Borrowed(serde_json::from_str("{}").unwrap_or(RawValue::NULL))
}

/// The arguments as they came where they are an object.
fn input(arguments: &str) -> Cow<'_, RawValue> {
    match arguments::object(arguments) {
        Cow::Borrowed(text) => {
            serde_json::from_str(text).map_or_else(|_| no_input(), Cow::Borrowed)
        }
        Cow::Owned(text) => RawValue::from_string(text).map_or_else(|_| no_input(), Cow::Owned),
    }
}
