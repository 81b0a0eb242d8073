//! Reads `api_keys`: where each key comes from; no message ever shows one.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use http::header::HeaderValue;
use secrecy::SecretString;

use super::problem::Pos;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::quote;
use super::stores::Stores;
use super::tree::Kind;
use super::tree::Node;
use super::value;

/// The most that a key may weigh.
pub const MAX_WEIGHT: u64 = 1000;

/// A key of a pool: where it comes from, and its share of the requests.
#[derive(Clone, Debug)]
pub struct KeySource {
    /// Where it comes from.
    pub place: Place,
    /// Relative to the others of its pool; at least 1.
    pub weight: u32,
    /// The key, where reading the configuration found it already.
    pub key: Option<SecretString>,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It stands in the configuration itself.
    Value,
    /// An environment variable.
    Env(String),
    /// A file, read again when its content changes.
    File(PathBuf),
    /// A field of a secret in Vault or OpenBao, key-value engine version 2.
    Vault {
        /// As the API has it: the mount, `data`, and the path.
        path: String,
        /// The field.
        field: String,
    },
    /// A secret in AWS Secrets Manager.
    Aws {
        /// Its name or ARN.
        secret: String,
        /// The field, where it is a JSON object; without one the whole text is the key.
        field: Option<String>,
        /// Where it is.
        region: String,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value => f.write_str("the configuration"),
            Self::Env(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Vault { path, field } => write!(f, "vault: {path}#{field}"),
            Self::Aws { secret, field: Some(field), .. } => write!(f, "aws: {secret}#{field}"),
            Self::Aws { secret, field: None, .. } => write!(f, "aws: {secret}"),
        }
    }
}

impl KeySource {
    /// A key that is at hand.
    pub fn value(key: SecretString) -> Self {
        Self { place: Place::Value, weight: 1, key: Some(key) }
    }

    /// Whether the key may change while the process runs.
    pub fn is_live(&self) -> bool {
        matches!(self.place, Place::File(_) | Place::Vault { .. } | Place::Aws { .. })
    }
}

/// What keys may come from besides the file; the caller does the reading.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<String>,
    /// How stores of secrets are reached.
    pub stores: &'a Stores,
}

const FORMS: &str =
    "write { env: NAME }, { file: PATH }, { value: KEY }, { vault: … } or { aws: … }";
const PLAIN_FORMS: &str = "write { env: NAME }, { file: PATH } or { value: KEY }";
/// Where keys come from, those first that are at hand when the configuration is read.
const SOURCES: [&str; 5] = ["env", "file", "value", "vault", "aws"];
const PLAIN: usize = 3;

/// The keys of a provider that can be used, or may be once their store has given them.
pub fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    outside: Outside<'_>,
) -> Vec<KeySource> {
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
    at_hand(reader, node, path, outside)
}

/// A key that has to be known from the start, so that no store is asked for it.
pub fn at_hand(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    outside: Outside<'_>,
) -> Option<SecretString> {
    let found = source(reader, node, path, PLAIN_FORMS, |s| {
        let key = plain(s, outside).map(|(_, key)| key);
        (key, &SOURCES[..PLAIN])
    });
    found.flatten()
}

fn credential(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    outside: Outside<'_>,
) -> Option<KeySource> {
    let found = source(reader, node, path, FORMS, |s| {
        let weight = s.take("weight", value::count(1, MAX_WEIGHT)).unwrap_or(1) as u32;
        let at_hand = plain(s, outside);
        let at_hand = at_hand.map(|(place, key)| KeySource { place, weight, key: Some(key) });
        let store = vault(s, outside.stores).or(aws(s, outside.stores));
        let store = store.map(|place| KeySource { place, weight, key: None });
        (at_hand.or(store), &SOURCES[..])
    });
    found.flatten()
}

/// What `take` finds in a section that holds exactly one of the sources that it names.
fn source<T>(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    forms: &str,
    take: impl FnOnce(&mut Section<'_, '_, '_>) -> (T, &'static [&'static str]),
) -> Option<T> {
    if matches!(&node.kind, Kind::Scalar { .. }) {
        let what = format!("`{path}` has to say where the key comes from");
        reader.problem(node.start, what, forms);
        return None;
    }
    reader.section(node, path, |s| {
        let (found, sources) = take(s);
        let given = sources.iter().filter(|key| s.key_at(key).is_some()).count();
        if given != 1 {
            s.reader.problem(s.at, format!("`{path}` needs one source and has {given}"), forms);
        }
        found
    })
}

/// A key that is at hand, and where.
fn plain(s: &mut Section<'_, '_, '_>, outside: Outside<'_>) -> Option<(Place, SecretString)> {
    let at = s.at;
    let env = s.take("env", variable).and_then(|name| {
        let key = from_env(s.reader, at, &name, outside)?;
        Some((Place::Env(name), key))
    });
    let file = s.take("file", value::text).and_then(|name| {
        let key = from_file(s.reader, at, &name, outside)?;
        Some((Place::File(PathBuf::from(name)), key))
    });
    let value = s.take("value", value::text).and_then(|key| {
        let key = usable(s.reader, at, "`value`", &key)?;
        Some((Place::Value, key))
    });
    env.or(file).or(value)
}

/// A field of a secret in Vault.
fn vault(s: &mut Section<'_, '_, '_>, stores: &Stores) -> Option<Place> {
    let place = s.section("vault", |s| {
        s.need("path", "write for example path: secret/data/llm");
        s.need("field", "write for example field: api_key");
        let (path, field) = (s.take("path", vault_path), s.take("field", value::text));
        Some(Place::Vault { path: path?, field: field? })
    });
    let at = s.key_at("vault")?;
    if stores.vault.is_none() {
        let help = "write for example secrets: { vault: { address: https://vault:8200 } }, or set \
                    VAULT_ADDR";
        s.reader.problem(at, "nothing says where Vault is", help);
    }
    place.flatten()
}

/// The API's path: mount, `data`, path.
fn vault_path(node: &Node) -> Result<String, Wrong> {
    let text = value::text(node)?;
    let path = text.trim_matches('/');
    let is_plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"?#%\\".contains(&b));
    let is_whole = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_plain && is_whole && path.split('/').skip(1).any(|part| part == "data") {
        return Ok(path.to_owned());
    }
    let help = "write for example secret/data/llm: the mount, `data`, and the path of the secret";
    Err(Wrong::new("has to be a path of the key-value engine, version 2", help))
}

/// A secret of AWS Secrets Manager.
fn aws(s: &mut Section<'_, '_, '_>, stores: &Stores) -> Option<Place> {
    let place = s.section("aws", |s| {
        s.need("secret", "write for example secret: prod/llm");
        let secret = s.take("secret", value::text);
        let field = s.take("field", value::text);
        let region = s.take("region", super::place::part);
        let secret = secret?;
        // arn:aws:secretsmanager:eu-central-1:123456789012:secret:name
        let of_arn = || Some(secret.strip_prefix("arn:")?.split(':').nth(2)?.to_owned());
        let region = region.or_else(of_arn).or_else(|| stores.aws.region.clone());
        if region.is_none() && s.key_at("region").is_none() {
            s.need("region", "write for example region: eu-central-1, or set AWS_REGION");
        }
        Some(Place::Aws { secret: secret.clone(), field, region: region? })
    });
    if let (Some(at), None) = (s.key_at("aws"), &stores.aws.login) {
        let what = "the environment has no AWS credentials";
        let help = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role (IRSA or \
                    EKS Pod Identity)";
        s.reader.warn(at, what, help);
    }
    place.flatten()
}

/// The name of a variable; anything else may be a key put there by mistake and is not shown.
pub fn variable(node: &Node) -> Result<String, Wrong> {
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
