//! The data plane: what applications' SDKs call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::header;
use http_body_util::BodyExt;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use crate::chat::DialectName;
use crate::error::Blame;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::Incoming;
use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::metrics::RequestLabels;
use crate::upstream::pump::Pump;
use crate::wire::Dialect;

/// Longer request ids of clients are replaced by ours.
const MAX_REQUEST_ID: usize = 128;

struct Edge {
    front: Arc<Front>,
    slots: Arc<Semaphore>,
}

/// What a path asks for.
enum Asked<'a> {
    Chat { provider: Option<&'a str> },
    Models,
    Pass { provider: &'a str, rest: &'a str },
}

/// The data plane's service.
pub fn router(front: Arc<Front>) -> Router {
    let slots = Arc::new(Semaphore::new(front.config.limits.max_concurrency));
    Router::new().fallback(handle).with_state(Arc::new(Edge { front, slots }))
}

async fn handle(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let arrived = Instant::now();
    let dialect = DialectName::OpenAi.dialect();
    let request_id = request_id(request.headers());
    let answered = edge.answer(dialect, request, request_id.clone(), arrived).await;
    let response = answered.unwrap_or_else(|error| {
        let (code, detail) = (error.code(), &error.detail);
        match error.blame() {
            Blame::Client => tracing::debug!(request_id, code, detail, "refused"),
            _ => tracing::warn!(request_id, code, detail, "failed"),
        }
        error_response(dialect, &error, &request_id)
    });
    let labels =
        RequestLabels { dialect: dialect.name().as_str(), status: response.status().as_u16() };
    edge.front.metrics.requests.get_or_create(&labels).inc();
    response
}

impl Edge {
    async fn answer(
        &self,
        dialect: &'static dyn Dialect,
        request: Request,
        request_id: String,
        arrived: Instant,
    ) -> Result<Response> {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            let most = self.front.config.limits.max_concurrency;
            let what = format!("{most} requests are open already, the most that is allowed");
            return Err(Error::new(Kind::Overloaded, what));
        };
        let slot = Slot::new(slot, self.front.metrics.open.clone());
        let (parts, body) = request.into_parts();
        let asked = self.asked(&parts.method, parts.uri.path())?;
        if let Asked::Models = asked {
            return Ok(self.models(&request_id));
        }
        let body = self.read(body).await?;
        let provider = match asked {
            Asked::Chat { provider } => provider,
            Asked::Pass { provider, .. } => Some(provider),
            Asked::Models => None,
        };
        let provider = provider.map(str::to_owned);
        let headers = parts.headers;
        let incoming = Incoming { request_id, provider, headers, body, arrived };
        let reply = match asked {
            Asked::Pass { provider, rest } => {
                let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                let path = format!("{rest}{query}");
                self.front.pass(provider, parts.method, &path, incoming).await?
            }
            Asked::Chat { .. } | Asked::Models => self.front.chat(dialect, incoming).await?,
        };
        Ok(respond(reply, slot))
    }

    fn asked<'p>(&self, method: &Method, path: &'p str) -> Result<Asked<'p>> {
        let is_post = *method == Method::POST;
        match path {
            "/v1/chat/completions" | "/chat/completions" if is_post => {
                return Ok(Asked::Chat { provider: None });
            }
            "/v1/chat/completions" | "/chat/completions" => {
                return Err(Error::new(Kind::BadMethod, format!("{path} takes POST only")));
            }
            "/v1/models" | "/models" => return Ok(Asked::Models),
            _ => {}
        }
        let inside = path.strip_prefix('/').unwrap_or(path);
        // The slash stays with the rest, which is put behind a base URL.
        let (provider, rest) = inside.split_at(inside.find('/').unwrap_or(inside.len()));
        let known = self.front.config.providers.get(provider).filter(|_| !rest.is_empty());
        let Some(known) = known else {
            return Err(Error::new(
                Kind::NotFound,
                format!("nothing is at {path}: try /v1/chat/completions or /PROVIDER/v1/..."),
            ));
        };
        let base = known.base_url.path().trim_end_matches('/');
        let chat = DialectName::OpenAi.dialect().path("", false);
        let is_chat = [base, "/v1", ""]
            .into_iter()
            .any(|base| rest.strip_prefix(base).is_some_and(|rest| rest == chat));
        match is_chat && is_post {
            true => Ok(Asked::Chat { provider: Some(provider) }),
            false => Ok(Asked::Pass { provider, rest }),
        }
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
            Ok(Err(_)) => Err(Error::new(Kind::BadRequest, "the body broke off")),
            Err(_) => Err(Error::new(Kind::BadRequest, "the body took too long to arrive")),
        }
    }

    /// The routes, as a list of models.
    fn models(&self, request_id: &str) -> Response {
        let routes = self.front.config.routes.keys();
        let model =
            |name: &String| json!({"id": name, "object": "model", "owned_by": "understudy"});
        let list = json!({"object": "list", "data": routes.map(model).collect::<Vec<_>>()});
        let mut response = Response::new(Body::from(list.to_string()));
        finish(&mut response, request_id);
        response
    }
}

fn respond(reply: Reply, slot: Slot) -> Response {
    let body = match reply.body {
        ReplyBody::Whole(bytes) => Body::from(bytes),
        ReplyBody::Live(pump) => Body::new(Held { pump, _slot: slot }),
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// A body that holds its place among the open requests until it has ended.
struct Held {
    pump: Box<Pump>,
    _slot: Slot,
}

/// A place among the open requests, counted for as long as it is held.
struct Slot {
    _permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl Slot {
    fn new(permit: OwnedSemaphorePermit, open: Gauge) -> Self {
        open.inc();
        Self { _permit: permit, open }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>>>> {
        Pin::new(&mut self.pump).poll_frame(cx)
    }
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
    if error.kind == Kind::Overloaded {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn finish(response: &mut Response, request_id: &str) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
}
