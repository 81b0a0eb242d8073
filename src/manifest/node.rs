//! Documents of a YAML file as trees in which every node knows its bytes.

use std::collections::HashMap;

use serde_json::Map;
use serde_json::Value;
use serde_saphyr::granit_parser::Event;
use serde_saphyr::granit_parser::Parser;
use serde_saphyr::granit_parser::ScalarStyle;
use serde_saphyr::granit_parser::ScanError;
use serde_saphyr::granit_parser::Span;
use serde_saphyr::granit_parser::StructureStyle;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::manifest::scalar;

/// The most nodes of a file, those that aliases stand for among them.
const MOST_NODES: usize = 1 << 20;

/// The deepest nesting.
const DEEPEST: usize = 200;

/// One document that is not empty.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says.
    pub root: Node,
}

/// A value and where it stands, in bytes.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its first byte.
    pub start: usize,
    /// After the last byte of what is in it.
    pub end: usize,
    /// What it is.
    pub kind: Shape,
    /// Whether it stands elsewhere, and an alias here.
    pub is_alias: bool,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A word or text.
    Scalar(Value),
    /// Values in order.
    List(Vec<Node>, Style),
    /// Values by key.
    Map(Vec<(Node, Node)>, Style),
}

/// How a list or map is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// In lines of their own.
    Block,
    /// In brackets.
    Flow,
}

impl Node {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&(Self, Self)> {
        let Shape::Map(entries, _) = &self.kind else { return None };
        entries.iter().find(|(name, _)| name.text() == key)
    }

    /// As JSON. Of a key that is there twice the last counts; `<<` brings what it stands for.
    pub fn value(&self) -> Value {
        match &self.kind {
            Shape::Scalar(value) => value.clone(),
            Shape::List(items, _) => Value::Array(items.iter().map(Self::value).collect()),
            Shape::Map(entries, _) => Value::Object(object(entries)),
        }
    }

    /// The name that a key is.
    fn text(&self) -> String {
        match &self.kind {
            Shape::Scalar(Value::String(text)) => text.clone(),
            _ => self.value().to_string(),
        }
    }
}

fn object(entries: &[(Node, Node)]) -> Map<String, Value> {
    let mut members = Map::new();
    for (_, value) in entries.iter().filter(|(key, _)| key.text() == "<<") {
        let merged = match &value.kind {
            Shape::List(items, _) => items.iter().rev().map(Node::value).collect(),
            _ => vec![value.value()],
        };
        for from in merged {
            members.extend(from.as_object().cloned().unwrap_or_default());
        }
    }
    for (key, value) in entries.iter().filter(|(key, _)| key.text() != "<<") {
        members.insert(key.text(), value.value());
    }
    members
}

/// Every document that is not empty.
///
/// # Errors
/// The text is not YAML, or too much of it.
pub fn read(text: &str) -> Result<Vec<Document>> {
    let mut reading = Reading::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        reading.take(event, &span)?;
    }
    Ok(reading.documents)
}

/// A list or map that has begun.
struct Open {
    start: usize,
    anchor: usize,
    style: Style,
    is_map: bool,
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Reading {
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, Size)>,
    documents: Vec<Document>,
    nodes: usize,
    last: usize,
}

impl Reading {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<()> {
        let (start, end) = (bytes(span.start.byte_offset()), bytes(span.end.byte_offset()));
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.and_then(|tag| tag.core_suffix().map(|core| core == "str"));
                let is_plain = style == ScalarStyle::Plain && is_text != Some(true);
                let value = if is_plain { scalar::plain(&text) } else { Value::from(&*text) };
                let node = Node { start, end, kind: Shape::Scalar(value), is_alias: false };
                self.last = self.last.max(end);
                self.count(1)?;
                self.add(node, anchor);
                Ok(())
            }
            Event::SequenceStart(style, anchor, _) => self.begin(start, anchor, style, false),
            Event::MappingStart(style, anchor, _) => self.begin(start, anchor, style, true),
            Event::SequenceEnd | Event::MappingEnd => {
                self.finish(end);
                Ok(())
            }
            Event::Alias(anchor) => {
                let size = self.anchors.get(&anchor).map(|(_, size)| *size);
                let size = size.ok_or_else(unknown_alias)?;
                self.count(size.nodes)?;
                self.descend(size.depth)?;
                let Some((node, _)) = self.anchors.get(&anchor) else { return Ok(()) };
                let node = Node { start, end, is_alias: true, ..node.clone() };
                self.last = self.last.max(end);
                self.add(node, 0);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        start: usize,
        anchor: usize,
        style: StructureStyle,
        is_map: bool,
    ) -> Result<()> {
        self.count(1)?;
        self.descend(1)?;
        let style = match style {
            StructureStyle::Flow => Style::Flow,
            StructureStyle::Block => Style::Block,
        };
        self.open.push(Open { start, anchor, style, is_map, nodes: Vec::new() });
        Ok(())
    }

    fn finish(&mut self, end: usize) {
        let Some(open) = self.open.pop() else { return };
        // The end of a block is told where the next thing begins, after comments between them.
        let end = if open.style == Style::Flow { end } else { self.last };
        self.last = self.last.max(end);
        let mut nodes = open.nodes;
        let kind = if open.is_map {
            let mut entries = Vec::new();
            let mut rest = nodes.drain(..);
            while let (Some(key), Some(value)) = (rest.next(), rest.next()) {
                entries.push((key, value));
            }
            drop(rest);
            Shape::Map(entries, open.style)
        } else {
            Shape::List(nodes, open.style)
        };
        self.add(Node { start: open.start, end, kind, is_alias: false }, open.anchor);
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            let size = size(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None if matches!(node.kind, Shape::Scalar(Value::Null)) => {}
            None => self.documents.push(Document { root: node }),
        }
    }

    /// Counts nodes before they are made.
    fn count(&mut self, nodes: usize) -> Result<()> {
        self.nodes += nodes;
        match self.nodes > MOST_NODES {
            true => Err(refused("it holds too much, or its aliases stand for too much")),
            false => Ok(()),
        }
    }

    /// Looks how deep things would lie, which are read by recursion later.
    fn descend(&self, levels: usize) -> Result<()> {
        match self.open.len() + levels > DEEPEST {
            true => Err(refused(&format!("more than {DEEPEST} levels lie within each other"))),
            false => Ok(()),
        }
    }
}

/// How much a node holds.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    nodes: usize,
    depth: usize,
}

fn size(node: &Node) -> Size {
    let add = |sum: Size, node: &Node| {
        let size = size(node);
        Size { nodes: sum.nodes + size.nodes, depth: sum.depth.max(size.depth) }
    };
    let inside = match &node.kind {
        Shape::Scalar(_) => Size::default(),
        Shape::List(items, _) => items.iter().fold(Size::default(), add),
        Shape::Map(entries, _) => {
            entries.iter().flat_map(|(key, value)| [key, value]).fold(Size::default(), add)
        }
    };
    Size { nodes: inside.nodes + 1, depth: inside.depth + 1 }
}

fn bytes(offset: Option<usize>) -> usize {
    offset.unwrap_or_default()
}

fn syntax(error: &ScanError) -> Error {
    let mark = error.marker();
    let place = format!("line {}, column {}", mark.line().max(1), mark.col() + 1);
    refused(&format!("{place}: {}", error.info()))
}

fn unknown_alias() -> Error {
    refused("an alias stands for nothing")
}

fn refused(why: &str) -> Error {
    Error::new(Kind::BadRequest, format!("this is not YAML that can be read: {why}"))
}
