//! What tells one conversation from another, in the same words for every dialect.

use serde_json::Value;

use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::wire::turn;

/// Where applications name a conversation, or else its user: what it is called here, a JSON
/// pointer into the body, and the first that holds a text wins.
pub const NAMES: &[(&str, &str)] = &[
    ("conversation", "/conversation/id"),
    ("conversation", "/conversation"),
    ("prompt_cache_key", "/prompt_cache_key"),
    ("conversation", "/metadata/conversation_id"),
    ("conversation", "/metadata/thread_id"),
    ("conversation", "/metadata/session_id"),
    ("user", "/user"),
    ("user", "/safety_identifier"),
    ("user", "/metadata/user_id"),
];

/// Hex digits of a digest that stands for what was said: 128 bits.
const DIGITS: usize = 32;

/// The name that stays when the conversation grows: what the application calls it, else the
/// response it follows, else a digest of its first turns.
pub fn of(request: &Request, body: &[u8]) -> String {
    let named = name(request).or_else(|| previous(request).map(|id| format!("response:{id}")));
    named.unwrap_or_else(|| match request.messages.as_slice() {
        // Nothing is said in a request for vectors, so each text is a conversation of its own.
        [] => digest("body", body),
        messages => digest("turns", turn::first_turns(messages).as_bytes()),
    })
}

/// The same of a body that only its provider can read.
pub fn of_unread(body: &[u8]) -> String {
    let fields: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = NAMES.iter().find_map(|(what, pointer)| given(what, fields.pointer(pointer)?));
    // What cannot be read here may well be refused, and until then stays together.
    name.unwrap_or_default()
}

/// What the application itself calls the conversation or its user.
pub fn name(request: &Request) -> Option<String> {
    NAMES.iter().find_map(|(what, pointer)| {
        let path = pointer.strip_prefix('/')?;
        let (field, inner) = path.split_once('/').map_or((path, None), |(f, i)| (f, Some(i)));
        let value = match field {
            "metadata" => request.metadata.as_ref(),
            // Also where a dialect has it among its labels.
            "user" => return said(what, request.end_user.as_deref()?),
            field => request.rest.get(field),
        };
        match inner {
            Some(inner) => given(what, value?.get(inner)?),
            None => given(what, value?),
        }
    })
}

/// The response that the request goes on from.
pub fn previous(request: &Request) -> Option<&str> {
    let id = request.rest.get("previous_response_id")?.as_str()?;
    (!id.is_empty()).then_some(id)
}

/// Whether the history names pieces that only the provider has which made them.
pub fn refers(request: &Request) -> bool {
    let mut parts = request.messages.iter().flat_map(|message| &message.parts);
    parts.any(|part| match &part.kind {
        PartKind::Own(own) => own.get("type").is_some_and(|kind| kind == "item_reference"),
        _ => false,
    })
}

fn given(what: &str, value: &Value) -> Option<String> {
    said(what, value.as_str()?)
}

fn said(what: &str, name: &str) -> Option<String> {
    (!name.is_empty()).then(|| format!("{what}:{name}"))
}

fn digest(what: &str, bytes: &[u8]) -> String {
    let hex = blake3::hash(bytes).to_hex();
    let digits: String = hex.chars().take(DIGITS).collect();
    format!("{what}:{digits}")
}
