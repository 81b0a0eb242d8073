//! Google's own dialect of schemas, read as JSON Schema.

use serde_json::Map;
use serde_json::Value;

/// Spellings of Google's where JSON Schema has another.
const NAMES: &[(&str, &str)] = &[
    ("additional_properties", "additionalProperties"),
    ("any_of", "anyOf"),
    ("defs", "$defs"),
    ("example", "example"),
    ("max_items", "maxItems"),
    ("max_length", "maxLength"),
    ("max_properties", "maxProperties"),
    ("min_items", "minItems"),
    ("min_length", "minLength"),
    ("min_properties", "minProperties"),
    ("property_ordering", "propertyOrdering"),
    ("ref", "$ref"),
];

/// Keywords that Google's JSON holds as quoted whole numbers.
const COUNTS: &[&str] =
    &["maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"];

/// The JSON Schema that says what `schema`, a `Schema` of Google's, says.
///
/// Types are lower case there, and `nullable` is a type beside the others. A JSON Schema stays as
/// it is, and so does every keyword that is not Google's.
pub fn to_json_schema(schema: Value) -> Value {
    let Value::Object(fields) = schema else { return schema };
    let mut out = Map::new();
    let mut nullable = false;
    for (key, value) in fields {
        let known = NAMES.iter().find(|(google, _)| *google == key);
        let key = known.map_or(key, |(_, standard)| (*standard).to_owned());
        match key.as_str() {
            "nullable" => nullable = value == Value::Bool(true),
            // As if the type were not said.
            "type" if value == "TYPE_UNSPECIFIED" => {}
            _ => {
                let value = keyword(&key, value);
                out.insert(key, value);
            }
        }
    }
    if nullable {
        allow_null(&mut out);
    }
    Value::Object(out)
}

fn keyword(key: &str, value: Value) -> Value {
    match (key, value) {
        ("type", Value::String(word)) => Value::String(word.to_ascii_lowercase()),
        ("items" | "additionalProperties", value) => to_json_schema(value),
        ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
            Value::Array(schemas.into_iter().map(to_json_schema).collect())
        }
        ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
            let inner = schemas.into_iter().map(|(name, schema)| (name, to_json_schema(schema)));
            Value::Object(inner.collect())
        }
        (key, Value::String(digits)) if COUNTS.contains(&key) => {
            digits.parse::<u64>().map_or(Value::String(digits), Value::from)
        }
        (_, value) => value,
    }
}

fn allow_null(schema: &mut Map<String, Value>) {
    let null = || Value::from("null");
    match schema.get_mut("type") {
        Some(Value::Array(types)) if !types.contains(&null()) => types.push(null()),
        Some(word @ Value::String(_)) if *word != null() => {
            *word = Value::Array(vec![word.take(), null()]);
        }
        Some(_) => {}
        None => {
            if let Some(Value::Array(schemas)) = schema.get_mut("anyOf") {
                schemas.push(serde_json::json!({"type": "null"}));
            }
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum")
        && !words.contains(&Value::Null)
    {
        words.push(Value::Null);
    }
}
