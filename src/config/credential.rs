//! Reads `api_keys`: where each key comes from; no message ever shows one.

use std::io;
use std::path::Path;

use http::header::HeaderValue;
use secrecy::SecretString;

use super::problem::Pos;
use super::read::Reader;
use super::read::Wrong;
use super::read::quote;
use super::tree::Kind;
use super::tree::Node;
use super::value;

/// What keys may come from besides the file; the caller does the reading.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<String>,
}

const FORMS: &str = "write { env: NAME }, { file: PATH } or { value: KEY }";

/// The keys of a provider that can be used.
pub fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    outside: Outside<'_>,
) -> Vec<SecretString> {
    let Kind::List(nodes) = &node.kind else {
        let what = format!("`{path}` has to be a list, not {}", node.describe());
        reader.problem(node.start, what, "write for example [{ env: OPENAI_API_KEY }]");
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        keys.extend(credential(reader, node, &format!("{path}[{index}]"), outside));
    }
    keys
}

/// A key that nothing works without, so that a source without one is a problem.
pub fn needed(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    outside: Outside<'_>,
) -> Option<SecretString> {
    reader.hide(node);
    let env = node.get("env").and_then(|node| variable(node).ok());
    if let Some(name) =
        env.filter(|name| (outside.env)(name).is_none_or(|key| key.trim().is_empty()))
    {
        let what = format!("the environment variable {} is not set", quote(&name));
        reader.problem(node.start, what, "set it");
        return None;
    }
    credential(reader, node, path, outside)
}

/// The one key that a node says where to find.
pub fn credential(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    outside: Outside<'_>,
) -> Option<SecretString> {
    if matches!(&node.kind, Kind::Scalar { .. }) {
        let what = format!("`{path}` has to say where the key comes from");
        reader.problem(node.start, what, FORMS);
        return None;
    }
    let source = reader.section(node, path, |s| {
        let at = s.at;
        let env = s.take("env", variable).map(|name| from_env(s.reader, at, &name, outside));
        let file = s.take("file", value::text).map(|name| from_file(s.reader, at, &name, outside));
        let value = s.take("value", value::text).map(|key| usable(s.reader, at, "`value`", &key));
        let given = ["env", "file", "value"].iter().filter(|key| s.key_at(key).is_some()).count();
        if given != 1 {
            s.reader.problem(at, format!("`{path}` needs one source and has {given}"), FORMS);
        }
        env.or(file).or(value).flatten()
    });
    source.flatten()
}

/// The name of a variable; anything else may be a key put there by mistake and is not shown.
fn variable(node: &Node) -> Result<String, Wrong> {
    let name = value::text(node)?;
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_word && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(name);
    }
    let help = "write for example { env: OPENAI_API_KEY }, the name and not the key";
    Err(Wrong::new("has to be the name of an environment variable", help))
}

/// An unset variable is no error: the application may send its own key.
fn from_env(
    reader: &mut Reader<'_>,
    at: Pos,
    name: &str,
    outside: Outside<'_>,
) -> Option<SecretString> {
    match (outside.env)(name).filter(|key| !key.trim().is_empty()) {
        Some(key) => usable(reader, at, &format!("the environment variable {}", quote(name)), &key),
        None => {
            let what = format!("the environment variable {} is not set", quote(name));
            let help = "set it, or let applications send their own key";
            reader.warn(at, what, help);
            None
        }
    }
}

fn from_file(
    reader: &mut Reader<'_>,
    at: Pos,
    name: &str,
    outside: Outside<'_>,
) -> Option<SecretString> {
    match (outside.read_file)(Path::new(name)) {
        Ok(key) => usable(reader, at, &format!("the file {}", quote(name)), &key),
        Err(error) => {
            let what = format!("the file {} cannot be read: {}", quote(name), error.kind());
            reader.problem(at, what, "check the path and who may read it");
            None
        }
    }
}

fn usable(reader: &mut Reader<'_>, at: Pos, source: &str, key: &str) -> Option<SecretString> {
    let checked = checked(key);
    if checked.is_none() {
        let what = format!("{source} holds no key that a header can carry");
        reader.problem(at, what, "a key is printable ASCII on one line");
    }
    checked
}

/// The key without surrounding space, if a header can carry it.
pub fn checked(key: &str) -> Option<SecretString> {
    let key = key.trim();
    let is_sendable = !key.is_empty() && HeaderValue::from_str(key).is_ok();
    is_sendable.then(|| SecretString::from(key))
}
