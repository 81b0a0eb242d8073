//! Puts together the arguments of a call that Gemini streams value by value.

use serde_json::Map;
use serde_json::Value;

use crate::wire::gemini::chunk::PartialArg;

/// The deepest path followed.
const MAX_DEPTH: usize = 64;

/// The longest list made for an index that comes out of order.
const MAX_GAP: usize = 1024;

/// Arguments so far.
#[derive(Debug, Default)]
pub struct Arguments {
    root: Map<String, Value>,
}

#[derive(Debug, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Arguments {
    /// Takes the next value, or the next piece of a string.
    pub fn push(&mut self, arg: PartialArg) {
        let PartialArg { json_path, string_value, number_value, bool_value, null_value } = arg;
        let mut steps = steps(json_path.as_deref().unwrap_or_default()).into_iter();
        let Some(Step::Key(first)) = steps.next() else { return };
        let mut place = self.root.entry(first).or_insert(Value::Null);
        for step in steps {
            let Some(next) = descend(place, step) else { return };
            place = next;
        }
        match (string_value, number_value, bool_value, null_value) {
            (Some(piece), ..) => match place {
                // A string comes in pieces under one path.
                Value::String(text) => text.push_str(&piece),
                other => *other = Value::String(piece),
            },
            (None, Some(number), ..) => *place = Value::Number(number),
            (None, None, Some(flag), _) => *place = Value::Bool(flag),
            (None, None, None, _) => *place = Value::Null,
        }
    }

    /// All fields of whole arguments, over those that came in pieces.
    pub fn merge(&mut self, whole: &str) {
        if let Ok(whole) = serde_json::from_str::<Map<String, Value>>(whole) {
            self.root.extend(whole);
        }
    }

    /// The arguments as JSON; empty when none came.
    pub fn finish(self) -> String {
        if self.root.is_empty() { String::new() } else { Value::Object(self.root).to_string() }
    }
}

/// What stands one step further down, made if it is not there.
fn descend(place: &mut Value, step: Step) -> Option<&mut Value> {
    match step {
        Step::Key(key) => {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            Some(place.as_object_mut()?.entry(key).or_insert(Value::Null))
        }
        Step::Index(index) => {
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            let items = place.as_array_mut()?;
            if index >= items.len() {
                if index - items.len() > MAX_GAP {
                    return None;
                }
                items.resize(index + 1, Value::Null);
            }
            items.get_mut(index)
        }
    }
}

/// The steps of `$.a[0]['b c']`, as RFC 9535 writes a singular path.
fn steps(path: &str) -> Vec<Step> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() && steps.len() < MAX_DEPTH {
        let bracket = rest.strip_prefix('[').and_then(|inner| inner.split_once(['[', ']']));
        let quoted = quoted(rest);
        if let Some((key, tail)) = quoted {
            steps.push(Step::Key(key));
            rest = tail;
        } else if let Some((index, tail)) = bracket
            && let Ok(index) = index.trim().parse()
        {
            steps.push(Step::Index(index));
            rest = tail;
        } else {
            let name = rest.trim_start_matches(['.', '[', ']']);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (key, tail) = name.split_at(end);
            if !key.is_empty() {
                steps.push(Step::Key(key.to_owned()));
            }
            rest = tail;
        }
    }
    steps
}

/// A name in brackets and quotes, with what follows it.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let inner = rest.strip_prefix('[')?;
    let quote = inner.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let mut key = String::new();
    let mut letters = inner.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => key.extend(letters.next().map(|(_, letter)| letter)),
            end if end == quote => {
                let tail = inner.get(at + 1..)?;
                return Some((key, tail.strip_prefix(']').unwrap_or(tail)));
            }
            other => key.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_in_every_spelling() {
        let key = |key: &str| Step::Key(key.to_owned());
        for (path, expected) in [
            ("$.id", vec![key("id")]),
            ("$.a[0].b", vec![key("a"), Step::Index(0), key("b")]),
            ("$.a[1][2]", vec![key("a"), Step::Index(1), Step::Index(2)]),
            ("$['a b'].c", vec![key("a b"), key("c")]),
            (r#"$["it's"]['\'.']"#, vec![key("it's"), key("'.")]),
            ("id", vec![key("id")]),
            ("$.é[x]", vec![key("é"), key("x]")]),
            ("$[", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(steps(path), expected, "{path}");
        }
    }
}
