//! What single values may look like: shares, durations, sizes, names, targets.

use serde_json::Value;
use serde_json::json;

use crate::provider::table::PROVIDERS;

/// Text; YAML reads a bare number or `true` as something else, which is taken as well.
pub fn text() -> Value {
    json!({"type": ["string", "number", "boolean"], "minLength": 1})
}

/// A name that is safe in paths, headers and metrics.
pub fn name() -> Value {
    json!({"type": ["string", "number"], "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"})
}

/// The name of a header.
pub fn header() -> Value {
    json!({"type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"})
}

/// A JSON pointer to something inside the body.
pub fn pointer() -> Value {
    json!({"type": "string", "pattern": POINTER})
}

/// Pointers as keys and as values.
pub const POINTER: &str = "^/([^~]|~0|~1)*$";

/// `provider/model`.
pub fn target() -> Value {
    let known: Vec<String> = PROVIDERS.iter().map(|row| format!("{}/MODEL", row.name)).collect();
    json!({"type": "string", "pattern": "^[^/\\s]+/\\S+$", "examples": known})
}

/// A percentage or a fraction.
pub fn share() -> Value {
    json!({
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1},
            {"type": "string", "pattern": "^(100(\\.0+)?|[0-9]{1,2}(\\.[0-9]+)?) ?%$"},
            {"type": "string", "pattern": "^(0?\\.[0-9]+|0|1|1\\.0+)$"},
        ],
        "examples": ["20%", "0.5%", 0.2],
    })
}

/// A share of which something is meant: not 0.
pub fn some_share() -> Value {
    json!({"allOf": [share()], "not": {"enum": [0, "0", "0%", "0 %"]}})
}

/// A number and a unit.
pub fn duration() -> Value {
    json!({
        "type": "string",
        "pattern": "^([0-9]+(\\.[0-9]+)?|\\.[0-9]+) ?(ms|s|m|h|d)$",
        "examples": ["500ms", "5s", "10m", "24h", "7d"],
    })
}

/// A duration that may be 0.
pub fn duration_or_none() -> Value {
    json!({"anyOf": [duration(), {"enum": [0, "0"]}]})
}

/// Bytes, or a number and a unit.
pub fn size() -> Value {
    json!({
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$"},
        ],
        "examples": ["512MiB", "1GiB", 1_048_576],
    })
}

/// A whole number.
pub fn count(least: u64, most: u64, usual: Option<u64>) -> Value {
    let mut schema = json!({"type": "integer", "minimum": least, "maximum": most});
    if let Some(usual) = usual {
        schema["default"] = usual.into();
    }
    schema
}

/// A number above a bound.
pub fn above(bound: f64) -> Value {
    json!({"type": "number", "exclusiveMinimum": bound})
}

/// `true` or `false`.
pub fn boolean(usual: bool) -> Value {
    json!({"type": "boolean", "default": usual})
}
