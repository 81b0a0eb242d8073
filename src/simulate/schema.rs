//! Makes up a value that satisfies a JSON schema: tool arguments and structured answers.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::chance;

/// Schemas nested deeper than this (recursive ones are) end in null.
const MAX_DEPTH: usize = 12;
const MAX_ITEMS: u64 = 32;
/// A wide recursive schema would grow without end; after so many values the rest is null.
const MAX_VALUES: usize = 2000;
const WORDS: [&str; 12] = [
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "island", "juniper",
    "lantern", "meadow",
];

/// A value with all required properties (or all properties, when none is required).
pub(super) fn example(schema: &Value, rng: &mut Rng) -> Value {
    Maker { root: schema, rng, left: MAX_VALUES }.value(schema, 0)
}

struct Maker<'a> {
    root: &'a Value,
    rng: &'a mut Rng,
    left: usize,
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        if depth > MAX_DEPTH || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
            let root = self.root;
            let target = to.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            return target.map_or(Value::Null, |target| self.value(target, depth + 1));
        }
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
            return chance::pick(self.rng, choices).cloned().unwrap_or_default();
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(options) = schema.get(key).and_then(Value::as_array) {
                let real = options.iter().find(|option| kind(option) != "null");
                return real.map_or(Value::Null, |option| self.value(option, depth + 1));
            }
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.all_of(schema, parts, depth);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => Value::String(self.string(schema)),
            "integer" => self.integer(schema),
            "number" => self.number(schema),
            "boolean" => Value::Bool(self.rng.bool()),
            _ => Value::Null,
        }
    }

    fn all_of(&mut self, schema: &Value, parts: &[Value], depth: usize) -> Value {
        let mut merged = match self.object(schema, depth) {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        for part in parts {
            match self.value(part, depth + 1) {
                Value::Object(more) => merged.extend(more),
                other => return other,
            }
        }
        Value::Object(merged)
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let nothing = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let required = schema.get("required").and_then(Value::as_array);
        let names: Vec<&str> = match required {
            Some(names) => names.iter().filter_map(Value::as_str).collect(),
            None => properties.keys().map(String::as_str).collect(),
        };
        let anything = json!({"type": "string"});
        let entry = |name: &&str| {
            let value = self.value(properties.get(*name).unwrap_or(&anything), depth + 1);
            ((*name).to_owned(), value)
        };
        Value::Object(names.iter().map(entry).collect())
    }

    fn array(&mut self, schema: &Value, depth: usize) -> Value {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1);
        let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(MAX_ITEMS);
        let anything = json!({"type": "string"});
        let item = schema.get("items").unwrap_or(&anything);
        let count = least.min(most).min(MAX_ITEMS);
        Value::Array((0..count).map(|_| self.value(item, depth + 1)).collect())
    }

    fn string(&mut self, schema: &Value) -> String {
        let word = chance::pick(self.rng, &WORDS).copied().unwrap_or_default();
        let number = self.rng.u32(1..28);
        let made = match schema.get("format").and_then(Value::as_str) {
            Some("date") => format!("2025-03-{number:02}"),
            Some("date-time") => format!("2025-03-{number:02}T09:30:00Z"),
            Some("time") => "09:30:00Z".to_owned(),
            Some("email") => format!("{word}@example.com"),
            Some("uri" | "url") => format!("https://example.com/{word}"),
            Some("uuid") => format!("{:08x}-0000-4000-8000-000000000000", self.rng.u32(..)),
            _ => word.to_owned(),
        };
        let limit =
            |key: &str| schema.get(key).and_then(Value::as_u64).map(|n| n.min(4096) as usize);
        let least = limit("minLength").unwrap_or(0);
        let most = limit("maxLength").unwrap_or(4096);
        let padded = made.chars().chain(std::iter::repeat('x'));
        padded.take(made.chars().count().max(least).min(most)).collect()
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let (least, most) = limits(schema, 1.0);
        let step = schema.get("multipleOf").and_then(Value::as_i64).unwrap_or(1).max(1);
        let (least, most) = (least.ceil() as i64, most.floor() as i64);
        let drawn = self.rng.i64(least..=most.max(least));
        let rounded = drawn.div_euclid(step).saturating_mul(step);
        json!(if rounded < least { rounded.saturating_add(step) } else { rounded })
    }

    fn number(&mut self, schema: &Value) -> Value {
        let (least, most) = limits(schema, 0.0);
        let drawn = least + (most - least) * self.rng.f64();
        let rounded = (drawn * 100.0).round() / 100.0;
        json!(if (least..=most).contains(&rounded) { rounded } else { drawn })
    }
}

/// The least and the greatest value; `step` keeps integers off an exclusive bound.
fn limits(schema: &Value, step: f64) -> (f64, f64) {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let least = bound("minimum").or(bound("exclusiveMinimum").map(|n| n + step));
    let most = bound("maximum").or(bound("exclusiveMaximum").map(|n| n - step));
    match (least, most) {
        (Some(least), Some(most)) => (least, most.max(least)),
        (Some(least), None) => (least, least + 99.0),
        (None, Some(most)) => (most - 99.0, most),
        (None, None) => (1.0, 100.0),
    }
}

fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::example;
    use serde_json::json;

    #[test]
    fn required_properties_are_there_and_keep_their_limits() {
        let schema = json!({
            "type": "object", "required": ["city", "days", "unit", "at", "tags", "who", "ratio"],
            "properties": {
                "city": {"type": "string", "minLength": 12},
                "days": {"type": "integer", "minimum": 3, "maximum": 10, "multipleOf": 5},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "at": {"$ref": "#/$defs/when"}, "skipped": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
                "who": {"anyOf": [{"type": "null"}, {"type": ["null", "string"]}]},
                "ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            },
            "$defs": {"when": {"type": "string", "format": "date"}},
        });
        for seed in 0..50 {
            let made = example(&schema, &mut fastrand::Rng::with_seed(seed));
            assert!(made["city"].as_str().unwrap().len() >= 12, "{made}");
            assert!(matches!(made["days"].as_i64(), Some(5 | 10)), "{made}");
            assert!(made["unit"] == "celsius" || made["unit"] == "kelvin", "{made}");
            assert!(made["at"].as_str().unwrap().starts_with("2025-03-"), "{made}");
            assert_eq!(made["tags"].as_array().unwrap().len(), 2, "{made}");
            assert!(made["who"].is_string() && made.get("skipped").is_none(), "{made}");
            assert!((0.0..=1.0).contains(&made["ratio"].as_f64().unwrap()), "{made}");
        }
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let again = json!({"$ref": "#"});
        let schema = json!({"properties": {"a": again, "b": again, "c": again, "d": again}});
        assert!(example(&schema, &mut fastrand::Rng::with_seed(1)).is_object());
    }
}
