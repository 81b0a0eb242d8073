//! Gives every tool call of a conversation an id that Anthropic takes, and its result the same.

use std::collections::HashMap;
use std::collections::HashSet;

/// The ids given so far, in the order of the conversation.
///
/// Anthropic takes letters, digits, `_` and `-`, and each id once. Other dialects' ids may have
/// anything in them, come again in a later turn, or be missing.
#[derive(Default)]
pub struct Ids {
    /// What the newest call of that id is named here.
    given: HashMap<String, String>,
    used: HashSet<String>,
    /// Calls without an id whose result has not come, with the tool's name.
    waiting: Vec<(String, String)>,
    made: usize,
}

impl Ids {
    /// The id of the next call.
    pub fn call(&mut self, id: Option<&str>, tool: &str) -> String {
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            self.made += 1;
            let made = self.unused(&format!("call_{}", self.made));
            self.waiting.push((tool.to_owned(), made.clone()));
            return made;
        };
        let given = self.unused(&clean(id));
        self.given.insert(id.to_owned(), given.clone());
        given
    }

    /// The id of the call that the next result belongs to; one without an id belongs to the
    /// first call without an id, of its tool if it names one, that has no result.
    pub fn result(&mut self, id: Option<&str>, tool: Option<&str>) -> String {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            return self.given.get(id).cloned().unwrap_or_else(|| clean(id));
        }
        let is_its = |(name, _): &(String, String)| tool.is_none_or(|tool| tool == name);
        match self.waiting.iter().position(is_its) {
            Some(at) => self.waiting.remove(at).1,
            None => "unknown".to_owned(),
        }
    }

    fn unused(&mut self, wanted: &str) -> String {
        let mut id = wanted.to_owned();
        let mut count = 1;
        while !self.used.insert(id.clone()) {
            count += 1;
            id = format!("{wanted}_{count}");
        }
        id
    }
}

fn clean(id: &str) -> String {
    let is_taken = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    id.chars().map(|c| if is_taken(&c) { c } else { '_' }).collect()
}
