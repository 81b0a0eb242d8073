//! The simulator's command line and configuration file, checked into settings.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::delay::{self, Latency, Span};
use super::fault::Fault;
use super::persona::{Judge, Persona, PersonaRole, Price, Writer};
use super::{Answers, Settings};

const DEFAULT_LISTEN: &str = "127.0.0.1:4200";

/// Options of `understudy simulate`. A flag wins over the same key of the file.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// Address to listen on [default: 127.0.0.1:4200]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Recorded answers and verdicts, JSON lines, plain or gzip; may be repeated
    #[arg(long, value_name = "FILE")]
    pub answers: Vec<PathBuf>,
    /// Seed of everything random
    #[arg(long)]
    pub seed: Option<u64>,
    /// Time of a whole answer: 50ms, 50ms..200ms or lognormal:120ms:0.5
    #[arg(long, value_name = "SPAN")]
    pub latency: Option<String>,
    /// Time to the first token of a stream
    #[arg(long, value_name = "SPAN")]
    pub ttft: Option<String>,
    /// Tokens per second after the first
    #[arg(long, value_name = "RATE")]
    pub token_rate: Option<f64>,
    /// A fault, such as status=429,retry_after=2,share=5% or cut=3,every=10; may be repeated
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<String>,
    /// A key to let in (by default every request is); may be repeated
    #[arg(long, value_name = "KEY")]
    pub api_key: Vec<String>,
    /// The same settings and personas as YAML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What the options amount to.
pub struct Setup {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Behaviour.
    pub settings: Settings,
}

/// Everything wrong with the options, not only the first thing.
#[derive(Debug)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<String>,
    answers: Vec<PathBuf>,
    seed: Option<u64>,
    latency: Option<String>,
    ttft: Option<String>,
    token_rate: Option<f64>,
    faults: Vec<FaultEntry>,
    api_keys: Vec<String>,
    max_body: Option<Scalar>,
    personas: BTreeMap<String, PersonaEntry>,
}

/// A fault as one text or as a map of the same parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum FaultEntry {
    Text(String),
    Parts(BTreeMap<String, Option<Scalar>>),
}

/// A value that people write as a number or as text (`0.05`, `5%`).
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Whole(u64),
    Number(f64),
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PersonaEntry {
    quality: Option<f64>,
    verbosity: Option<f64>,
    varies: Option<bool>,
    judge: bool,
    sharpness: Option<f64>,
    noise: Option<f64>,
    position_bias: Option<f64>,
    latency: Option<String>,
    ttft: Option<String>,
    token_rate: Option<f64>,
    error_rate: Option<Scalar>,
    usd_per_million: Option<PriceEntry>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct PriceEntry {
    input: f64,
    output: f64,
}

impl Args {
    /// Reads the file, if any, lays the flags over it and loads the recorded answers.
    ///
    /// # Errors
    /// All problems at once, each naming its key or flag.
    pub fn read(&self) -> Result<Setup, Problems> {
        let mut found = Found(Vec::new());
        let file = self.config.as_deref().map(|path| read_file(path, &mut found));
        let file = self.over(file.unwrap_or_default());
        let listen = file.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
        let wrong = |_| format!("{listen:?} is not an address such as {DEFAULT_LISTEN}");
        let listen = found.keep("listen", listen.parse().map_err(wrong));
        let settings = Settings {
            seed: file.seed.unwrap_or(0),
            latency: found.latency("", &file.latency, &file.ttft, file.token_rate),
            faults: found.faults(&file.faults),
            answers: found.answers(&file.answers),
            personas: found.personas(&file.personas),
            api_keys: file.api_keys,
            max_body_bytes: found.max_body(file.max_body.as_ref()),
        };
        match listen {
            Some(listen) if found.0.is_empty() => Ok(Setup { listen, settings }),
            _ => Err(Problems(found.0)),
        }
    }

    fn over(&self, file: File) -> File {
        fn list<T: Clone>(flags: &[T], file: Vec<T>) -> Vec<T> {
            if flags.is_empty() { file } else { flags.to_vec() }
        }
        let faults: Vec<FaultEntry> = self.fault.iter().cloned().map(FaultEntry::Text).collect();
        File {
            listen: self.listen.clone().or(file.listen),
            answers: list(&self.answers, file.answers),
            seed: self.seed.or(file.seed),
            latency: self.latency.clone().or(file.latency),
            ttft: self.ttft.clone().or(file.ttft),
            token_rate: self.token_rate.or(file.token_rate),
            faults: if faults.is_empty() { file.faults } else { faults },
            api_keys: list(&self.api_key, file.api_keys),
            max_body: file.max_body,
            personas: file.personas,
        }
    }
}

fn read_file(path: &Path, found: &mut Found) -> File {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"));
    let read = text.and_then(|text| {
        serde_saphyr::from_str::<File>(&text).map_err(|error| format!("{shown}: {error}"))
    });
    let mut file = found.keep("config", read).unwrap_or_default();
    // Paths in a file mean places beside it, wherever the program was started.
    let beside = path.parent().unwrap_or(Path::new(""));
    file.answers.iter_mut().for_each(|answers| *answers = beside.join(&*answers));
    file
}

/// The problems found so far.
struct Found(Vec<String>);

impl Found {
    fn keep<T>(&mut self, key: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|problem| self.0.push(format!("{key}: {problem}"))).ok()
    }

    fn latency(
        &mut self,
        at: &str,
        total: &Option<String>,
        first: &Option<String>,
        rate: Option<f64>,
    ) -> Latency {
        let mut span = |key: &str, text: &Option<String>| {
            let read = text.as_deref().map(str::parse::<Span>)?;
            self.keep(&format!("{at}{key}"), read)
        };
        let (total, first) = (span("latency", total), span("ttft", first));
        let token_rate = self.within(&format!("{at}token_rate"), rate, 0.01, 1e6);
        Latency {
            total: total.unwrap_or_default(),
            first_token: first.unwrap_or_default(),
            token_rate,
        }
    }

    fn within(&mut self, key: &str, given: Option<f64>, least: f64, most: f64) -> Option<f64> {
        let number = given?;
        if (least..=most).contains(&number) {
            return Some(number);
        }
        self.0.push(format!("{key}: {number} is not from {least} to {most}"));
        None
    }

    fn faults(&mut self, entries: &[FaultEntry]) -> Vec<Fault> {
        let read = |entry: &FaultEntry| match entry {
            FaultEntry::Text(text) => text.parse::<Fault>().map_err(|e| format!("{text:?}: {e}")),
            FaultEntry::Parts(parts) => {
                let text = |value: &Option<Scalar>| value.as_ref().map(Scalar::to_string);
                let parts: Vec<_> = parts.iter().map(|(key, v)| (key.as_str(), text(v))).collect();
                Fault::from_pairs(parts.iter().map(|(key, value)| (*key, value.as_deref())))
            }
        };
        entries.iter().filter_map(|entry| self.keep("fault", read(entry))).collect()
    }

    fn answers(&mut self, paths: &[PathBuf]) -> Option<Arc<Answers>> {
        if paths.is_empty() {
            return None;
        }
        let loaded = Answers::load(paths).map_err(|error| error.to_string());
        self.keep("answers", loaded).map(Arc::new)
    }

    fn max_body(&mut self, given: Option<&Scalar>) -> usize {
        let read = given.map(|size| delay::size(&size.to_string()));
        let bytes = read.and_then(|read| self.keep("max_body", read));
        bytes.map_or(Settings::default().max_body_bytes, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        })
    }

    fn personas(&mut self, all: &BTreeMap<String, PersonaEntry>) -> BTreeMap<String, Persona> {
        all.iter().map(|(name, entry)| (name.clone(), self.persona(name, entry))).collect()
    }

    fn persona(&mut self, name: &str, entry: &PersonaEntry) -> Persona {
        let at = format!("personas.{name}.");
        let timed = entry.latency.is_some() || entry.ttft.is_some() || entry.token_rate.is_some();
        let latency = self.latency(&at, &entry.latency, &entry.ttft, entry.token_rate);
        let error_rate = entry.error_rate.as_ref().map(|share| delay::share(&share.to_string()));
        let error_rate =
            error_rate.and_then(|read| self.keep(&format!("{at}error_rate"), read)).unwrap_or(0.0);
        let price = entry.usd_per_million.and_then(|usd| {
            let input =
                self.within(&format!("{at}usd_per_million.input"), Some(usd.input), 0.0, 1e6);
            let output =
                self.within(&format!("{at}usd_per_million.output"), Some(usd.output), 0.0, 1e6);
            Some(Price { input: input?, output: output? })
        });
        let role = if entry.judge {
            PersonaRole::Judge(self.judge(&at, entry))
        } else {
            PersonaRole::Writer(self.writer(&at, entry))
        };
        Persona { role, latency: timed.then_some(latency), error_rate, price }
    }

    fn writer(&mut self, at: &str, entry: &PersonaEntry) -> Writer {
        self.foreign(
            at,
            "needs judge: true",
            [
                ("sharpness", entry.sharpness.is_some()),
                ("noise", entry.noise.is_some()),
                ("position_bias", entry.position_bias.is_some()),
            ],
        );
        let default = Writer::default();
        let quality = self.within(&format!("{at}quality"), entry.quality, 0.0, 1.0);
        let verbosity = self.within(&format!("{at}verbosity"), entry.verbosity, 0.0, 10.0);
        Writer {
            quality: quality.unwrap_or(default.quality),
            verbosity: verbosity.unwrap_or(default.verbosity),
            varies: entry.varies.unwrap_or(default.varies),
        }
    }

    fn judge(&mut self, at: &str, entry: &PersonaEntry) -> Judge {
        self.foreign(
            at,
            "does not go with judge: true",
            [
                ("quality", entry.quality.is_some()),
                ("verbosity", entry.verbosity.is_some()),
                ("varies", entry.varies.is_some()),
            ],
        );
        let default = Judge::default();
        let sharpness = self.within(&format!("{at}sharpness"), entry.sharpness, 0.0, 100.0);
        let noise = self.within(&format!("{at}noise"), entry.noise, 0.0, 100.0);
        let bias = self.within(&format!("{at}position_bias"), entry.position_bias, -100.0, 100.0);
        Judge {
            sharpness: sharpness.unwrap_or(default.sharpness),
            noise: noise.unwrap_or(default.noise),
            position_bias: bias.unwrap_or(default.position_bias),
        }
    }

    fn foreign<const N: usize>(&mut self, at: &str, why: &str, keys: [(&str, bool); N]) {
        let given = keys.into_iter().filter(|(_, given)| *given);
        self.0.extend(given.map(|(key, _)| format!("{at}{key}: {why}")));
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, Problems, Setup};
    use crate::simulate::{FaultKind, PersonaRole, Span};
    use std::io::Write;
    use std::time::Duration;

    fn read(yaml: &str, args: Args) -> Result<Setup, Problems> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(yaml.as_bytes()).unwrap();
        Args { config: Some(file.path().to_owned()), ..args }.read()
    }

    #[test]
    fn a_file_is_read_and_flags_win_over_it() {
        let yaml = "
listen: 127.0.0.1:4999
seed: 7
latency: 50ms..200ms
token_rate: 80
max_body: 1MiB
faults:
  - status=429,share=5%
  - { cut: 2, every: 10 }
  - hang:
personas:
  lead: { quality: 0.9, error_rate: 1%, ttft: 20ms, usd_per_million: { input: 2.5, output: 10 } }
  umpire: { judge: true, noise: 0.5, position_bias: 0.25 }
";
        let args = Args { seed: Some(9), latency: Some("10ms".into()), ..Args::default() };
        let Setup { listen, settings } = read(yaml, args).unwrap();
        assert_eq!((listen.port(), settings.seed), (4999, 9));
        assert_eq!(settings.latency.total, Span::Fixed(Duration::from_millis(10)));
        assert_eq!((settings.latency.token_rate, settings.max_body_bytes), (Some(80.0), 1 << 20));
        assert_eq!(settings.faults.len(), 3);
        assert_eq!(settings.faults[1].kind, FaultKind::Cut { after: 2 });
        assert_eq!(settings.faults[1].when.every, Some(10));
        let lead = &settings.personas["lead"];
        assert_eq!((lead.error_rate, lead.price.unwrap().output), (0.01, 10.0));
        let PersonaRole::Judge(judge) = &settings.personas["umpire"].role else { panic!() };
        assert_eq!((judge.noise, judge.position_bias), (0.5, 0.25));
    }

    #[test]
    fn every_problem_is_reported_not_only_the_first() {
        let yaml = "
listen: here
latency: soon
faults: [explode, { status: 999 }]
answers: [missing.jsonl]
personas:
  lead: { quality: 7, noise: 1, error_rate: lots }
";
        let problems = read(yaml, Args::default()).err().unwrap();
        let text = problems.to_string();
        for part in [
            "listen: \"here\"",
            "latency: \"soon\"",
            "\"explode\"",
            "status 999",
            "missing.jsonl",
            "personas.lead.quality: 7",
            "personas.lead.noise: needs judge",
            "personas.lead.error_rate",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert_eq!(problems.0.len(), 8, "{text}");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        for yaml in ["lattency: 5ms", "personas: { a: { qualty: 1 } }"] {
            let text = read(yaml, Args::default()).err().unwrap().to_string();
            assert!(text.contains("lattency") || text.contains("qualty"), "{text}");
        }
    }
}
