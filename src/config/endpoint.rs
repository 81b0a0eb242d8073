//! Reads the `providers` section: known names need only what differs, new ones a base URL.

use std::collections::BTreeMap;

use http::Uri;

use super::Provider;
use super::credential;
use super::credential::Outside;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::join;
use super::read::quote;
use super::tree::Node;
use super::value;
use crate::chat::DIALECTS;
use crate::chat::DialectName;
use crate::provider;
use crate::provider::Auth;
use crate::wire::quirk::Quirks;

/// First words of data plane paths, which a provider of that name would hide.
const RESERVED: &[&str] = &["v1", "v1beta"];

/// Every known provider as it is without configuration, without keys.
pub fn known() -> BTreeMap<String, Provider> {
    provider::PROVIDERS
        .iter()
        .filter_map(|row| {
            // A test of the table holds that every row parses.
            let base_url = row.base_url.parse().ok()?;
            let provider = Provider {
                name: row.name.to_owned(),
                base_url,
                dialects: row.dialects.to_vec(),
                auth: row.auth,
                api_keys: Vec::new(),
                fallback_key: None,
                quirks: row.quirks,
            };
            Some((row.name.to_owned(), provider))
        })
        .collect()
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
        let row = into.get(name).cloned();
        let provider = reader.section(node, &path, |s| endpoint(s, name, row, outside));
        if let Some(provider) = provider {
            into.insert(name.to_owned(), provider);
        }
    }
}

fn endpoint(
    s: &mut Section<'_, '_, '_>,
    name: &str,
    row: Option<Provider>,
    outside: Outside<'_>,
) -> Provider {
    let is_new = row.is_none();
    let mut provider = row.unwrap_or_else(|| Provider {
        name: name.to_owned(),
        base_url: Uri::default(),
        dialects: vec![DialectName::OpenAi],
        auth: Auth::Bearer,
        api_keys: Vec::new(),
        fallback_key: None,
        quirks: Quirks::COMPATIBLE,
    });
    if is_new {
        // The name may also be a known one, misspelt.
        let names = provider::PROVIDERS.iter().map(|row| row.name);
        let help = match super::nearest::nearest(name, names) {
            Some(near) => format!("did you mean `{near}`? a new provider needs its base_url"),
            None => "write for example base_url: http://127.0.0.1:8000/v1".to_owned(),
        };
        s.need("base_url", &help);
    }
    if let Some(node) = s.find("base_url") {
        let path = s.path("base_url");
        // What is refused may hold a password or a key and must not be shown either.
        if !value::any_text(node).is_ok_and(|text| !text.contains(['@', '?', '#'])) {
            s.reader.hide(node);
        }
        if let Some(uri) = s.reader.value(node, &path, base_url) {
            provider.base_url = uri;
        }
    }
    if let Some(dialect) = s.take("dialect", value::choice(DIALECTS)) {
        provider.dialects = vec![dialect];
    }
    if let Some(node) = s.find("api_keys") {
        s.reader.hide(node);
        let path = s.path("api_keys");
        provider.api_keys = credential::read(s.reader, node, &path, outside);
    }
    provider
}

/// An http or https URL of a host, without slash at its end.
fn base_url(node: &Node) -> Result<Uri, Wrong> {
    let example = "write for example https://api.openai.com/v1";
    let text = value::any_text(node)?;
    if text.contains('@') {
        let what = "cannot hold a user name or password";
        return Err(Wrong::new(what, "put the key into api_keys"));
    }
    if text.contains(['?', '#']) {
        return Err(Wrong::new("cannot hold ? or #", example));
    }
    let trimmed = text.trim_end_matches('/');
    if let Some(base) = trimmed.strip_suffix("/chat/completions") {
        let help = format!("write {base}; the path of the endpoint is added to it");
        return Err(value::expected("what an SDK takes as base URL", node, &help));
    }
    let uri: Uri = trimmed.parse().map_err(|_| value::expected("a URL", node, example))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(value::expected("an http or https URL", node, example));
    }
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let has_good_port = uri.authority().is_some_and(|authority| {
        let tail = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        tail.is_empty() || authority.port_u16().is_some_and(|port| port != 0)
    });
    if !has_host || !has_good_port {
        return Err(value::expected("a URL with a host and a valid port", node, example));
    }
    Ok(uri)
}
