//! The system prompt where each dialect has it: replaced, or with a paragraph before or after it.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::experiment::SystemChange;

/// What stands between two paragraphs.
const GAP: &str = "\n\n";

/// The two spellings that Google's servers take.
const INSTRUCTIONS: [&str; 2] = ["systemInstruction", "system_instruction"];

/// Changes the system prompt of a body; false in dialects that have none.
pub fn change(body: &mut Map<String, Value>, dialect: DialectName, change: &SystemChange) -> bool {
    match dialect {
        DialectName::OpenAi | DialectName::Cohere => in_messages(body, change),
        DialectName::Responses => in_instructions(body, change),
        DialectName::Anthropic => beside(body, "messages", change, Some("text")),
        DialectName::Converse => beside(body, "messages", change, None),
        DialectName::Gemini => in_parts(body, change),
        DialectName::Completions | DialectName::Embeddings | DialectName::GeminiEmbeddings => {
            return false;
        }
    }
    true
}

/// A turn of the system's or, which is the same in newer words, the developer's.
fn is_system(turn: &Value) -> bool {
    let is_turn = turn.get("type").is_none_or(|kind| kind == "message");
    is_turn && turn.get("role").is_some_and(|role| role == "system" || role == "developer")
}

/// How many turns are the system's before anybody else speaks.
fn leading(turns: &[Value]) -> usize {
    turns.iter().take_while(|turn| is_system(turn)).count()
}

fn in_messages(body: &mut Map<String, Value>, change: &SystemChange) {
    let Some(Value::Array(turns)) = body.get_mut("messages") else { return };
    let own = |text: &str| json!({"role": "system", "content": text});
    let at = match change {
        SystemChange::Replace(_) => turns.iter().position(is_system),
        SystemChange::Prepend(_) => leading(turns).min(1).checked_sub(1),
        SystemChange::Append(_) => leading(turns).checked_sub(1),
    };
    let Some(at) = at else {
        turns.insert(0, own(change.text()));
        return;
    };
    if let Some(content) = turns.get_mut(at).and_then(|turn| turn.get_mut("content")) {
        paragraph(content, change, Some("text"));
    }
    if let SystemChange::Replace(_) = change {
        let first = turns.remove(at);
        turns.retain(|turn| !is_system(turn));
        turns.insert(0, first);
    }
}

/// `instructions` come before the input, whose first items may be the system's, too.
fn in_instructions(body: &mut Map<String, Value>, change: &SystemChange) {
    let has_instructions = body.get("instructions").is_some_and(Value::is_string);
    let items = body.get_mut("input").and_then(Value::as_array_mut);
    match (change, items) {
        (SystemChange::Replace(_), Some(items)) => items.retain(|item| !is_system(item)),
        (SystemChange::Append(_), Some(items)) => {
            let last = leading(items).checked_sub(1).and_then(|at| items.get_mut(at));
            if let Some(content) = last.and_then(|item| item.get_mut("content")) {
                paragraph(content, change, Some("input_text"));
                return;
            }
        }
        _ => {}
    }
    match body.get_mut("instructions").filter(|_| has_instructions) {
        Some(instructions) => paragraph(instructions, change, None),
        None => drop(body.insert("instructions".to_owned(), change.text().into())),
    }
}

/// A field of its own, text or a list of blocks; only some models take later turns of the system's.
fn beside(body: &mut Map<String, Value>, turns: &str, change: &SystemChange, kind: Option<&str>) {
    if let (SystemChange::Replace(_), Some(Value::Array(turns))) = (change, body.get_mut(turns)) {
        turns.retain(|turn| !is_system(turn));
    }
    let fresh = match kind {
        Some(_) => Value::from(change.text()),
        None => json!([{"text": change.text()}]),
    };
    match body.get_mut("system").filter(|system| !system.is_null()) {
        Some(system) => paragraph(system, change, kind),
        None => drop(body.insert("system".to_owned(), fresh)),
    }
}

/// Text, or an object of parts, of which there may be one without a list around it.
fn in_parts(body: &mut Map<String, Value>, change: &SystemChange) {
    let known = INSTRUCTIONS.iter().find(|key| body.get(**key).is_some_and(|it| !it.is_null()));
    let Some(system) = known.and_then(|key| body.get_mut(*key)) else {
        body.insert(INSTRUCTIONS[0].to_owned(), json!({"parts": [{"text": change.text()}]}));
        return;
    };
    let Value::Object(fields) = system else { return paragraph(system, change, None) };
    let parts = fields.entry("parts").or_insert_with(|| json!([]));
    if !parts.is_array() {
        *parts = Value::Array(vec![parts.take()]);
    }
    paragraph(parts, change, None);
}

/// Changes what is written as text or as a list of blocks; `kind` is the type that blocks name.
fn paragraph(content: &mut Value, change: &SystemChange, kind: Option<&str>) {
    let block = |text: String| match kind {
        Some(kind) => json!({"type": kind, "text": text}),
        None => json!({"text": text}),
    };
    let text = change.text();
    match (content, change) {
        (Value::Array(blocks), SystemChange::Replace(_)) => {
            let mut only = block(text.to_owned());
            // What marks the end of a prompt to be cached still does.
            let mark = blocks.iter().rev().find_map(|block| block.get("cache_control")).cloned();
            if let (Some(mark), Value::Object(only)) = (mark, &mut only) {
                only.insert("cache_control".to_owned(), mark);
            }
            let point = blocks.iter().rev().find(|block| block.get("cachePoint").is_some());
            let point = point.cloned();
            *blocks = std::iter::once(only).chain(point).collect();
        }
        (Value::Array(blocks), _) if blocks.is_empty() => blocks.push(block(text.to_owned())),
        (Value::Array(blocks), SystemChange::Prepend(_)) => {
            blocks.insert(0, block(format!("{text}{GAP}")));
        }
        (Value::Array(blocks), SystemChange::Append(_)) => {
            blocks.push(block(format!("{GAP}{text}")));
        }
        (Value::String(old), SystemChange::Prepend(_)) if !old.is_empty() => {
            old.insert_str(0, &format!("{text}{GAP}"));
        }
        (Value::String(old), SystemChange::Append(_)) if !old.is_empty() => {
            old.push_str(GAP);
            old.push_str(text);
        }
        (content, _) => *content = text.into(),
    }
}

impl SystemChange {
    /// The words it brings.
    pub fn text(&self) -> &str {
        match self {
            Self::Replace(text) | Self::Prepend(text) | Self::Append(text) => text,
        }
    }
}
