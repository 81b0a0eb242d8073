//! How many tokens a request has, about.

use crate::chat::request::EmbedInput;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Tool;

/// Tokens that every message takes besides its words.
const PER_MESSAGE: u64 = 4;

/// A number of tokens, and what counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub tokens: u64,
    /// `estimate`, or the name of a public tokenizer.
    pub by: &'static str,
}

/// The tokens of a request for a model.
pub fn count(request: &Request, _model: &str) -> Count {
    Count { tokens: estimate(request), by: "estimate" }
}

/// An estimate from the length of the words: one token for about four bytes.
pub fn estimate(request: &Request) -> u64 {
    let messages = request.messages.iter();
    let words: u64 = messages.map(|message| PER_MESSAGE + parts(&message.parts)).sum();
    let tools: u64 = request.tools.iter().map(tool).sum();
    let inputs = request.embed.iter().flat_map(|embed| &embed.inputs);
    let inputs: u64 = inputs
        .map(|input| match input {
            EmbedInput::Text(text) => bytes(text.len()),
            EmbedInput::Tokens(tokens) => tokens.len() as u64,
        })
        .sum();
    words + tools + inputs
}

fn parts(parts: &[Part]) -> u64 {
    parts.iter().map(part).sum()
}

fn part(part: &Part) -> u64 {
    match &part.kind {
        PartKind::Text(text) | PartKind::Refusal(text) => bytes(text.len()),
        PartKind::Reasoning { text, .. } => bytes(text.len()),
        PartKind::ToolCall { name, arguments, .. } => bytes(name.len() + arguments.len()),
        PartKind::ToolResult { parts: inner, .. } => parts(inner),
        // What pictures and sounds cost depends on their size, which only a decoder knows.
        PartKind::Image { .. } | PartKind::Audio(_) | PartKind::Video(_) => 765,
        PartKind::File { .. } | PartKind::Hidden(_) | PartKind::Own(_) => 256,
    }
}

fn tool(tool: &Tool) -> u64 {
    match tool {
        Tool::Function { name, description, parameters, .. } => {
            let schema = parameters.as_ref().map_or(0, |schema| schema.to_string().len());
            bytes(name.len() + description.as_ref().map_or(0, String::len) + schema)
        }
        Tool::Own(own) => bytes(own.to_string().len()),
    }
}

fn bytes(length: usize) -> u64 {
    length.div_ceil(4) as u64
}
