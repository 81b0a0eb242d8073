//! Pause, resume, stop and halt, and what was decided: by the running sidecar, or on its data.

use std::fmt::Write;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::board::Board;
use crate::board::Snapshot;
use crate::cli::experiment::Args;
use crate::cli::experiment::needed;
use crate::cli::experiment::opened;
use crate::cli::say;
use crate::cli::say_json;
use crate::config::Config;
use crate::director;
use crate::director::book;
use crate::director::book::Book;
use crate::dossier;
use crate::dossier::Verified;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Standing;
use crate::experiment::life::By;
use crate::experiment::life::Event;
use crate::experiment::life::Life;
use crate::report::words;
use crate::stats::Verdict;
use crate::store::Store;
use crate::store::log::Audit;
use crate::store::log::Broken;
use crate::store::log::Entry;
use crate::upstream::local;
use crate::upstream::local::Plane;
use crate::upstream::local::Question;

/// What a person wants to happen to an experiment.
#[derive(clap::Args, Debug)]
pub struct WishArgs {
    /// The experiment's name
    pub name: String,
    /// Why; kept in the decision log
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub why: String,
    #[command(flatten)]
    pub args: Args,
}

/// Which candidate is to be answered for by control.
#[derive(clap::Args, Debug)]
pub struct HaltArgs {
    /// The experiment's name
    pub name: String,
    /// The candidate's name
    pub candidate: String,
    /// Why; kept in the decision log
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub why: String,
    #[command(flatten)]
    pub args: Args,
}

/// What a person decides.
#[derive(clap::Args, Debug)]
pub struct OverrideArgs {
    /// The experiment's name
    pub name: String,
    /// ship, do_not_ship or equivalent
    #[arg(long, value_parser = verdict)]
    pub verdict: Verdict,
    /// Why; kept in the decision log
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    #[command(flatten)]
    pub args: Args,
}

/// Whose log is shown.
#[derive(clap::Args, Debug)]
pub struct LogArgs {
    /// The experiment's name [default: all]
    pub name: Option<String>,
    /// Compute the recorded verdicts again and compare them with the stored scores
    #[arg(long)]
    pub verify: bool,
    #[command(flatten)]
    pub args: Args,
}

/// What can be done to an experiment.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Nobody takes part until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// It ends.
    Stop,
    /// Control answers for a candidate.
    Halt,
    /// A person decides.
    Override(Verdict),
}

/// What the admin plane shows of the log.
#[derive(Deserialize)]
struct Shown {
    entries: Vec<Entry>,
    broken: Option<Broken>,
    #[serde(default)]
    verified: Vec<Verified>,
}

fn verdict(word: &str) -> std::result::Result<Verdict, String> {
    let known = [Verdict::Ship, Verdict::DoNotShip, Verdict::Equivalent];
    let found = known.into_iter().find(|verdict| verdict.to_string() == word);
    found.ok_or_else(|| "a person decides ship, do_not_ship or equivalent".to_owned())
}

/// A person decides in the place of the evidence.
///
/// # Errors
/// There is no such experiment, or it has not begun.
pub async fn overrule(args: &OverrideArgs) -> Result<()> {
    let files = &args.args;
    let wish = WishArgs { name: args.name.clone(), why: args.why.clone(), args: files.clone() };
    act(Act::Override(args.verdict), &wish, "").await
}

/// Does it, and says where the experiment stands then.
///
/// # Errors
/// There is no such experiment, or that cannot happen where it stands.
pub async fn act(act: Act, wish: &WishArgs, candidate: &str) -> Result<()> {
    let config = wish.args.config()?;
    let word = match act {
        Act::Pause => "pause",
        Act::Resume => "resume",
        Act::Stop => "stop",
        Act::Halt => "halt",
        Act::Override(_) => "override",
    };
    let body = match act {
        Act::Halt => json!({ "why": wish.why, "candidate": candidate }),
        Act::Override(verdict) => json!({ "why": wish.why, "verdict": verdict }),
        Act::Pause | Act::Resume | Act::Stop => json!({ "why": wish.why }),
    };
    let question = Question {
        method: Method::POST,
        path: &["api", "v1", "experiments", &wish.name, word],
        query: &[],
        body: Some(("application/json", Bytes::from(body.to_string()))),
    };
    let standing = match asked(&config, question).await? {
        Some(body) => body,
        None => offline(&config, act, wish, candidate)?,
    };
    if wish.args.json {
        return say_json(&standing);
    }
    let state = standing["state"].as_str().unwrap_or_default();
    let halted = standing["halted"].as_array().map_or(&[][..], Vec::as_slice);
    let halted: Vec<&str> = halted.iter().filter_map(|name| name.as_str()).collect();
    say(&match halted.is_empty() {
        true => format!("{} is {state} now", wish.name),
        false => format!("{} is {state} now; control answers for {}", wish.name, halted.join(", ")),
    });
    Ok(())
}

/// Shows the log and says whether it is as it was written; false when it is not.
///
/// # Errors
/// There is no log, or no such experiment in it.
pub async fn log(args: &LogArgs) -> Result<bool> {
    let config = args.args.config()?;
    let query = [("verify".to_owned(), args.verify.to_string())];
    let path = &["api", "v1", "log"];
    let question = Question { method: Method::GET, path, query: &query, body: None };
    let Shown { mut entries, broken, mut verified } = match asked(&config, question).await? {
        Some(body) => serde_json::from_value(body).map_err(|error| {
            let what = format!("{} does not answer like an understudy: {error}", config.admin);
            Error::new(Kind::Broken, what)
        })?,
        None => stored(&config, args)?,
    };
    let all = entries.len();
    entries.retain(|entry| args.name.as_ref().is_none_or(|name| *name == entry.experiment));
    verified.retain(|one| args.name.as_ref().is_none_or(|name| *name == one.experiment));
    let differs = verified.iter().flat_map(|one| &one.checks).any(|c| c.matches == Some(false));
    if args.args.json {
        say_json(&json!({ "entries": entries, "broken": broken, "verified": verified }))?;
    } else {
        say(&table(&entries, &verified));
        say(&match &broken {
            None => format!("{all} entries checked: the chain is whole"),
            Some(Broken { seq, why }) => {
                format!("THE LOG WAS CHANGED: entry {seq} is the first that is not whole: {why}")
            }
        });
        if args.verify {
            say(match (verified.is_empty(), differs) {
                (true, _) => "no verdict is recorded yet, so there is none to compute again",
                (false, false) => "every recorded verdict was computed again; nothing differs",
                (false, true) => "A RECORDED VERDICT DOES NOT FOLLOW FROM WHAT IS THERE: see above",
            });
        }
    }
    Ok(broken.is_none() && !differs)
}

fn stored(config: &Config, args: &LogArgs) -> Result<Shown> {
    let Some(store) = opened(config)? else {
        return Ok(Shown { entries: Vec::new(), broken: None, verified: Vec::new() });
    };
    let Audit { entries, broken } = store.audit_log()?;
    let verified = match args.verify {
        true => dossier::verify(&store, &config.experiments, &entries, args.name.as_deref())?,
        false => Vec::new(),
    };
    Ok(Shown { entries, broken, verified })
}

/// The sidecar's answer, read; `None` if none listens.
///
/// # Errors
/// It refuses, or does not answer properly.
pub async fn asked(config: &Config, question: Question<'_>) -> Result<Option<serde_json::Value>> {
    let body = told(config, question).await?;
    Ok(body.map(|body| serde_json::from_slice(&body).unwrap_or_default()))
}

/// The sidecar's answer as it came; `None` if none listens.
///
/// # Errors
/// It refuses, or does not answer properly.
pub async fn told(config: &Config, question: Question<'_>) -> Result<Option<Bytes>> {
    let answered = match local::ask(&Plane::of(config), question).await {
        Ok(answered) => answered,
        Err(error) if error.kind == Kind::Connect => return Ok(None),
        Err(error) => return Err(error),
    };
    let status = answered.status;
    let body = answered.whole().await?;
    if status == 200 {
        return Ok(Some(body));
    }
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or("it did not say why");
    let kind = if status == 404 { Kind::NotFound } else { Kind::BadRequest };
    Err(Error::new(kind, message))
}

/// Writes the wish into the log that the next start reads.
fn offline(
    config: &Config,
    act: Act,
    wish: &WishArgs,
    candidate: &str,
) -> Result<serde_json::Value> {
    let names = config.experiments.iter().map(|e| e.name.as_str());
    let found = config.experiments.iter().find(|e| e.name == wish.name);
    let experiment = found.ok_or_else(|| director::unknown(names, &wish.name))?;
    if matches!(act, Act::Halt) && experiment.candidates.iter().all(|c| c.variant.name != candidate)
    {
        let what = format!("the experiment has no candidate \"{candidate}\"");
        return Err(Error::new(Kind::NotFound, what));
    }
    let store = needed(config)?;
    let (book, mut lives) = Book::open(store.clone())?;
    // The files that this command was given say nothing about other experiments.
    lives.retain(|name, _| *name == wish.name);
    let at_ms = jiff::Timestamp::now().as_millisecond();
    let mut drafts = book::meet(&lives, std::slice::from_ref(experiment), at_ms)?;
    book::settle(&mut lives, &drafts)?;
    let life = lives.get(&wish.name).cloned().unwrap_or_default();
    let (by, why, epoch) = (By::Person, wish.why.clone(), life.standing.epoch);
    let counted = counted(&store, experiment, &life)?;
    let event = match act {
        Act::Pause => Event::Paused { by, why },
        Act::Resume => Event::Resumed { by },
        Act::Stop => Event::Stopped { by, why },
        Act::Halt => Event::Halted { epoch, candidate: candidate.to_owned(), by, why },
        Act::Override(verdict) => director::record::overruling(&counted, verdict, &wish.why)?,
    };
    let mut events = vec![event];
    if matches!(act, Act::Stop | Act::Override(_)) {
        let record = Box::new(director::record::taken(&counted, "", &config.prices));
        events.push(Event::Recorded { record });
    }
    let mut next = life;
    for event in events {
        next = next.after(&event)?;
        drafts.push(book::draft(&wish.name, &next, event, at_ms));
    }
    book.append(&drafts)?;
    let Standing { state, epoch, halted, .. } = next.standing;
    Ok(json!({ "experiment": wish.name, "state": state, "epoch": epoch, "halted": halted }))
}

/// What an experiment rests on as its data is.
fn counted(store: &Store, experiment: &Experiment, life: &Life) -> Result<Snapshot> {
    let experiment = Experiment { standing: life.standing.clone(), ..experiment.clone() };
    let board = Board::load(std::slice::from_ref(&experiment), store)?;
    let counted = board.full_snapshot(&experiment.name);
    counted.ok_or_else(|| Error::new(Kind::Internal, "what was counted could not be read"))
}

fn table(entries: &[Entry], verified: &[Verified]) -> String {
    let mut out = String::new();
    for Entry { seq, at_ms, experiment, event, definition, .. } in entries {
        let at = jiff::Timestamp::from_millisecond(*at_ms).map(|at| format!("{at:.0}"));
        let definition: String = definition.chars().take(8).collect();
        let at = at.unwrap_or_default();
        let told = words::told(event);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{seq:>5}  {at}  {definition}  {experiment}: {told}");
        for check in verified.iter().filter(|one| one.seq == *seq).flat_map(|one| &one.checks) {
            let word = match check.matches {
                Some(true) => "matches",
                Some(false) => "DIFFERS",
                None => "unknown",
            };
            let _ = writeln!(out, "       {word}  {}", check.say);
        }
    }
    out
}
