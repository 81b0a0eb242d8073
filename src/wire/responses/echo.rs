//! What an answer's body repeats of the question.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::wire::carry::Losses;
use crate::wire::quirk::Quirks;
use crate::wire::responses::content::Writer;
use crate::wire::responses::write;

/// Fields that every answer has, as they are when the question does not say.
fn usual() -> Value {
    json!({
        "background": false, "instructions": null, "max_output_tokens": null,
        "max_tool_calls": null, "metadata": {}, "parallel_tool_calls": true,
        "previous_response_id": null, "reasoning": {"effort": null, "summary": null},
        "service_tier": null, "store": false, "temperature": null,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "top_logprobs": 0, "top_p": null, "truncation": "disabled", "user": null,
    })
}

/// Fields of the question that its answer repeats.
const REPEATED: &[&str] = &[
    "conversation",
    "max_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "truncation",
];

/// The fields of an answer that come from the question.
pub fn of(request: &Request) -> Map<String, Value> {
    let Value::Object(mut echo) = usual() else { return Map::new() };
    let mut losses = Losses::new(DialectName::Responses, &Quirks::NONE);
    let mut writer = Writer { from: request.dialect, losses: &mut losses };
    let mut settings = Map::new();
    // A question that this dialect cannot put is answered all the same; it repeats what it can.
    let _ = write::settings(request, &mut writer, &mut settings);
    for (key, value) in settings {
        match (echo.get_mut(&key), value) {
            (Some(Value::Object(known)), Value::Object(fields)) if key != "metadata" => {
                known.extend(fields);
            }
            (_, value) => drop(echo.insert(key, value)),
        }
    }
    if request.dialect == DialectName::Responses {
        let repeated = REPEATED.iter().filter_map(|key| Some((*key, request.rest.get(*key)?)));
        echo.extend(repeated.map(|(key, value)| (key.to_owned(), value.clone())));
    }
    if let Some(text) = instructions(request) {
        echo.insert("instructions".to_owned(), Value::from(text));
    }
    // A question names its conversation in two ways, an answer in one.
    if let Some(conversation @ Value::String(_)) = echo.get_mut("conversation") {
        *conversation = json!({"id": conversation.take()});
    }
    echo
}

fn instructions(request: &Request) -> Option<&str> {
    let first = request.messages.first()?;
    match first.parts.as_slice() {
        [part] if first.role == Role::System && first.rest.is_empty() => match &part.kind {
            PartKind::Text(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
