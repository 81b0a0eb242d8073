//! `understudy demo`: a whole experiment before your eyes, without keys or network.
//!
//! The sidecar is the one that `serve` runs; only the providers behind it and the application in
//! front of it are simulated.

mod shop;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use tokio::time::Instant;

use crate::app::App;
use crate::cli::demo::shop::Shop;
use crate::cli::say;
use crate::cli::table;
use crate::config;
use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::report::Report;
use crate::simulate::Judge;
use crate::simulate::Latency;
use crate::simulate::Persona;
use crate::simulate::PersonaRole;
use crate::simulate::Settings;
use crate::simulate::Simulator;
use crate::simulate::Span;
use crate::simulate::Writer;
use crate::stats::Verdict;

/// The experiment's name in the files that the demo writes.
const EXPERIMENT: &str = "support-upgrade";

/// The demo gives up after this long, whatever it has seen.
const LONGEST: Duration = Duration::from_secs(55);

/// How often the display is brought up to date.
const REFRESH: Duration = Duration::from_millis(200);

/// Options of `understudy demo`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Keep the sidecar and its providers running afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Seed of the simulated providers and customers
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the demo; the files and data it leaves are named at its end.
///
/// # Errors
/// A port cannot be bound, or the temporary folder cannot be written.
pub async fn run(args: Args) -> Result<ExitCode> {
    let began = Instant::now();
    let simulator = Simulator::start(providers(args.seed)).await.map_err(|error| failed(&error))?;
    let folder = std::env::temp_dir().join(format!("understudy-demo-{}", std::process::id()));
    let app =
        App::start(files(&folder, &simulator.base_url(), "127.0.0.1:0", "127.0.0.1:0")?).await?;
    files(&folder, &simulator.base_url(), &app.data.to_string(), &app.admin.to_string())?;
    introduce(&app, &simulator, &folder);
    let shop = Shop::open(app.data, args.seed)?;
    let report = watch(&app, &shop, began).await;
    shop.close();
    app.flush().await;
    let report = report.or_else(|| app.board.report(EXPERIMENT));
    let verdict = report.as_ref().map(|report| report.verdict);
    // The report of now also says what guardrails saw and what to do next.
    if let Some(report) = app.board.full_report(EXPERIMENT) {
        say(&format!("\n{}\n", table::report(&report, table::Ink::of_terminal())));
    }
    let page = write_page(&app, &folder);
    let served = shop.served();
    say(&format!(
        "{} answers reached customers in {:.1} s, {} of them from the cache.",
        served.answers,
        began.elapsed().as_secs_f64(),
        served.hits
    ));
    farewell(&args, &app, &folder, page.as_deref()).await;
    app.stop().await;
    simulator.shutdown().await;
    let decided = verdict.is_some_and(|verdict| verdict != Verdict::KeepRunning);
    Ok(if decided { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows progress until there is a verdict.
async fn watch(app: &App, shop: &Shop, began: Instant) -> Option<Report> {
    let bar = ProgressBar::new(100);
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} [{bar:32}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut told = 0;
    while began.elapsed() < LONGEST {
        tokio::time::sleep(REFRESH).await;
        let Some(report) = app.board.report(EXPERIMENT) else { continue };
        let Some(view) = report.candidates.values().next() else { continue };
        let expected = view.remaining.map_or(0, |left| left.n80);
        bar.set_length(view.pairs + expected);
        bar.set_position(view.pairs);
        let line = format!(
            "{} pairs judged, win rate {:.1} % ({:.1} to {:.1} %)",
            view.pairs,
            view.win_rate.estimate.unwrap_or(0.5) * 100.0,
            view.win_rate.lower * 100.0,
            view.win_rate.upper * 100.0
        );
        if bar.is_hidden() && view.pairs >= told + 50 {
            told = view.pairs;
            say(&format!("  {line}"));
        }
        bar.set_message(line);
        if report.verdict != Verdict::KeepRunning {
            bar.finish_and_clear();
            return Some(report);
        }
        if shop.is_sold_out() {
            break;
        }
    }
    bar.finish_and_clear();
    None
}

fn introduce(app: &App, simulator: &Simulator, folder: &Path) {
    say(&format!(
        "A shop's support bot runs on sim/lead. Can it move to sim/understudy without getting \
         worse?\n\n  customers -> understudy {} -> simulated providers {}\n  experiment: \
         {}/experiments/{EXPERIMENT}.yaml\n  live state: http://{}/api/v1/experiments/{EXPERIMENT}\n",
        app.data,
        simulator.addr(),
        folder.display(),
        app.admin
    ));
}

/// The report as a page beside the other files; `None` where it cannot be written.
fn write_page(app: &App, folder: &Path) -> Option<PathBuf> {
    let page = app.page(EXPERIMENT).ok()?;
    let file = folder.join("report.html");
    fs::write(&file, page).ok()?;
    Some(file)
}

async fn farewell(args: &Args, app: &App, folder: &Path, page: Option<&Path>) {
    let folder = folder.display();
    if let Some(page) = page {
        say(&format!("The same as a page, with plots: {}", page.display()));
    }
    say(&format!(
        "\nLook further:\n  understudy experiment report {EXPERIMENT} --config \
         {folder}/understudy.yaml --experiments {folder}/experiments\n  understudy demo --keep      \
         keeps everything running: try the request below, then /metrics on the admin plane\n  \
         the files above are what `understudy serve` takes: change them and run it yourself"
    ));
    if args.keep {
        say(&format!(
            "\nRunning until Ctrl-C. Ask the bot yourself, twice, to see the cache:\n  curl -i \
             http://{}/v1/chat/completions -d '{{\"model\":\"support-bot\",\"messages\":[{{\"role\":\
             \"user\",\"content\":\"How do I return an item?\"}}]}}'\n  curl http://{}/metrics",
            app.data, app.admin
        ));
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Writes the files a user would write, and loads them as `serve` does.
fn files(folder: &Path, base_url: &str, listen: &str, admin: &str) -> Result<Config> {
    let settings = format!(
        "listen: {listen}\nadmin: {admin}\ndata_dir: {}\nproviders:\n  sim: {{ dialect: openai, \
         base_url: \"{base_url}\" }}\nroutes:\n  support-bot: {{ targets: [sim/lead] }}\n",
        folder.join("data").display()
    );
    let experiments = folder.join("experiments");
    fs::create_dir_all(&experiments).map_err(|error| failed(&error))?;
    let path = folder.join("understudy.yaml");
    fs::write(&path, &settings).map_err(|error| failed(&error))?;
    let definition = experiments.join(format!("{EXPERIMENT}.yaml"));
    fs::write(&definition, DEFINITION).map_err(|error| failed(&error))?;
    let name = |path: PathBuf| path.display().to_string();
    let sources = [(name(definition), DEFINITION.to_owned())];
    let config = Some((path.to_str().unwrap_or("understudy.yaml"), settings.as_str()));
    let loaded = config::load(config, &sources, &|_| None, &|path| fs::read_to_string(path));
    let (config, _) = loaded.map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::new(Kind::Internal, format!("the demo's own files are wrong: {}", all.join("; ")))
    })?;
    Ok(config)
}

const DEFINITION: &str = "\
# One in ten customers already gets the candidate's answers; for most requests the other model
# answers too, out of the customer's sight, and a judge compares the two answers.
experiment: support-upgrade
question: Can the support bot move to the new model without getting worse?
match: { route: support-bot }
unit: { header: x-user-id }
control: { target: sim/lead }
candidates:
  understudy: { target: sim/understudy }
traffic:
  split: { understudy: 10% }
  shadow: 80%
evaluate:
  comparators: [exact]
  judge: { target: sim/critic, criteria: \"Correct, complete, polite.\", both_orders: true }
decide: { goal: non_inferior, margin: 3%, alpha: 5%, min_pairs: 200, max_pairs: 2000 }
";

/// Two models that know the shop's rules to different degrees, and a judge with a bias.
fn providers(seed: u64) -> Settings {
    let writer = |quality: f64, first_ms: u64, token_rate: f64| Persona {
        role: PersonaRole::Writer(Writer { quality, ..Writer::default() }),
        latency: Some(latency(first_ms, Some(token_rate))),
        ..Persona::default()
    };
    let judge = Judge { noise: 0.6, position_bias: 0.5, ..Judge::default() };
    let critic = Persona {
        role: PersonaRole::Judge(judge),
        latency: Some(latency(120, None)),
        ..Persona::default()
    };
    let personas = [
        ("lead", writer(0.78, 150, 110.0)),
        ("understudy", writer(0.84, 120, 140.0)),
        ("critic", critic),
    ];
    let personas = personas.into_iter().map(|(name, persona)| (name.to_owned(), persona));
    Settings { seed, personas: personas.collect(), ..Settings::default() }
}

fn latency(first_ms: u64, token_rate: Option<f64>) -> Latency {
    let (half, twice) = (first_ms / 2, first_ms * 2);
    let span =
        Span::Uniform { from: Duration::from_millis(half), to: Duration::from_millis(twice) };
    Latency { total: span, first_token: span, token_rate }
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(Kind::Internal, format!("the demo cannot start: {error}"))
}
