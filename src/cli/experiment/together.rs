//! `understudy experiment report --with`: the verdict of many sidecars together.

use std::fs;
use std::path::PathBuf;

use http::Method;

use crate::board::Board;
use crate::cli::experiment::label;
use crate::cli::experiment::life::asked;
use crate::config::Config;
use crate::director;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::fleet::Summary;
use crate::report::Report;
use crate::upstream::local::Question;

/// The report on what this sidecar and those of the files have counted.
///
/// # Errors
/// A file is no summary of the experiment, or there is no such experiment.
pub async fn report(config: &Config, name: &str, files: &[PathBuf]) -> Result<Report> {
    let names = || config.experiments.iter().map(|experiment| experiment.name.as_str());
    let found = config.experiments.iter().find(|experiment| experiment.name == name);
    let mut experiment = found.ok_or_else(|| director::unknown(names(), name))?.clone();
    let path = &["api", "v1", "experiments", name, "summary"];
    let question = Question { method: Method::GET, path, query: &[], body: None };
    let own = match asked(config, question).await? {
        Some(body) => Some(Summary::read(body.to_string().as_bytes())?),
        None if config.data_dir.is_dir() => {
            let (store, standing) = label::stored(config, name)?;
            experiment = standing;
            let board = Board::load(std::slice::from_ref(&experiment), &store)?;
            board.summary(name, store.replica()?)
        }
        None => None,
    };
    let mut fleet = Fleet::default();
    if let Some(own) = own {
        fleet.take(&experiment, own)?;
    }
    for file in files {
        let named = |error: Error| Error {
            detail: format!("{}: {}", file.display(), error.detail),
            ..error
        };
        let json =
            fs::read(file).map_err(|error| named(Error::new(Kind::NotFound, error.to_string())))?;
        let summary = Summary::read(&json).map_err(named)?;
        fleet.take(&experiment, summary).map_err(named)?;
    }
    Ok(fleet.report(&experiment))
}
