//! `understudy experiment`: reports, from the running sidecar or from its data directory.

mod label;
mod life;
mod sentinels;
mod shown;
mod together;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use crate::board::Board;
use crate::cli::EXIT_FAILED;
use crate::cli::files::Files;
use crate::cli::remark;
use crate::cli::say;
use crate::cli::say_json;
use crate::cli::table;
use crate::config::Config;
use crate::director;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::report::Report;
use crate::store::Damage;
use crate::store::Store;
use crate::store::cipher::Keys;
use crate::upstream::local;
use crate::upstream::local::Plane;

/// What to do with experiments.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List every experiment with its verdict
    Ls(Args),
    /// Show one experiment: the verdict in a sentence, then the numbers
    Report(ReportArgs),
    /// Say how many pairs, hours and dollars an experiment takes, by margin
    Plan(shown::PlanArgs),
    /// Take everybody out of an experiment until it is resumed
    Pause(life::WishArgs),
    /// Let a paused experiment go on
    Resume(life::WishArgs),
    /// End an experiment without a verdict
    Stop(life::WishArgs),
    /// Let control answer for a candidate from now on
    Halt(life::HaltArgs),
    /// Decide in the place of the evidence; the log keeps who did and why
    Override(life::OverrideArgs),
    /// Show pairs blind and ask which answer is better; the answers correct the judge
    Label(label::LabelArgs),
    /// Show what happened to experiments, and check that nobody changed it
    Log(life::LogArgs),
}

/// Where to look.
#[derive(clap::Args, Clone, Debug)]
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
    /// The results of a former epoch
    #[arg(long, value_name = "N")]
    epoch: Option<u32>,
    /// Write the report into this file, as a page that needs no network
    #[arg(long, value_name = "FILE", conflicts_with_all = ["epoch", "json", "with"])]
    html: Option<PathBuf>,
    /// Add what another sidecar counted: its /api/v1/experiments/NAME/summary, saved; repeatable
    #[arg(long, value_name = "FILE", conflicts_with = "epoch")]
    with: Vec<PathBuf>,
    #[command(flatten)]
    args: Args,
}

/// Prints a list or a report.
///
/// # Errors
/// There is no such experiment, or neither a sidecar nor its data can be read.
pub async fn run(command: Command) -> Result<ExitCode> {
    let (name, epoch, args) = match command {
        Command::Ls(args) => (None, None, args),
        Command::Report(ReportArgs { name, html: Some(file), args, .. }) => {
            shown::write_page(&args.config()?, &name, &file).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Report(ReportArgs { name, with, args, .. }) if !with.is_empty() => {
            let report = together::report(&args.config()?, &name, &with).await?;
            match args.json {
                true => say_json(&report)?,
                false => say(&table::report(&report, table::Ink::of_terminal())),
            }
            return Ok(ExitCode::SUCCESS);
        }
        Command::Report(ReportArgs { name, epoch, args, .. }) => (Some(name), epoch, args),
        other => return live(other).await,
    };
    let config = args.config()?;
    let views = sentinels::all(&config).await?;
    if let Some(view) = views.iter().find(|view| Some(&view.sentinel) == name.as_ref()) {
        match args.json {
            true => say_json(view)?,
            false => say(&sentinels::report(view)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let reports = match running(&config, name.as_deref(), epoch).await? {
        Some(reports) => reports,
        None => stored(&config, name.as_deref(), epoch)?,
    };
    let ink = table::Ink::of_terminal();
    match (name, args.json) {
        (Some(_), true) => reports.first().map_or(Ok(()), say_json)?,
        (None, true) => {
            say_json(&serde_json::json!({ "experiments": reports, "sentinels": views }))?;
        }
        (Some(_), false) => reports.iter().for_each(|report| say(&table::report(report, ink))),
        (None, false) if reports.is_empty() && views.is_empty() => {
            say("no experiments: put a definition into experiments/, see experiments/README.md");
        }
        (None, false) => {
            say(&table::list(&reports, ink));
            if !views.is_empty() {
                say(&sentinels::list(&views));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn live(command: Command) -> Result<ExitCode> {
    use life::Act;
    match command {
        Command::Pause(wish) => life::act(Act::Pause, &wish, "").await?,
        Command::Resume(wish) => life::act(Act::Resume, &wish, "").await?,
        Command::Stop(wish) => life::act(Act::Stop, &wish, "").await?,
        Command::Halt(life::HaltArgs { name, candidate, why, args }) => {
            life::act(Act::Halt, &life::WishArgs { name, why, args }, &candidate).await?;
        }
        Command::Plan(wanted) => shown::plan(&wanted).await?,
        Command::Override(args) => life::overrule(&args).await?,
        Command::Log(args) => match life::log(&args).await? {
            true => {}
            false => return Ok(ExitCode::from(EXIT_FAILED)),
        },
        Command::Label(args) => label::run(&args).await?,
        Command::Ls(_) | Command::Report(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn config(&self) -> Result<Config> {
        let mut config = self.files.load(false)?;
        config.admin = self.admin.unwrap_or(config.admin);
        config.data_dir = self.data_dir.clone().unwrap_or(config.data_dir);
        Ok(config)
    }
}

/// The reports of the sidecar that listens on the admin address; `None` if nobody does.
async fn running(
    config: &Config,
    name: Option<&str>,
    epoch: Option<u32>,
) -> Result<Option<Vec<Report>>> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => {
            let Some((_, list)) = get(config, "/api/v1/experiments").await? else {
                return Ok(None);
            };
            let rows = list["experiments"].as_array().cloned().unwrap_or_default();
            rows.iter().filter_map(|row| Some(row["experiment"].as_str()?.to_owned())).collect()
        }
    };
    let mut reports = Vec::new();
    for name in names {
        let query = epoch.map(|epoch| format!("?epoch={epoch}")).unwrap_or_default();
        let path = format!("/api/v1/experiments/{name}{query}");
        let Some((status, body)) = get(config, &path).await? else { return Ok(None) };
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

async fn get(config: &Config, path: &str) -> Result<Option<(u16, Value)>> {
    match local::get(&Plane::of(config), path).await {
        Ok((401, _)) => {
            let what = format!("{} wants its token: set UNDERSTUDY_ADMIN_TOKEN", config.admin);
            Err(Error::new(Kind::BadRequest, what))
        }
        Ok((status, body)) => {
            Ok(Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null))))
        }
        Err(error) if error.kind == Kind::Connect => Ok(None),
        Err(error) => Err(error),
    }
}

/// The reports that follow from the data directory of a sidecar that does not run.
fn stored(config: &Config, name: Option<&str>, epoch: Option<u32>) -> Result<Vec<Report>> {
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
    let mut experiments = config.experiments.clone();
    let board = match opened(config)? {
        Some(store) => {
            let lives = director::glimpse(&store, &mut experiments)?;
            let found = experiments.iter().find(|e| Some(e.name.as_str()) == name);
            if let (Some(epoch), Some(experiment)) = (epoch, found)
                && epoch != experiment.standing.epoch
            {
                return Ok(vec![director::former(&store, &lives, experiment, epoch)?]);
            }
            Board::load(&experiments, &store)?
        }
        None => {
            let (admin, dir) = (config.admin, config.data_dir.display());
            remark(&format!("no sidecar answers on {admin} and there is no data in {dir} yet"));
            Board::new(&experiments)
        }
    };
    let wanted = defined.into_iter().filter(|defined| name.is_none_or(|name| name == *defined));
    Ok(wanted.filter_map(|name| board.full_report(name)).collect())
}

/// The data directory of a sidecar that does not run, if there is one.
fn opened(config: &Config) -> Result<Option<Store>> {
    if !config.data_dir.is_dir() {
        return Ok(None);
    }
    let opened = Store::open_all(&config.data_dir, &Keys::new(&config.encryption_keys))?;
    if let Some(Damage { aside, why, rescued }) = opened.damage {
        let aside = aside.display();
        remark(&format!(
            "the data was damaged ({why}): it is kept in {aside}, {rescued} records were saved"
        ));
    }
    Ok(Some(opened.store))
}

/// The same where nothing can be done without it.
///
/// # Errors
/// There is none, or it cannot be used.
fn needed(config: &Config) -> Result<Store> {
    opened(config)?.ok_or_else(|| {
        let dir = config.data_dir.display();
        let what = format!("no sidecar answers on {} and there is no data in {dir}", config.admin);
        Error::new(Kind::NotFound, what)
    })
}
