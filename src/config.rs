//! What the program runs on: checked values with every default filled in.

pub mod problem;
mod tree;
pub mod nearest;
mod read;
mod value;
mod credential;
pub mod stores;
mod provider;
mod quirk;
mod place;
mod endpoint;
mod price;
mod settings;
mod cascade;
mod route;
mod audit;
mod cache;
mod persistence;
mod redaction;
mod caller;
mod enrolment;
mod variant;
mod traffic;
mod guardrail;
pub mod judge;
mod evaluation;
mod rival;
mod definition;
mod sentinel;
mod load;
pub mod schema;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use secrecy::SecretString;

use crate::cacheable::Choices;
use crate::caller::Patrons;
use crate::cascade::Cascade;
use crate::choice::Policy;
use crate::experiment::Experiment;
use crate::experiment::Match;
use crate::experiment::Share;
use crate::experiment::Target;
use crate::health::breaker;
use crate::memory::Memory;
use crate::price::Prices;
use crate::redact::Redactor;
use crate::retry::Hedge;
use crate::retry::Retry;
use crate::sentinel::Sentinel;

pub use credential::KeySource;
pub use credential::Place;
pub use credential::checked as checked_key;
pub use load::Doors;
pub use load::doors;
pub use load::is_experiment;
pub use load::load;
pub use problem::Problem;
pub use provider::Ping;
pub use provider::Provider;
pub use value::checked_name as wrong_name;

use load::Known;
use stores::Stores;

/// Everything a process needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Data plane address.
    pub listen: SocketAddr,
    /// Admin plane address.
    pub admin: SocketAddr,
    /// Who may ask the admin plane.
    pub admission: Admission,
    /// Address of probes and metrics alone, which may be seen from outside; off by default.
    pub health: Option<SocketAddr>,
    /// Where sled lives; made if absent.
    pub data_dir: PathBuf,
    /// What stored exchanges and pairs are encrypted with: the first writes, all read; usually none.
    pub encryption_keys: Vec<SecretString>,
    /// Every known provider and those of the file, by name.
    pub providers: BTreeMap<String, Provider>,
    /// Headers that travel between applications and every provider besides those that always do.
    pub forward_headers: Vec<HeaderName>,
    /// Names by which browsers may call, and whose pages may; without any, those of this machine
    /// where only it can call, and all elsewhere.
    pub allow_hosts: Option<Vec<String>>,
    /// How stores of secrets are reached.
    pub stores: Stores,
    /// Model names applications may ask for, and who answers them.
    pub routes: BTreeMap<String, Route>,
    /// Limits for routes that set none of their own.
    pub timeouts: Timeouts,
    /// How calls that fail are made again, on routes that say nothing of their own.
    pub retry: Retry,
    /// When a target is left alone.
    pub breaker: breaker::Rules,
    /// Whether and how long answers are kept.
    pub cache: CachePolicy,
    /// Certificates of authorities that are believed beside the system's, as PEM.
    pub authorities: Option<String>,
    /// Headers of a request that keep its answers apart from those of other requests.
    pub vary: Vec<HeaderName>,
    /// Sizes that keep memory bounded.
    pub limits: Limits,
    /// What must not be stored or judged.
    pub redact: Redactor,
    /// Memory for what can be done without, by what the process has; no file says it.
    pub memory: Memory,
    /// What copies of requests may take.
    pub shadowing: Shadowing,
    /// What models cost.
    pub prices: Arc<Prices>,
    /// Callers that are known by keys of ours.
    pub patrons: Patrons,
    /// Whether others are refused where there are such.
    pub callers_required: bool,
    /// Where prices come from while the process runs.
    pub feed: Option<Feed>,
    /// Share of units that take part in no experiment.
    pub holdout: Share,
    /// In the order of the files.
    pub experiments: Vec<Experiment>,
    /// In the order of the files.
    pub sentinels: Vec<Sentinel>,
}

/// Who may ask the admin plane.
#[derive(Clone, Debug, Default)]
pub enum Admission {
    /// Programs of this machine; nobody else reaches it.
    #[default]
    Local,
    /// Anybody, because something else protects it.
    Open,
    /// Whoever knows this token.
    Token(SecretString),
}

/// Who answers a model name.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// At least one, in order of preference.
    pub targets: Vec<Weighted>,
    /// Who answers requests that meet a condition instead; the first that is met counts.
    pub when: Vec<Clause>,
    /// Who of them is asked first.
    pub choose: Policy,
    /// What the answers of all but the last have to be; `None`: any will do.
    pub cascade: Option<Arc<Cascade>>,
    /// Limits of this route.
    pub timeouts: Timeouts,
    /// How calls that fail are made again.
    pub retry: Retry,
    /// When a second call is made beside the first; `None`: never.
    pub hedge: Option<Hedge>,
    /// What the cache may do on this route.
    pub cache: CachePolicy,
}

impl Route {
    /// Who answers where this clause of `when` counts, or none does.
    pub fn targets(&self, clause: Option<usize>) -> &[Weighted] {
        let clause = clause.and_then(|at| self.when.get(at));
        clause.map_or(&self.targets, |clause| &clause.targets)
    }
}

/// Who answers the requests that meet a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// Everything in it has to hold.
    pub condition: Condition,
    /// At least one, in order of preference.
    pub targets: Vec<Weighted>,
}

/// What a request has to be like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// Headers, fields and tenants, as experiments have them.
    pub matches: Match,
    /// So many tokens of prompt at least, by estimate.
    pub min_tokens: Option<u64>,
    /// So many at most.
    pub max_tokens: Option<u64>,
    /// Whether tools are offered.
    pub tools: Option<bool>,
    /// Whether a stream is wanted.
    pub stream: Option<bool>,
}

/// A target and its share of a route's traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    /// Who answers.
    pub target: Target,
    /// Relative weight; when no target of a route has one, order alone decides.
    pub weight: Option<u32>,
}

/// How long each stage of a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// From the request's end to the first content of a streamed answer.
    pub first_token: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
    /// The whole call.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(600),
        }
    }
}

/// What the cache may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// Serve what is stored, store what is new.
    #[default]
    On,
    /// Neither read nor write.
    Off,
    /// Always call, always store.
    Record,
    /// Never call: a miss is an error.
    Replay,
}

/// Whether and how long answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// What the cache may do.
    pub mode: CacheMode,
    /// How long an answer stays fresh.
    pub ttl: Duration,
    /// The most that stored exchanges may take on disk, bytes.
    pub max_bytes: u64,
    /// How long a failure that would only repeat itself is served again; zero: not at all.
    pub error_ttl: Duration,
    /// Answers kept of one prompt; a hit draws one of them once there are so many.
    pub samples: u32,
    /// Whether identical requests that are under way at once share one call.
    pub coalesce: bool,
    /// Which classes of requests may be served again.
    pub cacheable: Choices,
}

impl Config {
    /// What the store may do: of every route's policy, the one that keeps answers longest.
    ///
    /// Where something is replayed, nothing is too old.
    pub fn keeping(&self) -> CachePolicy {
        let longest = self.policies().map(|policy| policy.ttl).max().unwrap_or(self.cache.ttl);
        CachePolicy { ttl: if self.replays() { FOREVER } else { longest }, ..self.cache }
    }

    /// Whether some requests are answered from the store or not at all.
    pub fn replays(&self) -> bool {
        self.policies().any(|policy| policy.mode == CacheMode::Replay)
    }

    fn policies(&self) -> impl Iterator<Item = &CachePolicy> {
        self.routes.values().map(|route| &route.cache).chain([&self.cache])
    }
}

/// Longer than anything is kept, and short enough for every clock: a hundred years.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            mode: CacheMode::On,
            ttl: Duration::from_secs(24 * 3600),
            max_bytes: 1 << 30,
            error_ttl: Duration::from_secs(10),
            samples: 1,
            coalesce: true,
            cacheable: Choices::default(),
        }
    }
}

/// Sizes that keep memory bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request body taken, bytes.
    pub max_request_bytes: usize,
    /// The largest answer kept for cache and pairs, bytes; larger ones pass through unrecorded.
    pub max_answer_bytes: usize,
    /// Requests open at once on the data plane; more are answered 503.
    pub max_concurrency: usize,
    /// Shadow calls waiting; more are dropped and counted.
    pub shadow_queue: usize,
    /// Judge calls under way at once.
    pub judge_concurrency: usize,
    /// Records waiting for the disk; more are dropped and counted.
    pub recorder_queue: usize,
    /// How long a WebSocket may stay open.
    pub socket_life: Duration,
    /// How long nothing may come over a WebSocket before it is closed.
    pub socket_idle: Duration,
    /// How long open streams may go on after a request to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 32 << 20,
            max_answer_bytes: 16 << 20,
            max_concurrency: 1024,
            shadow_queue: 1024,
            judge_concurrency: 16,
            recorder_queue: 4096,
            socket_life: Duration::from_secs(3600),
            socket_idle: Duration::from_secs(900),
            drain: Duration::from_secs(25),
        }
    }
}

/// A table of prices that is fetched again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Where it is.
    pub url: String,
    /// How often it is fetched.
    pub every: Duration,
}

/// What copies of requests may take, whatever the experiment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shadowing {
    /// Copies under way at once.
    pub concurrency: usize,
    /// Copies begun in a second; `None` is no limit.
    pub rate: Option<f64>,
    /// The most that the copies of all experiments may cost in a day (UTC), dollars; `None` is no
    /// limit.
    pub daily_usd: Option<f64>,
    /// Whether copies carry a header that marks them as such.
    pub header: bool,
}

impl Default for Shadowing {
    fn default() -> Self {
        Self { concurrency: 32, rate: None, daily_usd: None, header: false }
    }
}
