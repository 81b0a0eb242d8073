//! Exchanges to a file and back, a few megabytes at a time.

use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;
use serde_json::json;
use tokio::fs::File;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;

use crate::cli::EXIT_INVALID;
use crate::cli::complain;
use crate::cli::put;
use crate::cli::remark;
use crate::cli::say;
use crate::cli::say_json;
use crate::cli::stored::Lines;
use crate::cli::stored::Place;
use crate::cli::stored::Source;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::library::Imported;

/// Lines are sent on once they are this long together, bytes.
const PART: usize = 8 << 20;

/// Writes every line, to standard output where no file is named.
///
/// # Errors
/// The file cannot be written, or the export broke off.
pub async fn export(mut lines: Lines, file: Option<&Path>, json: bool) -> Result<()> {
    let Some(path) = file else {
        while let Some(piece) = lines.next().await? {
            if !put(&piece) {
                return Ok(());
            }
        }
        return Ok(());
    };
    let failed = |error| unusable("write", path, &error);
    let mut out = File::create(path).await.map_err(failed)?;
    let mut count = 0;
    while let Some(piece) = lines.next().await? {
        count += piece.iter().filter(|byte| **byte == b'\n').count();
        out.write_all(&piece).await.map_err(failed)?;
    }
    out.flush().await.map_err(failed)?;
    match json {
        true => say_json(&json!({ "exported": count }))?,
        false => say(&format!("wrote {count} exchanges to {}", path.display())),
    }
    Ok(())
}

/// Reads a file and stores what it holds; the exit code is 2 when a line was wrong.
///
/// # Errors
/// The file cannot be read, or the disk is full or gone.
pub async fn import(place: &Place, path: &Path) -> Result<ExitCode> {
    let config = place.config()?;
    let failed = |error| unusable("read", path, &error);
    let mut file = BufReader::new(File::open(path).await.map_err(failed)?);
    let source = match Source::open(&config).await? {
        Source::Nothing(_) => Source::in_directory(&config)?,
        source => source,
    };
    let (mut imported, mut part) = (Imported::default(), Vec::new());
    let (mut first, mut next) = (1, 1);
    loop {
        let read = file.read_until(b'\n', &mut part).await.map_err(failed)?;
        next += u64::from(read > 0);
        if part.len() >= PART || (read == 0 && !part.is_empty()) {
            let lines = Bytes::from(std::mem::take(&mut part));
            imported.add(source.import(lines, first, &config.redact).await?);
            first = next;
        }
        if read == 0 {
            break;
        }
    }
    for problem in &imported.problems {
        complain(&format!("{}:{}: {}", path.display(), problem.line, problem.message));
    }
    if imported.wrong > imported.problems.len() as u64 {
        remark(&format!("{} lines are wrong, the first of them are told", imported.wrong));
    }
    let Imported { added, known, wrong, .. } = &imported;
    match place.json {
        true => say_json(&imported)?,
        false => say(&format!("imported {added}, {known} were there already, {wrong} were wrong")),
    }
    Ok(if *wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_INVALID) })
}

fn unusable(what: &str, path: &Path, error: &std::io::Error) -> Error {
    let what = format!("cannot {what} {}: {error}; check the path", path.display());
    Error::new(Kind::BadRequest, what)
}
