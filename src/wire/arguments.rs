//! The arguments of a call as the JSON object that some dialects demand.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::Value;

/// Begins an object that holds free text, which ends with [`AFTER`].
const BEFORE: &str = "{\"input\":\"";
const AFTER: &str = "\"}";

/// Whole arguments as an object: as they came where they are one, empty where there are none, and
/// else, such as the free text of a custom tool or a text that was cut off, under `input`.
pub fn object(arguments: &str) -> Cow<'_, str> {
    let text = arguments.trim();
    if is_nothing(text) {
        return Cow::Borrowed("{}");
    }
    if text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Cow::Borrowed(text);
    }
    Cow::Owned([BEFORE, &escaped(arguments), AFTER].concat())
}

/// [`object`] as a value.
pub fn value(arguments: &str) -> Value {
    serde_json::from_str(&object(arguments)).unwrap_or_else(|_| Value::Object(Default::default()))
}

/// Arguments that come in pieces, as pieces of an object.
///
/// What begins like an object is taken for one, since its pieces cannot wait for the last.
#[derive(Debug, Default)]
pub struct Pieces {
    shape: Shape,
    /// Space before the first letter, which is what tells.
    space: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shape {
    #[default]
    Unknown,
    Object,
    Text,
}

impl Pieces {
    /// What the next piece adds to the object; empty while there is nothing to add.
    pub fn push<'a>(&mut self, piece: &'a str) -> Cow<'a, str> {
        match self.shape {
            Shape::Object => Cow::Borrowed(piece),
            Shape::Text => Cow::Owned(escaped(piece)),
            Shape::Unknown => self.first(piece),
        }
    }

    /// What ends the object, if anything is missing.
    pub fn end(&mut self) -> &'static str {
        let shape = std::mem::take(&mut self.shape);
        if shape == Shape::Text { AFTER } else { "" }
    }

    /// Whether the pieces are an object's own.
    pub fn is_object(&self) -> bool {
        self.shape == Shape::Object
    }

    fn first<'a>(&mut self, piece: &'a str) -> Cow<'a, str> {
        let text = piece.trim();
        if text.is_empty() {
            self.space.push_str(piece);
        }
        if is_nothing(text) {
            return Cow::Borrowed("");
        }
        if text.starts_with('{') {
            self.shape = Shape::Object;
            return Cow::Borrowed(piece);
        }
        self.shape = Shape::Text;
        Cow::Owned([BEFORE, &escaped(&self.space), &escaped(piece)].concat())
    }
}

/// Some servers write `null` for no arguments.
fn is_nothing(text: &str) -> bool {
    matches!(text, "" | "null")
}

/// The text as it stands inside a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let inside = quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"'));
    inside.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_object_whatever_came() {
        for (arguments, expected) in [
            ("", "{}"),
            ("null", "{}"),
            ("[1]", "{\"input\":\"[1]\"}"),
            ("{\"a\": 1.50}", "{\"a\": 1.50}"),
            (" {\"a\":1}\n", "{\"a\":1}"),
            ("{\"a\":", "{\"input\":\"{\\\"a\\\":\"}"),
            (" ls \"x\"\n", "{\"input\":\" ls \\\"x\\\"\\n\"}"),
        ] {
            assert_eq!(object(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn pieces_make_the_object_that_the_whole_is() {
        for whole in ["", "null", "[1]", " {\"a\": 1}", "  é \"x\"\n\u{1}", "\"{}\"", "no { json }"]
        {
            for step in [1, 2, 3, whole.len().max(1)] {
                let letters: Vec<char> = whole.chars().collect();
                let step = if whole == "null" { 4 } else { step };
                let mut pieces = Pieces::default();
                let parts = letters.chunks(step).map(|chunk| chunk.iter().collect::<String>());
                let mut made: String = parts.map(|part| pieces.push(&part).into_owned()).collect();
                made.push_str(pieces.end());
                let made = if made.is_empty() { "{}" } else { made.trim() };
                assert_eq!(made, object(whole), "{whole:?} by {step}");
            }
        }
    }
}
