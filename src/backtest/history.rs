//! The backtests of an experiment: each is bound to what was defined and to what was recorded, so
//! that one is gone on with exactly when its results can be mixed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::definition;
use crate::experiment::definition::Change;
use crate::experiment::definition::Parts;

/// Backtests that are kept of one experiment; the oldest go first.
const KEPT: usize = 4;

/// Parts of a definition that say nothing of recorded requests.
const LIVE: [&str; 3] = ["guardrails.", "traffic.split.", "layer"];

/// The folder of an experiment's backtests.
pub struct History {
    dir: PathBuf,
    runs: Vec<Run>,
}

/// One backtest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its folder's name, from 1.
    pub number: u32,
    /// When it began, Unix milliseconds.
    pub begun_ms: i64,
    /// What was defined.
    pub parts: Parts,
    /// What was recorded, by hash.
    pub source: String,
    /// Requests that were looked at when it began.
    pub requests: u64,
    /// Those that make no pair, by reason.
    pub passed_over: BTreeMap<String, u64>,
}

/// Why a backtest begins, or that it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There was none.
    First,
    /// One of the same definition and the same requests goes on.
    GoesOn,
    /// It was asked for.
    Fresh,
    /// These parts of the definition changed since the last one.
    Redefined(Vec<String>),
    /// The requests are others than those of the last one.
    OtherRequests,
}

impl History {
    /// The backtests of an experiment in a data directory.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(data_dir: &Path, experiment: &str) -> Result<Self> {
        let dir = data_dir.join("backtests").join(experiment);
        fs::create_dir_all(&dir).map_err(|error| unusable(&dir, &error))?;
        let runs = match fs::read(dir.join(RUNS)) {
            Ok(json) => serde_json::from_slice(&json).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unusable(&dir, &error)),
        };
        Ok(Self { dir, runs })
    }

    /// The backtest of this definition and these requests, which begins if there is none; with
    /// `fresh` it begins in any case.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn enter(&mut self, draft: Run, fresh: bool) -> Result<(Run, Found)> {
        let same = |run: &&Run| run.source == draft.source && differs(run, &draft).is_empty();
        let known = self.runs.iter().rev().find(same).cloned();
        let found = match (&known, self.runs.last()) {
            (Some(run), _) if !fresh => return Ok((run.clone(), Found::GoesOn)),
            (Some(run), _) => {
                let number = run.number;
                self.forget(number);
                Found::Fresh
            }
            (None, None) => Found::First,
            (None, Some(last)) => match differs(last, &draft) {
                parts if parts.is_empty() => Found::OtherRequests,
                parts => Found::Redefined(parts),
            },
        };
        while self.runs.len() >= KEPT {
            let oldest = self.runs.first().map_or(0, |run| run.number);
            self.forget(oldest);
        }
        let number = self.runs.iter().map(|run| run.number).max().unwrap_or(0) + 1;
        let run = Run { number, ..draft };
        // What a run that was never written down has left is nobody's.
        let _ = fs::remove_dir_all(self.folder(&run));
        self.runs.push(run.clone());
        self.write()?;
        Ok((run, found))
    }

    /// Notes what was looked at for a backtest.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn note(&mut self, seen: &Run) -> Result<()> {
        self.runs.iter_mut().filter(|run| run.number == seen.number).for_each(|run| {
            run.clone_from(seen);
        });
        self.write()
    }

    /// Where a backtest keeps its pairs.
    pub fn folder(&self, run: &Run) -> PathBuf {
        self.dir.join(run.number.to_string())
    }

    fn forget(&mut self, number: u32) {
        self.runs.retain(|run| run.number != number);
        let _ = fs::remove_dir_all(self.dir.join(number.to_string()));
    }

    fn write(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.runs)
            .map_err(|error| Error::new(Kind::Internal, format!("not writable: {error}")))?;
        replace(&self.dir.join(RUNS), &json).map_err(|error| unusable(&self.dir, &error))
    }
}

impl Run {
    /// One that has not begun.
    pub fn draft(experiment: &Experiment, source: String, now_ms: i64) -> Self {
        let mut parts = definition::parts(experiment);
        parts.retain(|name, _| !LIVE.iter().any(|live| name.starts_with(live)));
        let (requests, passed_over) = (0, BTreeMap::new());
        Self { number: 0, begun_ms: now_ms, parts, source, requests, passed_over }
    }
}

const RUNS: &str = "runs.json";

/// The parts whose results must not be mixed.
fn differs(old: &Run, new: &Run) -> Vec<String> {
    match definition::changed(&old.parts, &new.parts) {
        Change::NewEpoch(parts) => parts,
        Change::Same | Change::Allowed(_) => Vec::new(),
    }
}

/// Puts a file in the place of another, wholly or not at all.
///
/// # Errors
/// The disk is full or gone.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn unusable(dir: &Path, error: &io::Error) -> Error {
    Error::new(Kind::Store, format!("cannot use {}: {error}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::Found;
    use super::History;
    use super::Run;

    fn draft(goal: &str, source: &str) -> Run {
        let parts = [("decide.goal", goal), ("question", source)];
        Run {
            number: 0,
            begun_ms: 0,
            parts: parts.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
            source: source.to_owned(),
            requests: 0,
            passed_over: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_backtest_goes_on_until_what_it_is_bound_to_changes() {
        let dir = tempfile::tempdir().unwrap();
        let enter = |goal: &str, source: &str, fresh: bool| {
            let mut history = History::open(dir.path(), "trial").unwrap();
            let (run, found) = history.enter(draft(goal, source), fresh).unwrap();
            (run.number, found)
        };
        assert_eq!(enter("superior", "a", false), (1, Found::First));
        assert_eq!(enter("superior", "a", false), (1, Found::GoesOn));
        let parts = vec!["decide.goal".to_owned()];
        assert_eq!(enter("equivalent", "a", false), (2, Found::Redefined(parts)));
        assert_eq!(enter("equivalent", "b", false), (3, Found::OtherRequests));
        assert_eq!(enter("superior", "a", false), (1, Found::GoesOn), "it is still there");
        assert_eq!(enter("superior", "a", true), (4, Found::Fresh));
        assert_eq!(enter("superior", "a", false), (4, Found::GoesOn));
        for source in ["c", "d", "e", "f"] {
            enter("superior", source, false);
        }
        assert_eq!(History::open(dir.path(), "trial").unwrap().runs.len(), super::KEPT);
    }
}
