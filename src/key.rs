//! What makes two requests the same: the digest of the prompt and the key of its answer.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de;
use serde::de::DeserializeSeed;

use crate::chat::DialectName;
use crate::experiment::Target;

/// Raised when the meaning of a digest changes, so that old entries can never be found again.
pub const KEY_VERSION: u32 = 1;

/// Top-level fields that do not make an answer different; everything else in a body counts.
///
/// `model` is out because the key holds the model that is really called.
pub const NOT_IN_KEY: &[&str] = &["model"];

/// Everything a request asks, whoever answers it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PromptDigest(pub [u8; 32]);

/// Everything a request asks, and who answers it for whom.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(pub [u8; 32]);

/// Names an exchange; later ones are greater.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub [u8; 16]);

/// Whose credential a request carries; never the credential itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant(pub [u8; 32]);

impl PromptDigest {
    /// The digest of a JSON body: key order, white space and number spelling do not count.
    ///
    /// `beside` is what a path and its query ask besides; nothing, in most dialects.
    ///
    /// # Errors
    /// Where the body is not JSON.
    pub fn of(
        dialect: DialectName,
        body: &[u8],
        beside: &[&str],
    ) -> Result<Self, serde_json::Error> {
        let mut canonical = Vec::with_capacity(body.len());
        let mut json = serde_json::Deserializer::from_slice(body);
        Canonical { out: &mut canonical, depth: 0 }.deserialize(&mut json)?;
        json.end()?;
        let mut hasher = Parts::new("prompt");
        hasher.part(dialect.as_str().as_bytes());
        hasher.part(&canonical);
        beside.iter().for_each(|part| hasher.part(part.as_bytes()));
        Ok(Self(hasher.finish()))
    }
}

impl CacheKey {
    /// The key of one answer; `variant` is empty outside experiments.
    pub fn of(prompt: &PromptDigest, target: &Target, tenant: &Tenant, variant: &[&str]) -> Self {
        let mut hasher = Parts::new("answer");
        hasher.part(&prompt.0);
        hasher.part(target.provider.as_bytes());
        hasher.part(target.model.as_bytes());
        for part in variant {
            hasher.part(part.as_bytes());
        }
        let mut key = hasher.finish();
        let mut bound = Parts::new("bound");
        bound.part(&key);
        bound.part(&tenant.0);
        let own = bound.finish();
        key.iter_mut().zip(own).skip(16).for_each(|(byte, own)| *byte = own);
        Self(key)
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
}

/// blake3 over parts that cannot run into each other: each is preceded by its length.
pub struct Parts(blake3::Hasher);

impl Parts {
    /// Starts a digest for one purpose, in this version of the key.
    pub fn new(purpose: &str) -> Self {
        let mut parts = Self(blake3::Hasher::new());
        parts.part(b"understudy");
        parts.part(&KEY_VERSION.to_le_bytes());
        parts.part(purpose.as_bytes());
        parts
    }

    /// Adds a part.
    pub fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// Writes one JSON value in a form that depends only on its meaning.
///
/// Tags and lengths make it prefix-free; members of an object are sorted by key. A key that occurs
/// twice stays twice, in order, because servers differ in which one they take.
struct Canonical<'o> {
    out: &'o mut Vec<u8>,
    depth: u32,
}

impl<'de> DeserializeSeed<'de> for Canonical<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Canonical<'_> {
    fn tagged(self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }

    fn integer(self, value: i128) {
        self.tagged(b'i', value.to_string().as_bytes());
    }
}

impl<'de> de::Visitor<'de> for Canonical<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.tagged(b'n', b"");
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.tagged(b'b', &[u8::from(value)]);
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into());
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into());
        Ok(())
    }

    /// `1.0`, `1e0` and `1` are one number.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && value.abs() < EXACT {
            self.integer(value as i128);
        } else {
            self.tagged(b'f', &value.to_bits().to_le_bytes());
        }
        Ok(())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.tagged(b's', value.as_bytes());
        Ok(())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        while seq
            .next_element_seed(Canonical { out: &mut *self.out, depth: self.depth + 1 })?
            .is_some()
        {}
        self.out.push(b']');
        Ok(())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let start = self.out.len();
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if self.depth == 0 && NOT_IN_KEY.contains(&key.as_str()) {
                map.next_value::<de::IgnoredAny>()?;
                continue;
            }
            let at = self.out.len();
            map.next_value_seed(Canonical { out: &mut *self.out, depth: self.depth + 1 })?;
            members.push((key, at..self.out.len()));
        }
        members.sort_by(|a, b| a.0.cmp(&b.0));
        let unsorted = self.out.split_off(start);
        self.out.push(b'{');
        for (key, range) in members {
            Canonical { out: &mut *self.out, depth: 0 }.tagged(b'k', key.as_bytes());
            self.out.extend_from_slice(&unsorted[range.start - start..range.end - start]);
        }
        self.out.push(b'}');
        Ok(())
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
    use super::CacheKey;
    use super::PromptDigest;
    use super::Tenant;
    use crate::chat::DialectName;
    use crate::experiment::Target;

    fn digest(body: &str) -> PromptDigest {
        PromptDigest::of(DialectName::OpenAi, body.as_bytes(), &[]).unwrap()
    }

    /// Each pair is one request in two spellings.
    #[test]
    fn spelling_does_not_count() {
        for (a, b) in [
            (r#"{"a":1,"b":{"c":2,"d":3}}"#, r#"{ "b": {"d":3,"c":2}, "a":1 }"#),
            (r#"{"t":1}"#, r#"{"t":1.0}"#),
            (r#"{"t":100}"#, r#"{"t":1e2}"#),
            (r#"{"s":"é\n"}"#, r#"{"s":"\u00e9\u000a"}"#),
            (r#"{"model":"x","s":1}"#, r#"{"s":1,"model":"y"}"#),
        ] {
            assert_eq!(digest(a), digest(b), "{a} {b}");
        }
    }

    /// Each pair differs in something a model may react to.
    #[test]
    fn meaning_counts() {
        for (a, b) in [
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":[1],"b":[]}"#, r#"{"a":[],"b":[1]}"#),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":0.1}"#, r#"{"a":0.2}"#),
            (r#"{"seed":1}"#, r#"{"seed":2}"#),
            (r#"{"a":{"model":"x"}}"#, r#"{"a":{"model":"y"}}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":18446744073709551615}"#, r#"{"a":18446744073709551614}"#),
        ] {
            assert_ne!(digest(a), digest(b), "{a} {b}");
        }
    }

    #[test]
    fn target_tenant_and_variant_count() {
        let prompt = digest("{}");
        let target = |model: &str| Target { provider: "p".into(), model: model.into() };
        let tenant = |key: &[u8]| Tenant::of([key]);
        let base = CacheKey::of(&prompt, &target("m"), &tenant(b"k"), &[]);
        for other in [
            CacheKey::of(&prompt, &target("n"), &tenant(b"k"), &[]),
            CacheKey::of(&prompt, &target("m"), &tenant(b"l"), &[]),
            CacheKey::of(&prompt, &target("m"), &tenant(b"k"), &["e", "control"]),
            CacheKey::of(&digest("[]"), &target("m"), &tenant(b"k"), &[]),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(CacheKey::parse(&base.to_string()), Some(base));
    }

    /// Pinned: a digest that changes makes every stored answer unreachable.
    #[test]
    fn digests_never_change() {
        let body = r#"{"messages":[{"role":"user","content":"hi"}],"temperature":0.5,"n":1}"#;
        assert_eq!(digest(body).to_string(), PINNED);
    }

    const PINNED: &str = "33f06049c5ed7bca37b8090683cab2c070706657e5761dea638a915b76fcd712";
}
