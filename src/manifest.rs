//! Files of Kubernetes objects: read, given the sidecar, and left as they were everywhere else.

mod node;
mod scalar;
mod splice;
mod workload;
mod write;

use serde_json::Value;
use serde_json::json;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::manifest::node::Document;
use crate::sidecar;
use crate::sidecar::Operation;
use crate::sidecar::Settings;

/// The largest file read, bytes.
const MAX_BYTES: usize = 16 << 20;

/// A file with the sidecar in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Injected {
    /// The file as it is now: the same text apart from what was added.
    pub text: String,
    /// What its documents are now.
    pub documents: Vec<Value>,
    /// What whoever wrote it ought to know, a sentence each.
    pub warnings: Vec<String>,
}

/// Gives every workload of a file the sidecar; other objects, and workloads that have it or
/// refuse it, are left as they are.
///
/// # Errors
/// The text is not YAML, or a workload does not have the shape of one.
pub fn inject(text: &str, settings: &Settings) -> Result<Injected> {
    if text.len() > MAX_BYTES {
        let what = format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(Error::new(Kind::BadRequest, what));
    }
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    for document in node::read(text)? {
        found.push(Found::new(document, settings, &mut warnings)?);
    }
    let text = written(text, &found, &mut warnings)?;
    let documents = found.into_iter().map(|found| found.value).collect();
    Ok(Injected { text, documents, warnings })
}

/// A document, what is added to it, and what it is then.
struct Found {
    document: Document,
    patch: Vec<Operation>,
    value: Value,
}

impl Found {
    fn new(document: Document, settings: &Settings, warnings: &mut Vec<String>) -> Result<Self> {
        let mut value = document.root.value();
        let mut patch = Vec::new();
        for workload in workload::find(&value) {
            let name = &workload.name;
            let at = |error: Error| Error::new(error.kind, format!("{name}: {}", error.detail));
            let injection = sidecar::inject(workload.pod, settings).map_err(at)?;
            warnings.extend(workload.misplaced.iter().map(|annotation| {
                format!(
                    "{name}: annotation {annotation} is ignored: it belongs on the pod template"
                )
            }));
            warnings.extend(injection.warnings.iter().map(|what| format!("{name}: {what}")));
            patch.extend(injection.patch.into_iter().map(|Operation { path, value }| Operation {
                path: format!("{}{path}", workload.path),
                value,
            }));
        }
        sidecar::apply(&mut value, &patch);
        Ok(Self { document, patch, value })
    }
}

/// The text with what is added, which is read again to see that it says what it should.
fn written(text: &str, found: &[Found], warnings: &mut Vec<String>) -> Result<String> {
    let says_so = |text: &str| {
        let read = node::read(text).unwrap_or_default();
        let values = read.iter().map(|read| read.root.value());
        values.eq(found.iter().map(|found| found.value.clone()))
    };
    let edits = |one: &Found| splice::edits(text, &one.document, &one.patch);
    let all: Option<Vec<_>> = found.iter().map(edits).collect();
    let added = all.map(|all| splice::apply(text, all.concat()));
    if let Some(added) = added.filter(|added| says_so(added)) {
        return Ok(added);
    }
    let mut parts = Vec::new();
    for (index, one) in found.iter().enumerate() {
        parts.extend(
            edits(one).filter(|edits| is_said(text, index, edits, &one.value)).unwrap_or_else(
                || {
                    let what =
                        "is written anew, without its comments, because of how it is laid out";
                    warnings.push(format!("document {} {what}", index + 1));
                    vec![splice::rewrite(text, &one.document, &one.value)]
                },
            ),
        );
    }
    let rewritten = splice::apply(text, parts);
    match says_so(&rewritten) {
        true => Ok(rewritten),
        false => {
            let what = "nothing can be added to a file that is laid out like this: ask for -o yaml";
            Err(Error::new(Kind::BadRequest, what))
        }
    }
}

/// Whether a document says what it should, with these edits alone.
fn is_said(text: &str, index: usize, edits: &[splice::Edit], wanted: &Value) -> bool {
    let read = node::read(&splice::apply(text, edits.to_vec())).unwrap_or_default();
    read.get(index).is_some_and(|read| read.root.value() == *wanted)
}

/// The documents as YAML, each after its line.
pub fn yaml(documents: &[Value]) -> String {
    documents.iter().map(|one| write::block(one, 0)).collect::<Vec<_>>().join("---\n")
}

/// One document as it is, several as a list.
pub fn json(documents: &[Value]) -> Value {
    match documents {
        [one] => one.clone(),
        all => json!({ "apiVersion": "v1", "kind": "List", "items": all }),
    }
}
