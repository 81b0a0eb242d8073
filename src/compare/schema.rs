//! Whether a value keeps to a JSON Schema, as far as providers let schemas go.
//!
//! What is not known here asks for nothing: an answer is called invalid only if it surely is. A
//! full validator would bring a dozen packages, regular expressions and fetching by URL, for
//! keywords that no provider takes.

use serde_json::Map;
use serde_json::Value;

/// Steps that one check may take: a schema may refer to itself, in ways that double with each
/// level, and it is the application's.
const STEPS: u32 = 20_000;

/// How deep schemas may lead into each other.
const DEPTH: u32 = 64;

/// Whether `value` keeps to `schema`, or that is more than can be found out.
pub fn accepts(schema: &Value, value: &Value) -> bool {
    let mut check = Check { root: schema, left: STEPS };
    check.accepts(schema, value, 0) || check.left == 0
}

struct Check<'a> {
    root: &'a Value,
    left: u32,
}

impl<'a> Check<'a> {
    fn accepts(&mut self, schema: &'a Value, value: &Value, depth: u32) -> bool {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || depth > DEPTH {
            return true;
        }
        let rules = match schema {
            Value::Bool(all) => return *all,
            Value::Object(rules) => rules,
            _ => return true,
        };
        if value.is_null() && rules.get("nullable") == Some(&Value::Bool(true)) {
            return true;
        }
        rules.get("type").is_none_or(|types| is_of(types, value))
            && rules.get("const").is_none_or(|only| same(only, value))
            && listed(rules, "enum").is_none_or(|any| any.iter().any(|one| same(one, value)))
            && self.parts_fit(rules, value, depth + 1)
            && match value {
                Value::Object(fields) => self.fields_fit(rules, fields, depth + 1),
                Value::Array(items) => self.items_fit(rules, items, depth + 1),
                Value::Number(number) => in_range(rules, number.as_f64()),
                Value::String(text) => {
                    counted(rules, ["minLength", "maxLength"], text.chars().count())
                }
                Value::Null | Value::Bool(_) => true,
            }
    }

    /// The schemas that hold for the same value.
    fn parts_fit(&mut self, rules: &'a Map<String, Value>, value: &Value, depth: u32) -> bool {
        let root = self.root;
        let named = rules.get("$ref").and_then(Value::as_str).and_then(|at| at.strip_prefix('#'));
        let named = named.and_then(|at| root.pointer(at));
        named.is_none_or(|schema| self.accepts(schema, value, depth))
            && listed(rules, "allOf")
                .is_none_or(|all| all.iter().all(|one| self.accepts(one, value, depth)))
            && listed(rules, "anyOf")
                .is_none_or(|any| any.iter().any(|one| self.accepts(one, value, depth)))
            && listed(rules, "oneOf").is_none_or(|any| {
                any.iter().filter(|one| self.accepts(one, value, depth)).take(2).count() == 1
            })
    }

    fn fields_fit(
        &mut self,
        rules: &'a Map<String, Value>,
        fields: &Map<String, Value>,
        depth: u32,
    ) -> bool {
        let known = rules.get("properties").and_then(Value::as_object);
        let others = rules.get("additionalProperties");
        // A pattern may know the names that `properties` does not.
        let others = others.filter(|_| !rules.contains_key("patternProperties"));
        let mut required =
            listed(rules, "required").into_iter().flatten().filter_map(Value::as_str);
        required.all(|name| fields.contains_key(name))
            && fields.iter().all(|(name, value)| {
                let schema = known.and_then(|known| known.get(name)).or(others);
                schema.is_none_or(|schema| self.accepts(schema, value, depth))
            })
    }

    fn items_fit(&mut self, rules: &'a Map<String, Value>, items: &[Value], depth: u32) -> bool {
        let first = listed(rules, "prefixItems").unwrap_or(&[]);
        let rest = rules.get("items");
        counted(rules, ["minItems", "maxItems"], items.len())
            && items.iter().enumerate().all(|(index, item)| {
                let schema = first.get(index).or(rest);
                schema.is_none_or(|schema| self.accepts(schema, item, depth))
            })
    }
}

fn listed<'a>(rules: &'a Map<String, Value>, name: &str) -> Option<&'a [Value]> {
    rules.get(name).and_then(Value::as_array).map(Vec::as_slice)
}

/// Whether a value is of a type, or of one of several; Gemini writes them in capitals.
fn is_of(types: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        // 1.0 is an integer.
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    types.as_array().map_or_else(|| is(types), |any| any.iter().any(is))
}

/// Equal values; numbers are equal however they are written.
pub fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && a.as_f64() == b.as_f64())
}

fn in_range(rules: &Map<String, Value>, number: Option<f64>) -> bool {
    let bound = |name: &str| rules.get(name).and_then(Value::as_f64);
    let Some(number) = number else { return true };
    bound("minimum").is_none_or(|least| number >= least)
        && bound("maximum").is_none_or(|most| number <= most)
        && bound("exclusiveMinimum").is_none_or(|least| number > least)
        && bound("exclusiveMaximum").is_none_or(|most| number < most)
}

fn counted(rules: &Map<String, Value>, [least, most]: [&str; 2], count: usize) -> bool {
    let bound = |name: &str| rules.get(name).and_then(Value::as_u64);
    let count = count as u64;
    bound(least).is_none_or(|least| count >= least) && bound(most).is_none_or(|most| count <= most)
}

#[cfg(test)]
mod tests {
    use super::accepts;
    use serde_json::Value;
    use serde_json::json;

    fn check(schema: &Value, good: &[Value], bad: &[Value]) {
        for value in good {
            assert!(accepts(schema, value), "{schema} takes {value}");
        }
        for value in bad {
            assert!(!accepts(schema, value), "{schema} does not take {value}");
        }
    }

    #[test]
    fn each_keyword_takes_what_keeps_to_it_and_nothing_else() {
        for (schema, good, bad) in [
            (json!({ "type": "string" }), json!(["", "a"]), json!([1, null, {}])),
            (json!({ "type": "INTEGER" }), json!([1, -2, 3.0]), json!([1.5, "1"])),
            (json!({ "type": ["number", "null"] }), json!([1.5, null]), json!(["", true])),
            (json!({ "type": "string", "nullable": true }), json!(["", null]), json!([0])),
            (json!({ "enum": ["a", 1] }), json!(["a", 1, 1.0]), json!(["b", 2, null])),
            (json!({ "const": null }), json!([null]), json!([0, false])),
            (json!({ "minimum": 1, "exclusiveMaximum": 2 }), json!([1, 1.9, "x"]), json!([0.9, 2])),
            (json!({ "minLength": 2, "maxLength": 3 }), json!(["éé", 1]), json!(["é", "abcd"])),
            (
                json!({ "items": { "type": "null" }, "maxItems": 1 }),
                json!([[], [null]]),
                json!([[1], [null, null]]),
            ),
            (
                json!({ "prefixItems": [{ "type": "null" }], "items": false }),
                json!([[], [null]]),
                json!([[1], [null, 1]]),
            ),
            (json!({ "required": ["a"] }), json!([{ "a": 1 }, []]), json!([{}, { "b": 1 }])),
            (
                json!({ "properties": { "a": { "type": "null" } }, "additionalProperties": false }),
                json!([{}, { "a": null }]),
                json!([{ "a": 1 }, { "a": null, "b": 1 }]),
            ),
            (
                json!({ "additionalProperties": { "type": "null" } }),
                json!([{ "a": null }]),
                json!([{ "a": 1 }]),
            ),
            (
                json!({ "anyOf": [{ "type": "null" }, { "const": 1 }] }),
                json!([null, 1]),
                json!([2]),
            ),
            (json!({ "oneOf": [{ "minimum": 1 }, { "maximum": 1 }] }), json!([0, 2]), json!([1])),
            (json!({ "allOf": [{ "minimum": 1 }, { "maximum": 1 }] }), json!([1]), json!([0, 2])),
            (json!(false), json!([]), json!([1])),
            (json!({ "unheard-of": true, "pattern": "^a" }), json!(["b", 1]), json!([])),
        ] {
            check(&schema, good.as_array().unwrap(), bad.as_array().unwrap());
        }
    }

    #[test]
    fn a_schema_may_refer_to_itself() {
        let schema = json!({
            "$ref": "#/$defs/node",
            "$defs": { "node": {
                "type": "object", "required": ["next"],
                "properties": { "next": { "anyOf": [
                    { "type": "null" }, { "$ref": "#/$defs/node" }] } },
            } },
        });
        let good = json!({ "next": { "next": { "next": null } } });
        check(&schema, &[good], &[json!({ "next": { "next": {} } }), json!({})]);
    }

    #[test]
    fn a_schema_that_leads_nowhere_ends_and_blames_nobody() {
        let endless = json!({ "$ref": "#" });
        let doubling = json!({ "allOf": [{ "$ref": "#" }, { "$ref": "#" }] });
        for schema in [endless, doubling] {
            assert!(accepts(&schema, &json!({})), "{schema}");
        }
    }
}
