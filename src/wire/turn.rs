//! Conversations as text: for judges, and to tell one conversation from another.

use serde_json::Value;

use crate::chat::request::Message;
use crate::chat::request::PartKind;
use crate::chat::request::Role;
use crate::wire::ChatRequest;
use crate::wire::Dialect;

/// The conversation as text, one entry a turn; parts without words are named in brackets.
pub fn turns(dialect: &dyn Dialect, head: &ChatRequest) -> Vec<Turn> {
    dialect.read(head).map(|request| of(&request.messages)).unwrap_or_default()
}

/// As [`turns`], of a request that was read.
pub fn of(messages: &[Message]) -> Vec<Turn> {
    messages.iter().map(Turn::of).collect()
}

/// One turn of a conversation as text, for prompts to a judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// `system`, `user`, `assistant`, `tool`, …
    pub role: String,
    /// The words; other parts are named in brackets, for example `[image]`.
    pub text: String,
}

impl Turn {
    fn of(message: &Message) -> Self {
        let mut text = String::new();
        message.parts.iter().for_each(|part| describe(&part.kind, &mut text));
        Self { role: message.role.as_str().to_owned(), text }
    }
}

fn describe(part: &PartKind, out: &mut String) {
    let name = match part {
        PartKind::Text(text) | PartKind::Refusal(text) => {
            out.push_str(text);
            return;
        }
        PartKind::ToolCall { name, arguments, .. } => {
            out.push_str(&format!("[calls {name}({arguments})]"));
            return;
        }
        PartKind::ToolResult { parts, .. } => {
            parts.iter().for_each(|part| describe(&part.kind, out));
            return;
        }
        PartKind::Image { .. } => "image",
        PartKind::Audio(_) => "audio",
        PartKind::Video(_) => "video",
        PartKind::File { .. } => "file",
        // What was thought is no part of what was said.
        PartKind::Reasoning { .. } | PartKind::Hidden(_) => return,
        PartKind::Own(own) => own.get("type").and_then(Value::as_str).unwrap_or("other"),
    };
    out.push_str(&format!("[{name}]"));
}

/// Everything up to the first thing the user said, which stays when the conversation grows.
pub fn first_turns(messages: &[Message]) -> String {
    let first_user = messages.iter().position(|message| message.role == Role::User);
    let end = first_user.map_or(messages.len(), |at| at + 1);
    let opening = messages.iter().take(end).map(Turn::of);
    opening.map(|turn| format!("{}:{}:{}\n", turn.role, turn.text.len(), turn.text)).collect()
}
