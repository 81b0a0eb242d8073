//! Exchanges as lines of JSON, to be kept and moved; without credentials.
//!
//! A line is `{"understudy": 1, "facts": {…}, "request": {…}, "frames": [{"at_us": 0, "text": "…"}]}`.
//! `facts` are those of [`Head`]; a frame that is no text has `base64` instead. Without tenants the
//! second half of `facts.key` is zeros, which no credential has.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::chat::DialectName;
use crate::chat::Frame;
use crate::error::Result;
use crate::experiment::Target;
use crate::key::CacheKey;
use crate::key::ExchangeId;
use crate::library;
use crate::library::Imported;
use crate::library::Problem;
use crate::redact::Redactor;
use crate::store::Store;
use crate::store::exchange::Exchange;
use crate::store::exchange::Head;

/// The form of a line; raised when a reader could take an old one for something else.
const FORM: u32 = 1;

/// The most problems that are told one by one.
const MOST_PROBLEMS: usize = 100;

/// What stands where a credential was.
const SCRUBBED: &str = "scrubbed";

/// Words in a name that tell a credential.
const SECRET_NAMES: [&str; 13] = [
    "apikey",
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "key",
    "password",
    "secret",
    "session",
    "sig",
    "signature",
    "token",
];

/// What keys of providers begin with.
const SECRET_BEGINNINGS: [&str; 12] = [
    "AIza", "AKIA", "ASIA", "Basic ", "Bearer ", "eyJ", "gsk_", "hf_", "pplx-", "sk-", "xai-",
    "ya29.",
];

/// Shorter values are no keys.
const MIN_SECRET: usize = 16;

/// One exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The form of the line.
    pub understudy: u32,
    /// Everything but the bytes.
    pub facts: Head,
    /// The request as the application sent it, but for line ends.
    pub request: Box<RawValue>,
    /// The answer's body in the pieces it came in.
    pub frames: Vec<Piece>,
}

/// A piece of an answer's body: text, or base64 where it is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Microseconds from the moment the request was sent.
    pub at_us: u64,
    /// The piece, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The piece, where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl Line {
    /// The line of an exchange.
    pub fn of(exchange: &Exchange, with_tenant: bool) -> Self {
        let mut facts = exchange.head.clone();
        facts.lengths = Vec::new();
        if !with_tenant {
            facts.key = without_tenant(facts.key);
        }
        facts.asked.query = facts.asked.query.map(|query| without_secrets(&query));
        for (name, value) in &mut facts.headers {
            if is_secret(name, value) {
                SCRUBBED.clone_into(value);
            }
        }
        let frames = exchange.frames.iter().map(Piece::of).collect();
        Self { understudy: FORM, facts, request: one_line(&exchange.request), frames }
    }

    /// The line without its end.
    pub fn write(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// The exchange of a line.
    ///
    /// # Errors
    /// What is wrong with it, in words for whoever wrote it.
    pub fn read(text: &[u8]) -> std::result::Result<Exchange, String> {
        let line: Self = serde_json::from_slice(text).map_err(|error| {
            // The line's own number is told beside this, so serde's, always 1, only confuses.
            error.to_string().replace(" at line 1 column", " at column")
        })?;
        line.into_exchange()
    }

    /// The exchange.
    ///
    /// # Errors
    /// What in it cannot be.
    pub fn into_exchange(self) -> std::result::Result<Exchange, String> {
        if self.understudy != FORM {
            let found = self.understudy;
            return Err(format!("`understudy` is {found}: this version reads form {FORM}"));
        }
        let mut facts = self.facts;
        facts.lengths = Vec::new();
        if facts.id == ExchangeId::default() {
            return Err("`facts.id` is missing".to_owned());
        }
        if !(100..600).contains(&facts.status) {
            return Err(format!("`facts.status` is {}, which is no HTTP status", facts.status));
        }
        if DialectName::parse(&facts.dialect).is_none() {
            return Err(format!("`facts.dialect` is \"{}\", which is none", facts.dialect));
        }
        if Target::parse(&facts.target).is_none() {
            return Err(format!("`facts.target` is \"{}\", not provider/model", facts.target));
        }
        let pieces = self.frames.iter().enumerate();
        let frames = pieces
            .map(|(at, piece)| piece.frame().map_err(|what| format!("`frames[{at}]` {what}")));
        let frames: Vec<Frame> = frames.collect::<std::result::Result<_, _>>()?;
        if let Some(at) = frames.windows(2).position(|pair| match pair {
            [a, b] => a.at_us > b.at_us,
            _ => false,
        }) {
            return Err(format!("`frames[{}].at_us` is before the frame before it", at + 1));
        }
        let request = Bytes::from(self.request.get().to_owned());
        let exchange = Exchange { head: facts, request, frames };
        library::asked(&exchange).map_err(|error| format!("`request`: {error}"))?;
        Ok(exchange)
    }
}

impl Piece {
    fn of(frame: &Frame) -> Self {
        let text = std::str::from_utf8(&frame.bytes).ok().map(str::to_owned);
        let base64 = text.is_none().then(|| STANDARD.encode(&frame.bytes));
        Self { at_us: frame.at_us, text, base64 }
    }

    fn frame(&self) -> std::result::Result<Frame, String> {
        let bytes = match (&self.text, &self.base64) {
            (Some(text), None) => Bytes::from(text.clone()),
            (None, Some(text)) => {
                let decoded = STANDARD.decode(text);
                Bytes::from(decoded.map_err(|error| format!("is not base64: {error}"))?)
            }
            _ => return Err("needs either `text` or `base64`".to_owned()),
        };
        Ok(Frame { at_us: self.at_us, bytes })
    }
}

/// Stores the exchanges of an export that are not there yet.
///
/// # Errors
/// The disk is full or gone.
pub fn import(store: &Store, lines: &[u8], first_line: u64, rules: &Redactor) -> Result<Imported> {
    let mut imported = Imported::default();
    for (number, line) in (first_line..).zip(lines.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let redacted = |exchange: Exchange| match exchange.redacted(rules) {
            Ok(redacted) => Ok(redacted.map_or(exchange, |(redacted, _)| redacted)),
            Err(error) => Err(error.detail),
        };
        match Line::read(line).and_then(redacted) {
            Ok(exchange) if store.exchange(exchange.head.id).is_some() => imported.known += 1,
            Ok(exchange) => {
                store.put_exchange(&exchange)?;
                imported.added += 1;
            }
            Err(message) => {
                imported.wrong += 1;
                if imported.problems.len() < MOST_PROBLEMS {
                    imported.problems.push(Problem { line: number, message });
                }
            }
        }
    }
    store.flush()?;
    Ok(imported)
}

impl Imported {
    /// Adds what became of the next lines.
    pub fn add(&mut self, next: Self) {
        self.added += next.added;
        self.known += next.known;
        self.wrong += next.wrong;
        let room = MOST_PROBLEMS.saturating_sub(self.problems.len());
        self.problems.extend(next.problems.into_iter().take(room));
    }
}

/// JSON on one line: a line end never stands inside a string, so a space means the same.
fn one_line(request: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(request).replace(['\n', '\r'], " ");
    RawValue::from_string(text.trim().to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The half that is the same for every credential.
fn without_tenant(key: CacheKey) -> CacheKey {
    let mut key = key;
    key.0.iter_mut().skip(16).for_each(|byte| *byte = 0);
    key
}

fn without_secrets(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if is_secret(name, value) => format!("{name}={SCRUBBED}"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Whether something is a credential, by its name or by what it looks like.
fn is_secret(name: &str, value: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let is_named = words.any(|word| SECRET_NAMES.contains(&word));
    let is_like = SECRET_BEGINNINGS.iter().any(|beginning| value.starts_with(beginning));
    is_named || (is_like && value.len() >= MIN_SECRET)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;
    use serde_json::json;

    use super::Line;
    use crate::chat::Frame;
    use crate::key::CacheKey;
    use crate::key::ExchangeId;
    use crate::store::exchange::Exchange;
    use crate::store::exchange::Head;

    fn exchange() -> Exchange {
        let mut head = Head {
            id: ExchangeId([7; 16]),
            key: CacheKey([9; 32]),
            target: "alpha/m".into(),
            dialect: "openai".into(),
            status: 200,
            headers: vec![
                ("x-amz-security-token".into(), "abc".into()),
                ("x-ratelimit-remaining-tokens".into(), "12".into()),
                ("x-note".into(), "sk-0123456789abcdef".into()),
            ],
            ..Head::default()
        };
        head.asked.dialect = "openai".into();
        head.asked.query = Some("alt=sse&api_key=abc&x=Bearer 0123456789".into());
        let request = "{\n \"model\": \"m\",\r\n \"temperature\": 1.0, \"messages\": []}";
        let frame = |at_us, bytes: &'static [u8]| Frame { at_us, bytes: Bytes::from_static(bytes) };
        let frames = vec![frame(5, b"data: \xe2"), frame(9, b"\x82\xac\n"), frame(9, b"end")];
        Exchange { head, request: Bytes::from(request), frames }
    }

    #[test]
    fn a_line_gives_the_exchange_back_byte_for_byte() {
        let before = exchange();
        let text = Line::of(&before, true).write().unwrap();
        assert!(!text.contains('\n'));
        let after = Line::read(text.as_bytes()).unwrap();
        assert_eq!(after.frames, before.frames);
        assert_eq!((after.head.id, after.head.key), (before.head.id, before.head.key));
        let json =
            |exchange: &Exchange| serde_json::from_slice::<Value>(&exchange.request).unwrap();
        assert_eq!(json(&after), json(&before));
        assert!(after.request.windows(3).any(|bytes| bytes == b"1.0"), "numbers keep their form");
    }

    #[test]
    fn credentials_and_tenants_stay_at_home() {
        let text = Line::of(&exchange(), false).write().unwrap();
        for secret in ["abc", "0123456789", "09090909090909090909090909090909\""] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for kept in ["alt=sse", "remaining-tokens\",\"12\""] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
        let key = Line::read(text.as_bytes()).unwrap().head.key;
        assert_eq!((&key.0[..16], &key.0[16..]), (&[9; 16][..], &[0; 16][..]));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        let good: Value = serde_json::to_value(Line::of(&exchange(), true)).unwrap();
        for (pointer, value, wanted) in [
            ("/understudy", json!(2), "`understudy` is 2"),
            ("/facts/status", json!(0), "`facts.status` is 0"),
            ("/facts/dialect", json!("klingon"), "`facts.dialect` is \"klingon\""),
            ("/facts/target", json!("m"), "`facts.target` is \"m\""),
            ("/facts/id", json!("00000000000000000000000000000000"), "`facts.id`"),
            ("/facts/key", json!("zz"), "64 hex digits"),
            ("/request", json!([]), "`request`: "),
            ("/frames/1", json!({"at_us": 9}), "`frames[1]` needs either"),
            ("/frames/1", json!({"at_us": 9, "base64": "?"}), "`frames[1]` is not base64"),
            ("/frames/1/at_us", json!(1), "`frames[1].at_us` is before"),
            ("/frames/0", json!({"at_us": 0, "texd": ""}), "unknown field `texd`"),
        ] {
            let mut line = good.clone();
            *line.pointer_mut(pointer).unwrap() = value;
            let said = Line::read(line.to_string().as_bytes()).unwrap_err();
            assert!(said.contains(wanted), "{said}");
        }
    }
}
