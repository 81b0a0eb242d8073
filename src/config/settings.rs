//! Reads understudy.yaml into a checked configuration.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use secrecy::ExposeSecret;
use secrecy::SecretString;

use super::Admission;
use super::Config;
use super::Known;
use super::Timeouts;
use super::cache;
use super::caller;
use super::credential;
use super::credential::Outside;
use super::endpoint;
use super::load::SENTINEL;
use super::persistence;
use super::price;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::quote;
use super::redaction;
use super::route;
use super::stores;
use super::tree::Node;
use super::value;
use crate::experiment::Share;

/// The fewest characters of a key to encrypt with.
const MIN_KEY: usize = 32;

/// Overwrites the defaults in `config` with what the file says and notes the names it defines.
pub fn read(
    reader: &mut Reader<'_>,
    root: &Node,
    outside: Outside<'_>,
    config: &mut Config,
    known: &mut Known,
) {
    for (kind, a) in [("experiment", "an experiment"), (SENTINEL, "a sentinel")] {
        if let Some(node) = root.get(kind) {
            let help = "pass it with --experiments, or put it in the directory of experiments";
            reader.problem(node.start, format!("this is {a}, not a configuration"), help);
            return;
        }
    }
    reader.section(root, "", |s| {
        admission(s, outside, config);
        addresses(s, config);
        s.set("data_dir", &mut config.data_dir, directory);
        config.authorities = s.take("ca_file", |node| authorities(node, outside));
        encryption(s, outside, &mut config.encryption_keys);
        stores::read(s, outside, &mut config.stores);
        if let Some(node) = s.find("providers") {
            let stores = config.stores.clone();
            let outside = Outside { stores: &stores, ..outside };
            endpoint::read(s.reader, node, outside, &mut config.providers);
            // Even a broken provider is a name that targets may use.
            known.providers.extend(node.keys().map(|key| key.name.clone()));
        }
        known.providers.extend(config.providers.keys().cloned());
        config.forward_headers = endpoint::forwarded(s);
        config.allow_hosts = allowed(s);
        limits_of_time(s, &mut config.timeouts);
        persistence::retry(s, &mut config.retry);
        persistence::breaker(s, &mut config.breaker);
        cache::read(s, config);
        limits(s, config);
        redaction::read(s, &mut config.redact);
        price::read(s, outside, config, known);
        s.set("holdout", &mut config.holdout, holdout);
        if let Some(node) = s.find("routes") {
            let inherited = (config.timeouts, config.retry, config.cache);
            route::read(s.reader, node, inherited, known, &mut config.routes);
        }
        known.routes.extend(config.routes.keys().cloned());
        caller::read(s, outside, config, known);
    });
}

/// Names of hosts, as browsers write them.
fn allowed(s: &mut Section<'_, '_, '_>) -> Option<Vec<String>> {
    let node = s.find("allow_hosts")?;
    let path = s.path("allow_hosts");
    let items = s.reader.items(node, &path).unwrap_or_default();
    let names = items
        .iter()
        .enumerate()
        .filter_map(|(index, node)| s.reader.value(node, &format!("{path}[{index}]"), value::host));
    Some(names.collect())
}

fn addresses(s: &mut Section<'_, '_, '_>, config: &mut Config) {
    s.set("listen", &mut config.listen, address);
    s.set("admin", &mut config.admin, address);
    config.health = s.take("health", address);
    let (listen, admin) = (("listen", config.listen), ("admin", config.admin));
    differ(s, listen, admin);
    if let Some(health) = config.health {
        differ(s, listen, ("health", health));
        differ(s, admin, ("health", health));
    }
    let (_, admin) = admin;
    let Some(at) = s.key_at("admin") else { return };
    let is_shown =
        matches!(config.admission, Admission::Local) && s.key_at("admin_token").is_none();
    if !admin.ip().is_loopback() && is_shown {
        let what =
            format!("the admin plane on {admin} shows prompts and answers to other machines");
        let help = "add admin_token: { env: UNDERSTUDY_ADMIN_TOKEN }, or admin_token: none if \
                    something else protects it";
        s.reader.problem(at, what, help);
    }
}

/// Certificates of authorities; what is wrong inside one is told when connections are made ready.
fn authorities(node: &Node, outside: Outside<'_>) -> Result<String, Wrong> {
    let name = value::text(node)?;
    let text = (outside.read_file)(Path::new(&name)).map_err(|error| {
        let what = format!("names {}, which cannot be read: {}", quote(&name), error.kind());
        Wrong::new(what, "check the path and who may read it")
    })?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        let what = format!("names {}, which holds no certificate", quote(&name));
        return Err(Wrong::new(what, "write the certificates of the authorities into it, as PEM"));
    }
    Ok(text)
}

/// Keys to encrypt with, each long enough that nobody guesses it.
fn encryption(s: &mut Section<'_, '_, '_>, outside: Outside<'_>, into: &mut Vec<SecretString>) {
    let Some(node) = s.find("encryption_keys") else { return };
    let path = s.path("encryption_keys");
    s.reader.hide(node);
    let help = "write for example [{ file: /run/secrets/key }], of openssl rand -hex 32";
    for (index, node) in s.reader.items(node, &path).unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(key) = credential::needed(s.reader, node, &path, outside) else { continue };
        if key.expose_secret().len() < MIN_KEY {
            let what = format!("`{path}` is shorter than {MIN_KEY} characters");
            s.reader.problem(node.start, what, help);
        }
        into.push(key);
    }
}

/// A token, or the word that none is wanted.
fn admission(s: &mut Section<'_, '_, '_>, outside: Outside<'_>, config: &mut Config) {
    let Some(node) = s.find("admin_token") else { return };
    if value::any_text(node) == Ok("none") {
        config.admission = Admission::Open;
        return;
    }
    let path = s.path("admin_token");
    if let Some(token) = credential::needed(s.reader, node, &path, outside) {
        config.admission = Admission::Token(token);
    }
}

/// Two listeners cannot share a port; port 0 asks for any free one, which differs each time.
fn differ(s: &mut Section<'_, '_, '_>, a: (&str, SocketAddr), b: (&str, SocketAddr)) {
    let Some(at) = s.key_at(b.0).or_else(|| s.key_at(a.0)) else { return };
    let ((first, a), (second, b)) = (a, b);
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    if overlap && a.port() == b.port() && a.port() != 0 {
        let what = format!("`{first}` ({a}) and `{second}` ({b}) are the same address");
        s.reader.problem(at, what, "give them different ports");
    }
}

/// An IP address with a port.
pub fn address(node: &Node) -> Result<SocketAddr, Wrong> {
    let help = "write an IP address and a port, for example 127.0.0.1:4100";
    let text = value::any_text(node)?;
    text.parse().map_err(|_| value::expected("an address", node, help))
}

fn directory(node: &Node) -> Result<PathBuf, Wrong> {
    let text = value::text(node)?;
    if text.starts_with('~') {
        return Err(value::expected(
            "a plain path",
            node,
            "write the path in full; ~ is not expanded",
        ));
    }
    Ok(PathBuf::from(text))
}

/// Reads `timeouts`.
pub fn limits_of_time(s: &mut Section<'_, '_, '_>, into: &mut Timeouts) {
    s.section("timeouts", |s| {
        s.set("connect", &mut into.connect, value::duration);
        s.set("first_token", &mut into.first_token, value::duration);
        s.set("idle", &mut into.idle, value::duration);
        s.set("total", &mut into.total, value::duration);
    });
}

/// `limits.shadow_concurrency` is the older name of `shadow.concurrency`.
fn limits(s: &mut Section<'_, '_, '_>, config: &mut Config) {
    let (into, shadowing) = (&mut config.limits, &mut config.shadowing);
    let mut older = None;
    s.section("limits", |s| {
        s.set("max_request_bytes", &mut into.max_request_bytes, value::memory);
        s.set("max_answer_bytes", &mut into.max_answer_bytes, value::memory);
        s.set("max_concurrency", &mut into.max_concurrency, value::places);
        s.set("shadow_concurrency", &mut shadowing.concurrency, value::places);
        s.set("shadow_queue", &mut into.shadow_queue, value::places);
        s.set("judge_concurrency", &mut into.judge_concurrency, value::places);
        s.set("recorder_queue", &mut into.recorder_queue, value::places);
        s.set("socket_life", &mut into.socket_life, value::duration);
        s.set("socket_idle", &mut into.socket_idle, value::duration);
        s.set("drain", &mut into.drain, value::drain);
        older = s.key_at("shadow_concurrency");
    });
    s.section("shadow", |s| {
        s.set("concurrency", &mut shadowing.concurrency, value::places);
        shadowing.rate = s.take("rate", value::above(0.0, "write for example 20, a second"));
        shadowing.daily_usd = s.take("daily_usd", value::above(0.0, "write for example 10"));
        s.set("header", &mut shadowing.header, value::boolean);
        if let (Some(at), Some(_)) = (s.key_at("concurrency"), older) {
            let what = "`shadow.concurrency` and `limits.shadow_concurrency` are the same limit";
            s.reader.problem(at, what, "keep `shadow.concurrency`");
        }
    });
}

/// Who is held out takes part in nothing, so somebody has to be left.
fn holdout(node: &Node) -> Result<Share, Wrong> {
    match value::share(node)? {
        Share::ALL => Err(value::expected("below 100%", node, "write for example 5%")),
        share => Ok(share),
    }
}
