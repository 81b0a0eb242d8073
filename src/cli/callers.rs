//! `understudy callers`: makes keys by which callers are known.

use std::process::ExitCode;

use ring::rand::SecureRandom;
use ring::rand::SystemRandom;
use serde_json::json;

use crate::caller;
use crate::cli::say;
use crate::cli::say_json;
use crate::config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// By what people and scanners of secrets know a key of ours.
const PREFIX: &str = "us-";

/// What is done about callers.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Make a key for a caller: it is shown once, and the configuration holds only its hash
    New(New),
}

/// A new key.
#[derive(clap::Args, Debug)]
pub struct New {
    /// The caller's name under `callers`
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Does it.
///
/// # Errors
/// The name is none, or the system gives no random bytes.
pub fn run(command: Command) -> Result<ExitCode> {
    let Command::New(New { name, json }) = command;
    if let Some(help) = config::wrong_name(&name) {
        let what = format!("a caller cannot be called \"{name}\": {help}");
        return Err(Error::new(Kind::BadRequest, what));
    }
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::new(Kind::Internal, "the system gives no random bytes"))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("{PREFIX}{digits}");
    let hash = blake3::Hash::from_bytes(caller::digest(key.as_bytes())).to_hex();
    if json {
        say_json(&json!({"caller": name, "key": key, "key_blake3": hash.as_str()}))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "the key of {name}, which nobody can show again:\n\n  {key}\n\n\
         the lines for understudy.yaml:\n\ncallers:\n  {name}:\n    key_blake3: {hash}"
    ));
    Ok(ExitCode::SUCCESS)
}
