//! Failures as OpenAI tells them: in a body, in an event of a stream, in a failed response.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::chat::ProviderError;
use crate::wire::openai::failure as openai;

/// Reads a body, or the error of a response.
pub fn read(body: &Value) -> ProviderError {
    let mut error = openai::provider_error(body);
    error.retry_after_ms = error.retry_after_ms.or_else(|| wait_ms(&error.message));
    error
}

/// Reads an `error` event, whose fields stand in it or in its field `error`.
pub fn of_event(json: &str) -> ProviderError {
    let mut body: Value = serde_json::from_str(json).unwrap_or_default();
    let is_nested = body.get("error").is_some_and(|error| !error.is_null());
    if let Value::Object(fields) = &mut body
        && !is_nested
    {
        // The type of the event, not of the error.
        fields.shift_remove("type");
    }
    read(&body)
}

/// How long the sentence says to wait: `Please try again in 1m2.5s`, `retry after 26 seconds`.
fn wait_ms(message: &str) -> Option<u64> {
    let after = ["try again in ", "retry after "].into_iter();
    let mut text =
        after.filter_map(|words| message.split_once(words)).map(|(_, rest)| rest).next()?;
    let mut total_ms = None;
    loop {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, rest) = text.split_at(digits);
        let Ok(number) = number.parse::<f64>() else { break };
        let unit = rest.trim_start();
        let end = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let (word, rest) = unit.split_at(end);
        let unit_ms = match word {
            "ms" | "milliseconds" => 1.0,
            "s" | "sec" | "second" | "seconds" => 1_000.0,
            "m" | "min" | "minute" | "minutes" => 60_000.0,
            "h" | "hour" | "hours" => 3_600_000.0,
            _ => break,
        };
        *total_ms.get_or_insert(0.0) += number * unit_ms;
        text = rest;
    }
    // A fraction of a millisecond more is waited in full.
    total_ms.map(|ms: f64| ms.ceil() as u64)
}

/// The class of error that the status implies.
fn kind(status: u16, error: &ProviderError) -> &str {
    error.kind.as_deref().unwrap_or(match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    })
}

/// A body that tells a failure.
pub fn body(status: u16, error: &ProviderError) -> Bytes {
    let kind = kind(status, error);
    let error = json!({
        "message": error.message, "type": kind, "param": error.param, "code": error.code,
    });
    Bytes::from(json!({"error": error}).to_string())
}

/// An `error` event; nothing of a good end follows it.
pub fn frame(status: u16, error: &ProviderError) -> Bytes {
    #[derive(Serialize)]
    struct Event<'a> {
        r#type: &'a str,
        code: &'a str,
        message: &'a str,
        param: Option<&'a str>,
        sequence_number: u64,
    }
    let event = Event {
        r#type: "error",
        code: error.code.as_deref().unwrap_or_else(|| kind(status, error)),
        message: &error.message,
        param: error.param.as_deref(),
        sequence_number: 0,
    };
    let json = serde_json::to_string(&event).unwrap_or_default();
    Bytes::from(format!("event: error\ndata: {json}\n\n"))
}
