//! The application, started in this process on free ports with a configuration made in code.

use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use secrecy::SecretString;
use serde_json::Map;
use tempfile::TempDir;
use understudy::app::App;
use understudy::chat::DialectName;
use understudy::choice::Policy;
use understudy::config::Config;
use understudy::config::KeySource;
use understudy::config::Provider as Endpoint;
use understudy::config::Route;
use understudy::config::Weighted;
use understudy::experiment::Candidate;
use understudy::experiment::Decide;
use understudy::experiment::Evaluate;
use understudy::experiment::Experiment;
use understudy::experiment::Match;
use understudy::experiment::Share;
use understudy::experiment::Standing;
use understudy::experiment::Status;
use understudy::experiment::Step;
use understudy::experiment::Target;
use understudy::experiment::Unit;
use understudy::experiment::Variant;
use understudy::metrics::FunnelLabels;
use understudy::metrics::Metrics;
use understudy::metrics::Word;
use understudy::quota::Quota;
use understudy::stats::rule::Goal;
use understudy::store::Store;
use understudy::store::exchange::Head;

use super::PATIENCE;
use super::client;
use super::provider::Provider;
use super::until;
use super::within;

/// A configuration whose only providers are these, on free ports.
pub fn config(providers: &[(&str, &Provider)]) -> Config {
    let mut config = Config::default();
    config.listen.set_port(0);
    config.admin.set_port(0);
    config.providers.clear();
    for (name, provider) in providers {
        let endpoint = endpoint(name, &provider.base_url());
        config.providers.insert((*name).to_owned(), endpoint);
    }
    config.timeouts.connect = Duration::from_secs(2);
    config.limits.drain = Duration::from_secs(5);
    // One request is one call: what is made again has tests of its own.
    config.retry.attempts = 0;
    (config.breaker.failures, config.breaker.requests) = (u32::MAX, usize::MAX);
    config
}

pub fn endpoint(name: &str, base_url: &str) -> Endpoint {
    Endpoint {
        dialects: vec![DialectName::OpenAi],
        // What a provider says of its limits has tests of its own, too.
        quota: Quota { learn: false, ..Quota::default() },
        ..Endpoint::native(name, base_url.parse().unwrap(), DialectName::OpenAi)
    }
}

pub fn key(text: &str) -> KeySource {
    KeySource::value(SecretString::from(text.to_owned()))
}

pub fn target(text: &str) -> Target {
    Target::parse(text).unwrap()
}

pub fn route(config: &Config, targets: &[(&str, Option<u32>)]) -> Route {
    let weighted = |(name, weight): &(&str, _)| Weighted { target: target(name), weight: *weight };
    Route {
        targets: targets.iter().map(weighted).collect(),
        when: Vec::new(),
        choose: Policy::default(),
        cascade: None,
        timeouts: config.timeouts,
        retry: config.retry,
        hedge: None,
        cache: config.cache,
    }
}

/// An experiment over every request, control against one candidate, pairs settled by `exact`.
pub fn experiment(control: &str, candidate: &str, shadow: Share, split: Share) -> Experiment {
    let variant = |name: &str, at: &str| Variant {
        name: name.to_owned(),
        target: target(at),
        patch: Map::new(),
        system: None,
        tools: None,
    };
    Experiment {
        name: "trial".to_owned(),
        question: String::new(),
        salt: "trial".to_owned(),
        intent: Status::Running,
        standing: Standing::default(),
        layer: None,
        ramp: Vec::new(),
        step: Step::default(),
        again: Share::NONE,
        shadow_daily_usd: None,
        guardrails: Vec::new(),
        matches: Match::default(),
        unit: Unit::Conversation,
        control: variant("control", control),
        candidates: vec![Candidate { variant: variant("next", candidate), split }],
        shadow,
        evaluate: Evaluate::default(),
        decide: Decide {
            goal: Goal::NonInferior,
            margin: 0.1,
            alpha: 0.05,
            min_pairs: 10,
            max_pairs: 1000,
        },
    }
}

/// A running application; a test ends by calling [`Sidecar::stop`].
pub struct Sidecar {
    app: Option<App>,
    pub data: String,
    pub admin: String,
    pub metrics: Arc<Metrics>,
    pub client: reqwest::Client,
    dir: Option<TempDir>,
    config: Config,
}

/// A reply, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn cache(&self) -> &str {
        self.header("cache-status").split("; key=").next().unwrap_or_default()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Sidecar {
    pub async fn start(config: Config) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config).await
    }

    /// On what another one left.
    pub async fn start_in(dir: TempDir, mut config: Config) -> Self {
        config.data_dir = dir.path().to_owned();
        let began = Instant::now();
        let app = loop {
            match App::start(config.clone()).await {
                Ok(app) => break app,
                // Tasks of the one before may still hold the directory for a moment.
                Err(error) if error.detail.contains("has it open") => {
                    assert!(began.elapsed() < PATIENCE, "{error}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let client = client().build().unwrap();
        Self {
            data: format!("http://{}", app.data),
            admin: format!("http://{}", app.admin),
            metrics: app.metrics.clone(),
            app: Some(app),
            client,
            dir: Some(dir),
            config,
        }
    }

    /// A request to the chat endpoint.
    pub fn chat(&self, body: impl Into<Bytes>) -> reqwest::RequestBuilder {
        self.post("/v1/chat/completions", body)
    }

    pub fn post(&self, path: &str, body: impl Into<Bytes>) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.data));
        request.header("content-type", "application/json").body(body.into())
    }

    /// Ends although pairs still wait for the judge, and leaves its data.
    pub async fn abandon(mut self) -> TempDir {
        self.flush().await;
        within("the end", self.app.take().unwrap().stop()).await;
        self.dir.take().unwrap()
    }

    /// Ends orderly and leaves its data.
    pub async fn leave(mut self) -> TempDir {
        self.end().await;
        self.dir.take().unwrap()
    }

    /// Asks and reads the whole reply.
    pub async fn ask(&self, body: impl Into<Bytes>) -> Reply {
        whole(self.chat(body)).await
    }

    pub fn funnel(&self, step: &'static str) -> u64 {
        let labels = FunnelLabels { experiment: "trial".to_owned(), step };
        self.metrics.funnel.get_or_create(&labels).get()
    }

    /// How many answers ended in this bad way.
    pub fn broken(&self, what: &'static str) -> u64 {
        self.metrics.broken.get_or_create(&Word { what }).get()
    }

    /// How many answers ended badly at all.
    pub fn all_broken(&self) -> u64 {
        let ways = ["unfinished", "cut", "too_large", "client_left"];
        ways.iter().map(|what| self.broken(what)).sum()
    }

    /// Returns once everything recorded so far is on disk.
    pub async fn flush(&self) {
        within("a flush", self.app.as_ref().unwrap().flush()).await;
    }

    /// Ends orderly; fails when something still waits in a queue.
    pub async fn stop(mut self) {
        self.end().await;
    }

    /// Ends, and gives what is known of every stored exchange, the newest first.
    pub async fn stop_and_list(mut self) -> Vec<Head> {
        self.end().await;
        let began = Instant::now();
        let store = loop {
            match Store::open(self.dir.as_ref().unwrap().path()) {
                Ok(opened) => break opened.store,
                // As in `start_in`.
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let mut heads = Vec::new();
        store.scan(None, &mut |exchange| {
            heads.push(exchange.head);
            true
        });
        heads
    }

    /// Ends and starts again on the same data.
    pub async fn restart(mut self, change: impl FnOnce(&mut Config)) -> Self {
        self.end().await;
        let mut config = self.config.clone();
        change(&mut config);
        let again = Self::start_in(self.dir.take().unwrap(), config).await;
        within("everything stored", again.app.as_ref().unwrap().loaded()).await;
        again
    }

    async fn end(&mut self) {
        self.flush().await;
        until("an empty recorder queue", || self.metrics.recorder_queue.get() == 0).await;
        until("an empty judge queue", || self.metrics.judge_queue.get() == 0).await;
        until("no open request", || self.metrics.open.get() == 0).await;
        within("the end", self.app.take().unwrap().stop()).await;
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        assert!(self.app.is_none() || thread::panicking(), "a test has to stop its sidecar");
    }
}

/// Sends a request and reads the whole reply.
pub async fn whole(request: reqwest::RequestBuilder) -> Reply {
    let (reply, error) = as_far_as_it_goes(request).await;
    assert!(error.is_none(), "the reply broke off: {error:?}");
    reply
}

/// Sends a request and reads what comes of the reply, with the error that ended it if one did.
pub async fn as_far_as_it_goes(
    request: reqwest::RequestBuilder,
) -> (Reply, Option<reqwest::Error>) {
    within("a reply", async {
        let mut response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        let error = loop {
            match response.chunk().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        (Reply { status, headers, body: body.into() }, error)
    })
    .await
}

/// A plain request body for `model` that asks `text`.
pub fn asking(model: &str, text: &str, stream: bool) -> String {
    let messages = serde_json::json!([{"role": "user", "content": text}]);
    serde_json::json!({"model": model, "messages": messages, "stream": stream}).to_string()
}
