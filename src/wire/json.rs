//! JSON that is read without being understood: the model's place in a body, patches, spans.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::Deserializer;
use serde_json::Map;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::InPath;

/// The longest model name taken, bytes; it comes back in headers and messages.
const MAX_MODEL_BYTES: usize = 512;

/// The few fields we look at; the rest is skipped without being kept.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    model: Option<&'a RawValue>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(borrow, default, deserialize_with = "present")]
    messages: Option<&'a RawValue>,
}

/// What a request is called in messages, and what it cannot do without.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    /// Such as `a chat completion request`.
    pub what: &'static str,
    /// Whether it needs a list called `messages`.
    pub has_messages: bool,
}

/// Reads the head of a request: its model, from the path or the body, and whether it streams.
///
/// # Errors
/// The body is no JSON object, holds no conversation, or names no usable model.
pub fn head(body: Bytes, in_path: Option<InPath>, sort: Sort) -> Result<ChatRequest> {
    let what = sort.what;
    // serde would also take a list for the fields.
    if body.trim_ascii_start().starts_with(b"[")
        && serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok()
    {
        return Err(bad(format!("the body is not {what}: it is a list")));
    }
    let head: Head<'_> =
        serde_json::from_slice(&body).map_err(|error| not_readable(&error, what))?;
    let has_list = head.messages.is_some_and(|messages| messages.get().starts_with('['));
    if sort.has_messages && !has_list {
        return Err(bad("`messages` must be a list of messages"));
    }
    if let Some(InPath { model, stream }) = in_path {
        checked_model(&model)?;
        return Ok(ChatRequest { model, model_at: None, stream, body });
    }
    let raw =
        head.model.ok_or_else(|| bad(format!("the body is not {what}: missing field `model`")))?;
    let model: Cow<'_, str> = serde_json::from_str(raw.get())
        .map_err(|_| bad("`model` must be a string, for example \"openai/gpt-4o\""))?;
    checked_model(&model)?;
    let model = model.into_owned();
    let model_at = Some(span(&body, raw.get()));
    let stream = head.stream.unwrap_or(false);
    Ok(ChatRequest { model, model_at, stream, body })
}

/// Null is there, too: it is the wrong thing, not a missing one.
fn present<'de, D: Deserializer<'de>>(
    json: D,
) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

fn checked_model(model: &str) -> Result<()> {
    if model.is_empty() {
        return Err(bad("`model` is empty: name a route, or a target such as openai/gpt-4o"));
    }
    if model.len() > MAX_MODEL_BYTES {
        return Err(bad("`model` is longer than 512 bytes"));
    }
    Ok(())
}

/// Replaces the model's name in place; without a change the client's own buffer is passed on.
pub fn rename(head: &ChatRequest, model: &str) -> Bytes {
    let Some(at) = head.model_at.clone().filter(|_| head.model != model) else {
        return head.body.clone();
    };
    let name = Value::from(model).to_string();
    let (before, after) = (&head.body[..at.start], &head.body[at.end..]);
    Bytes::from([before, name.as_bytes(), after].concat())
}

/// The body with `patch` (RFC 7396) laid over it.
///
/// # Errors
/// The body is not JSON.
pub fn patch(body: &[u8], patch: &Map<String, Value>) -> Result<Bytes> {
    let mut value: Value =
        serde_json::from_slice(body).map_err(|error| not_readable(&error, "JSON"))?;
    merge_patch(&mut value, patch);
    Ok(Bytes::from(value.to_string()))
}

/// Whether a request asks for the usage at the end of its stream; a body that is not JSON asks for
/// nothing.
pub fn asks_stream_usage(body: &[u8]) -> bool {
    const OPTION: &[u8] = b"\"include_usage\"";
    // Most bodies need not be read to see that they do not.
    memchr::memmem::find(body, OPTION).is_some() && matches!(with_stream_usage(body), Ok(None))
}

/// The body of a streamed request with `stream_options.include_usage`; `None` if it has that.
///
/// # Errors
/// The body is not JSON.
pub fn with_stream_usage(body: &[u8]) -> Result<Option<Bytes>> {
    const OPTIONS: &[u8] = b"\"stream_options\"";
    if !body.windows(OPTIONS.len()).any(|window| window == OPTIONS) {
        // Every byte of the application's stays.
        let own = body.trim_ascii_end();
        let own = own.strip_suffix(b"}").unwrap_or(own);
        let option = br#","stream_options":{"include_usage":true}}"#;
        return Ok(Some(Bytes::from([own, option].concat())));
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|error| not_readable(&error, "JSON"))?;
    if value["stream_options"]["include_usage"] == Value::Bool(true) {
        return Ok(None);
    }
    let options = Map::from_iter([("include_usage".to_owned(), Value::from(true))]);
    patch(body, &Map::from_iter([("stream_options".to_owned(), Value::from(options))])).map(Some)
}

/// RFC 7396: objects merge, null removes, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        match value {
            Value::Null => {
                fields.shift_remove(key);
            }
            Value::Object(inner) => {
                merge_patch(fields.entry(key.as_str()).or_insert(Value::Null), inner);
            }
            other => {
                fields.insert(key.clone(), other.clone());
            }
        }
    }
}

/// Where `part`, a slice of `body`, stands in it.
fn span(body: &[u8], part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + part.len()
}

/// A request the client has to change.
pub fn bad(detail: impl Into<String>) -> Error {
    Error::new(Kind::BadRequest, detail)
}

/// The position, never the text: it may be a prompt.
pub fn not_readable(error: &serde_json::Error, expected: &str) -> Error {
    let what = match error.classify() {
        serde_json::error::Category::Data => format!("is not {expected}"),
        _ => "is not valid JSON".to_owned(),
    };
    let detail = error.to_string();
    let missing = detail.split_once(" at line").map_or("", |(what, _)| what);
    // serde names our own fields in these two, and in nothing else.
    let is_ours = missing.starts_with("missing field") || missing.starts_with("duplicate field");
    let missing = if is_ours { format!(": {missing}") } else { String::new() };
    let (line, column) = (error.line(), error.column());
    bad(format!("the body {what}{missing} (line {line}, column {column})"))
}
