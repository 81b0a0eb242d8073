//! The request path: plan, cache, upstream, pump, recorder.

pub mod ending;
pub mod header;
pub mod pass;

use std::sync::Arc;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use tokio::time::Instant;

use crate::board::Board;
use crate::cache::Cache;
use crate::chat::DialectName;
use crate::config::Config;
use crate::config::Timeouts;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::ending::Ending;
use crate::exchange::ending::PairEnding;
use crate::experiment::Target;
use crate::key::CacheKey;
use crate::metrics::Metrics;
use crate::metrics::ProviderLabel;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::plan;
use crate::plan::Caller;
use crate::plan::Plan;
use crate::recorder::Credential;
use crate::recorder::Record;
use crate::recorder::Recorder;
use crate::store::answer::Exchange;
use crate::upstream::Opened;
use crate::upstream::Upstream;
use crate::upstream::pump::Ended;
use crate::upstream::pump::Flow;
use crate::upstream::pump::Pump;
use crate::upstream::pump::Terms;
use crate::wire;
use crate::wire::ChatRequest;
use crate::wire::Dialect;
use crate::wire::Recipient;
use crate::wire::quirk::Quirks;

/// What answering needs; handlers hold it in an `Arc`.
pub struct Front {
    /// Everything configured.
    pub config: Arc<Config>,
    /// Stored answers.
    pub cache: Cache,
    /// The way out.
    pub upstream: Arc<Upstream>,
    /// Takes records without making anyone wait.
    pub recorder: Recorder,
    /// Live counters of experiments.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// A request as it came in.
pub struct Incoming {
    /// Our id of it, or the client's.
    pub request_id: String,
    /// The provider whose path prefix was used.
    pub provider: Option<String>,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
    /// When it arrived.
    pub arrived: Instant,
}

/// What goes back.
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Every header but the connection's.
    pub headers: HeaderMap,
    /// The body.
    pub body: ReplyBody,
}

/// A body that is there, or one that is still coming.
pub enum ReplyBody {
    /// All of it.
    Whole(Bytes),
    /// As the provider sends it.
    Live(Box<Pump>),
}

/// Everything that asking upstream needs, so that it can outlive the client's connection.
struct Ask {
    dialect: &'static dyn Dialect,
    request: ChatRequest,
    targets: Vec<Target>,
    variant: Option<(Target, Map<String, Value>)>,
    keys: Vec<CacheKey>,
    credential_for: String,
    headers: HeaderMap,
    timeouts: Timeouts,
    cache: plan::CacheRules,
    assigned: Option<String>,
    pair: Option<PairEnding>,
    request_id: String,
    arrived: Instant,
}

impl Front {
    /// Answers a chat request of `dialect`.
    ///
    /// # Errors
    /// What the client is to be told in its dialect.
    pub async fn chat(
        self: &Arc<Self>,
        dialect: &'static dyn Dialect,
        incoming: Incoming,
    ) -> Result<Reply> {
        let request = dialect.read_head(incoming.body.clone(), None)?;
        let caller = Caller { provider: incoming.provider.as_deref(), headers: &incoming.headers };
        let plan = plan::plan(&self.config, dialect, &request, &caller)?;
        if let Some((experiment, _)) = plan.enrolled {
            self.board.matched(&experiment.name);
            self.metrics.step(&experiment.name, "matched");
        }
        let first = plan.targets.first().ok_or_else(|| {
            Error::new(Kind::Config, format!("the route \"{}\" has no targets", request.model))
        })?;
        let key = plan.key(first);
        if plan.cache.read {
            let now_ms = jiff::Timestamp::now().as_millisecond();
            if let Some(hit) = self.cache.get(&key, now_ms, plan.cache.max_age).await {
                Metrics::count(&self.metrics.cache, "hit");
                return Ok(self.hit(&plan, &request, &incoming, &key, &hit, now_ms));
            }
        }
        if plan.cache.only_if_cached {
            return Err(Error::new(
                Kind::NotCached,
                format!("no answer is stored under {key}, and calling the provider is not allowed"),
            ));
        }
        let outcome = if plan.cache.read { "miss" } else { "bypass" };
        Metrics::count(&self.metrics.cache, outcome);
        let is_pair = self.promise_pair(&plan, &request, &incoming);
        let ask = self.ask(dialect, &plan, key, request, incoming, is_pair);
        if !is_pair {
            return self.fetch(ask).await;
        }
        // Half of a pair is finished even when the client leaves, so it runs on its own.
        let front = self.clone();
        let fetched = tokio::spawn(async move { front.fetch(ask).await }).await;
        fetched.unwrap_or_else(|_| Err(Error::new(Kind::Internal, "answering panicked")))
    }

    fn hit(
        &self,
        plan: &Plan<'_>,
        request: &ChatRequest,
        incoming: &Incoming,
        key: &CacheKey,
        hit: &Exchange,
        now_ms: i64,
    ) -> Reply {
        if self.promise_pair(plan, request, incoming)
            && let Some(ending) = PairEnding::of(plan)
        {
            self.recorder.record(ending.from_cache(hit));
        }
        let headers = header::of_hit(plan, incoming, key, hit, now_ms);
        let status = StatusCode::from_u16(hit.head.status).unwrap_or(StatusCode::OK);
        self.metrics.request_seconds.observe(incoming.arrived.elapsed().as_secs_f64());
        Reply { status, headers, body: ReplyBody::Whole(hit.body()) }
    }

    /// Tells the recorder that this request is to make a pair; false when it could not take it.
    fn promise_pair(&self, plan: &Plan<'_>, request: &ChatRequest, incoming: &Incoming) -> bool {
        let (Some(id), Some((experiment, variant))) = (plan.pair, plan.enrolled) else {
            return false;
        };
        let head = IntentHead {
            experiment: experiment.name.clone(),
            dialect: plan.dialect.as_str().to_owned(),
            in_path: None,
            variants: experiment.variants().map(|variant| variant.name.clone()).collect(),
            request_id: incoming.request_id.clone(),
            created_ms: jiff::Timestamp::now().as_millisecond(),
        };
        let credential = plan::CREDENTIAL_HEADERS.iter().find_map(|name| {
            let mut value = incoming.headers.get(*name)?.clone();
            value.set_sensitive(true);
            Some(Credential { provider: plan.credential_for.clone(), name, value })
        });
        let intent = Intent { head, request: request.body.clone() };
        let live = variant.name.clone();
        let taken = self.recorder.record(Record::Intent { id, intent, live, credential });
        if !taken {
            self.board.lost(&experiment.name, "recorder_queue_full");
        }
        taken
    }

    fn ask(
        &self,
        dialect: &'static dyn Dialect,
        plan: &Plan<'_>,
        first_key: CacheKey,
        request: ChatRequest,
        incoming: Incoming,
        is_pair: bool,
    ) -> Ask {
        let other_keys = plan.targets.iter().skip(1).map(|target| plan.key(target));
        let variant = plan.enrolled.map(|(_, variant)| variant);
        Ask {
            dialect,
            request,
            targets: plan.targets.clone(),
            variant: variant.map(|variant| (variant.target.clone(), variant.patch.clone())),
            keys: std::iter::once(first_key).chain(other_keys).collect(),
            credential_for: plan.credential_for.clone(),
            headers: incoming.headers,
            timeouts: plan.timeouts,
            cache: plan.cache,
            assigned: plan.assigned(),
            pair: PairEnding::of(plan).filter(|_| is_pair),
            request_id: incoming.request_id,
            arrived: incoming.arrived,
        }
    }

    /// Asks upstream and gives back the answer, whole or as it comes.
    async fn fetch(self: &Arc<Self>, ask: Ask) -> Result<Reply> {
        let waiting = Waiting { metrics: &self.metrics, is_over: false };
        let is_own = |target: &Target| target.provider == ask.credential_for;
        // Most requests have one target, which may see the credential.
        let without_credential = match ask.targets.iter().all(is_own) {
            true => HeaderMap::new(),
            false => header::without_credential(&ask.headers),
        };
        let opened = self.upstream.send(
            &ask.targets,
            |target| Ok((DialectName::OpenAi, ask.write(target)?)),
            |target| match is_own(target) {
                true => &ask.headers,
                false => &without_credential,
            },
            ask.timeouts,
            ask.request.stream,
        );
        let opened = opened.await;
        waiting.end();
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(pair) = &ask.pair {
                    self.recorder.record(pair.nothing("live_failed"));
                }
                return Err(error);
            }
        };
        let provider = ProviderLabel { provider: opened.target.provider.clone() };
        let waited = opened.sent.elapsed().as_secs_f64();
        self.metrics.upstream_seconds.get_or_create(&provider).observe(waited);
        let own = ask.arrived.elapsed().as_secs_f64() - waited;
        self.metrics.own_seconds.observe(own.max(0.0));
        self.reply(ask, opened).await
    }

    async fn reply(self: &Arc<Self>, ask: Ask, mut opened: Opened) -> Result<Reply> {
        let is_stream = opened.is_event_stream();
        let status = opened.status;
        let at = ask.targets.iter().position(|target| *target == opened.target).unwrap_or(0);
        let key = ask.keys.get(at).copied().unwrap_or(CacheKey([0; 32]));
        let mut headers = std::mem::take(&mut opened.headers);
        let content_type = header::content_type(&headers);
        let is_stored = ask.cache.write && status.is_success();
        header::add_target(&mut headers, &opened.target, ask.assigned.as_deref());
        header::add_cache_status(&mut headers, &key, ask.cache.read, is_stored);
        header::add_common(&mut headers, &ask.request_id, opened.sent, ask.arrived);
        let ending = Ending {
            front: self.clone(),
            key,
            is_stored,
            is_stream,
            status: status.as_u16(),
            target: opened.target.clone(),
            content_type,
            dialect: ask.dialect.name(),
            request: ask.request.body.clone(),
            assigned: ask.assigned,
            pair: ask.pair,
            request_id: ask.request_id,
            arrived: ask.arrived,
        };
        let terms = Terms {
            dialect: ask.dialect,
            is_stream,
            max_kept_bytes: self.config.limits.max_answer_bytes,
            must_finish: ending.pair.is_some(),
        };
        let mut flow = Flow::new(opened, terms, Box::new(move |account| ending.end(account)));
        if is_stream {
            let body = ReplyBody::Live(Box::new(Pump::new(flow, Vec::new())));
            return Ok(Reply { status, headers, body });
        }
        let mut pieces = Vec::new();
        while let Some(piece) = flow.next().await {
            pieces.push(piece);
            if flow.is_too_large() {
                let body = ReplyBody::Live(Box::new(Pump::new(flow, pieces)));
                return Ok(Reply { status, headers, body });
            }
        }
        if let Some(Ended::Cut(error)) = flow.ended() {
            return Err(error.clone());
        }
        header::add_cost(&mut headers, flow.cost_nano_usd());
        Ok(Reply { status, headers, body: ReplyBody::Whole(join(pieces)) })
    }
}

/// An application that waits for an answer's head; leaving, it counts like one that has it.
struct Waiting<'m> {
    metrics: &'m Metrics,
    is_over: bool,
}

impl Waiting<'_> {
    fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            Metrics::count(&self.metrics.broken, "client_left");
        }
    }
}

impl Ask {
    fn write(&self, target: &Target) -> Result<Bytes> {
        let patch = match &self.variant {
            Some((own, patch)) if own == target && !patch.is_empty() => Some(patch),
            _ => None,
        };
        let to = Recipient { model: &target.model, quirks: &Quirks::NONE };
        Ok(wire::rewrite(&self.request, self.dialect, self.dialect, &to, patch)?.body)
    }
}

fn join(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        1 => pieces.remove(0),
        _ => {
            let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            whole.freeze()
        }
    }
}
