//! The admin plane: health, metrics, the state of experiments, and the stored exchanges.

mod exchanges;
mod life;
mod feedback;
mod labels;
mod openapi;
mod sentinels;
mod shown;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::MethodRouter;
use axum::routing::get;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::director::Director;
use crate::error::Error;
use crate::error::Kind;
use crate::library::Library;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::store::Store;
use crate::vigil::Vigil;

/// What the admin plane shows.
#[derive(Clone)]
pub struct Admin {
    /// Changes what is in force.
    pub director: Arc<Director>,
    /// Runs sentinels.
    pub vigil: Arc<Vigil>,
    /// Live experiments.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Stored exchanges.
    pub library: Library,
    /// What people said.
    pub store: Store,
    /// Brings to disk what is to be seen there.
    pub recorder: Recorder,
    /// The most that stored exchanges may take, bytes.
    pub max_bytes: u64,
    /// Set once the process is to end, when it is no longer ready.
    pub stop: CancellationToken,
}

/// What probes may see: nothing that an application sent or got.
pub fn health(admin: Admin) -> Router {
    with(probes()).with_state(admin)
}

/// The admin plane's service.
pub fn router(admin: Admin) -> Router {
    with(routes())
        .fallback(async || not_found("no such path; / lists what is here"))
        .method_not_allowed_fallback(async || {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            message(status, "this path takes another method; see /openapi.json")
        })
        .with_state(admin)
}

/// A path and what answers there.
type Route = (&'static str, MethodRouter<Admin>);

fn with(routes: Vec<Route>) -> Router<Admin> {
    routes.into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method))
}

fn probes() -> Vec<Route> {
    vec![("/livez", get(async || "ok\n")), ("/readyz", get(ready)), ("/metrics", get(metrics))]
}

/// Every path; the document in [`openapi`] describes each of them.
fn routes() -> Vec<Route> {
    let mut routes = probes();
    routes.extend([
        ("/openapi.json", get(openapi::document)),
        ("/api/v1/experiments", get(experiments)),
        ("/api/v1/experiments/{name}", get(experiment)),
    ]);
    routes.extend(exchanges::routes());
    routes.extend(life::routes());
    routes.extend(shown::routes());
    routes.extend(feedback::routes());
    routes.extend(labels::routes());
    routes.extend(sentinels::routes());
    routes
}

/// Ready does not depend on any provider: that would take the application's pod down with it.
async fn ready(State(admin): State<Admin>) -> Response {
    match admin.stop.is_cancelled() {
        false => "ok\n".into_response(),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.director.show_breakers();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics.text()).into_response()
}

async fn experiments(State(admin): State<Admin>) -> Response {
    let reports = admin.board.experiments();
    let reports = reports.iter().filter_map(|e| admin.board.report(&e.name));
    let rows = reports.map(|report| {
        let pairs: u64 = report.candidates.values().map(|candidate| candidate.pairs).sum();
        json!({
            "experiment": report.experiment, "verdict": report.verdict, "reason": report.reason,
            "summary": report.summary, "pairs": pairs,
            "state": report.state, "epoch": report.epoch, "halted": report.halted,
        })
    });
    Json(json!({"experiments": rows.collect::<Vec<_>>()})).into_response()
}

async fn experiment(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    epoch: Result<Query<Epoch>, QueryRejection>,
) -> Response {
    let epoch = match epoch {
        Ok(Query(asked)) => asked.epoch,
        Err(_) => {
            let error = Error::new(Kind::BadRequest, "`epoch` takes a number, from 1");
            return failed(&error);
        }
    };
    match tokio::task::spawn_blocking(move || admin.director.report(&name, epoch)).await {
        Ok(Ok(report)) => Json(report).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(_) => failed(&Error::new(Kind::Internal, "the report could not be made")),
    }
}

/// Which results are asked for.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Epoch {
    epoch: Option<u32>,
}

fn not_found(text: &str) -> Response {
    message(StatusCode::NOT_FOUND, text)
}

fn failed(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    message(status, &error.detail)
}

fn message(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"error": {"message": text}}))).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::openapi;
    use super::routes;

    #[test]
    fn every_path_is_documented_and_every_documented_path_is_there() {
        let document: serde_json::Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
        let documented = document["paths"].as_object().unwrap();
        let documented: BTreeSet<&str> = documented.keys().map(String::as_str).collect();
        let routes: BTreeSet<&str> = routes().into_iter().map(|(path, _)| path).collect();
        assert_eq!(documented, routes);
    }
}
