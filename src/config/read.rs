//! Reads a tree section by section and goes on after each problem.

use super::nearest;
use super::problem::Excerpt;
use super::problem::Pos;
use super::problem::Problem;
use super::tree;
use super::tree::Key;
use super::tree::Kind;
use super::tree::Node;

/// The most problems of one file that are reported one by one.
const MAX_PROBLEMS: usize = 100;

/// Why a value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What it is or is not.
    pub what: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Wrong {
    /// A reason with what to write instead.
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: Some(help.into()) }
    }
}

/// One file while it is read, and everything wrong in it so far.
pub struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    notes: Vec<Note>,
    /// Parts that may hold keys; they are never shown.
    hidden: Vec<(Pos, Pos)>,
}

/// A problem before its line is cut out of the text.
struct Note {
    at: Pos,
    /// Where to stop showing the line.
    end: Option<Pos>,
    is_warning: bool,
    what: String,
    help: Option<String>,
}

impl<'a> Reader<'a> {
    /// Parses `text` and reports what is wrong with it as YAML.
    pub fn open(file: &'a str, text: &'a str) -> (Self, Option<Node>) {
        let tree::Parsed { root, flaws, left_out } = tree::parse(text);
        let mut reader = Self { file, text, notes: Vec::new(), hidden: left_out };
        for flaw in flaws {
            reader.note(flaw.start, flaw.end, false, flaw.what, flaw.help);
        }
        // Without a tree nobody knows where the keys are.
        if root.is_none() && ["key", "value"].iter().any(|word| text.contains(word)) {
            reader.hidden.push((Pos::START, Pos { line: usize::MAX, column: 1 }));
        }
        (reader, root)
    }

    /// The name of the file.
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// Reports a problem at `at`.
    pub fn problem(&mut self, at: Pos, what: impl Into<String>, help: impl Into<String>) {
        self.note(at, None, false, what.into(), Some(help.into()));
    }

    /// Reports something to know at `at`.
    pub fn warn(&mut self, at: Pos, what: impl Into<String>, help: impl Into<String>) {
        self.note(at, None, true, what.into(), Some(help.into()));
    }

    /// Never shows this part of the file, because it may hold keys.
    pub fn hide(&mut self, node: &Node) {
        self.hidden.push((node.start, node.end));
    }

    /// Reads a map of known keys; `body` asks for them and those nobody asked for are reported.
    pub fn section<'n, R>(
        &mut self,
        node: &'n Node,
        path: &str,
        body: impl FnOnce(&mut Section<'_, 'a, 'n>) -> R,
    ) -> Option<R> {
        let entries = self.entries(node, path)?;
        let (at, known) = (node.start, Vec::new());
        let mut section = Section { reader: self, path: path.to_owned(), at, entries, known };
        let result = body(&mut section);
        section.report_unknown();
        Some(result)
    }

    /// The entries of a map whose keys the file chooses; nothing counts as an empty map.
    pub fn entries<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [(Key, Node)]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Skipped => None,
            _ if node.is_null() => Some(&[]),
            _ => {
                let what = format!("{}has to be a map, not {}", label(path), node.describe());
                self.problem(node.start, what, "write `key: value` lines below it");
                None
            }
        }
    }

    /// The values of a list.
    pub fn items<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [Node]> {
        match &node.kind {
            Kind::List(nodes) => Some(nodes),
            Kind::Skipped => None,
            _ => {
                let what = format!("{}has to be a list, not {}", label(path), node.describe());
                self.problem(node.start, what, "write [one, another]");
                None
            }
        }
    }

    /// One value; what `read` finds wrong is reported under the name `path`.
    pub fn value<T>(
        &mut self,
        node: &Node,
        path: &str,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        if node.kind == Kind::Skipped {
            return None;
        }
        match read(node) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let what = format!("{}{}", label(path), wrong.what);
                self.note(node.start, None, false, what, wrong.help);
                None
            }
        }
    }

    /// What was found, in the order of the file, errors first when there are too many.
    pub fn finish(mut self) -> Vec<Problem> {
        let rest = self.notes.len().saturating_sub(MAX_PROBLEMS);
        if rest > 0 {
            self.notes.sort_by_key(|note| (note.is_warning, note.at));
            self.notes.truncate(MAX_PROBLEMS);
            let at = self.notes.iter().map(|note| note.at).max().unwrap_or(Pos::START);
            let is_warning = self.notes.iter().all(|note| note.is_warning);
            self.note(at, None, is_warning, format!("{rest} more problems are not shown"), None);
        }
        self.notes.sort_by_key(|note| note.at);
        let lines: Vec<&str> = lines(self.text).collect();
        let problem = |note: Note| Problem {
            file: self.file.to_owned(),
            line: note.at.line,
            column: note.at.column,
            is_warning: note.is_warning,
            excerpt: excerpt(&lines, &self.hidden, &note),
            what: note.what,
            help: note.help,
        };
        self.notes.into_iter().map(problem).collect()
    }

    fn note(
        &mut self,
        at: Pos,
        end: Option<Pos>,
        is_warning: bool,
        what: String,
        help: Option<String>,
    ) {
        self.notes.push(Note { at, end, is_warning, what, help });
    }
}

/// The lines of a file as YAML counts them (1.2, section 5.4): a carriage return alone ends one, too.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// A map of known keys while it is read.
pub struct Section<'r, 'a, 'n> {
    /// For problems that concern more than one key.
    pub reader: &'r mut Reader<'a>,
    /// Where the map begins.
    pub at: Pos,
    path: String,
    entries: &'n [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'a, 'n> Section<'_, 'a, 'n> {
    /// The path of one of its keys from the top of the file.
    pub fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The value of `key`, which is known from now on.
    pub fn find(&mut self, key: &'static str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// Where `key` stands, if it is there.
    pub fn key_at(&self, key: &str) -> Option<Pos> {
        self.entries.iter().find(|(k, _)| k.name == key).map(|(k, _)| k.start)
    }

    /// Reads `key` if it is there.
    pub fn take<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = self.find(key)?;
        let path = self.path(key);
        self.reader.value(node, &path, read)
    }

    /// Overwrites a default with `key` if it is there.
    pub fn set<T>(
        &mut self,
        key: &'static str,
        into: &mut T,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) {
        if let Some(value) = self.take(key, read) {
            *into = value;
        }
    }

    /// Reports `key` as missing unless it is there.
    pub fn need(&mut self, key: &'static str, help: &str) -> Option<&'n Node> {
        let node = self.find(key);
        if node.is_none() {
            let what = format!("`{key}` is missing{}", self.inside());
            self.reader.problem(self.at, what, help);
        }
        node
    }

    /// Reads the map at `key` if it is there.
    pub fn section<R>(
        &mut self,
        key: &'static str,
        body: impl FnOnce(&mut Section<'_, 'a, 'n>) -> R,
    ) -> Option<R> {
        let node = self.find(key)?;
        let path = self.path(key);
        self.reader.section(node, &path, body)
    }

    fn entry(&mut self, key: &'static str) -> Option<&'n (Key, Node)> {
        self.known.push(key);
        self.entries.iter().find(|(k, _)| k.name == key)
    }

    fn inside(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) }
    }

    fn report_unknown(&mut self) {
        self.known.sort_unstable();
        self.known.dedup();
        for (key, node) in self.entries {
            if self.known.contains(&key.name.as_str()) {
                continue;
            }
            // A misspelt `api_keys` has keys below it.
            self.reader.hide(node);
            let what = format!("unknown key {}{}", quote(&key.name), self.inside());
            let help = nearest::suggest(&key.name, self.known.iter().copied());
            self.reader.note(key.start, Some(key.end), false, what, Some(help));
        }
    }
}

/// A piece of the file in a message: in backquotes, escaped and short.
pub fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The path of `key` below `path`, safe to show.
pub fn join(path: &str, key: &str) -> String {
    let quoted = quote(key);
    let key = quoted.trim_matches('`');
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn label(path: &str) -> String {
    if path.is_empty() { "the file ".to_owned() } else { format!("`{path}` ") }
}

/// The line of a problem, unless what is shown of it may hold a key.
fn excerpt(lines: &[&str], hidden: &[(Pos, Pos)], note: &Note) -> Option<Excerpt> {
    let line = lines.get(note.at.line.checked_sub(1)?)?;
    let end = note.end.filter(|end| end.line == note.at.line).map(|end| end.column);
    let first = Pos { line: note.at.line, column: 1 };
    let last = Pos { line: note.at.line, column: end.unwrap_or(usize::MAX) };
    let is_secret = hidden.iter().any(|(from, to)| *from < last && first < *to);
    (!is_secret).then(|| Excerpt::cut(line, note.at.column, end))
}
