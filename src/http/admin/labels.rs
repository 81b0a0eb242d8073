//! Pairs that wait for a person's word, what people say of them, and what this sidecar has counted.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::http::admin::Admin;
use crate::http::admin::Route;
use crate::http::admin::failed;
use crate::label::Given;
use crate::labelling;
use crate::labelling::Wanted;

/// Pairs that are shown when nobody says how many.
const SOME: usize = 10;

pub fn routes() -> Vec<Route> {
    vec![
        ("/api/v1/experiments/{name}/labels", get(list).post(take)),
        ("/api/v1/experiments/{name}/summary", get(summary)),
    ]
}

/// Which pairs are asked for.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    candidate: Option<String>,
    limit: Option<usize>,
    skip: Option<usize>,
}

async fn list(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    asked: std::result::Result<Query<Asked>, QueryRejection>,
) -> Response {
    let Ok(Query(Asked { candidate, limit, skip })) = asked else {
        let what = "the query takes `candidate`, `limit` and `skip`";
        return failed(&Error::new(Kind::BadRequest, what));
    };
    let wanted = Wanted { candidate, limit: limit.unwrap_or(SOME), skip: skip.unwrap_or_default() };
    let found = experiment(&admin, &name);
    let work = move || labelling::waiting(&admin.store, &*found?, &wanted);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(waiting)) => Json(waiting).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(_) => failed(&Error::new(Kind::Internal, "the pairs could not be listed")),
    }
}

async fn take(State(admin): State<Admin>, Path(name): Path<String>, body: Bytes) -> Response {
    match taken(&admin, &name, &body).await {
        Ok(given) => Json(json!({ "labelled": given.pair })).into_response(),
        Err(error) => failed(&error),
    }
}

/// Takes a label, and answers once it is on disk and counts.
async fn taken(admin: &Admin, name: &str, body: &[u8]) -> Result<Given> {
    let given = Given::read(body)?;
    let found = experiment(admin, name)?;
    let run = found.run().into_owned();
    let (store, asked) = (admin.store.clone(), given.clone());
    let work = move || labelling::label(&store, &found, &asked);
    let (id, label) = tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::new(Kind::Internal, "the label could not be checked"))??;
    admin.recorder.label(run, given.candidate.clone(), id, label).await?;
    Ok(given)
}

async fn summary(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    // The store may have to make its name up first.
    let work = move || {
        let replica = admin.store.replica()?;
        let unknown = || experiment(&admin, &name).err();
        let summary = admin.board.summary(&name, replica);
        summary.ok_or_else(|| {
            unknown().unwrap_or_else(|| Error::new(Kind::NotFound, "nothing is counted of it"))
        })
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(summary)) => Json(summary).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(_) => failed(&Error::new(Kind::Internal, "the summary could not be made")),
    }
}

fn experiment(admin: &Admin, name: &str) -> Result<Arc<Experiment>> {
    let experiments = admin.board.experiments();
    let found = experiments.iter().find(|experiment| experiment.name == name).cloned();
    let names = experiments.iter().map(|experiment| experiment.name.as_str());
    found.ok_or_else(|| crate::director::unknown(names, name))
}
