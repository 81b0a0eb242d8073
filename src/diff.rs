//! Where two JSON values, two texts or two answers differ, for people to read.

pub mod answer;
pub mod text;
pub mod unified;

use std::fmt::Write;
use std::ops::ControlFlow;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

/// The longest piece of a value that is shown, characters.
const SHOWN: usize = 60;

/// How much of what two strings share is shown before the first difference, characters.
const LEAD: usize = 16;

/// One place where two values differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Such as `messages[1].content`; empty for the whole.
    pub path: String,
    /// What stands there in the first; `None` where nothing does.
    pub before: Option<Value>,
    /// What stands there in the second.
    pub after: Option<Value>,
}

/// One step down into a value.
#[derive(Clone, Copy, Debug)]
enum Step<'v> {
    Member(&'v str),
    Item(usize),
}

/// How many leaves differ, counted no further than `most`.
///
/// Lists are compared by index, strings are equal or not; a part that only one has counts all of
/// its leaves.
pub fn distance(before: &Value, after: &Value, most: usize) -> usize {
    let mut differing = 0;
    let _ = walk(&mut Vec::new(), Some(before), Some(after), &mut |_, before, after| {
        differing += before.map_or(0, leaves).max(after.map_or(0, leaves));
        if differing >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    differing.min(most)
}

/// The first places that differ, in the order of the first value, at most `most`.
pub fn differences(before: &Value, after: &Value, most: usize) -> Vec<Difference> {
    let mut found = Vec::new();
    let _ = walk(&mut Vec::new(), Some(before), Some(after), &mut |path, before, after| {
        if found.len() >= most {
            return ControlFlow::Break(());
        }
        let (before, after) = (before.cloned(), after.cloned());
        found.push(Difference { path: written(path), before, after });
        ControlFlow::Continue(())
    });
    found
}

impl Difference {
    /// Both sides shortened to what shows the difference: two strings around the first character
    /// that is not the same.
    pub fn shown(&self) -> (String, String) {
        if let (Some(Value::String(before)), Some(Value::String(after))) =
            (&self.before, &self.after)
        {
            let shared = before.chars().zip(after.chars()).take_while(|(a, b)| a == b).count();
            let fits = before.chars().count().max(after.chars().count()) <= SHOWN;
            let skip = if fits { 0 } else { shared.saturating_sub(LEAD) };
            return (excerpt(before, skip), excerpt(after, skip));
        }
        (shown(self.before.as_ref()), shown(self.after.as_ref()))
    }
}

/// A value on one short line.
fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => excerpt(text, 0),
        Some(value) => shortened(&value.to_string()),
    }
}

/// A quoted piece of a string, from a character on.
fn excerpt(text: &str, skip: usize) -> String {
    let piece: String = text.chars().skip(skip).take(SHOWN).collect();
    let is_cut = text.chars().nth(skip + SHOWN).is_some();
    let (before, after) = (if skip > 0 { "…" } else { "" }, if is_cut { "…" } else { "" });
    // JSON's escapes keep it on one line.
    format!("{before}{}{after}", Value::from(piece))
}

/// The first characters of a text, with a mark where more was.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
    }
}

type Found<'f, 'v> =
    &'f mut dyn FnMut(&[Step<'v>], Option<&'v Value>, Option<&'v Value>) -> ControlFlow<()>;

/// Shows every place where two values differ, until told to stop.
fn walk<'v>(
    path: &mut Vec<Step<'v>>,
    before: Option<&'v Value>,
    after: Option<&'v Value>,
    found: Found<'_, 'v>,
) -> ControlFlow<()> {
    match (before, after) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let gone_or_kept = a.iter().map(|(name, value)| (name, Some(value), b.get(name)));
            let added = b.iter().filter(|(name, _)| !a.contains_key(*name));
            let added = added.map(|(name, value)| (name, None, Some(value)));
            for (name, before, after) in gone_or_kept.chain(added) {
                path.push(Step::Member(name));
                walk(path, before, after, found)?;
                path.pop();
            }
            ControlFlow::Continue(())
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for at in 0..a.len().max(b.len()) {
                path.push(Step::Item(at));
                walk(path, a.get(at), b.get(at), found)?;
                path.pop();
            }
            ControlFlow::Continue(())
        }
        (Some(a), Some(b)) if is_same(a, b) => ControlFlow::Continue(()),
        (None, None) => ControlFlow::Continue(()),
        (before, after) => found(path, before, after),
    }
}

/// `1`, `1.0` and `1e0` are one number, as in the cache's key.
fn is_same(a: &Value, b: &Value) -> bool {
    let both_whole = a.is_i64() && b.is_i64() || a.is_u64() && b.is_u64();
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) if !both_whole => x == y,
        _ => a == b,
    }
}

fn leaves(value: &Value) -> usize {
    let inside = match value {
        Value::Object(members) => members.values().map(leaves).sum(),
        Value::Array(items) => items.iter().map(leaves).sum(),
        _ => 1,
    };
    inside.max(1)
}

fn written(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        let _ = match step {
            Step::Item(at) => write!(text, "[{at}]"),
            Step::Member(name) if !is_plain(name) => write!(text, "[{}]", Value::from(*name)),
            Step::Member(name) if text.is_empty() => write!(text, "{name}"),
            Step::Member(name) => write!(text, ".{name}"),
        };
    }
    text
}

/// Needs no quotes in a path.
fn is_plain(name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    !name.is_empty() && name.chars().all(is_word)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::Difference;
    use super::differences;
    use super::distance;

    fn paths(before: &Value, after: &Value) -> Vec<String> {
        differences(before, after, 100).into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn every_place_is_named_and_counted_by_its_leaves() {
        for (before, after, wanted, leaves) in [
            (json!({"a": 1}), json!({"a": 1.0}), vec![], 0),
            (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}), vec![], 0),
            (json!({"a": [1, 2]}), json!({"a": [1, 3]}), vec!["a[1]"], 1),
            (json!({"a": [1]}), json!({"a": [1, {"x": 1, "y": 2}]}), vec!["a[1]"], 2),
            (json!({"a": {"b": "x"}}), json!({"a": {"b": "y", "c": 1}}), vec!["a.b", "a.c"], 2),
            (json!({"a b": 1, "": 2}), json!({"a b": 2, "": 3}), vec!["[\"a b\"]", "[\"\"]"], 2),
            (json!([]), json!({}), vec![""], 1),
            (json!({"a": null}), json!({}), vec!["a"], 1),
            (json!(u64::MAX), json!(u64::MAX - 1), vec![""], 1),
            (json!({"a": {"b": [1, 2, 3]}}), json!({"a": "b"}), vec!["a"], 3),
        ] {
            assert_eq!(paths(&before, &after), wanted, "{before} {after}");
            assert_eq!(distance(&before, &after, 100), leaves, "{before} {after}");
            assert_eq!(distance(&after, &before, 100), leaves, "{after} {before}");
        }
    }

    #[test]
    fn counting_stops_where_it_no_longer_matters() {
        let long = |n: usize| Value::from((0..n).collect::<Vec<_>>());
        assert_eq!(distance(&long(0), &long(1000), 7), 7);
        assert_eq!(differences(&json!([1, 2, 3]), &json!([4, 5, 6]), 2).len(), 2);
    }

    #[test]
    fn long_strings_are_shown_around_the_first_difference() {
        let long = |end: &str| Value::from(format!("{}{end}", "word ".repeat(100)));
        let found = |before: Option<Value>, after: Option<Value>| {
            Difference { path: String::new(), before, after }.shown()
        };
        let (before, after) = found(Some(long("cat")), Some(long("dog\nand")));
        assert_eq!(before, "…\" word word word cat\"");
        assert_eq!(after, "…\" word word word dog\\nand\"");
        let (before, after) = found(Some(json!("é".repeat(200))), None);
        assert_eq!((before.chars().count(), after.as_str()), (63, "nothing"));
        let (before, after) = found(Some(json!({"a": "b"})), Some(json!(0.5)));
        assert_eq!((before.as_str(), after.as_str()), ("{\"a\":\"b\"}", "0.5"));
    }
}
