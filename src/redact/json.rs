//! JSON is edited in its texts alone: every other byte, and what the texts stand for, stays.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de;
use serde::de::IgnoredAny;

use crate::redact::Edit;
use crate::redact::Found;
use crate::redact::Redactor;
use crate::redact::apply;

/// JSON in a text, in which a text may be JSON again: so many times.
const MOST_NESTED: usize = 4;

/// A longer text of base64 letters alone is an image, a sound, or a seal.
const MIN_BASE64: usize = 256;

/// Fields whose words say what something is. Rules of one's own leave such words alone.
static WORDS: [&str; 9] = [
    "finishReason",
    "finish_reason",
    "mimeType",
    "object",
    "role",
    "status",
    "stopReason",
    "stop_reason",
    "type",
];

/// Fields of names that providers give, and of their seals. Rules of one's own leave them alone,
/// because a few digits in a row are in many of them.
static NAMES: [&str; 16] = [
    "call_id",
    "encrypted_content",
    "id",
    "item_id",
    "model",
    "modelVersion",
    "obfuscation",
    "previous_response_id",
    "responseId",
    "response_id",
    "signature",
    "system_fingerprint",
    "thoughtSignature",
    "toolUseId",
    "tool_call_id",
    "tool_use_id",
];

/// Fields below which everything is the application's own, where they are not a body's own.
static DATA: [&str; 7] = ["args", "arguments", "input", "json", "output", "response", "result"];

/// Fields with the tokens of a text one by one.
static TOKENS: [&str; 2] = ["logprobs", "logprobsResult"];

/// A walk through one text of JSON.
pub struct Walk<'a> {
    redactor: &'a Redactor,
    found: &'a mut Found,
    text: &'a str,
    at: usize,
    nested: usize,
    edits: Vec<Edit>,
    /// Where tokens stand, and what may stand there instead.
    tokens: Vec<Edit>,
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    key: &'a str,
    depth: usize,
    /// The application's own, which has no words of a dialect.
    is_data: bool,
}

impl<'a> Walk<'a> {
    /// How to edit the body of a request or an answer; `None` when it is not JSON.
    pub fn message(
        redactor: &'a Redactor,
        text: &'a str,
        found: &'a mut Found,
    ) -> Option<Vec<Edit>> {
        Self::run(redactor, text, found, (false, 0))
    }

    /// How to edit JSON of the application's own; `None` when it is not JSON.
    pub fn data(redactor: &'a Redactor, text: &'a str, found: &'a mut Found) -> Option<Vec<Edit>> {
        Self::run(redactor, text, found, (true, 0))
    }

    fn run(
        redactor: &'a Redactor,
        text: &'a str,
        found: &'a mut Found,
        (is_data, nested): (bool, usize),
    ) -> Option<Vec<Edit>> {
        // It is no deeper than what the parser allows, and the walk need not expect anything else.
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        let (edits, tokens) = (Vec::new(), Vec::new());
        let mut walk = Self { redactor, found, text, at: 0, nested, edits, tokens };
        walk.value(Place { key: "", depth: 0, is_data });
        Some(walk.finish())
    }

    /// Tokens tell the text that they are of, so with the text they go.
    fn finish(self) -> Vec<Edit> {
        let Self { mut edits, tokens, .. } = self;
        if !edits.is_empty() {
            let is_of = |edit: &Edit, tokens: &Edit| tokens.range.contains(&edit.range.start);
            edits.retain(|edit| !tokens.iter().any(|tokens| is_of(edit, tokens)));
            edits.extend(tokens);
            edits.sort_by_key(|edit| edit.range.start);
        }
        edits
    }

    fn value(&mut self, place: Place<'_>) {
        let start = self.skip_space();
        match self.byte() {
            b'{' => self.object(place),
            b'[' => self.array(place),
            b'"' => {
                self.skip_string();
                self.string(start..self.at, place);
            }
            _ => {
                while !matches!(self.byte(), b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' | 0)
                {
                    self.at += 1;
                }
                self.number(start..self.at, place);
            }
        }
    }

    /// Notes tokens, in the place of those in them.
    fn note_tokens(&mut self, range: Range<usize>) {
        let with = match self.text.as_bytes().get(range.start) {
            Some(b'{') => "null",
            Some(b'[') => "[]",
            _ => return,
        };
        self.tokens.retain(|inner| !range.contains(&inner.range.start));
        self.tokens.push(Edit { range, with: with.to_owned() });
    }

    fn object(&mut self, place: Place<'_>) {
        self.at += 1;
        let depth = place.depth + 1;
        // A whole response is a body, too, where an event of a stream tells it.
        let is_body = place.depth == 0 || (place.depth == 1 && place.key == "response");
        loop {
            let start = self.skip_space();
            if self.byte() != b'"' {
                break;
            }
            self.skip_string();
            // An escape in a name only keeps it from being one of ours.
            let text = self.text;
            let key = text.get(start + 1..self.at - 1).unwrap_or_default();
            self.skip_space();
            self.at += 1;
            let is_data = place.is_data || (!is_body && DATA.contains(&key));
            let start = self.skip_space();
            self.value(Place { key, depth, is_data });
            if TOKENS.contains(&key) && !is_data {
                self.note_tokens(start..self.at);
            }
            self.skip_space();
            if self.byte() != b',' {
                break;
            }
            self.at += 1;
        }
        self.at += 1;
    }

    fn array(&mut self, place: Place<'_>) {
        self.at += 1;
        self.skip_space();
        while !matches!(self.byte(), b']' | 0) {
            self.value(Place { depth: place.depth + 1, ..place });
            self.skip_space();
            if self.byte() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    fn string(&mut self, range: Range<usize>, place: Place<'_>) {
        let token = self.text.get(range.clone()).unwrap_or_default();
        let Some(value) = decoded(token) else { return };
        if is_blob(&value) {
            return;
        }
        let edits = self.edits_of(&value, place);
        if !edits.is_empty() {
            let with = serde_json::Value::from(apply(&value, &edits)).to_string();
            self.edits.push(Edit { range, with });
        }
    }

    fn edits_of(&mut self, value: &str, place: Place<'_>) -> Vec<Edit> {
        let is_like_json = value.trim_start().starts_with(['{', '[']);
        if is_like_json && self.nested < MOST_NESTED {
            let inside = (true, self.nested + 1);
            if let Some(edits) = Walk::run(self.redactor, value, self.found, inside) {
                return edits;
            }
        }
        let is_named = NAMES.contains(&place.key) || (WORDS.contains(&place.key) && is_word(value));
        match is_named && !place.is_data {
            true => self.redactor.plain_by_built_in(value, self.found),
            false => self.redactor.plain(value, self.found),
        }
    }

    /// A whole number of the application's own that is something else than a number.
    fn number(&mut self, range: Range<usize>, place: Place<'_>) {
        let digits = self.text.get(range.clone()).unwrap_or_default();
        let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        if !place.is_data || !is_whole {
            return;
        }
        let edits = self.redactor.plain(digits, self.found);
        if !edits.is_empty() {
            let with = serde_json::Value::from(apply(digits, &edits)).to_string();
            self.edits.push(Edit { range, with });
        }
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) -> usize {
        while matches!(self.byte(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.at
    }

    fn skip_string(&mut self) {
        self.at += 1;
        loop {
            match self.byte() {
                b'\\' => self.at += 2,
                b'"' | 0 => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }
}

/// What a string stands for; half a character, which JSON can write, is replaced.
fn decoded(token: &str) -> Option<Cow<'_, str>> {
    if !token.contains('\\') {
        return token.get(1..token.len().saturating_sub(1)).map(Cow::Borrowed);
    }
    let mut reader = serde_json::Deserializer::from_str(token);
    let bytes = de::Deserializer::deserialize_bytes(&mut reader, Octets).ok()?;
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

struct Octets;

impl de::Visitor<'_> for Octets {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_owned())
    }
}

/// A word as dialects have them: letters, digits, and what joins them.
fn is_word(value: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_./".contains(&byte);
    value.len() <= 64 && value.bytes().all(is_part)
}

/// Bytes written as a text, in which a rule could only match by chance.
fn is_blob(value: &str) -> bool {
    let data = value.strip_prefix("data:").and_then(|url| url.split_once(";base64,"));
    let is_url = data.is_some_and(|(kind, _)| kind.len() <= 100);
    let data = data.filter(|_| is_url).map_or(value, |(_, data)| data);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte);
    (is_url || data.len() >= MIN_BASE64) && data.bytes().all(is_letter)
}
