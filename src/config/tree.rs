//! A file as written: a YAML document as a tree in which every node knows its place.
//!
//! Built from parser events rather than through serde, because a typed reader stops at its first
//! error and this one must go on. JSON is YAML, so JSON files come the same way.

use std::collections::HashMap;

use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::granit_parser::Event;
use serde_saphyr::granit_parser::Parser;
use serde_saphyr::granit_parser::ScalarStyle;
use serde_saphyr::granit_parser::ScanError;
use serde_saphyr::granit_parser::Span;
use serde_saphyr::granit_parser::Tag;
use serde_saphyr::granit_parser::options;

use super::problem::Pos;

/// The largest file read, bytes; a tree takes about a hundred times as much at worst.
const MAX_BYTES: usize = 256 << 10;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its first character.
    pub start: Pos,
    /// After its last character.
    pub end: Pos,
    /// What it is.
    pub kind: Kind,
}

/// What a node is; numbers and booleans are told from text only when somebody asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// One word or text.
    Scalar {
        /// Without quotes and escapes.
        text: String,
        /// Without quotes in the file, so that it may be null, a boolean or a number.
        is_plain: bool,
    },
    /// Values in order.
    List(Vec<Node>),
    /// Values by key, in order; keys are unique.
    Map(Vec<(Key, Node)>),
    /// Something that was already reported; readers pass over it.
    Skipped,
}

/// The name of a value in a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its first character.
    pub start: Pos,
    /// After its last character.
    pub end: Pos,
    /// Without quotes and escapes.
    pub name: String,
}

/// Something wrong with the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where it begins.
    pub start: Pos,
    /// After what should be shown of it; `None` when its whole line may be.
    pub end: Option<Pos>,
    /// What.
    pub what: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Node {
    /// The value of `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Kind::Map(entries) = &self.kind else { return None };
        entries.iter().find(|(k, _)| k.name == key).map(|(_, node)| node)
    }

    /// The keys, if this is a map.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let entries = if let Kind::Map(entries) = &self.kind { entries.as_slice() } else { &[] };
        entries.iter().map(|(key, _)| key)
    }

    /// Whether this is YAML's null: nothing, `~` or `null`, without quotes.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, is_plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// `true` or `false`, without quotes.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.kind {
            Kind::Scalar { text, is_plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A decimal number without quotes, as JSON would hold it.
    pub fn as_number(&self) -> Option<serde_json::Number> {
        let Kind::Scalar { text, is_plain: true } = &self.kind else { return None };
        // Rust also reads `inf` and `nan`, which are words here.
        if !text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) {
            return None;
        }
        let whole = text.strip_prefix('+').unwrap_or(text);
        (whole.parse::<u64>().map(Into::into))
            .or_else(|_| whole.parse::<i64>().map(Into::into))
            .ok()
            .or_else(|| serde_json::Number::from_f64(whole.parse().ok()?))
    }

    /// What it is, in words for people.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { .. } if self.is_null() => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Skipped => "something unreadable",
        }
    }
}

/// What was made of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// The document; `None` when the text cannot be parsed to its end.
    pub root: Option<Node>,
    /// In the order they were met.
    pub flaws: Vec<Flaw>,
    /// Parts of the text that are not in the tree because of a flaw.
    pub left_out: Vec<(Pos, Pos)>,
}

/// Reads one document.
pub fn parse(text: &str) -> Parsed {
    let mut tree = Tree::default();
    if text.len() > MAX_BYTES {
        let what = format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len());
        tree.flaw(Pos::START, what, None);
        return tree.parsed;
    }
    let options = options! { emit_comments: false, emit_unresolved_aliases: true };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents > 1 {
                    let help = "put it in a file of its own";
                    tree.flaw(start(&span), "a second document begins here", Some(help));
                    break;
                }
            }
            Ok((event, span)) => tree.push(event, &span),
            Err(error) => {
                tree.syntax(&error);
                tree.parsed.root = None;
                return tree.parsed;
            }
        }
    }
    let empty = Kind::Scalar { text: String::new(), is_plain: true };
    tree.parsed.root.get_or_insert(Node { start: Pos::START, end: Pos::START, kind: empty });
    tree.parsed
}

/// Builds the tree from events without recursion, so that depth costs no stack.
#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    parsed: Parsed,
}

/// A list or map that has begun.
struct Open {
    start: Pos,
    is_skipped: bool,
    inner: Inner,
}

enum Inner {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, seen: HashMap<String, Pos>, slot: Slot },
}

/// What the next node of a map is.
enum Slot {
    /// A key.
    Key,
    /// The value of this key.
    Value(Key),
    /// The value of a key that was already reported.
    Drop,
}

impl Tree {
    fn push(&mut self, event: Event<'_>, span: &Span) {
        match event {
            Event::Scalar(text, style, _, tag) => self.scalar(&text, style, tag.as_deref(), span),
            Event::SequenceStart(_, _, tag) => {
                self.begin(Inner::List(Vec::new()), tag.as_deref(), "seq", span);
            }
            Event::MappingStart(_, _, tag) => {
                let (entries, seen, slot) = (Vec::new(), HashMap::new(), Slot::Key);
                self.begin(Inner::Map { entries, seen, slot }, tag.as_deref(), "map", span);
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let help = "write the value out; a value that begins with * needs quotes";
                self.flaw(start(span), "aliases are not read", Some(help));
                self.add(Node { start: start(span), end: end(span), kind: Kind::Skipped });
            }
            _ => {}
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) {
        let core = tag.and_then(Tag::core_suffix);
        let is_plain = style == ScalarStyle::Plain && core != Some("str");
        let mut kind = Kind::Scalar { text: text.to_owned(), is_plain };
        if tag.is_some() && !matches!(core, Some("str" | "int" | "float" | "bool" | "null")) {
            self.foreign_tag(span);
            kind = Kind::Skipped;
        }
        self.add(Node { start: start(span), end: end(span), kind });
    }

    fn begin(&mut self, inner: Inner, tag: Option<&Tag>, expected: &str, span: &Span) {
        let is_skipped = tag.is_some_and(|tag| tag.core_suffix() != Some(expected));
        if is_skipped {
            self.foreign_tag(span);
        }
        self.open.push(Open { start: start(span), is_skipped, inner });
    }

    fn end(&mut self, span: &Span) {
        let Some(open) = self.open.pop() else { return };
        let kind = match open.inner {
            _ if open.is_skipped => Kind::Skipped,
            Inner::List(nodes) => Kind::List(nodes),
            Inner::Map { entries, .. } => Kind::Map(entries),
        };
        self.add(Node { start: open.start, end: end(span), kind });
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: Node) {
        if node.kind == Kind::Skipped {
            self.parsed.left_out.push((node.start, node.end));
        }
        let Some(open) = self.open.last_mut() else {
            self.parsed.root = Some(node);
            return;
        };
        let (entries, seen, slot) = match &mut open.inner {
            Inner::List(nodes) => return nodes.push(node),
            Inner::Map { entries, seen, slot } => (entries, seen, slot),
        };
        match std::mem::replace(slot, Slot::Key) {
            Slot::Key => {
                *slot = match key(node, seen) {
                    Ok(key) => Slot::Value(key),
                    Err(flaw) => {
                        self.parsed.flaws.push(flaw);
                        Slot::Drop
                    }
                }
            }
            Slot::Value(key) => entries.push((key, node)),
            Slot::Drop => self.parsed.left_out.push((node.start, node.end)),
        }
    }

    fn foreign_tag(&mut self, span: &Span) {
        let at = span.tag_span().map_or(start(span), |span| start(&span));
        let help = "remove the tag; a value that begins with ! needs quotes";
        self.flaw(at, "tags are not read", Some(help));
    }

    fn syntax(&mut self, error: &ScanError) {
        let mark = error.marker();
        let at = Pos { line: mark.line().max(1), column: mark.col() + 1 };
        let help = match error.kind() {
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar => Some("indent with spaces, not with tabs"),
            _ => None,
        };
        self.flaw(at, format!("this is not YAML: {}", error.info()), help);
    }

    fn flaw(&mut self, at: Pos, what: impl Into<String>, help: Option<&str>) {
        let help = help.map(str::to_owned);
        self.parsed.flaws.push(Flaw { start: at, end: None, what: what.into(), help });
    }
}

/// A key that is new in its map, or what is wrong with it.
fn key(node: Node, seen: &mut HashMap<String, Pos>) -> Result<Key, Flaw> {
    let at = node.start;
    let Kind::Scalar { text: name, is_plain } = node.kind else {
        let what = format!("a key has to be a word, not {}", node.describe());
        let help = Some("write `key: value`".to_owned());
        return Err(Flaw { start: at, end: None, what, help });
    };
    if is_plain && name == "<<" {
        let help = Some("write the keys out".to_owned());
        let what = "merge keys are not read".to_owned();
        return Err(Flaw { start: at, end: None, what, help });
    }
    if let Some(first) = seen.get(&name) {
        let what = format!("`{}` is here twice", name.escape_debug());
        let help = Some(format!("it was first given on line {}; keep one of them", first.line));
        return Err(Flaw { start: at, end: Some(node.end), what, help });
    }
    seen.insert(name.clone(), at);
    Ok(Key { start: at, end: node.end, name })
}

fn start(span: &Span) -> Pos {
    Pos { line: span.start.line().max(1), column: span.start.col() + 1 }
}

fn end(span: &Span) -> Pos {
    Pos { line: span.end.line().max(1), column: span.end.col() + 1 }
}
