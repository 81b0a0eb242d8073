//! The headers of a request that count in the keys of its answers.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;

use crate::cacheable::directive;
use crate::chat::DialectName;
use crate::config::Config;
use crate::key::KEY_HEADERS;
use crate::key::TENANT_HEADERS;
use crate::key::Tenant;
use crate::plan::CREDENTIAL_HEADERS;
use crate::provider::Auth;

/// A header that makes another answer of the same body, as it was sent.
#[derive(Clone, Debug)]
pub struct SentHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
    /// The dialects whose providers read it; `None`: any may, as the configuration says.
    pub read_by: Option<&'static [DialectName]>,
    /// Whether it chooses an account, and so counts with the tenant.
    pub is_account: bool,
    /// Why it counts.
    pub reason: &'static str,
}

impl SentHeader {
    /// Those of the table and of the configuration, in that order.
    pub fn all(config: &Config, headers: &HeaderMap) -> Vec<Self> {
        if headers.is_empty() {
            return Vec::new();
        }
        let of_table = KEY_HEADERS.iter().flat_map(|row| {
            let values = headers.get_all(row.name).iter();
            let counts = values.filter(|value| row.usual.is_none_or(|usual| *value != usual));
            counts.map(|value| Self {
                name: HeaderName::from_static(row.name),
                value: value.clone(),
                read_by: Some(row.read_by),
                is_account: row.is_account,
                reason: row.reason,
            })
        });
        let of_config = config.vary.iter().flat_map(|name| {
            headers.get_all(name).iter().map(|value| Self {
                name: name.clone(),
                value: value.clone(),
                read_by: None,
                is_account: false,
                reason: "named under cache.vary in the configuration",
            })
        });
        let of_others = directive::VARY.into_iter().flat_map(|name| {
            headers.get_all(name).iter().map(move |value| Self {
                name: HeaderName::from_static(name),
                value: value.clone(),
                read_by: None,
                is_account: false,
                reason: "keeps answers apart, as at another gateway",
            })
        });
        of_table.chain(of_config).chain(of_others).collect()
    }
}

/// Whose credentials these are.
pub fn tenant(config: &Config, headers: &HeaderMap) -> Tenant {
    let names = tenant_headers(config);
    Tenant::of(names.flat_map(|name| {
        headers.get_all(name).iter().flat_map(move |value| [name.as_bytes(), value.as_bytes()])
    }))
}

/// The headers that tell one tenant from another.
pub fn tenant_headers(config: &Config) -> impl Iterator<Item = &str> {
    let own = config.providers.values().filter_map(|provider| match &provider.auth {
        Auth::Header(name) => Some(name.as_str()),
        _ => None,
    });
    let beside = TENANT_HEADERS.iter().map(|(name, _)| *name);
    let own = own.filter(|name| !CREDENTIAL_HEADERS.contains(name));
    CREDENTIAL_HEADERS.into_iter().chain(own).chain(beside)
}
