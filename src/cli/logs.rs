//! What a server logs, and for whom.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Options about logs, the same for every server.
#[derive(clap::Args, Debug)]
pub struct Logs {
    /// Logs for people or for machines [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, or a filter such as understudy=debug
    #[arg(long, value_name = "FILTER", env = "UNDERSTUDY_LOG", default_value = "info")]
    log: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Logs {
    /// Logs to standard error from now on.
    ///
    /// # Errors
    /// The filter cannot be read.
    pub fn start(&self) -> Result<()> {
        let filter = &self.log;
        let filter = EnvFilter::try_new(filter).map_err(|error| {
            let what = format!("--log {filter}: {error}; write for example info");
            Error::new(Kind::BadRequest, what)
        })?;
        let is_terminal = std::io::stderr().is_terminal();
        let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let started = match self.log_format {
            Some(LogFormat::Json) => logs.json().flatten_event(true).try_init(),
            None if !is_terminal => logs.json().flatten_event(true).try_init(),
            _ => logs.with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none()).try_init(),
        };
        started.map_err(|error| Error::new(Kind::Internal, format!("cannot log: {error}")))
    }
}
