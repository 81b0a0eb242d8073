//! Callers that are known by keys of ours: what each of them may ask, how much, and at what cost.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;

use crate::budget::Caps;
use crate::experiment::Target;
use crate::key::Tenant;
use crate::provider::KEY_HEADERS;

/// A caller as the configuration knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patron {
    /// Its name.
    pub name: String,
    /// For whom its answers are kept, which follows from its name.
    pub tenant: Tenant,
    /// Routes it may ask; `None` leaves that to `models`.
    pub routes: Option<Vec<String>>,
    /// Targets it may ask, `provider/model` or `provider/*`; `None` leaves that to `routes`, and
    /// without either it may ask everything.
    pub models: Option<Vec<String>>,
    /// How much at once and in a minute.
    pub limits: Limits,
    /// How much in a day and a month.
    pub budget: Caps,
    /// What its calls are booked under besides its name.
    pub labels: BTreeMap<String, String>,
}

/// What a caller may do at once and in a minute; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests begun in a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens in and out in a minute, of calls to providers.
    pub tokens_per_minute: Option<u64>,
    /// Requests open at once.
    pub concurrency: Option<u64>,
}

/// Every known caller, by the digest of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patrons {
    by_digest: HashMap<[u8; 32], Arc<Patron>>,
}

impl Patrons {
    /// Adds one; false if another has the same key.
    pub fn insert(&mut self, digest: [u8; 32], patron: Patron) -> bool {
        self.by_digest.insert(digest, Arc::new(patron)).is_none()
    }

    /// Whether there is none, and so nobody needs a key.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// Every caller, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Patron>> {
        self.by_digest.values()
    }

    /// Whose key a request carries, wherever its SDK puts keys.
    ///
    /// Keys are looked up by their digests: how long that takes says nothing of how much of a
    /// wrong key is right.
    pub fn find(&self, headers: &HeaderMap) -> Option<&Arc<Patron>> {
        if self.is_empty() {
            return None;
        }
        let mut keys = KEY_HEADERS.iter().filter_map(|name| headers.get(name));
        keys.find_map(|value| {
            let value = value.as_bytes();
            let bearer = value.split_at_checked(7).filter(|(scheme, _)| is_bearer(scheme));
            self.by_digest.get(&digest(bearer.map_or(value, |(_, key)| key)))
        })
    }
}

impl Patron {
    /// A caller that may ask everything, without limits.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            tenant: Tenant::of([b"caller".as_slice(), name.as_bytes()]),
            routes: None,
            models: None,
            limits: Limits::default(),
            budget: Caps::default(),
            labels: BTreeMap::new(),
        }
    }

    /// Whether it may ask `model`, to which these targets answer.
    pub fn may_ask(&self, model: &str, targets: &[Target]) -> bool {
        let by_route = self.routes.as_ref().is_some_and(|r| r.iter().any(|route| route == model));
        let is_listed = |target: &Target| self.lists(&target.to_string(), &target.provider);
        by_route || self.may_ask_all() || (self.models.is_some() && targets.iter().all(is_listed))
    }

    /// Whether it may ask a provider whatever there is.
    pub fn may_pass(&self, provider: &str) -> bool {
        self.may_ask_all() || self.lists("", provider)
    }

    fn may_ask_all(&self) -> bool {
        self.routes.is_none() && self.models.is_none()
    }

    fn lists(&self, target: &str, provider: &str) -> bool {
        let is_whole = |listed: &str| listed.strip_suffix("/*") == Some(provider);
        self.models.iter().flatten().any(|listed| listed == target || is_whole(listed))
    }
}

/// What is kept of a key.
pub fn digest(key: &[u8]) -> [u8; 32] {
    *blake3::hash(key).as_bytes()
}

fn is_bearer(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"bearer ")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::HeaderName;
    use http::HeaderValue;

    use super::Patron;
    use super::Patrons;
    use super::digest;
    use crate::experiment::Target;

    #[test]
    fn a_key_is_found_wherever_sdks_put_keys() {
        let mut patrons = Patrons::default();
        let one = Patron::new("one");
        assert!(patrons.insert(digest(b"us-one"), one.clone()));
        assert!(!patrons.insert(digest(b"us-one"), one));
        for (name, value, is_known) in [
            ("authorization", "Bearer us-one", true),
            ("authorization", "bearer us-one", true),
            ("x-api-key", "us-one", true),
            ("x-goog-api-key", "us-one", true),
            ("api-key", "us-one", true),
            ("authorization", "Basic us-one", false),
            ("x-api-key", "us-on", false),
            ("x-other", "us-one", false),
        ] {
            let mut headers = HeaderMap::new();
            let name = HeaderName::from_static(name);
            headers.insert(name.clone(), HeaderValue::from_static(value));
            assert_eq!(patrons.find(&headers).is_some(), is_known, "{name}: {value}");
        }
    }

    #[test]
    fn a_scope_names_routes_and_targets() {
        let target = |text: &str| Target::parse(text).unwrap();
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let scoped = Patron {
            routes: list(&["bot"]),
            models: list(&["openai/gpt-4o", "groq/*"]),
            ..Patron::new("scoped")
        };
        for (model, targets, may) in [
            ("bot", &["xai/grok"][..], true),
            ("gpt-4o", &["openai/gpt-4o"], true),
            ("mix", &["openai/gpt-4o", "groq/any"], true),
            ("mix", &["openai/gpt-4o", "xai/grok"], false),
            ("other", &["openai/gpt-4"], false),
        ] {
            let targets: Vec<Target> = targets.iter().map(|name| target(name)).collect();
            assert_eq!(scoped.may_ask(model, &targets), may, "{model} {targets:?}");
            assert!(Patron::new("any").may_ask(model, &targets));
        }
        assert!(scoped.may_pass("groq") && !scoped.may_pass("openai"));
        let routes = Patron { routes: list(&["bot"]), ..Patron::new("routes") };
        assert!(!routes.may_ask("gpt-4o", &[target("openai/gpt-4o")]) && !routes.may_pass("groq"));
    }
}
