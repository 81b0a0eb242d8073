//! The commands, one file each, and what they share: files in, messages out, exit codes.

mod backtest;
mod cache;
mod callers;
mod check;
mod costs;
mod demo;
mod experiment;
mod explain;
mod files;
mod healthcheck;
mod inject;
mod logs;
mod providers;
mod replay;
mod serve;
mod simulate;
mod stored;
pub mod table;
mod webhook;

use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;

use crate::error::Error;
use crate::error::Result;

/// Threads that read the disk; each keeps memory of its own, and a read takes microseconds.
const BLOCKING_THREADS: usize = 4;

/// Something is wrong with the files or flags given.
const EXIT_INVALID: u8 = 2;

/// The program could not do what it was asked.
const EXIT_FAILED: u8 = 1;

/// Can we move from model A to model B? A sidecar for LLM traffic that answers with evidence.
#[derive(Debug, Parser)]
#[command(name = "understudy", version, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Worker threads; one is enough for a sidecar and spends the least CPU [default: 1 per core,
    /// at most 4]
    #[arg(long, global = true, value_name = "N", env = "UNDERSTUDY_THREADS")]
    threads: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar
    Serve(serve::Args),
    /// Watch a whole experiment, without keys or network
    Demo(demo::Args),
    /// Validate configuration and experiments, reporting every problem at once
    Check(check::Args),
    /// Say what would happen to a request, and why: who answers, its variant, its cache key
    Explain(explain::Args),
    /// List, show, count, move and forget stored exchanges
    #[command(subcommand)]
    Cache(cache::Command),
    /// Make keys by which callers are known
    #[command(subcommand)]
    Callers(callers::Command),
    /// Say what calls cost: by caller, model, experiment, day, and whatever callers are labelled with
    Costs(costs::Args),
    /// List experiments and read their reports
    #[command(subcommand)]
    Experiment(experiment::Command),
    /// Run an experiment's candidates over recorded requests, before any live risk
    Backtest(backtest::Args),
    /// List the providers that can be asked: where, with which key, in which dialects
    Providers(providers::Args),
    /// Print a stored answer again, or send its request again and compare
    Replay(replay::Args),
    /// Ask a running sidecar whether it is ready, as a probe does: exit code 0 or 1
    Healthcheck(healthcheck::Args),
    /// Put the sidecar into Kubernetes manifests
    Inject(inject::Args),
    /// Run a simulated provider, with chosen latency and faults
    Simulate(crate::simulate::Args),
    /// Give pods the sidecar as they are created, for the Kubernetes API server
    Webhook(webhook::Args),
}

impl Cli {
    /// Runs the command; the exit code is 0 for success, 1 for failure, 2 for invalid input.
    pub fn run(self) -> ExitCode {
        let threads = self.threads.unwrap_or_else(default_threads);
        let runtime = match runtime(threads) {
            Ok(runtime) => runtime,
            Err(error) => {
                complain(&format!("cannot start {threads} worker threads: {error}"));
                return ExitCode::from(EXIT_FAILED);
            }
        };
        let result = runtime.block_on(async {
            match self.command {
                Command::Serve(args) => serve::run(args).await,
                Command::Demo(args) => demo::run(args).await,
                Command::Check(args) => Ok(check::run(&args)),
                Command::Explain(args) => explain::run(&args),
                Command::Cache(command) => cache::run(command).await,
                Command::Callers(command) => callers::run(command),
                Command::Costs(args) => costs::run(args).await,
                Command::Experiment(command) => experiment::run(command).await,
                Command::Backtest(args) => Ok(backtest::run(args).await),
                Command::Providers(args) => providers::run(&args),
                Command::Replay(args) => replay::run(args).await,
                Command::Healthcheck(args) => healthcheck::run(args).await,
                Command::Inject(args) => inject::run(&args),
                Command::Simulate(args) => simulate::run(&args).await,
                Command::Webhook(args) => webhook::run(args).await,
            }
        });
        // Blocking reads that are still under way must not hold the process up.
        runtime.shutdown_background();
        result.unwrap_or_else(|error| {
            complain(&error.to_string());
            ExitCode::from(exit_code(&error))
        })
    }
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.max(1)).max_blocking_threads(BLOCKING_THREADS);
    builder.enable_all().build()
}

fn exit_code(error: &Error) -> u8 {
    match error.kind {
        crate::error::Kind::BadRequest | crate::error::Kind::NotFound => EXIT_INVALID,
        _ => EXIT_FAILED,
    }
}

/// Prints to standard output; a closed pipe ends the output, not the program.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints bytes to standard output at once; false when nobody reads there any more.
fn put(bytes: &[u8]) -> bool {
    use std::io::Write;
    let mut stdout = std::io::stdout();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).is_ok()
}

/// Prints an error for a person.
fn complain(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// Tells a person something beside the output.
fn remark(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

/// Prints JSON for a script.
fn say_json(value: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value).map_err(|error| {
        Error::new(crate::error::Kind::Internal, format!("cannot write JSON: {error}"))
    })?;
    say(&json);
    Ok(())
}
