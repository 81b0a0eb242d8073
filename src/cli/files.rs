//! Finds and reads configuration and experiment files, and prints what is wrong in them.

use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::config;
use crate::config::Config;
use crate::config::Problem;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::script::Reading;
use crate::script::Script;
use crate::script::Source;
use crate::script::Trouble;

/// Which files a command works with.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Files {
    /// Configuration file [default: understudy.yaml, if there is one]
    #[arg(long, value_name = "FILE", env = "UNDERSTUDY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Experiments, a folder or a file [default: experiments, if there is one]
    #[arg(long, value_name = "PATH", env = "UNDERSTUDY_EXPERIMENTS")]
    pub experiments: Option<PathBuf>,
}

impl Files {
    /// Loads everything and prints all problems; warnings only if `warn`.
    ///
    /// # Errors
    /// A file cannot be read, or something in one is wrong.
    pub fn load(&self, warn: bool) -> Result<Config> {
        self.load_with(&self.script().texts()?.experiments, warn)
    }

    /// Loads the configuration alone and prints its problems, but no warnings.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_config(&self) -> Result<Config> {
        self.load_with(&[], false)
    }

    /// Loads everything that a process is to follow from then on.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn open(&self, script: &Script) -> Result<Reading> {
        match script.read() {
            Ok(reading) => {
                print(&reading.warnings);
                Ok(reading)
            }
            Err(Trouble::Unreadable(error)) => Err(error),
            Err(Trouble::Wrong { problems, .. }) => Err(refused(&problems)),
        }
    }

    /// Where the files are.
    pub fn script(&self) -> Script {
        let (config, experiments) = (self.config.clone(), self.experiments.clone());
        let (listen, admin, health) = (None, None, None);
        let (data_dir, disk) = (None, None);
        Script { config, experiments, variable, listen, admin, health, data_dir, disk }
    }

    fn load_with(&self, experiments: &[Source], warn: bool) -> Result<Config> {
        let config = self.script().texts()?.config;
        let config = config.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        match config::load(config, experiments, &variable, &|path| fs::read_to_string(path)) {
            Ok((config, warnings)) => {
                if warn {
                    print(&warnings);
                }
                Ok(config)
            }
            Err(problems) => Err(refused(&problems)),
        }
    }
}

/// An environment variable that holds text.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Prints problems with their place, to standard error.
pub fn print(problems: &[Problem]) {
    let mut stderr = std::io::stderr();
    for problem in problems {
        let _ = writeln!(stderr, "{}", problem.render());
    }
}

fn refused(problems: &[Problem]) -> Error {
    print(problems);
    let errors = problems.iter().filter(|problem| !problem.is_warning).count();
    let noun = if errors == 1 { "problem" } else { "problems" };
    Error::new(Kind::BadRequest, format!("{errors} {noun} in the files above"))
}
