//! The shapes of events, items and responses on the wire, borrowed and lenient.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de;
use serde_json::value::RawValue;

use crate::chat::TokenLogprob;
use crate::chat::Usage;
use crate::wire::openai::text::Text;

/// One event of a stream; objects are read only by the events that need them.
#[derive(Deserialize)]
pub struct Event<'a> {
    #[serde(default, borrow, rename = "type")]
    pub kind: Text<'a>,
    #[serde(default)]
    pub output_index: Number,
    #[serde(default)]
    pub content_index: Number,
    #[serde(default)]
    pub summary_index: Number,
    #[serde(default, borrow)]
    pub item_id: Text<'a>,
    #[serde(default, borrow)]
    pub delta: Text<'a>,
    #[serde(default, borrow)]
    pub text: Text<'a>,
    #[serde(default, borrow)]
    pub refusal: Text<'a>,
    #[serde(default, borrow)]
    pub name: Text<'a>,
    #[serde(default, borrow)]
    pub arguments: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub input: Text<'a>,
    #[serde(default, borrow)]
    pub logprobs: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub annotation: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub part: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub item: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub response: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
}

/// A response: a whole body, or what the first and last events of a stream hold.
#[derive(Deserialize)]
pub struct Response<'a> {
    #[serde(default, borrow)]
    pub id: Text<'a>,
    #[serde(default, borrow)]
    pub model: Text<'a>,
    #[serde(default, borrow)]
    pub status: Text<'a>,
    #[serde(default, borrow)]
    pub output: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub usage: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub incomplete_details: Option<&'a RawValue>,
}

/// Why a response is incomplete.
#[derive(Deserialize)]
pub struct IncompleteDetails<'a> {
    #[serde(default, borrow)]
    pub reason: Text<'a>,
}

/// One item of the output.
#[derive(Deserialize)]
pub struct Item<'a> {
    #[serde(default, borrow, rename = "type")]
    pub kind: Text<'a>,
    #[serde(default, borrow)]
    pub id: Text<'a>,
    #[serde(default, borrow)]
    pub call_id: Text<'a>,
    #[serde(default, borrow)]
    pub name: Text<'a>,
    #[serde(default, borrow)]
    pub arguments: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub input: Text<'a>,
    #[serde(default, borrow)]
    pub content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub summary: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub encrypted_content: Text<'a>,
    #[serde(default, borrow)]
    pub result: Text<'a>,
    #[serde(default, borrow)]
    pub output_format: Text<'a>,
}

/// One part of a message or of reasoning.
#[derive(Deserialize)]
pub struct Part<'a> {
    #[serde(default, borrow, rename = "type")]
    pub kind: Text<'a>,
    #[serde(default, borrow)]
    pub text: Text<'a>,
    #[serde(default, borrow)]
    pub refusal: Text<'a>,
    #[serde(default, borrow)]
    pub annotations: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub logprobs: Option<&'a RawValue>,
}

/// A source.
#[derive(Deserialize)]
pub struct Annotation<'a> {
    #[serde(default, borrow)]
    pub url: Text<'a>,
    #[serde(default, borrow)]
    pub title: Text<'a>,
    #[serde(default, borrow)]
    pub filename: Text<'a>,
    #[serde(default, borrow)]
    pub file_id: Text<'a>,
    #[serde(default)]
    pub start_index: Number,
    #[serde(default)]
    pub end_index: Number,
}

#[derive(Deserialize)]
struct Logprob {
    token: String,
    logprob: f64,
    #[serde(default)]
    top_logprobs: Option<Vec<Top>>,
}

#[derive(Deserialize)]
struct Top {
    token: String,
    logprob: f64,
}

#[derive(Deserialize)]
struct WireUsage<'a> {
    #[serde(default)]
    input_tokens: Number,
    #[serde(default)]
    output_tokens: Number,
    #[serde(default)]
    total_tokens: Number,
    #[serde(default, borrow)]
    input_tokens_details: Option<&'a RawValue>,
    #[serde(default, borrow)]
    output_tokens_details: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Number,
    #[serde(default)]
    cache_write_tokens: Number,
    #[serde(default)]
    reasoning_tokens: Number,
}

/// Reads an object that may be anything.
pub fn object<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    raw.filter(|raw| raw.get().starts_with('{'))
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// Reads a list that may be anything; entries of other shapes are left out.
pub fn list<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Vec<T> {
    let raw = raw.map(RawValue::get).filter(|raw| raw.starts_with('[') && *raw != "[]");
    let entries = raw.and_then(|raw| serde_json::from_str::<Vec<&'a RawValue>>(raw).ok());
    entries.unwrap_or_default().into_iter().filter_map(|entry| object(Some(entry))).collect()
}

/// Arguments are a string of JSON; some servers send the JSON itself.
pub fn arguments(raw: Option<&RawValue>) -> Cow<'_, str> {
    match raw.map(RawValue::get) {
        None | Some("null") => Cow::Borrowed(""),
        Some(text) if text.starts_with('"') => {
            serde_json::from_str::<Text<'_>>(text).map(|text| text.text).unwrap_or_default()
        }
        Some(json) => Cow::Borrowed(json),
    }
}

/// Log-probabilities of tokens.
pub fn logprobs(raw: Option<&RawValue>) -> Vec<TokenLogprob> {
    let tokens = list::<Logprob>(raw).into_iter();
    let top = |top: Top| (top.token, top.logprob);
    let token = |one: Logprob| TokenLogprob {
        token: one.token,
        logprob: one.logprob,
        top: one.top_logprobs.unwrap_or_default().into_iter().map(top).collect(),
    };
    tokens.map(token).collect()
}

/// Tokens counted.
pub fn usage(raw: Option<&RawValue>) -> Option<Usage> {
    let usage: WireUsage<'_> = object(raw)?;
    let input: Details = object(usage.input_tokens_details).unwrap_or_default();
    let output: Details = object(usage.output_tokens_details).unwrap_or_default();
    Some(Usage {
        input_tokens: usage.input_tokens.0,
        output_tokens: usage.output_tokens.0,
        total_tokens: usage.total_tokens.0,
        cached_input_tokens: input.cached_tokens.0,
        cache_write_tokens: input.cache_write_tokens.0,
        cache_write_1h_tokens: None,
        reasoning_tokens: output.reasoning_tokens.0,
    })
}

/// A whole number from 0; anything else reads as none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Number(pub Option<u64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl<'de> de::Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number(Some(number)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
        Ok(Number(number.try_into().ok()))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Number, A::Error> {
        while seq.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Number(None))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
        while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
        Ok(Number(None))
    }
}
