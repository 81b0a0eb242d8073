//! `understudy cache`: the stored exchanges, listed, shown, counted, moved and forgotten.

mod moved;
pub mod shown;

use std::io::IsTerminal;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::say;
use crate::cli::say_json;
use crate::cli::stored::Place;
use crate::cli::stored::Source;
use crate::cli::stored::Which;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// What to do with stored exchanges.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List stored exchanges, the newest first
    Ls(Listed),
    /// Show one: request, answer, timing, cost, and why it is stored under its key
    Show(One),
    /// Count what is stored
    Stats(Place),
    /// Write exchanges to a file, one a line of JSON: prompts and answers are in it, credentials
    /// are not
    ///
    /// A line holds "facts" (id, key, who was asked and answered, times, tokens, cost), "request"
    /// as the application sent it, and "frames", the provider's bytes with their microseconds.
    /// Requests and answers are written as they are, with everything that people said in them: that
    /// is what an export is for. No credential is ever stored; whose it was is left out of the key,
    /// so imported answers are served in replay mode only.
    Export(Exported),
    /// Read exchanges from an export; those that are there already are left alone
    Import(ImportedFrom),
    /// Forget stored exchanges
    Purge(Purged),
}

/// A list.
#[derive(clap::Args, Debug)]
pub struct Listed {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    place: Place,
}

/// One exchange.
#[derive(clap::Args, Debug)]
pub struct One {
    /// An exchange's id, its key, or the request's id; its first characters are enough
    id: String,
    #[command(flatten)]
    place: Place,
}

/// An export.
#[derive(clap::Args, Debug)]
pub struct Exported {
    /// Where to write [default: standard output]
    file: Option<PathBuf>,
    /// Keep the half of each key that tells whose credential it was, for the same application
    #[arg(long)]
    with_tenants: bool,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    place: Place,
}

/// An import.
#[derive(clap::Args, Debug)]
pub struct ImportedFrom {
    /// What `understudy cache export` wrote
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// What to forget.
#[derive(clap::Args, Debug)]
pub struct Purged {
    #[command(flatten)]
    which: Which,
    /// Everything
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

/// Does it.
///
/// # Errors
/// There is no such exchange, a filter is wrong, or neither a sidecar nor its data can be read.
pub async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Ls(Listed { which, place }) => {
            let rows = Source::open(&place.config()?).await?.list(&which).await?;
            match (place.json, rows.is_empty()) {
                (true, _) => say_json(&json!({ "exchanges": rows }))?,
                (false, true) if which.parameters().is_empty() => say("nothing is stored yet"),
                (false, true) => say("nothing that is stored passes these filters"),
                (false, false) => say(&shown::list(&rows)),
            }
        }
        Command::Show(One { id, place }) => {
            let found = Source::open(&place.config()?).await?.find(&id).await?;
            match place.json {
                true => say_json(&std::collections::BTreeMap::from([("exchanges", &found)]))?,
                false => say(&shown::details(&found)),
            }
        }
        Command::Stats(place) => {
            let stats = Source::open(&place.config()?).await?.stats().await?;
            match place.json {
                true => say_json(&stats)?,
                false => say(&shown::stats(&stats)),
            }
        }
        Command::Export(Exported { file, with_tenants, which, place }) => {
            let source = Source::open(&place.config()?).await?;
            let lines = source.export(&which, with_tenants).await?;
            moved::export(lines, file.as_deref(), place.json).await?;
        }
        Command::Import(ImportedFrom { file, place }) => {
            return moved::import(&place, &file).await;
        }
        Command::Purge(purged) => purge(&purged).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn purge(purged: &Purged) -> Result<()> {
    let Purged { which, all, yes, place } = purged;
    let named = which.parameters();
    let bad = |what: &str| Err(Error::new(Kind::BadRequest, what));
    match (*all, named.is_empty()) {
        (false, true) => return bad("say what to forget, for example --model gpt, or --all"),
        (true, false) => return bad("--all and a filter contradict each other: leave one out"),
        _ => {}
    }
    let source = Source::open(&place.config()?).await?;
    let what = match all {
        true => "every stored exchange".to_owned(),
        false => {
            let filters = named.iter().map(|(name, value)| format!("{name} {value}"));
            format!("stored exchanges with {}", filters.collect::<Vec<_>>().join(", "))
        }
    };
    if !yes && !is_agreed(&what)? {
        say("nothing was forgotten");
        return Ok(());
    }
    let gone = source.purge(which).await?;
    match place.json {
        true => say_json(&json!({ "deleted": gone })),
        false => {
            let noun = if gone == 1 { "exchange" } else { "exchanges" };
            say(&format!("forgot {gone} {noun}"));
            Ok(())
        }
    }
}

/// Asks a person; where there is none, refuses.
fn is_agreed(what: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        let what = format!("forgetting {what} needs --yes where nobody can be asked");
        return Err(Error::new(Kind::BadRequest, what));
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "forget {what}? [y/N] ");
    let _ = stderr.flush();
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    Ok(read.is_ok() && matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}
