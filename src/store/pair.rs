//! Pairs on disk: what was promised, which halves are there, and the scores.
//!
//! A pair is *open* from its intent until each of its candidates is scored or given up; open pairs
//! are all that a restart has to look at. Everything here is idempotent: writing twice changes
//! nothing, so doing again what a crash interrupted is safe.

use std::collections::HashSet;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::pair::Half;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::pair::PairId;
use crate::pair::Scored;
use crate::store::Store;
use crate::store::failed;
use crate::store::get;
use crate::store::put;
use crate::store::remove;
use crate::store::seal;

/// A pair that waits for answers or for the judge.
#[derive(Clone, Debug)]
pub struct Open {
    /// Which one.
    pub id: PairId,
    /// What was promised.
    pub head: IntentHead,
    /// Variants whose answer is stored.
    pub answered: Vec<String>,
}

impl Store {
    /// Every pair ever begun, so that a prompt sent again makes no second one.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn pair_ids(&self) -> Result<HashSet<PairId>> {
        let mut ids = HashSet::new();
        for key in self.main()?.pairs.iter().keys() {
            let key = key.map_err(|e| failed(&e))?;
            if let Some(id) = key.first_chunk::<16>() {
                ids.insert(PairId(*id));
            }
        }
        Ok(ids)
    }

    /// Stores the promise, with the half that is there already if one is, and marks the pair open.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_intent(&self, id: PairId, intent: &Intent, half: Option<&Half>) -> Result<()> {
        let record = self.sealer().seal(&intent.head, &[&intent.request]).ok_or_else(unwritable)?;
        // In this order: an open pair without its intent is cleaned up at the next start, but an
        // intent that is not open would keep its prompt from ever making a pair, and one without
        // its half would have it asked for.
        let head = self.sealer().seal_small(&intent.head).ok_or_else(unwritable)?;
        self.main()?.open.insert(id.0, head).map_err(|e| failed(&e))?;
        if let Some(half) = half {
            self.put_half(id, half)?;
        }
        put(&self.main()?.pairs, &part(id, "intent", ""), &record).map_err(|e| failed(&e))
    }

    /// The promise of a pair.
    pub fn intent(&self, id: PairId) -> Option<Intent> {
        let record = get(&self.main().ok()?.pairs, &part(id, "intent", "")).ok()??;
        let (head, request) = seal::unseal(&record, self.keys())?;
        Some(Intent { head, request })
    }

    /// Stores one variant's answer.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_half(&self, id: PairId, half: &Half) -> Result<()> {
        let record = self.sealer().seal(half, &[]).ok_or_else(unwritable)?;
        put(&self.main()?.pairs, &part(id, "half", &half.variant), &record).map_err(|e| failed(&e))
    }

    /// One variant's answer.
    pub fn half(&self, id: PairId, variant: &str) -> Option<Half> {
        let record = get(&self.main().ok()?.pairs, &part(id, "half", variant)).ok()??;
        seal::unseal::<Half>(&record, self.keys()).map(|(half, _)| half)
    }

    /// Every open pair; unreadable ones are closed, because nothing can be done for them.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn open_pairs(&self) -> Result<Vec<Open>> {
        let mut open = Vec::new();
        for entry in self.main()?.open.iter() {
            let (key, value) = entry.map_err(|e| failed(&e))?;
            let head = seal::unseal_small::<IntentHead>(&value, self.keys());
            match (<[u8; 16]>::try_from(&*key), head) {
                (Ok(id), Some(head)) if self.intent(PairId(id)).is_some() => {
                    let id = PairId(id);
                    let variants = head.variants.iter();
                    let answered = variants.filter(|variant| self.half(id, variant).is_some());
                    let answered = answered.cloned().collect();
                    open.push(Open { id, head, answered });
                }
                // With a half that was stored ahead of its promise, if there is one.
                (Ok(id), _) => self.forget_pair(PairId(id))?,
                _ => self.main()?.open.remove(&key).map(drop).map_err(|e| failed(&e))?,
            }
        }
        Ok(open)
    }

    /// Whether something is still to be done for this pair.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn is_open(&self, id: PairId) -> Result<bool> {
        self.main()?.open.contains_key(id.0).map_err(|e| failed(&e))
    }

    /// One of an open pair's variants is not waited for any more.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn narrow_pair(&self, id: PairId, head: &IntentHead) -> Result<()> {
        let head = self.sealer().seal_small(head).ok_or_else(unwritable)?;
        self.main()?.open.insert(id.0, head).map(drop).map_err(|e| failed(&e))
    }

    /// Nothing is left to do for this pair.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn close_pair(&self, id: PairId) -> Result<()> {
        self.main()?.open.remove(id.0).map(drop).map_err(|e| failed(&e))
    }

    /// Forgets a pair that came to nothing, so that the same prompt may make one later.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn forget_pair(&self, id: PairId) -> Result<()> {
        remove(&self.main()?.pairs, &id.0).map_err(|e| failed(&e))?;
        self.close_pair(id)
    }

    /// Stores what became of a pair; false if it was scored before, and then nothing changes.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_score(
        &self,
        experiment: &str,
        candidate: &str,
        id: PairId,
        scored: &Scored,
    ) -> Result<bool> {
        let value = serde_json::to_vec(scored).map_err(|_| unwritable())?;
        let key = score_key(experiment, candidate, id);
        let swapped = self.main()?.scores.compare_and_swap(key, None::<&[u8]>, Some(value));
        Ok(swapped.map_err(|e| failed(&e))?.is_ok())
    }

    /// Whether this candidate's pair is scored.
    pub fn has_score(&self, experiment: &str, candidate: &str, id: PairId) -> bool {
        let key = score_key(experiment, candidate, id);
        self.main().is_ok_and(|main| main.scores.contains_key(key).unwrap_or(false))
    }

    /// What became of this candidate's pair.
    pub fn score(&self, experiment: &str, candidate: &str, id: PairId) -> Option<Scored> {
        let key = score_key(experiment, candidate, id);
        serde_json::from_slice(&self.main().ok()?.scores.get(key).ok()??).ok()
    }

    /// Every score of one candidate.
    ///
    /// # Errors
    /// The disk is gone or a score is damaged.
    pub fn scores(&self, experiment: &str, candidate: &str) -> Result<Vec<(PairId, Scored)>> {
        let prefix = score_prefix(experiment, candidate);
        let mut scores = Vec::new();
        for entry in self.main()?.scores.scan_prefix(&prefix) {
            let (key, value) = entry.map_err(|e| failed(&e))?;
            let id = key.get(prefix.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            let scored = serde_json::from_slice(&value).ok();
            let (Some(id), Some(scored)) = (id, scored) else {
                return Err(Error::new(
                    Kind::Store,
                    format!("a score of {experiment}/{candidate} is damaged"),
                ));
            };
            scores.push((PairId(id), scored));
        }
        Ok(scores)
    }

    /// The pairs of an experiment that are scored, of all candidates, with when each was, Unix
    /// milliseconds.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn scored_ids(&self, experiment: &str) -> Result<Vec<(i64, PairId)>> {
        let mut scored = Vec::new();
        for entry in self.main()?.scores.scan_prefix([experiment.as_bytes(), &[END]].concat()) {
            let (key, value) = entry.map_err(|e| failed(&e))?;
            let id = key.last_chunk::<16>().copied().map(PairId);
            let score = serde_json::from_slice::<Scored>(&value).ok();
            scored.extend(score.zip(id).map(|(score, id)| (score.scored_ms, id)));
        }
        Ok(scored)
    }

    /// The counters of an experiment's funnel, as the recorder last wrote them.
    pub fn funnel(&self, experiment: &str) -> Option<Vec<u8>> {
        Some(self.main().ok()?.funnel.get(experiment).ok()??.to_vec())
    }

    /// Stores the counters of an experiment's funnel.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_funnel(&self, experiment: &str, counters: &[u8]) -> Result<()> {
        self.main()?.funnel.insert(experiment, counters).map(drop).map_err(|e| failed(&e))
    }

    /// What was seen of a run's live answers, as the recorder last wrote it.
    pub fn vitals(&self, run: &str) -> Option<Vec<u8>> {
        Some(self.main().ok()?.vitals.get(run).ok()??.to_vec())
    }

    /// Stores what was seen of a run's live answers.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_vitals(&self, run: &str, seen: &[u8]) -> Result<()> {
        self.main()?.vitals.insert(run, seen).map(drop).map_err(|e| failed(&e))
    }

    /// Names of the experiments that have scores or a funnel here.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn experiments(&self) -> Result<Vec<String>> {
        let keys = self.main()?.funnel.iter().keys();
        keys.map(|key| Ok(String::from_utf8_lossy(&key.map_err(|e| failed(&e))?).into_owned()))
            .collect()
    }
}

/// Names end with a byte that no name contains, so that none is another's prefix.
const END: u8 = 0;

fn part(id: PairId, what: &str, variant: &str) -> Vec<u8> {
    [&id.0[..], what.as_bytes(), &[END], variant.as_bytes(), &[END]].concat()
}

/// The key under which what is known of a candidate's pair is stored.
pub(super) fn score_key(experiment: &str, candidate: &str, id: PairId) -> Vec<u8> {
    [&score_prefix(experiment, candidate)[..], &id.0].concat()
}

/// The beginning of the keys of all of a candidate's pairs.
pub(super) fn score_prefix(experiment: &str, candidate: &str) -> Vec<u8> {
    [experiment.as_bytes(), &[END], candidate.as_bytes(), &[END]].concat()
}

fn unwritable() -> Error {
    Error::new(Kind::Internal, "a pair could not be written as JSON")
}
