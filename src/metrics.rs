//! Every metric's name, in one place.

pub mod webhook;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use prometheus_client::registry::Unit;

use crate::experiment;
use crate::experiment::Target;

/// What the cache may have done, as [`Metrics::cache`] counts it; `collapsed`: onto a call that was
/// under way.
pub const CACHE_OUTCOMES: [&str; 6] =
    ["hit", "negative_hit", "collapsed", "miss", "stale", "bypass"];

/// One label of a closed set of words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Word {
    /// The word.
    pub what: &'static str,
}

/// How a request of the data plane ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The caller's dialect.
    pub dialect: &'static str,
    /// HTTP status.
    pub status: u16,
}

/// A configured provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderLabel {
    /// Its name in the configuration.
    pub provider: String,
}

/// A limit of a provider that kept a call from being made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabels {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The limit, as [`crate::quota::Limit::as_str`] names it.
    pub limit: &'static str,
}

/// Labels of questions whether a provider is well.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PingLabels {
    /// The provider that was asked.
    pub provider: String,
    /// What was found: `well`, `down` or `unclear`.
    pub result: &'static str,
}

/// A call that was made again, or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AgainLabels {
    /// The provider that gave no answer.
    pub provider: String,
    /// Why, one of the words of `retry::Reason`.
    pub reason: &'static str,
}

/// What became of an answer on a route with a cascade.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CascadeLabels {
    /// The route's name.
    pub route: String,
    /// Who answered, `provider/model`.
    pub target: String,
    /// `accepted`, `unjudged`, `last`, or why it was passed over.
    pub result: &'static str,
}

/// A target that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetLabel {
    /// `provider/model`.
    pub target: String,
}

/// The files in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConfigLabel {
    /// Of everything they say.
    pub hash: String,
}

/// A place that a key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SecretLabel {
    /// Where it is; never the key.
    pub source: String,
}

/// How reading a key ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SecretRead {
    /// Where it is; never the key.
    pub source: String,
    /// `good` or `failed`.
    pub result: &'static str,
}

/// A sentinel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SentinelLabel {
    /// Its name.
    pub sentinel: String,
}

/// How a sentinel's run ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SentinelRun {
    /// Its name.
    pub sentinel: String,
    /// `steady`, `alarm` or `failed`.
    pub result: &'static str,
}

/// A rule of redaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RuleLabel {
    /// Its name.
    pub rule: String,
}

/// A step of an experiment's funnel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FunnelLabels {
    /// The experiment's name.
    pub experiment: String,
    /// The step.
    pub step: &'static str,
}

/// All metrics of a process; every label value comes from the configuration or a closed list.
#[derive(Debug)]
pub struct Metrics {
    /// Requests answered on the data plane.
    pub requests: Family<RequestLabels, Counter>,
    /// Requests open on the data plane.
    pub open: Gauge,
    /// What the cache did, one of [`CACHE_OUTCOMES`].
    pub cache: Family<Word, Counter>,
    /// From a request's arrival to the last byte of its answer.
    pub request_seconds: Histogram,
    /// From sending a request upstream to its answer's head, by provider.
    pub upstream_seconds: Family<ProviderLabel, Histogram, fn() -> Histogram>,
    /// Calls that were not made because a limit of their provider was used up.
    pub limited: Family<LimitLabels, Counter>,
    /// How long calls waited for the limits of their provider, those that did not wait left out.
    pub limit_wait: Family<ProviderLabel, Histogram, fn() -> Histogram>,
    /// Calls made again to the same target.
    pub retries: Family<AgainLabels, Counter>,
    /// Requests that went on to another target.
    pub failovers: Family<AgainLabels, Counter>,
    /// Questions whether a provider is well, by what was found.
    pub pings: Family<PingLabels, Counter>,
    /// Calls made beside one that did not begin to answer.
    pub hedges: Family<ProviderLabel, Counter>,
    /// Answers on routes with a cascade, by what became of them.
    pub cascades: Family<CascadeLabels, Counter>,
    /// Where the breaker of a target stands: 0 closed, 1 probed or returning, 2 open.
    pub breaker_state: Family<TargetLabel, Gauge>,
    /// Our own part of the time to the answer's head.
    pub own_seconds: Histogram,
    /// Answers that broke off: upstream, client_left, too_large.
    pub broken: Family<Word, Counter>,
    /// Candidates halted by a guardrail, by its metric.
    pub breaches: Family<Word, Counter>,
    /// Steps of the funnel from matched requests to judged pairs.
    pub funnel: Family<FunnelLabels, Counter>,
    /// Pairs that wait for the judge.
    pub judge_queue: Gauge,
    /// Judge calls: verdict, no_verdict, contradiction, failed; kept: answered from what it said
    /// before; shortened: of pairs that it was not shown whole.
    pub judge_calls: Family<Word, Counter>,
    /// What was dropped because its taker could not follow: queue_full, store_failed, vitals_queue_full,
    /// not_redacted.
    pub dropped: Family<Word, Counter>,
    /// Values replaced in what is stored, by the rule.
    pub redacted: Family<RuleLabel, Counter>,
    /// Records that wait for the disk.
    pub recorder_queue: Gauge,
    /// Exchanges stored.
    pub stored_answers: Gauge,
    /// Their packed size, before sled's own overhead, bytes.
    pub stored_bytes: Gauge,
    /// What their files take, bytes.
    pub stored_disk_bytes: Gauge,
    /// Generations of exchanges dropped for their age or for room.
    pub dropped_generations: Counter,
    /// Stored exchanges that were not what was written: record, generation.
    pub damaged: Family<Word, Counter>,
    /// 1 for the files in force.
    pub config_info: Family<ConfigLabel, Gauge>,
    /// Files read again: good, broken.
    pub config_reloads: Family<Word, Counter>,
    /// Price feeds fetched: good, broken.
    pub price_feeds: Family<Word, Counter>,
    /// Reads of keys that may change: good, failed.
    pub secret_refresh: Family<SecretRead, Counter>,
    /// Since a key was last seen to be in force, seconds.
    pub secret_age_seconds: Family<SecretLabel, Gauge>,
    /// Runs of sentinels that have ended.
    pub sentinel_runs: Family<SentinelRun, Counter>,
    /// 1 for a sentinel that has alarmed since its answers were pinned.
    pub sentinel_drifted: Family<SentinelLabel, Gauge>,
    registry: Registry,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let upstream_seconds = Family::new_with_constructor(latency as fn() -> Histogram);
        let mut metrics = Self {
            requests: Family::default(),
            open: Gauge::default(),
            cache: Family::default(),
            request_seconds: latency(),
            upstream_seconds,
            limited: Family::default(),
            limit_wait: Family::new_with_constructor(latency as fn() -> Histogram),
            retries: Family::default(),
            failovers: Family::default(),
            pings: Family::default(),
            hedges: Family::default(),
            cascades: Family::default(),
            breaker_state: Family::default(),
            own_seconds: Histogram::new(OWN_BUCKETS),
            broken: Family::default(),
            breaches: Family::default(),
            funnel: Family::default(),
            judge_queue: Gauge::default(),
            judge_calls: Family::default(),
            dropped: Family::default(),
            redacted: Family::default(),
            recorder_queue: Gauge::default(),
            stored_answers: Gauge::default(),
            stored_bytes: Gauge::default(),
            stored_disk_bytes: Gauge::default(),
            dropped_generations: Counter::default(),
            damaged: Family::default(),
            config_info: Family::default(),
            config_reloads: Family::default(),
            price_feeds: Family::default(),
            secret_refresh: Family::default(),
            secret_age_seconds: Family::default(),
            sentinel_runs: Family::default(),
            sentinel_drifted: Family::default(),
            registry: Registry::with_prefix("understudy"),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "Requests answered on the data plane", self.requests.clone());
        r.register("open_requests", "Requests open on the data plane", self.open.clone());
        r.register("cache", "What the cache did", self.cache.clone());
        let mut seconds = |name: &str, help: &str, histogram: &Histogram| {
            r.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        };
        seconds("request", "From arrival to the last byte", &self.request_seconds);
        seconds("own", "Our part of the time to the answer's head", &self.own_seconds);
        r.register_with_unit(
            "upstream",
            "From sending a request upstream to its answer's head",
            Unit::Seconds,
            self.upstream_seconds.clone(),
        );
        let waits = self.limit_wait.clone();
        let help = "How long calls waited for their provider's limits";
        r.register_with_unit("limit_wait", help, Unit::Seconds, waits);
        r.register("limited", "Calls not made for a provider's limits", self.limited.clone());
        r.register("upstream_retries", "Calls made again", self.retries.clone());
        r.register("upstream_failovers", "Requests that went on", self.failovers.clone());
        r.register("ping", "Whether providers are well", self.pings.clone());
        r.register("upstream_hedges", "Calls made beside slow ones", self.hedges.clone());
        r.register("cascade", "Answers on routes with a cascade", self.cascades.clone());
        let states = self.breaker_state.clone();
        r.register("breaker_state", "0 closed, 1 probed or returning, 2 open", states);
        r.register("broken_answers", "Answers that broke off", self.broken.clone());
        r.register("breaches", "Candidates halted by a guardrail", self.breaches.clone());
        r.register("experiment_funnel", "From matched to judged", self.funnel.clone());
        r.register("judge_queue", "Pairs that wait for the judge", self.judge_queue.clone());
        r.register("judge_calls", "Judge calls by result", self.judge_calls.clone());
        r.register("recorder_dropped", "Records the disk could not take", self.dropped.clone());
        r.register("redacted_values", "Values replaced before the disk", self.redacted.clone());
        r.register("recorder_queue", "Records that wait", self.recorder_queue.clone());
        r.register("stored_answers", "Exchanges stored", self.stored_answers.clone());
        r.register("stored_bytes", "Packed size of the exchanges", self.stored_bytes.clone());
        let disk = self.stored_disk_bytes.clone();
        r.register("stored_disk_bytes", "What the exchanges take on disk", disk);
        let dropped = self.dropped_generations.clone();
        r.register("dropped_generations", "Parts of the store dropped for age or room", dropped);
        r.register("config_info", "The files in force", self.config_info.clone());
        r.register("config_reloads", "Files read again", self.config_reloads.clone());
        r.register("price_feeds", "Price feeds fetched", self.price_feeds.clone());
        r.register("secret_refresh", "Reads of keys", self.secret_refresh.clone());
        let age = self.secret_age_seconds.clone();
        r.register("secret_age_seconds", "Since a key was last seen in force", age);
        r.register("sentinel_runs", "Runs of sentinels", self.sentinel_runs.clone());
        let drifted = self.sentinel_drifted.clone();
        r.register("sentinel_drifted", "Sentinels that have alarmed", drifted);
        r.register("store_damaged", "Stored exchanges found damaged", self.damaged.clone());
    }

    /// Counts one of a closed list of words.
    pub fn count(family: &Family<Word, Counter>, what: &'static str) {
        family.get_or_create(&Word { what }).inc();
    }

    /// Counts values that a rule replaced.
    pub fn redacted(&self, rule: &str, values: u64) {
        self.redacted.get_or_create(&RuleLabel { rule: rule.to_owned() }).inc_by(values);
    }

    /// Counts a call that was made again or elsewhere.
    pub fn again(of: &Family<AgainLabels, Counter>, provider: &str, reason: &'static str) {
        of.get_or_create(&AgainLabels { provider: provider.to_owned(), reason }).inc();
    }

    /// Counts a call that was made beside a slow one.
    pub fn hedged(&self, provider: &str) {
        self.hedges.get_or_create(&ProviderLabel { provider: provider.to_owned() }).inc();
    }

    /// Counts an answer on a route with a cascade.
    pub fn cascaded(&self, route: &str, target: &Target, result: &'static str) {
        let (route, target) = (route.to_owned(), target.to_string());
        self.cascades.get_or_create(&CascadeLabels { route, target, result }).inc();
    }

    /// Raises a counter to what was counted elsewhere.
    pub fn raise(counter: &Counter, to: u64) {
        counter.inc_by(to.saturating_sub(counter.get()));
    }

    /// Counts a step of an experiment's funnel.
    pub fn step(&self, experiment: &str, step: &'static str) {
        // All epochs of an experiment are one series; see `experiment::run`.
        let name = experiment::name_of(experiment);
        let labels = FunnelLabels { experiment: name.to_owned(), step };
        self.funnel.get_or_create(&labels).inc();
    }

    /// In the text format of Prometheus and OpenMetrics.
    pub fn text(&self) -> String {
        written(&self.registry)
    }
}

fn written(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut text, registry);
    text
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

const OWN_BUCKETS: [f64; 10] =
    [20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 20e-3, 100e-3];

/// From a cache hit to a long generation.
const LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

fn latency() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}
