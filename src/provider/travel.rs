//! Headers that travel between applications and providers; what is in no list stays where it is.
//!
//! The lists hold what official SDKs send and read, and what HTTP needs to carry a body. Cookies,
//! `x-forwarded-*` and ids of the application's own are in none, because they are nobody else's
//! business; nor are an answer's `set-cookie`, `alt-svc` and the like, which would speak about the
//! sidecar's own address.

use http::HeaderMap;
use http::HeaderName;

/// What a request may take to its provider: exact names, sorted.
///
/// Keys are among them; which of them a provider gets is decided where it is authorized.
const ASKED: &[&str] = &[
    "accept",
    "api-key",
    "authorization",
    "cache-control",
    "chatgpt-account-id",
    "content-encoding",
    "content-language",
    "content-range",
    "content-type",
    "http-referer", // names the application at OpenRouter, as x-title does
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "originator", // Codex
    "pragma",
    "prefer",
    "range",
    "session_id", // Codex, for the provider's prompt cache
    "traceparent",
    "tracestate",
    "user-agent",
    "x-api-key",
    "x-client-name", // Cohere
    "x-client-request-id",
    "x-grok-conv-id", // xAI, for its prompt cache
    "x-request-id",
    "x-server-timeout",   // google-genai
    "x-session-affinity", // Fireworks, for its prompt cache
    "x-title",
    "x-understudy-shadow",
];

/// What a request may take to its provider: beginnings of names.
const ASKED_PREFIXES: &[&str] = &[
    "anthropic-",
    "openai-",
    "sec-websocket-",
    "x-amz-",
    "x-amzn-",
    "x-claude-",
    "x-codex-",
    "x-fern-", // Cohere's and others' generated SDKs
    "x-goog-",
    "x-groq-",
    "x-hf-",
    "x-ms-",
    "x-simulate-", // `understudy simulate`
    "x-stainless-",
];

/// Headers of gateways, which may hold keys of theirs: they travel only to a provider whose name or
/// host has the word.
const GATEWAYS: &[(&str, &str)] = &[
    ("cf-aig-", "cloudflare"),
    ("helicone-", "helicone"),
    ("x-litellm-", "litellm"),
    ("x-openrouter-", "openrouter"),
    ("x-portkey-", "portkey"),
];

/// What an answer may take to the application: exact names, sorted.
const ANSWERED: &[&str] = &[
    "accept-ranges",
    "allow",
    "apim-request-id",
    "cache-control",
    "cf-ray", // Cloudflare's id, which providers ask for in support
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location", // redirects are not followed here, and downloads may begin with one
    "operation-location",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "server-timing",
    "www-authenticate",
    "x-api-warning",
    "x-debug-trace-id",
    "x-ds-trace-id",
    "x-endpoint-monthly-call-limit",
    "x-generation-id",
    "x-request-id",
    "x-should-retry",
    "x-trial-endpoint-call-limit",
];

/// What an answer may take to the application: beginnings of names.
const ANSWERED_PREFIXES: &[&str] = &[
    "anthropic-",
    "azureml-",
    "cf-aig-",
    "fireworks-",
    "helicone-",
    "llm_provider-", // LiteLLM, before the provider's own names
    "mistral-",
    "openai-",
    "ratelimit-",
    "sec-websocket-",
    "x-amzn-", // AWS's SDKs read the kind of an error from one
    "x-compute-",
    "x-fireworks-",
    "x-gemini-",
    "x-goog-",
    "x-groq-",
    "x-litellm-",
    "x-ms-",
    "x-openrouter-",
    "x-portkey-",
    "x-ratelimit-",
];

/// Headers of one connection, which never travel whatever is configured, and those the other side
/// sets itself.
pub const NEVER: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What travels between applications and one provider.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Names that travel both ways besides the lists.
    more: Vec<HeaderName>,
    /// The header that holds this provider's key, where it is one of its own.
    key: Option<HeaderName>,
    /// Beginnings of names that only this gateway understands.
    gateways: Vec<&'static str>,
}

impl Pass {
    /// For a provider of this name at this host, whose key is in `key`; `more` is what the
    /// configuration adds.
    pub fn new(name: &str, host: &str, key: Option<HeaderName>, more: Vec<HeaderName>) -> Self {
        let is_there = |word| name.contains(word) || host.contains(word);
        let gateways = GATEWAYS.iter().filter(|(_, word)| is_there(word));
        Self { more, key, gateways: gateways.map(|(prefix, _)| *prefix).collect() }
    }

    /// The headers of a request that its provider gets.
    pub fn asked(&self, headers: &HeaderMap) -> HeaderMap {
        sifted(headers, |name| {
            is_listed(name.as_str(), ASKED, ASKED_PREFIXES)
                || self.gateways.iter().any(|prefix| name.as_str().starts_with(prefix))
                || self.key.as_ref() == Some(name)
                || self.more.contains(name)
        })
    }

    /// The headers of an answer that the application gets.
    pub fn answered(&self, headers: &HeaderMap) -> HeaderMap {
        sifted(headers, |name| {
            is_listed(name.as_str(), ANSWERED, ANSWERED_PREFIXES) || self.more.contains(name)
        })
    }
}

fn is_listed(name: &str, exact: &[&str], prefixes: &[&str]) -> bool {
    exact.binary_search(&name).is_ok() || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn sifted(headers: &HeaderMap, travels: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(headers.len());
    for name in headers.keys().filter(|name| travels(name)) {
        for value in headers.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::HeaderName;
    use http::HeaderValue;

    use super::ANSWERED;
    use super::ANSWERED_PREFIXES;
    use super::ASKED;
    use super::ASKED_PREFIXES;
    use super::GATEWAYS;
    use super::NEVER;
    use super::Pass;

    fn headers(names: &[&'static str]) -> HeaderMap {
        let value = HeaderValue::from_static("v");
        names.iter().map(|name| (HeaderName::from_static(name), value.clone())).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn lists_are_sorted_and_hold_nothing_that_never_travels() {
        for list in [ASKED, ASKED_PREFIXES, ANSWERED, ANSWERED_PREFIXES, NEVER] {
            assert!(list.is_sorted(), "{list:?}");
        }
        for (exact, prefixes) in [(ASKED, ASKED_PREFIXES), (ANSWERED, ANSWERED_PREFIXES)] {
            for name in NEVER {
                assert!(!super::is_listed(name, exact, prefixes), "{name}");
            }
        }
    }

    #[test]
    fn what_is_in_no_list_stays_unless_the_configuration_names_it() {
        let own = ["cookie", "x-forwarded-for", "forwarded", "x-team", "x-user-id", "baggage"];
        let sdks = ["accept", "anthropic-beta", "openai-project", "x-stainless-lang", "user-agent"];
        let all = headers(&[&own[..], &sdks[..]].concat());
        let plain = Pass::new("alpha", "127.0.0.1", None, Vec::new());
        assert_eq!(names(&plain.asked(&all)), sdks);
        let team = Pass::new("alpha", "h", None, vec![HeaderName::from_static("x-team")]);
        assert_eq!(names(&team.asked(&headers(&["x-team", "cookie"]))), ["x-team"]);
        assert_eq!(names(&team.answered(&headers(&["x-team", "set-cookie"]))), ["x-team"]);
        let theirs = ["set-cookie", "alt-svc", "strict-transport-security", "server", "via"];
        let told = ["content-type", "retry-after", "x-ratelimit-reset-tokens", "openai-version"];
        let all = headers(&[&theirs[..], &told[..]].concat());
        assert_eq!(names(&plain.answered(&all)), told);
    }

    #[test]
    fn a_gateways_headers_and_a_key_of_its_own_go_to_nobody_else() {
        let sent: Vec<&str> = GATEWAYS.iter().map(|(prefix, _)| *prefix).collect();
        let mut all = HeaderMap::new();
        for prefix in &sent {
            let name = HeaderName::try_from(format!("{prefix}auth")).unwrap();
            all.insert(name, HeaderValue::from_static("key"));
        }
        all.insert("x-their-key", HeaderValue::from_static("key"));
        assert!(Pass::new("openai", "api.openai.com", None, Vec::new()).asked(&all).is_empty());
        let to = Pass::new("mine", "oai.helicone.ai", None, Vec::new());
        assert_eq!(names(&to.asked(&all)), ["helicone-auth"]);
        let key = Some(HeaderName::from_static("x-their-key"));
        assert_eq!(names(&Pass::new("theirs", "h", key, Vec::new()).asked(&all)), ["x-their-key"]);
    }

    #[test]
    fn a_header_that_comes_twice_travels_twice() {
        let mut all = HeaderMap::new();
        for beta in ["a", "b"] {
            all.append("anthropic-beta", HeaderValue::from_static(beta));
        }
        let kept = Pass::default().asked(&all);
        assert_eq!(kept.get_all("anthropic-beta").iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
