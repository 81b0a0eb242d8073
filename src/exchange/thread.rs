//! Remembers which conversation each response belongs to, and who gave it, for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::plan::Thread;

/// Responses remembered in each half; with both, the last 32,768 at least and 65,536 at most.
const HALF: usize = 32_768;

/// The longest id, and the longest name of a conversation, that is remembered, bytes: providers and
/// applications use far shorter ones, and so memory stays bounded.
const MAX_BYTES: usize = 512;

/// The responses that conversations may go on from, by their ids.
#[derive(Debug, Default)]
pub struct Threads {
    halves: Mutex<Halves>,
}

/// When the newer half is full, the older one is let go and takes its place.
#[derive(Debug, Default)]
struct Halves {
    newer: HashMap<String, Arc<Thread>>,
    older: HashMap<String, Arc<Thread>>,
}

impl Threads {
    /// Notes a response; of one that is known the newest word counts.
    pub fn remember(&self, id: &str, thread: Thread) {
        let name = thread.conversation.as_deref().unwrap_or_default();
        if id.is_empty() || id.len() > MAX_BYTES || name.len() > MAX_BYTES {
            return;
        }
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if halves.newer.len() >= HALF {
            halves.older = std::mem::take(&mut halves.newer);
        }
        halves.newer.insert(id.to_owned(), Arc::new(thread));
    }

    /// What is known of a response.
    pub fn find(&self, id: &str) -> Option<Arc<Thread>> {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.newer.get(id).or_else(|| halves.older.get(id)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Target;

    fn thread(conversation: &str) -> Thread {
        let conversation = Some(conversation.to_owned());
        let target = Target { provider: "openai".to_owned(), model: "m".to_owned() };
        Thread { conversation, served: None, target }
    }

    #[test]
    fn the_newest_responses_are_known_and_memory_is_bounded() {
        let threads = Threads::default();
        for n in 0..5 * HALF / 2 {
            threads.remember(&format!("resp_{n}"), thread("c"));
        }
        let known = |n: usize| threads.find(&format!("resp_{n}")).is_some();
        assert!(known(5 * HALF / 2 - 1) && known(5 * HALF / 2 - HALF) && !known(0));
        let halves = threads.halves.lock().unwrap();
        assert!(halves.newer.len() + halves.older.len() <= 2 * HALF);
    }

    #[test]
    fn the_last_word_on_a_response_counts_and_giants_are_not_kept() {
        let threads = Threads::default();
        let giant = "x".repeat(MAX_BYTES + 1);
        threads.remember("resp", thread("a"));
        threads.remember("resp", thread("b"));
        threads.remember(&giant, thread("a"));
        threads.remember("other", thread(&giant));
        threads.remember("", thread("a"));
        assert_eq!(*threads.find("resp").unwrap(), thread("b"));
        assert!([giant.as_str(), "other", ""].iter().all(|id| threads.find(id).is_none()));
    }
}
