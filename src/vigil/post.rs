//! Where a sentinel keeps what it knows: a few small files, each replaced as a whole.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::backtest::history;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::pair::Half;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::pair::PairId;
use crate::rehearsal::Ask;
use crate::sentinel::state::State;
use crate::store::Store;

/// The folder of a sentinel.
#[derive(Clone, Debug)]
pub struct Post {
    dir: PathBuf,
}

/// A pinned answer with its question, as a line.
#[derive(Serialize, Deserialize)]
struct Line {
    id: [u8; 16],
    head: IntentHead,
    request: String,
    half: Half,
}

impl Post {
    /// That of the sentinel of this name.
    pub fn of(data_dir: &Path, name: &str) -> Self {
        Self { dir: data_dir.join("sentinels").join(name) }
    }

    /// What is known; nothing, where it cannot be read.
    pub fn state(&self) -> State {
        let json = fs::read(self.dir.join("state.json"));
        json.ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    /// Replaces what is known.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn keep(&self, state: &State) -> Result<()> {
        let json = serde_json::to_vec_pretty(state).map_err(|error| unwritable(&error))?;
        self.write("state.json", &json)
    }

    /// Where the run under way has its pairs.
    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Forgets the pairs of a run that has ended.
    pub fn clear(&self) {
        if let Err(error) = fs::remove_dir_all(self.run())
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the pairs of a sentinel's run could not be removed");
        }
    }

    /// Pins these answers.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn pin(&self, store: &Store, answers: &[(&Ask, Half)]) -> Result<()> {
        let mut lines = Vec::new();
        for (ask, half) in answers {
            let Some(Intent { head, request }) = store.intent(ask.id) else { continue };
            let request = String::from_utf8_lossy(&request).into_owned();
            let line = Line { id: ask.id.0, head, request, half: half.clone() };
            serde_json::to_writer(&mut lines, &line).map_err(|error| unwritable(&error))?;
            lines.push(b'\n');
        }
        self.write("pinned.jsonl", &lines)
    }

    /// The pinned answers, to be compared with those of the day.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn pinned(&self) -> Result<Vec<Ask>> {
        let path = self.dir.join("pinned.jsonl");
        let unreadable = |why: String| {
            let what = format!("the pinned answers in {} cannot be read: {why}", path.display());
            Error::new(Kind::Store, what)
        };
        let text = fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
        let ask = |line: &str| {
            let line: Line =
                serde_json::from_str(line).map_err(|error| unreadable(error.to_string()))?;
            let intent = Intent { head: line.head, request: Bytes::from(line.request) };
            Ok(Ask { id: PairId(line.id), intent, half: Some(line.half) })
        };
        text.lines().map(ask).collect()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let written = fs::create_dir_all(&self.dir).and_then(|()| history::replace(&path, bytes));
        written.map_err(|error| {
            Error::new(Kind::Store, format!("cannot write {}: {error}", path.display()))
        })
    }
}

fn unwritable(error: &serde_json::Error) -> Error {
    Error::new(Kind::Internal, format!("a sentinel cannot be written as JSON: {error}"))
}
