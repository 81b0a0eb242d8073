//! `understudy check`: every problem at once, with its place and a suggestion.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::EXIT_INVALID;
use crate::cli::complain;
use crate::cli::files;
use crate::cli::say;
use crate::cli::say_json;
use crate::config;
use crate::config::Problem;
use crate::script;
use crate::script::Texts;

/// Options of `understudy check`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Files or folders [default: understudy.yaml and experiments]
    files: Vec<PathBuf>,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of a file, for editors
    #[arg(long, value_name = "OF", num_args = 0..=1, default_missing_value = "experiment")]
    #[arg(conflicts_with_all = ["files", "json"])]
    schema: Option<Described>,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Described {
    Experiment,
    Sentinel,
    Config,
}

/// Exit code 2 if anything is wrong, 0 with warnings or without.
pub fn run(args: &Args) -> ExitCode {
    if let Some(of) = args.schema {
        let schema = match of {
            Described::Experiment => config::schema::experiment(),
            Described::Sentinel => config::schema::sentinel(),
            Described::Config => config::schema::settings(),
        };
        return match say_json(&schema) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&error.to_string());
                ExitCode::FAILURE
            }
        };
    }
    let mut paths = args.files.clone();
    if paths.is_empty() {
        let usual = ["understudy.yaml", "experiments"].map(PathBuf::from);
        paths = usual.into_iter().filter(|path| path.exists()).collect();
    }
    let mut sources = Vec::new();
    for path in &paths {
        match script::read_all(path) {
            Ok(found) => sources.extend(found),
            Err(error) => {
                complain(&error.to_string());
                return ExitCode::from(EXIT_INVALID);
            }
        }
    }
    if sources.is_empty() {
        complain("nothing to check: name a file, or run where understudy.yaml or experiments is");
        return ExitCode::from(EXIT_INVALID);
    }
    let count = sources.len();
    let hash = hash(&sources);
    let problems = problems(sources);
    let is_valid = problems.iter().all(|problem| problem.is_warning);
    if args.json {
        let rows: Vec<_> = problems.iter().map(row).collect();
        let printed = say_json(&serde_json::json!({
            "valid": is_valid, "hash": hash, "problems": rows
        }));
        if let Err(error) = printed {
            complain(&error.to_string());
        }
    } else {
        files::print(&problems);
        say(&verdict(count, &problems));
    }
    if is_valid { ExitCode::SUCCESS } else { ExitCode::from(EXIT_INVALID) }
}

/// The hash that a process running on these files tells of them.
fn hash(sources: &[script::Source]) -> String {
    Texts { config: None, experiments: sources.to_vec() }.print().hash
}

/// Experiments are checked against every configuration given, or the defaults.
fn problems(sources: Vec<script::Source>) -> Vec<Problem> {
    let (experiments, configs): (Vec<_>, Vec<_>) =
        sources.into_iter().partition(|(_, text)| config::is_experiment(text));
    let check = |config: Option<(&str, &str)>, experiments: &[script::Source]| {
        let read = |path: &std::path::Path| std::fs::read_to_string(path);
        match config::load(config, experiments, &files::variable, &read) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        }
    };
    let Some(((name, text), others)) = configs.split_first() else {
        return check(None, &experiments);
    };
    let mut problems = check(Some((name, text)), &experiments);
    for (name, text) in others {
        problems.extend(check(Some((name, text)), &[]));
    }
    problems
}

fn verdict(files: usize, problems: &[Problem]) -> String {
    let warnings = problems.iter().filter(|problem| problem.is_warning).count();
    let errors = problems.len() - warnings;
    let plural = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    let (files, problems) = (plural(files, "file"), plural(errors, "problem"));
    match (errors, warnings) {
        (0, 0) => format!("{files} checked: all good"),
        (0, n) => format!("{files} checked: good, with {}", plural(n, "warning")),
        (_, 0) => format!("{files} checked: {problems}"),
        (_, n) => format!("{files} checked: {problems} and {}", plural(n, "warning")),
    }
}

fn row(problem: &Problem) -> serde_json::Value {
    serde_json::json!({
        "file": problem.file, "line": problem.line, "column": problem.column,
        "severity": if problem.is_warning { "warning" } else { "error" },
        "message": problem.what, "help": problem.help,
    })
}
