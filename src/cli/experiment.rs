//! `understudy experiment`: reports, from the running sidecar or from its data directory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use crate::board::Board;
use crate::cli::files::Files;
use crate::cli::remark;
use crate::cli::say;
use crate::cli::say_json;
use crate::cli::table;
use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::report::Report;
use crate::store::Damage;
use crate::store::Store;
use crate::upstream;

/// What to do with experiments.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List every experiment with its verdict
    Ls(Args),
    /// Show one experiment: the verdict in a sentence, then the numbers
    Report(ReportArgs),
}

/// Where to look.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    /// Admin address of the running sidecar; wins over the file
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Data directory, for when no sidecar runs; wins over the file
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which experiment.
#[derive(clap::Args, Debug)]
pub struct ReportArgs {
    /// The experiment's name
    name: String,
    #[command(flatten)]
    args: Args,
}

/// Prints a list or a report.
///
/// # Errors
/// There is no such experiment, or neither a sidecar nor its data can be read.
pub async fn run(command: Command) -> Result<ExitCode> {
    let (name, args) = match command {
        Command::Ls(args) => (None, args),
        Command::Report(ReportArgs { name, args }) => (Some(name), args),
    };
    let mut config = args.files.load(false)?;
    config.admin = args.admin.unwrap_or(config.admin);
    config.data_dir = args.data_dir.clone().unwrap_or(config.data_dir);
    let reports = match running(&config, name.as_deref()).await? {
        Some(reports) => reports,
        None => stored(&config, name.as_deref())?,
    };
    match (name, args.json) {
        (Some(_), true) => reports.first().map_or(Ok(()), say_json)?,
        (None, true) => say_json(&serde_json::json!({ "experiments": reports }))?,
        (Some(_), false) => reports.iter().for_each(|report| say(&table::report(report))),
        (None, false) if reports.is_empty() => {
            say("no experiments: put a definition into experiments/, see experiments/README.md");
        }
        (None, false) => say(&table::list(&reports)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The reports of the sidecar that listens on the admin address; `None` if nobody does.
async fn running(config: &Config, name: Option<&str>) -> Result<Option<Vec<Report>>> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => {
            let Some((_, list)) = get(config.admin, "/api/v1/experiments").await? else {
                return Ok(None);
            };
            let rows = list["experiments"].as_array().cloned().unwrap_or_default();
            rows.iter().filter_map(|row| Some(row["experiment"].as_str()?.to_owned())).collect()
        }
    };
    let mut reports = Vec::new();
    for name in names {
        let path = format!("/api/v1/experiments/{name}");
        let Some((status, body)) = get(config.admin, &path).await? else { return Ok(None) };
        if status == 404 {
            let message = body["error"]["message"].as_str().unwrap_or("no such experiment");
            return Err(Error::new(Kind::NotFound, message));
        }
        let report = serde_json::from_value(body).map_err(|_| {
            let what = format!("{} does not answer like an understudy", config.admin);
            Error::new(Kind::Broken, what)
        })?;
        reports.push(report);
    }
    Ok(Some(reports))
}

async fn get(admin: SocketAddr, path: &str) -> Result<Option<(u16, Value)>> {
    match upstream::get_local(admin, path).await {
        Ok((status, body)) => {
            Ok(Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null))))
        }
        Err(error) if error.kind == Kind::Connect => Ok(None),
        Err(error) => Err(error),
    }
}

/// The reports that follow from the data directory of a sidecar that does not run.
fn stored(config: &Config, name: Option<&str>) -> Result<Vec<Report>> {
    let defined: Vec<&str> = config.experiments.iter().map(|e| e.name.as_str()).collect();
    if let Some(name) = name.filter(|name| !defined.contains(name)) {
        let what = match defined.is_empty() {
            true => "no experiment is defined: name their folder with --experiments".to_owned(),
            false => {
                format!("no experiment \"{name}\" is defined; there is: {}", defined.join(", "))
            }
        };
        return Err(Error::new(Kind::NotFound, what));
    }
    let board = if config.data_dir.is_dir() {
        let opened = Store::open(&config.data_dir)?;
        if let Some(Damage { aside, why, rescued }) = opened.damage {
            let aside = aside.display();
            remark(&format!(
                "the data was damaged ({why}): it is kept in {aside}, {rescued} records were saved"
            ));
        }
        Board::load(&config.experiments, &opened.store)?
    } else {
        let (admin, dir) = (config.admin, config.data_dir.display());
        remark(&format!("no sidecar answers on {admin} and there is no data in {dir} yet"));
        Board::new(&config.experiments)
    };
    let wanted = defined.into_iter().filter(|defined| name.is_none_or(|name| name == *defined));
    Ok(wanted.filter_map(|name| board.report(name)).collect())
}
