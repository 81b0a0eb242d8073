//! Stored exchanges: what was asked, by and of whom, and every frame of the answer.

use std::collections::HashMap;
use std::collections::VecDeque;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::chat::Frame;
use crate::chat::Usage;
use crate::error::Result;
use crate::key::CacheKey;
use crate::key::ExchangeId;
use crate::store::Store;
use crate::store::failed;
use crate::store::get;
use crate::store::put;
use crate::store::remove;
use crate::store::seal;

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
    /// Offset and length of each frame; filled in when the exchange is written.
    #[serde(default)]
    pub lengths: Vec<(u64, u32)>,
}

/// What an application asked beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The request's dialect.
    pub dialect: String,
    /// The model asked for: a route's name, or a provider's model.
    pub model: String,
    /// Whether the answer was to come as a stream.
    pub stream: bool,
    /// Model and streaming were said by the path.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_path: bool,
    /// The provider whose path prefix was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What the URL asked besides, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// Where an answer is and until when it may be served; the row of a key.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: ExchangeId,
    answered_ms: i64,
    bytes: u32,
}

/// The keys that are stored, in memory, so that a miss costs no disk read; oldest first.
#[derive(Default)]
pub struct Index {
    rows: HashMap<CacheKey, Row>,
    age: VecDeque<(i64, CacheKey)>,
    bytes: u64,
}

impl Index {
    pub(super) fn load(tree: &sled::Tree) -> sled::Result<Self> {
        let mut index = Self::default();
        for entry in tree.iter() {
            let (key, value) = entry?;
            if let (Ok(key), Some(row)) = (<[u8; 32]>::try_from(&*key), Row::read(&value)) {
                index.insert(CacheKey(key), row);
            }
        }
        index.age.make_contiguous().sort_unstable();
        Ok(index)
    }

    fn insert(&mut self, key: CacheKey, row: Row) -> Option<Row> {
        self.bytes += u64::from(row.bytes);
        self.age.push_back((row.answered_ms, key));
        let old = self.rows.insert(key, row);
        self.bytes -= old.map_or(0, |old| u64::from(old.bytes));
        old
    }

    fn forget(&mut self, key: &CacheKey, id: ExchangeId) -> Option<Row> {
        let row = self.rows.get(key).copied().filter(|row| row.id == id)?;
        self.rows.remove(key);
        self.bytes -= u64::from(row.bytes);
        Some(row)
    }

    /// The oldest key, once more than `max_bytes` are stored or it was answered before `expired`.
    fn next_to_go(&mut self, max_bytes: u64, expired_ms: i64) -> Option<(CacheKey, Row)> {
        while let Some((answered_ms, key)) = self.age.front().copied() {
            let current = self.rows.get(&key).copied().filter(|r| r.answered_ms == answered_ms);
            match current {
                Some(row) if self.bytes > max_bytes || answered_ms < expired_ms => {
                    self.age.pop_front();
                    self.rows.remove(&key);
                    self.bytes -= u64::from(row.bytes);
                    return Some((key, row));
                }
                Some(_) => return None,
                None => {
                    self.age.pop_front();
                }
            }
        }
        None
    }
}

impl Row {
    fn write(&self) -> Vec<u8> {
        [&self.id.0[..], &self.answered_ms.to_le_bytes(), &self.bytes.to_le_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (answered_ms, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            id: ExchangeId(*id),
            answered_ms: i64::from_le_bytes(*answered_ms),
            bytes: u32::from_le_bytes(rest.try_into().ok()?),
        })
    }
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

    fn seal(&self, sealer: &mut seal::Sealer) -> Option<Vec<u8>> {
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

    fn unseal(record: &[u8]) -> Option<Self> {
        let (mut head, mut payload) = seal::unseal::<Head>(record)?;
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
    /// Whether an answer is stored under `key`; reads no disk.
    pub fn has_answer(&self, key: &CacheKey) -> bool {
        self.index().rows.contains_key(key)
    }

    /// A stored key that is the same but for the tenant.
    pub fn shared_key(&self, key: &CacheKey) -> Option<CacheKey> {
        let index = self.index();
        let is_same = |other: &&CacheKey| other.0.iter().take(16).eq(key.0.iter().take(16));
        index.rows.keys().find(is_same).copied()
    }

    /// How many exchanges are stored, and how much they take.
    pub fn size(&self) -> Size {
        let index = self.index();
        let disk_bytes = self.inner.db.size_on_disk().unwrap_or(0);
        Size { exchanges: index.rows.len() as u64, packed_bytes: index.bytes, disk_bytes }
    }

    /// The answers under `key` that the cache may serve, the newest first; a damaged record reads
    /// as not stored.
    pub fn answers(&self, key: &CacheKey) -> Vec<Exchange> {
        let id = self.index().rows.get(key).map(|row| row.id);
        let found = id.and_then(|id| self.exchange(id));
        found.filter(|found| found.head.fresh_until_ms > 0).into_iter().collect()
    }

    /// The exchange of this name; a damaged record reads as not stored.
    pub fn exchange(&self, id: ExchangeId) -> Option<Exchange> {
        let record = get(&self.inner.exchanges, &id.0).ok()??;
        Exchange::unseal(&record)
    }

    /// Shows every exchange, the newest first, those older than `before` only, until `show` says
    /// that it has seen enough by giving false.
    pub fn scan(&self, before: Option<ExchangeId>, show: &mut dyn FnMut(Exchange) -> bool) {
        let mut rows: Vec<ExchangeId> = self.index().rows.values().map(|row| row.id).collect();
        rows.sort_unstable_by(|a, b| b.cmp(a));
        let rows = rows.into_iter().filter(|id| before.is_none_or(|before| *id < before));
        for exchange in rows.filter_map(|id| self.exchange(id)) {
            if !show(exchange) {
                return;
            }
        }
    }

    /// Stores an exchange.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_exchange(&self, exchange: &Exchange) -> Result<()> {
        let Some(record) = exchange.seal(&mut self.sealer()) else { return Ok(()) };
        let bytes = u32::try_from(record.len()).unwrap_or(u32::MAX);
        let Head { id, key, answered_ms, .. } = exchange.head;
        let row = Row { id, answered_ms, bytes };
        put(&self.inner.exchanges, &id.0, &record).map_err(|e| failed(&e))?;
        self.inner.answers.insert(key.0, row.write()).map_err(|e| failed(&e))?;
        let old = self.index().insert(key, row);
        match old {
            Some(old) => self.drop_record(old.id),
            None => Ok(()),
        }
    }

    /// Forgets an exchange; false when there was none.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn forget_exchange(&self, id: ExchangeId) -> Result<bool> {
        let Some(exchange) = self.exchange(id) else { return Ok(false) };
        let key = exchange.head.key;
        if let Some(row) = self.index().forget(&key, id) {
            self.inner.answers.remove(key.0).map_err(|e| failed(&e))?;
            self.drop_record(row.id)?;
        }
        Ok(true)
    }

    /// Drops what nobody may be served any more, then the oldest, until the rest fits into
    /// `max_bytes`; returns how many went.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn sweep(&self, max_bytes: u64, expired_ms: i64) -> Result<u64> {
        let mut gone = 0;
        loop {
            let Some((key, row)) = self.index().next_to_go(max_bytes, expired_ms) else {
                return Ok(gone);
            };
            self.inner.answers.remove(key.0).map_err(|e| failed(&e))?;
            self.drop_record(row.id)?;
            gone += 1;
        }
    }

    /// Reads the keys again, after records came from elsewhere.
    pub(super) fn reload_index(&self) -> Result<()> {
        *self.index() = Index::load(&self.inner.answers).map_err(|e| failed(&e))?;
        Ok(())
    }

    fn drop_record(&self, id: ExchangeId) -> Result<()> {
        remove(&self.inner.exchanges, &id.0).map_err(|e| failed(&e))
    }

    fn index(&self) -> std::sync::MutexGuard<'_, Index> {
        self.inner.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
