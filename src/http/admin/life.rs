//! The life of experiments over HTTP: paused, resumed, stopped, halted, and what was decided.

use std::sync::Arc;

use axum::Json;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::director::Director;
use crate::dossier;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::life::By;
use crate::http::admin::Admin;
use crate::http::admin::Route;
use crate::http::admin::failed;
use crate::stats::Verdict;
use crate::store::log::Audit;

pub fn routes() -> Vec<Route> {
    vec![
        ("/api/v1/experiments/{name}/pause", post(pause)),
        ("/api/v1/experiments/{name}/resume", post(resume)),
        ("/api/v1/experiments/{name}/stop", post(stop)),
        ("/api/v1/experiments/{name}/halt", post(halt)),
        ("/api/v1/experiments/{name}/override", post(overrule)),
        ("/api/v1/experiments/{name}/log", get(log_of)),
        ("/api/v1/log", get(log)),
        ("/api/v1/config", get(config)),
        ("/api/v1/reload", post(reload)),
    ]
}

/// What a person says with a wish.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    why: String,
    candidate: String,
    verdict: Option<Verdict>,
}

/// Whether what the log says is computed again.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {
    #[serde(default)]
    verify: bool,
}

type Asked = std::result::Result<Query<Again>, QueryRejection>;

async fn pause(State(admin): State<Admin>, Path(name): Path<String>, body: Bytes) -> Response {
    wish(admin, name, body, |director, name, wish| director.pause(name, By::Person, &wish.why))
        .await
}

async fn resume(State(admin): State<Admin>, Path(name): Path<String>, body: Bytes) -> Response {
    wish(admin, name, body, |director, name, _| director.resume(name, By::Person)).await
}

async fn stop(State(admin): State<Admin>, Path(name): Path<String>, body: Bytes) -> Response {
    wish(admin, name, body, |director, name, wish| director.stop(name, By::Person, &wish.why)).await
}

async fn overrule(State(admin): State<Admin>, Path(name): Path<String>, body: Bytes) -> Response {
    wish(admin, name, body, |director, name, wish| {
        let verdict = wish.verdict.ok_or_else(|| {
            Error::new(Kind::BadRequest, "`verdict` is missing: ship, do_not_ship or equivalent")
        })?;
        director.overrule(name, verdict, &wish.why)
    })
    .await
}

async fn halt(State(admin): State<Admin>, Path(name): Path<String>, body: Bytes) -> Response {
    wish(admin, name, body, |director, name, wish| {
        director.halt(name, &wish.candidate, By::Person, &wish.why)?;
        // A breach cannot wait for the disk; a person can, and is told what is certain.
        director.settle()
    })
    .await
}

/// Does what a person wants and answers with where the experiment stands then.
async fn wish(
    admin: Admin,
    name: String,
    body: Bytes,
    act: impl FnOnce(&Director, &str, &Wish) -> Result<()> + Send + 'static,
) -> Response {
    let wish = match body.is_empty() {
        true => Ok(Wish::default()),
        false => serde_json::from_slice::<Wish>(&body),
    };
    let wish = match wish {
        Ok(wish) => wish,
        Err(error) => {
            let what = format!(
                "the body is not {{\"why\": TEXT, \"candidate\": NAME, \"verdict\": WORD}}: {error}"
            );
            return failed(&Error::new(Kind::BadRequest, what));
        }
    };
    blocking(admin.director, move |director| {
        act(director, &name, &wish)?;
        let report = director.report(&name, None)?;
        Ok(Json(json!({
            "experiment": name, "state": report.state, "epoch": report.epoch,
            "halted": report.halted, "verdict": report.verdict,
        })))
    })
    .await
}

async fn log_of(State(admin): State<Admin>, Path(name): Path<String>, again: Asked) -> Response {
    blocking_log(admin, Some(name), again).await
}

async fn log(State(admin): State<Admin>, again: Asked) -> Response {
    blocking_log(admin, None, again).await
}

async fn blocking_log(admin: Admin, name: Option<String>, again: Asked) -> Response {
    let Ok(Query(Again { verify })) = again else {
        return failed(&Error::new(Kind::BadRequest, "`verify` takes true or false"));
    };
    let (board, store) = (admin.board, admin.store);
    blocking(admin.director, move |director| {
        let name = name.as_deref();
        let (audit, mut shown) = shown(director, name)?;
        if verify {
            let experiments = board.experiments();
            let experiments: Vec<Experiment> =
                experiments.iter().map(|e| Experiment::clone(e)).collect();
            let verified = dossier::verify(&store, &experiments, &audit.entries, name)?;
            if let Some(members) = shown.as_object_mut() {
                members.insert("verified".to_owned(), json!(verified));
            }
        }
        Ok(Json(shown))
    })
    .await
}

/// The chain goes through the whole log, so it is checked as a whole whatever is shown of it.
fn shown(director: &Director, name: Option<&str>) -> Result<(Audit, serde_json::Value)> {
    let audit = director.log()?;
    let is_wanted = |entry: &&_| name.is_none_or(|name| name == entry_of(entry));
    let entries: Vec<_> = audit.entries.iter().filter(is_wanted).collect();
    if let (Some(name), true) = (name, entries.is_empty()) {
        let what = format!("the log knows of no experiment \"{name}\"");
        return Err(Error::new(Kind::NotFound, what));
    }
    let shown = json!({ "entries": entries, "broken": audit.broken });
    Ok((audit, shown))
}

fn entry_of(entry: &crate::store::log::Entry) -> &str {
    &entry.experiment
}

async fn config(State(admin): State<Admin>) -> Response {
    Json(admin.director.files()).into_response()
}

async fn reload(State(admin): State<Admin>) -> Response {
    blocking(admin.director, |director| {
        let changed = director.reload()?;
        Ok(Json(json!({ "changed": changed, "hash": director.files().hash })))
    })
    .await
}

/// Away from the threads that answer, because it may wait for a disk.
async fn blocking<T: IntoResponse + Send + 'static>(
    director: Arc<Director>,
    work: impl FnOnce(&Director) -> Result<T> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(move || work(&director)).await {
        Ok(Ok(done)) => done.into_response(),
        Ok(Err(error)) => failed(&error),
        Err(_) => failed(&Error::new(Kind::Internal, "the question could not be answered")),
    }
}
