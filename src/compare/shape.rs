//! Whether an answer has the shape that its request asked for.

use serde_json::Value;

use crate::chat::Answer;
use crate::chat::Choice;
use crate::chat::request::Format;
use crate::chat::request::Request;
use crate::compare::schema;

/// Whether any choice is not of the shape asked for. A choice that only calls tools is a step on
/// the way, of which no shape is asked.
pub fn misshapen(request: &Request, answer: &Answer) -> Option<bool> {
    let fits = |text: &str| {
        let value: Option<Value> = serde_json::from_str(text).ok();
        match (&request.format, value) {
            (Some(Format::Schema { schema, .. }), Some(value)) => schema::accepts(schema, &value),
            (_, value) => value.is_some_and(|value| value.is_object()),
        }
    };
    let is_asked = matches!(&request.format, Some(Format::Json | Format::Schema { .. }));
    let is_step = |choice: &&Choice| choice.text.trim().is_empty() && !choice.tool_calls.is_empty();
    let mut shaped = answer.choices.iter().filter(|choice| !is_step(choice)).peekable();
    (is_asked && shaped.peek().is_some()).then(|| shaped.any(|choice| !fits(&choice.text)))
}
