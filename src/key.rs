//! What makes two requests the same: the digest of the prompt and the key of its answer.

mod field;
mod json;
mod prompt;
mod words;

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de;

use crate::experiment::Target;

pub use field::KEY_HEADERS;
pub use field::KeyHeader;
pub use field::NOT_IN_KEY;
pub use field::NOT_IN_KEY_OF_QUERY;
pub use field::TENANT_HEADERS;
pub use field::in_order;
pub use json::LeftOut;
pub use prompt::MAX_COMMON_BYTES;
pub use prompt::Reach;
pub use prompt::Reading;
pub use prompt::exactly;
pub use prompt::left_out;
pub use prompt::read;

/// Raised when the meaning of a digest changes, so that old entries can never be found again.
pub const KEY_VERSION: u32 = 2;

/// Everything a request asks, whoever answers it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PromptDigest(pub [u8; 32]);

/// Everything a request asks, and who answers it for whom.
///
/// The first half says nothing of the tenant, so that all tenants who ask the same of the same
/// target have it in common; the second half holds the first and the tenant.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(pub [u8; 32]);

/// The bytes of half a key.
const HALF: usize = 16;

/// Names an exchange; later ones are greater.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub [u8; 16]);

/// Whose credential a request carries; never the credential itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant(pub [u8; 32]);

/// What a key is made of.
#[derive(Clone, Copy, Debug)]
pub struct Ingredients<'a> {
    /// What is asked.
    pub prompt: &'a PromptDigest,
    /// Who answers.
    pub target: &'a Target,
    /// Experiment, variant and what it changes, or what a cascade accepts; else empty.
    pub variant: &'a [&'a str],
    /// Headers that make another answer, with their values.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Whose credential is sent.
    pub tenant: &'a Tenant,
    /// Headers that choose one of the tenant's accounts.
    pub accounts: &'a [(&'a str, &'a [u8])],
}

impl CacheKey {
    /// The key of one answer.
    pub fn of(from: &Ingredients<'_>) -> Self {
        let Ingredients { prompt, target, variant, headers, tenant, accounts } = from;
        let mut answer = Parts::new("answer");
        answer.part(&prompt.0);
        answer.part(target.provider.as_bytes());
        answer.part(target.model.as_bytes());
        answer.count(variant.len());
        variant.iter().for_each(|part| answer.part(part.as_bytes()));
        answer.headers(headers);
        let answer = answer.finish();
        let mut own = Parts::new("answer of a tenant");
        own.part(&answer);
        own.part(&tenant.0);
        own.headers(accounts);
        let mut key = answer;
        key[HALF..].copy_from_slice(&own.finish()[..HALF]);
        Self(key)
    }

    /// The key of everybody's answers together: no tenant has it.
    pub fn of_anyone(&self) -> Self {
        let mut key = [0; 32];
        key[..HALF].copy_from_slice(&self.0[..HALF]);
        Self(key)
    }

    /// What is asked of whom, whoever asks.
    pub fn prompt_half(&self) -> [u8; HALF] {
        let mut half = [0; HALF];
        half.copy_from_slice(&self.0[..HALF]);
        half
    }

    /// Reads the form that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = blake3::Hash::from_hex(text).ok()?;
        Some(Self(*bytes.as_bytes()))
    }
}

impl Tenant {
    /// The tenant that sent these credentials; none at all is a tenant too.
    pub fn of<'a>(credentials: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Parts::new("tenant");
        for credential in credentials {
            hasher.part(credential);
        }
        Self(hasher.finish())
    }

    /// The first 16 hex digits, by which people name it.
    pub fn short(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().chars().take(16).collect()
    }
}

/// blake3 over parts that cannot run into each other: each is preceded by its length.
pub struct Parts {
    /// What was not hashed yet.
    few: Vec<u8>,
    /// What was; most digests are of so little that nothing is.
    many: Option<Box<blake3::Hasher>>,
}

/// Bytes that are hashed in one call; blake3's chunk.
const FEW: usize = 1024;

impl Parts {
    /// Starts a digest for one purpose, in this version of the key.
    pub fn new(purpose: &str) -> Self {
        let mut parts = Self { few: Vec::with_capacity(FEW), many: None };
        parts.part(b"understudy");
        parts.part(&KEY_VERSION.to_le_bytes());
        parts.part(purpose.as_bytes());
        parts
    }

    /// Adds a part.
    pub fn part(&mut self, bytes: &[u8]) {
        self.add(&(bytes.len() as u64).to_le_bytes());
        self.add(bytes);
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.few.len() + bytes.len() <= FEW {
            self.few.extend_from_slice(bytes);
            return;
        }
        self.many.get_or_insert_default().update(&self.few).update(bytes);
        self.few.clear();
    }

    /// Adds how many parts follow, where there may be any number before others.
    pub fn count(&mut self, count: usize) {
        self.part(&(count as u64).to_le_bytes());
    }

    fn headers(&mut self, headers: &[(&str, &[u8])]) {
        self.count(headers.len());
        for (name, value) in headers {
            self.part(name.as_bytes());
            self.part(value);
        }
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        let digest = match self.many {
            Some(mut many) => many.update(&self.few).finalize(),
            None => blake3::hash(&self.few),
        };
        *digest.as_bytes()
    }
}

macro_rules! hex_form {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }
    )*};
}

hex_form!(PromptDigest, CacheKey, Tenant);

impl Serialize for CacheKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CacheKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected 64 hex digits"))
    }
}

impl ExchangeId {
    /// Reads the form that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ExchangeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExchangeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected 32 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::CacheKey;
    use super::Ingredients;
    use super::PromptDigest;
    use super::Tenant;
    use super::read;
    use crate::chat::DialectName;
    use crate::experiment::Target;

    /// The fields of a request that says hi.
    fn digest(fields: &str) -> PromptDigest {
        let given: serde_json::Value = serde_json::from_str(&format!("{{{fields}}}")).unwrap();
        let model = if given.get("model").is_some() { "" } else { r#""model":"m","# };
        let comma = if fields.is_empty() { "" } else { "," };
        let hi = r#""messages":[{"role":"user","content":"hi"}]"#;
        let body = format!("{{{model}{hi}{comma}{fields}}}");
        let dialect = DialectName::OpenAi.dialect();
        let head = dialect.read_head(Bytes::from(body), None).unwrap();
        read(dialect, &head, &[]).unwrap().digest
    }

    /// Each pair is one request in two spellings.
    #[test]
    fn spelling_does_not_count() {
        for (a, b) in [
            (r#""a":1,"b":{"c":2,"d":3}"#, r#" "b": {"d":3,"c":2}, "a":1 "#),
            (r#""t":1"#, r#""t":1.0"#),
            (r#""t":100"#, r#""t":1e2"#),
            (r#""temperature":1"#, r#""temperature":1.0"#),
            (r#""s":"é\n""#, r#""s":"\u00e9\u000a""#),
            (r#""model":"x","s":1"#, r#""s":1,"model":"y""#),
            (r#""stream":true"#, ""),
            (r#""stream":true,"stream_options":{"include_usage":true}"#, r#""stream":false"#),
        ] {
            assert_eq!(digest(a), digest(b), "{a} {b}");
        }
    }

    /// Each pair differs in something a model may react to.
    #[test]
    fn meaning_counts() {
        for (a, b) in [
            (r#""a":[1,2]"#, r#""a":[2,1]"#),
            (r#""a":[1],"b":[]"#, r#""a":[],"b":[1]"#),
            (r#""a":1"#, r#""a":"1""#),
            (r#""a":null"#, ""),
            (r#""temperature":null"#, ""),
            (r#""a":0.1"#, r#""a":0.2"#),
            (r#""seed":1"#, r#""seed":2"#),
            (r#""a":{"model":"x"}"#, r#""a":{"model":"y"}"#),
            (r#""a":1,"a":2"#, r#""a":2"#),
            (r#""a":18446744073709551615"#, r#""a":18446744073709551614"#),
            (r#""stream_options":{"include_usage":true}"#, ""),
            (r#""stream":true,"stream_options":{}"#, r#""stream":true"#),
            (r#""max_tokens":5"#, r#""max_completion_tokens":5"#),
        ] {
            assert_ne!(digest(a), digest(b), "{a} {b}");
        }
    }

    #[test]
    fn everything_beside_the_prompt_counts_and_only_the_tenant_in_the_second_half() {
        let (prompt, other) = (digest(""), digest(r#""seed":1"#));
        let target = |model: &str| Target { provider: "p".into(), model: model.into() };
        let (m, n) = (target("m"), target("n"));
        let (k, l) = (Tenant::of([b"k".as_slice()]), Tenant::of([b"l".as_slice()]));
        let (beta, org) =
            ([("anthropic-beta", b"b".as_slice())], [("openai-organization", b"o".as_slice())]);
        let base = Ingredients {
            prompt: &prompt,
            target: &m,
            variant: &[],
            headers: &[],
            tenant: &k,
            accounts: &[],
        };
        let key = CacheKey::of(&base);
        for (is_half_same, other) in [
            (false, Ingredients { prompt: &other, ..base }),
            (false, Ingredients { target: &n, ..base }),
            (false, Ingredients { variant: &["e", "control"], ..base }),
            (false, Ingredients { headers: &beta, ..base }),
            (true, Ingredients { tenant: &l, ..base }),
            (true, Ingredients { accounts: &org, ..base }),
        ] {
            let other = CacheKey::of(&other);
            assert_eq!(other.prompt_half() == key.prompt_half(), is_half_same, "{other}");
            assert_ne!(other.0[16..], key.0[16..], "{other}");
        }
        assert_eq!(CacheKey::parse(&key.to_string()), Some(key));
    }

    /// Pinned: a key that changes makes every stored answer unreachable.
    #[test]
    fn keys_never_change() {
        let prompt = PromptDigest([7; 32]);
        let target = Target { provider: "openai".into(), model: "gpt-4o".into() };
        let tenant = Tenant::of([b"authorization".as_slice(), b"Bearer k"]);
        let key = CacheKey::of(&Ingredients {
            prompt: &prompt,
            target: &target,
            variant: &["upgrade", "control", ""],
            headers: &[("openai-beta", b"x")],
            tenant: &tenant,
            accounts: &[("openai-project", b"y")],
        });
        assert_eq!(key.to_string(), PINNED);
    }

    const PINNED: &str = "be963e3d7f21644bf79ee69cd86264f3b78fe76d46f76cff573da5e78dab16f3";
}
