//! Experiments for people and plots: pages, series and plans.

use std::sync::Arc;

use axum::Json;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use axum::http::HeaderMap;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use crate::board::Board;
use crate::dossier;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::forecast::traffic::Told;
use crate::http::admin::Admin;
use crate::http::admin::Route;
use crate::http::admin::failed;
use crate::page;

/// Pages, series and plans.
pub fn routes() -> Vec<Route> {
    vec![
        ("/", get(index)),
        ("/api/v1/experiments/{name}/plan", get(plan)),
        ("/api/v1/experiments/{name}/report.html", get(report)),
        ("/api/v1/experiments/{name}/series", get(series)),
    ]
}

const INDEX: &str = "understudy\n\n\
     /livez                      the process runs\n\
     /readyz                     it takes requests\n\
     /metrics                    counters for Prometheus\n\
     /api/v1/experiments         every experiment with its verdict\n\
     /api/v1/experiments/NAME    one report\n\
     /api/v1/experiments/NAME/report.html  the same as a page\n\
     /api/v1/experiments/NAME/plan    pairs, hours and dollars until a verdict\n\
     /api/v1/experiments/NAME/series  how the intervals narrowed\n\
     /api/v1/sentinels           every sentinel with its last runs\n\
     /api/v1/log                 what happened to every experiment, checked\n\
     /api/v1/config              the files in force, and what is wrong with new ones\n\
     /api/v1/experiments/NAME/feedback  what people said, comments and all\n\
     /api/v1/experiments/NAME/labels  pairs that wait for a person's word; takes it, too\n\
     /api/v1/experiments/NAME/summary  what was counted here, to be added to other sidecars'\n\
     /api/v1/feedback            takes what people say of an answer\n\
     /api/v1/exchanges           what is stored, the newest first\n\
     /api/v1/exchanges/ID        one exchange: request, answer, timing, why it was keyed so\n\
     /api/v1/cache               what is stored, in numbers\n\
     /openapi.json               all of this for programs\n";

/// A page for browsers, which ask for one by name; a list of paths for everybody else.
async fn index(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    if !accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        return INDEX.into_response();
    }
    let page = move || {
        let names = admin.board.experiments();
        let reports = names.iter().filter_map(|experiment| admin.board.report(&experiment.name));
        page::home(&reports.collect::<Vec<_>>())
    };
    tokio::task::spawn_blocking(page).await.map_or_else(|_| broken(), html)
}

async fn report(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let made = move || {
        let log = admin.director.log()?.entries;
        dossier::page(&admin.store, &admin.board, &name, &log)
    };
    match tokio::task::spawn_blocking(made).await {
        Ok(Ok(page)) => html(page),
        Ok(Err(error)) => failed(&error),
        Err(_) => broken(),
    }
}

async fn series(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    with_experiment(admin, name, |admin, experiment| {
        let points = dossier::points(&admin.store, experiment)?;
        Ok(Json(json!({ "experiment": experiment.name, "candidates": points })).into_response())
    })
    .await
}

async fn plan(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    told: std::result::Result<Query<Told>, QueryRejection>,
) -> Response {
    let told = match told {
        Ok(Query(told)) => told,
        Err(error) => {
            let what = format!("the query cannot be read: {error}");
            return failed(&Error::new(Kind::BadRequest, what));
        }
    };
    if let Some(problem) = told.problem() {
        return failed(&Error::new(Kind::BadRequest, problem));
    }
    with_experiment(admin, name, move |admin, experiment| {
        let prices = &admin.director.config().prices;
        Ok(Json(dossier::plan(Some(&admin.store), experiment, prices, &told)?).into_response())
    })
    .await
}

/// Away from the threads that answer, because it reads a disk.
async fn with_experiment(
    admin: Admin,
    name: String,
    work: impl FnOnce(&Admin, &Experiment) -> Result<Response> + Send + 'static,
) -> Response {
    let found = admin.board.experiments().into_iter().find(|e| e.name == name);
    let Some(experiment): Option<Arc<Experiment>> = found else {
        return failed(&unknown(&admin.board, &name));
    };
    match tokio::task::spawn_blocking(move || work(&admin, &experiment)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => failed(&error),
        Err(_) => broken(),
    }
}

fn unknown(board: &Board, name: &str) -> Error {
    let all = board.experiments();
    crate::director::unknown(all.iter().map(|experiment| experiment.name.as_str()), name)
}

fn html(page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::VARY, "accept"),
    ];
    (headers, page).into_response()
}

fn broken() -> Response {
    failed(&Error::new(Kind::Internal, "the page could not be made"))
}
