//! Metrics of the webhook, a process of its own that has none of the sidecar's.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use prometheus_client::registry::Unit;

/// From a review that changes nothing to a pod of a thousand containers.
const BUCKETS: [f64; 9] = [100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 20e-3, 100e-3, 1.0];

/// How a review ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What was changed in the Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Change {
    change: &'static str,
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ending {
    result: &'static str,
}

/// All metrics of a webhook; every label value comes from a closed list.
#[derive(Debug)]
pub struct Metrics {
    reviews: Family<Outcome, Counter>,
    seconds: Histogram,
    certificate_expiry: Gauge,
    authority_expiry: Gauge,
    rotations: Family<Change, Counter>,
    rounds: Family<Ending, Counter>,
    registry: Registry,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            reviews: Family::default(),
            seconds: Histogram::new(BUCKETS),
            certificate_expiry: Gauge::default(),
            authority_expiry: Gauge::default(),
            rotations: Family::default(),
            rounds: Family::default(),
            registry: Registry::with_prefix("understudy_webhook"),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("reviews", "Pods reviewed, by what came of it", self.reviews.clone());
        let seconds = self.seconds.clone();
        r.register_with_unit(
            "review",
            "From a review's last byte to its answer",
            Unit::Seconds,
            seconds,
        );
        let mut ends = |name: &str, help: &str, gauge: &Gauge| {
            r.register_with_unit(name, help, Unit::Seconds, gauge.clone());
        };
        ends(
            "certificate_expiry",
            "When the certificate ends, Unix time",
            &self.certificate_expiry,
        );
        ends("authority_expiry", "When its authority ends, Unix time", &self.authority_expiry);
        r.register("rotations", "Changes made in the Secret", self.rotations.clone());
        r.register("rounds", "Looks at certificate and configuration", self.rounds.clone());
    }

    /// Counts a review and how long it took.
    pub fn reviewed(&self, outcome: &'static str, took: Duration) {
        self.reviews.get_or_create(&Outcome { outcome }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// When what is shown ends.
    pub fn certificate_ends(&self, ends: Timestamp) {
        self.certificate_expiry.set(ends.as_second());
    }

    /// When the one who gives certificates ends.
    pub fn authority_ends(&self, ends: Timestamp) {
        self.authority_expiry.set(ends.as_second());
    }

    /// Counts a change made in the Secret.
    pub fn changed(&self, change: &'static str) {
        self.rotations.get_or_create(&Change { change }).inc();
    }

    /// Counts a look at certificate and configuration: `good` or `failed`.
    pub fn looked(&self, result: &'static str) {
        self.rounds.get_or_create(&Ending { result }).inc();
    }

    /// In the text format of Prometheus and OpenMetrics.
    pub fn text(&self) -> String {
        super::written(&self.registry)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
