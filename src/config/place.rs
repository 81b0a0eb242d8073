//! Reads where a provider is: its base URL, or what fills the holes of its row's.

use http::Uri;

use super::Provider;
use super::read::Section;
use super::read::Wrong;
use super::tree::Node;
use super::value;
use crate::chat::DialectName;
use crate::provider;
use crate::provider::Auth;
use crate::provider::Hole;
use crate::provider::Row;
use crate::provider::host;
use crate::provider::url;

/// Where the region of requests that are signed is, when no row says so.
const SIGNED: Hole =
    Hole { name: "region", env: &["AWS_REGION", "AWS_DEFAULT_REGION"], example: "us-east-1" };

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the environment knows of a hole.
pub fn from_env(hole: &Hole, env: Env<'_>) -> Option<String> {
    let mut found = hole.env.iter().filter_map(|name| env(name));
    found.find_map(|text| Some(text.trim().to_owned()).filter(|text| fits(text)))
}

/// The base URL of a row, if the environment fills its holes.
pub fn known(row: &Row, env: Env<'_>) -> Option<Uri> {
    // A test of the table holds that every row parses.
    row.base_url(|hole| from_env(hole, env)).ok()?.parse().ok()
}

/// Overwrites the base URL with what the section says of it.
pub fn read(
    s: &mut Section<'_, '_, '_>,
    row: Option<&'static Row>,
    env: Env<'_>,
    provider: &mut Provider,
) {
    let holes = row.map_or(&[][..], |row| row.holes);
    let mut given: Vec<(&Hole, String)> = Vec::new();
    for hole in holes {
        let text = s.take(hole.name, part).or_else(|| from_env(hole, env));
        given.extend(text.map(|text| (hole, text)));
    }
    if let Some(node) = s.find("base_url") {
        let path = s.path("base_url");
        // What is refused may hold a password or a key and must not be shown either.
        if !value::any_text(node).is_ok_and(|text| !text.contains(['@', '?', '#'])) {
            s.reader.hide(node);
        }
        let dialects = provider.dialects.as_slice();
        if let Some(uri) = s.reader.value(node, &path, |node| base_url(node, dialects)) {
            provider.base_url = uri;
        }
        return;
    }
    let Some(row) = row else { return };
    let text = |wanted: &Hole| {
        given.iter().find(|(hole, _)| *hole == wanted).map(|(_, text)| text.clone())
    };
    match row.base_url(text) {
        Ok(text) => provider.base_url = text.parse().unwrap_or_default(),
        Err(missing) => {
            for hole in missing {
                // What stands there and is wrong was reported already.
                if s.key_at(hole.name).is_none() {
                    let help = format!("write for example {}: {}", hole.name, hole.example);
                    s.need(hole.name, &help);
                }
            }
        }
    }
}

/// Refuses addresses that clouds keep credentials at.
pub fn check(s: &mut Section<'_, '_, '_>, base_url: &Uri) {
    let Some(at) = s.key_at("base_url") else { return };
    let path = s.path("base_url");
    let host = base_url.host().unwrap_or_default();
    if host::is_refused_name(host) {
        let what = format!("`{path}` is a link-local or metadata address, where no model is");
        let help = "name another host, or write allow_link_local: true";
        s.reader.problem(at, what, help);
    } else if host::is_odd_address(host) {
        let what = format!("`{path}` has a number that may be read as an address");
        s.reader.problem(at, what, "write an address as four numbers, for example 127.0.0.1");
    }
}

/// The region that requests are signed for, wanted only where they are and may have no key.
pub fn region(
    s: &mut Section<'_, '_, '_>,
    row: Option<&'static Row>,
    env: Env<'_>,
    provider: &Provider,
) -> Option<String> {
    if provider.auth != Auth::SigV4 {
        return None;
    }
    let is_read = row.is_some_and(|row| row.holes.iter().any(|hole| hole.name == "region"));
    let region = match is_read {
        true => s.find("region").and_then(|node| part(node).ok()),
        false => s.take("region", part),
    };
    let region = region.or_else(|| from_env(&SIGNED, env));
    let region = region.or_else(|| region_of(&provider.base_url));
    let is_reported = s.key_at("region").is_some() || s.key_at("base_url").is_none();
    if region.is_none() && provider.api_keys.is_empty() && !is_reported {
        s.need("region", "write for example region: us-east-1; requests are signed for it");
    }
    region
}

/// `us-east-1` of `https://bedrock-runtime.us-east-1.amazonaws.com`.
fn region_of(base_url: &Uri) -> Option<String> {
    let (inside, _) = base_url.host()?.split_once(".amazonaws.com")?;
    inside.rsplit('.').next().filter(|region| region.contains('-')).map(str::to_owned)
}

/// What may stand in a hole of a URL.
pub fn part(node: &Node) -> Result<String, Wrong> {
    let text = value::text(node)?;
    if fits(&text) {
        return Ok(text);
    }
    Err(value::expected("a part of a host name or path", node, "use letters, digits and hyphens"))
}

fn fits(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(is_plain)
}

/// An http or https URL of a host, without slash at its end.
fn base_url(node: &Node, dialects: &[DialectName]) -> Result<Uri, Wrong> {
    let home = dialects.first().and_then(|dialect| provider::find(provider::native(*dialect).home));
    let home = home.filter(|row| row.holes.is_empty());
    let example = home.map_or("https://api.openai.com/v1", |row| row.base_url);
    let example = format!("write for example {example}");
    let text = value::any_text(node)?;
    if text.contains('@') {
        let what = "cannot hold a user name or password";
        return Err(Wrong::new(what, "put the key into api_keys"));
    }
    if text.contains(['?', '#']) {
        return Err(Wrong::new("cannot hold ? or #", example));
    }
    let trimmed = text.trim_end_matches('/');
    if let Some(base) = url::without_endpoint(trimmed, dialects) {
        let help = format!("write {base}; the path of the endpoint is added to it");
        return Err(value::expected("what an SDK takes as base URL", node, &help));
    }
    let uri: Uri = trimmed.parse().map_err(|_| value::expected("a URL", node, &example))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(value::expected("an http or https URL", node, &example));
    }
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let has_good_port = uri.authority().is_some_and(|authority| {
        let tail = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        tail.is_empty() || authority.port_u16().is_some_and(|port| port != 0)
    });
    if !has_host || !has_good_port {
        return Err(value::expected("a URL with a host and a valid port", node, &example));
    }
    Ok(uri)
}
