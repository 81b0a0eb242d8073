//! Loads the files of a process: pure, with texts, variables and key files passed in.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use super::Admission;
use super::CachePolicy;
use super::Config;
use super::Limits;
use super::Shadowing;
use super::Timeouts;
use super::credential;
use super::credential::Outside;
use super::definition;
use super::endpoint;
use super::nearest;
use super::problem::Problem;
use super::read::Reader;
use super::read::Wrong;
use super::read::quote;
use super::sentinel;
use super::settings;
use super::stores;
use super::tree;
use crate::caller::Patrons;
use crate::experiment::Experiment;
use crate::experiment::Share;
use crate::health::breaker;
use crate::memory::Memory;
use crate::price::Prices;
use crate::provider;
use crate::redact::Redactor;
use crate::retry::Retry;

/// The variable with the admin plane's token, for sidecars and for commands that ask them.
const ADMIN_TOKEN: &str = "UNDERSTUDY_ADMIN_TOKEN";

/// Reads the configuration, if there is one, and the experiments, each as a name and a text.
///
/// On success the problems are warnings.
///
/// # Errors
/// Everything wrong in all files, in the order of the files and the lines in them, with the
/// warnings among them.
pub fn load(
    config: Option<(&str, &str)>,
    experiments: &[(String, String)],
    env: &dyn Fn(&str) -> Option<String>,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let stores = stores::known(env);
    let outside = Outside { env, read_file, stores: &stores };
    let mut checked = Config { providers: endpoint::known(outside), ..Config::default() };
    let token = env(ADMIN_TOKEN).and_then(|token| credential::checked(&token));
    checked.admission = token.map_or(Admission::Local, Admission::Token);
    checked.stores.clone_from(&stores);
    let mut known = Known::default();
    known.providers.extend(checked.providers.keys().cloned());
    let mut problems = Vec::new();
    if let Some((name, text)) = config {
        let (mut reader, root) = Reader::open(name, text);
        match &root {
            Some(root) => settings::read(&mut reader, root, outside, &mut checked, &mut known),
            None => known.is_partial = true,
        }
        problems.extend(reader.finish());
    }
    let (mut found, mut sentinels) = (Vec::new(), Vec::new());
    for (name, text) in experiments {
        let (mut reader, root) = Reader::open(name, text);
        // Sentinels name experiments, which may stand in files behind theirs.
        match root {
            Some(root) if root.get(SENTINEL).is_some() => {
                sentinels.push((found.len(), reader, root));
                found.push(Vec::new());
            }
            root => {
                let read = |root| definition::read(&mut reader, &root, &mut known);
                checked.experiments.extend(root.and_then(read));
                found.push(reader.finish());
            }
        }
    }
    for (at, mut reader, root) in sentinels {
        checked.sentinels.extend(sentinel::read(&mut reader, &root, &mut known));
        if let Some(place) = found.get_mut(at) {
            *place = reader.finish();
        }
    }
    problems.extend(found.into_iter().flatten());
    if problems.iter().all(|problem| problem.is_warning) {
        Ok((checked, problems))
    } else {
        Err(problems)
    }
}

/// Where a configuration says that probes are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doors {
    /// The probes' own address.
    pub health: Option<SocketAddr>,
    /// The admin plane's.
    pub admin: Option<SocketAddr>,
}

/// The addresses in a configuration, whatever else is wrong with it.
pub fn doors(text: &str) -> Doors {
    let root = tree::parse(text).root;
    let read = |key| settings::address(root.as_ref()?.get(key)?).ok();
    Doors { health: read("health"), admin: read("admin") }
}

/// The key that names a sentinel, and makes its file one.
pub const SENTINEL: &str = "sentinel";

/// Whether a text is an experiment or a sentinel, broken or not, rather than a configuration.
pub fn is_experiment(text: &str) -> bool {
    let kinds = ["experiment", SENTINEL];
    match tree::parse(text).root {
        Some(root) => kinds.iter().any(|kind| root.get(kind).is_some()),
        None => text.lines().any(|line| {
            let line = line.trim_start_matches(['{', ' ', '"']);
            let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind));
            rest.is_some_and(|rest| rest.trim_start_matches(['"', ' ']).starts_with(':'))
        }),
    }
}

impl Default for Config {
    /// What runs without any file, variable or key: the known providers.
    fn default() -> Self {
        let read_file: &dyn Fn(&Path) -> _ = &|_| Err(io::ErrorKind::NotFound.into());
        let stores = &stores::known(&|_| None);
        let outside = Outside { env: &|_| None, read_file, stores };
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4100)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 4101)),
            admission: Admission::Local,
            health: None,
            data_dir: PathBuf::from("./understudy-data"),
            encryption_keys: Vec::new(),
            providers: endpoint::known(outside),
            forward_headers: Vec::new(),
            allow_hosts: None,
            stores: stores::known(&|_| None),
            routes: BTreeMap::new(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            breaker: breaker::Rules::default(),
            cache: CachePolicy::default(),
            authorities: None,
            vary: Vec::new(),
            limits: Limits::default(),
            redact: Redactor::default(),
            memory: Memory::default(),
            shadowing: Shadowing::default(),
            prices: Arc::new(Prices::built_in()),
            patrons: Patrons::default(),
            callers_required: true,
            feed: None,
            holdout: Share::NONE,
            experiments: Vec::new(),
            sentinels: Vec::new(),
        }
    }
}

/// Names that files define and other places use.
#[derive(Debug, Default)]
pub struct Known {
    /// Every provider.
    pub providers: BTreeSet<String>,
    /// Every route.
    pub routes: BTreeSet<String>,
    /// Where each experiment is defined, as `file:line`.
    pub experiments: BTreeMap<String, String>,
    /// Where each sentinel is defined, as `file:line`.
    pub sentinels: BTreeMap<String, String>,
    /// The experiments read so far that run, with where each is defined.
    pub running: Vec<(Experiment, String)>,
    /// Whether the configuration could not be read, so that any name may be right.
    pub is_partial: bool,
}

impl Known {
    /// Why there is no provider of this name, unless there may be one.
    pub fn missing_provider(&self, name: &str) -> Option<Wrong> {
        if self.is_partial || self.providers.contains(name) {
            return None;
        }
        let holes = provider::find(name).map_or(&[][..], |row| row.holes);
        if !holes.is_empty() {
            let parts: Vec<String> =
                holes.iter().map(|hole| format!("{}: {}", hole.name, hole.example)).collect();
            let what = format!("names the provider {}, which is not configured", quote(name));
            let parts = parts.join(", ");
            let help = format!("write for example providers: {{ {name}: {{ {parts} }} }}");
            return Some(Wrong::new(what, help));
        }
        let help = nearest::suggest(name, self.providers.iter().map(String::as_str));
        Some(Wrong::new(format!("names the unknown provider {}", quote(name)), help))
    }

    /// Whether `asked` reads as `provider/model`.
    pub fn is_target(&self, asked: &str) -> bool {
        asked.split_once('/').is_some_and(|(provider, model)| {
            !model.is_empty() && (self.is_partial || self.providers.contains(provider))
        })
    }
}
