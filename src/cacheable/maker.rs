//! Who made the latest answers of a target, and whether a stored answer's maker is gone.

use std::collections::VecDeque;

/// How many of the latest answers are remembered of each target.
const REMEMBERED: usize = 16;

/// What an answer tells of the model that gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maker {
    /// When it answered, Unix milliseconds.
    pub answered_ms: i64,
    /// The model as the provider names it: `gpt-4o` is answered by `gpt-4o-2024-08-06`.
    pub model: Option<String>,
    /// The provider's name for the exact system that ran it.
    pub fingerprint: Option<String>,
}

/// The makers of the latest answers of one target, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Latest {
    makers: VecDeque<Maker>,
}

impl Latest {
    /// Takes note of an answer, which may be older than others.
    pub fn note(&mut self, maker: Maker) {
        if self.makers.contains(&maker) {
            return;
        }
        let at = self.makers.partition_point(|known| known.answered_ms <= maker.answered_ms);
        self.makers.insert(at, maker);
        if self.makers.len() > REMEMBERED {
            self.makers.pop_front();
        }
    }

    /// Whether the target has another maker now than that of a stored answer.
    ///
    /// The model moved when the newest answer names another one. Some targets are routers, which
    /// name now this model and now that: one that returned to an earlier model has not moved. A
    /// fingerprint belongs to one of many clusters, so it is gone only when none of a full memory
    /// of later answers has it, although all of them have one.
    pub fn has_moved_from(&self, stored: &Maker) -> bool {
        let Some(newest) = self.makers.back() else { return false };
        if newest.answered_ms <= stored.answered_ms {
            return false;
        }
        let is_other = stored.model.is_some() && newest.model.is_some();
        if is_other && stored.model != newest.model && !self.alternates() {
            return true;
        }
        let is_gone =
            |known: &Maker| known.fingerprint.is_some() && known.fingerprint != stored.fingerprint;
        stored.fingerprint.is_some()
            && self.makers.len() == REMEMBERED
            && self.makers.iter().all(is_gone)
    }

    /// Whether an answer names a model that another one had already taken the place of.
    fn alternates(&self) -> bool {
        let mut models: Vec<&str> =
            self.makers.iter().filter_map(|maker| maker.model.as_deref()).collect();
        models.dedup();
        let runs = models.len();
        models.sort_unstable();
        models.dedup();
        models.len() < runs
    }
}
