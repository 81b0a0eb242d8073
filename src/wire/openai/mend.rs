//! Brings a body with values of wrong types into a shape that can be read, at the cost of those.

use serde_json::Map;
use serde_json::Value;

/// What a field of an answer must hold to be read.
#[derive(Clone, Copy)]
enum Kind {
    Objects,
    Object,
    Count,
    Number,
}

/// The fields whose types are relied on; strings and raw pieces may hold anything.
const KINDS: &[(&str, Kind)] = &[
    ("audio", Kind::Object),
    ("cache_write_tokens", Kind::Count),
    ("cached_tokens", Kind::Count),
    ("choices", Kind::Objects),
    ("completion_tokens", Kind::Count),
    ("completion_tokens_details", Kind::Object),
    ("delta", Kind::Object),
    ("function", Kind::Object),
    ("function_call", Kind::Object),
    ("google", Kind::Object),
    ("index", Kind::Count),
    ("logprob", Kind::Number),
    ("logprobs", Kind::Object),
    ("message", Kind::Object),
    ("num_cached_tokens", Kind::Count),
    ("prompt_cache_hit_tokens", Kind::Count),
    ("prompt_tokens", Kind::Count),
    ("prompt_tokens_details", Kind::Object),
    ("reasoning_tokens", Kind::Count),
    ("tool_calls", Kind::Objects),
    ("top_logprobs", Kind::Objects),
    ("total_tokens", Kind::Count),
    ("usage", Kind::Object),
    ("x_groq", Kind::Object),
];

/// Removes what cannot be read; whole numbers written as fractions or strings are kept.
pub fn mend(fields: &mut Map<String, Value>) {
    fields.retain(|key, value| {
        let kind = KINDS.iter().find(|(known, _)| known == key).map(|(_, kind)| *kind);
        kind.is_none_or(|kind| fits(kind, value))
    });
    for value in fields.values_mut() {
        match value {
            Value::Object(inner) => mend(inner),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(mend),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn fits(kind: Kind, value: &mut Value) -> bool {
    match kind {
        Kind::Objects => {
            let Value::Array(items) = value else { return false };
            items.retain(Value::is_object);
            true
        }
        Kind::Object => value.is_object(),
        Kind::Number => value.is_number(),
        Kind::Count => {
            let count = count(value);
            *value = count.into();
            count.is_some()
        }
    }
}

/// At most what every index holds; more is no count of anything.
fn count(value: &Value) -> Option<u32> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        other => other.as_f64()?,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number))
        .then_some(number as u32)
}
