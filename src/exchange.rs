//! The request path: plan, cache, upstream, pump, recorder.

pub mod ask;
pub mod count;
pub mod ending;
pub mod header;
mod missed;
pub mod pass;
pub mod translate;

use std::sync::Arc;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::StatusCode;
use tokio::time::Instant;

use crate::board::Board;
use crate::cache::Cache;
use crate::chat::DialectName;
use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::ask::Ask;
use crate::exchange::ending::Ending;
use crate::exchange::ending::PairEnding;
use crate::exchange::translate::Question;
use crate::experiment::Target;
use crate::key::CacheKey;
use crate::library::Library;
use crate::metrics::Metrics;
use crate::metrics::ProviderLabel;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::plan;
use crate::plan::Plan;
use crate::recorder::Credential;
use crate::recorder::Record;
use crate::recorder::Recorder;
use crate::store::exchange::Exchange;
use crate::upstream::Opened;
use crate::upstream::Upstream;
use crate::upstream::body::Pump;
use crate::upstream::pump::Ended;
use crate::upstream::pump::Flow;
use crate::upstream::pump::Terms;
use crate::upstream::unasked::WithoutUsage;
use crate::upstream::way::Way;
use crate::wire::ChatRequest;
use crate::wire::Dialect;
use crate::wire::InPath;
use crate::wire::json;

/// What answering needs; handlers hold it in an `Arc`.
pub struct Front {
    /// Everything configured.
    pub config: Arc<Config>,
    /// Stored answers.
    pub cache: Cache,
    /// Everything stored, for whom no answer is.
    pub library: Library,
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
    /// The dialect of its path.
    pub dialect: &'static dyn Dialect,
    /// What its path says, in dialects that say it there.
    pub in_path: Option<InPath>,
    /// What its URL asks besides, without credentials.
    pub query: Option<String>,
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

impl Front {
    /// Answers a request for an answer.
    ///
    /// # Errors
    /// What the client is to be told in its dialect.
    pub async fn answer(self: &Arc<Self>, incoming: Incoming) -> Result<Reply> {
        let dialect = incoming.dialect;
        let request = dialect.read_head(incoming.body.clone(), incoming.in_path.clone())?;
        let plan = plan::plan(&self.config, dialect, &request, &incoming.caller())?;
        if let Some((experiment, _)) = plan.enrolled {
            self.board.matched(&experiment.name);
            self.metrics.step(&experiment.name, "matched");
        }
        let first = plan.targets.first().ok_or_else(|| {
            Error::new(Kind::Config, format!("the route \"{}\" has no targets", request.model))
        })?;
        let asked = plan.key(first);
        let key = if plan.cache.any_tenant { self.cache.shared_key(asked) } else { asked };
        if plan.cache.read {
            let now_ms = jiff::Timestamp::now().as_millisecond();
            if let Some(hit) = self.cache.get(&key, now_ms, plan.cache.max_age).await {
                Metrics::count(&self.metrics.cache, "hit");
                return self.hit(&plan, &request, &incoming, &key, &hit, now_ms);
            }
        }
        if plan.cache.only_if_cached {
            return Err(self.missed(&plan, first, &key, &request, &incoming).await);
        }
        let outcome = if plan.cache.read { "miss" } else { "bypass" };
        Metrics::count(&self.metrics.cache, outcome);
        let is_pair = self.promise_pair(&plan, &request, &incoming);
        let ask = self.ask(&plan, key, request, incoming, is_pair);
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
    ) -> Result<Reply> {
        if self.promise_pair(plan, request, incoming)
            && let Some(ending) = PairEnding::of(plan)
        {
            self.recorder.record(ending.from_cache(hit));
        }
        let headers = header::of_hit(plan, incoming, key, hit, now_ms);
        let status = StatusCode::from_u16(hit.head.status).unwrap_or(StatusCode::OK);
        self.metrics.request_seconds.observe(incoming.arrived.elapsed().as_secs_f64());
        let stored = DialectName::parse(&hit.head.dialect).unwrap_or(plan.dialect);
        if stored != plan.dialect {
            let question = Question::new(incoming, request)?;
            let (headers, body) = question.answer_from(stored, hit, headers)?;
            return Ok(Reply { status, headers, body: ReplyBody::Whole(body) });
        }
        let is_enrolled = plan.enrolled.is_some();
        let unasked =
            is_enrolled && hit.head.is_stream && json::with_stream_usage(&request.body)?.is_some();
        let body = if unasked { WithoutUsage::all(&hit.body()) } else { hit.body() };
        Ok(Reply { status, headers, body: ReplyBody::Whole(body) })
    }

    /// Tells the recorder that this request is to make a pair; false when it could not take it.
    fn promise_pair(&self, plan: &Plan<'_>, request: &ChatRequest, incoming: &Incoming) -> bool {
        let (Some(id), Some((experiment, variant))) = (plan.pair, plan.enrolled) else {
            return false;
        };
        let head = IntentHead {
            experiment: experiment.name.clone(),
            dialect: plan.dialect.as_str().to_owned(),
            in_path: incoming.in_path.clone().map(|path| (path.model, path.stream)),
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
        plan: &Plan<'_>,
        first_key: CacheKey,
        request: ChatRequest,
        incoming: Incoming,
        is_pair: bool,
    ) -> Ask {
        let other_keys = plan.targets.iter().skip(1).map(|target| plan.key(target));
        let variant = plan.enrolled.map(|(_, variant)| variant);
        Ask {
            request,
            targets: plan.targets.clone(),
            variant: variant.map(|variant| (variant.target.clone(), variant.patch.clone())),
            keys: std::iter::once(first_key).chain(other_keys).collect(),
            credential_for: plan.credential_for.clone(),
            incoming,
            timeouts: plan.timeouts,
            cache: plan.cache,
            assigned: plan.assigned(),
            pair: PairEnding::of(plan).filter(|_| is_pair),
        }
    }

    /// Asks upstream and gives back the answer, whole or as it comes.
    async fn fetch(self: &Arc<Self>, ask: Ask) -> Result<Reply> {
        let waiting = Waiting { metrics: &self.metrics, is_over: false };
        let is_own = |target: &Target| target.provider == ask.credential_for;
        // Most requests have one target, which may see the credential.
        let without_credential = match ask.targets.iter().all(is_own) {
            true => HeaderMap::new(),
            false => header::without_credential(&ask.incoming.headers),
        };
        let opened = self.upstream.send(
            &ask.targets,
            |target| ask.write(&self.config, target),
            |target| match is_own(target) {
                true => &ask.incoming.headers,
                false => &without_credential,
            },
            ask.timeouts,
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
        let own = ask.incoming.arrived.elapsed().as_secs_f64() - waited;
        self.metrics.own_seconds.observe(own.max(0.0));
        self.reply(ask, opened).await
    }

    async fn reply(self: &Arc<Self>, ask: Ask, mut opened: Opened) -> Result<Reply> {
        let is_stream = opened.is_event_stream();
        let status = opened.status;
        let question = match opened.dialect == ask.incoming.dialect.name() {
            true => None,
            false => Some(Question::new(&ask.incoming, &ask.request)?),
        };
        let mut headers = std::mem::take(&mut opened.headers);
        let ending = self.ending(&ask, &opened, &headers, is_stream);
        header::add_target(&mut headers, &opened.target, ask.assigned.as_deref());
        let is_stored = ending.is_stored && status.is_success();
        header::add_cache_status(&mut headers, &ending.key, ask.cache.read, is_stored);
        header::add_losses(&mut headers, opened.dialect, &opened.losses);
        let Incoming { request_id, arrived, .. } = &ask.incoming;
        header::add_common(&mut headers, request_id, opened.sent, *arrived);
        if question.is_some() {
            header::translate_ids(&mut headers, ask.incoming.dialect.name(), request_id);
        }
        let is_live = match &question {
            // An array of chunks comes as it is made, although it is no stream of events.
            None => is_stream || (ask.request.stream && status.is_success()),
            Some(_) => is_stream && ask.request.stream && status.is_success(),
        };
        let way = match &question {
            Some(question) if is_live => Way::Translated(question.translation()),
            None if is_stream && opened.unasked_usage => Way::WithoutUsage(WithoutUsage::default()),
            _ => Way::Untouched,
        };
        let terms = Terms {
            dialect: opened.dialect.dialect(),
            is_stream,
            way,
            max_kept_bytes: self.config.limits.max_answer_bytes,
            must_finish: ending.pair.is_some(),
        };
        let from = opened.dialect;
        let mut flow = Flow::new(opened, terms, Box::new(move |account| ending.end(account)));
        if is_live {
            if let Some(question) = &question {
                question.set_content_type(&mut headers);
            }
            let body = ReplyBody::Live(Box::new(Pump::new(flow, Vec::new())));
            return Ok(Reply { status, headers, body });
        }
        let mut pieces = Vec::new();
        while let Some(piece) = flow.next().await {
            pieces.push(piece);
            if flow.is_too_large() {
                let Some(_) = question else {
                    let body = ReplyBody::Live(Box::new(Pump::new(flow, pieces)));
                    return Ok(Reply { status, headers, body });
                };
                let limit = self.config.limits.max_answer_bytes;
                let what = format!(
                    "the answer is larger than {limit} bytes (limits.max_answer_bytes), too large to translate"
                );
                return Err(Error::new(Kind::Broken, what));
            }
        }
        if let Some(Ended::Cut(error)) = flow.ended() {
            return Err(error.clone());
        }
        header::add_cost(&mut headers, flow.cost_nano_usd());
        let Some(question) = question else {
            return Ok(Reply { status, headers, body: ReplyBody::Whole(join(pieces)) });
        };
        question.reply(status, headers, from, is_stream, &pieces)
    }

    fn ending(
        self: &Arc<Self>,
        ask: &Ask,
        opened: &Opened,
        headers: &HeaderMap,
        is_stream: bool,
    ) -> Ending {
        let at = ask.targets.iter().position(|target| *target == opened.target).unwrap_or(0);
        Ending {
            front: self.clone(),
            key: ask.keys.get(at).copied().unwrap_or(CacheKey([0; 32])),
            is_stored: ask.cache.write,
            asked: ask.incoming.asked(&ask.request),
            has_unasked_usage: opened.unasked_usage,
            headers: header::kept(headers),
            ttl: ask.cache.ttl,
            is_stream,
            status: opened.status.as_u16(),
            target: opened.target.clone(),
            content_type: header::content_type(headers),
            dialect: opened.dialect,
            request: ask.request.body.clone(),
            assigned: ask.assigned.clone(),
            pair: ask.pair.clone(),
            request_id: ask.incoming.request_id.clone(),
            arrived: ask.incoming.arrived,
        }
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
