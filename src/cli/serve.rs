//! `understudy serve`: the sidecar, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::app::App;
use crate::cgroup;
use crate::cli::files::Files;
use crate::cli::logs::Logs;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::memory::Memory;
use crate::script::Reading;
use crate::script::Script;
use crate::sidecar::quantity;

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
    /// Address for probes from outside the pod: /livez, /readyz and /metrics only; wins over the
    /// file
    #[arg(long, value_name = "ADDR")]
    health: Option<SocketAddr>,
    /// Where answers and pairs are kept; wins over the file
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Size of the volume of the data directory, such as 1Gi: cache.max_bytes is a third of it at
    /// most
    #[arg(long, value_name = "SIZE", value_parser = size)]
    disk: Option<u64>,
    #[command(flatten)]
    logs: Logs,
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// The files are wrong, a port is taken, or the data directory cannot be used.
pub async fn run(args: Args) -> Result<ExitCode> {
    let (listen, admin, health) = (args.listen, args.admin, args.health);
    let (data_dir, disk) = (args.data_dir.clone(), args.disk);
    let script = Script { listen, admin, health, data_dir, disk, ..args.files.script() };
    let Reading { mut config, print, .. } = args.files.open(&script)?;
    args.logs.start()?;
    config.memory = memory();
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

/// What there is for what can be done without, where the system limits the process.
fn memory() -> Memory {
    let Some(limit) = cgroup::memory_limit() else { return Memory::default() };
    let memory = Memory::within(limit);
    let Memory { answers, readings, waiting } = memory;
    tracing::info!(limit, answers, readings, waiting, "memory is limited, in bytes");
    memory
}

/// Bytes of a size as Kubernetes writes it.
fn size(text: &str) -> std::result::Result<u64, String> {
    let bytes = quantity::amount(text).filter(|bytes| *bytes >= 1.0);
    bytes.map(|bytes| bytes as u64).ok_or_else(|| "write for example 512Mi or 1Gi".to_owned())
}
