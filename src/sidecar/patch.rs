//! JSON patches (RFC 6902) of additions only, so that nothing of anybody else's is lost.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

/// An addition; to a member that exists it is a new value (RFC 6902, section 4.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename = "add")]
pub struct Operation {
    /// Where, as a JSON pointer (RFC 6901).
    pub path: String,
    /// What.
    pub value: Value,
}

/// A patch that is being made.
#[derive(Debug, Default)]
pub struct Additions {
    operations: Vec<Operation>,
}

impl Additions {
    /// Adds one value.
    pub fn add(&mut self, path: &str, value: Value) {
        self.operations.push(Operation { path: path.to_owned(), value });
    }

    /// Puts a value at the front of a list, which is made where there is none.
    pub fn insert(&mut self, path: &str, list: Option<&Vec<Value>>, value: Value) {
        match list {
            Some(_) => self.add(&format!("{path}/0"), value),
            None => self.add(path, Value::Array(vec![value])),
        }
    }

    /// Puts values at the end of a list, which is made where there is none.
    pub fn append(&mut self, path: &str, list: Option<&Vec<Value>>, values: Vec<Value>) {
        if values.is_empty() {
            return;
        }
        match list {
            Some(_) => values.into_iter().for_each(|value| self.add(&format!("{path}/-"), value)),
            None => self.add(path, Value::Array(values)),
        }
    }

    /// Sets a member of an object, which is made where there is none.
    pub fn member(&mut self, path: &str, object: Option<&Value>, name: &str, value: Value) {
        match object {
            Some(Value::Object(_)) => self.add(&format!("{path}/{}", escaped(name)), value),
            _ => self.add(path, Value::Object(Map::from_iter([(name.to_owned(), value)]))),
        }
    }

    /// The patch.
    pub fn done(self) -> Vec<Operation> {
        self.operations
    }
}

/// A name as a part of a pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Does what a patch says; an operation whose place does not exist is passed over.
pub fn apply(document: &mut Value, patch: &[Operation]) {
    for operation in patch {
        add(document, operation);
    }
}

fn add(document: &mut Value, operation: &Operation) {
    let Some((parent, last)) = operation.path.rsplit_once('/') else { return };
    let value = operation.value.clone();
    match document.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.insert(last.replace("~1", "/").replace("~0", "~"), value);
        }
        Some(Value::Array(items)) => match last {
            "-" => items.push(value),
            index => {
                if let Ok(at) = index.parse::<usize>()
                    && at <= items.len()
                {
                    items.insert(at, value);
                }
            }
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Additions;
    use super::Operation;
    use super::apply;

    #[test]
    fn what_is_missing_is_made_and_what_is_there_stays() {
        let mut document = json!({ "list": [1], "map": { "a/b": 1 }, "null": null });
        let mut additions = Additions::default();
        additions.insert("/list", document["list"].as_array(), json!(0));
        additions.append("/list", document["list"].as_array(), vec![json!(2), json!(3)]);
        additions.append("/new", None, vec![json!("x")]);
        additions.append("/never", None, vec![]);
        additions.insert("/front", None, json!("x"));
        additions.member("/map", document.get("map"), "c/d~", json!(2));
        additions.member("/null", document.get("null"), "e", json!(3));
        apply(&mut document, &additions.done());
        let wanted = json!({
            "list": [0, 1, 2, 3], "map": { "a/b": 1, "c/d~": 2 }, "null": { "e": 3 },
            "new": ["x"], "front": ["x"],
        });
        assert_eq!(document, wanted);
    }

    #[test]
    fn an_operation_is_written_as_the_rfc_has_it() {
        let operation = Operation { path: "/a".to_owned(), value: json!([1]) };
        let written = json!({ "op": "add", "path": "/a", "value": [1] });
        assert_eq!(serde_json::to_value(&operation).unwrap(), written);
        assert_eq!(serde_json::from_value::<Operation>(written).unwrap(), operation);
    }

    #[test]
    fn a_place_that_does_not_exist_changes_nothing() {
        for path in ["", "x", "/a/b/c", "/list/7", "/list/x", "/text/x"] {
            let mut document = json!({ "list": [1], "text": "t" });
            apply(&mut document, &[Operation { path: path.to_owned(), value: json!(1) }]);
            assert_eq!(document, json!({ "list": [1], "text": "t" }), "{path}");
        }
    }
}
