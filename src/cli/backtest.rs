//! `understudy backtest`: an experiment over recorded requests, with a verdict for scripts.

mod progress;
mod snapshot;
mod told;

use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio_util::sync::CancellationToken;

use crate::backtest::Recorded;
use crate::backtest::history::Found;
use crate::backtest::history::History;
use crate::backtest::history::Run;
use crate::backtest::index;
use crate::backtest::index::Index;
use crate::backtest::sieve::Sieve;
use crate::cli::backtest::progress::Display;
use crate::cli::backtest::told::About;
use crate::cli::complain;
use crate::cli::explain::headers;
use crate::cli::remark;
use crate::cli::stored::Place;
use crate::config::Config;
use crate::dossier;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Judges;
use crate::rehearsal::Rehearsal;
use crate::rehearsal::cost;
use crate::rehearsal::run::End;
use crate::rehearsal::run::Repertoire;
use crate::rehearsal::run::Terms;
use crate::stats::Verdict;

/// The backtest gave no verdict because it could not run.
const EXIT_BROKEN: u8 = 2;

/// Nothing is certain, or a person must look.
const EXIT_OPEN: u8 = 3;

/// What scripts go by.
const EXIT_CODES: &str = "\
Exit code: 0 ship or equivalent, 1 do_not_ship, 2 it could not run, 3 nothing is certain yet
(keep_running, or it was stopped) or a person must look (review).

It can be killed at any time: the same command goes on from there, and comes to the same result.";

/// Options of `understudy backtest`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The experiment's name
    #[arg(value_name = "EXPERIMENT")]
    name: String,
    /// Requests to run it over: JSON lines of `cache export`, or of a batch
    /// ({custom_id, method, url, body}, with its output lines among them or in --answers)
    /// [default: what the sidecar has stored]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The output lines of the batch: control's answers, which are then not asked for again
    #[arg(long, value_name = "FILE", requires = "from")]
    answers: Option<PathBuf>,
    /// Of what is stored: answered since 2h or 7d ago, or a time such as 2026-11-23T10:00 (UTC)
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    since: Option<String>,
    /// A header that every request is taken to have been sent with, for `match.headers`
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Stop before copies and judge together have cost more
    #[arg(long, value_name = "USD", value_parser = above_zero)]
    max_usd: Option<f64>,
    /// No more pairs than this, a sample of all kinds of requests [default: decide.max_pairs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Copies begun in a second [default: shadow.rate]
    #[arg(long, value_name = "N", value_parser = above_zero)]
    rate: Option<f64>,
    /// Copies under way at once [default: shadow.concurrency]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
    /// Go on to the last request when the verdict is there
    #[arg(long)]
    all: bool,
    /// Write the report as a page, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Begin again, although the same backtest was begun before
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    place: Place,
}

/// What a backtest runs on.
struct Setup {
    history: History,
    run: Run,
    sieve: Sieve,
    files: Vec<PathBuf>,
    index: Index,
}

/// Runs it, or goes on with it, and prints the report.
pub async fn run(args: Args) -> ExitCode {
    match perform(&args).await {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(EXIT_BROKEN)
        }
    }
}

async fn perform(args: &Args) -> Result<ExitCode> {
    let mut config = args.place.config()?;
    config.shadowing.rate = args.rate.or(config.shadowing.rate);
    if let Some(concurrency) = args.concurrency {
        config.shadowing.concurrency = usize::from(concurrency);
    }
    let experiment = experiment(&config, &args.name)?;
    if experiment.evaluate.judge == Judges::People {
        let what = "people judge this experiment, and a backtest cannot wait for them: name a \
                    model as its judge";
        return Err(Error::new(Kind::BadRequest, what));
    }
    if args.max_usd.is_some() {
        cost::check_prices(&experiment, &config.prices)?;
    }
    let setup = Setup::open(args, &config, &experiment).await?;
    let most = experiment.decide.max_pairs;
    let limit = usize::try_from(args.limit.unwrap_or(most).min(most)).unwrap_or(usize::MAX);
    let about = About::of(&setup.run, &setup.index, limit);
    setup.index.problems.iter().for_each(|problem| complain(problem));
    remark(&about.introduction());
    let folder = setup.history.folder(&setup.run);
    let (config, mut recorded) = (
        setup.sieve.config().clone(),
        Recorded::new(setup.sieve, &setup.files, setup.index, limit)?,
    );
    if recorded.ids().is_empty() {
        return Err(Error::new(Kind::BadRequest, about.nothing()));
    }
    let judge_usd = experiment.evaluate.budget_usd;
    let terms = Terms { max_usd: args.max_usd, judge_usd, all: args.all, stop: stop()? };
    let mut rehearsal = Rehearsal::open(config, &folder.join("pairs"))?;
    let mut display = Display::new(recorded.ids().len(), args.max_usd);
    let ended = rehearsal.perform(&mut recorded, &terms, &mut |at| display.show(at)).await;
    let last = display.close();
    let report = rehearsal.report();
    let page = args.html.as_ref().map(|file| write_page(&rehearsal, file)).transpose();
    rehearsal.close().await;
    let (end, report) = (ended?, report?);
    page?;
    let verdict = about.tell(&report, last.as_ref(), end, args)?;
    Ok(ExitCode::from(code(end, verdict)))
}

fn write_page(rehearsal: &Rehearsal, file: &Path) -> Result<()> {
    let name = &rehearsal.experiment.name;
    let page = dossier::page(&rehearsal.store, &rehearsal.board, name, &[])?;
    std::fs::write(file, page).map_err(|error| {
        let what = format!("{} cannot be written: {error}", file.display());
        Error::new(Kind::BadRequest, what)
    })
}

fn code(end: End, verdict: Verdict) -> u8 {
    match (end, verdict) {
        (End::Stopped, _) | (_, Verdict::KeepRunning | Verdict::Review) => EXIT_OPEN,
        (_, Verdict::Ship | Verdict::Equivalent) => 0,
        (_, Verdict::DoNotShip) => 1,
    }
}

fn experiment(config: &Config, name: &str) -> Result<Experiment> {
    let found = config.experiments.iter().find(|experiment| experiment.name == name);
    found.cloned().ok_or_else(|| {
        let defined: Vec<&str> = config.experiments.iter().map(|e| e.name.as_str()).collect();
        let what = match defined.as_slice() {
            [] => "no experiments are defined: name them with --experiments".to_owned(),
            defined => {
                format!("no experiment \"{name}\" is defined; there is: {}", defined.join(", "))
            }
        };
        Error::new(Kind::NotFound, what)
    })
}

impl Setup {
    async fn open(args: &Args, config: &Config, experiment: &Experiment) -> Result<Self> {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let sieve = Sieve::new(config, experiment, headers(&args.headers)?, now_ms);
        let mut history = History::open(&config.data_dir, &experiment.name)?;
        let beside = args.headers.join("\n");
        let draft = |source: String| Run::draft(experiment, source + &beside, now_ms);
        if let Some(from) = &args.from {
            let files: Vec<PathBuf> = std::iter::once(from).chain(&args.answers).cloned().collect();
            let index = read(&sieve, &files).await?;
            let mut draft = draft(format!("file {}\n", index.hash));
            (draft.requests, draft.passed_over) = (index.requests, index.passed_over.clone());
            let (run, found) = history.enter(draft, args.fresh)?;
            tell(&run, &found);
            return Ok(Self { history, run, sieve, files, index });
        }
        let since = args.since.clone().unwrap_or_default();
        let (mut run, found) = history.enter(draft(format!("stored {since}\n")), args.fresh)?;
        tell(&run, &found);
        let path = history.folder(&run).join("requests.jsonl");
        if !path.exists() {
            let seen = snapshot::take(config, &sieve, args.since.clone(), &path).await?;
            (run.requests, run.passed_over) = (seen.requests, seen.passed_over);
            history.note(&run)?;
        }
        let files = vec![path];
        let index = read(&sieve, &files).await?;
        Ok(Self { history, run, sieve, files, index })
    }
}

/// Says whether something goes on, and why not.
fn tell(run: &Run, found: &Found) {
    let at = jiff::Timestamp::from_millisecond(run.begun_ms).unwrap_or_default();
    match found {
        Found::First => {}
        Found::GoesOn => remark(&format!(
            "this goes on with the backtest begun at {}; --fresh begins again",
            at.strftime("%Y-%m-%d %H:%M:%SZ")
        )),
        Found::Fresh => remark("the former results of this backtest are forgotten"),
        Found::Redefined(parts) => remark(&format!(
            "a new backtest begins, because the definition changed: {}",
            parts.join(", ")
        )),
        Found::OtherRequests => {
            remark("a new backtest begins, because the requests are others than last time");
        }
    }
}

async fn read(sieve: &Sieve, files: &[PathBuf]) -> Result<Index> {
    let (sieve, files) = (sieve.clone(), files.to_vec());
    let read = tokio::task::spawn_blocking(move || index::read(&sieve, &files)).await;
    read.map_err(|_| Error::new(Kind::Internal, "the requests could not be read"))?
}

/// Set by Ctrl-C, or when the process is asked to end.
fn stop() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let failed = |error| Error::new(Kind::Internal, format!("cannot wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let set = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        set.cancel();
    });
    Ok(stop)
}

fn above_zero(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above 0".to_owned()),
    }
}
