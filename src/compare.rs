//! Deterministic checks that settle a pair without asking a judge.
//!
//! | comparator | calls them equal | lets one lose | else |
//! |---|---|---|---|
//! | `code` | the code blocks are the same up to white space | | cannot tell |
//! | `exact` | content is the same, byte for byte | | cannot tell |
//! | `json` | both are JSON of the same value | | cannot tell |
//! | `language` | | | languages differ: nothing may call them equal |
//! | `length` | | | one is over twice as long: nothing may call them equal |
//! | `number` | both end in the same number | | cannot tell |
//! | `refusal` | both refuse | | cannot tell: whether a refusal is right is the judge's to say |
//! | `schema` | | the only one that is not of the shape asked for | cannot tell |
//! | `text` | words are the same, whatever the case, punctuation at their ends, white space | | cannot tell |
//! | `tool_calls` | the same calls with the same arguments, and no word | | cannot tell |

mod code;
pub mod language;
mod number;
pub mod refusal;
pub mod schema;
pub mod shape;
pub mod text;
mod tool;

use serde_json::Value;

use crate::chat::Answer;
use crate::chat::request::Request;

/// Answers below so many characters are too short for their lengths to say anything.
const SHORT: usize = 200;

/// How many times as long an answer may be before lengths differ.
const LONGER: usize = 2;

/// A check by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// Blocks of code are the same up to white space.
    Code,
    /// Text, tool calls and refusals are the same, byte for byte.
    Exact,
    /// Both texts are JSON and hold the same value.
    Json,
    /// They are in two languages.
    Language,
    /// One is much longer.
    Length,
    /// They come to the same number.
    Number,
    /// Both refuse.
    Refusal,
    /// Only one keeps to the schema that was asked for.
    Schema,
    /// The words are the same.
    Text,
    /// Both call the same tools with the same arguments, in any order, and say nothing else.
    ToolCalls,
}

/// Every comparator with its name in YAML, sorted by name.
pub static COMPARATORS: &[(&str, Comparator)] = &[
    ("code", Comparator::Code),
    ("exact", Comparator::Exact),
    ("json", Comparator::Json),
    ("language", Comparator::Language),
    ("length", Comparator::Length),
    ("number", Comparator::Number),
    ("refusal", Comparator::Refusal),
    ("schema", Comparator::Schema),
    ("text", Comparator::Text),
    ("tool_calls", Comparator::ToolCalls),
];

/// What a comparator says of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The answers are equal in its sense: a tie.
    Equal,
    /// They differ in a way that forbids any other comparator to call them equal.
    Differs,
    /// The candidate's answer fails where control's does not.
    ControlBetter,
    /// Control's answer fails where the candidate's does not.
    CandidateBetter,
    /// It cannot tell.
    Unknown,
}

/// Two answers to one request.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// What was asked, if it can be read.
    pub asked: Option<&'a Request>,
    /// Control's answer.
    pub control: &'a Answer,
    /// The candidate's answer.
    pub candidate: &'a Answer,
}

impl Comparator {
    /// The comparator of that name.
    pub fn parse(name: &str) -> Option<Self> {
        COMPARATORS.iter().find(|(n, _)| *n == name).map(|(_, c)| *c)
    }

    /// Its name in YAML.
    pub fn name(self) -> &'static str {
        COMPARATORS.iter().find(|(_, c)| *c == self).map_or("", |(name, _)| name)
    }

    /// What it says of a pair.
    pub fn find(self, pair: &Compared<'_>) -> Finding {
        let (a, b) = (pair.control, pair.candidate);
        let equal = |is_equal: bool| if is_equal { Finding::Equal } else { Finding::Unknown };
        match self {
            Self::Code => equal(both(&code::blocks(a), &code::blocks(b))),
            Self::Exact => equal(a.content() == b.content()),
            Self::Json => equal(both_same(&json(a), &json(b))),
            Self::Language => differs(both_differ(&language(a), &language(b))),
            Self::Length => differs(is_longer(a, b) || is_longer(b, a)),
            Self::Number => equal(number::is_same(a, b)),
            Self::Refusal => equal(refusal::refuses(a) && refusal::refuses(b)),
            Self::Schema => shaped(pair),
            Self::Text => equal(text::even(a) == text::even(b)),
            Self::ToolCalls => equal(tool::is_same(a, b)),
        }
    }
}

/// What all comparators say together, and who says it; `None` leaves the pair to the judge.
///
/// A failure of one answer counts before anything that both have in common; two comparators that
/// name different losers settle nothing.
pub fn settle(comparators: &[Comparator], pair: &Compared<'_>) -> Option<(Comparator, Finding)> {
    let found: Vec<(Comparator, Finding)> =
        comparators.iter().map(|comparator| (*comparator, comparator.find(pair))).collect();
    let first = |wanted: Finding| found.iter().find(|(_, finding)| *finding == wanted).copied();
    match (first(Finding::ControlBetter), first(Finding::CandidateBetter)) {
        (Some(_), Some(_)) => None,
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) if first(Finding::Differs).is_some() => None,
        (None, None) => first(Finding::Equal),
    }
}

fn differs(they_do: bool) -> Finding {
    if they_do { Finding::Differs } else { Finding::Unknown }
}

fn both<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_some() && a == b
}

fn both_differ<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_some() && b.is_some() && a != b
}

fn both_same(a: &Option<Value>, b: &Option<Value>) -> bool {
    a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| tool::same(a, b))
}

/// The one text of an answer that is nothing but JSON, perhaps in a fence of its own.
fn json(answer: &Answer) -> Option<Value> {
    let [choice] = answer.choices.as_slice() else { return None };
    if !choice.tool_calls.is_empty() {
        return None;
    }
    let text = choice.text.trim();
    let fenced = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    let inner = fenced.and_then(|text| text.strip_suffix("```"));
    serde_json::from_str(inner.unwrap_or(text).trim()).ok()
}

fn language(answer: &Answer) -> Option<&'static str> {
    language::of(answer.text())
}

fn is_longer(a: &Answer, b: &Answer) -> bool {
    let (a, b) = (a.text().chars().count(), b.text().chars().count());
    a >= SHORT && a > b.saturating_mul(LONGER)
}

/// An answer that is not of the shape asked for loses against one that is.
fn shaped(pair: &Compared<'_>) -> Finding {
    let Some(asked) = pair.asked else { return Finding::Unknown };
    let fails = |answer: &Answer| shape::misshapen(asked, answer);
    match (fails(pair.control), fails(pair.candidate)) {
        (Some(true), Some(false)) => Finding::CandidateBetter,
        (Some(false), Some(true)) => Finding::ControlBetter,
        _ => Finding::Unknown,
    }
}

#[cfg(test)]
mod tests;
