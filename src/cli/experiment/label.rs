//! `understudy experiment label`: shows pairs blind and asks which answer is better.

use std::fmt::Write;

use bytes::Bytes;
use http::Method;

use crate::cli::experiment::Args;
use crate::cli::experiment::life::asked;
use crate::cli::experiment::needed;
use crate::cli::say;
use crate::cli::say_json;
use crate::config::Config;
use crate::director;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::label::Given;
use crate::label::Prefers;
use crate::labelling;
use crate::labelling::Shown;
use crate::labelling::Waiting;
use crate::labelling::Wanted;
use crate::store::Store;
use crate::upstream::local::Question;

/// Columns that text is broken at.
const WIDTH: usize = 78;

/// The most of one text that is shown, characters.
const MOST: usize = 20_000;

/// Pairs that are fetched at once.
const BATCH: usize = 10;

/// Whose pairs are labelled.
#[derive(clap::Args, Debug)]
pub struct LabelArgs {
    /// The experiment's name
    name: String,
    /// Of this candidate only [default: all]
    #[arg(long, value_name = "NAME")]
    candidate: Option<String>,
    /// Who labels; kept with each label
    #[arg(long, value_name = "NAME", default_value = "")]
    by: String,
    /// No more than these; with --json 10 unless you say
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    args: Args,
}

/// Where pairs come from and labels go.
enum Desk {
    /// The running sidecar.
    Running(Box<Config>),
    /// The data directory of one that does not run.
    Stored(Store, Box<Experiment>),
}

/// What a person answers.
enum Reply {
    Prefers(Prefers),
    Skip,
    Quit,
}

/// Asks for one label after the other until there are no more pairs, or the person has enough;
/// with `--json` it only lists what waits.
///
/// # Errors
/// There is no such experiment, or the labels cannot be kept.
pub async fn run(args: &LabelArgs) -> Result<()> {
    let desk = Desk::open(args).await?;
    if args.args.json {
        let waiting = desk.waiting(args, 0, args.limit.unwrap_or(BATCH)).await?;
        return say_json(&waiting);
    }
    let (mut given, mut skipped) = (0, 0);
    'asking: loop {
        let waiting = desk.waiting(args, skipped, BATCH).await?;
        if waiting.pairs.is_empty() {
            say(match waiting.labelled {
                0 => "no pair waits for a label: pairs come once the judge has scored some",
                _ => "no pair is left",
            });
            break;
        }
        let mut left = waiting.left;
        for pair in &waiting.pairs {
            if args.limit.is_some_and(|limit| given >= limit) {
                break 'asking;
            }
            say(&shown(pair, left.saturating_sub(skipped as u64)));
            match reply()? {
                Reply::Prefers(prefers) => {
                    desk.give(args, pair, prefers).await?;
                    given += 1;
                    left = left.saturating_sub(1);
                }
                Reply::Skip => skipped += 1,
                Reply::Quit => break 'asking,
            }
        }
    }
    say(&format!("{given} labelled, {skipped} skipped; the report counts them at once"));
    Ok(())
}

impl Desk {
    async fn open(args: &LabelArgs) -> Result<Self> {
        let config = args.args.config()?;
        let path = &["livez"];
        let question = Question { method: Method::GET, path, query: &[], body: None };
        match asked(&config, question).await? {
            Some(_) => Ok(Self::Running(Box::new(config))),
            None => {
                let (store, experiment) = stored(&config, &args.name)?;
                Ok(Self::Stored(store, Box::new(experiment)))
            }
        }
    }

    async fn waiting(&self, args: &LabelArgs, skip: usize, limit: usize) -> Result<Waiting> {
        let candidate = args.candidate.clone();
        match self {
            Self::Running(config) => {
                let mut query = vec![
                    ("skip".to_owned(), skip.to_string()),
                    ("limit".to_owned(), limit.to_string()),
                ];
                query.extend(candidate.map(|name| ("candidate".to_owned(), name)));
                let path = &["api", "v1", "experiments", &args.name, "labels"];
                let question = Question { method: Method::GET, path, query: &query, body: None };
                let body = asked(config, question).await?.ok_or_else(|| gone(config))?;
                serde_json::from_value(body).map_err(|error| {
                    let what =
                        format!("{} does not answer like an understudy: {error}", config.admin);
                    Error::new(Kind::Broken, what)
                })
            }
            Self::Stored(store, experiment) => {
                labelling::waiting(store, experiment, &Wanted { candidate, skip, limit })
            }
        }
    }

    async fn give(&self, args: &LabelArgs, pair: &Shown, prefers: Prefers) -> Result<()> {
        let given = Given {
            pair: pair.pair.clone(),
            candidate: pair.candidate.clone(),
            prefers,
            by: args.by.clone(),
        };
        match self {
            Self::Running(config) => {
                let body = serde_json::to_vec(&given)
                    .map_err(|_| Error::new(Kind::Internal, "a label cannot be written"))?;
                let question = Question {
                    method: Method::POST,
                    path: &["api", "v1", "experiments", &args.name, "labels"],
                    query: &[],
                    body: Some(("application/json", Bytes::from(body))),
                };
                asked(config, question).await?.map(drop).ok_or_else(|| gone(config))
            }
            Self::Stored(store, experiment) => {
                let (id, label) = labelling::label(store, experiment, &given)?;
                store.put_label(&experiment.run(), &given.candidate, id, &label)?;
                store.flush()
            }
        }
    }
}

/// The data directory and an experiment as it stands there.
///
/// # Errors
/// There is neither a sidecar nor data, or no such experiment.
pub fn stored(config: &Config, name: &str) -> Result<(Store, Experiment)> {
    let names = || config.experiments.iter().map(|experiment| experiment.name.as_str());
    let found = config.experiments.iter().position(|experiment| experiment.name == name);
    let at = found.ok_or_else(|| director::unknown(names(), name))?;
    let store = needed(config)?;
    let mut experiments = config.experiments.clone();
    director::glimpse(&store, &mut experiments)?;
    Ok((store, experiments.swap_remove(at)))
}

fn gone(config: &Config) -> Error {
    Error::new(Kind::Connect, format!("the sidecar on {} is gone", config.admin))
}

/// A pair on the terminal.
fn shown(pair: &Shown, left: u64) -> String {
    let rule = "─".repeat(WIDTH);
    let mut out = format!("\n{rule}\n");
    for turn in &pair.prompt {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}:\n{}\n", plain(&turn.role), wrapped(&turn.text));
    }
    let _ = writeln!(out, "── A {}\n{}\n", "─".repeat(WIDTH - 5), wrapped(&pair.a));
    let _ = writeln!(out, "── B {}\n{}\n", "─".repeat(WIDTH - 5), wrapped(&pair.b));
    let _ = write!(out, "{left} left. Which is better? a, b, t(ie), s(kip), q(uit)");
    out
}

fn reply() -> Result<Reply> {
    loop {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        let read = read.map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
        match line.trim().to_lowercase().as_str() {
            _ if read == 0 => return Ok(Reply::Quit),
            "a" => return Ok(Reply::Prefers(Prefers::A)),
            "b" => return Ok(Reply::Prefers(Prefers::B)),
            "t" | "tie" => return Ok(Reply::Prefers(Prefers::Tie)),
            "s" | "skip" => return Ok(Reply::Skip),
            "q" | "quit" => return Ok(Reply::Quit),
            _ => say("please answer a, b, tie, skip or quit"),
        }
    }
}

/// Text that cannot do anything to a terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Plain text in lines that fit, cut off where nobody would read on.
fn wrapped(text: &str) -> String {
    let all = plain(text);
    let more = all.chars().count().saturating_sub(MOST);
    let text: String = all.chars().take(MOST).collect();
    let mut out = String::new();
    for line in text.lines() {
        let mut column = 0;
        for word in line.split_inclusive(' ') {
            let length = word.chars().count();
            if column > 0 && column + length > WIDTH {
                out.push('\n');
                column = 0;
            }
            out.push_str(word);
            column += length;
        }
        out.push('\n');
    }
    if more > 0 {
        let _ = writeln!(out, "[{more} more characters]");
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn text_is_broken_at_words_and_tells_a_terminal_nothing() {
        let text = wrapped(&format!("{}\x1b[2Jend\r\n\nnew", "word ".repeat(40)));
        assert!(text.lines().all(|line| line.chars().count() <= 78), "{text}");
        assert!(text.ends_with("[2Jend\n\nnew") && !text.contains('\x1b'), "{text}");
        let long = wrapped(&"x".repeat(30_000));
        assert!(long.ends_with("[10000 more characters]"));
    }
}
