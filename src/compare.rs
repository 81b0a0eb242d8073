//! Deterministic checks that settle a pair without asking a judge.

use serde_json::Value;

use crate::chat::Answer;

/// A check by name; each says "equal" or "I cannot tell".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// Text, tool calls and refusals are the same, byte for byte.
    Exact,
    /// Both texts are JSON and hold the same value.
    Json,
    /// Both call the same tools with the same arguments, in the same order, and say nothing else.
    ToolCalls,
    /// Both refuse.
    Refusal,
}

/// Every comparator with its name in YAML, sorted by name.
pub static COMPARATORS: &[(&str, Comparator)] = &[
    ("exact", Comparator::Exact),
    ("json", Comparator::Json),
    ("refusal", Comparator::Refusal),
    ("tool_calls", Comparator::ToolCalls),
];

impl Comparator {
    /// The comparator of that name.
    pub fn parse(name: &str) -> Option<Self> {
        COMPARATORS.iter().find(|(n, _)| *n == name).map(|(_, c)| *c)
    }

    /// Its name in YAML.
    pub fn name(self) -> &'static str {
        COMPARATORS.iter().find(|(_, c)| *c == self).map_or("", |(name, _)| name)
    }

    /// Whether the two answers are equal in this comparator's sense.
    pub fn equal(self, a: &Answer, b: &Answer) -> bool {
        match self {
            Self::Exact => a.content() == b.content(),
            Self::Json => match (json(a), json(b)) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
            Self::ToolCalls => tools(a).is_some_and(|calls| Some(calls) == tools(b)),
            Self::Refusal => a.refused() && b.refused(),
        }
    }
}

/// The one text of an answer that is nothing but JSON.
fn json(answer: &Answer) -> Option<Value> {
    let [choice] = answer.choices.as_slice() else { return None };
    if !choice.tool_calls.is_empty() {
        return None;
    }
    serde_json::from_str(choice.text.trim()).ok()
}

/// Names and arguments of an answer that only calls tools.
fn tools(answer: &Answer) -> Option<Vec<(String, Value)>> {
    let [choice] = answer.choices.as_slice() else { return None };
    if choice.tool_calls.is_empty() || !choice.text.trim().is_empty() {
        return None;
    }
    choice.tool_calls.iter().map(|call| Some((call.name.clone(), call.arguments_json()?))).collect()
}
