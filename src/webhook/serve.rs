//! What the webhook answers on its two listeners.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::metrics::webhook::Metrics;
use crate::sidecar::Settings;
use crate::webhook::presented::Presented;
use crate::webhook::review::Outcome;
use crate::webhook::review::review;

/// The most bytes of a review: API servers take objects of up to 3 MiB from their clients, and put
/// them in an envelope.
const MOST: usize = 4 << 20;

/// How many reviews are read at once; with [`MOST`], a bound of memory.
const AT_ONCE: usize = 32;

/// How long a review may take to arrive; API servers wait for an answer for 30 s at most.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Who reviews.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    settings: Settings,
    metrics: Arc<Metrics>,
    seats: Semaphore,
}

impl Desk {
    /// Gives pods what `settings` say.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner { settings, metrics, seats: Semaphore::new(AT_ONCE) }))
    }
}

/// What probes and Prometheus may see.
#[derive(Clone)]
pub struct Probed {
    /// Ready once there is something to show.
    pub presented: Arc<Presented>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set once the process is to end, when it is no longer ready.
    pub leaving: CancellationToken,
}

/// Answers the API server.
pub fn reviews(desk: Desk) -> Router {
    Router::new().route("/mutate", post(mutate)).with_state(desk)
}

/// Answers probes and Prometheus.
pub fn probes(probed: Probed) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probed)
}

async fn mutate(State(desk): State<Desk>, headers: HeaderMap, body: Body) -> Response {
    let desk = &*desk.0;
    let (began, answered) = match read(desk, &headers, body).await {
        Ok(body) => (Instant::now(), review(&body, &desk.settings)),
        Err(error) => (Instant::now(), Err(error)),
    };
    match answered {
        Ok(reviewed) => {
            let outcome = reviewed.outcome.as_str();
            desk.metrics.reviewed(outcome, began.elapsed());
            match reviewed.outcome {
                Outcome::Unchanged => tracing::debug!(pod = reviewed.pod, outcome, "reviewed"),
                _ => tracing::info!(pod = reviewed.pod, outcome, "reviewed"),
            }
            ([(header::CONTENT_TYPE, "application/json")], reviewed.answer).into_response()
        }
        Err(error) => {
            desk.metrics.reviewed(error.code(), began.elapsed());
            tracing::warn!(%error, "a request is no review");
            let status = StatusCode::from_u16(error.status());
            (status.unwrap_or(StatusCode::BAD_REQUEST), error.detail + "\n").into_response()
        }
    }
}

/// The whole body, within its limits.
async fn read(desk: &Inner, headers: &HeaderMap, body: Body) -> Result<Bytes> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(Error::new(Kind::BadRequest, "a review is sent as application/json"));
    }
    let late = |_| Error::new(Kind::Overloaded, format!("the review did not come in {ARRIVAL:?}"));
    let read = async {
        // The semaphore is never closed.
        let _seat = desk.seats.acquire().await;
        Limited::new(body, MOST).collect().await
    };
    let collected = tokio::time::timeout(ARRIVAL, read).await.map_err(late)?;
    let broken = |error: axum::BoxError| match error.is::<LengthLimitError>() {
        true => Error::new(Kind::TooLarge, format!("a review has at most {MOST} bytes")),
        false => Error::new(Kind::BadRequest, "the review broke off"),
    };
    Ok(collected.map_err(broken)?.to_bytes())
}

async fn ready(State(probed): State<Probed>) -> Response {
    let wait = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    match (probed.leaving.is_cancelled(), probed.presented.is_ready()) {
        (true, _) => wait("stopping\n"),
        (false, false) => wait("there is no certificate yet\n"),
        (false, true) => "ok\n".into_response(),
    }
}

async fn metrics(State(probed): State<Probed>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], probed.metrics.text()).into_response()
}
