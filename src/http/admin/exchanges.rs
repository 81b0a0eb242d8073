//! Stored exchanges over HTTP: listed, shown, exported, imported, purged, counted.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::http::admin::Admin;
use crate::http::admin::Route;
use crate::http::admin::failed;
use crate::library::query::Filter;
use crate::library::query::LIMIT;
use crate::library::view::Detail;
use crate::metrics::CACHE_OUTCOMES;
use crate::metrics::Word;

/// The most of an export that one request may bring, bytes.
const MAX_IMPORT: usize = 128 << 20;

/// Exchanges of one key or request that are shown at once.
const MOST_SHOWN: usize = 20;

/// How long a question waits for what the recorder has not written yet.
const SETTLE: Duration = Duration::from_secs(2);

/// A query, or why it cannot be read.
pub type Parameters =
    std::result::Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>;

pub fn routes() -> Vec<Route> {
    vec![
        ("/api/v1/exchanges", get(list)),
        ("/api/v1/exchanges/export", get(export)),
        ("/api/v1/exchanges/import", post(import).layer(DefaultBodyLimit::max(MAX_IMPORT))),
        ("/api/v1/exchanges/purge", post(purge)),
        ("/api/v1/exchanges/{id}", get(show).delete(forget)),
        ("/api/v1/cache", get(stats)),
    ]
}

async fn list(State(admin): State<Admin>, query: Parameters) -> Response {
    let listed = async {
        let filter = filter(&parameters(query)?)?;
        settle(&admin).await;
        let limit = filter.limit.unwrap_or(LIMIT);
        let rows = admin.library.list(filter).await?;
        // Whoever wants more goes on behind the last one.
        let next = rows.last().filter(|_| rows.len() == limit).map(|row| row.id);
        Ok(Json(json!({"exchanges": rows, "next_before": next})))
    };
    answer(listed.await)
}

async fn show(State(admin): State<Admin>, Path(id): Path<String>, query: Parameters) -> Response {
    let shown = async {
        let mut with_frames = false;
        for (name, value) in parameters(query)? {
            with_frames = match (name.as_str(), value.as_str()) {
                ("body", "frames") => true,
                ("body", "answer") => false,
                ("body", _) => return Err(wrong("`body` takes answer or frames", &value)),
                _ => return Err(wrong("the only parameter is `body`", &name)),
            };
        }
        settle(&admin).await;
        let found = admin.library.find(&id).await?;
        let found = found.iter().take(MOST_SHOWN);
        let details: Vec<Detail> = found.map(|found| Detail::of(found, with_frames)).collect();
        Ok(Json(BTreeMap::from([("exchanges", details)])))
    };
    answer(shown.await)
}

async fn forget(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    settle(&admin).await;
    let gone = admin.library.forget(&id).await;
    answer(gone.map(|gone| Json(json!({"deleted": gone}))))
}

async fn purge(State(admin): State<Admin>, headers: HeaderMap, body: Bytes) -> Response {
    let purged = async {
        // A browser asks before it sends this type to another origin, and is refused.
        expect_type(&headers, "application/json")?;
        let filter = purge_filter(&body)?;
        settle(&admin).await;
        let gone = admin.library.purge(filter).await?;
        Ok(Json(json!({"deleted": gone})))
    };
    answer(purged.await)
}

async fn export(State(admin): State<Admin>, query: Parameters) -> Response {
    let mut given = match parameters(query) {
        Ok(given) => given,
        Err(error) => return failed(&error),
    };
    let mut with_tenants = false;
    if let Some(at) = given.iter().position(|(name, _)| name == "with_tenants") {
        let (_, value) = given.remove(at);
        with_tenants = match value.as_str() {
            "true" => true,
            "false" => false,
            _ => return failed(&wrong("`with_tenants` takes true or false", &value)),
        };
    }
    match filter(&given) {
        Err(error) => failed(&error),
        Ok(filter) => {
            settle(&admin).await;
            let lines = Lines(admin.library.export(filter, with_tenants));
            let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
            (kind, Body::new(lines)).into_response()
        }
    }
}

async fn import(
    State(admin): State<Admin>,
    headers: HeaderMap,
    query: Parameters,
    body: std::result::Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let imported = async {
        expect_type(&headers, "application/x-ndjson")?;
        let mut first_line = 1;
        for (name, value) in parameters(query)? {
            first_line = match (name.as_str(), value.parse::<u64>()) {
                ("first_line", Ok(line)) if line > 0 => line,
                ("first_line", _) => {
                    return Err(wrong("`first_line` takes a number from 1", &value));
                }
                _ => return Err(wrong("the only parameter is `first_line`", &name)),
            };
        }
        let lines = body.map_err(|_| {
            let most = MAX_IMPORT >> 20;
            let what = format!("the body broke off or is larger than {most} MiB: send it in parts");
            Error::new(Kind::TooLarge, what)
        })?;
        Ok(Json(admin.library.import(lines, first_line, admin.recorder.rules()).await?))
    };
    answer(imported.await)
}

async fn stats(State(admin): State<Admin>) -> Response {
    settle(&admin).await;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let stats = admin.library.stats(admin.max_bytes, now_ms).await.map(|mut stats| {
        let count = |what| admin.metrics.cache.get_or_create(&Word { what }).get();
        let counts = CACHE_OUTCOMES.iter().map(|what| ((*what).to_owned(), count(what)));
        stats.since_start = Some(counts.collect());
        Json(stats)
    });
    answer(stats)
}

/// What was answered before the question is to be seen in the answer, unless the disk is stuck.
pub async fn settle(admin: &Admin) {
    let _ = tokio::time::timeout(SETTLE, admin.recorder.flush()).await;
}

pub fn parameters(query: Parameters) -> Result<Vec<(String, String)>> {
    let unreadable =
        |error| Error::new(Kind::BadRequest, format!("the query cannot be read: {error}"));
    query.map(|Query(given)| given).map_err(unreadable)
}

fn filter(given: &[(String, String)]) -> Result<Filter> {
    let given = given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Filter::parse(given, jiff::Timestamp::now().as_millisecond())
}

/// Everything is only meant when it is said.
fn purge_filter(body: &[u8]) -> Result<Filter> {
    const HINT: &str =
        "name what to forget, for example {\"model\": \"gpt\"}, or say {\"all\": true}";
    let bad = |what: String| Error::new(Kind::BadRequest, format!("{what}: {HINT}"));
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| bad(format!("the body is not JSON ({error})")))?;
    let Value::Object(mut members) = body else {
        return Err(bad("the body is not an object".to_owned()));
    };
    let all = match members.remove("all") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(other) => return Err(bad(format!("`all` takes true or false, not {other}"))),
    };
    let given = members.into_iter().map(|(name, value)| match value {
        Value::String(text) => (name, text),
        other => (name, other.to_string()),
    });
    let filter = filter(&given.collect::<Vec<_>>())?;
    match (all, filter.is_all()) {
        (true, false) => Err(bad("`all` and a filter contradict each other".to_owned())),
        (false, true) => Err(bad("nothing is named".to_owned())),
        _ => Ok(filter),
    }
}

fn expect_type(headers: &HeaderMap, wanted: &str) -> Result<()> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    match kind.is_some_and(|kind| kind.starts_with(wanted)) {
        true => Ok(()),
        false => Err(wrong(&format!("`content-type` has to be {wanted}"), kind.unwrap_or(""))),
    }
}

fn wrong(what: &str, given: &str) -> Error {
    Error::new(Kind::BadRequest, format!("{what}, not \"{given}\""))
}

pub fn answer(result: Result<impl IntoResponse>) -> Response {
    result.map_or_else(|error| failed(&error), IntoResponse::into_response)
}

/// Lines as a body, each as it is read.
struct Lines(mpsc::Receiver<String>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<http_body::Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| {
            line.map(|mut line| {
                line.push('\n');
                Ok(http_body::Frame::data(Bytes::from(line)))
            })
        })
    }
}
