//! The data plane: what applications' SDKs call.

mod entry;
mod held;
mod upgrade;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::header;
use http::request::Parts;
use http_body_util::BodyExt;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper::service::service_fn;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::chat::DialectName;
use crate::config::Provider;
use crate::error::Blame;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::Incoming;
use crate::exchange::header as head;
use crate::experiment::Target;
use crate::http::Serve;
use crate::http::data::entry::Slot;
use crate::http::data::held::stopped;
use crate::http::feedback;
use crate::http::patience::patient;
use crate::http::site;
use crate::http::socket::Sockets;
use crate::metrics::RequestLabels;
use crate::wire::Dialect;
use crate::wire::endpoint;
use crate::wire::endpoint::Endpoint;

/// Longer request ids of clients are replaced by ours.
const MAX_REQUEST_ID: usize = 128;

/// The edge as one request meets it.
#[derive(Clone)]
struct Edge {
    front: Arc<Front>,
    door: Arc<Door>,
}

/// What all requests come through.
struct Door {
    /// Shows who answers now.
    fronts: watch::Receiver<Arc<Front>>,
    slots: Arc<Semaphore>,
    sockets: Sockets,
}

impl Door {
    fn edge(self: &Arc<Self>) -> Edge {
        Edge { front: self.fronts.borrow().clone(), door: self.clone() }
    }
}

/// What a path asks for.
enum Asked<'a> {
    /// Something we understand, below a provider's prefix or not.
    Endpoint { provider: Option<&'a str>, endpoint: Endpoint },
    /// Another endpoint of a provider.
    Pass { provider: &'a str, rest: &'a str },
}

impl Asked<'_> {
    /// The dialect that errors are told in.
    fn dialect(&self) -> DialectName {
        match self {
            Self::Endpoint { endpoint, .. } => endpoint.dialect(),
            Self::Pass { .. } => DialectName::OpenAi,
        }
    }
}

/// The data plane's service, and where it counts the sockets that come of it.
///
/// No router: a path may begin with any provider's name, and each request would pay for one.
pub fn service(fronts: watch::Receiver<Arc<Front>>, sockets: Sockets) -> impl Serve {
    let slots = Semaphore::new(fronts.borrow().config.limits.max_concurrency);
    let door = Arc::new(Door { fronts, slots: Arc::new(slots), sockets });
    service_fn(move |request| {
        let edge = door.edge();
        async move { Ok(handle(&edge, request).await) }
    })
}

async fn handle(edge: &Edge, request: Request<hyper::body::Incoming>) -> Response {
    let arrived = Instant::now();
    let request_id = request_id(request.headers());
    let (mut parts, body) = request.into_parts();
    let body = patient(body);
    let (dialect, answered) = if let Err(error) = site::admitted(&edge.front.config, &parts) {
        (edge.dialect(&parts), Err(error))
    } else if upgrade::is_wanted(&parts) {
        let dialect = DialectName::Responses;
        let open = upgrade::open(edge, &mut parts, request_id.clone(), arrived);
        (dialect, edge.in_time(Box::pin(open)).await)
    } else if parts.uri.path() == feedback::PATH {
        let taken = match edge.caller(&parts.headers) {
            Ok(_) => feedback::take(&edge.front.recorder, &parts.method, body).await,
            Err(error) => Err(error),
        };
        let name = |mut reply| {
            finish(&mut reply, &request_id);
            reply
        };
        (DialectName::OpenAi, taken.map(name))
    } else {
        let dialect = edge.dialect(&parts);
        let answered = match edge.asked(&parts) {
            Ok(asked) => {
                let answer = edge.answer(asked, &parts, body, request_id.clone(), arrived);
                edge.in_time(answer).await
            }
            Err(error) => Err(error),
        };
        (dialect, answered)
    };
    let response = answered.unwrap_or_else(|error| {
        let (code, detail) = (error.code(), &error.detail);
        match error.blame() {
            // It quotes the prompt, which is the client's to see and nobody else's.
            Blame::Client if error.kind == Kind::NotCached => {
                tracing::debug!(request_id, code, "refused");
            }
            Blame::Client => tracing::debug!(request_id, code, detail, "refused"),
            _ => tracing::warn!(request_id, code, detail, "failed"),
        }
        error_response(dialect.dialect(), &error, &request_id)
    });
    edge.count(dialect, response.status().as_u16());
    response
}

impl Edge {
    /// What comes of `answering`, unless the process ends before.
    async fn in_time<T>(&self, answering: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            answered = answering => answered,
            () = self.door.sockets.ended() => Err(stopped()),
        }
    }

    fn count(&self, dialect: DialectName, status: u16) {
        let labels = RequestLabels { dialect: dialect.as_str(), status };
        self.front.metrics.requests.get_or_create(&labels).inc();
    }

    /// The dialect that errors are told in.
    fn dialect(&self, parts: &Parts) -> DialectName {
        self.asked(parts).map_or(DialectName::OpenAi, |asked| asked.dialect())
    }

    async fn answer(
        &self,
        asked: Asked<'_>,
        parts: &Parts,
        body: Body,
        request_id: String,
        arrived: Instant,
    ) -> Result<Response> {
        let mut slot = self.slot()?;
        let mut incoming = incoming(parts, asked.dialect(), request_id, arrived);
        self.admit(&mut incoming, &mut slot)?;
        let reply = match asked {
            Asked::Endpoint { endpoint: Endpoint::Models { dialect }, .. } => {
                return Ok(self.models(dialect, &incoming));
            }
            Asked::Endpoint { provider, endpoint } => {
                incoming.provider = provider.map(str::to_owned);
                incoming.body = self.read(body).await?;
                match endpoint {
                    Endpoint::CountTokens { in_path, .. } => {
                        incoming.in_path = in_path;
                        Box::pin(self.front.count_tokens(incoming)).await?
                    }
                    Endpoint::Answer { in_path, .. } => {
                        incoming.in_path = in_path;
                        self.front.answer(incoming).await?
                    }
                    Endpoint::Models { dialect } => return Ok(self.models(dialect, &incoming)),
                }
            }
            Asked::Pass { provider, rest } => {
                let path = with_query(rest, &incoming);
                incoming.body = self.read(body).await?;
                let passed = self.front.pass(provider, parts.method.clone(), &path, incoming);
                Box::pin(passed).await?
            }
        };
        Ok(self.respond(reply, slot))
    }

    fn asked<'p>(&self, parts: &'p Parts) -> Result<Asked<'p>> {
        let path = parts.uri.path();
        if let Some(endpoint) = endpoint::of(path) {
            checked_method(&endpoint, &parts.method, path)?;
            return Ok(Asked::Endpoint { provider: None, endpoint });
        }
        let inside = path.strip_prefix('/').unwrap_or(path);
        // The slash stays with the rest, which is put behind a base URL.
        let (provider, rest) = inside.split_at(inside.find('/').unwrap_or(inside.len()));
        let known = self.front.config.providers.get(provider).filter(|_| !rest.is_empty());
        let Some(known) = known else {
            return Err(Error::new(
                Kind::NotFound,
                format!(
                    "nothing is at {path}: try /v1/chat/completions, /v1/responses, /v1/messages, \
                     /v1beta/models/MODEL:generateContent or /PROVIDER/v1/..."
                ),
            ));
        };
        // A provider's own list of models is more than ours, and other methods are its own, too.
        let endpoint = below_prefix(known, rest).filter(|endpoint| {
            parts.method == Method::POST && !matches!(endpoint, Endpoint::Models { .. })
        });
        Ok(match endpoint {
            Some(endpoint) => Asked::Endpoint { provider: Some(provider), endpoint },
            None => Asked::Pass { provider, rest },
        })
    }

    async fn read(&self, body: Body) -> Result<Bytes> {
        let limit = self.front.config.limits.max_request_bytes;
        let collected = Limited::new(body, limit).collect();
        let limited = tokio::time::timeout(self.front.config.timeouts.total, collected).await;
        match limited {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let what =
                    format!("the body is larger than {limit} bytes (limits.max_request_bytes)");
                Err(Error::new(Kind::TooLarge, what))
            }
            Ok(Err(_)) => Err(Error::new(Kind::BadRequest, "the body broke off or stalled")),
            Err(_) => Err(Error::new(Kind::BadRequest, "the body took too long to arrive")),
        }
    }

    /// The routes, as a list of models in the words of whoever asks.
    fn models(&self, dialect: DialectName, incoming: &Incoming) -> Response {
        let routes = self.front.config.routes.iter().filter(|(name, route)| {
            let targets: Vec<Target> = route.targets.iter().map(|t| t.target.clone()).collect();
            incoming.patron.as_ref().is_none_or(|patron| patron.may_ask(name, &targets))
        });
        let routes: Vec<&String> = routes.map(|(name, _)| name).collect();
        let list = if dialect == DialectName::Gemini {
            let methods = ["generateContent", "streamGenerateContent", "countTokens"];
            let model = |name: &&String| {
                json!({"name": format!("models/{name}"), "displayName": name,
                       "supportedGenerationMethods": methods})
            };
            json!({"models": routes.iter().map(model).collect::<Vec<_>>()})
        } else if incoming.headers.contains_key("anthropic-version") {
            let model = |name: &&String| {
                json!({"type": "model", "id": name, "display_name": name,
                       "created_at": "1970-01-01T00:00:00Z"})
            };
            json!({"data": routes.iter().map(model).collect::<Vec<_>>(), "has_more": false,
                   "first_id": routes.first(), "last_id": routes.last()})
        } else {
            let model = |name: &&String| json!({"id": name, "object": "model", "created": 0, "owned_by": "understudy"});
            json!({"object": "list", "data": routes.iter().map(model).collect::<Vec<_>>()})
        };
        let mut response = Response::new(Body::from(list.to_string()));
        finish(&mut response, &incoming.request_id);
        response
    }
}

/// What a path below a provider's prefix asks for, which may begin like the provider's base URL.
fn below_prefix(provider: &Provider, rest: &str) -> Option<Endpoint> {
    let base = provider.base_url.path().trim_end_matches('/');
    let below = rest.strip_prefix(base).filter(|below| below.starts_with('/'));
    below.and_then(endpoint::of).or_else(|| endpoint::of(rest))
}

/// A request as its head tells it.
fn incoming(parts: &Parts, dialect: DialectName, request_id: String, arrived: Instant) -> Incoming {
    let (query, key) = without_key(parts.uri.query());
    let mut headers = parts.headers.clone();
    if let Some(key) = key {
        headers.entry("x-goog-api-key").or_insert(key);
    }
    Incoming {
        request_id,
        dialect: dialect.dialect(),
        in_path: None,
        query,
        provider: None,
        headers,
        body: Bytes::new(),
        patron: None,
        arrived,
        arrived_ms: jiff::Timestamp::now().as_millisecond(),
    }
}

fn with_query(path: &str, incoming: &Incoming) -> String {
    incoming.query.as_ref().map_or(path.to_owned(), |query| format!("{path}?{query}"))
}

/// Only lists are read; everything else is asked.
fn checked_method(endpoint: &Endpoint, method: &Method, path: &str) -> Result<()> {
    let is_list = matches!(endpoint, Endpoint::Models { .. });
    match is_list || *method == Method::POST {
        true => Ok(()),
        false => Err(Error::new(Kind::BadMethod, format!("{path} takes POST only"))),
    }
}

/// A query without Google's `key`, which is a credential and belongs into a header.
fn without_key(query: Option<&str>) -> (Option<String>, Option<HeaderValue>) {
    let Some(query) = query else { return (None, None) };
    let (keys, rest): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|pair| pair.starts_with("key="));
    let key = keys.first().and_then(|pair| pair.split_once('='));
    let key = key.and_then(|(_, key)| HeaderValue::from_str(key).ok()).map(|mut key| {
        key.set_sensitive(true);
        key
    });
    ((!rest.is_empty()).then(|| rest.join("&")), key)
}

/// The client's own id of the request, if it is fit to be repeated, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sent = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let fit = sent.filter(|id| !id.is_empty() && id.len() <= MAX_REQUEST_ID);
    fit.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn error_response(dialect: &dyn Dialect, error: &Error, request_id: &str) -> Response {
    let mut response = Response::new(Body::from(dialect.error_body(error.status(), &error.into())));
    *response.status_mut() =
        http::StatusCode::from_u16(error.status()).unwrap_or(http::StatusCode::BAD_GATEWAY);
    finish(&mut response, request_id);
    head::add_wait(response.headers_mut(), error);
    response
}

fn finish(response: &mut Response, request_id: &str) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
}
