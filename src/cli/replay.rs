//! `understudy replay`: a stored answer again, as it was or as it is given today.

mod compared;
mod send;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::cli::EXIT_FAILED;
use crate::cli::put;
use crate::cli::remark;
use crate::cli::say;
use crate::cli::say_json;
use crate::cli::stored;
use crate::cli::stored::Place;
use crate::cli::stored::Source;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::library::view;
use crate::library::view::Detail;
use crate::store::exchange::Exchange;
use crate::wire;
use crate::wire::Frames;

/// Which answer, and how.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// An exchange's id, its key, or the request's id; its first characters are enough
    id: String,
    /// Print the provider's bytes
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Print with the pauses it came with
    #[arg(long, conflicts_with = "json")]
    timing: bool,
    /// So many times faster, with --timing
    #[arg(long, value_name = "TIMES", value_parser = speed, default_value = "1x")]
    speed: f64,
    /// Send the stored request again, with this machine's configuration and keys
    #[arg(long)]
    send: bool,
    /// Whom to send it to, provider/model [default: who answered]
    #[arg(long, value_name = "TARGET", requires = "send")]
    target: Option<String>,
    /// Compare the new answer with the old one
    #[arg(long, requires = "send", conflicts_with_all = ["raw", "timing"])]
    diff: bool,
    #[command(flatten)]
    place: Place,
}

/// Prints it; the exit code is 1 when what was sent again got no whole answer.
///
/// # Errors
/// There is no such exchange, or its request cannot be sent.
pub async fn run(args: Args) -> Result<ExitCode> {
    let config = args.place.config()?;
    let found = Source::open(&config).await?.find(&args.id).await?;
    if found.len() > 1 {
        remark(&format!("{} exchanges are called that; this is the newest", found.len()));
    }
    let newest = found.into_iter().next().ok_or_else(|| {
        Error::new(Kind::NotFound, format!("nothing is stored as \"{}\"", args.id))
    })?;
    let old = stored::exchange(newest)?;
    if !old.head.redacted.is_empty() {
        remark(&format!("it is stored without {}", old.head.redacted.join(", ")));
    }
    if !args.send {
        show(&args, &old).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let target = match &args.target {
        Some(text) => Target::parse(text).ok_or_else(|| {
            let what = format!("--target takes provider/model, not \"{text}\"");
            Error::new(Kind::BadRequest, what)
        })?,
        None => Target::parse(&old.head.target).ok_or_else(|| {
            Error::new(Kind::BadRequest, "nobody knows who answered: name a --target")
        })?,
    };
    let sent = send::again(&config, &old, target).await?;
    sent.losses.iter().for_each(|loss| remark(loss));
    let new = sent.exchange;
    match (args.diff, args.place.json) {
        (true, true) => say_json(&compared::json(&old, &new))?,
        (true, false) => say(&compared::text(&old, &new)),
        (false, _) => show(&args, &new).await?,
    }
    let is_good = new.head.status == 200 && new.head.ended == "whole";
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

async fn show(args: &Args, exchange: &Exchange) -> Result<()> {
    if args.place.json {
        return say_json(&BTreeMap::from([("exchange", Detail::of(exchange, true))]));
    }
    match (args.raw, args.timing) {
        (true, false) => {
            put(&exchange.body());
        }
        (false, false) => say(&told(&view::answer(exchange), is_coloured())),
        (is_raw, true) => again(exchange, args.speed, is_raw).await,
    }
    Ok(())
}

/// Prints the pieces at the times they came.
async fn again(exchange: &Exchange, speed: f64, is_raw: bool) {
    let dialect = DialectName::parse(&exchange.head.dialect).unwrap_or(DialectName::OpenAi);
    let dialect = dialect.dialect();
    let mut frames = Frames::new(dialect.framing());
    let (mut decoder, mut events) = (dialect.decoder(), Vec::new());
    let mut printer = Printer { is_coloured: is_coloured(), is_dim: false };
    let mut at_us = 0;
    for frame in &exchange.frames {
        let gap = Duration::from_micros(frame.at_us.saturating_sub(at_us)).div_f64(speed);
        at_us = frame.at_us;
        tokio::time::sleep(gap).await;
        let is_open = if is_raw {
            put(&frame.bytes)
        } else if exchange.head.is_stream {
            frames.push(&frame.bytes, |event| decoder.decode(event, &mut events));
            events.drain(..).all(|event| printer.print(&event))
        } else {
            true
        };
        if !is_open {
            return;
        }
    }
    if !is_raw && !exchange.head.is_stream {
        let pieces = exchange.frames.iter().map(|frame| &frame.bytes[..]);
        wire::events(dialect, false, pieces, |event| events.push(event));
        let _ = events.drain(..).all(|event| printer.print(&event));
    }
    if !is_raw {
        printer.end();
    }
}

/// Prints events as they come; reasoning dimmed, where a terminal can.
struct Printer {
    is_coloured: bool,
    is_dim: bool,
}

impl Printer {
    /// False once nobody reads any more.
    fn print(&mut self, event: &ChatEvent) -> bool {
        match event {
            ChatEvent::Reasoning { text, .. } => self.dim(true) && put(text.as_bytes()),
            ChatEvent::Text { text, .. }
            | ChatEvent::Refusal { text, .. }
            | ChatEvent::Transcript { text, .. } => self.dim(false) && put(text.as_bytes()),
            ChatEvent::ToolCall { name, arguments, .. } => {
                let name = name.as_ref().map(|name| format!("\n{name} ")).unwrap_or_default();
                self.dim(false) && put(name.as_bytes()) && put(arguments.as_bytes())
            }
            ChatEvent::Error(error) => put(format!("\nfailed: {}", error.message).as_bytes()),
            _ => true,
        }
    }

    fn dim(&mut self, wanted: bool) -> bool {
        if !self.is_coloured || self.is_dim == wanted {
            return true;
        }
        self.is_dim = wanted;
        put(if wanted { b"\x1b[2m" } else { b"\x1b[0m\n" })
    }

    fn end(&mut self) {
        let _ = self.dim(false) && put(b"\n");
    }
}

/// An answer as text: reasoning, words, tool calls, failure.
pub fn told(answer: &Answer, is_coloured: bool) -> String {
    let mut lines = Vec::new();
    for choice in &answer.choices {
        if answer.choices.len() > 1 {
            lines.push(format!("({})", choice.index));
        }
        if !choice.reasoning.is_empty() {
            lines.push(match is_coloured {
                true => format!("\x1b[2m{}\x1b[0m", choice.reasoning),
                false => format!("(reasoning) {}", choice.reasoning),
            });
        }
        if !choice.said().is_empty() {
            lines.push(choice.said().to_owned());
        }
        let calls = choice.tool_calls.iter();
        lines.extend(calls.map(|call| format!("{} {}", call.name, call.arguments)));
        lines.extend(choice.media.iter().map(|(mime, _)| format!("({mime})")));
    }
    if let Some(first) = answer.embeddings.first() {
        lines.push(format!("{} vectors of {} numbers", answer.embeddings.len(), first.len()));
    }
    lines.extend(answer.error.iter().map(|error| format!("failed: {}", error.message)));
    lines.join("\n")
}

/// Whether a person with a terminal reads along who has nothing against colour.
fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn speed(text: &str) -> std::result::Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
    let number = number.filter(|speed| (0.01..=10_000.0).contains(speed));
    number.ok_or_else(|| "write how many times faster, for example 10x or 0.5x".to_owned())
}
