//! Finds and reads configuration and experiment files, and prints what is wrong in them.

use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use crate::config;
use crate::config::Config;
use crate::config::Problem;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

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

/// A text with the name it is reported under.
pub type Source = (String, String);

impl Files {
    /// Loads everything and prints all problems; warnings only if `warn`.
    ///
    /// # Errors
    /// A file cannot be read, or something in one is wrong.
    pub fn load(&self, warn: bool) -> Result<Config> {
        self.load_with(&self.experiments()?, warn)
    }

    /// Loads the configuration alone and prints its problems, but no warnings.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_config(&self) -> Result<Config> {
        self.load_with(&[], false)
    }

    fn load_with(&self, experiments: &[Source], warn: bool) -> Result<Config> {
        let config = self.config()?;
        let config = config.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        match config::load(config, experiments, &variable, &|path| fs::read_to_string(path)) {
            Ok((config, warnings)) => {
                if warn {
                    print(&warnings);
                }
                Ok(config)
            }
            Err(problems) => {
                print(&problems);
                let errors = problems.iter().filter(|problem| !problem.is_warning).count();
                let noun = if errors == 1 { "problem" } else { "problems" };
                Err(Error::new(Kind::BadRequest, format!("{errors} {noun} in the files above")))
            }
        }
    }

    fn config(&self) -> Result<Option<Source>> {
        match &self.config {
            Some(path) => read(path).map(Some),
            None => Path::new("understudy.yaml")
                .exists()
                .then(|| read(Path::new("understudy.yaml")))
                .transpose(),
        }
    }

    fn experiments(&self) -> Result<Vec<Source>> {
        match &self.experiments {
            Some(path) => read_all(path),
            None if Path::new("experiments").is_dir() => read_all(Path::new("experiments")),
            None => Ok(Vec::new()),
        }
    }
}

/// A file, or every YAML and JSON file of a folder, by name.
///
/// # Errors
/// Something cannot be read.
pub fn read_all(path: &Path) -> Result<Vec<Source>> {
    if !path.is_dir() {
        return Ok(vec![read(path)?]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let file = entry.map_err(|error| unreadable(path, &error))?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

/// One file.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<Source> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok((path.display().to_string(), text))
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

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let remedy = match error.kind() {
        std::io::ErrorKind::NotFound => ": check the path, or leave the option out",
        _ => "",
    };
    Error::new(Kind::BadRequest, format!("cannot read {}: {error}{remedy}", path.display()))
}
