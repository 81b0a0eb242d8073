//! Answers by key: moka in memory over the store on disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::cacheable::directive::MAX_SAMPLES;
use crate::cacheable::maker::Latest;
use crate::cacheable::maker::Maker;
use crate::config::CachePolicy;
use crate::key::CacheKey;
use crate::key::Reading;
use crate::memory::Memory;
use crate::plan::CacheRules;
use crate::store::Store;
use crate::store::exchange::Exchange;
use crate::store::exchange::Head;

/// What a request that was read takes, by the bytes of its body.
const READING_COST: usize = 4;

/// What one entry costs beside its bytes.
const ENTRY_BYTES: usize = 512;

/// Targets whose latest makers are remembered; with more of them, some are forgotten.
const MAX_TARGETS: usize = 1024;

/// Looks answers up; clones share the memory.
#[derive(Clone)]
pub struct Cache {
    memory: moka::sync::Cache<CacheKey, Row>,
    /// By their very bytes.
    readings: moka::sync::Cache<[u8; 32], (u32, Arc<Reading>)>,
    makers: Arc<Mutex<HashMap<String, Latest>>>,
    store: Store,
}

/// The exchanges of one key, the newest first.
#[derive(Clone)]
struct Row {
    exchanges: Arc<[Arc<Exchange>]>,
    /// Everything that was on disk when the row was made is in it.
    is_whole: bool,
}

/// What is looked for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// What the cache may do for the request.
    pub rules: &'a CacheRules,
    /// Unix milliseconds.
    pub now_ms: i64,
    /// Gives any number that differs from request to request; it draws one of several answers.
    pub draw: &'a (dyn Fn() -> u64 + Sync),
    /// How a stored exchange fits the form that is asked for; `None` if it cannot be given in it.
    pub fits: &'a (dyn Fn(&Exchange) -> Option<Fit> + Sync),
}

/// How well a stored exchange fits the form that is asked for, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// These are the bytes.
    AsItCame,
    /// They are made of it.
    Made,
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Found {
    /// An answer that may be served.
    Answer(Arc<Exchange>),
    /// A failure that would only repeat itself.
    Failure(Arc<Exchange>),
    /// Answers that may be served, but fewer than there are to be.
    TooFew,
    /// Only answers whose time is over.
    Expired,
    /// Only answers that the request itself does not accept.
    Declined,
    /// Only answers of a model that the target has no more.
    Moved,
    /// No answer.
    Nothing,
}

impl Cache {
    /// An empty memory over `store`.
    pub fn new(store: Store, policy: &CachePolicy, room: Memory) -> Self {
        let memory = moka::sync::Cache::builder()
            .max_capacity(room.answers.min(policy.max_bytes))
            .weigher(|_, row: &Row| {
                row.exchanges.iter().fold(0, |sum: u32, one| sum.saturating_add(weight(one)))
            })
            .time_to_live(policy.ttl)
            .build();
        let readings = moka::sync::Cache::builder()
            .max_capacity(room.readings.min(policy.max_bytes))
            .weigher(|_, (weight, _): &(u32, Arc<Reading>)| *weight)
            .build();
        Self { memory, readings, makers: Arc::default(), store }
    }

    /// What was read of a request with these bytes, if it is remembered.
    pub fn reading(&self, name: &[u8; 32]) -> Option<Arc<Reading>> {
        self.readings.get(name).map(|(_, reading)| reading)
    }

    /// Remembers what was read of a request of so many bytes.
    pub fn remember(&self, name: [u8; 32], reading: Arc<Reading>, bytes: usize) {
        let weight = bytes.saturating_mul(READING_COST).saturating_add(ENTRY_BYTES);
        self.readings.insert(name, (u32::try_from(weight).unwrap_or(u32::MAX), reading));
    }

    /// What is stored under `key`, as far as it is wanted.
    ///
    /// Reads the disk only when the key is known to be there.
    pub async fn get(&self, key: &CacheKey, wanted: Wanted<'_>) -> Found {
        let place = if wanted.rules.any_tenant { key.of_anyone() } else { *key };
        let row = match self.memory.get(&place) {
            Some(row) if row.is_whole => Some(row),
            _ if self.store.has_answer(key) => self.load(*key, place).await,
            row => row,
        };
        let Some(row) = row else { return Found::Nothing };
        let target = row.exchanges.first().map_or("", |newest| newest.head.target.as_str());
        let makers = self.makers();
        let latest = makers.get(target);
        let has_moved = |head: &Head| latest.is_some_and(|it| it.has_moved_from(&maker_of(head)));
        choose(&row.exchanges, wanted, &has_moved)
    }

    /// Makes an answer available at once, beside so many of the prompt's others; the recorder
    /// brings it to disk.
    pub fn insert(&self, key: CacheKey, exchange: Arc<Exchange>, samples: u32) {
        self.note(&exchange.head);
        let is_new = !self.store.has_answer(&key);
        self.memory.entry(key).and_upsert_with(|entry| {
            let row = entry.map(moka::Entry::into_value);
            let (old, is_whole) = row.map_or((None, is_new), |r| (Some(r.exchanges), r.is_whole));
            let old = old.iter().flat_map(|old| old.iter().cloned());
            Row { exchanges: merged(std::iter::once(exchange).chain(old), samples), is_whole }
        });
    }

    /// Lets go of what the store has forgotten.
    pub fn forget(&self, key: &CacheKey) {
        self.memory.invalidate(key);
        self.memory.invalidate(&key.of_anyone());
    }

    /// Brings what is on disk together with what is not there yet.
    async fn load(&self, key: CacheKey, place: CacheKey) -> Option<Row> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || match key == place {
            true => store.answers(&key),
            false => store.answers_like(&key),
        });
        let read = read.await.ok()?;
        read.iter().for_each(|exchange| self.note(&exchange.head));
        let entry = self.memory.entry(place).and_upsert_with(|entry| {
            let old = entry.map(|entry| entry.into_value().exchanges);
            let old = old.iter().flat_map(|old| old.iter().cloned());
            let exchanges = merged(old.chain(read.into_iter().map(Arc::new)), MAX_SAMPLES);
            Row { exchanges, is_whole: true }
        });
        Some(entry.into_value()).filter(|row| !row.exchanges.is_empty())
    }

    /// Remembers who made an answer.
    ///
    /// Nothing of this is on disk: after a restart the latest makers are those of the stored
    /// answers that have been looked at since, so an answer of an old model may be served until the
    /// first one of a newer model is seen.
    fn note(&self, head: &Head) {
        if head.status != 200 {
            return;
        }
        let mut makers = self.makers();
        if makers.len() >= MAX_TARGETS && !makers.contains_key(&head.target) {
            let other = makers.keys().next().cloned();
            other.and_then(|other| makers.remove(&other));
        }
        makers.entry(head.target.clone()).or_default().note(maker_of(head));
    }

    fn makers(&self) -> MutexGuard<'_, HashMap<String, Latest>> {
        self.makers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn maker_of(head: &Head) -> Maker {
    let (model, fingerprint) = (head.model.clone(), head.fingerprint.clone());
    Maker { answered_ms: head.answered_ms, model, fingerprint }
}

/// Newest first, each once: at most `samples` answers and one failure.
fn merged(all: impl Iterator<Item = Arc<Exchange>>, samples: u32) -> Arc<[Arc<Exchange>]> {
    let mut all: Vec<Arc<Exchange>> = all.collect();
    let order = |exchange: &Arc<Exchange>| (exchange.head.answered_ms, exchange.head.id);
    all.sort_by_key(|exchange| std::cmp::Reverse(order(exchange)));
    all.dedup_by_key(|exchange| order(exchange));
    let (mut answers, mut failures) = (samples, 1);
    all.retain(|exchange| {
        let left = if is_failure(&exchange.head) { &mut failures } else { &mut answers };
        let is_kept = *left > 0;
        *left = left.saturating_sub(1);
        is_kept
    });
    all.into()
}

fn is_failure(head: &Head) -> bool {
    head.status >= 400
}

/// Which of the exchanges of one key, the newest first, a request gets.
fn choose(row: &[Arc<Exchange>], wanted: Wanted<'_>, has_moved: &dyn Fn(&Head) -> bool) -> Found {
    let rules = wanted.rules;
    // What was redacted is no answer to who wants one; it is there to be replayed.
    let is_itself = |exchange: &&Arc<Exchange>| rules.any_age || exchange.head.redacted.is_empty();
    let (failures, answers): (Vec<_>, Vec<_>) =
        row.iter().filter(is_itself).partition(|exchange| is_failure(&exchange.head));
    let is_lasting = |exchange: &&Arc<Exchange>, ttl: Duration| {
        rules.any_age || is_fresh(&exchange.head, wanted.now_ms, ttl)
    };
    let fit = |exchange: &Arc<Exchange>| {
        let is_accepted = rules.any_age || is_accepted(&exchange.head, rules, wanted.now_ms);
        is_accepted.then(|| (wanted.fits)(exchange)).flatten()
    };
    let fresh: Vec<_> = answers.iter().copied().filter(|one| is_lasting(one, rules.ttl)).collect();
    let current = |one: &&Arc<Exchange>| rules.any_age || !has_moved(&one.head);
    let current: Vec<_> = fresh.iter().copied().filter(current).collect();
    let accepted = current.iter().filter_map(|one| Some((fit(one)?, *one)));
    let mut accepted: Vec<(Fit, &Arc<Exchange>)> = accepted.collect();
    // Of two that differ only in form, the one that came in this form answers with its own bytes.
    accepted.sort_by_key(|(fit, _)| *fit);
    // Who may not call the provider is served what there is.
    let samples = usize::try_from(rules.samples).unwrap_or(usize::MAX).max(1);
    let enough = if rules.only_if_cached { 1 } else { samples };
    if accepted.len() >= enough {
        let drawn_from = accepted.len().min(samples);
        let draw = if drawn_from > 1 { (wanted.draw)() } else { 0 };
        let at = usize::try_from(draw % drawn_from.max(1) as u64).unwrap_or(0);
        return accepted.get(at).map_or(Found::Nothing, |(_, one)| Found::Answer((*one).clone()));
    }
    let failure = failures.into_iter().find(|one| is_lasting(one, rules.error_ttl));
    if let Some(failure) = failure.filter(|one| fit(one).is_some()) {
        return Found::Failure(failure.clone());
    }
    match () {
        () if !accepted.is_empty() => Found::TooFew,
        () if !current.is_empty() => Found::Declined,
        () if !fresh.is_empty() => Found::Moved,
        () if !answers.is_empty() => Found::Expired,
        () => Found::Nothing,
    }
}

/// Fresh by what was said when it was stored, and by what is said now.
fn is_fresh(head: &Head, now_ms: i64, ttl: Duration) -> bool {
    now_ms <= head.fresh_until_ms && age(head, now_ms) <= ttl
}

/// Whether a fresh exchange is young enough for the request.
fn is_accepted(head: &Head, rules: &CacheRules, now_ms: i64) -> bool {
    let age = age(head, now_ms);
    let said = u64::try_from(head.fresh_until_ms.saturating_sub(now_ms)).unwrap_or(0);
    let left = Duration::from_millis(said).min(rules.ttl.saturating_sub(age));
    rules.max_age.is_none_or(|max_age| age <= max_age)
        && rules.min_fresh.is_none_or(|min_fresh| left >= min_fresh)
}

fn age(head: &Head, now_ms: i64) -> Duration {
    let age_ms = now_ms.saturating_sub(head.answered_ms);
    Duration::from_millis(u64::try_from(age_ms).unwrap_or(0))
}

fn weight(exchange: &Exchange) -> u32 {
    let frames: usize = exchange.frames.iter().map(|frame| frame.bytes.len() + 48).sum();
    u32::try_from(frames + exchange.request.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
}
