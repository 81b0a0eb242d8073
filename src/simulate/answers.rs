//! Recorded answers and recorded judge results, loaded from JSON lines.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use super::pair::{Preference, Prefixes};
use super::recall::Replies;

/// What models really answered to known instructions, and what a judge thought of pairs of them.
#[derive(Default)]
pub struct Answers {
    /// Model names; an answer refers to its model by position.
    models: Vec<String>,
    model_numbers: HashMap<String, usize>,
    /// Judge names, by position.
    pub(super) annotators: Vec<String>,
    pub(super) groups: Vec<Group>,
    /// Trimmed instruction → position in `groups`.
    by_instruction: HashMap<String, usize>,
    pub(super) prefixes: Prefixes,
}

/// Everything recorded for one instruction.
pub(super) struct Group {
    pub(super) instruction: String,
    /// Different outputs, each once.
    pub(super) outputs: Vec<String>,
    /// Model → its output, by position.
    said: Vec<(usize, usize)>,
    pub(super) pairs: Vec<Pair>,
}

/// Two outputs that a judge compared.
pub(super) struct Pair {
    pub(super) a: usize,
    pub(super) b: usize,
    pub(super) annotator: usize,
    pub(super) judged: Judged,
}

/// What is recorded of a judge and a pair.
pub(super) enum Judged {
    /// How likely it finds either output better.
    Preference(Preference),
    /// What it replied.
    Replies(Replies),
}

/// What is recorded of a model for a message.
#[derive(Debug, PartialEq)]
pub(super) enum Recorded<'a> {
    /// The model's output.
    Output(&'a str),
    /// The model is known, but said nothing to this message.
    NotThisMessage,
    /// No file mentions the model.
    UnknownModel,
}

/// Why recorded answers could not be loaded.
#[derive(Debug)]
pub struct LoadError(String);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

#[derive(Deserialize)]
struct Row {
    instruction: String,
    model_a: String,
    output_a: String,
    model_b: String,
    output_b: String,
    judge: Option<RowJudge>,
    /// Replies by the name of the judge.
    #[serde(default)]
    judges: BTreeMap<String, Replies>,
}

#[derive(Deserialize)]
struct RowJudge {
    #[serde(default)]
    annotator: String,
    preference: Option<f64>,
}

impl Answers {
    /// Loads files of JSON lines, plain or gzip (told apart by their first bytes).
    ///
    /// # Errors
    /// When a file cannot be read, a line is not a row, or a model is recorded with two different
    /// outputs for one instruction; the message names the file and the line.
    pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<Self, LoadError> {
        let mut answers = Self::default();
        for path in paths {
            answers.load_file(path.as_ref())?;
        }
        answers.index();
        Ok(answers)
    }

    /// Names of all recorded models.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(String::as_str)
    }

    /// How many different instructions are known.
    pub fn instructions(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn recorded(&self, model: &str, message: &str) -> Recorded<'_> {
        let Some(model) = self.model_numbers.get(model) else { return Recorded::UnknownModel };
        let group = self.by_instruction.get(message.trim()).and_then(|at| self.groups.get(*at));
        let Some(group) = group else { return Recorded::NotThisMessage };
        let said = group.said.iter().find(|(by, _)| by == model);
        match said.and_then(|(_, output)| group.outputs.get(*output)) {
            Some(output) => Recorded::Output(output),
            None => Recorded::NotThisMessage,
        }
    }

    fn load_file(&mut self, path: &Path) -> Result<(), LoadError> {
        let shown = path.display();
        let wrong = |what: &dyn fmt::Display| LoadError(format!("{shown}: {what}"));
        let file = std::fs::File::open(path).map_err(|e| wrong(&e))?;
        let mut file = BufReader::new(file);
        let zipped = file.fill_buf().map_err(|e| wrong(&e))?.starts_with(&[0x1f, 0x8b]);
        let text: Box<dyn Read> =
            if zipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
        for (at, line) in BufReader::new(text).lines().enumerate() {
            let line = line.map_err(|e| wrong(&e))?;
            if line.trim().is_empty() {
                continue;
            }
            let number = at + 1;
            let row = serde_json::from_str(&line)
                .map_err(|e| wrong(&format_args!("line {number}: {e}")))?;
            self.add(row).map_err(|e| wrong(&format_args!("line {number}: {e}")))?;
        }
        Ok(())
    }

    fn add(&mut self, row: Row) -> Result<(), String> {
        let mut judged: Vec<(usize, Judged)> = Vec::new();
        if row.judge.is_some() || row.judges.is_empty() {
            let (annotator, recorded) = match row.judge {
                Some(judge) => (judge.annotator, judge.preference),
                None => (String::new(), None),
            };
            let preference = Preference::from_recorded(recorded)?;
            judged.push((self.annotator(annotator), Judged::Preference(preference)));
        }
        for (name, replies) in row.judges {
            judged.push((self.annotator(name), Judged::Replies(replies)));
        }
        let (model_a, model_b) = (self.model(row.model_a), self.model(row.model_b));
        let next = self.groups.len();
        let at = *self.by_instruction.entry(row.instruction.trim().to_owned()).or_insert(next);
        if at == next {
            self.groups.push(Group::new(row.instruction));
        }
        let Some(group) = self.groups.get_mut(at) else { return Ok(()) };
        let a = group.say(model_a, row.output_a)?;
        let b = group.say(model_b, row.output_b)?;
        let pair = |(annotator, judged)| Pair { a, b, annotator, judged };
        group.pairs.extend(judged.into_iter().map(pair));
        Ok(())
    }

    fn annotator(&mut self, name: String) -> usize {
        if let Some(known) = self.annotators.iter().position(|known| *known == name) {
            return known;
        }
        self.annotators.push(name);
        self.annotators.len() - 1
    }

    fn model(&mut self, name: String) -> usize {
        if let Some(known) = self.model_numbers.get(&name) {
            return *known;
        }
        let number = self.models.len();
        self.models.push(name.clone());
        self.model_numbers.insert(name, number);
        number
    }

    fn index(&mut self) {
        let starts = self.groups.iter().map(|group| group.instruction.trim());
        self.prefixes = Prefixes::of(starts);
    }
}

impl Group {
    fn new(instruction: String) -> Self {
        Self { instruction, outputs: Vec::new(), said: Vec::new(), pairs: Vec::new() }
    }

    fn say(&mut self, model: usize, output: String) -> Result<usize, String> {
        let known = self.outputs.iter().position(|other| *other == output);
        let at = known.unwrap_or_else(|| {
            self.outputs.push(output);
            self.outputs.len() - 1
        });
        match self.said.iter().find(|(by, _)| *by == model) {
            Some((_, before)) if *before != at => {
                Err("a model is recorded with two different outputs for this instruction".into())
            }
            Some(_) => Ok(at),
            None => {
                self.said.push((model, at));
                Ok(at)
            }
        }
    }
}
