//! What OpenAI-compatible servers put where a string belongs.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de;
use serde_json::Value;

/// A string that may also be null, absent, or a list of typed parts; anything else reads as empty.
#[derive(Default)]
pub struct Text<'a> {
    /// The text parts, joined.
    pub text: Cow<'a, str>,
    /// The thinking parts, joined.
    pub thinking: Cow<'a, str>,
}

impl Text<'_> {
    /// No text; there may be thinking.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text, if there is any.
    pub fn some(self) -> Option<String> {
        (!self.text.is_empty()).then(|| self.text.into_owned())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> de::Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, null or a list of parts")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text { text: Cow::Borrowed(text), thinking: Cow::default() })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text { text: Cow::Owned(text.to_owned()), thinking: Cow::default() })
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Text { text: Cow::Owned(number.to_string()), thinking: Cow::default() })
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut text, mut thinking) = (String::new(), String::new());
        while let Some(part) = seq.next_element::<Value>()? {
            match part.get("type").and_then(Value::as_str) {
                Some("thinking") => push_thinking(&part["thinking"], &mut thinking),
                Some("text" | "output_text") => {
                    text.push_str(part.get("text").and_then(Value::as_str).unwrap_or_default());
                }
                _ => {}
            }
        }
        Ok(Text { text: text.into(), thinking: thinking.into() })
    }
}

fn push_thinking(thinking: &Value, out: &mut String) {
    match thinking {
        Value::String(text) => out.push_str(text),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .for_each(|text| out.push_str(text)),
        _ => {}
    }
}
