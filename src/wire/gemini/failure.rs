//! Google's error bodies, in both directions.

use serde_json::Value;
use serde_json::json;

use crate::chat::ProviderError;

/// The kind of error of what is no message of the provider's at all.
pub const MALFORMED: &str = "malformed";

const RETRY: &str = "type.googleapis.com/google.rpc.RetryInfo";
const REASON: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// Google's words for HTTP statuses.
///
/// Source: <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>.
const STATUSES: &[(u16, &str)] = &[
    (400, "INVALID_ARGUMENT"),
    (401, "UNAUTHENTICATED"),
    (403, "PERMISSION_DENIED"),
    (404, "NOT_FOUND"),
    (408, "DEADLINE_EXCEEDED"),
    (409, "ABORTED"),
    (413, "INVALID_ARGUMENT"),
    (422, "INVALID_ARGUMENT"),
    (429, "RESOURCE_EXHAUSTED"),
    (499, "CANCELLED"),
    (500, "INTERNAL"),
    (501, "UNIMPLEMENTED"),
    (502, "UNAVAILABLE"),
    (503, "UNAVAILABLE"),
    (504, "DEADLINE_EXCEEDED"),
    (529, "UNAVAILABLE"),
];

/// Reads `{"error": …}`, also as the only entry of a list.
pub fn read(body: &Value) -> ProviderError {
    let body = body.get(0).unwrap_or(body);
    let error = match body.get("error") {
        Some(Value::String(message)) => {
            return ProviderError { message: message.clone(), ..ProviderError::default() };
        }
        Some(error @ Value::Object(_)) => error,
        _ => body,
    };
    let word = |key: &str| match error.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let message = word("message");
    let malformed = || message.is_none().then(|| MALFORMED.to_owned());
    ProviderError {
        kind: word("status").or_else(malformed),
        code: word("code"),
        message: message.unwrap_or_else(|| "neither an answer nor an error message".into()),
        param: error.pointer("/details").and_then(field_at_fault),
        retry_after_ms: error.pointer("/details").and_then(retry_after_ms),
    }
}

/// What is not JSON.
pub fn not_json(error: &serde_json::Error) -> ProviderError {
    ProviderError {
        kind: Some(MALFORMED.to_owned()),
        message: format!("not JSON: line {} column {}", error.line(), error.column()),
        ..ProviderError::default()
    }
}

/// A failure in Google's shape; the details hold what its own fields have no place for.
pub fn body(status: u16, error: &ProviderError) -> Value {
    let is_word = |kind: &str| STATUSES.iter().any(|(_, word)| *word == kind);
    let of_status = STATUSES.iter().find(|(known, _)| *known == status).map(|(_, word)| *word);
    let fallback = if status < 500 { "INVALID_ARGUMENT" } else { "INTERNAL" };
    let kind = error.kind.as_deref().filter(|kind| is_word(kind) || *kind == "FAILED_PRECONDITION");
    let word = kind.or(of_status).unwrap_or(fallback);
    let mut details = Vec::new();
    let reason = error.code.as_deref().filter(|code| code.parse::<u16>().is_err());
    details.extend(reason.map(|reason| json!({"@type": REASON, "reason": reason})));
    if let Some(wait_ms) = error.retry_after_ms {
        let delay = format!("{}.{:03}s", wait_ms / 1000, wait_ms % 1000);
        details.push(json!({"@type": RETRY, "retryDelay": delay}));
    }
    let mut body = json!({"code": status, "message": error.message, "status": word});
    if !details.is_empty() {
        body["details"] = Value::Array(details);
    }
    json!({"error": body})
}

/// The HTTP status that a failure inside a stream would have had.
pub fn status_of(error: &ProviderError) -> u16 {
    let kind = error.kind.as_deref().unwrap_or_default();
    let of_code = error.code.as_deref().and_then(|code| code.parse().ok());
    let of_word = STATUSES.iter().find(|(_, word)| *word == kind).map(|(status, _)| *status);
    of_code.filter(|code| (400..600).contains(code)).or(of_word).unwrap_or(match kind {
        "rate_limit_error" | "rate_limit_exceeded" => 429,
        "invalid_request_error" => 400,
        "overloaded_error" => 503,
        _ => 500,
    })
}

fn retry_after_ms(details: &Value) -> Option<u64> {
    let delays = details.as_array()?.iter().filter_map(|detail| detail.get("retryDelay"));
    let seconds = delays.filter_map(|delay| {
        // The JSON form of a duration; `{"seconds": 34}` is the form of older servers.
        let text = delay.as_str().and_then(|text| text.trim_end_matches('s').parse::<f64>().ok());
        let parts = || {
            let seconds = delay.get("seconds")?;
            seconds.as_f64().or_else(|| seconds.as_str()?.parse().ok())
        };
        text.or_else(parts)
    });
    let seconds = seconds.into_iter().find(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
    // Float casts saturate; a wait of ages is cut elsewhere.
    Some((seconds * 1000.0).round() as u64)
}

fn field_at_fault(details: &Value) -> Option<String> {
    let violations = details.as_array()?.iter().find_map(|detail| detail.get("fieldViolations"))?;
    violations.get(0)?.get("field")?.as_str().map(str::to_owned)
}
