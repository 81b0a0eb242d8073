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
use crate::key::in_order;
use crate::provider;
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
        let of_table = |name: &HeaderName| KEY_HEADERS.iter().position(|row| *name == row.name);
        let of_table = in_order(headers, of_table).into_iter().filter_map(|(at, name, value)| {
            let row = KEY_HEADERS.get(at).filter(|row| row.usual.is_none_or(|it| *value != it))?;
            Some(Self {
                name: name.clone(),
                value: value.clone(),
                read_by: Some(row.read_by),
                is_account: row.is_account,
                reason: row.reason,
            })
        });
        let of_config = |name: &HeaderName| config.vary.iter().position(|vary| vary == name);
        let of_config =
            Self::vary(headers, of_config, "named under cache.vary in the configuration");
        let of_others = |name: &HeaderName| directive::VARY.iter().position(|vary| *name == *vary);
        let of_others =
            Self::vary(headers, of_others, "keeps answers apart, as at another gateway");
        of_table.chain(of_config).chain(of_others).collect()
    }

    /// Those that any provider may read.
    fn vary(
        headers: &HeaderMap,
        place: impl Fn(&HeaderName) -> Option<usize>,
        reason: &'static str,
    ) -> impl Iterator<Item = Self> {
        in_order(headers, place).into_iter().map(move |(_, name, value)| Self {
            name: name.clone(),
            value: value.clone(),
            read_by: None,
            is_account: false,
            reason,
        })
    }
}

/// Whose credentials these are.
pub fn tenant(config: &Config, headers: &HeaderMap) -> Tenant {
    let names: Vec<&str> = tenant_headers(config).collect();
    let place = |name: &HeaderName| names.iter().position(|own| name == own);
    let credentials = in_order(headers, place).into_iter();
    Tenant::of(
        credentials.flat_map(|(_, name, value)| [name.as_str().as_bytes(), value.as_bytes()]),
    )
}

/// The headers that tell one tenant from another.
pub fn tenant_headers(config: &Config) -> impl Iterator<Item = &str> {
    let own = config.providers.values().filter_map(|provider| match &provider.auth {
        Auth::Header(name) => Some(name.as_str()),
        _ => None,
    });
    let beside = TENANT_HEADERS.iter().map(|(name, _)| *name);
    let own = own.filter(|own| !provider::KEY_HEADERS.iter().any(|name| name == own));
    provider::KEY_HEADERS.iter().map(HeaderName::as_str).chain(own).chain(beside)
}
