//! The files as JSON Schema (2020-12), for editors: made from the tables that the readers use.

mod kind;
mod experiment;
mod secret;
mod sentinel;
mod settings;

use serde_json::Value;
use serde_json::json;

/// What describes itself.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of an experiment.
pub fn experiment() -> Value {
    document("An experiment of understudy", experiment::whole())
}

/// The schema of a sentinel.
pub fn sentinel() -> Value {
    document("A sentinel of understudy", sentinel::whole())
}

/// The schema of understudy.yaml.
pub fn settings() -> Value {
    document("The configuration of understudy", settings::whole())
}

fn document(title: &str, mut schema: Value) -> Value {
    schema["$schema"] = DRAFT.into();
    schema["title"] = title.into();
    schema
}

/// One key of a section: its name, what it is for, and what it may hold.
type Field = (&'static str, &'static str, Value);

/// What stands under `$defs`.
fn defined(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

/// A map of known keys, some of which have to be there.
fn section(fields: Vec<Field>, required: &[&str]) -> Value {
    let describe = |(name, description, mut schema): Field| {
        schema["description"] = description.into();
        (name.to_owned(), schema)
    };
    let properties: serde_json::Map<_, _> = fields.into_iter().map(describe).collect();
    // Nothing is an empty map, unless something has to be in it.
    let kinds = if required.is_empty() { json!(["object", "null"]) } else { json!("object") };
    json!({
        "type": kinds,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// A map whose keys the file chooses.
fn map(values: &Value) -> Value {
    json!({"type": ["object", "null"], "additionalProperties": values})
}

fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

/// The names of a table.
fn names<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}

/// One of a table's names.
fn choice<T>(table: &[(&'static str, T)]) -> Value {
    json!({"enum": names(table)})
}
