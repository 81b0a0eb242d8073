//! The stored exchanges as a collection: found, shown, counted, moved and forgotten.
//!
//! Everything streams over [`Store::scan`] on a blocking thread, a few at a time, so that no
//! question about the past holds up an application's answer.

pub mod costs;
pub mod line;
mod named;
pub mod near;
pub mod query;
pub mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serde::Deserialize;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use crate::cache::Cache;
use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::key::CacheKey;
use crate::key::ExchangeId;
use crate::library::line::Line;
use crate::library::near::Near;
use crate::library::near::Wanted;
use crate::library::query::Filter;
use crate::library::view::Row;
use crate::redact::Redactor;
use crate::store::Store;
use crate::store::exchange::Exchange;
use crate::store::exchange::Size;
use crate::wire::ChatRequest;
use crate::wire::Dialect;
use crate::wire::InPath;

/// Questions that may read the disk at once; applications' answers are read by the other threads.
const READERS: usize = 2;

/// How long looking for the nearest request may take.
const NEAR_TIME: Duration = Duration::from_millis(500);

/// Lines of an export that wait for a slow reader.
const WAITING_LINES: usize = 16;

/// Exchanges forgotten between two looks.
const PURGE_STEP: usize = 1000;

/// Reads and moves what is stored; clones share it.
#[derive(Clone)]
pub struct Library {
    store: Store,
    /// Absent where nobody serves from it.
    cache: Option<Cache>,
    readers: Arc<Semaphore>,
    near: Arc<Semaphore>,
}

/// What is stored, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Exchanges and bytes.
    #[serde(flatten)]
    pub size: Size,
    /// The most that may be stored, bytes.
    pub max_bytes: u64,
    /// Older exchanges are still being opened, as right after a start: they do not count yet.
    #[serde(default)]
    pub is_opening: bool,
    /// When the oldest was answered, Unix milliseconds.
    pub oldest_ms: Option<i64>,
    /// When the newest was answered, Unix milliseconds.
    pub newest_ms: Option<i64>,
    /// How many the cache may serve at this moment.
    pub fresh: u64,
    /// By the target that answered.
    pub by_target: BTreeMap<String, u64>,
    /// By HTTP status.
    pub by_status: BTreeMap<u16, u64>,
    /// What the cache did since the start: hit, miss and so on; absent while nothing runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_start: Option<BTreeMap<String, u64>>,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Exchanges that were not there.
    pub added: u64,
    /// Exchanges that were.
    pub known: u64,
    /// Lines that say nothing usable.
    pub wrong: u64,
    /// What is wrong, the first of them.
    pub problems: Vec<Problem>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its number, from 1.
    pub line: u64,
    /// In words.
    pub message: String,
}

impl Library {
    /// Over a store, with the memory that is to forget what the store forgets.
    pub fn new(store: Store, cache: Option<Cache>) -> Self {
        let (readers, near) = (Semaphore::new(READERS), Semaphore::new(1));
        Self { store, cache, readers: Arc::new(readers), near: Arc::new(near) }
    }

    /// The newest exchanges that pass the filter.
    ///
    /// # Errors
    /// The reading thread ended.
    pub async fn list(&self, filter: Filter) -> Result<Vec<Row>> {
        self.blocking(move |library| library.rows(&filter)).await
    }

    /// The exchanges an id or its abbreviation means, the newest first: an exchange's own id, the
    /// key of its answer, or the id of its request.
    ///
    /// # Errors
    /// There is none, or several different ones begin like that.
    pub async fn find(&self, id: &str) -> Result<Vec<Exchange>> {
        let id = id.to_owned();
        self.blocking(move |library| library.found(&id)).await?
    }

    /// Forgets exactly the exchanges that [`Self::find`] gives.
    ///
    /// # Errors
    /// As [`Self::find`], or the disk is gone.
    pub async fn forget(&self, id: &str) -> Result<u64> {
        let id = id.to_owned();
        let forget = move |library: &Self| {
            let found = library.found(&id)?;
            let found = found.iter().map(|exchange| (exchange.head.id, exchange.head.key));
            library.drop_all(found.collect())
        };
        self.blocking(forget).await?
    }

    /// Forgets everything that passes the filter; returns how many that were.
    ///
    /// # Errors
    /// The disk is gone.
    pub async fn purge(&self, filter: Filter) -> Result<u64> {
        self.blocking(move |library| library.purge_now(&filter)).await?
    }

    /// What is stored, in numbers.
    ///
    /// # Errors
    /// The reading thread ended.
    pub async fn stats(&self, max_bytes: u64, now_ms: i64) -> Result<Stats> {
        self.blocking(move |library| library.count(max_bytes, now_ms)).await
    }

    /// Every exchange that passes the filter as a line of JSON, read no faster than they are taken.
    pub fn export(&self, filter: Filter, with_tenants: bool) -> mpsc::Receiver<String> {
        let (lines, taken) = mpsc::channel(WAITING_LINES);
        let library = self.clone();
        tokio::spawn(library.blocking_owned(move |library| {
            let mut left = filter.limit.unwrap_or(usize::MAX);
            library.matching(&filter, &mut |exchange| {
                if left == 0 {
                    return false;
                }
                left -= 1;
                let line = Line::of(&exchange, with_tenants).write();
                // Nobody takes lines any more once the reader has gone.
                line.is_none_or(|line| lines.blocking_send(line).is_ok())
            });
        }));
        taken
    }

    /// Stores the exchanges of an export, without what the rules match; what is wrong is told by its
    /// line, the rest is stored.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub async fn import(
        &self,
        lines: bytes::Bytes,
        first_line: u64,
        rules: Redactor,
    ) -> Result<Imported> {
        let import = move |library: &Self| line::import(&library.store, &lines, first_line, &rules);
        self.blocking(import).await?
    }

    /// The stored request nearest to one that is not stored, among the newest.
    pub async fn nearest(&self, wanted: Wanted) -> Option<Near> {
        let until = Instant::now() + NEAR_TIME;
        // One at a time: a test suite that misses everything must not occupy every thread.
        let turn = tokio::time::timeout(NEAR_TIME, self.near.clone().acquire_owned()).await;
        let turn = turn.ok()?.ok()?;
        let store = self.store.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            near::nearest(&store, &wanted, until)
        });
        looked.await.ok().flatten()
    }

    /// Whether nothing at all is stored.
    pub fn is_empty(&self) -> bool {
        self.store.size().exchanges == 0
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T> {
        self.clone().blocking_owned(work).await
    }

    async fn blocking_owned<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T> {
        let ended = |_| Error::new(Kind::Internal, "reading the stored exchanges ended early");
        let turn = self.readers.clone().acquire_owned().await;
        let turn = turn.map_err(|_| Error::new(Kind::Internal, "the store is closed"))?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&self)
        });
        done.await.map_err(ended)
    }

    /// Shows what passes the filter, the newest first.
    fn matching(&self, filter: &Filter, show: &mut dyn FnMut(Exchange) -> bool) {
        self.store.scan(filter.before(), &mut |exchange| {
            if filter.is_past(&exchange.head) {
                return false;
            }
            !filter.accepts(&exchange) || show(exchange)
        });
    }

    fn rows(&self, filter: &Filter) -> Vec<Row> {
        let limit = filter.limit.unwrap_or(query::LIMIT);
        let mut rows: Vec<Row> = Vec::new();
        let mut last: Option<ExchangeId> = None;
        // Neighbours in time share the longest beginning, so they tell how short an id may be.
        self.store.scan(filter.before(), &mut |exchange| {
            let id = exchange.head.id;
            if let (Some(row), Some(last)) = (rows.last_mut(), last)
                && row.id == last
            {
                row.lengthen(shared_digits(last, id));
            }
            let newer = last.replace(id).map_or(0, |newer| shared_digits(newer, id));
            if filter.is_past(&exchange.head) || rows.len() == limit {
                return false;
            }
            if filter.accepts(&exchange) {
                let mut row = Row::of(&exchange);
                row.lengthen(newer);
                rows.push(row);
            }
            true
        });
        rows
    }

    fn purge_now(&self, filter: &Filter) -> Result<u64> {
        let (mut filter, mut gone) = (filter.clone(), 0);
        let mut left = filter.limit.unwrap_or(usize::MAX);
        loop {
            let mut step = Vec::new();
            self.matching(&filter, &mut |exchange| {
                step.push((exchange.head.id, exchange.head.key));
                step.len() < PURGE_STEP.min(left)
            });
            step.truncate(left);
            let Some((last, _)) = step.last().copied() else { return Ok(gone) };
            filter.before = Some(last);
            left -= step.len();
            gone += self.drop_all(step)?;
        }
    }

    fn drop_all(&self, exchanges: Vec<(ExchangeId, CacheKey)>) -> Result<u64> {
        let mut gone = 0;
        for (id, key) in exchanges {
            gone += u64::from(self.store.forget_exchange(id)?);
            // After the disk, so that nobody reads it into the memory again in between.
            if let Some(cache) = &self.cache {
                cache.forget(&key);
            }
        }
        self.store.flush()?;
        Ok(gone)
    }

    fn count(&self, max_bytes: u64, now_ms: i64) -> Stats {
        let (size, is_opening) = (self.store.size(), !self.store.is_loaded());
        let mut stats = Stats { size, max_bytes, is_opening, ..Stats::default() };
        self.store.scan(None, &mut |exchange| {
            let head = exchange.head;
            let at = head.answered_ms;
            stats.oldest_ms = Some(stats.oldest_ms.map_or(at, |oldest| oldest.min(at)));
            stats.newest_ms = Some(stats.newest_ms.map_or(at, |newest| newest.max(at)));
            stats.fresh += u64::from(head.fresh_until_ms > now_ms);
            *stats.by_target.entry(head.target).or_default() += 1;
            *stats.by_status.entry(head.status).or_default() += 1;
            true
        });
        stats
    }
}

/// A stored request as its dialect reads it.
///
/// # Errors
/// It was written by a version that read it in another way.
pub fn asked(exchange: &Exchange) -> Result<(ChatRequest, &'static dyn Dialect)> {
    let asked = &exchange.head.asked;
    let name = if asked.dialect.is_empty() { &exchange.head.dialect } else { &asked.dialect };
    let dialect = DialectName::parse(name).ok_or_else(|| {
        Error::new(Kind::BadRequest, format!("the stored request is of no known dialect: {name}"))
    })?;
    let in_path = InPath { model: asked.model.clone(), stream: asked.stream };
    let in_path = asked.in_path.then_some(in_path);
    let dialect = dialect.dialect();
    Ok((dialect.read_head(exchange.request.clone(), in_path)?, dialect))
}

/// How many hex digits two ids begin with together.
fn shared_digits(a: ExchangeId, b: ExchangeId) -> usize {
    let differing = u128::from_be_bytes(a.0) ^ u128::from_be_bytes(b.0);
    differing.leading_zeros() as usize / 4
}
