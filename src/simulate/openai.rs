//! The OpenAI chat completions dialect of the simulator.

mod read;
mod write;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;

use super::reply::Refusal;

pub(super) use read::read;
pub(super) use write::{Stamp, flood, frames, whole};

/// Where other providers' SDKs put their key.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];
/// The end of a stream.
const DONE: &[u8] = b"data: [DONE]\n\n";
/// An event whose JSON breaks off.
pub(super) const BROKEN_EVENT: &[u8] =
    b"data: {\"id\":\"chatcmpl-broken\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"br\n\n";

/// An error body.
pub(super) fn error(refusal: &Refusal) -> Bytes {
    let (kind, code) = kind_and_code(refusal.status);
    let body = json!({"error": {
        "message": refusal.message,
        "type": kind,
        "param": refusal.param,
        "code": refusal.code.or(code),
    }});
    Bytes::from(body.to_string())
}

/// An error inside a stream.
pub(super) fn error_event(refusal: &Refusal) -> Bytes {
    let body = error(refusal);
    Bytes::from([b"data: ", body.as_ref(), b"\n\n"].concat())
}

/// The refusal OpenAI gives with a status, in our own words.
pub(super) fn refusal(status: u16, retry_after_s: Option<u64>) -> Refusal {
    let message = match status {
        400 => "The request was refused (simulated).",
        401 => "The API key is not valid (simulated).",
        403 => "The project has no access to this (simulated).",
        404 => "The model does not exist (simulated).",
        408 => "The request took too long (simulated).",
        413 => "The request is too large (simulated).",
        429 => "The rate limit is reached, please try again later (simulated).",
        503 | 529 => "The engine is overloaded, please try again later (simulated).",
        _ => "The server had an error while processing your request (simulated).",
    };
    Refusal { retry_after_s, ..Refusal::new(status, message) }
}

/// Whether the request carries one of the keys; without keys every request does.
pub(super) fn key_is_good(headers: &HeaderMap, keys: &[String]) -> Result<(), Refusal> {
    if keys.is_empty() {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let sent = bearer.or_else(|| KEY_HEADERS.iter().find_map(|name| text(name)));
    match sent {
        Some(key) if keys.iter().any(|good| good == key.trim()) => Ok(()),
        Some(_) => Err(Refusal::new(401, "Incorrect API key provided.").code("invalid_api_key")),
        None => Err(Refusal::new(401, "You did not provide an API key.")),
    }
}

/// The list of models, or one of them.
pub(super) fn models(names: &[&str], created: u64) -> Bytes {
    let rows: Vec<_> = names.iter().map(|name| model(name, created)).collect();
    Bytes::from(json!({"object": "list", "data": rows}).to_string())
}

/// One entry of the list of models.
pub(super) fn model(name: &str, created: u64) -> serde_json::Value {
    json!({"id": name, "object": "model", "created": created, "owned_by": "understudy-simulate"})
}

fn kind_and_code(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        404 => ("invalid_request_error", Some("not_found")),
        403 => ("permission_error", None),
        429 => ("requests", Some("rate_limit_exceeded")),
        400..=499 => ("invalid_request_error", None),
        529 => ("overloaded_error", None),
        _ => ("server_error", None),
    }
}
