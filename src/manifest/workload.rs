//! Where in an object of Kubernetes its pods are described.

use serde_json::Value;

use crate::sidecar::INJECT;
use crate::sidecar::PREFIX;

/// An object that makes pods.
pub struct Workload<'v> {
    /// Its kind and name, for people.
    pub name: String,
    /// The pointer to its pod, or to the template of its pods.
    pub path: String,
    /// That pod.
    pub pod: &'v Value,
    /// Wishes that stand on the object instead of its pods, where nobody reads them.
    pub misplaced: Vec<&'v str>,
}

/// Kinds with the groups they belong to, and where their pods are; anybody may define others of
/// the same name.
const KINDS: [(&str, &str, &str); 9] = [
    ("CronJob", "batch/", "/spec/jobTemplate/spec/template"),
    ("DaemonSet", "apps/", "/spec/template"),
    ("Deployment", "apps/", "/spec/template"),
    ("Job", "batch/", "/spec/template"),
    ("Pod", "v1", ""),
    ("PodTemplate", "v1", "/template"),
    ("ReplicaSet", "apps/", "/spec/template"),
    ("ReplicationController", "v1", "/spec/template"),
    ("StatefulSet", "apps/", "/spec/template"),
];

/// The workloads of a document: one, or those of a list, or none.
///
/// One that says no itself is left out, where its template need not say it again.
pub fn find(document: &Value) -> Vec<Workload<'_>> {
    let is_list = text(document, "/kind").is_some_and(|kind| kind.ends_with("List"));
    let Some(items) = document.get("items").and_then(Value::as_array).filter(|_| is_list) else {
        return one(document, "").into_iter().collect();
    };
    let items = items.iter().enumerate();
    items.filter_map(|(index, item)| one(item, &format!("/items/{index}"))).collect()
}

fn one<'v>(object: &'v Value, at: &str) -> Option<Workload<'v>> {
    let (kind, group) = (text(object, "/kind")?, text(object, "/apiVersion")?);
    let known = KINDS.iter().find(|row| row.0 == kind && group.starts_with(row.1));
    let (_, _, path) = known?;
    let says_no = |within: &str| {
        let said = object.pointer(&format!("/metadata/{within}")).and_then(|all| all.get(INJECT));
        said.and_then(Value::as_str) == Some("false")
    };
    if says_no("labels") || says_no("annotations") {
        return None;
    }
    let pod = object.pointer(path).unwrap_or(&Value::Null);
    let named = text(object, "/metadata/name").or_else(|| text(object, "/metadata/generateName"));
    let name = format!("{kind} {}", named.unwrap_or("without a name"));
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let names = annotations.into_iter().flatten().map(|(name, _)| name.as_str());
    let misplaced = names.filter(|name| name.starts_with(PREFIX) && !path.is_empty());
    let misplaced = misplaced.filter(|name| *name != INJECT).collect();
    Some(Workload { name, path: format!("{at}{path}"), pod, misplaced })
}

fn text<'v>(object: &'v Value, path: &str) -> Option<&'v str> {
    object.pointer(path).and_then(Value::as_str)
}
