//! The schema of a sentinel.

use serde_json::Value;
use serde_json::json;

use super::experiment;
use super::kind;
use super::list;
use super::section;
use crate::sentinel::Alarm;
use crate::sentinel::MAX_PROMPTS;

/// A sentinel.
pub fn whole() -> Value {
    let variant = experiment::variant();
    let of = |key: &str| variant["properties"][key].clone();
    let fields = vec![
        ("sentinel", "Its name, unique among sentinels and experiments.", kind::name()),
        ("experiment", "Whose question is open again when it alarms.", kind::text()),
        ("target", "The model that was shipped.", of("target")),
        ("patch", "A JSON merge patch (RFC 7396) over the request's body.", of("patch")),
        ("system", "What becomes of the system prompt.", of("system")),
        ("tools", "What takes the place of the request's functions.", of("tools")),
        ("prompts", "What it is asked each time.", prompts()),
        ("pin", "Another word here pins the answers anew.", kind::text()),
        ("every", "From the beginning of one run to that of the next.", kind::duration()),
        ("evaluate", "How answers are compared with the pinned ones.", experiment::evaluate()),
        ("alarm", "When it alarms.", alarm()),
        ("daily_usd", "The most that it may cost in a day.", kind::above(0.0)),
    ];
    section(fields, &["sentinel", "target", "prompts"])
}

fn prompts() -> Value {
    let body = json!({
        "type": "object",
        "properties": {"messages": {"type": "array"}},
        "required": ["messages"],
    });
    let mut here = list(&json!({"anyOf": [kind::text(), body]}));
    here["minItems"] = 1.into();
    here["maxItems"] = MAX_PROMPTS.into();
    let most = MAX_PROMPTS as u64;
    let file = section(vec![("file", "JSON lines of requests.", kind::text())], &["file"]);
    let scored = vec![
        ("experiment", "Whose scored prompts are asked.", kind::text()),
        ("last", "How many, the newest first.", kind::count(1, most, Some(50))),
    ];
    json!({"oneOf": [here, file, section(scored, &["experiment"])]})
}

fn alarm() -> Value {
    let usual = Alarm::default();
    let fields = vec![
        ("moved", "The largest share of answers that may move.", kind::share()),
        ("margin", "How far below 50% the win rate may be.", kind::some_share()),
        ("alpha", "The chance of any false alarm.", kind::some_share()),
        ("model", "When the provider names another model.", kind::boolean(usual.model)),
        ("fingerprint", "When it names another system.", kind::boolean(usual.fingerprint)),
    ];
    section(fields, &[])
}
