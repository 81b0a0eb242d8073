//! Personal data and secrets in texts: what rules find in them, and the words that take its place.
//!
//! A value that a rule matches becomes the rule's name in brackets. Everything here gives
//! [`Edit`]s of a text instead of another text, because the pieces of a stream are edited as the
//! whole that they make.

mod answer;
mod builtin;
mod iban;
mod json;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use regex::Regex;
use regex::RegexBuilder;

pub use builtin::BUILT_IN;
use builtin::Check;
use json::Walk;

/// The most rules that there may be; each is looked for in every text, and each is a metric's label.
pub const MOST_RULES: usize = 64;

/// The longest pattern, bytes.
pub const MAX_PATTERN: usize = 1000;

/// The longest name of a rule, bytes.
const LONGEST_NAME: usize = 64;

/// What a compiled pattern may take, bytes: `\w{1000}` is short, too.
const MAX_COMPILED: usize = 1 << 20;

/// What memory a search may take to be fast, bytes.
const MAX_CACHED: usize = 2 << 20;

/// How often a text is looked at, each time without what was found before.
const MOST_PASSES: usize = 8;

/// What was found, by the name of the rule: how many values.
pub type Found = BTreeMap<Arc<str>, u64>;

/// The rules in force; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    rules: Arc<[Rule]>,
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Rule {
    name: Arc<str>,
    pattern: Regex,
    /// What a match has to be besides, of rules that come with the program.
    check: Option<Check>,
}

/// A part of a text that becomes another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where it stands, bytes.
    pub range: Range<usize>,
    /// What stands there instead.
    pub with: String,
}

impl Rule {
    /// The rule of this name that comes with the program.
    pub fn built_in(name: &str) -> Option<Self> {
        let known = BUILT_IN.iter().find(|known| known.name == name)?;
        let pattern = compile(known.pattern).ok()?;
        Some(Self { name: known.name.into(), pattern, check: Some(known.check) })
    }

    /// A rule of one's own.
    ///
    /// # Errors
    /// What is wrong with the pattern, in words that fit after its place.
    pub fn own(name: &str, pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN {
            return Err(format!("has {} bytes of at most {MAX_PATTERN}", pattern.len()));
        }
        let pattern = compile(pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "stands for too much: repeats less of it".to_owned(),
            // The last line says what is wrong; those before it draw where.
            error => {
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().trim();
                format!("is no regular expression: {}", why.trim_start_matches("error: "))
            }
        })?;
        let is_empty = |text: &str| pattern.find_iter(text).any(|found| found.is_empty());
        if is_empty("") || is_empty("a 1.\n") {
            return Err("matches the empty text, so everywhere".to_owned());
        }
        Ok(Self { name: name.into(), pattern, check: None })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn find(&self, text: &str, mut on_match: impl FnMut(Range<usize>)) {
        let mut from = 0;
        while let Some(found) = text.get(from..).and_then(|_| self.pattern.find_at(text, from)) {
            let range = match self.check {
                None => Ok(found.range()),
                Some(check) => check(text, found.range()),
            };
            from = match range {
                Ok(range) => {
                    let end = range.end;
                    if !range.is_empty() {
                        on_match(range);
                    }
                    end.max(found.start() + 1)
                }
                Err(next) => next.max(found.start() + 1),
            };
            while from < text.len() && !text.is_char_boundary(from) {
                from += 1;
            }
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MAX_COMPILED).dfa_size_limit(MAX_CACHED).build()
}

impl Redactor {
    /// These rules; where two match the same place, the one that begins first gives its name.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into() }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A body without what the rules match; `None` when they match nothing.
    ///
    /// Of JSON, texts are edited and every other byte stays; anything else is a text.
    pub fn body(&self, body: &Bytes, found: &mut Found) -> Option<Bytes> {
        if self.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(body);
        let edits = Walk::message(self, &text, found).unwrap_or_else(|| self.plain(&text, found));
        (!edits.is_empty()).then(|| Bytes::from(apply(&text, &edits)))
    }

    /// A text without what the rules match; `None` when they match nothing.
    pub fn text(&self, text: &str, found: &mut Found) -> Option<String> {
        let edits = self.edits(text, found);
        (!edits.is_empty()).then(|| apply(text, &edits))
    }

    /// How to edit a text; one that is JSON stays JSON.
    fn edits(&self, text: &str, found: &mut Found) -> Vec<Edit> {
        let is_like_json = text.trim_start().starts_with(['{', '[']);
        let walked = is_like_json.then(|| Walk::data(self, text, found)).flatten();
        walked.unwrap_or_else(|| self.plain(text, found))
    }

    /// How to edit a text that is nothing else.
    fn plain(&self, text: &str, found: &mut Found) -> Vec<Edit> {
        self.edit_by(|_| true, text, found)
    }

    /// As [`Self::plain`], without the rules that know nothing of what they match.
    fn plain_by_built_in(&self, text: &str, found: &mut Found) -> Vec<Edit> {
        self.edit_by(|rule| rule.check.is_some(), text, found)
    }

    fn edit_by(&self, counts: fn(&Rule) -> bool, text: &str, found: &mut Found) -> Vec<Edit> {
        let mut whole = self.matches(counts, text, 0);
        for _ in 1..MOST_PASSES {
            // With its neighbour gone, what is left may be a value of its own.
            let ends = whole.iter().map(|(range, _)| range.end);
            let starts = whole.iter().map(|(range, _)| range.start).chain([text.len()]);
            let gaps = std::iter::once(0).chain(ends).zip(starts);
            let more = gaps.flat_map(|(from, to)| {
                let gap = text.get(from..to).filter(|_| to - from < text.len());
                self.matches(counts, gap.unwrap_or_default(), from)
            });
            let more: Vec<_> = more.collect();
            if more.is_empty() {
                break;
            }
            whole.extend(more);
            whole.sort_by_key(|(range, _)| range.start);
        }
        let edit = |(range, rule): (Range<usize>, &Rule)| {
            *found.entry(rule.name.clone()).or_default() += 1;
            Edit { range, with: format!("[{}]", rule.name) }
        };
        whole.into_iter().map(edit).collect()
    }

    /// What the rules match in a text that begins at `from` of the whole, in order and apart.
    fn matches(
        &self,
        counts: fn(&Rule) -> bool,
        text: &str,
        from: usize,
    ) -> Vec<(Range<usize>, &Rule)> {
        let mut matches: Vec<(Range<usize>, &Rule)> = Vec::new();
        for rule in self.rules.iter().filter(|rule| counts(rule)) {
            rule.find(text, |range| {
                if !self.is_replaced(text, &range) {
                    matches.push((range.start + from..range.end + from, rule));
                }
            });
        }
        matches.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
        let mut whole: Vec<(Range<usize>, &Rule)> = Vec::new();
        for (range, rule) in matches {
            match whole.last_mut() {
                // What any rule matches goes.
                Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
                _ => whole.push((range, rule)),
            }
        }
        whole
    }

    /// Whether this is what took the place of something, so that to redact twice is to redact once.
    fn is_replaced(&self, text: &str, range: &Range<usize>) -> bool {
        // A long text may have many matches, so only what is near is looked at.
        let bytes = text.as_bytes();
        let near = range.start.saturating_sub(LONGEST_NAME)..=range.start;
        let behind = range.end.saturating_sub(1)..bytes.len().min(range.end + LONGEST_NAME + 1);
        let open = bytes.get(near.clone()).and_then(|near| memchr::memrchr(b'[', near));
        let close = bytes.get(behind.clone()).and_then(|behind| memchr::memchr(b']', behind));
        let (Some(open), Some(close)) = (open, close) else { return false };
        let name = bytes.get(near.start() + open + 1..behind.start + close);
        name.is_some_and(|name| self.rules.iter().any(|rule| rule.name.as_bytes() == name))
    }
}

/// The text with its edits, which are in order and do not overlap.
fn apply(text: &str, edits: &[Edit]) -> String {
    let pieces = spread(&[Cow::Borrowed(text)], edits);
    pieces.into_iter().next().unwrap_or_default()
}

/// The pieces of a text with the edits of the whole: what replaces a match stands in the piece in
/// which the match begins.
fn spread(pieces: &[Cow<'_, str>], edits: &[Edit]) -> Vec<String> {
    let mut edits = edits.iter().peekable();
    let (mut begins, mut gone_to) = (0, 0);
    let mut edited = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let ends = begins + piece.len();
        let (mut at, mut out) = (begins.max(gone_to).min(ends), String::new());
        while let Some(edit) = edits.next_if(|edit| edit.range.start < ends) {
            out.push_str(piece.get(at - begins..edit.range.start - begins).unwrap_or_default());
            out.push_str(&edit.with);
            gone_to = edit.range.end;
            at = gone_to.min(ends);
        }
        out.push_str(piece.get(at - begins..).unwrap_or_default());
        edited.push(out);
        begins = ends;
    }
    edited
}
