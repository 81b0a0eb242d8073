//! JSON in a form that depends only on its meaning, not on how it is spelled.

use std::fmt;

use serde::Deserializer;
use serde::de;
use serde::de::DeserializeSeed;
use serde_json::Value;

/// Members of a body that are left out, each for the reason that [`crate::key::NOT_IN_KEY`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// `stream`, which only chooses the form of the answer.
    pub stream: bool,
    /// `stream_options.include_usage`, likewise.
    pub stream_usage: bool,
}

impl LeftOut {
    /// Only the model, which is always left out.
    pub const MODEL: Self = Self { stream: false, stream_usage: false };
}

/// The canonical form of a body.
///
/// # Errors
/// It is not JSON.
pub fn of_body(body: &[u8], left_out: LeftOut) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 2);
    let mut json = serde_json::Deserializer::from_slice(body);
    Canonical { out: &mut out, place: Place::Body(left_out) }.deserialize(&mut json)?;
    json.end()?;
    Ok(out)
}

/// Appends the canonical form of a value.
pub fn add(value: &Value, out: &mut Vec<u8>) {
    // A value in memory holds nothing that the form has no place for.
    let _ = Canonical { out, place: Place::Inside }.deserialize(value);
}

/// Appends a whole number.
pub fn add_integer(value: i128, out: &mut Vec<u8>) {
    tagged(out, b'i', &value.to_le_bytes());
}

/// Appends a number; `1.0`, `1e0` and `1` are one.
pub fn add_number(value: f64, out: &mut Vec<u8>) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        add_integer(value as i128, out);
    } else {
        tagged(out, b'f', &value.to_bits().to_le_bytes());
    }
}

/// Appends a text.
pub fn add_text(text: &str, out: &mut Vec<u8>) {
    tagged(out, b's', text.as_bytes());
}

/// Appends yes or no.
pub fn add_flag(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'b', u8::from(value)]);
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Stands for an object of which everything was left out.
const NOTHING: u8 = b'-';

/// What is being read, as far as something may be left out there.
#[derive(Clone, Copy)]
enum Place {
    Body(LeftOut),
    StreamOptions,
    Inside,
}

/// Writes one JSON value.
///
/// Tags and lengths make it prefix-free; members of an object are sorted by key. A key that occurs
/// twice stays twice, in order, because servers differ in which one they take.
struct Canonical<'o> {
    out: &'o mut Vec<u8>,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Canonical<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Canonical<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.out.push(b'n');
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        add_flag(value, self.out);
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        add_integer(value.into(), self.out);
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        add_integer(value.into(), self.out);
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        add_number(value, self.out);
        Ok(())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        add_text(value, self.out);
        Ok(())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        let place = Place::Inside;
        while seq.next_element_seed(Canonical { out: &mut *self.out, place })?.is_some() {}
        self.out.push(b']');
        Ok(())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.out.push(b'{');
        let mut members = Members { start: self.out.len(), all: Vec::new() };
        let mut is_shorter = false;
        loop {
            let start = self.out.len();
            let Some(()) = map.next_key_seed(Key(&mut *self.out))? else { break };
            let value = self.out.len();
            let key = self.out.get(start + KEY_AT..value).unwrap_or_default();
            let place = self.place.below(key);
            let Some(place) = place else {
                map.next_value::<de::IgnoredAny>()?;
                self.out.truncate(start);
                continue;
            };
            let is_usage = matches!(self.place, Place::StreamOptions) && key == b"include_usage";
            map.next_value_seed(Canonical { out: &mut *self.out, place })?;
            let first = self.out.get(value).copied();
            if first == Some(NOTHING) || (is_usage && first == Some(b'b')) {
                self.out.truncate(start);
                is_shorter = true;
            } else {
                members.all.push(Member { start, value, end: self.out.len() });
            }
        }
        if is_shorter && members.all.is_empty() && matches!(self.place, Place::StreamOptions) {
            self.out.truncate(members.start - 1);
            self.out.push(NOTHING);
            return Ok(());
        }
        members.sort(self.out);
        self.out.push(b'}');
        Ok(())
    }
}

impl Place {
    /// Where a member's value stands; `None` if it is left out.
    fn below(self, key: &[u8]) -> Option<Self> {
        match (self, key) {
            (Self::Body(_), b"model") => None,
            (Self::Body(LeftOut { stream: true, .. }), b"stream") => None,
            (Self::Body(LeftOut { stream_usage: true, .. }), b"stream_options") => {
                Some(Self::StreamOptions)
            }
            _ => Some(Self::Inside),
        }
    }
}

/// Where a key begins in a member: after its tag and its length.
const KEY_AT: usize = 9;

/// One member in the output: its key, then its value.
struct Member {
    start: usize,
    value: usize,
    end: usize,
}

/// The members of one object, which lie one after the other in the output.
struct Members {
    start: usize,
    all: Vec<Member>,
}

impl Members {
    /// Brings them into the order of their keys; equal keys stay as they are.
    fn sort(mut self, out: &mut Vec<u8>) {
        let key = |member: &Member| out.get(member.start + KEY_AT..member.value).unwrap_or(&[]);
        if self.all.is_sorted_by_key(key) {
            return;
        }
        self.all.sort_by(|a, b| key(a).cmp(key(b)));
        let unsorted = out.split_off(self.start);
        for member in self.all {
            let of = member.start - self.start..member.end - self.start;
            out.extend_from_slice(unsorted.get(of).unwrap_or_default());
        }
    }
}

/// Writes the key of a member.
struct Key<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl de::Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<(), E> {
        tagged(self.0, b'k', key.as_bytes());
        Ok(())
    }
}
