//! One request from its arrival to its response, timing and faults included.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::Settings;
use super::ask::Ask;
use super::author::{Author, Origin};
use super::chance::{self, Draw};
use super::counters::{Busy, Counters};
use super::fault::{Fault, FaultKind, When};
use super::openai::{self, Stamp};
use super::playback::{Act, Broken, Playback};
use super::reply::{Refusal, Reply};
use super::script::{break_stream, break_whole, paced};
use super::tongue::{Tongue, Understood};
use crate::chat::DialectName;

/// Lets a caller ask for a fault: `x-simulate-fault: cut=2`.
const FAULT_HEADER: &str = "x-simulate-fault";
/// Bodies are told apart by so many counters; a collision only changes which draw a body gets.
const REPEAT_SLOTS: usize = 1 << 14;

/// Everything requests share.
pub(super) struct Stage {
    settings: Settings,
    author: Author,
    pub(super) counters: Arc<Counters>,
    /// Requests each fault has seen.
    seen: Vec<AtomicU64>,
    /// How many times a body came, by hash.
    repeats: Vec<AtomicU32>,
}

/// A request that was read.
struct Heard {
    ask: Ask,
    fault: Option<FaultKind>,
    draw: Draw,
    /// In another dialect than OpenAI's.
    understood: Option<Understood>,
}

/// What a request that is being answered carries along.
struct Scene {
    start: Instant,
    busy: Busy,
    draw: Draw,
}

impl Stage {
    pub(super) fn new(settings: Settings, counters: Arc<Counters>) -> Self {
        let seen = settings.faults.iter().map(|_| AtomicU64::new(0)).collect();
        let repeats = (0..REPEAT_SLOTS).map(|_| AtomicU32::new(0)).collect();
        Self { settings, author: Author::new(), counters, seen, repeats }
    }

    /// Answers one request; an error closes the connection without an answer.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Playback>, Broken> {
        let path = request.uri().path().trim_end_matches('/');
        let is = |method: &Method| request.method() == method;
        if let Some(tongue) = Tongue::of(request.uri()) {
            if !is(&Method::POST) {
                let refusal = Refusal::new(405, "Only POST is allowed here.");
                return Ok(refuse_in(&tongue, &refusal, None));
            }
            if tongue.name.is_embedding() {
                return Ok(self.embed(request, &tongue).await);
            }
            return self.chat(request, &tongue).await;
        }
        if !is(&Method::GET) {
            return Ok(refuse(&unknown(&request), None));
        }
        Ok(match path {
            "/livez" => plain("text/plain", Bytes::from_static(b"ok")),
            "/simulate/counters" => {
                let counts = serde_json::to_vec(&self.counters.snapshot()).unwrap_or_default();
                plain("application/json", Bytes::from(counts))
            }
            _ => self.models(path, &request),
        })
    }

    fn models(&self, path: &str, request: &Request<Incoming>) -> Response<Playback> {
        if let Err(refusal) = openai::key_is_good(request.headers(), &self.settings.api_keys) {
            return refuse(&refusal, None);
        }
        if path.ends_with("/models") {
            let names = Author::models(&self.settings);
            return plain("application/json", openai::models(&names, now_s()));
        }
        match path.rsplit_once("/models/") {
            Some((_, name)) => {
                let model = openai::model(name, now_s()).to_string();
                plain("application/json", Bytes::from(model))
            }
            None => refuse(&unknown(request), None),
        }
    }

    async fn embed(&self, request: Request<Incoming>, tongue: &Tongue) -> Response<Playback> {
        let busy = Busy::start(&self.counters);
        let (head, body) = request.into_parts();
        let understood = match openai::key_is_good(&head.headers, &self.settings.api_keys) {
            Ok(()) => self.body(body).await.and_then(|body| tongue.understand(body, "embedding")),
            Err(refusal) => Err(refusal),
        };
        match understood {
            Ok(understood) => {
                plain("application/json", understood.vectors(tongue, self.settings.seed))
            }
            Err(refusal) => self.refused(tongue, &refusal, busy),
        }
    }

    async fn chat(
        &self,
        request: Request<Incoming>,
        tongue: &Tongue,
    ) -> Result<Response<Playback>, Broken> {
        let start = Instant::now();
        let mut busy = Busy::start(&self.counters);
        let Heard { ask, fault, draw, understood } = match self.hear(request, tongue).await {
            Ok(heard) => heard,
            Err(refusal) => return Ok(self.refused(tongue, &refusal, busy)),
        };
        match &fault {
            Some(FaultKind::Status { code, retry_after_s }) => {
                let refusal = openai::refusal(*code, *retry_after_s);
                return Ok(refuse_in(tongue, &refusal, Some(busy)));
            }
            Some(FaultKind::ErrorInStream { .. }) if ask.stream.is_none() => {
                return Ok(refuse_in(tongue, &openai::refusal(500, None), Some(busy)));
            }
            Some(FaultKind::Drop) => {
                busy.finish();
                return Err(Broken);
            }
            Some(FaultKind::Hang { limit }) => {
                tokio::time::sleep(*limit).await;
                busy.finish();
                return Err(Broken);
            }
            _ => {}
        }
        let (reply, origin) = match self.author.answer(&self.settings, &ask, &draw) {
            Ok(answer) => answer,
            Err(refusal) => return Ok(self.refused(tongue, &refusal, busy)),
        };
        match origin {
            Origin::Made => 0,
            Origin::Recorded => self.counters.recorded.fetch_add(1, Relaxed),
            Origin::Judged => self.counters.judged.fetch_add(1, Relaxed),
        };
        let voice = understood.as_ref().map(|understood| (tongue, understood));
        Ok(self.perform(&ask, &reply, fault, Scene { start, busy, draw }, voice).await)
    }

    /// Reads a request and decides on its fault.
    async fn hear(&self, request: Request<Incoming>, tongue: &Tongue) -> Result<Heard, Refusal> {
        let (head, body) = request.into_parts();
        openai::key_is_good(&head.headers, &self.settings.api_keys)?;
        let body = self.body(body).await?;
        // OpenAI's own words are read as they are, with their faults.
        let understood = match tongue.name {
            DialectName::OpenAi => None,
            _ => Some(tongue.understand(body.clone(), &self.mark(&body))?),
        };
        let body = understood.as_ref().map_or(body, |understood| understood.body.clone());
        let draw = self.draw(&body);
        let ask = openai::read(&body)?;
        let fault = self.fault(&head.headers, &ask, &draw)?;
        self.counters.model(&ask.model);
        self.counters.streams.fetch_add(u64::from(ask.stream.is_some()), Relaxed);
        self.counters.faults.fetch_add(u64::from(fault.is_some()), Relaxed);
        Ok(Heard { ask, fault, draw, understood })
    }

    fn refused(&self, tongue: &Tongue, refusal: &Refusal, busy: Busy) -> Response<Playback> {
        self.counters.refused.fetch_add(1, Relaxed);
        refuse_in(tongue, refusal, Some(busy))
    }

    /// A name for answers to these bytes.
    fn mark(&self, body: &[u8]) -> String {
        format!("{:016x}", chance::hash(self.settings.seed, &[b"mark", body]))
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, Refusal> {
        match Limited::new(body, self.settings.max_body_bytes).collect().await {
            Ok(read) => Ok(read.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Refusal::new(413, "The request body is too large."))
            }
            Err(_) => Err(Refusal::new(400, "The request body could not be read.")),
        }
    }

    fn draw(&self, body: &[u8]) -> Draw {
        let seed = self.settings.seed;
        let body = chance::hash(seed, &[body]);
        let slot = self.repeats.get(body as usize % REPEAT_SLOTS);
        Draw { seed, body, nth: slot.map_or(0, |slot| slot.fetch_add(1, Relaxed)) }
    }

    /// The fault that strikes this request: the one it asks for, else the first of the settings'
    /// faults that does, else its persona's.
    fn fault(
        &self,
        headers: &HeaderMap,
        ask: &Ask,
        draw: &Draw,
    ) -> Result<Option<FaultKind>, Refusal> {
        if let Some(wanted) = headers.get(FAULT_HEADER) {
            let read = wanted.to_str().map_err(|_| "the header is not text".to_owned());
            return match read.and_then(str::parse::<Fault>) {
                Ok(fault) => Ok(fault.when.strikes(1, draw, usize::MAX).then_some(fault.kind)),
                Err(error) => Err(Refusal::new(400, format!("{FAULT_HEADER}: {error}"))),
            };
        }
        let mut struck = None;
        for (number, (fault, seen)) in self.settings.faults.iter().zip(&self.seen).enumerate() {
            if fault.when.concerns(&ask.model) {
                let count = seen.fetch_add(1, Relaxed) + 1;
                if struck.is_none() && fault.when.strikes(count, draw, number) {
                    struck = Some(fault.kind);
                }
            }
        }
        let share = self.settings.personas.get(&ask.model).map_or(0.0, |p| p.error_rate);
        let persona = || {
            let when = When { share, ..When::default() };
            let strikes = share > 0.0 && when.strikes(1, draw, usize::MAX - 1);
            strikes.then_some(FaultKind::Status { code: 500, retry_after_s: None })
        };
        Ok(struck.or_else(persona))
    }

    async fn perform(
        &self,
        ask: &Ask,
        reply: &Reply,
        fault: Option<FaultKind>,
        scene: Scene,
        voice: Option<(&Tongue, &Understood)>,
    ) -> Response<Playback> {
        let persona = self.settings.personas.get(&ask.model);
        let latency = persona.and_then(|p| p.latency).unwrap_or(self.settings.latency);
        let pace = latency.draw(&mut scene.draw.rng("latency"));
        let mut rng = scene.draw.rng("mark");
        let mark = format!("{:016x}{:08x}", rng.u64(..), rng.u32(..));
        let id = format!("chatcmpl-{mark}");
        let stamp = Stamp { id: &id, created: now_s(), model: &ask.model };
        let tokens = reply.completion_tokens();
        let ready = if ask.stream.is_some() { pace.token(0) } else { pace.whole(tokens) };
        let mut headers = headers(&mark, ready, ask.stream.is_some());
        if let Some((tongue, _)) = voice {
            let kind = tongue.content_type(ask.stream.is_some());
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let start = scene.start;
        let (steps, announced) = match ask.stream {
            Some(wishes) => {
                let is_foreign = voice.is_some();
                let frames = openai::frames(&stamp, reply, wishes.include_usage || is_foreign);
                let events = match voice {
                    Some((tongue, understood)) => understood.events(tongue, frames.events),
                    None => frames.events,
                };
                let steps = paced(events, reply.choices.len(), &pace);
                let mut steps = break_stream(steps, frames.ending_at, fault, &stamp, voice);
                steps.retain(|step| !matches!(&step.act, Act::Send(bytes) if bytes.is_empty()));
                (steps, None)
            }
            None => {
                if !ready.is_zero() {
                    tokio::time::sleep_until(start + ready).await;
                }
                let body = openai::whole(&stamp, reply);
                let body = match voice {
                    Some((tongue, understood)) => understood.whole(tongue, &body),
                    None => body,
                };
                break_whole(body, fault, &stamp, start.elapsed(), voice)
            }
        };
        let mut response = Response::new(Playback::steps(steps, announced, start, scene.busy));
        *response.headers_mut() = headers;
        response
    }
}

fn headers(mark: &str, ready: Duration, stream: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    let mut fixed = |name: &'static str, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    if stream {
        fixed("content-type", "text/event-stream; charset=utf-8");
        fixed("cache-control", "no-cache");
    } else {
        fixed("content-type", "application/json");
    }
    fixed("openai-version", "2020-10-01");
    fixed("x-ratelimit-limit-requests", "10000");
    fixed("x-ratelimit-remaining-requests", "9999");
    fixed("x-ratelimit-reset-requests", "6ms");
    fixed("x-ratelimit-limit-tokens", "2000000");
    fixed("x-ratelimit-remaining-tokens", "1999000");
    fixed("x-ratelimit-reset-tokens", "30ms");
    let ready_ms = u64::try_from(ready.as_millis()).unwrap_or(u64::MAX);
    headers.insert("openai-processing-ms", HeaderValue::from(ready_ms));
    if let Ok(id) = HeaderValue::from_str(&format!("req_{mark}")) {
        headers.insert("x-request-id", id);
    }
    headers
}

fn refuse(refusal: &Refusal, busy: Option<Busy>) -> Response<Playback> {
    refusing(openai::error(refusal), refusal, busy)
}

/// A refusal in the words of whoever asked.
fn refuse_in(tongue: &Tongue, refusal: &Refusal, busy: Option<Busy>) -> Response<Playback> {
    match tongue.name {
        DialectName::OpenAi => refuse(refusal, busy),
        _ => refusing(tongue.error(refusal), refusal, busy),
    }
}

fn refusing(body: Bytes, refusal: &Refusal, busy: Option<Busy>) -> Response<Playback> {
    let mut response = Response::new(Playback::whole(body, busy));
    *response.status_mut() =
        http::StatusCode::from_u16(refusal.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn plain(content_type: &'static str, body: Bytes) -> Response<Playback> {
    let mut response = Response::new(Playback::whole(body, None));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn unknown(request: &Request<Incoming>) -> Refusal {
    let (method, path) = (request.method(), request.uri().path());
    Refusal::new(404, format!("Invalid URL ({method} {path})"))
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
