//! What a client of a Responses socket sends, and the errors it is sent back.
//!
//! Source of the shapes: `responses_client_event.py` and `responses_server_event.py` of the
//! official openai package, and <https://developers.openai.com/api/docs/guides/websocket-mode>.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;

use crate::chat::ProviderError;
use crate::error::Error;
use crate::wire::Dialect;

/// The longest name of a lane, bytes; it comes back with every event.
const MAX_LANE: usize = 256;

/// Fields that only a socket knows, or that a socket decides.
const OWN_FIELDS: [&str; 5] = ["type", "stream_id", "generate", "stream", "background"];

/// Headers of a refusal that say when to come back and what it was.
const TOLD_HEADERS: [&str; 4] =
    ["retry-after", "retry-after-ms", "x-request-id", "x-upstream-request-id"];

/// What a client asks for.
#[derive(Debug)]
pub enum Event {
    /// A response.
    Create(Create),
    /// More input for a response under way: its id and the input as they were sent.
    Steer(Value),
}

/// A request for a response: the body of a plain request, field by field.
#[derive(Debug, Default)]
pub struct Create {
    /// The lane it was sent on; requests of one lane run one after another.
    pub lane: Option<String>,
    /// The response it goes on from.
    pub previous: Option<String>,
    /// False when the answer is not to be stored by anyone.
    pub is_stored: bool,
    /// False when nothing is to be answered yet.
    pub generates: bool,
    /// The length of the message.
    pub bytes: usize,
    pub(super) fields: Vec<(String, Box<RawValue>)>,
}

/// An error as a socket tells it.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status it would have had.
    pub status: u16,
    /// `type`, `code`, `message`, `param`, and whatever else a provider said.
    pub error: Map<String, Value>,
}

impl Event {
    /// Reads a message.
    ///
    /// # Errors
    /// It is not JSON or none of the known events, with the lane it came on, if that could be read.
    pub fn read(text: &str) -> Result<Self, (Option<String>, Refusal)> {
        let Fields(mut fields) = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = format!("the message is not a JSON object (line {line}, column {column})");
            (None, Refusal::new(400, "invalid_json", what))
        })?;
        let lane = lane(&fields).map_err(|refusal| (None, refusal))?;
        let kind = string(&fields, "type").ok().flatten();
        match kind.as_deref() {
            Some("response.create") => {}
            Some("response.steer") => {
                return Ok(Self::Steer(serde_json::from_str(text).unwrap_or_default()));
            }
            _ => {
                let what = "\"type\" must be \"response.create\": nothing else is understood here";
                return Err((lane, Refusal::new(400, "unknown_event_type", what).at("type")));
            }
        }
        // Older clients put the body one level down.
        let nested = raw(&fields, "response").and_then(|body| serde_json::from_str(body).ok());
        if let Some(Fields(nested)) = nested {
            fields = nested;
        }
        match Create::new(lane.clone(), text.len(), fields) {
            Ok(create) => Ok(Self::Create(create)),
            Err(refusal) => Err((lane, refusal)),
        }
    }
}

impl Create {
    fn new(
        lane: Option<String>,
        bytes: usize,
        mut fields: Vec<(String, Box<RawValue>)>,
    ) -> Result<Self, Refusal> {
        if boolean(&fields, "background")? == Some(true) {
            let what = "a response on a WebSocket cannot run in the background";
            return Err(Refusal::new(400, "invalid_value", what).at("background"));
        }
        let previous = string(&fields, "previous_response_id")?;
        let is_stored = boolean(&fields, "store")?.unwrap_or(true);
        let generates = boolean(&fields, "generate")?.unwrap_or(true);
        fields.retain(|(name, _)| !OWN_FIELDS.contains(&name.as_str()));
        Ok(Self { lane, previous, is_stored, generates, bytes, fields })
    }

    /// The new items of input; `None` when it is neither a text nor a list.
    pub fn items(&self) -> Option<String> {
        let input = raw(&self.fields, "input").unwrap_or("null");
        match input.as_bytes().first() {
            Some(b'"') => {
                Some(format!("{{\"type\":\"message\",\"role\":\"user\",\"content\":{input}}}"))
            }
            Some(b'[') => {
                let inside = input.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                Some(inside.unwrap_or_default().trim().to_owned())
            }
            Some(b'n') => Some(String::new()),
            _ => None,
        }
    }

    /// Whether the items are all that is said: nothing is kept for it elsewhere.
    pub fn is_all(&self) -> bool {
        let is_set = |name| raw(&self.fields, name).is_some_and(|value| value != "null");
        !is_set("conversation") && !is_set("prompt")
    }

    /// The body of a plain request; with `items`, these are its input and it goes on from nothing.
    pub fn body(&self, items: Option<&str>) -> Bytes {
        let mut body = String::with_capacity(self.bytes + items.map_or(0, str::len) + 32);
        body.push('{');
        for (name, value) in &self.fields {
            let is_replaced = matches!(name.as_str(), "input" | "previous_response_id");
            if is_replaced && items.is_some() {
                continue;
            }
            body.push_str(&Value::from(name.as_str()).to_string());
            body.push(':');
            body.push_str(value.get());
            body.push(',');
        }
        if let Some(items) = items {
            body.push_str("\"input\":[");
            body.push_str(items);
            body.push_str("],");
        }
        body.push_str("\"stream\":true}");
        Bytes::from(body)
    }

    /// The events of a response that was prepared and not generated.
    pub fn prepared(&self, id: &str, created_s: i64) -> [Value; 2] {
        let echo = |name: &str, otherwise: Value| match raw(&self.fields, name) {
            Some(value) => serde_json::from_str(value).unwrap_or(otherwise),
            None => otherwise,
        };
        let response = |status: &str| {
            json!({
                "id": id, "object": "response", "created_at": created_s, "status": status,
                "error": null, "incomplete_details": null,
                "instructions": echo("instructions", Value::Null),
                "metadata": echo("metadata", json!({})),
                "model": echo("model", Value::Null),
                "output": [],
                "parallel_tool_calls": echo("parallel_tool_calls", Value::Bool(true)),
                "previous_response_id": self.previous,
                "store": self.is_stored,
                "temperature": echo("temperature", Value::Null),
                "tool_choice": echo("tool_choice", "auto".into()),
                "tools": echo("tools", json!([])),
                "top_p": echo("top_p", Value::Null),
            })
        };
        [("response.created", "in_progress"), ("response.completed", "completed")].map(
            |(event, status)| {
                let number = u8::from(status == "completed");
                json!({"type": event, "sequence_number": number, "response": response(status)})
            },
        )
    }
}

impl Refusal {
    /// An error of ours.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let (kind, message) = (kind_of(status), message.into());
        let error = json!({"type": kind, "code": code, "message": message, "param": null});
        Self { status, error: error.as_object().cloned().unwrap_or_default() }
    }

    /// The same, naming the field that is wrong.
    pub fn at(mut self, param: &str) -> Self {
        self.error.insert("param".to_owned(), param.into());
        self
    }

    /// What a plain request would have been answered with.
    pub fn of(dialect: &dyn Dialect, error: &Error) -> Self {
        let body = dialect.error_body(error.status(), &ProviderError::from(error));
        let mut refusal = Self::told(error.status(), &HeaderMap::new(), &body);
        if body.is_empty() {
            refusal.error.insert("message".to_owned(), error.detail.clone().into());
        }
        if refusal.error.get("code").is_none_or(Value::is_null) {
            refusal.error.insert("code".to_owned(), error.code().into());
        }
        refusal
    }

    /// A refusal as it came over HTTP.
    pub fn told(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let told = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let said = match told.get("error") {
            Some(Value::Object(error)) => error.clone(),
            Some(Value::String(message)) => {
                Map::from_iter([("message".into(), message.clone().into())])
            }
            _ => Map::new(),
        };
        let what = format!("the provider answered with status {status}");
        let mut refusal = Self::new(status, "", what);
        refusal.error.insert("code".to_owned(), Value::Null);
        for (name, value) in said {
            if !(value.is_null() && refusal.error.contains_key(&name)) {
                refusal.error.insert(name, value);
            }
        }
        let mut known = Map::new();
        for name in TOLD_HEADERS {
            if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
                known.insert(name.to_owned(), value.into());
            }
        }
        if !known.is_empty() {
            refusal.error.insert("headers".to_owned(), known.into());
        }
        refusal
    }

    /// The message.
    pub fn message(&self, lane: Option<&str>) -> String {
        let error = json!({"type": "error", "status": self.status, "error": self.error});
        on_lane(lane, error.to_string())
    }
}

/// An error that a plain stream tells flat, as a socket tells it.
pub fn nested_error(data: &str) -> Option<String> {
    let Ok(Value::Object(mut event)) = serde_json::from_str(data) else { return None };
    if event.get("error").is_some_and(Value::is_object) {
        return None;
    }
    let mut take = |name: &str| event.remove(name).unwrap_or_default();
    let (code, message, param) = (take("code"), take("message"), take("param"));
    let message = if message.is_null() { "the answer broke off".into() } else { message };
    let error = json!({"type": kind_of(500), "code": code, "message": message, "param": param});
    event.insert("error".to_owned(), error);
    Some(Value::Object(event).to_string())
}

/// What to say to a client that wants to add to a response under way.
pub fn steer_failed(steer: &Value) -> String {
    let message = "understudy cannot add input to a response: send it with the next one";
    let error = json!({
        "type": kind_of(400), "code": "steering_not_supported", "message": message,
    });
    let input = steer.get("input").cloned().unwrap_or_default();
    let id = steer.get("previous_response_id").cloned().unwrap_or_default();
    let steer = json!({"input": input, "previous_response_id": id});
    json!({"type": "response.steer.failed", "sequence_number": 0, "error": error, "steer": steer})
        .to_string()
}

/// The event with the lane it belongs to, if it was sent on one.
pub fn on_lane(lane: Option<&str>, data: String) -> String {
    let Some((lane, rest)) = lane.zip(data.trim_start().strip_prefix('{')) else { return data };
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{{\"stream_id\":{}{comma}{rest}", Value::from(lane))
}

fn lane(fields: &[(String, Box<RawValue>)]) -> Result<Option<String>, Refusal> {
    let lane = string(fields, "stream_id").ok();
    let fits = |lane: &String| !lane.is_empty() && lane.len() <= MAX_LANE;
    match lane {
        Some(lane) if lane.iter().all(fits) => Ok(lane),
        _ => {
            let what = format!("\"stream_id\" must be a string of 1 to {MAX_LANE} bytes");
            Err(Refusal::new(400, "invalid_stream_id", what).at("stream_id"))
        }
    }
}

fn kind_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// The last field of a name, as JSON readers commonly take it.
fn raw<'f>(fields: &'f [(String, Box<RawValue>)], name: &str) -> Option<&'f str> {
    fields.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.get())
}

fn string(fields: &[(String, Box<RawValue>)], name: &str) -> Result<Option<String>, Refusal> {
    typed(fields, name, "a string")
}

fn boolean(fields: &[(String, Box<RawValue>)], name: &str) -> Result<Option<bool>, Refusal> {
    typed(fields, name, "true or false")
}

fn typed<T: for<'de> Deserialize<'de>>(
    fields: &[(String, Box<RawValue>)],
    name: &str,
    expected: &str,
) -> Result<Option<T>, Refusal> {
    let Some(value) = raw(fields, name) else { return Ok(None) };
    serde_json::from_str(value).map_err(|_| {
        Refusal::new(400, "invalid_type", format!("\"{name}\" must be {expected}")).at(name)
    })
}

/// The fields of an object in their order, their values as they were written.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}
