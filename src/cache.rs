//! Answers by key: moka in memory over the store on disk.

use std::sync::Arc;
use std::time::Duration;

use crate::config::CachePolicy;
use crate::key::CacheKey;
use crate::store::Store;
use crate::store::exchange::Exchange;

/// Memory for recent answers, bytes; the rest stays on disk.
const MEMORY_BYTES: u64 = 32 << 20;

/// What one entry costs beside its bytes.
const ENTRY_BYTES: usize = 512;

/// Looks answers up; clones share the memory.
#[derive(Clone)]
pub struct Cache {
    memory: moka::sync::Cache<CacheKey, Arc<Exchange>>,
    store: Store,
    ttl: Duration,
}

impl Cache {
    /// An empty memory over `store`.
    pub fn new(store: Store, policy: &CachePolicy) -> Self {
        let memory = moka::sync::Cache::builder()
            .max_capacity(MEMORY_BYTES.min(policy.max_bytes))
            .weigher(|_, exchange: &Arc<Exchange>| weight(exchange))
            .time_to_live(policy.ttl)
            .build();
        Self { memory, store, ttl: policy.ttl }
    }

    /// The answer stored under `key`, unless it is older than `max_age` or the policy allows.
    ///
    /// `now_ms` is Unix milliseconds. Reads the disk only when the key is known to be there.
    pub async fn get(
        &self,
        key: &CacheKey,
        now_ms: i64,
        max_age: Option<Duration>,
    ) -> Option<Arc<Exchange>> {
        let limit = max_age.map_or(self.ttl, |max_age| max_age.min(self.ttl));
        let found = match self.memory.get(key) {
            Some(exchange) => exchange,
            None if self.store.has_answer(key) => self.load(*key).await?,
            None => return None,
        };
        let age_ms = u64::try_from(now_ms - found.head.answered_ms).unwrap_or(0);
        (Duration::from_millis(age_ms) <= limit).then_some(found)
    }

    /// A stored key that is the same but for the tenant, else this one.
    pub fn shared_key(&self, key: CacheKey) -> CacheKey {
        self.store.shared_key(&key).unwrap_or(key)
    }

    /// Makes an answer available at once; the recorder brings it to disk.
    pub fn insert(&self, key: CacheKey, exchange: Arc<Exchange>) {
        self.memory.insert(key, exchange);
    }

    /// Lets go of an answer that the store has forgotten.
    pub fn forget(&self, key: &CacheKey) {
        self.memory.invalidate(key);
    }

    async fn load(&self, key: CacheKey) -> Option<Arc<Exchange>> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || store.answers(&key).into_iter().next());
        let exchange = Arc::new(read.await.ok()??);
        self.memory.insert(key, exchange.clone());
        Some(exchange)
    }
}

fn weight(exchange: &Exchange) -> u32 {
    let frames: usize = exchange.frames.iter().map(|frame| frame.bytes.len() + 48).sum();
    u32::try_from(frames + exchange.request.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
}
