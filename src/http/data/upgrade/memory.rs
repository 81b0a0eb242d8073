//! What a socket remembers of its last responses, so that a turn can name one of them.
//!
//! A request that names a remembered response is always sent with the whole conversation instead
//! of the name: whoever answers it, another provider, a cache, a provider that was told to store
//! nothing, understands it. Only names that this socket never gave are left to the provider.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The most responses remembered.
const MOST: usize = 16;

/// The most bytes remembered.
const MOST_BYTES: usize = 8 << 20;

/// The last responses of a socket, the latest last.
#[derive(Debug, Default)]
pub struct Memory {
    kept: VecDeque<Past>,
    bytes: usize,
}

/// A response and everything said up to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its id.
    pub id: String,
    /// Input and output items: JSON, separated by commas.
    pub items: String,
}

/// As much of an item as tells whether it means anything to someone who did not store it.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default, borrow)]
    encrypted_content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
}

impl Memory {
    /// The items up to the end of a response.
    pub fn items(&self, id: &str) -> Option<&str> {
        let found = self.kept.iter().rev().find(|past| past.id == id)?;
        Some(&found.items)
    }

    /// Remembers a response and forgets the oldest ones it has no room beside.
    pub fn keep(&mut self, past: Past) {
        if past.items.len() > MOST_BYTES {
            return;
        }
        self.bytes += past.items.len();
        self.kept.push_back(past);
        while self.kept.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes -= oldest.items.len();
        }
    }
}

/// Items put together, what was said before first.
pub fn joined<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(",")
}

/// Whether an item is only the name of reasoning that nobody stored.
pub fn is_bare_reasoning(item: &str) -> bool {
    let Ok(item) = serde_json::from_str::<Item<'_>>(item) else { return false };
    let is_empty = |field: Option<&RawValue>| {
        field.is_none_or(|field| matches!(field.get(), "null" | "\"\"" | "[]"))
    };
    item.r#type.as_deref() == Some("reasoning")
        && is_empty(item.encrypted_content)
        && is_empty(item.content)
}

#[cfg(test)]
mod tests {
    use super::MOST;
    use super::MOST_BYTES;
    use super::Memory;
    use super::Past;
    use super::is_bare_reasoning;
    use super::joined;

    fn past(id: usize, items: String) -> Past {
        Past { id: id.to_string(), items }
    }

    #[test]
    fn the_latest_responses_are_remembered_within_count_and_bytes() {
        let mut memory = Memory::default();
        (0..MOST + 2).for_each(|id| memory.keep(past(id, format!("{{\"n\":{id}}}"))));
        assert_eq!(memory.items("1"), None);
        assert_eq!(memory.items("2"), Some("{\"n\":2}"));
        memory.keep(past(90, " ".repeat(MOST_BYTES)));
        assert_eq!((memory.items("2"), memory.items("90").is_some()), (None, true));
        memory.keep(past(91, " ".repeat(MOST_BYTES + 1)));
        assert_eq!((memory.items("91"), memory.items("90").is_some()), (None, true));
        memory.keep(past(92, "{}".to_owned()));
        assert_eq!((memory.items("90"), memory.items("92")), (None, Some("{}")));
    }

    #[test]
    fn only_reasoning_that_says_nothing_is_bare() {
        for (item, expected) in [
            ("{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}", true),
            ("{\"type\":\"reasoning\",\"encrypted_content\":null,\"content\":[]}", true),
            ("{\"type\":\"reasoning\",\"encrypted_content\":\"x\"}", false),
            ("{\"type\":\"reasoning\",\"content\":[{\"text\":\"x\"}]}", false),
            ("{\"type\":\"message\",\"content\":[]}", false),
            ("[1]", false),
            ("nothing", false),
        ] {
            assert_eq!(is_bare_reasoning(item), expected, "{item}");
        }
    }

    #[test]
    fn nothing_stands_between_items_but_one_comma() {
        assert_eq!(joined(["", "{}", "", "[],1"]), "{},[],1");
    }
}
