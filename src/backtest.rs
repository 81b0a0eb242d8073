//! Recorded requests as an experiment's pairs, before any live risk: read from files, sieved by the
//! experiment's conditions, and put into an order of which every beginning is a fair sample.

pub mod history;
pub mod index;
pub mod line;
pub mod order;
pub mod sieve;

use std::fs::File;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::path::PathBuf;

use crate::backtest::index::Entry;
use crate::backtest::index::Index;
use crate::backtest::index::Place;
use crate::backtest::line::Line;
use crate::backtest::sieve::Sieve;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::pair::PairId;
use crate::rehearsal::Ask;
use crate::rehearsal::run::Repertoire;

/// The requests of some files, in the order in which they are asked.
pub struct Recorded {
    sieve: Sieve,
    lines: Lines,
    entries: Vec<Entry>,
    ids: Vec<PairId>,
}

/// Open files, of which single lines are read.
struct Lines {
    files: Vec<(PathBuf, File)>,
}

impl Recorded {
    /// The first `limit` of what the index of these files holds.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn new(sieve: Sieve, files: &[PathBuf], index: Index, limit: usize) -> Result<Self> {
        let mut entries = index.entries;
        entries.truncate(limit);
        let ids = entries.iter().map(|entry| entry.id).collect();
        Ok(Self { sieve, lines: Lines::open(files)?, entries, ids })
    }
}

impl Lines {
    fn open(files: &[PathBuf]) -> Result<Self> {
        let open = |path: &PathBuf| {
            let file = File::open(path).map_err(|error| unreadable(path, &error))?;
            Ok((path.clone(), file))
        };
        Ok(Self { files: files.iter().map(open).collect::<Result<_>>()? })
    }

    fn read(&mut self, place: Place) -> Result<Line> {
        let Some((path, file)) = self.files.get_mut(place.file) else {
            return Err(Error::new(Kind::Internal, "a request is in no file"));
        };
        let mut bytes = vec![0; place.length];
        let sought = file.seek(SeekFrom::Start(place.offset));
        let read = sought.and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| unreadable(path, &error))?;
        line::read(bytes.trim_ascii()).map_err(|what| {
            let what = format!("{} changed while it was read: {what}", path.display());
            Error::new(Kind::BadRequest, what)
        })
    }
}

impl Repertoire for Recorded {
    fn ids(&self) -> &[PairId] {
        &self.ids
    }

    fn ask(&mut self, at: usize) -> Result<Ask> {
        let entry = self.entries.get(at).copied().ok_or_else(|| {
            Error::new(Kind::Internal, "a request beyond the last one is asked for")
        })?;
        let question = self.lines.read(entry.question)?;
        let answer = match entry.answer {
            Some(place) if place != entry.question => Some(self.lines.read(place)?),
            _ => None,
        };
        let asked = question.asked().map_err(|what| Error::new(Kind::BadRequest, what))?;
        let taken = self.sieve.take(&asked).map_err(|why| {
            Error::new(Kind::BadRequest, format!("a request changed while it was read: {why}"))
        })?;
        let half = entry.answer.and_then(|_| self.sieve.half(&question, answer.as_ref()));
        Ok(Ask { id: taken.id, intent: taken.intent, half })
    }
}

/// Why a file cannot be used.
pub fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Error {
    let what = format!("cannot read {}: {error}; check the path", path.display());
    Error::new(Kind::BadRequest, what)
}
