//! A validator of the part of JSON Schema (2020-12) that the published schemas use, and no other.

use regex_automata::Anchored;
use regex_automata::Input;
use regex_automata::dfa::Automaton;
use regex_automata::dfa::dense::DFA;
use serde_json::Value;

/// Keywords that only tell people something.
const TOLD: [&str; 7] =
    ["$defs", "$schema", "title", "description", "default", "examples", "deprecated"];

/// Why a document does not satisfy a schema; `None` when it does.
///
/// A keyword that is not known here ends the test, so that nothing is published unchecked.
pub fn wrong(schema: &Value, document: &Value) -> Option<String> {
    below(schema, schema, document)
}

/// What a reference stands for, in the schema `root`.
pub fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(place) => root.pointer(place.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

fn below(root: &Value, schema: &Value, document: &Value) -> Option<String> {
    let keywords = match resolved(root, schema) {
        Value::Bool(true) => return None,
        Value::Bool(false) => return Some(format!("nothing is allowed here: {document}")),
        Value::Object(keywords) => keywords,
        other => panic!("not a schema: {other}"),
    };
    keywords.iter().find_map(|(keyword, value)| {
        let wrong = one(root, keywords, keyword, value, document)?;
        Some(format!("{keyword}: {wrong}"))
    })
}

fn one(
    root: &Value,
    schema: &serde_json::Map<String, Value>,
    keyword: &str,
    value: &Value,
    document: &Value,
) -> Option<String> {
    let wrong = |schema: &Value, document: &Value| below(root, schema, document);
    let fails = |is_good: bool| (!is_good).then(|| format!("{document} against {value}"));
    let list = || value.as_array().unwrap();
    let count = |document: Option<usize>, is_good: fn(usize, usize) -> bool| {
        let limit = usize::try_from(value.as_u64().unwrap()).unwrap();
        fails(document.is_none_or(|count| is_good(count, limit)))
    };
    let number = |is_good: fn(f64, f64) -> bool| {
        let limit = value.as_f64().unwrap();
        fails(document.as_f64().is_none_or(|number| is_good(number, limit)))
    };
    let (fields, items) = (document.as_object(), document.as_array());
    match keyword {
        "type" => {
            let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            fails(names.iter().any(|name| is_of(name.as_str().unwrap(), document)))
        }
        "enum" => fails(list().contains(document)),
        "const" => fails(value == document),
        "pattern" => fails(document.as_str().is_none_or(|text| matches(value, text))),
        "minLength" => count(document.as_str().map(str::len), |count, least| count >= least),
        "maxLength" => count(document.as_str().map(str::len), |count, most| count <= most),
        "minimum" => number(|number, least| number >= least),
        "maximum" => number(|number, most| number <= most),
        "exclusiveMinimum" => number(|number, bound| number > bound),
        "minItems" => count(items.map(Vec::len), |count, least| count >= least),
        "maxItems" => count(items.map(Vec::len), |count, most| count <= most),
        "uniqueItems" => fails(items.is_none_or(|items| {
            items.iter().enumerate().all(|(at, item)| !items[..at].contains(item))
        })),
        "items" => items?.iter().find_map(|item| wrong(value, item)),
        "minProperties" => count(fields.map(serde_json::Map::len), |count, least| count >= least),
        "maxProperties" => count(fields.map(serde_json::Map::len), |count, most| count <= most),
        "required" => list().iter().find_map(|name| {
            fails(fields.is_none_or(|fields| fields.contains_key(name.as_str().unwrap())))
        }),
        "properties" => fields?.iter().find_map(|(name, inner)| wrong(value.get(name)?, inner)),
        "propertyNames" => {
            fields?.keys().find_map(|name| wrong(value, &Value::from(name.as_str())))
        }
        "additionalProperties" => fields?.iter().find_map(|(name, inner)| {
            let is_known = schema.get("properties").is_some_and(|known| known.get(name).is_some());
            let wrong = wrong(value, inner).filter(|_| !is_known)?;
            Some(format!("{name}: {wrong}"))
        }),
        "allOf" => list().iter().find_map(|branch| wrong(branch, document)),
        "anyOf" => fails(list().iter().any(|branch| wrong(branch, document).is_none())),
        "oneOf" => {
            fails(list().iter().filter(|branch| wrong(branch, document).is_none()).count() == 1)
        }
        "not" => fails(wrong(value, document).is_some()),
        told if TOLD.contains(&told) => None,
        other => panic!("the keyword {other} is not checked"),
    }
}

fn is_of(name: &str, document: &Value) -> bool {
    match name {
        "object" => document.is_object(),
        "array" => document.is_array(),
        "string" => document.is_string(),
        "boolean" => document.is_boolean(),
        "null" => document.is_null(),
        "number" => document.is_number(),
        "integer" => document.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("no such type: {other}"),
    }
}

fn matches(pattern: &Value, text: &str) -> bool {
    let dfa = DFA::new(pattern.as_str().unwrap()).unwrap();
    dfa.try_search_fwd(&Input::new(text).anchored(Anchored::No)).unwrap().is_some()
}
