//! Puts a patch of additions into a text, so that everything else in it stays as it was.

use std::cmp::Reverse;
use std::ops::Range;

use serde_json::Value;

use crate::manifest::node::Document;
use crate::manifest::node::Node;
use crate::manifest::node::Shape;
use crate::manifest::node::Style;
use crate::manifest::write;
use crate::sidecar::Operation;

/// Other bytes in the place of some, or of none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The first byte that goes.
    pub start: usize,
    /// After the last byte that goes.
    pub end: usize,
    /// What comes.
    pub text: String,
    /// How far it is indented: of two in one place the inner one comes first.
    pub indent: usize,
}

/// The depth of what stands within a line.
const INLINE: usize = usize::MAX;

impl Edit {
    fn new(place: Range<usize>, text: String, indent: usize) -> Self {
        Self { start: place.start, end: place.end, text, indent }
    }
}

/// The text with all edits, which do not overlap; those in one place stand in the order of their nesting, then in
/// their own.
pub fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| (edit.start, Reverse(edit.indent)));
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        out.push_str(text.get(at..edit.start).unwrap_or_default());
        out.push_str(&edit.text);
        at = edit.end.max(at);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// What a patch does to the text, if it can be done by adding in between.
///
/// Every path has to mean a place of the document as it is: an operation that moves others comes
/// last.
pub fn edits(text: &str, document: &Document, patch: &[Operation]) -> Option<Vec<Edit>> {
    patch.iter().map(|operation| edit(text, &document.root, operation)).collect()
}

/// The whole document in other words.
pub fn rewrite(text: &str, document: &Document, value: &Value) -> Edit {
    let Node { start, end, .. } = document.root;
    let line = line_start(text, start);
    let before = text.get(line..start).unwrap_or_default();
    let is_alone = before.trim().is_empty();
    let lines = write::block(value, if is_alone { before.len() } else { 0 });
    let lines = lines.trim();
    Edit::new(start..end, if is_alone { lines.to_owned() } else { format!("\n{lines}") }, 0)
}

fn edit(text: &str, root: &Node, operation: &Operation) -> Option<Edit> {
    let (parent, last) = operation.path.rsplit_once('/')?;
    let mut node = root;
    for part in parent.split('/').skip(1) {
        node = child(node, part).filter(|node| !node.is_alias)?;
    }
    let last = unescaped(last);
    let value = &operation.value;
    match &node.kind {
        Shape::Map(_, style) => match node.get(&last) {
            Some((key, old)) => replace(text, key, old, value),
            None if *style == Style::Flow => bracket(
                text,
                node,
                &format!("{}: {}", write::flow(&Value::from(last)), write::flow(value)),
            ),
            None => after_members(text, node, &last, value),
        },
        Shape::List(items, Style::Flow) if last == "-" || items.is_empty() => {
            bracket(text, node, &write::flow(value))
        }
        Shape::List(items, Style::Flow) => {
            let at = items.first().filter(|_| last == "0")?.start;
            Some(Edit::new(at..at, format!("{}, ", write::flow(value)), INLINE))
        }
        Shape::List(items, Style::Block) if last == "-" => after_items(text, items, value),
        Shape::List(items, Style::Block) if last == "0" => before_items(text, items, value),
        Shape::List(..) | Shape::Scalar(_) => None,
    }
}

fn child<'n>(node: &'n Node, part: &str) -> Option<&'n Node> {
    match &node.kind {
        Shape::Map(..) => node.get(&unescaped(part)).map(|(_, value)| value),
        Shape::List(items, _) => items.get(part.parse::<usize>().ok()?),
        Shape::Scalar(_) => None,
    }
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// Another value for a key; nothing becomes lines below it.
fn replace(text: &str, key: &Node, old: &Node, value: &Value) -> Option<Edit> {
    let Shape::Scalar(before) = &old.kind else { return None };
    if before.is_null() && old.start == old.end && !value.is_string() {
        let colon = key.end + text.get(key.end..)?.find(':')? + 1;
        let indent = column(text, key.start) + 2;
        let lines = format!("\n{}", write::block(value, indent).trim_end());
        return Some(Edit::new(colon..colon, lines, indent));
    }
    let shown = text.get(old.start..old.end)?;
    // A block of text has its mark in front, and ends where the next thing begins.
    let is_one_word = old.start < old.end && !shown.starts_with(['|', '>']);
    is_one_word.then(|| Edit::new(old.start..old.end, write::flow(value), INLINE))
}

/// Before the closing bracket.
fn bracket(text: &str, node: &Node, item: &str) -> Option<Edit> {
    let close = node.end.checked_sub(1)?;
    let inside = text.get(node.start + 1..close)?;
    let at = node.start + 1 + inside.trim_end().len();
    let item = match inside.trim_end() {
        before if before.trim().is_empty() || before.ends_with(',') => format!(" {item}"),
        _ => format!(", {item}"),
    };
    Some(Edit::new(at..at, item, INLINE))
}

/// A member below the last one.
fn after_members(text: &str, node: &Node, key: &str, value: &Value) -> Option<Edit> {
    let Shape::Map(entries, _) = &node.kind else { return None };
    let indent = column(text, entries.first()?.0.start);
    below(
        text,
        entries.last()?.1.end.max(entries.last()?.0.end),
        indent,
        &write::member(key, value, indent),
    )
}

/// An item below the last one.
fn after_items(text: &str, items: &[Node], value: &Value) -> Option<Edit> {
    let indent = column(text, dash(text, items.first()?)?);
    let item = write::block(&Value::Array(vec![value.clone()]), indent);
    below(text, items.last()?.end, indent, item.get(indent..)?)
}

/// An item above the first one, right below the key of the list.
fn before_items(text: &str, items: &[Node], value: &Value) -> Option<Edit> {
    let dash = dash(text, items.first()?)?;
    let line = line_start(text, dash);
    // Only a dash of its own line can have another above it.
    text.get(line..dash)?.trim().is_empty().then_some(())?;
    let item = write::block(&Value::Array(vec![value.clone()]), dash - line);
    Some(Edit::new(line..line, item, dash - line))
}

/// Lines below the one where something ends.
fn below(text: &str, end: usize, indent: usize, lines: &str) -> Option<Edit> {
    let end = text.get(..end)?.trim_end().len();
    let line = text.get(end..)?.find('\n').map(|at| end + at);
    let lines = format!("\n{}{}", " ".repeat(indent), lines.trim_end());
    let at = line.unwrap_or(text.len());
    // A file from elsewhere may end its lines in two bytes.
    let at = at - usize::from(text.get(..at)?.ends_with('\r'));
    Some(Edit::new(at..at, lines, indent))
}

/// The dash of a list's item.
fn dash(text: &str, item: &Node) -> Option<usize> {
    let before = text.get(..item.start)?;
    let dash = before.rfind('-')?;
    before.get(dash + 1..)?.trim().is_empty().then_some(dash)
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// How many characters stand before it on its line.
fn column(text: &str, at: usize) -> usize {
    text.get(line_start(text, at)..at).map_or(0, |before| before.chars().count())
}
