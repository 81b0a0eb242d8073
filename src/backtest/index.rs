//! Goes through files of requests once, and keeps of each request that is taken where it stands.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use crate::backtest::line;
use crate::backtest::line::Batch;
use crate::backtest::line::Line;
use crate::backtest::order;
use crate::backtest::order::Drawn;
use crate::backtest::sieve::Sieve;
use crate::backtest::unreadable;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::assign::position;
use crate::pair::PairId;

/// The longest line that is read, bytes.
const MAX_LINE: usize = 64 << 20;

/// The most lines of all files together.
const MAX_LINES: u64 = 2_000_000;

/// The most problems that are told one by one.
const MOST_PROBLEMS: usize = 20;

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which of the files.
    pub file: usize,
    /// Its first byte.
    pub offset: u64,
    /// Its bytes.
    pub length: usize,
}

/// A request that makes a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which pair.
    pub id: PairId,
    /// Where it is asked.
    pub question: Place,
    /// Where control's answer is, if it is there.
    pub answer: Option<Place>,
}

/// What files hold.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// The requests that make a pair, in the order in which they are asked.
    pub entries: Vec<Entry>,
    /// Requests, taken or not.
    pub requests: u64,
    /// Those that were not taken, by reason.
    pub passed_over: BTreeMap<String, u64>,
    /// Recorded answers that are not control's.
    pub others_answers: u64,
    /// Answers to nothing that is asked.
    pub unasked: u64,
    /// Lines that say nothing usable.
    pub wrong: u64,
    /// What is wrong, the first of them, with file and line.
    pub problems: Vec<String>,
    /// Of everything in the files.
    pub hash: String,
}

/// What is known of the files so far.
struct Reading<'s> {
    sieve: &'s Sieve,
    index: Index,
    found: HashMap<PairId, usize>,
    entries: Vec<(Entry, Drawn)>,
    kinds: HashMap<String, u32>,
    /// Questions without an answer so far, by what joins them to it.
    asked: HashMap<[u8; 16], usize>,
    /// Answers without a question so far.
    given: HashMap<[u8; 16], Place>,
    lines: u64,
    hasher: blake3::Hasher,
}

/// Reads the files.
///
/// # Errors
/// One cannot be read, or holds too much.
pub fn read(sieve: &Sieve, files: &[PathBuf]) -> Result<Index> {
    let mut reading = Reading {
        sieve,
        index: Index::default(),
        found: HashMap::new(),
        entries: Vec::new(),
        kinds: HashMap::new(),
        asked: HashMap::new(),
        given: HashMap::new(),
        lines: 0,
        hasher: blake3::Hasher::new(),
    };
    for (number, path) in files.iter().enumerate() {
        reading.file(number, path)?;
    }
    reading.finish(files)
}

impl Reading<'_> {
    fn file(&mut self, number: usize, path: &Path) -> Result<()> {
        let failed = |error| unreadable(path, &error);
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let (mut offset, mut at_line) = (0, 0);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = file.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes);
            let length = read.map_err(failed)?;
            if length == 0 {
                return Ok(());
            }
            at_line += 1;
            self.lines += 1;
            if length > MAX_LINE || self.lines > MAX_LINES {
                let what = format!(
                    "{}:{at_line}: at most {MAX_LINES} lines of {MAX_LINE} bytes are read",
                    path.display()
                );
                return Err(Error::new(Kind::BadRequest, what));
            }
            self.hasher.update(&bytes);
            let place = Place { file: number, offset, length };
            offset += length as u64;
            let text = bytes.trim_ascii();
            if text.is_empty() {
                continue;
            }
            if let Err(what) = line::read(text).and_then(|line| self.line(&line, place)) {
                self.index.wrong += 1;
                if self.index.problems.len() < MOST_PROBLEMS {
                    self.index.problems.push(format!("{}:{at_line}: {what}", path.display()));
                }
            }
        }
    }

    fn line(&mut self, line: &Line, place: Place) -> std::result::Result<(), String> {
        let join = match line {
            Line::Exchange(_) => None,
            Line::Batch(batch) => Some(joined(&batch.custom_id)),
        };
        if let (Line::Batch(Batch { question: None, .. }), Some(join)) = (line, join) {
            match self.asked.remove(&join) {
                Some(at) => self.answer(at, place)?,
                None => drop(self.given.insert(join, place)),
            }
            return Ok(());
        }
        let asked = line.asked()?;
        self.index.requests += 1;
        let taken = match self.sieve.take(&asked) {
            Ok(taken) => taken,
            Err(why) => {
                self.pass_over(why);
                return Ok(());
            }
        };
        let is_answered = match line {
            Line::Exchange(_) => true,
            Line::Batch(batch) => batch.given.is_some(),
        };
        let is_controls = is_answered && self.sieve.half(line, None).is_some();
        self.index.others_answers += u64::from(is_answered && !is_controls);
        let answer = is_controls.then_some(place);
        if let Some(at) = self.found.get(&taken.id).copied() {
            self.pass_over("duplicate");
            // Of the same prompt the one whose answer is there is the better one.
            if let Some((entry, _)) = self.entries.get_mut(at)
                && entry.answer.is_none()
                && answer.is_some()
            {
                (entry.question, entry.answer) = (place, answer);
            }
            return Ok(());
        }
        let at = self.entries.len();
        self.found.insert(taken.id, at);
        let next = u32::try_from(self.kinds.len()).unwrap_or(u32::MAX);
        let kind = *self.kinds.entry(taken.kind).or_insert(next);
        let salt = &self.sieve.experiment().salt;
        let drawn = Drawn { kind, position: position("backtest", salt, &taken.id.0) };
        self.entries.push((Entry { id: taken.id, question: place, answer }, drawn));
        if let (Some(join), false) = (join, is_answered) {
            match self.given.remove(&join) {
                Some(answer) => self.answer(at, answer)?,
                None => drop(self.asked.insert(join, at)),
            }
        }
        Ok(())
    }

    /// Whether the answer is control's, is looked at when everything is there.
    fn answer(&mut self, at: usize, place: Place) -> std::result::Result<(), String> {
        let (entry, _) = self.entries.get_mut(at).ok_or("it answers a question that is gone")?;
        entry.answer = Some(place);
        Ok(())
    }

    fn pass_over(&mut self, why: &str) {
        *self.index.passed_over.entry(why.to_owned()).or_default() += 1;
    }

    fn finish(mut self, files: &[PathBuf]) -> Result<Index> {
        self.index.unasked = self.given.len() as u64;
        self.index.hash = self.hasher.finalize().to_hex().to_string();
        let drawn: Vec<Drawn> = self.entries.iter().map(|(_, drawn)| *drawn).collect();
        let order = order::order(&drawn);
        let entries = order.into_iter().filter_map(|at| self.entries.get(at));
        self.index.entries = entries.map(|(entry, _)| *entry).collect();
        let mut answers = super::Lines::open(files)?;
        for entry in &mut self.index.entries {
            let Some(place) = entry.answer.filter(|place| *place != entry.question) else {
                continue;
            };
            let (question, answer) = (answers.read(entry.question)?, answers.read(place)?);
            if self.sieve.half(&question, Some(&answer)).is_none() {
                entry.answer = None;
                self.index.others_answers += 1;
            }
        }
        Ok(self.index)
    }
}

fn joined(custom_id: &str) -> [u8; 16] {
    let hash = blake3::hash(custom_id.as_bytes());
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}
