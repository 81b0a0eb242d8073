//! What a generation knows of its exchanges without reading them: a row each, and a few sums.

use std::collections::HashSet;

use crate::key::CacheKey;
use crate::key::ExchangeId;

/// What is known about an exchange without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key of its answer.
    pub key: CacheKey,
    /// Its name.
    pub id: ExchangeId,
    /// Until when the cache may serve it; 0 when it may not.
    pub fresh_until_ms: i64,
    /// When it was answered.
    pub answered_ms: i64,
    /// Its packed size.
    pub bytes: u32,
    /// Of the id of its request.
    pub request_hash: [u8; 8],
}

impl Row {
    /// What identifies a request's id well enough to look closer.
    pub fn hash(request_id: &str) -> [u8; 8] {
        let hash = blake3::hash(request_id.as_bytes());
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }

    /// Where it is in the tree of keys.
    pub fn name(&self) -> Vec<u8> {
        [&self.key.0[..], &self.id.0].concat()
    }

    /// In the form that is stored.
    pub fn write(&self) -> Vec<u8> {
        let (fresh, answered) = (self.fresh_until_ms.to_le_bytes(), self.answered_ms.to_le_bytes());
        [&fresh[..], &answered, &self.bytes.to_le_bytes(), &self.request_hash].concat()
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(name: &[u8], value: &[u8]) -> Option<Self> {
        let (key, id) = name.split_first_chunk::<32>()?;
        let (fresh, rest) = value.split_first_chunk::<8>()?;
        let (answered, rest) = rest.split_first_chunk::<8>()?;
        let (bytes, hash) = rest.split_first_chunk::<4>()?;
        Some(Self {
            key: CacheKey(*key),
            id: ExchangeId(id.try_into().ok()?),
            fresh_until_ms: i64::from_le_bytes(*fresh),
            answered_ms: i64::from_le_bytes(*answered),
            bytes: u32::from_le_bytes(*bytes),
            request_hash: hash.try_into().ok()?,
        })
    }
}

/// What is in memory, so that a miss costs no disk read.
#[derive(Default)]
pub struct Known {
    /// The first 8 bytes of every key that is served; another that begins so only costs a read.
    pub prefixes: HashSet<u64>,
    /// How many exchanges there are.
    pub exchanges: u64,
    /// Their packed size.
    pub packed_bytes: u64,
    /// When the last of them was answered.
    pub last_answered_ms: i64,
    /// Until when the cache may serve any of them.
    pub last_fresh_ms: i64,
}

impl Known {
    /// Reads every row of a generation.
    ///
    /// # Errors
    /// The disk is gone, or the tree is damaged.
    pub fn load(keys: &sled::Tree) -> sled::Result<Self> {
        let mut known = Self::default();
        for entry in keys.iter() {
            let (name, value) = entry?;
            if let Some(row) = Row::read(&name, &value) {
                known.insert(&row);
            }
        }
        known.prefixes.shrink_to_fit();
        Ok(known)
    }

    /// One more.
    pub fn insert(&mut self, row: &Row) {
        if row.fresh_until_ms > 0 {
            self.prefixes.insert(prefix(&row.key));
        }
        self.exchanges += 1;
        self.packed_bytes += u64::from(row.bytes);
        self.last_answered_ms = self.last_answered_ms.max(row.answered_ms);
        self.last_fresh_ms = self.last_fresh_ms.max(row.fresh_until_ms);
    }

    /// One less.
    pub fn remove(&mut self, row: &Row, is_last_of_prefix: bool) {
        self.exchanges = self.exchanges.saturating_sub(1);
        self.packed_bytes = self.packed_bytes.saturating_sub(u64::from(row.bytes));
        if is_last_of_prefix {
            self.prefixes.remove(&prefix(&row.key));
        }
    }
}

/// The first 8 bytes are of the half that is the same for all tenants.
pub fn prefix(key: &CacheKey) -> u64 {
    key.0.first_chunk().copied().map_or(0, u64::from_be_bytes)
}
