//! `understudy providers`: who can be asked, where, with which key, and what is peculiar there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::cli::files;
use crate::cli::files::Files;
use crate::cli::say;
use crate::cli::say_json;
use crate::cli::table;
use crate::config::KeySource;
use crate::config::Place;
use crate::config::Provider;
use crate::error::Result;
use crate::provider;
use crate::provider::Auth;
use crate::provider::Row;
use crate::provider::table::PROVIDERS;
use crate::wire::carry::Feature;
use crate::wire::quirk::Quirks;
use crate::wire::quirk::THINKING;

/// Options of `understudy providers`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Configuration file, whose providers are shown too [default: understudy.yaml, if there is
    /// one]
    #[arg(long, value_name = "FILE", env = "UNDERSTUDY_CONFIG")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is shown of a provider.
struct Shown {
    name: String,
    base_url: String,
    /// What must be told before it can be asked.
    needs: Vec<&'static str>,
    auth: String,
    key: Key,
    dialects: Vec<&'static str>,
    quirks: Quirks,
}

/// Where a provider's key comes from; never the key.
enum Key {
    /// From these places, named by the configuration.
    Config(Vec<KeySource>),
    /// From this variable.
    Env(&'static str),
    /// Requests are signed with AWS keys of the environment.
    Signing,
    /// Nowhere; these variables are looked at.
    Missing(&'static [&'static str]),
    /// It needs none.
    Needless,
}

/// Prints the table.
///
/// # Errors
/// The configuration cannot be read or is wrong.
pub fn run(args: &Args) -> Result<ExitCode> {
    // Experiments have no part in this, and need not be right for it.
    let files = Files { config: args.config.clone(), experiments: None };
    let configured = files.load_config()?.providers;
    let all = all(&configured);
    if args.json {
        let rows: Vec<Value> = all.iter().map(in_json).collect();
        say_json(&json!({ "providers": rows }))?;
    } else {
        let rows: Vec<[String; 5]> = all.iter().map(in_words).collect();
        let notes = all.iter().map(|shown| [shown.name.clone(), notes(shown).join("; ")]);
        let notes: Vec<[String; 2]> = notes.filter(|[_, notes]| !notes.is_empty()).collect();
        say(&table::providers(&rows, &notes));
    }
    Ok(ExitCode::SUCCESS)
}

/// Every provider that is configured and every row that is not, by name.
fn all(configured: &BTreeMap<String, Provider>) -> Vec<Shown> {
    let rows = PROVIDERS.iter().filter(|row| !configured.contains_key(row.name));
    let rows = rows.map(|row| Shown {
        name: row.name.to_owned(),
        base_url: row.base_url.to_owned(),
        needs: row.holes.iter().map(|hole| hole.name).collect(),
        auth: auth(&row.auth.ready()),
        key: from_env(row),
        dialects: names(row.dialects),
        quirks: row.quirks,
    });
    let mut all: Vec<Shown> = configured.values().map(shown).chain(rows).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn shown(provider: &Provider) -> Shown {
    let key = match provider::find(&provider.name) {
        _ if !provider.api_keys.is_empty() => Key::Config(provider.api_keys.clone()),
        _ if provider.auth == Auth::None => Key::Needless,
        Some(row) if provider.fallback_key.is_some() => from_env(row),
        _ if provider.signing.is_some() => Key::Signing,
        row => Key::Missing(row.map_or(&[], |row| row.key_env)),
    };
    Shown {
        name: provider.name.clone(),
        base_url: provider.base_url.to_string().trim_end_matches('/').to_owned(),
        needs: Vec::new(),
        auth: auth(&provider.auth),
        key,
        dialects: names(&provider.dialects),
        quirks: provider.quirks,
    }
}

fn from_env(row: &'static Row) -> Key {
    let is_set = |name: &&&str| files::variable(name).is_some_and(|key| !key.trim().is_empty());
    match row.key_env.iter().find(is_set) {
        Some(name) => Key::Env(name),
        None if row.auth == Auth::None => Key::Needless,
        None => Key::Missing(row.key_env),
    }
}

fn names(dialects: &[DialectName]) -> Vec<&'static str> {
    dialects.iter().map(|dialect| dialect.as_str()).collect()
}

fn auth(auth: &Auth) -> String {
    match auth {
        Auth::Bearer => "bearer".to_owned(),
        Auth::Header(name) => name.to_string(),
        Auth::None => "none".to_owned(),
        Auth::SigV4 => "bearer or sigv4".to_owned(),
    }
}

fn in_words(shown: &Shown) -> [String; 5] {
    let key = match &shown.key {
        Key::Config(keys) => keys.iter().map(place).collect::<Vec<_>>().join(", "),
        Key::Env(name) => format!("{name} (set)"),
        Key::Signing => "AWS credentials (set)".to_owned(),
        Key::Missing([name, ..]) => format!("{name} (not set)"),
        Key::Missing([]) => "the client's".to_owned(),
        Key::Needless => "-".to_owned(),
    };
    let dialects = shown.dialects.join(" ");
    [shown.name.clone(), key, shown.auth.clone(), dialects, shown.base_url.clone()]
}

/// Where a key comes from; one in a store is looked for only while the sidecar runs.
fn place(key: &KeySource) -> String {
    match &key.place {
        Place::Value => "in the file".to_owned(),
        Place::Env(name) => format!("{name} (set)"),
        Place::File(path) => format!("{} (set)", path.display()),
        stored => stored.to_string(),
    }
}

fn in_json(shown: &Shown) -> Value {
    let (source, variables, is_set): (&str, Vec<&str>, bool) = match &shown.key {
        Key::Config(keys) => ("config", Vec::new(), keys.iter().any(|key| key.key.is_some())),
        Key::Env(name) => ("env", vec![name], true),
        Key::Signing => ("env", vec!["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], true),
        Key::Missing(names) => ("env", names.to_vec(), false),
        Key::Needless => ("none", Vec::new(), true),
    };
    let quirks = &shown.quirks;
    json!({
        "name": shown.name,
        "base_url": shown.base_url,
        "needs": shown.needs,
        "key": { "from": source, "env": variables, "set": is_set, "pool": pool(&shown.key) },
        "auth": shown.auth,
        "dialects": shown.dialects,
        "quirks": {
            "max_tokens": quirks.max_tokens,
            "thinking": thinking(quirks),
            "reasoning_history": quirks.reasoning_history,
            "developer_role": quirks.developer_role,
            "stream_usage": quirks.stream_usage,
            "json_schema": quirks.json_schema,
            "lacks": quirks.lacks.iter().map(word).collect::<Vec<_>>(),
        },
    })
}

/// Every key of the configuration; whether one in a store is there is not known here.
fn pool(key: &Key) -> Vec<Value> {
    let Key::Config(keys) = key else { return Vec::new() };
    let row = |key: &KeySource| {
        let is_set = key.key.is_some().then_some(true);
        json!({ "from": key.place.to_string(), "weight": key.weight, "set": is_set })
    };
    keys.iter().map(row).collect()
}

/// What is worth knowing before one sends a request there.
fn notes(shown: &Shown) -> Vec<String> {
    let quirks = &shown.quirks;
    let mut notes = Vec::new();
    if !shown.needs.is_empty() {
        notes.push(format!("needs {}", shown.needs.join(" and ")));
    }
    if *quirks != Quirks::NONE && *quirks != Quirks::COMPATIBLE {
        notes.push(format!("{}, thinking by {}", quirks.max_tokens, thinking(quirks)));
    }
    if let Some(field) = quirks.reasoning_history {
        notes.push(format!("takes {field} back"));
    }
    if !quirks.json_schema {
        notes.push("no JSON schema".to_owned());
    }
    if !quirks.stream_usage {
        notes.push("no stream_options".to_owned());
    }
    if !quirks.lacks.is_empty() {
        let lacks: Vec<String> = quirks.lacks.iter().map(word).collect();
        notes.push(format!("lacks {}", lacks.join(", ")));
    }
    notes
}

fn thinking(quirks: &Quirks) -> &'static str {
    let found = THINKING.iter().find(|(_, thinking)| *thinking == quirks.thinking);
    found.map_or("none", |(name, _)| name)
}

/// `frequency_penalty` for `FrequencyPenalty`.
fn word(feature: &Feature) -> String {
    let mut word = String::new();
    for letter in format!("{feature:?}").chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}
