//! Sentinels over HTTP: what each of them saw last, and when it looks again.

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::http::admin::Admin;
use crate::http::admin::Route;
use crate::http::admin::failed;
use crate::vigil::view::View;

pub fn routes() -> Vec<Route> {
    vec![("/api/v1/sentinels", get(all)), ("/api/v1/sentinels/{name}", get(one))]
}

async fn all(State(admin): State<Admin>) -> Response {
    match views(&admin).await {
        Ok(views) => Json(json!({"sentinels": views})).into_response(),
        Err(error) => failed(&error),
    }
}

async fn one(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let view = views(&admin).await.and_then(|views| {
        let found = views.into_iter().find(|view| view.sentinel == name);
        found
            .ok_or_else(|| Error::new(Kind::NotFound, format!("no sentinel \"{name}\" is defined")))
    });
    match view {
        Ok(view) => Json(view).into_response(),
        Err(error) => failed(&error),
    }
}

async fn views(admin: &Admin) -> Result<Vec<View>> {
    let vigil = admin.vigil.clone();
    let read = tokio::task::spawn_blocking(move || vigil.views()).await;
    read.map_err(|_| Error::new(Kind::Internal, "the sentinels could not be read"))
}
