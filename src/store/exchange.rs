//! Stored exchanges: what was asked, by and of whom, and every frame of the answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::chat::Frame;
use crate::chat::Usage;
use crate::error::Result;
use crate::key::CacheKey;
use crate::key::ExchangeId;
use crate::store::Store;
use crate::store::cipher::Keys;
use crate::store::generation::Generation;
use crate::store::guard::Trouble;
use crate::store::now_ms;
use crate::store::row::Row;
use crate::store::seal;

/// The newest answers of one key that are read; more of them make no choice better.
const MOST_ANSWERS: usize = 64;

/// One recorded request with its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Everything but the bytes.
    pub head: Head,
    /// The request's body as the application sent it.
    pub request: Bytes,
    /// The answer's body in the pieces the provider sent it in.
    pub frames: Vec<Frame>,
}

/// The facts about an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its name.
    #[serde(default)]
    pub id: ExchangeId,
    /// Our id of the request, as in `x-request-id`.
    pub request_id: String,
    /// The key of its answer.
    pub key: CacheKey,
    /// What was asked, and how.
    #[serde(default)]
    pub asked: Asked,
    /// Who answered, `provider/model`.
    pub target: String,
    /// Dialect of the answer.
    pub dialect: String,
    /// `experiment=variant` that was assigned, if any.
    pub assigned: Option<String>,
    /// Whether the answer is a stream of events.
    pub is_stream: bool,
    /// The stream ends with a usage that the application did not ask for.
    #[serde(default)]
    pub has_unasked_usage: bool,
    /// HTTP status.
    pub status: u16,
    /// How the answer ended: `whole`, or why it is not.
    #[serde(default)]
    pub ended: String,
    /// The answer's `content-type`.
    pub content_type: String,
    /// Headers of the answer that a reader may want besides.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// When it was answered, Unix milliseconds.
    pub answered_ms: i64,
    /// Until when the cache may serve it, Unix milliseconds; 0 when it may not at all.
    #[serde(default)]
    pub fresh_until_ms: i64,
    /// Why the cache may not serve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_served: Option<String>,
    /// From sending the request to the first piece of the answer's body, microseconds.
    #[serde(default)]
    pub first_us: u64,
    /// From sending the request to the end of the answer, microseconds.
    pub took_us: u64,
    /// Tokens, if the provider said.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// What it cost, billionths of a dollar, if that is known.
    #[serde(default)]
    pub cost_nano_usd: Option<u64>,
    /// The model that answered, as the provider names it.
    #[serde(default)]
    pub model: Option<String>,
    /// The provider's name for the exact system that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The rules of redaction that changed it: it is not what was said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    /// Offset and length of each frame; filled in when the exchange is written.
    #[serde(default)]
    pub lengths: Vec<(u64, u32)>,
}

/// What an application asked beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When, Unix milliseconds.
    #[serde(default)]
    pub at_ms: i64,
    /// The request's dialect.
    pub dialect: String,
    /// The model asked for: a route's name, or a provider's model.
    pub model: String,
    /// Whether the answer was to come as a stream.
    pub stream: bool,
    /// Whether a stream was to end with the usage, in dialects that ask.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub usage: bool,
    /// Whether a stream was to be one JSON array; Gemini only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_array: bool,
    /// Model and streaming were said by the path.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_path: bool,
    /// The provider whose path prefix was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What the URL asked besides, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The trace that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Who asked, where callers have keys of ours.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub caller: String,
}

impl Exchange {
    /// The body's bytes, whole.
    pub fn body(&self) -> Bytes {
        match self.frames.as_slice() {
            [frame] => frame.bytes.clone(),
            frames => {
                let parts: Vec<&[u8]> = frames.iter().map(|frame| &frame.bytes[..]).collect();
                Bytes::from(parts.concat())
            }
        }
    }

    pub(super) fn seal(&self, sealer: &mut seal::Sealer) -> Option<Vec<u8>> {
        let mut head = self.head.clone();
        let lengths = self
            .frames
            .iter()
            .map(|frame| Some((frame.at_us, u32::try_from(frame.bytes.len()).ok()?)));
        head.lengths = lengths.collect::<Option<_>>()?;
        let request_length = u32::try_from(self.request.len()).ok()?.to_le_bytes();
        let mut payload: Vec<&[u8]> = vec![&request_length, &self.request];
        payload.extend(self.frames.iter().map(|frame| &frame.bytes[..]));
        sealer.seal(&head, &payload)
    }

    /// What the generations know of it, packed into so many bytes.
    pub(super) fn row(&self, bytes: usize) -> Row {
        let Head { id, key, answered_ms, fresh_until_ms, .. } = self.head;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let request_hash = Row::hash(&self.head.request_id);
        Row { key, id, fresh_until_ms, answered_ms, bytes, request_hash }
    }

    pub(super) fn unseal(record: &[u8], keys: &Keys) -> Option<Self> {
        let (mut head, mut payload) = seal::unseal::<Head>(record, keys)?;
        let length = payload.get(..4)?.try_into().ok().map(u32::from_le_bytes)?;
        let _ = payload.split_to(4);
        let request = take(&mut payload, length)?;
        let frames = std::mem::take(&mut head.lengths).into_iter();
        let frames =
            frames.map(|(at_us, length)| Some(Frame { at_us, bytes: take(&mut payload, length)? }));
        Some(Self { frames: frames.collect::<Option<_>>()?, request, head })
    }
}

fn take(payload: &mut Bytes, length: u32) -> Option<Bytes> {
    let length = length as usize;
    (length <= payload.len()).then(|| payload.split_to(length))
}

/// What the stored exchanges take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// How many there are.
    pub exchanges: u64,
    /// Their packed size, bytes.
    pub packed_bytes: u64,
    /// What their files take, bytes.
    pub disk_bytes: u64,
}

impl Store {
    /// Whether an answer may be stored under `key`, for this tenant or another; reads no disk.
    pub fn has_answer(&self, key: &CacheKey) -> bool {
        self.inner.generations.any(|generation| generation.may_have(key))
    }

    /// How many exchanges are stored, and how much they take.
    pub fn size(&self) -> Size {
        let held = self.inner.generations.open_ones();
        let (exchanges, packed_bytes) = held
            .iter()
            .map(|generation| generation.held())
            .fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        Size { exchanges, packed_bytes, disk_bytes: self.inner.generations.disk_bytes() }
    }

    /// The answers under `key` that the cache may serve, the newest first; a damaged record reads
    /// as not stored.
    pub fn answers(&self, key: &CacheKey) -> Vec<Exchange> {
        self.answers_below(key, &key.0)
    }

    /// As [`Self::answers`], whichever tenant's they are.
    pub fn answers_like(&self, key: &CacheKey) -> Vec<Exchange> {
        self.answers_below(key, key.0.get(..16).unwrap_or(&key.0))
    }

    /// The exchange of this name; a damaged record reads as not stored.
    pub fn exchange(&self, id: ExchangeId) -> Option<Exchange> {
        let generations = self.inner.generations.open_ones();
        generations.iter().find_map(|generation| self.read(generation, id, None))
    }

    /// The newest exchange of the request with this id.
    pub fn find_request(&self, request_id: &str) -> Option<Exchange> {
        let hash = Row::hash(request_id);
        for generation in self.inner.generations.open_ones() {
            let mut rows = self.rows(&generation, &[]);
            rows.retain(|row| row.request_hash == hash);
            rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.id));
            let mut found = rows.iter().filter_map(|row| self.read(&generation, row.id, Some(row)));
            if let Some(found) = found.find(|found| found.head.request_id == request_id) {
                return Some(found);
            }
        }
        None
    }

    /// Shows every exchange, the newest first, those older than `before` only, until `show` says
    /// that it has seen enough by giving false.
    pub fn scan(&self, before: Option<ExchangeId>, show: &mut dyn FnMut(Exchange) -> bool) {
        let newest = |generation: &Arc<Generation>, before| match generation.newest(before) {
            Ok(id) => id,
            Err(trouble) => self.met(generation, trouble),
        };
        let generations = self.inner.generations.open_ones().into_iter();
        let mut next: Vec<_> = generations
            .filter_map(|generation| Some((newest(&generation, before)?, generation)))
            .collect();
        while let Some(id) = next.iter().map(|(id, _)| *id).max() {
            let mut found = None;
            for (at, generation) in next.iter().filter(|(at, _)| *at == id) {
                found = found.or_else(|| self.read(generation, *at, None));
            }
            if found.is_some_and(|found| !show(found)) {
                return;
            }
            next = next
                .into_iter()
                .filter_map(|(at, generation)| match at == id {
                    true => Some((newest(&generation, Some(id))?, generation)),
                    false => Some((at, generation)),
                })
                .collect();
        }
    }

    /// Stores an exchange.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_exchange(&self, exchange: &Exchange) -> Result<()> {
        let Some(record) = exchange.seal(&mut self.sealer()) else { return Ok(()) };
        Ok(self.inner.generations.put(&exchange.row(record.len()), &record, now_ms())?)
    }

    /// Forgets an exchange; false when there was none.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn forget_exchange(&self, id: ExchangeId) -> Result<bool> {
        let mut is_gone = false;
        for generation in self.inner.generations.open_ones() {
            if let Some(found) = self.read(&generation, id, None) {
                match generation.remove(&found.head.key, id) {
                    Ok(is_here) => is_gone |= is_here,
                    Err(trouble) => self.inner.generations.trouble(&generation, trouble)?,
                }
            }
        }
        Ok(is_gone)
    }

    /// Drops what nobody may be served any more, then the oldest, until the rest fits into
    /// `max_bytes` on disk; returns how many went.
    ///
    /// It goes by generations, so some stay for a while after they were answered before
    /// `expired_ms`.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn sweep(&self, max_bytes: u64, expired_ms: i64) -> Result<u64> {
        self.limit(max_bytes);
        Ok(self.inner.generations.sweep(expired_ms, now_ms()))
    }

    fn answers_below(&self, key: &CacheKey, prefix: &[u8]) -> Vec<Exchange> {
        let mut rows = Vec::new();
        for generation in self.inner.generations.open_ones() {
            if generation.may_have(key) {
                let found = self.rows(&generation, prefix).into_iter();
                let served = found.filter(|row| row.fresh_until_ms > 0);
                rows.extend(served.map(|row| (row, generation.clone())));
            }
        }
        rows.sort_by_key(|(row, _)| std::cmp::Reverse((row.answered_ms, row.id)));
        let read = rows.iter().filter_map(|(row, generation)| {
            let found = self.read(generation, row.id, Some(row));
            found.filter(|found| found.head.fresh_until_ms > 0)
        });
        read.take(MOST_ANSWERS).collect()
    }

    fn rows(&self, generation: &Arc<Generation>, prefix: &[u8]) -> Vec<Row> {
        generation.rows(prefix).unwrap_or_else(|trouble| self.met(generation, trouble))
    }

    /// Reads a record and makes sure that it is the one that was meant; any other is forgotten.
    fn read(
        &self,
        generation: &Arc<Generation>,
        id: ExchangeId,
        row: Option<&Row>,
    ) -> Option<Exchange> {
        let record = match generation.record(id) {
            Ok(record) => record,
            Err(trouble) => return self.met(generation, trouble),
        };
        let is_meant = |found: &Exchange| {
            found.head.id == id && row.is_none_or(|row| row.key == found.head.key)
        };
        let is_there = record.is_some();
        let keys = self.keys();
        let found = record.and_then(|record| Exchange::unseal(&record, keys)).filter(is_meant);
        if found.is_none() && (is_there || row.is_some()) {
            self.forget_damaged(generation, id, row);
        }
        found
    }

    fn forget_damaged(&self, generation: &Arc<Generation>, id: ExchangeId, row: Option<&Row>) {
        let rows = match row {
            Some(row) => vec![*row],
            None => self.rows(generation, &[]),
        };
        let key = rows.iter().find(|row| row.id == id).map(|row| row.key).unwrap_or_default();
        match generation.remove(&key, id) {
            Ok(true) => {
                self.inner.generations.counts.damaged_records.fetch_add(1, Ordering::Relaxed);
                tracing::error!(exchange = %id, "a stored exchange is damaged: it is forgotten");
            }
            // Someone else has just forgotten it.
            Ok(false) => {}
            Err(trouble) => self.met(generation, trouble),
        }
    }

    /// Sees to trouble met while reading, which reads as "not stored".
    fn met<T: Default>(&self, generation: &Arc<Generation>, trouble: Trouble) -> T {
        if let Err(trouble) = self.inner.generations.trouble(generation, trouble) {
            let error = crate::error::Error::from(trouble);
            tracing::error!(%error, "stored exchanges cannot be read");
        }
        T::default()
    }
}
