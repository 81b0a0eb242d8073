//! Ids of tool calls for dialects that need one on every call and result, from requests that may
//! have none.

use std::collections::VecDeque;

/// Gives out ids along a conversation: a result without an id belongs to the oldest call of its
/// tool that came without one and has no result yet.
#[derive(Debug, Default)]
pub struct CallIds {
    given: usize,
    open: VecDeque<(String, String)>,
}

impl CallIds {
    /// At the start of a conversation.
    pub fn new() -> Self {
        Self::default()
    }

    /// The id of the next call, to the tool `name`.
    pub fn call(&mut self, id: Option<&str>, name: &str) -> String {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            return id.to_owned();
        }
        let made = format!("call_{}", self.given);
        self.given += 1;
        self.open.push_back((name.to_owned(), made.clone()));
        made
    }

    /// The id of the next result; without a tool's name it is that of the oldest open call.
    pub fn result(&mut self, id: Option<&str>, name: Option<&str>) -> String {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            return id.to_owned();
        }
        let is_it = |(tool, _): &(String, String)| name.is_none_or(|name| tool == name);
        let at = self.open.iter().position(is_it);
        match at.and_then(|at| self.open.remove(at)) {
            Some((_, id)) => id,
            // Nobody called it; the provider will say so.
            None => self.call(None, name.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CallIds;

    #[test]
    fn results_without_ids_find_their_calls() {
        let mut ids = CallIds::new();
        let calls = [(None, "a"), (Some("x"), "b"), (None, "b"), (None, "a")];
        let calls = calls.map(|(id, name)| ids.call(id, name));
        assert_eq!(calls, ["call_0", "x", "call_1", "call_2"]);
        let results = [(None, Some("b")), (Some("x"), None), (None, Some("a")), (None, None)];
        let results = results.map(|(id, name)| ids.result(id, name));
        assert_eq!(results, ["call_1", "x", "call_0", "call_2"]);
    }
}
