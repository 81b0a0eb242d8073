//! `understudy inject`: the sidecar in manifests, without a cluster.

use std::fs;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::put;
use crate::cli::remark;
use crate::cli::say_json;
use crate::diff::unified::unified;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::manifest;
use crate::sidecar::Settings;
use crate::sidecar::wish;

/// Options of `understudy inject`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Manifests, YAML or JSON; - is standard input
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    sidecar: Sidecar,
    /// Show what would change instead
    #[arg(long, conflicts_with = "output")]
    diff: bool,
    /// Write in this form [default: as the file is, with its comments]
    #[arg(short, long, value_name = "FORM")]
    output: Option<Form>,
}

/// What the sidecar is like where a pod asks for nothing else.
#[derive(clap::Args, Debug)]
pub struct Sidecar {
    /// Image of the sidecar
    #[arg(long, value_name = "IMAGE", env = "UNDERSTUDY_IMAGE")]
    #[arg(default_value = concat!("understudy:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// A default, by the name of its annotation, such as cache-size=2Gi; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Form {
    Yaml,
    Json,
}

impl Sidecar {
    /// The same for the rules.
    ///
    /// # Errors
    /// A value is none for its name, or there is no such name.
    pub fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::new(&self.image)?;
        for pair in &self.set {
            let Some((name, value)) = pair.split_once('=') else {
                let names = wish::NAMES.join(", ");
                let what = format!("--set {pair}: write NAME=VALUE, with one of {names}");
                return Err(Error::new(Kind::BadRequest, what));
            };
            settings.set(name.trim(), value)?;
        }
        Ok(settings)
    }
}

/// Prints the manifests with the sidecar in every workload.
///
/// # Errors
/// The file cannot be read or is none of manifests, or an option is wrong.
pub fn run(args: &Args) -> Result<ExitCode> {
    let settings = args.sidecar.settings()?;
    let (name, text) = read(&args.file)?;
    let at = |error: Error| Error::new(error.kind, format!("{name}: {}", error.detail));
    let injected = manifest::inject(&text, &settings).map_err(at)?;
    injected.warnings.iter().for_each(|warning| remark(&format!("{name}: {warning}")));
    // JSON has no comments that could be kept, and is easier to read when it is indented.
    let is_json = text.trim_start().starts_with('{');
    let is_changed = injected.text != text;
    let written = match args.output {
        Some(Form::Yaml) => manifest::yaml(&injected.documents),
        Some(Form::Json) => {
            return say_json(&manifest::json(&injected.documents)).map(|()| ExitCode::SUCCESS);
        }
        None if is_json && is_changed => json(&injected.documents)?,
        None => injected.text,
    };
    let shown = if args.diff { unified(&name, &text, &written) } else { written };
    put(shown.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// Each document on its own, as they came.
fn json(documents: &[serde_json::Value]) -> Result<String> {
    let failed = |error| Error::new(Kind::Internal, format!("cannot write JSON: {error}"));
    let written = documents.iter().map(serde_json::to_string_pretty);
    let mut text = written.collect::<serde_json::Result<Vec<_>>>().map_err(failed)?.join("\n---\n");
    text.push('\n');
    Ok(text)
}

/// A text with the name it is reported under.
fn read(path: &Path) -> Result<(String, String)> {
    let name = path.display().to_string();
    let mut text = String::new();
    let read = match name.as_str() {
        "-" => io::stdin().read_to_string(&mut text).map(|_| ()),
        _ => fs::read_to_string(path).map(|read| text = read),
    };
    let failed = |error| Error::new(Kind::BadRequest, format!("cannot read {name}: {error}"));
    read.map_err(failed)?;
    Ok((if name == "-" { "standard input".to_owned() } else { name }, text))
}
