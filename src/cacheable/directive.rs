//! What a request says about the cache: `Cache-Control`, and the headers of other gateways.

use std::time::Duration;

use http::HeaderMap;
use http::HeaderName;
use http::header;

use crate::key::in_order;

/// Headers of other gateways that keep requests apart, as `cache.vary` does.
pub const VARY: [&str; 1] = ["helicone-cache-seed"];

/// The most answers of a prompt that are kept.
pub const MAX_SAMPLES: u32 = 100;

/// What a request says about the cache; it narrows what the configuration allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Nothing stored may be served.
    pub no_cache: bool,
    /// The answer may not be served to anyone else.
    pub no_store: bool,
    /// The provider may not be called.
    pub only_if_cached: bool,
    /// Stored answers older than this do not count.
    pub max_age: Option<Duration>,
    /// Stored answers that will not stay fresh for so long do not count.
    pub min_fresh: Option<Duration>,
    /// How long the answer may be served.
    pub ttl: Option<Duration>,
    /// Answers kept of the prompt.
    pub samples: Option<u32>,
}

/// What another gateway's header means.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// `true` keeps the cache out of it.
    Skip,
    /// `false` keeps the cache out of it; `true` asks for what is so anyway.
    Enable,
    /// `true` asks the provider again and stores what it says.
    Refresh,
    /// How long the answer may be served, seconds; 0 not at all.
    Ttl,
    /// Answers kept of the prompt.
    Samples,
}

/// The headers of other gateways, sorted.
///
/// Sources: Cloudflare AI Gateway and Portkey, "caching" in their documentations; Helicone,
/// "caching"; OpenRouter, "response caching".
const ALIASES: &[(&str, Meaning)] = &[
    ("cf-aig-cache-ttl", Meaning::Ttl),
    ("cf-aig-skip-cache", Meaning::Skip),
    ("helicone-cache-bucket-max-size", Meaning::Samples),
    ("helicone-cache-enabled", Meaning::Enable),
    ("x-openrouter-cache", Meaning::Enable),
    ("x-openrouter-cache-clear", Meaning::Refresh),
    ("x-openrouter-cache-ttl", Meaning::Ttl),
    ("x-portkey-cache-force-refresh", Meaning::Refresh),
];

/// The names of the other gateways' headers that are understood.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALIASES.iter().map(|(name, _)| *name).chain(VARY)
}

/// Reads the headers of a request; what is malformed in them is not there.
///
/// Whoever may not call the provider has to be served from here, so no other gateway's header
/// outweighs an `only-if-cached`; `Cache-Control` itself may contradict itself.
pub fn read(headers: &HeaderMap) -> Directives {
    let (mut ours, mut theirs) = (Directives::default(), Directives::default());
    let place = |name: &HeaderName| ALIASES.iter().position(|(alias, _)| name == alias);
    let mut sent = in_order(headers, place);
    // Of a header that comes twice the first one counts.
    sent.dedup_by_key(|(at, ..)| *at);
    for (at, _, value) in sent {
        if let (Some((_, meaning)), Ok(value)) = (ALIASES.get(at), value.to_str()) {
            theirs.take(*meaning, value.trim());
        }
    }
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        ours.control(&name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
    }
    Directives {
        no_cache: ours.no_cache || (theirs.no_cache && !ours.only_if_cached),
        no_store: ours.no_store || theirs.no_store,
        ttl: theirs.ttl,
        samples: theirs.samples,
        ..ours
    }
}

impl Directives {
    fn take(&mut self, meaning: Meaning, value: &str) {
        let is = |word: &str| value.eq_ignore_ascii_case(word);
        match meaning {
            Meaning::Skip if is("true") => (self.no_cache, self.no_store) = (true, true),
            Meaning::Enable if is("false") => (self.no_cache, self.no_store) = (true, true),
            Meaning::Refresh if is("true") => self.no_cache = true,
            Meaning::Ttl => match seconds(value) {
                Some(Duration::ZERO) => self.no_store = true,
                ttl => self.ttl = ttl.or(self.ttl),
            },
            Meaning::Samples => {
                let samples = value.parse().ok().filter(|n| (1..=MAX_SAMPLES).contains(n));
                self.samples = samples.or(self.samples);
            }
            Meaning::Skip | Meaning::Enable | Meaning::Refresh => {}
        }
    }

    /// RFC 9111, section 5.2.1. `max-stale` allows what is never done here: an answer is stale when
    /// its time is over or its model is another one, and nobody is served it. `no-transform` and
    /// what others have added do not concern a cache of whole answers.
    fn control(&mut self, name: &str, value: &str) {
        let least = |known: Option<Duration>| match (known, seconds(value)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (known, read) => known.or(read),
        };
        match name {
            "no-cache" => self.no_cache = true,
            "no-store" => (self.no_cache, self.no_store) = (true, true),
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => self.max_age = least(self.max_age),
            "min-fresh" => self.min_fresh = seconds(value).max(self.min_fresh),
            _ => {}
        }
    }
}

/// Digits only; more of them than a number holds mean forever (RFC 9111, section 1.2.2).
fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u32::MAX.into())))
}
