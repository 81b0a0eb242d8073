//! The fidelity matrix: what survives from every dialect into every other, written down by running
//! it. `UPDATE_GOLDEN=1 cargo test --test it fidelity` writes the file after a wanted change.

mod answers;
mod questions;

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use understudy::chat::DialectName;

/// What becomes of a feature on the way from one dialect into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// It means the same on the other side.
    Kept,
    /// It is left out and the response says so.
    Reported,
    /// The request is refused, naming field and remedy.
    Refused,
    /// The answer reaches the application without it: its dialect has no word for it.
    Unsayable,
    /// The dialect it comes from has no word for it.
    Unknown,
    /// It vanished or changed without a word. There must be none of these.
    Lost,
}

impl Cell {
    fn mark(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Reported => "reported",
            Self::Refused => "refused",
            Self::Unsayable => "no word",
            Self::Unknown => "·",
            Self::Lost => "LOST",
        }
    }
}

/// Whose SDKs can ask.
pub const ASKING: &[DialectName] = &[
    DialectName::OpenAi,
    DialectName::Responses,
    DialectName::Anthropic,
    DialectName::Gemini,
    DialectName::Completions,
];

/// Who can be asked.
pub const ASKED: &[DialectName] = &[
    DialectName::OpenAi,
    DialectName::Responses,
    DialectName::Anthropic,
    DialectName::Gemini,
    DialectName::Cohere,
    DialectName::Converse,
];

/// A table of features by dialect.
fn table(
    out: &mut String,
    features: &[&str],
    columns: &[DialectName],
    cell: impl Fn(usize, DialectName) -> Cell,
) {
    let widest = features.iter().map(|name| name.len()).max().unwrap_or(0);
    let _ = write!(out, "| {:widest$} |", "");
    for dialect in columns {
        let _ = write!(out, " {:16} |", dialect.as_str());
    }
    let _ = write!(out, "\n|{}|", "-".repeat(widest + 2));
    out.push_str(&format!("{}|", "-".repeat(18)).repeat(columns.len()));
    out.push('\n');
    for (at, feature) in features.iter().enumerate() {
        let _ = write!(out, "| {feature:widest$} |");
        for column in columns {
            let _ = write!(out, " {:16} |", cell(at, *column).mark());
        }
        out.push('\n');
    }
    out.push('\n');
}

fn written() -> String {
    let mut out = String::from(
        "# Fidelity\n\nWhat survives translation, by feature. Written by `tests/it/fidelity.rs`, which \
         runs every cell; do not edit.\n\n\
         - *kept*: it means the same on the other side.\n\
         - *reported*: it is left out, and a `Warning` header of the response names it.\n\
         - *refused*: the request is answered with an error that names field and remedy.\n\
         - *no word*: the answer arrives without it, because the application's dialect cannot say it.\n\
         - *·*: the dialect it comes from cannot say it either.\n\n\
         Within one dialect bytes pass untouched, so everything is kept there.\n\n",
    );
    let names: Vec<&str> = questions::FEATURES.iter().map(|feature| feature.name).collect();
    for from in ASKING {
        let _ = writeln!(out, "## Requests in `{}`, by the target's dialect\n", from.as_str());
        let columns: Vec<DialectName> = ASKED.iter().copied().filter(|into| into != from).collect();
        table(&mut out, &names, &columns, |at, into| {
            questions::cell(&questions::FEATURES[at], *from, into)
        });
    }
    let names: Vec<&str> = answers::FEATURES.iter().map(|feature| feature.name).collect();
    for from in ASKED {
        let _ = writeln!(out, "## Answers in `{}`, by the application's dialect\n", from.as_str());
        let columns: Vec<DialectName> =
            ASKING.iter().copied().filter(|into| into != from).collect();
        table(&mut out, &names, &columns, |at, into| {
            answers::cell(&answers::FEATURES[at], *from, into)
        });
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[test]
fn the_published_matrix_is_what_really_happens() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/FIDELITY.md");
    let now = written();
    let lost: Vec<&str> = now.lines().filter(|line| line.contains("LOST")).collect();
    assert!(lost.is_empty(), "lost without a word:\n{}", lost.join("\n"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, now, "run with UPDATE_GOLDEN=1 if the change is wanted");
}
