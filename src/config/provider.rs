//! A configured provider: where a request for it goes, and with what credential.

use std::time::Duration;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Uri;
use http::header;
use secrecy::ExposeSecret;
use secrecy::SecretString;

use super::KeySource;
use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider;
use crate::provider::Auth;
use crate::provider::KEY_HEADERS;
use crate::provider::url;
use crate::quota::Quota;
use crate::wire::quirk::Quirks;

/// How a provider is asked whether it is well, while targets of it are left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// What is asked for, below the base URL.
    pub path: String,
    /// How often.
    pub every: Duration,
}

impl Ping {
    /// How often where that is not said.
    pub const EVERY: Duration = Duration::from_secs(30);
}

/// A provider with its keys resolved.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name in targets and path prefixes.
    pub name: String,
    /// Without trailing slash; what the provider's own SDK takes.
    pub base_url: Uri,
    /// The wire formats it speaks; the first of a kind is the one that is translated to.
    pub dialects: Vec<DialectName>,
    /// How the key is sent.
    pub auth: Auth,
    /// Keys from the file; they replace whatever the client sends.
    pub api_keys: Vec<KeySource>,
    /// Keys for copies of requests; without any, copies are paid like the application's own.
    pub shadow_keys: Vec<KeySource>,
    /// The key from the provider's usual environment variable; used when the client sends none.
    pub fallback_key: Option<SecretString>,
    /// The region that requests are signed for where no key is sent.
    pub signing: Option<String>,
    /// Headers from the file; they replace the client's.
    pub headers: HeaderMap,
    /// The client's and the provider's headers that travel besides those that always do.
    pub forward_headers: Vec<HeaderName>,
    /// Whether it may be at a link-local address.
    pub allow_link_local: bool,
    /// What is peculiar about it.
    pub quirks: Quirks,
    /// What may be asked of it.
    pub quota: Quota,
    /// How it is asked whether it is well; usually it is not.
    pub ping: Option<Ping>,
}

impl Provider {
    /// A provider of which nothing is known but what goes without saying in its dialect.
    pub fn native(name: &str, base_url: Uri, dialect: DialectName) -> Self {
        let native = provider::native(dialect);
        Self {
            name: name.to_owned(),
            base_url,
            dialects: native.speaks.to_vec(),
            auth: native.auth.ready(),
            api_keys: Vec::new(),
            shadow_keys: Vec::new(),
            fallback_key: None,
            signing: None,
            headers: HeaderMap::new(),
            forward_headers: Vec::new(),
            allow_link_local: false,
            quirks: native.quirks,
            quota: Quota::default(),
            ping: None,
        }
    }

    /// A provider of the table, without keys.
    pub fn known(row: &provider::Row, base_url: Uri) -> Self {
        Self {
            name: row.name.to_owned(),
            base_url,
            dialects: row.dialects.to_vec(),
            auth: row.auth.ready(),
            api_keys: Vec::new(),
            shadow_keys: Vec::new(),
            fallback_key: None,
            signing: None,
            headers: HeaderMap::new(),
            forward_headers: Vec::new(),
            allow_link_local: false,
            quirks: row.quirks,
            quota: Quota::default(),
            ping: None,
        }
    }

    /// The dialect to ask it in: the request's own if it speaks that, else its first of the kind.
    pub fn dialect_for(&self, asked: DialectName) -> Option<DialectName> {
        if self.dialects.contains(&asked) {
            return Some(asked);
        }
        let mut spoken = self.dialects.iter().copied();
        spoken.find(|dialect| dialect.is_embedding() == asked.is_embedding())
    }

    /// Where it is asked for an answer in `dialect`.
    pub fn url(&self, dialect: DialectName, model: &str, is_stream: bool) -> String {
        url::join(&self.base_url, &dialect.dialect().path(model, is_stream))
    }

    /// Puts what the provider wants into the headers of a request: its key, its own headers, and
    /// those without which the dialect takes nothing.
    ///
    /// `key` is one from the file and replaces the client's; the one from the usual environment
    /// variable is sent only when the client brought none. What comes back is the region to sign the
    /// finished request for.
    ///
    /// # Errors
    /// There is no key, where nothing is answered without one, or it is no header's value.
    pub fn authorize(
        &self,
        dialect: DialectName,
        headers: &mut HeaderMap,
        key: Option<&SecretString>,
    ) -> Result<Option<&str>> {
        let native = provider::native(dialect);
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
        let is_token = |begin| bearer.is_some_and(|bearer| bearer.starts_with(begin));
        // A client of the dialect itself sends what the dialect cannot do without.
        let mut is_strange = native.token.is_some_and(|begin| !is_token(begin));
        for (name, value) in native.headers {
            is_strange |= !headers.contains_key(*name);
            headers.entry(*name).or_insert(HeaderValue::from_static(value));
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let Some(name) = self.auth.header() else { return Ok(None) };
        let key = if let Some(key) = key {
            KEY_HEADERS.iter().for_each(|name| drop(headers.remove(name)));
            key
        } else {
            adopt(headers, &name, is_strange);
            if headers.contains_key(&name) || headers.contains_key(header::AUTHORIZATION) {
                return Ok(None);
            }
            match &self.fallback_key {
                Some(key) => key,
                None if self.auth == Auth::SigV4 => return self.signing_region().map(Some),
                None => return Ok(None),
            }
        };
        let value = key_value(&name, key.expose_secret()).ok_or_else(|| {
            let what = format!("the key of {} holds characters no header can", self.name);
            Error::new(Kind::Config, what)
        })?;
        headers.insert(&name, value);
        Ok(None)
    }

    fn signing_region(&self) -> Result<&str> {
        self.signing.as_deref().ok_or_else(|| {
            let what = format!(
                "{} has no key: set AWS_BEARER_TOKEN_BEDROCK, or a region and AWS_ACCESS_KEY_ID with \
                 AWS_SECRET_ACCESS_KEY, or run with a role",
                self.name
            );
            Error::new(Kind::Config, what)
        })
    }
}

/// Moves a key that the client's SDK put where another dialect has it to where it belongs.
///
/// A bearer token is left alone, since it may be more than a key in the wrong place, unless the
/// client is a stranger to the dialect.
fn adopt(headers: &mut HeaderMap, name: &HeaderName, is_strange: bool) {
    if headers.contains_key(name) {
        return;
    }
    let found = KEY_HEADERS.iter().find(|other| {
        let may_move = is_strange || **other != header::AUTHORIZATION;
        may_move && headers.contains_key(*other)
    });
    let Some(value) = found.and_then(|found| headers.remove(found)) else { return };
    let text = value.to_str().unwrap_or_default();
    let key = text.strip_prefix("Bearer ").unwrap_or(text);
    if let Some(value) = key_value(name, key) {
        headers.insert(name, value);
    }
}

/// The key as `name` holds it; `None` when no header can carry it.
fn key_value(name: &HeaderName, key: &str) -> Option<HeaderValue> {
    let value = match *name == header::AUTHORIZATION {
        true => HeaderValue::from_str(&format!("Bearer {key}")),
        false => HeaderValue::from_str(key),
    };
    let mut value = value.ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use secrecy::SecretString;

    use super::Provider;
    use crate::chat::DialectName;
    use crate::provider::Auth;

    /// What is sent to a provider with this auth and these keys when the client sends `sent`.
    fn sent(
        dialect: DialectName,
        (own, fallback): (Option<&str>, Option<&str>),
        sent: &[(&'static str, &str)],
    ) -> Vec<(String, String)> {
        let base_url = "http://127.0.0.1:1".parse().unwrap();
        let mut provider = Provider::native("p", base_url, dialect);
        let own = own.map(SecretString::from);
        provider.fallback_key = fallback.map(SecretString::from);
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.insert(*name, value.parse().unwrap());
        }
        provider.authorize(dialect, &mut headers, own.as_ref()).unwrap();
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let mut all: Vec<(String, String)> =
            headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        all.sort();
        all
    }

    #[test]
    fn a_key_goes_where_the_provider_wants_it_and_the_files_key_wins() {
        let (chat, claude) = (DialectName::OpenAi, DialectName::Anthropic);
        let gemini = DialectName::Gemini;
        let version = ("anthropic-version", "2023-06-01");
        let bearer = [("authorization", "Bearer c")];
        let oauth = [("authorization", "Bearer ya29.c")];
        for (dialect, keys, client, expected) in [
            (chat, (None, None), vec![], vec![]),
            (chat, (None, Some("f")), vec![], vec![("authorization", "Bearer f")]),
            (chat, (None, Some("f")), bearer.to_vec(), bearer.to_vec()),
            (chat, (Some("o"), Some("f")), bearer.to_vec(), vec![("authorization", "Bearer o")]),
            (chat, (None, None), vec![("x-api-key", "c")], bearer.to_vec()),
            (
                chat,
                (Some("o"), None),
                vec![("x-api-key", "c")],
                vec![("authorization", "Bearer o")],
            ),
            (claude, (None, Some("f")), vec![], vec![version, ("x-api-key", "f")]),
            (claude, (None, Some("f")), bearer.to_vec(), vec![version, ("x-api-key", "c")]),
            // A client of Anthropic's own sends tokens that are no keys.
            (claude, (None, Some("f")), vec![version, bearer[0]], vec![version, bearer[0]]),
            (
                claude,
                (Some("o"), None),
                vec![version, bearer[0]],
                vec![version, ("x-api-key", "o")],
            ),
            (
                claude,
                (None, None),
                vec![("anthropic-version", "2024-01-01"), ("x-api-key", "c")],
                vec![("anthropic-version", "2024-01-01"), ("x-api-key", "c")],
            ),
            (gemini, (None, None), vec![("x-api-key", "c")], vec![("x-goog-api-key", "c")]),
            (gemini, (None, Some("f")), bearer.to_vec(), vec![("x-goog-api-key", "c")]),
            (gemini, (None, Some("f")), oauth.to_vec(), oauth.to_vec()),
            (DialectName::Converse, (Some("o"), None), vec![], vec![("authorization", "Bearer o")]),
        ] {
            let expected: Vec<(String, String)> = expected
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            assert_eq!(sent(dialect, keys, &client), expected, "{dialect:?} {keys:?} {client:?}");
        }
    }

    #[test]
    fn what_has_no_key_is_signed_and_without_anything_to_sign_with_it_is_an_error() {
        let base_url = "http://127.0.0.1:1".parse().unwrap();
        let mut provider = Provider::native("bedrock", base_url, DialectName::Converse);
        let error =
            provider.authorize(DialectName::Converse, &mut HeaderMap::new(), None).unwrap_err();
        assert!(error.detail.contains("AWS_BEARER_TOKEN_BEDROCK"), "{error}");
        provider.signing = Some("us-east-1".to_owned());
        let mut headers = HeaderMap::new();
        let signing = provider.authorize(DialectName::Converse, &mut headers, None).unwrap();
        assert_eq!(signing, Some("us-east-1"));
        provider.auth = Auth::None;
        assert!(provider.authorize(DialectName::Converse, &mut headers, None).unwrap().is_none());
        assert!(headers.is_empty());
    }

    #[test]
    fn headers_of_the_file_replace_the_clients() {
        let base_url = "http://127.0.0.1:1".parse().unwrap();
        let mut provider = Provider::native("p", base_url, DialectName::OpenAi);
        provider.headers.insert("x-portkey-provider", "@openai".parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert("x-portkey-provider", "@other".parse().unwrap());
        provider.authorize(DialectName::OpenAi, &mut headers, None).unwrap();
        assert_eq!(headers.get("x-portkey-provider").unwrap(), "@openai");
        assert_eq!(headers.len(), 1);
    }
}
