//! Pause, resume, stop and halt, and what was decided: by the running sidecar, or on its data.

use std::fmt::Write;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::cli::experiment::Args;
use crate::cli::experiment::opened;
use crate::cli::say;
use crate::cli::say_json;
use crate::config::Config;
use crate::director;
use crate::director::book;
use crate::director::book::Book;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Standing;
use crate::experiment::life::By;
use crate::experiment::life::Event;
use crate::store::log::Audit;
use crate::store::log::Broken;
use crate::store::log::Entry;
use crate::upstream::local;
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

/// Whose log is shown.
#[derive(clap::Args, Debug)]
pub struct LogArgs {
    /// The experiment's name [default: all]
    pub name: Option<String>,
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
}

/// What the admin plane shows of the log.
#[derive(Deserialize)]
struct Shown {
    entries: Vec<Entry>,
    broken: Option<Broken>,
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
    };
    let mut body = json!({ "why": wish.why });
    if let (Act::Halt, Some(members)) = (act, body.as_object_mut()) {
        members.insert("candidate".to_owned(), json!(candidate));
    }
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
    let question =
        Question { method: Method::GET, path: &["api", "v1", "log"], query: &[], body: None };
    let Shown { mut entries, broken } = match asked(&config, question).await? {
        Some(body) => serde_json::from_value(body).map_err(|error| {
            let what = format!("{} does not answer like an understudy: {error}", config.admin);
            Error::new(Kind::Broken, what)
        })?,
        None => match opened(&config)? {
            Some(store) => {
                let Audit { entries, broken } = store.audit_log()?;
                Shown { entries, broken }
            }
            None => Shown { entries: Vec::new(), broken: None },
        },
    };
    let all = entries.len();
    entries.retain(|entry| args.name.as_ref().is_none_or(|name| *name == entry.experiment));
    if args.args.json {
        say_json(&json!({ "entries": entries, "broken": broken }))?;
    } else {
        say(&table(&entries));
        say(&match &broken {
            None => format!("{all} entries checked: the chain is whole"),
            Some(Broken { seq, why }) => {
                format!("THE LOG WAS CHANGED: entry {seq} is the first that is not whole: {why}")
            }
        });
    }
    Ok(broken.is_none())
}

/// The sidecar's answer; `None` if none listens.
async fn asked(config: &Config, question: Question<'_>) -> Result<Option<serde_json::Value>> {
    let answered = match local::ask(config.admin, question).await {
        Ok(answered) => answered,
        Err(error) if error.kind == Kind::Connect => return Ok(None),
        Err(error) => return Err(error),
    };
    let status = answered.status;
    let body: serde_json::Value =
        serde_json::from_slice(&answered.whole().await?).unwrap_or_default();
    if status == 200 {
        return Ok(Some(body));
    }
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
    let store = opened(config)?.ok_or_else(|| {
        let dir = config.data_dir.display();
        let what = format!("no sidecar answers on {} and there is no data in {dir}", config.admin);
        Error::new(Kind::NotFound, what)
    })?;
    let (book, mut lives) = Book::open(store)?;
    // The files that this command was given say nothing about other experiments.
    lives.retain(|name, _| *name == wish.name);
    let at_ms = jiff::Timestamp::now().as_millisecond();
    let mut drafts = book::meet(&lives, std::slice::from_ref(experiment), at_ms)?;
    book::settle(&mut lives, &drafts)?;
    let life = lives.get(&wish.name).cloned().unwrap_or_default();
    let (by, why, epoch) = (By::Person, wish.why.clone(), life.standing.epoch);
    let event = match act {
        Act::Pause => Event::Paused { by, why },
        Act::Resume => Event::Resumed { by },
        Act::Stop => Event::Stopped { by, why },
        Act::Halt => Event::Halted { epoch, candidate: candidate.to_owned(), by, why },
    };
    let next = life.after(&event)?;
    drafts.push(book::draft(&wish.name, &next, event, at_ms));
    book.append(&drafts)?;
    let Standing { state, epoch, halted, .. } = next.standing;
    Ok(json!({ "experiment": wish.name, "state": state, "epoch": epoch, "halted": halted }))
}

fn table(entries: &[Entry]) -> String {
    let mut out = String::new();
    for Entry { seq, at_ms, experiment, event, definition, .. } in entries {
        let at = jiff::Timestamp::from_millisecond(*at_ms).map(|at| format!("{at:.0}"));
        let definition: String = definition.chars().take(8).collect();
        let at = at.unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{seq:>5}  {at}  {definition}  {experiment}: {}", told(event));
    }
    out
}

fn told(event: &Event) -> String {
    let by = |by: &By, why: &str| {
        let by = match by {
            By::Guardrail => "a guardrail",
            By::Person => "a person",
            By::Budget => "the budget",
            By::File => "its file",
        };
        if why.is_empty() { format!("by {by}") } else { format!("by {by}: {why}") }
    };
    match event {
        Event::Defined { .. } => "defined".to_owned(),
        Event::Started { epoch, .. } => format!("started, epoch {epoch}"),
        Event::Changed { what, .. } => format!("changed: {}", what.join(", ")),
        Event::NewEpoch { epoch, why, .. } => format!("epoch {epoch} begins: {}", why.join(", ")),
        Event::Paused { by: who, why } => format!("paused {}", by(who, why)),
        Event::Resumed { by: who } => format!("resumed {}", by(who, "")),
        Event::Halted { candidate, by: who, why, .. } => {
            format!("{candidate} halted {}", by(who, why))
        }
        Event::Stepped { step, share } => {
            format!("step {step} of the ramp: {} %", f64::from(*share) / 1e4)
        }
        Event::Stopped { by: who, why } => format!("stopped {}", by(who, why)),
        Event::Decided { verdict, verdicts } => {
            let each = verdicts.iter().map(|(name, ruling)| {
                format!("{name} {} after {} pairs", ruling.verdict, ruling.pairs)
            });
            format!("decided: {verdict} ({})", each.collect::<Vec<_>>().join(", "))
        }
        Event::Drifted { sentinel, run, why } => {
            format!("drifted, as {sentinel} found in its run {run}: {why}")
        }
        Event::Removed {} => "no file defines it any more".to_owned(),
    }
}
