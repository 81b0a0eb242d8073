//! The admin plane: health, metrics, and the state of experiments.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::metrics::Metrics;

/// What the admin plane shows.
#[derive(Clone)]
pub struct Admin {
    /// Live experiments.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set once the process is to end, when it is no longer ready.
    pub stop: CancellationToken,
}

/// What probes may see: nothing that an application sent or got.
pub fn health(admin: Admin) -> Router {
    probes().with_state(admin)
}

fn probes() -> Router<Admin> {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// The admin plane's service.
pub fn router(admin: Admin) -> Router {
    probes()
        .route("/", get(index))
        .route("/api/v1/experiments", get(experiments))
        .route("/api/v1/experiments/{name}", get(experiment))
        .fallback(async || not_found("no such path; / lists what is here"))
        .with_state(admin)
}

async fn index() -> &'static str {
    "understudy\n\n\
     /livez                      the process runs\n\
     /readyz                     it takes requests\n\
     /metrics                    counters for Prometheus\n\
     /api/v1/experiments         every experiment with its verdict\n\
     /api/v1/experiments/NAME    one report\n"
}

/// Ready does not depend on any provider: that would take the application's pod down with it.
async fn ready(State(admin): State<Admin>) -> Response {
    match admin.stop.is_cancelled() {
        false => "ok\n".into_response(),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics.text()).into_response()
}

async fn experiments(State(admin): State<Admin>) -> Response {
    let reports = admin.board.experiments().filter_map(|e| admin.board.report(&e.name));
    let rows = reports.map(|report| {
        let pairs: u64 = report.candidates.values().map(|candidate| candidate.pairs).sum();
        json!({
            "experiment": report.experiment, "verdict": report.verdict, "reason": report.reason,
            "summary": report.summary, "pairs": pairs,
        })
    });
    Json(json!({"experiments": rows.collect::<Vec<_>>()})).into_response()
}

async fn experiment(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    match admin.board.report(&name) {
        Some(report) => Json(report).into_response(),
        None => {
            let names: Vec<&str> = admin.board.experiments().map(|e| e.name.as_str()).collect();
            let known = match names.as_slice() {
                [] => "none is defined".to_owned(),
                names => format!("there is: {}", names.join(", ")),
            };
            not_found(&format!("no experiment \"{name}\" is running; {known}"))
        }
    }
}

fn not_found(message: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": {"message": message}}))).into_response()
}
