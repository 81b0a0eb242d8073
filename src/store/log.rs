//! The decision log: what happened to every experiment, in order, each entry sealed by the one before.
//!
//! An entry is canonical JSON, and its hash is over all of it but the hash itself. It names the hash
//! of the entry before it, so none can be changed, removed or put between others without a break
//! that [`Audit`] names.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::definition;
use crate::experiment::life::Event;
use crate::store::Store;
use crate::store::failed;
use crate::store::number;

/// Something that happened to an experiment, before it is in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// To which.
    pub experiment: String,
    /// What.
    pub event: Event,
    /// A hash of what its definition said then.
    pub definition: String,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1, over all experiments.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// To which.
    pub experiment: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
    /// A hash of what its definition said then.
    pub definition: String,
    /// The hash of the entry before; of the first, zeros.
    pub prev: String,
    /// blake3 of the canonical JSON of all the rest.
    pub hash: String,
}

/// The log, and whether it is as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Every entry that can be read.
    pub entries: Vec<Entry>,
    /// The first that is not what was written.
    pub broken: Option<Broken>,
}

/// An entry that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Which; a missing one is named by its number.
    pub seq: u64,
    /// What is wrong with it.
    pub why: String,
}

/// What the first entry names as the hash before it.
const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Store {
    /// Appends entries and returns once they are on disk.
    ///
    /// There must be one writer at a time.
    ///
    /// # Errors
    /// The disk is full or gone; then some of the entries may be there nevertheless.
    pub fn append_log(&self, drafts: &[Draft]) -> Result<Vec<Entry>> {
        let log = &self.main()?.log;
        let last = log.last().map_err(|e| failed(&e))?;
        let (mut seq, mut prev) = (0, FIRST.to_owned());
        if let Some((key, value)) = last {
            seq = number(&key).unwrap_or(0);
            // After a damaged entry the chain goes on from what is there.
            let entry = serde_json::from_slice::<Value>(&value).ok();
            let hash = entry.and_then(|entry| Some(entry.get("hash")?.as_str()?.to_owned()));
            prev = hash.unwrap_or_else(|| blake3::hash(&value).to_hex().to_string());
        }
        let mut entries = Vec::new();
        for draft in drafts {
            seq += 1;
            let entry = Entry::new(seq, draft.clone(), prev);
            log.insert(seq.to_be_bytes(), entry.line()?.as_bytes()).map_err(|e| failed(&e))?;
            prev = entry.hash.clone();
            entries.push(entry);
        }
        self.inner.base.flush()?;
        Ok(entries)
    }

    /// Reads the log and goes along its chain.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn audit_log(&self) -> Result<Audit> {
        let mut audit = Audit { entries: Vec::new(), broken: None };
        let (mut seq, mut prev) = (0, FIRST.to_owned());
        for item in self.main()?.log.iter() {
            let (key, value) = item.map_err(|e| failed(&e))?;
            let at = number(&key).unwrap_or(0);
            let read = serde_json::from_slice::<Entry>(&value);
            let trouble = match &read {
                _ if at != seq + 1 => Some((seq + 1, "it is missing".to_owned())),
                Err(error) => Some((at, format!("it cannot be read: {error}"))),
                Ok(entry) => entry.trouble(at, &prev, &value).map(|why| (at, why.to_owned())),
            };
            if audit.broken.is_none() {
                audit.broken = trouble.map(|(seq, why)| Broken { seq, why });
            }
            seq = at;
            if let Ok(entry) = read {
                prev.clone_from(&entry.hash);
                audit.entries.push(entry);
            }
        }
        Ok(audit)
    }
}

impl Entry {
    fn new(seq: u64, draft: Draft, prev: String) -> Self {
        let Draft { at_ms, experiment, event, definition } = draft;
        let hash = String::new();
        let mut entry = Self { seq, at_ms, experiment, event, definition, prev, hash };
        entry.hash = entry.sealed();
        entry
    }

    /// The hash of everything but the hash.
    fn sealed(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = value.as_object_mut() {
            members.remove("hash");
        }
        blake3::hash(definition::canonical(&value).as_bytes()).to_hex().to_string()
    }

    /// As it is stored: the same entry is always the same bytes.
    fn line(&self) -> Result<String> {
        let value = serde_json::to_value(self);
        let unwritable =
            |e| Error::new(Kind::Internal, format!("a decision cannot be written: {e}"));
        Ok(definition::canonical(&value.map_err(unwritable)?))
    }

    fn trouble(&self, at: u64, prev: &str, stored: &[u8]) -> Option<&'static str> {
        match () {
            () if self.seq != at => Some("it stands in another's place"),
            () if self.prev != prev => Some("it does not follow the entry before it"),
            () if self.hash != self.sealed() => Some("its hash is not that of its words"),
            () if self.line().ok()?.as_bytes() != stored => Some("it was written differently"),
            () => None,
        }
    }
}
