//! `experiment plan`, and reports as pages: by the running sidecar, or from its data.

use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;
use http::Method;

use crate::board::Board;
use crate::cli::experiment::Args;
use crate::cli::experiment::life::asked;
use crate::cli::experiment::life::told;
use crate::cli::experiment::needed;
use crate::cli::experiment::opened;
use crate::cli::say;
use crate::cli::say_json;
use crate::cli::table;
use crate::config::Config;
use crate::director;
use crate::dossier;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::forecast::Plan;
use crate::forecast::traffic::Told;
use crate::upstream::local::Question;

/// What is planned, and what is known better than the sidecar knows it.
#[derive(clap::Args, Debug)]
pub struct PlanArgs {
    /// The experiment's name
    name: String,
    /// Requests that take part in an hour; wins over what is stored
    #[arg(long, value_name = "N")]
    requests_per_hour: Option<f64>,
    /// Share of pairs that neither wins, such as 30% or 0.3; wins over what was scored
    #[arg(long, value_name = "SHARE", value_parser = share)]
    tie_rate: Option<f64>,
    /// Dollars for one pair, copy and judge; wins over prices
    #[arg(long, value_name = "USD")]
    cost_per_pair: Option<f64>,
    #[command(flatten)]
    args: Args,
}

/// A share as files write it: `30%` or `0.3`.
fn share(text: &str) -> std::result::Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let number: f64 = number.trim().parse().map_err(|_| "write 30% or 0.3".to_owned())?;
    Ok(number / unit)
}

/// Says how many pairs, hours and dollars an experiment takes.
///
/// # Errors
/// There is no such experiment, or a number is none.
pub async fn plan(wanted: &PlanArgs) -> Result<()> {
    let told = Told {
        requests_per_hour: wanted.requests_per_hour,
        tie_rate: wanted.tie_rate,
        cost_per_pair: wanted.cost_per_pair,
    };
    if let Some(problem) = told.problem() {
        return Err(Error::new(Kind::BadRequest, problem));
    }
    let config = wanted.args.config()?;
    let given = [
        ("requests_per_hour", told.requests_per_hour),
        ("tie_rate", told.tie_rate),
        ("cost_per_pair", told.cost_per_pair),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query: Vec<(String, String)> =
        given.map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    let path = ["api", "v1", "experiments", &wanted.name, "plan"];
    let question = Question { method: Method::GET, path: &path, query: &query, body: None };
    let plan: Plan = match asked(&config, question).await? {
        Some(body) => serde_json::from_value(body).map_err(|error| stranger(&config, &error))?,
        None => offline(&config, &wanted.name, &told)?,
    };
    if wanted.args.json {
        return say_json(&plan);
    }
    say(&table::plan(&plan));
    Ok(())
}

fn stranger(config: &Config, error: &serde_json::Error) -> Error {
    let what = format!("{} does not answer like an understudy: {error}", config.admin);
    Error::new(Kind::Broken, what)
}

fn offline(config: &Config, name: &str, told: &Told) -> Result<Plan> {
    let mut experiments = config.experiments.clone();
    let store = opened(config)?;
    if let Some(store) = &store {
        director::glimpse(store, &mut experiments)?;
    }
    let names = config.experiments.iter().map(|e| e.name.as_str());
    let found = experiments.iter().find(|e| e.name == name);
    let experiment = found.ok_or_else(|| director::unknown(names, name))?;
    dossier::plan(store.as_ref(), experiment, &config.prices, told)
}

/// Writes the report as a page.
///
/// # Errors
/// There is no such experiment, or the file cannot be written.
pub async fn write_page(config: &Config, name: &str, file: &Path) -> Result<()> {
    let page = match running(config, name).await? {
        Some(page) => page,
        None => Bytes::from(made(config, name)?),
    };
    std::fs::write(file, &page).map_err(|error| {
        Error::new(Kind::BadRequest, format!("{} cannot be written: {error}", file.display()))
    })?;
    let file: PathBuf = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    say(&format!("the report is in {}", file.display()));
    Ok(())
}

async fn running(config: &Config, name: &str) -> Result<Option<Bytes>> {
    let path = ["api", "v1", "experiments", name, "report.html"];
    let question = Question { method: Method::GET, path: &path, query: &[], body: None };
    told(config, question).await
}

fn made(config: &Config, name: &str) -> Result<String> {
    let mut experiments = config.experiments.clone();
    let store = needed(config)?;
    director::glimpse(&store, &mut experiments)?;
    let board = Board::load(&experiments, &store)?;
    dossier::page(&store, &board, name, &store.audit_log()?.entries)
}
