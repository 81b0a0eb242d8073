//! `understudy serve`: the sidecar, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::app::App;
use crate::cli::files::Files;
use crate::cli::logs::Logs;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::script::Reading;
use crate::script::Script;

/// Options of `understudy serve`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    /// Data plane address; wins over the file
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Admin plane address; wins over the file
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Where answers and pairs are kept; wins over the file
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    logs: Logs,
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// The files are wrong, a port is taken, or the data directory cannot be used.
pub async fn run(args: Args) -> Result<ExitCode> {
    let (listen, admin, data_dir) = (args.listen, args.admin, args.data_dir.clone());
    let script = Script { listen, admin, data_dir, ..args.files.script() };
    let Reading { config, print, .. } = args.files.open(&script)?;
    args.logs.start()?;
    let experiments = config.experiments.len();
    let failed = |error| Error::new(Kind::Internal, format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let app = App::perform(config, Some((script, print))).await?;
    tracing::info!(listen = %app.data, admin = %app.admin, experiments, "serving");
    let name = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            Some(()) = hang_up.recv() => {
                let director = app.director();
                // What is wrong is logged where it is found.
                let _told = tokio::task::spawn_blocking(move || director.reload()).await;
            }
        }
    };
    tracing::info!(
        signal = name,
        "stopping: open answers may finish; a second signal ends at once"
    );
    tokio::select! {
        () = app.stop() => {}
        _ = terminate.recv() => return Ok(ExitCode::FAILURE),
        _ = interrupt.recv() => return Ok(ExitCode::FAILURE),
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
