//! Recorded pairs and the results published for them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of recorded answers and verdicts.
pub struct Recording {
    pub path: PathBuf,
    /// The file's name without ending, which is also the row of the leaderboard.
    pub name: String,
    /// The reference model.
    pub control: String,
    /// The model compared with it.
    pub candidate: String,
    pub rows: Vec<Row>,
    pub published: Published,
}

/// A prompt and what the reference answered.
#[derive(Clone)]
pub struct Row {
    pub instruction: String,
    pub output: String,
    /// What the model that is compared answered.
    pub answer: String,
    /// 1 for the reference, 2 for the other, in between for doubt; none without a verdict.
    pub preference: Option<f64>,
    /// Which the judge read first: `a` is the reference.
    pub shown_first: Option<char>,
}

/// The row of the leaderboard; rates in percent.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub pairs: u64,
    pub win_rate: f64,
    pub standard_error: f64,
    pub wins: u64,
    pub ties: u64,
    pub losses: u64,
}

impl Recording {
    /// Reads a `.jsonl.gz` file and its row of the `leaderboard.json` beside it.
    pub fn read(path: &Path) -> Self {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap();
        let name = file.strip_suffix(".jsonl.gz").unwrap().to_owned();
        let lines =
            BufReader::new(flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap()));
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let row = |row: &Value| Row {
            instruction: text(row, "instruction"),
            output: text(row, "output_a"),
            answer: text(row, "output_b"),
            preference: row["judge"]["preference"].as_f64().map(|p| if p == 0.0 { 1.5 } else { p }),
            shown_first: row["judge"]["shown_first"].as_str().and_then(|side| side.chars().next()),
        };
        let board = fs::read(path.with_file_name("leaderboard.json")).unwrap();
        let board: Value = serde_json::from_slice(&board).unwrap();
        Self {
            path: path.canonicalize().unwrap(),
            control: text(&lines[0], "model_a"),
            candidate: text(&lines[0], "model_b"),
            rows: lines.iter().map(row).collect(),
            published: Published::read(&board[&name]["published"]),
            name,
        }
    }

    /// Every recording of a folder, by name.
    pub fn all(folder: &Path) -> Vec<Self> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "gz")).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }
}

impl Published {
    fn read(row: &Value) -> Self {
        let number = |key: &str| row[key].as_f64().unwrap();
        // Counts are written as 805.0 there.
        let count = |key: &str| number(key) as u64;
        Self {
            pairs: count("n_total"),
            win_rate: number("win_rate"),
            standard_error: number("standard_error"),
            wins: count("n_wins"),
            ties: count("n_draws"),
            losses: count("n_wins_base"),
        }
    }
}
