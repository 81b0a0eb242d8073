//! Reads the `providers` section: known names need only what differs, new ones a base URL.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use http::HeaderValue;
use http::Uri;

use super::KeySource;
use super::Place;
use super::Provider;
use super::credential;
use super::credential::Outside;
use super::nearest;
use super::place;
use super::quirk;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::join;
use super::read::quote;
use super::stores;
use super::tree::Kind;
use super::tree::Node;
use super::value;
use crate::chat::DIALECTS;
use crate::chat::DialectName;
use crate::provider;
use crate::provider::Auth;
use crate::provider::table::PROVIDERS;
use crate::provider::travel::NEVER;
use crate::quota::Quota;

/// First words of data plane paths, which a provider of that name would hide.
const RESERVED: &[&str] = &["v1", "v1beta"];

/// Ways to pay that need no more than a word.
pub const AUTHS: &[(&str, Auth<&'static str>)] =
    &[("bearer", Auth::Bearer), ("none", Auth::None), ("sigv4", Auth::SigV4)];

/// The most calls or tokens that a limit counts in a minute.
pub const MOST_A_MINUTE: u64 = 1_000_000_000_000;

/// The longest that a call may wait for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Headers that follow from the request or belong to the connection.
const OWN_HEADERS: &[&str] = &["connection", "content-length", "host", "transfer-encoding"];

/// Names the folder of a mounted Secret, whose files are called as the variables of SDKs.
const KEYS: &str = "UNDERSTUDY_KEYS";

/// Every known provider with what the environment knows of it: its key, and where it is.
///
/// The base URL variables of SDKs are left alone: in a pod they point at this very process.
pub fn known(outside: Outside<'_>) -> BTreeMap<String, Provider> {
    let rows = PROVIDERS.iter().filter_map(|row| {
        let mut provider = Provider::known(row, place::known(row, outside.env)?);
        pay(&mut provider, row, outside);
        Some((row.name.to_owned(), provider))
    });
    rows.collect()
}

/// Takes the key of a row, or what its requests are signed with, from the environment.
///
/// A key of the folder replaces whatever applications send, as if the file had it.
fn pay(provider: &mut Provider, row: &provider::Row, outside: Outside<'_>) {
    let env = outside.env;
    if let Some(folder) = env(KEYS) {
        let files = row.key_env.iter().map(|name| Path::new(&folder).join(name));
        let key = |path: &PathBuf| credential::checked(&(outside.read_file)(path).ok()?);
        let found = files.map(|path| (key(&path), path)).find(|(key, _)| key.is_some());
        let source = |(key, path)| KeySource { place: Place::File(path), weight: 1, key };
        provider.api_keys = found.map(source).into_iter().collect();
    }
    let mut keys = row.key_env.iter().filter_map(|name| credential::checked(&env(name)?));
    provider.fallback_key = keys.next();
    if row.auth == Auth::SigV4 {
        let region = row.holes.iter().find_map(|hole| place::from_env(hole, env));
        provider.signing = region.filter(|_| stores::known(env).aws.login.is_some());
    }
}

/// Adds the providers of the file to the known ones, or changes these.
pub fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    outside: Outside<'_>,
    into: &mut BTreeMap<String, Provider>,
) {
    for (key, node) in reader.entries(node, "providers").unwrap_or_default() {
        let name = key.name.as_str();
        if let Some(help) = value::checked_name(name) {
            let what = format!("a provider cannot be called {}", quote(name));
            reader.problem(key.start, what, help);
        } else if RESERVED.contains(&name) {
            let what = format!("a provider cannot be called `{name}`, which is a path of the API");
            reader.problem(key.start, what, "choose another name");
        }
        let path = join("providers", name);
        let provider = reader.section(node, &path, |s| endpoint(s, name, outside));
        if let Some(provider) = provider {
            into.insert(name.to_owned(), provider);
        }
    }
}

fn endpoint(s: &mut Section<'_, '_, '_>, name: &str, outside: Outside<'_>) -> Provider {
    let row = provider::find(name);
    let dialects = dialects(s);
    let first = dialects.as_deref().and_then(<[_]>::first).copied();
    let mut provider = begin(name, row, first, outside);
    if let Some(dialects) = dialects {
        provider.dialects = dialects;
    }
    if row.is_none() {
        // The name may also be a known one, misspelt.
        let names = PROVIDERS.iter().map(|row| row.name);
        let help = match nearest::nearest(name, names) {
            Some(near) => format!("did you mean `{near}`? a new provider needs its base_url"),
            None => "write for example base_url: http://127.0.0.1:8000/v1".to_owned(),
        };
        s.need("base_url", &help);
    }
    place::read(s, row, outside.env, &mut provider);
    let auth = auth(s);
    if let Some(node) = s.find("api_keys") {
        s.reader.hide(node);
        let path = s.path("api_keys");
        provider.api_keys = credential::read(s.reader, node, &path, outside);
        if provider.auth == Auth::None {
            provider.auth = Auth::Bearer;
        }
    }
    if let Some(node) = s.find("shadow_api_keys") {
        s.reader.hide(node);
        let path = s.path("shadow_api_keys");
        provider.shadow_keys = credential::read(s.reader, node, &path, outside);
    }
    provider.auth = auth.unwrap_or(provider.auth);
    if let Some(region) = place::region(s, row, outside.env, &provider) {
        provider.signing = outside.stores.aws.login.is_some().then_some(region);
    }
    headers(s, &mut provider);
    provider.forward_headers = forwarded(s);
    s.set("allow_link_local", &mut provider.allow_link_local, value::boolean);
    if !provider.allow_link_local {
        place::check(s, &provider.base_url);
    }
    s.section("quirks", |s| quirk::read(s, &mut provider.quirks));
    s.section("limits", |s| quota(s, &mut provider.quota));
    provider
}

/// What may be asked of it.
fn quota(s: &mut Section<'_, '_, '_>, quota: &mut Quota) {
    quota.requests_per_minute = s.take("requests_per_minute", value::count(1, MOST_A_MINUTE));
    quota.tokens_per_minute = s.take("tokens_per_minute", value::count(1, MOST_A_MINUTE));
    quota.concurrency = s.take("concurrency", value::places);
    s.set("wait", &mut quota.wait, value::drain);
    s.set("learn", &mut quota.learn, value::boolean);
    if let (Some(at), true) = (s.key_at("wait"), quota.wait > LONGEST_WAIT) {
        let what = format!("`{}` is longer than a minute", s.path("wait"));
        s.reader.problem(at, what, "write for example 2s: who waits holds its connection open");
    }
}

/// The provider as its row or its dialect has it.
fn begin(
    name: &str,
    row: Option<&'static provider::Row>,
    dialect: Option<DialectName>,
    outside: Outside<'_>,
) -> Provider {
    let Some(row) = row else {
        let dialect = dialect.unwrap_or(DialectName::OpenAi);
        return Provider::native(name, Uri::default(), dialect);
    };
    let base_url = place::known(row, outside.env).unwrap_or_default();
    let mut provider = Provider::known(row, base_url);
    pay(&mut provider, row, outside);
    // What a row says of another dialect does not hold for this one.
    if let Some(strange) = dialect.filter(|dialect| !row.dialects.contains(dialect)) {
        let native = provider::native(strange);
        provider.auth = native.auth.ready();
        provider.quirks = native.quirks;
    }
    provider
}

/// One dialect, with those that go with it, or a list of exactly those that are spoken.
fn dialects(s: &mut Section<'_, '_, '_>) -> Option<Vec<DialectName>> {
    let node = s.find("dialect")?;
    let path = s.path("dialect");
    let Kind::List(nodes) = &node.kind else {
        let dialect = s.reader.value(node, &path, value::choice(DIALECTS))?;
        return Some(provider::native(dialect).speaks.to_vec());
    };
    if nodes.is_empty() {
        s.reader.problem(node.start, format!("`{path}` is empty"), "write for example openai");
    }
    let mut dialects = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let dialect = s.reader.value(node, &path, value::choice(DIALECTS));
        dialects.extend(dialect.filter(|dialect| !dialects.contains(dialect)));
    }
    Some(dialects).filter(|dialects| !dialects.is_empty())
}

/// A word, or the header that holds the key.
fn auth(s: &mut Section<'_, '_, '_>) -> Option<Auth> {
    let node = s.find("auth")?;
    let path = s.path("auth");
    if matches!(node.kind, Kind::Map(_)) {
        return s.reader.section(node, &path, |s| {
            s.need("header", "write for example { header: x-api-key }");
            s.take("header", value::header_name).map(Auth::Header)
        })?;
    }
    s.reader.value(node, &path, value::choice(AUTHS)).map(Auth::ready)
}

/// Headers to send with every request; what they hold is never shown.
fn headers(s: &mut Section<'_, '_, '_>, provider: &mut Provider) {
    let Some(node) = s.find("headers") else { return };
    let path = s.path("headers");
    s.reader.hide(node);
    for (key, node) in s.reader.entries(node, &path).unwrap_or_default() {
        let path = join(&path, &key.name);
        let Ok(name) = HeaderName::from_bytes(key.name.as_bytes()) else {
            let what = format!("{} cannot be the name of a header", quote(&key.name));
            s.reader.problem(key.start, what, "write for example x-team");
            continue;
        };
        if name == http::header::AUTHORIZATION {
            let what = format!("`{path}` would hide the key");
            s.reader.problem(key.start, what, "put the key into api_keys");
        } else if OWN_HEADERS.contains(&name.as_str()) {
            let what = format!("`{path}` follows from the request and cannot be set");
            s.reader.problem(key.start, what, "leave it out");
        }
        if let Some(value) = s.reader.value(node, &path, header_value) {
            provider.headers.insert(name, value);
        }
    }
}

/// Names of headers that travel between applications and providers besides those that always do.
pub fn forwarded(s: &mut Section<'_, '_, '_>) -> Vec<HeaderName> {
    let Some(node) = s.find("forward_headers") else { return Vec::new() };
    let path = s.path("forward_headers");
    let mut found = Vec::new();
    for (index, node) in s.reader.items(node, &path).unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(name) = s.reader.value(node, &path, value::header_name) else { continue };
        if NEVER.contains(&name.as_str()) {
            let what = format!("`{path}` names {name}, which never travels");
            s.reader.problem(node.start, what, "leave it out");
        } else {
            found.push(name);
        }
    }
    found
}

/// Text that a header can carry, which may be a key and is not shown.
fn header_value(node: &Node) -> Result<HeaderValue, Wrong> {
    let text = value::any_text(node)?;
    let wrong = |_| Wrong::new("holds what no header can carry", "use printable ASCII on one line");
    let mut value = HeaderValue::from_str(text).map_err(wrong)?;
    value.set_sensitive(true);
    Ok(value)
}
