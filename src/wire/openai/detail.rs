//! `reasoning_details`: OpenRouter's list of what was thought, with its maker's signatures.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::request::PartKind;
use crate::wire::openai::text::Text;

/// The formats in use, ours to write first.
const FORMATS: &[(&str, Maker)] = &[
    ("anthropic-claude-v1", Maker::Anthropic),
    ("google-gemini-v1", Maker::Gemini),
    ("openai-responses-v1", Maker::OpenAi),
    ("azure-openai-responses-v1", Maker::OpenAi),
];

/// One entry as it is read.
#[derive(Deserialize)]
pub struct Detail<'a> {
    #[serde(default, borrow)]
    r#type: Text<'a>,
    #[serde(default, borrow)]
    text: Text<'a>,
    #[serde(default, borrow)]
    summary: Text<'a>,
    #[serde(default, borrow)]
    signature: Text<'a>,
    #[serde(default, borrow)]
    data: Text<'a>,
    #[serde(default, borrow)]
    format: Text<'a>,
    #[serde(default, borrow)]
    id: Text<'a>,
}

/// What one entry says.
pub enum Said {
    /// Words, shown or summed up, and the signature that ends them.
    Words(String, Option<Seal>),
    /// What cannot be read, with the id of what it belongs to.
    Sealed(Seal, Option<String>),
    /// Sealed by someone we do not know, or of a type we do not know: its type.
    Unknown(String),
}

impl Detail<'_> {
    /// What it says.
    pub fn said(self) -> Said {
        let by = self.maker();
        let words = match &*self.r#type.text {
            "reasoning.text" => self.text,
            "reasoning.summary" => self.summary,
            "reasoning.encrypted" => {
                return match (by, self.data.some()) {
                    (Some(by), Some(data)) => Said::Sealed(Seal { by, data }, self.id.some()),
                    _ => Said::Unknown("reasoning.encrypted".to_owned()),
                };
            }
            other => return Said::Unknown(other.to_owned()),
        };
        let seal = self.signature.some().and_then(|data| Some(Seal { by: by?, data }));
        Said::Words(words.some().unwrap_or_default(), seal)
    }

    /// Entries without a format are from before there were any, when only Anthropic's had one.
    fn maker(&self) -> Option<Maker> {
        if self.format.is_empty() {
            return Some(Maker::Anthropic);
        }
        FORMATS.iter().find(|(word, _)| *word == self.format.text).map(|(_, maker)| *maker)
    }
}

/// One entry as it is written.
#[derive(Serialize)]
pub struct DetailOut<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    index: u32,
}

impl<'a> DetailOut<'a> {
    fn new(r#type: &'static str, by: Maker, index: u32) -> Self {
        let format = FORMATS.iter().find(|(_, maker)| *maker == by).map_or("unknown", |(w, _)| w);
        let (text, summary, signature, data, id) = (None, None, None, None, None);
        Self { r#type, text, summary, signature, data, format, id, index }
    }

    /// Words with the seal that ends them: OpenAI's as a summary and what it sums up.
    ///
    /// Each has a number of its own, from `index`: the SDK adds up what shares one.
    pub fn signed(words: &'a str, seal: &'a Seal, index: u32) -> Vec<Self> {
        if seal.by == Maker::OpenAi {
            let summary = Some(words).filter(|words| !words.is_empty());
            let shown = Self { summary, ..Self::new("reasoning.summary", seal.by, index) };
            let after = index.saturating_add(u32::from(summary.is_some()));
            let hidden = Self::hidden(seal, None, after);
            return summary.map(|_| shown).into_iter().chain([hidden]).collect();
        }
        let signature = Some(seal.data.as_str());
        let new = Self::new("reasoning.text", seal.by, index);
        vec![Self { text: Some(words), signature, ..new }]
    }

    /// A seal alone, on a tool call if that has an id.
    pub fn hidden(seal: &'a Seal, id: Option<&'a str>, index: u32) -> Self {
        let data = Some(seal.data.as_str());
        Self { data, id, ..Self::new("reasoning.encrypted", seal.by, index) }
    }
}

/// A history's entries as pieces of a turn, with what is on a tool call by that call's id; last,
/// the entries that say nothing to anyone else.
pub fn parts(details: &[Value]) -> (Vec<PartKind>, Vec<(String, Seal)>, Vec<Value>) {
    let (mut parts, mut on_calls, mut strange) = (Vec::new(), Vec::new(), Vec::new());
    for value in details {
        let detail = Detail::deserialize(value).map(Detail::said);
        match detail {
            Ok(Said::Words(text, seal)) if seal.is_some() || !text.is_empty() => {
                add_words(&mut parts, text, seal);
            }
            Ok(Said::Words(..)) => {}
            Ok(Said::Sealed(seal, Some(id))) if seal.by == Maker::Gemini => {
                on_calls.push((id, seal));
            }
            Ok(Said::Sealed(seal, _)) => match parts.last_mut() {
                Some(PartKind::Reasoning { seal: open @ None, .. }) if seal.by == Maker::OpenAi => {
                    *open = Some(seal);
                }
                _ => parts.push(PartKind::Hidden(seal)),
            },
            Ok(Said::Unknown(_)) | Err(_) => strange.push(value.clone()),
        }
    }
    (parts, on_calls, strange)
}

/// Pieces of a stream that a client has only collected go on until one is signed.
fn add_words(parts: &mut Vec<PartKind>, text: String, seal: Option<Seal>) {
    match parts.last_mut() {
        Some(PartKind::Reasoning { text: open, seal: ending @ None }) => {
            open.push_str(&text);
            *ending = seal;
        }
        _ => parts.push(PartKind::Reasoning { text, seal }),
    }
}
