//! The keys of one provider while requests take them and tell how it went.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::config::KeySource;
use crate::config::Place;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::keyring::Digest;
use crate::keyring::Key;
use crate::keyring::Outcome;
use crate::keyring::Ring;
use crate::secrets::Secrets;
use crate::secrets::lock;
use crate::secrets::source::Source;

/// The keys of one provider.
pub struct Pool {
    ring: Mutex<Ring>,
    slots: Vec<Slot>,
}

struct Slot {
    place: Place,
    source: Option<Arc<Source>>,
    /// The turn of the source that the ring has.
    seen: AtomicU64,
}

/// A key that a request uses.
#[derive(Clone, Debug)]
pub struct Picked {
    /// The key.
    pub key: Key,
    slot: usize,
}

impl Pool {
    /// The keys of a provider; what is known of those in `former` stays known.
    pub fn new(keys: &[KeySource], secrets: &Secrets, former: Option<&Self>) -> Self {
        let now = Instant::now();
        let mut ring = Ring::new(keys.iter().map(|key| key.weight));
        let old = former.map(|former| (lock(&former.ring).clone(), &former.slots));
        for (at, key) in keys.iter().enumerate() {
            let same = |slot: &Slot| slot.place == key.place && key.place != Place::Value;
            if let Some((old, slots)) = &old
                && let Some(of) = slots.iter().position(same)
            {
                ring.inherit(at, old, of);
            }
            // A file is read with the configuration, and by its source, which may be ahead.
            if let Some(known) = key.key.clone().filter(|_| !key.is_live()) {
                ring.fill(at, Key::new(known), now);
            }
        }
        if let Some((old, _)) = &old {
            ring.remember(old);
        }
        let slot = |key: &KeySource| Slot {
            place: key.place.clone(),
            source: secrets.source(&key.place),
            seen: AtomicU64::new(0),
        };
        Self { ring: Mutex::new(ring), slots: keys.iter().map(slot).collect() }
    }

    /// Whether the configuration names no key.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The keys that one can choose among now; none where there is no choice.
    pub fn choice(&self) -> Vec<Digest> {
        if self.slots.len() < 2 {
            return Vec::new();
        }
        let now = Instant::now();
        self.ring(now).ready(now)
    }

    /// The key for a new request, another than those to `spare` if there is one; `None` when
    /// nothing is configured.
    ///
    /// # Errors
    /// No store has given a key yet, and why.
    pub async fn first(&self, spare: &[Digest]) -> Result<Option<Picked>> {
        if self.is_empty() {
            return Ok(None);
        }
        match self.pick(spare).or_else(|| self.best(&[])) {
            Some(picked) => Ok(Some(picked)),
            // Boxed, because it hardly ever happens and its future is large.
            None => Box::pin(self.awaited()).await.map(Some),
        }
    }

    /// The first key that a store gives.
    async fn awaited(&self) -> Result<Picked> {
        let mut trouble = None;
        for slot in &self.slots {
            let Some(source) = &slot.source else { continue };
            match source.ready().await {
                Ok(()) => break,
                Err(error) => trouble = trouble.or(Some((&slot.place, error))),
            }
        }
        self.best(&[]).ok_or_else(|| match trouble {
            Some((place, error)) => {
                Error::new(error.kind, format!("cannot be read from {place}: {error}"))
            }
            None => Error::new(Kind::Config, "is not there"),
        })
    }

    /// Notes what the provider thought of a key.
    pub fn report(&self, picked: &Picked, outcome: Outcome) {
        lock(&self.ring).report(picked.key.digest, outcome, Instant::now());
    }

    /// Another key for a request whose last one was not taken, if there may be one.
    pub async fn another(
        &self,
        last: &Picked,
        outcome: Outcome,
        tried: &[Digest],
    ) -> Option<Picked> {
        let source = self.slots.get(last.slot).and_then(|slot| slot.source.as_ref());
        let is_refused = outcome == Outcome::Refused;
        if let Some(picked) = self.pick(tried) {
            // The next request may find the new key, if there is one.
            source.filter(|_| is_refused).into_iter().for_each(|source| source.hurry());
            return Some(picked);
        }
        if !is_refused {
            return None;
        }
        if let Some(source) = source {
            let slot = self.slots.get(last.slot)?;
            source.renew(slot.seen.load(Ordering::Acquire)).await;
            if let Some(picked) = self.pick(tried) {
                return Some(picked);
            }
            if let Some(before) = source.recall().await {
                lock(&self.ring).recall(last.slot, before, Instant::now());
            }
        }
        self.best(tried)
    }

    fn best(&self, tried: &[Digest]) -> Option<Picked> {
        let rested = || lock(&self.ring).last_resort(tried, Instant::now());
        let rested = || rested().map(|(slot, key)| Picked { key, slot });
        self.pick(tried).or_else(rested)
    }

    fn pick(&self, tried: &[Digest]) -> Option<Picked> {
        let now = Instant::now();
        self.ring(now).pick(tried, now).map(|(slot, key)| Picked { key, slot })
    }

    /// The ring, with every key that its source has by now.
    fn ring(&self, now: Instant) -> MutexGuard<'_, Ring> {
        let mut ring = lock(&self.ring);
        for (at, slot) in self.slots.iter().enumerate() {
            let Some(source) = &slot.source else { continue };
            let turn = source.turn();
            if slot.seen.swap(turn, Ordering::AcqRel) != turn
                && let Some(key) = source.key()
            {
                ring.fill(at, key, now);
            }
        }
        ring
    }
}
