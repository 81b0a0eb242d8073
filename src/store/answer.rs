//! Stored exchanges: what was asked, by and of whom, and every frame of the answer.

use std::collections::HashMap;
use std::collections::VecDeque;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::chat::Frame;
use crate::error::Result;
use crate::key::CacheKey;
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
    /// The request as it was sent upstream.
    pub request: Bytes,
    /// The answer's body in the pieces it came in.
    pub frames: Vec<Frame>,
}

/// The facts about an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Our id of the request, as in `x-request-id`.
    pub request_id: String,
    /// Hex of the cache key.
    pub key: String,
    /// Who answered, `provider/model`.
    pub target: String,
    /// Dialect of request and answer.
    pub dialect: String,
    /// `experiment=variant` that was assigned, if any.
    pub assigned: Option<String>,
    /// Whether the answer is a stream of server-sent events.
    pub is_stream: bool,
    /// HTTP status.
    pub status: u16,
    /// The answer's `content-type`.
    pub content_type: String,
    /// When it was answered, Unix milliseconds.
    pub answered_ms: i64,
    /// From sending the request to the end of the answer, microseconds.
    pub took_us: u64,
    /// Offset and length of each frame; filled in when the exchange is written.
    #[serde(default)]
    pub lengths: Vec<(u64, u32)>,
}

/// Where an answer is and until when it may be served; the row of a key.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: [u8; 16],
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
        [&self.id[..], &self.answered_ms.to_le_bytes(), &self.bytes.to_le_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (answered_ms, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            id: *id,
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

impl Store {
    /// Whether an answer is stored under `key`; reads no disk.
    pub fn has_answer(&self, key: &CacheKey) -> bool {
        self.index().rows.contains_key(key)
    }

    /// How many answers are stored, and their packed size in bytes.
    pub fn answers_size(&self) -> (u64, u64) {
        let index = self.index();
        (index.rows.len() as u64, index.bytes)
    }

    /// The exchange stored under `key`; a damaged record reads as not stored.
    pub fn answer(&self, key: &CacheKey) -> Option<Exchange> {
        let id = self.index().rows.get(key)?.id;
        let record = get(&self.inner.exchanges, &id).ok()??;
        Exchange::unseal(&record)
    }

    /// Stores an exchange under its key, replacing an older one.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_answer(&self, key: CacheKey, id: [u8; 16], exchange: &Exchange) -> Result<()> {
        let Some(record) = exchange.seal(&mut self.sealer()) else { return Ok(()) };
        let bytes = u32::try_from(record.len()).unwrap_or(u32::MAX);
        let row = Row { id, answered_ms: exchange.head.answered_ms, bytes };
        put(&self.inner.exchanges, &id, &record).map_err(|e| failed(&e))?;
        self.inner.answers.insert(key.0, row.write()).map_err(|e| failed(&e))?;
        let old = self.index().insert(key, row);
        match old {
            Some(old) => self.remove_exchange(&old.id),
            None => Ok(()),
        }
    }

    /// Drops answers from before `expired_ms` (Unix milliseconds), then the oldest, until the rest
    /// fits; returns how many went.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn trim_answers(&self, max_bytes: u64, expired_ms: i64) -> Result<u64> {
        let mut gone = 0;
        loop {
            let Some((key, row)) = self.index().next_to_go(max_bytes, expired_ms) else {
                return Ok(gone);
            };
            self.inner.answers.remove(key.0).map_err(|e| failed(&e))?;
            self.remove_exchange(&row.id)?;
            gone += 1;
        }
    }

    /// Reads the keys again, after records came from elsewhere.
    pub(super) fn reload_index(&self) -> Result<()> {
        *self.index() = Index::load(&self.inner.answers).map_err(|e| failed(&e))?;
        Ok(())
    }

    fn remove_exchange(&self, id: &[u8; 16]) -> Result<()> {
        remove(&self.inner.exchanges, id).map_err(|e| failed(&e))
    }

    fn index(&self) -> std::sync::MutexGuard<'_, Index> {
        self.inner.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
