//! What a request asks for, in no provider's words: each dialect reads its bodies into this.

use serde_json::Value;

/// One chat request.
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) turns: Vec<Turn>,
    pub(super) max_tokens: Option<usize>,
    /// How many answers are wanted; at least 1.
    pub(super) choices: usize,
    pub(super) stop: Vec<String>,
    pub(super) tools: Vec<Tool>,
    pub(super) tool_choice: ToolChoice,
    pub(super) parallel_tools: bool,
    /// `None`: no log-probabilities; `Some(k)`: with the k likeliest tokens at each place.
    pub(super) top_logprobs: Option<usize>,
    pub(super) format: Format,
    pub(super) stream: Option<Streaming>,
}

/// Wishes for a streamed answer.
#[derive(Clone, Copy)]
pub(super) struct Streaming {
    pub(super) include_usage: bool,
}

/// One message, reduced to its text.
pub(super) struct Turn {
    pub(super) role: Role,
    pub(super) text: String,
}

/// Who said a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// A function the model may call.
pub(super) struct Tool {
    pub(super) name: String,
    /// JSON schema of the arguments.
    pub(super) parameters: Value,
}

/// Whether a tool must be called.
pub(super) enum ToolChoice {
    Auto,
    Never,
    Required,
    Named(String),
}

/// The shape the answer's text must have.
pub(super) enum Format {
    Text,
    Json,
    Schema(Value),
}

impl Ask {
    /// The text of the last message by the user; empty when there is none.
    pub(super) fn last_user(&self) -> &str {
        let last = self.turns.iter().rev().find(|turn| turn.role == Role::User);
        last.map_or("", |turn| turn.text.as_str())
    }

    /// The text of all messages, an empty line between them.
    pub(super) fn all_text(&self) -> String {
        let texts: Vec<&str> = self.turns.iter().map(|turn| turn.text.as_str()).collect();
        texts.join("\n\n")
    }

    /// Whether the last message is a tool's result, so that an answer in words is due.
    pub(super) fn ends_with_tool_result(&self) -> bool {
        self.turns.last().is_some_and(|turn| turn.role == Role::Tool)
    }
}
