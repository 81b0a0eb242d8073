//! `understudy demo`: a whole experiment before your eyes, without keys or network.

use std::process::ExitCode;

use crate::error::Result;

/// Options of `understudy demo`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs.
///
/// # Errors
/// A port cannot be bound.
pub async fn run(_args: Args) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
