//! Failures as OpenAI and its imitators tell them, read from any of their shapes and written in one.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::chat::ProviderError;

/// The kind of error of what is no message of the provider's at all.
pub const MALFORMED: &str = "malformed";

/// Reads an error in any of the shapes that OpenAI-compatible servers use.
pub fn provider_error(body: &Value) -> ProviderError {
    let body = first_of(body);
    let said = body.get("error").or_else(|| body.get("errors")).map(first_of);
    let error = match said {
        Some(Value::Object(_)) => said.unwrap_or(body),
        _ => body,
    };
    let message = match said {
        Some(Value::String(text)) => Some(text.clone()),
        _ => sentence(error),
    };
    let within = nested(error);
    let message = match (message, within.as_ref().map(provider_error)) {
        // What the provider behind the provider said is the reason; the outer sentence names none.
        (Some(outer), Some(inner)) if inner.kind.as_deref() != Some(MALFORMED) => {
            Some(format!("{outer}: {}", inner.message))
        }
        (message, _) => message,
    };
    let malformed = || message.is_none().then(|| MALFORMED.to_owned());
    let retry_after_ms = wait_of(error).or_else(|| message.as_deref().and_then(wait_in_words));
    ProviderError {
        kind: word(error, "type").or_else(|| status_word(error)).or_else(malformed),
        code: word(error, "code"),
        message: message.unwrap_or_else(|| "neither an answer nor an error message".into()),
        param: word(error, "param").or_else(|| place(error)),
        retry_after_ms,
    }
}

/// A failure in OpenAI's shape, as a body or as the payload of an event.
pub fn write(status: u16, error: &ProviderError, out: &mut Vec<u8>) {
    let kind = error.kind.as_deref().unwrap_or(match status {
        401 => "authentication_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    });
    let body = Outer {
        error: Inner {
            message: &error.message,
            r#type: kind,
            param: error.param.as_deref(),
            code: error.code.as_deref(),
        },
    };
    super::json_into(&body, out);
}

#[derive(Serialize)]
struct Outer<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

fn first_of(value: &Value) -> &Value {
    value.get(0).unwrap_or(value)
}

/// A word or a number of the error's.
fn word(error: &Value, key: &str) -> Option<String> {
    match error.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Google says its kind under `status`, where others repeat the HTTP status.
fn status_word(error: &Value) -> Option<String> {
    let status = error.get("status")?.as_str()?;
    status.starts_with(|c: char| c.is_ascii_alphabetic()).then(|| status.to_owned())
}

/// The sentence for people: a string, or the first entry of a list of complaints.
fn sentence(error: &Value) -> Option<String> {
    if let Value::String(text) = error {
        return Some(text.clone());
    }
    let keys = ["message", "detail", "msg", "Message", "error_message"];
    keys.into_iter().find_map(|key| match error.get(key)? {
        Value::String(text) => Some(text.clone()),
        // FastAPI's complaint about the request, and Mistral's, which wraps it once more.
        inner @ (Value::Array(_) | Value::Object(_)) => sentence(first_of(inner)),
        _ => None,
    })
}

/// Where FastAPI finds fault: `["body", "messages", 0]` reads as `messages.0`.
fn place(error: &Value) -> Option<String> {
    let detail = first_of(error.get("detail").or_else(|| error.get("message")?.get("detail"))?);
    let steps = detail.get("loc")?.as_array()?.iter();
    let steps = steps.map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_owned));
    let steps: Vec<String> = steps.skip_while(|step| step == "body").collect();
    (!steps.is_empty()).then(|| steps.join("."))
}

/// OpenRouter keeps what its provider said as JSON in a string.
fn nested(error: &Value) -> Option<Value> {
    match error.get("metadata")?.get("raw")? {
        Value::String(text) => {
            let parsed = serde_json::from_str(text).ok();
            parsed.or_else(|| (!text.is_empty()).then(|| Value::from(text.as_str())))
        }
        raw @ Value::Object(_) => Some(raw.clone()),
        _ => None,
    }
}

/// How long to wait, from a field made for it.
fn wait_of(error: &Value) -> Option<u64> {
    let millis = |key: &str| error.get(key).and_then(Value::as_f64);
    if let Some(wait) = millis("retry_after_ms") {
        return whole_millis(wait);
    }
    let seconds = ["retry_after", "retry_after_seconds"].into_iter().find_map(millis);
    if let Some(wait) = seconds {
        return whole_millis(wait * 1000.0);
    }
    let details = error.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    span(delay)
}

/// `Please try again in 1m2.5s`, `Please retry after 7 seconds`: the wait is in the words only.
fn wait_in_words(message: &str) -> Option<u64> {
    let lower: Cow<'_, str> = message.to_ascii_lowercase().into();
    let starts = ["try again in ", "retry after ", "retry in "];
    starts.into_iter().find_map(|start| span(lower.split_once(start)?.1))
}

/// `6m0s`, `1.234s`, `20ms`, `7 seconds` in milliseconds; stops at the first thing that is none.
fn span(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, None);
    loop {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let Ok(number) = number.trim_end_matches('.').parse::<f64>() else { break };
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let millis = match unit {
            "ms" | "millisecond" | "milliseconds" => 1.0,
            "s" | "sec" | "second" | "seconds" => 1_000.0,
            "m" | "min" | "minute" | "minutes" => 60_000.0,
            "h" | "hour" | "hours" => 3_600_000.0,
            _ => break,
        };
        total = Some(total.unwrap_or(0.0) + number * millis);
        rest = tail;
    }
    total.and_then(whole_millis)
}

/// At most a day: a longer wait is a mistake or no wait at all.
fn whole_millis(wait: f64) -> Option<u64> {
    const DAY_MS: f64 = 86_400_000.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    (0.0..=DAY_MS).contains(&wait).then_some(wait.ceil() as u64)
}
