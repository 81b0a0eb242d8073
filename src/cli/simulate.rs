//! `understudy simulate`: a simulated provider, until a signal.

use std::process::ExitCode;

use tokio::net::TcpListener;

use crate::cli::say;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::simulate;

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// An option is wrong or the port is taken.
pub async fn run(args: &simulate::Args) -> Result<ExitCode> {
    let setup =
        args.read().map_err(|problems| Error::new(Kind::BadRequest, problems.to_string()))?;
    let listener = TcpListener::bind(setup.listen).await.map_err(|error| {
        let what = format!("cannot listen on {}: {error}; choose another --listen", setup.listen);
        Error::new(Kind::Config, what)
    })?;
    let address = listener.local_addr().map_or(setup.listen, |address| address);
    say(&format!("simulating a provider: base URL http://{address}/v1"));
    let stop = async {
        let terminate = tokio::signal::unix::SignalKind::terminate();
        match tokio::signal::unix::signal(terminate) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            }
            Err(_) => drop(tokio::signal::ctrl_c().await),
        }
    };
    simulate::serve(listener, setup.settings, stop)
        .await
        .map_err(|error| Error::new(Kind::Internal, format!("the simulator failed: {error}")))?;
    Ok(ExitCode::SUCCESS)
}
