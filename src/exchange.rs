//! The request path: plan, cache, upstream, pump, recorder.

pub mod ask;
mod bill;
pub mod count;
pub mod ending;
mod exposure;
pub mod flight;
pub mod header;
pub mod hit;
pub mod landing;
pub mod lookup;
mod missed;
mod pace;
pub mod pass;
mod purse;
mod referee;
mod sharing;
pub mod thread;
pub mod translate;
pub mod trial;

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::StatusCode;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::board::Board;
use crate::cache::Cache;
use crate::caller::Patron;
use crate::config::Config;
use crate::cost::Sums;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::ask::Ask;
use crate::exchange::ending::Ending;
use crate::exchange::ending::PairEnding;
use crate::exchange::flight::Flights;
use crate::exchange::lookup::Forward;
use crate::exchange::lookup::Hit;
use crate::exchange::lookup::Known;
use crate::exchange::purse::Tab;
use crate::exchange::thread::Threads;
use crate::exchange::trial::Trial;
use crate::experiment;
use crate::experiment::Target;
use crate::exposure::Origin;
use crate::exposure::unit_number;
use crate::key::CacheKey;
use crate::library::Library;
use crate::metrics::Metrics;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::plan;
use crate::plan::Caller;
use crate::plan::Cascading;
use crate::plan::Plan;
use crate::plan::Thread;
use crate::provider::KEY_HEADERS;
use crate::recorder::Credential;
use crate::recorder::Record;
use crate::recorder::Recorder;
use crate::scene::Scene;
use crate::tally::AGAIN;
use crate::turnstile::Turnstile;
use crate::upstream::Opened;
use crate::upstream::Upstream;
use crate::upstream::body::Pump;
use crate::vital::Served;
use crate::wire::ChatRequest;
use crate::wire::Dialect;
use crate::wire::InPath;

/// What answering needs, as it is for one request; clones share all of it.
#[derive(Clone)]
pub struct Front {
    /// Everything configured.
    pub config: Arc<Config>,
    /// Stored answers.
    pub cache: Cache,
    /// Calls under way that may be shared.
    pub flights: Arc<Flights>,
    /// Responses that conversations may go on from.
    pub threads: Arc<Threads>,
    /// Everything stored, for whom no answer is.
    pub library: Library,
    /// The way out.
    pub upstream: Arc<Upstream>,
    /// Takes records without making anyone wait.
    pub recorder: Recorder,
    /// Live counters of experiments.
    pub board: Arc<Board>,
    /// Takes what live answers say of their variants.
    pub vitals: mpsc::Sender<Served>,
    /// What known callers have open and spend.
    pub turnstile: Arc<Turnstile>,
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
    /// Who sent it, where callers have keys of ours.
    pub patron: Option<Arc<Patron>>,
    /// When it arrived.
    pub arrived: Instant,
    /// The same on the clock of the wall, Unix milliseconds.
    pub arrived_ms: i64,
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
    /// The same in another scene.
    pub fn in_scene(&self, scene: &Scene) -> Self {
        let Scene { config, upstream } = scene;
        Self { config: config.clone(), upstream: upstream.clone(), ..self.clone() }
    }

    /// Answers a request for an answer.
    ///
    /// # Errors
    /// What the client is to be told in its dialect.
    pub async fn answer(self: &Arc<Self>, incoming: Incoming) -> Result<Reply> {
        let dialect = incoming.dialect;
        let request = dialect.read_head(incoming.body.clone(), incoming.in_path.clone())?;
        let known = self.read(&request, &incoming)?;
        let thread = self.thread(dialect, &known);
        let paces = self.paces(&request.model);
        let caller =
            Caller { thread: thread.as_deref(), paces: paces.as_ref(), ..incoming.caller() };
        let plan = plan::plan_of(&self.config, dialect, &request, &caller, &known.reading)?;
        self.count(&plan);
        let first = plan.targets.first().ok_or_else(|| {
            Error::new(Kind::Config, format!("the route \"{}\" has no targets", request.model))
        })?;
        let seen = self.flights.ended();
        let looked = self.look_up(&plan, &request, &incoming).await;
        if let Some(hit) = &looked.hit {
            self.remember(known);
            return self.hit(&plan, &request, &incoming, hit);
        }
        if plan.cache.only_if_cached {
            let key = plan.key(first);
            let missed = Box::pin(self.missed(&plan, first, &key, &request, &incoming));
            return Err(missed.await);
        }
        let ask = Arc::new(self.ask(&plan, looked.forward, request, incoming));
        // In boxes, so that what a hit moves about is not as large as all that a call needs.
        match flight::may_share(&plan) {
            true => Box::pin(self.share(&plan, ask, seen)).await,
            false => Box::pin(self.alone(&plan, ask)).await,
        }
    }

    /// What is remembered of the response that the request goes on from.
    fn thread(&self, dialect: &dyn Dialect, known: &Known) -> Option<Arc<Thread>> {
        if self.config.experiments.is_empty() {
            return None;
        }
        self.threads.find(plan::previous_response(dialect, &known.reading)?)
    }

    fn count(&self, plan: &Plan<'_>) {
        let Some((experiment, _)) = plan.enrolled else { return };
        self.board.matched(&experiment.run());
        self.metrics.step(&experiment.name, "matched");
        if let Some(reason) = plan.pinned {
            self.board.count(&experiment.run(), |funnel| {
                *funnel.pinned.entry(reason.to_owned()).or_default() += 1;
            });
            self.metrics.step(&experiment.name, "pinned");
        }
    }

    fn hit(
        &self,
        plan: &Plan<'_>,
        request: &ChatRequest,
        incoming: &Incoming,
        hit: &Hit,
    ) -> Result<Reply> {
        Metrics::count(&self.metrics.cache, hit.outcome);
        self.book_hit(plan, incoming, hit);
        self.expose(plan, incoming, Origin::Cached, Some(&hit.exchange.head.target));
        // What is stored is no sample, so if this prompt makes a pair, all are asked out of sight.
        self.promise_pair(plan, request, incoming, false);
        let headers = header::of_hit(plan, incoming, hit);
        self.metrics.request_seconds.observe(incoming.arrived.elapsed().as_secs_f64());
        hit::reply(&hit.exchange, request, plan.request.as_ref(), incoming, headers)
    }

    /// Notes what the one who asked did not have to pay.
    fn book_hit(&self, plan: &Plan<'_>, incoming: &Incoming, hit: &Hit) {
        let head = &hit.exchange.head;
        let Some(target) = Target::parse(&head.target) else { return };
        let line = incoming.line(&target).assigned(plan.assigned().as_deref());
        self.recorder.book(line, &Sums::hit(head.cost_nano_usd));
    }

    /// Tells the recorder that this request is to make a pair; false when it could not take it.
    ///
    /// If it is live, the answer that the application gets is the half of its variant.
    fn promise_pair(
        &self,
        plan: &Plan<'_>,
        request: &ChatRequest,
        incoming: &Incoming,
        is_live: bool,
    ) -> bool {
        let (Some(id), Some((experiment, variant))) = (plan.pair, plan.enrolled) else {
            return false;
        };
        let created_ms = jiff::Timestamp::now().as_millisecond();
        let is_halted = |name: &String| experiment.standing.halted.contains(name);
        let names = experiment.variants().map(|variant| variant.name.clone());
        let mut variants: Vec<String> = names.filter(|name| !is_halted(name)).collect();
        if variants.len() < 2 {
            return false;
        }
        if experiment::assign::position(AGAIN, &experiment.salt, &id.0) < experiment.again.ppm() {
            variants.push(AGAIN.to_owned());
        }
        let head = IntentHead {
            experiment: experiment.run().into_owned(),
            dialect: plan.dialect.as_str().to_owned(),
            in_path: incoming.in_path.clone().map(|path| (path.model, path.stream)),
            variants: variants.clone(),
            request_id: incoming.request_id.clone(),
            created_ms,
            unit: plan.unit.as_deref().map(|unit| unit_number(&experiment.name, unit)),
            route: request.model.clone(),
            tenant: plan.tenant.short(),
            headers: experiment.evaluate.sent(&incoming.headers),
            is_redacted: false,
        };
        let credential = KEY_HEADERS.iter().find_map(|name| {
            let mut value = incoming.headers.get(name)?.clone();
            value.set_sensitive(true);
            Some(Credential { provider: plan.credential_for.clone(), name: name.as_str(), value })
        });
        let intent = Intent { head, request: request.body.clone() };
        let live = if is_live { variant.name.clone() } else { String::new() };
        let taken =
            self.recorder.record(Record::Intent { id, intent, live, credential, original: None });
        if !taken {
            self.board.count(&experiment.run(), |funnel| {
                funnel.sampled += 1;
                funnel.promise(&variants, created_ms);
                for name in variants.iter().skip(1) {
                    funnel.lose(name, "recorder_queue_full", created_ms);
                }
            });
        }
        taken
    }

    fn ask(
        &self,
        plan: &Plan<'_>,
        forward: Forward,
        request: ChatRequest,
        incoming: Incoming,
    ) -> Ask {
        let route = self.config.routes.get(&request.model);
        let retry = route.map_or(self.config.retry, |route| route.retry);
        let hedge = route.and_then(|route| route.hedge);
        let cascade = match plan.cascading {
            Some(Cascading::Checked(cascade)) => Some(cascade.clone()),
            Some(Cascading::Straight(_)) | None => None,
        };
        Ask {
            retry,
            hedge,
            request,
            read: plan.request.clone(),
            targets: plan.targets.clone(),
            variant: plan.served.cloned(),
            cascade,
            keys: plan.targets.iter().map(|target| plan.key(target)).collect(),
            credential_for: plan.credential_for.clone(),
            incoming,
            timeouts: plan.timeouts,
            cache: plan.cache,
            forward,
            assigned: plan.assigned(),
            trial: Trial::of(plan),
            thread: plan.thread(),
        }
    }

    fn ending(
        self: &Arc<Self>,
        ask: &Ask,
        opened: &Opened,
        headers: &HeaderMap,
        is_stream: bool,
        (pair, tab): (Option<PairEnding>, Tab),
    ) -> Ending {
        let at = ask.targets.iter().position(|target| *target == opened.target).unwrap_or(0);
        Ending {
            front: self.clone(),
            key: ask.keys.get(at).copied().unwrap_or(CacheKey([0; 32])),
            is_stored: ask.cache.write,
            asked: ask.incoming.asked(&ask.request),
            has_unasked_usage: opened.unasked_usage,
            headers: header::kept(headers),
            cache: ask.cache,
            is_stream,
            status: opened.status.as_u16(),
            target: opened.target.clone(),
            content_type: header::content_type(headers),
            dialect: opened.dialect,
            request: ask.request.body.clone(),
            assigned: ask.assigned.clone(),
            trial: ask.trial.clone(),
            line: ask.incoming.line(&opened.target).assigned(ask.assigned.as_deref()),
            read: ask.read.clone(),
            tab,
            thread: ask.thread.clone(),
            pair,
            request_id: ask.incoming.request_id.clone(),
            arrived: ask.incoming.arrived,
        }
    }
}
