//! What people said of an experiment's answers, comments and all.

use axum::Json;
use axum::body::Body;
use axum::extract::Path;
use axum::extract::State;
use axum::http::Method;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use serde_json::json;

use crate::http::admin::Admin;
use crate::http::admin::Route;
use crate::http::admin::failed;
use crate::http::admin::not_found;
use crate::http::feedback;

/// The most that is shown at once, the newest first.
const MOST: usize = 1000;

/// The paths of feedback.
pub fn routes() -> Vec<Route> {
    vec![("/api/v1/feedback", post(take)), ("/api/v1/experiments/{name}/feedback", get(list))]
}

async fn take(State(admin): State<Admin>, method: Method, body: Body) -> Response {
    let taken = feedback::take(&admin.recorder, &method, body).await;
    taken.unwrap_or_else(|error| failed(&error))
}

async fn list(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let experiments = admin.board.experiments();
    let Some(run) = experiments.iter().find(|e| e.name == name).map(|e| e.run().into_owned())
    else {
        return not_found(&format!("no experiment \"{name}\" is running"));
    };
    let store = admin.store.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        store.all_said(&run, &mut |said| all.push(said))?;
        Ok(all)
    });
    let mut all = match read.await {
        Ok(Ok(all)) => all,
        Ok(Err(error)) => return failed(&error),
        Err(_) => return not_found("the feedback could not be read"),
    };
    all.sort_by_key(|said| std::cmp::Reverse(said.at_ms));
    let count = all.len();
    all.truncate(MOST);
    Json(json!({"feedback": all, "count": count})).into_response()
}
