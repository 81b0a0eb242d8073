//! The files a process runs on: where they are, what they say, and a hash of all of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::config;
use crate::config::Config;
use crate::config::Problem;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Files that change more often than this while they are read are not read to the end.
const MOST_SWAPS: usize = 10;

/// A text with the name it is reported under.
pub type Source = (String, String);

/// Where the files are, and what wins over them.
#[derive(Clone, Debug)]
pub struct Script {
    /// The configuration; without a name it is understudy.yaml, if there is one.
    pub config: Option<PathBuf>,
    /// The experiments, a folder or a file; without a name it is experiments, if there is one.
    pub experiments: Option<PathBuf>,
    /// Reads an environment variable.
    pub variable: fn(&str) -> Option<String>,
    /// Data plane address; wins over the file.
    pub listen: Option<SocketAddr>,
    /// Admin plane address; wins over the file.
    pub admin: Option<SocketAddr>,
    /// Address of the health listener; wins over the file.
    pub health: Option<SocketAddr>,
    /// Data directory; wins over the file.
    pub data_dir: Option<PathBuf>,
    /// Bytes that the data directory has for itself; the cache takes a third of them at most.
    pub disk: Option<u64>,
}

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// The configuration, if there is one.
    pub config: Option<Source>,
    /// The experiments, by name.
    pub experiments: Vec<Source>,
}

/// Files that were read and are good.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What they mean.
    pub config: Config,
    /// What a person ought to know.
    pub warnings: Vec<Problem>,
    /// What they say.
    pub print: Print,
}

/// By what files that changed are told from those that did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Print {
    /// Of every text with its name; the same in every pod with the same files.
    pub hash: String,
    /// Their names.
    pub files: Vec<String>,
    /// Of the configuration alone.
    pub config: String,
    /// Files that the configuration names, such as keys, by a hash that is shown to nobody.
    pub beside: BTreeMap<PathBuf, String>,
}

/// Why files cannot be used.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// One cannot be read.
    Unreadable(Error),
    /// Something in them is wrong.
    Wrong {
        /// Of every text with its name.
        print: Print,
        /// Everything wrong, with the warnings among them.
        problems: Vec<Problem>,
    },
}

impl Script {
    /// Reads every file.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn texts(&self) -> Result<Texts> {
        let usual = |path: &'static str, named: &Option<PathBuf>| {
            let path = Path::new(path);
            named.clone().or_else(|| path.exists().then(|| path.to_owned()))
        };
        let config = usual("understudy.yaml", &self.config).map(|path| read(&path)).transpose()?;
        let folder = usual("experiments", &self.experiments);
        let experiments = folder.as_ref().map(|path| read_all(path)).transpose()?;
        let mut experiments = experiments.unwrap_or_default();
        if let (Some((config, _)), Some(folder)) = (&config, folder) {
            // One ConfigMap may hold both: then the configuration lies among the experiments.
            experiments.retain(|(name, _)| {
                *name == folder.display().to_string() || !is_same(config, name)
            });
        }
        Ok(Texts { config, experiments })
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// A file cannot be read, or something in one is wrong.
    pub fn read(&self) -> std::result::Result<Reading, Trouble> {
        let texts = self.steady().map_err(Trouble::Unreadable)?;
        let beside = Mutex::new(BTreeMap::new());
        let read_file = |path: &Path| {
            let text = fs::read_to_string(path);
            let seen = hash([text.as_deref().unwrap_or_default().as_bytes()]);
            beside.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), seen);
            text
        };
        let config = texts.config.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        let loaded = config::load(config, &texts.experiments, &self.variable, &read_file);
        let beside = std::mem::take(&mut *beside.lock().unwrap_or_else(PoisonError::into_inner));
        let print = Print { beside, ..texts.print() };
        match loaded {
            Err(problems) => Err(Trouble::Wrong { print, problems }),
            Ok((mut config, warnings)) => {
                config.listen = self.listen.unwrap_or(config.listen);
                config.admin = self.admin.unwrap_or(config.admin);
                config.health = self.health.or(config.health);
                config.data_dir = self.data_dir.clone().unwrap_or(config.data_dir);
                // sled takes about twice the size of what it stores, and pairs and records come to it.
                let most = self.disk.map_or(u64::MAX, |bytes| bytes / 3);
                config.cache.max_bytes = config.cache.max_bytes.min(most);
                Ok(Reading { config, warnings, print })
            }
        }
    }

    /// Every file as it was at one moment: a folder may be swapped between two of them.
    fn steady(&self) -> Result<Texts> {
        let mut texts = self.texts()?;
        for _ in 0..MOST_SWAPS {
            let again = self.texts()?;
            if again == texts {
                return Ok(texts);
            }
            texts = again;
        }
        let what = "the files change while they are read: they will be read again";
        Err(Error::new(Kind::BadRequest, what))
    }

    /// What the files say now, and those beside them that were read last time.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn glance(&self, last: &Print) -> Result<Print> {
        let look = |path: &PathBuf| {
            (path.clone(), hash([fs::read_to_string(path).unwrap_or_default().as_bytes()]))
        };
        Ok(Print { beside: last.beside.keys().map(look).collect(), ..self.texts()?.print() })
    }
}

impl Texts {
    /// By what these texts are told from others.
    pub fn print(&self) -> Print {
        let mut all: Vec<&Source> = self.config.iter().chain(&self.experiments).collect();
        all.sort();
        let whole = all.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
        let config = self.config.as_ref().map(|(_, text)| hash([text.as_bytes()]));
        Print {
            hash: hash(whole),
            files: all.iter().map(|(name, _)| name.clone()).collect(),
            config: config.unwrap_or_default(),
            beside: BTreeMap::new(),
        }
    }
}

impl Print {
    /// Whether the ways to the providers are the same; files with keys are followed there.
    pub fn is_same_way_out(&self, other: &Self) -> bool {
        self.config == other.config
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

/// Whether two paths name one entry of one folder; what it leads to may be swapped in between.
fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (Path::new(a), Path::new(b));
    let folder = |path: &Path| match path.parent().filter(|folder| *folder != Path::new("")) {
        Some(folder) => folder.canonicalize().ok(),
        None => Path::new(".").canonicalize().ok(),
    };
    a.file_name() == b.file_name() && folder(a) == folder(b)
}

/// Each part counts with its length, so that nothing moves from one to the next unseen.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let remedy = match error.kind() {
        std::io::ErrorKind::NotFound => ": check the path, or leave the option out",
        _ => "",
    };
    Error::new(Kind::BadRequest, format!("cannot read {}: {error}{remedy}", path.display()))
}
