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
use crate::manifest::splice::Edit;
use crate::sidecar;
use crate::sidecar::Operation;
use crate::sidecar::Settings;

/// The largest file read, bytes.
const MAX_BYTES: usize = 16 << 20;

/// A file with the sidecar in its workloads.
pub struct Injected {
    /// What whoever wrote it ought to know, a sentence each.
    pub warnings: Vec<String>,
    before: String,
    found: Vec<Found>,
}

/// A document, what is added to it, and what it is then.
struct Found {
    document: Document,
    patch: Vec<Operation>,
    value: Value,
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
    let mut injected =
        Injected { warnings: Vec::new(), before: text.to_owned(), found: Vec::new() };
    for document in node::read(text)? {
        injected.found.push(Found::new(document, settings, &mut injected.warnings)?);
    }
    Ok(injected)
}

impl Injected {
    /// What its documents are now.
    pub fn documents(&self) -> Vec<Value> {
        self.found.iter().map(|found| found.value.clone()).collect()
    }

    /// The file as it is now: the same text apart from what was added. A document whose layout
    /// takes no additions is written anew, and a note says so.
    ///
    /// # Errors
    /// No document can be written in the place of one of these.
    pub fn text(&self) -> Result<(String, Vec<String>)> {
        let all: Option<Vec<_>> = self.found.iter().map(|one| self.edits(one)).collect();
        let added = all.map(|all| splice::apply(&self.before, all.concat()));
        if let Some(added) = added.filter(|added| self.is_said_by(added)) {
            return Ok((added, Vec::new()));
        }
        let (mut edits, mut notes) = (Vec::new(), Vec::new());
        for (index, one) in self.found.iter().enumerate() {
            let added = self.edits(one).filter(|edits| self.is_said(index, edits, &one.value));
            edits.extend(added.unwrap_or_else(|| {
                let what = "is written anew, without its comments, because of how it is laid out";
                notes.push(format!("document {} {what}", index + 1));
                vec![splice::rewrite(&self.before, &one.document, &one.value)]
            }));
        }
        let rewritten = splice::apply(&self.before, edits);
        match self.is_said_by(&rewritten) {
            true => Ok((rewritten, notes)),
            false => {
                let what = "nothing can be added to a file that is laid out like this: \
                            ask for -o yaml";
                Err(Error::new(Kind::BadRequest, what))
            }
        }
    }

    fn edits(&self, one: &Found) -> Option<Vec<Edit>> {
        splice::edits(&self.before, &one.document, &one.patch)
    }

    /// Whether a text, read again, says what it should.
    fn is_said_by(&self, text: &str) -> bool {
        let read = node::read(text).unwrap_or_default();
        let wanted = self.found.iter().map(|found| &found.value);
        read.len() == self.found.len()
            && read.iter().zip(wanted).all(|(read, wanted)| read.root.value() == *wanted)
    }

    /// Whether one document does, with these edits alone.
    fn is_said(&self, index: usize, edits: &[Edit], wanted: &Value) -> bool {
        let text = splice::apply(&self.before, edits.to_vec());
        let read = node::read(&text).unwrap_or_default();
        read.get(index).is_some_and(|read| read.root.value() == *wanted)
    }
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
                let why = "it belongs on the pod template";
                format!("{name}: annotation {annotation} is ignored: {why}")
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
