//! How many tokens a request has: by a public tokenizer where there is one, else an estimate.
//!
//! The vocabularies add 33 MB to the program and 67 MB to its memory once used, so they are behind
//! the feature `tokenizers`; without it, and for models whose tokenizer is not public, a count is
//! an estimate and says so.

use crate::chat::request::EmbedInput;
use crate::chat::request::Format;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Tool;

/// What a message takes besides its words, in OpenAI's and most other chat formats.
const PER_MESSAGE: u64 = 4;

/// What begins the answer.
const PER_REQUEST: u64 = 3;

/// What a picture of usual size takes; the true cost hangs on its size, which only a decoder knows.
const PER_IMAGE: u64 = 765;

/// What a document, sound or film of unknown length is taken for.
const PER_FILE: u64 = 1000;

/// Bytes that make a token, about, of a body that nobody has read; its markup makes up for wider
/// scripts.
const BYTES_PER_TOKEN: usize = 4;

/// A number of tokens, and what counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub tokens: u64,
    /// `estimate`, or the name of a public tokenizer; what is no text is estimated all the same.
    pub by: &'static str,
}

/// The tokens of a request for a model.
pub fn count(request: &Request, model: &str) -> Count {
    #[cfg(feature = "tokenizers")]
    if let Some((by, tokenizer)) = public::of(model) {
        let text = |text: &str| tokenizer.count(text) as u64;
        return Count { tokens: total(request, &text), by };
    }
    let _ = model;
    Count { tokens: estimate(request), by: "estimate" }
}

/// An estimate from the words' length and script, cheap enough for every request.
pub fn estimate(request: &Request) -> u64 {
    total(request, &estimated)
}

/// The same of a request that may be one that could not be read.
pub fn of_prompt(read: Option<&Request>, body: &[u8]) -> u64 {
    read.map_or_else(|| of_unread(body), estimate)
}

/// An estimate from the length of a body that could not be read.
pub fn of_unread(body: &[u8]) -> u64 {
    (body.len() / BYTES_PER_TOKEN) as u64
}

/// An estimate of the prompt, and all that the answer may have if the request says so.
pub fn with_answer(request: &Request) -> u64 {
    estimate(request).saturating_add(request.sampling.max_tokens.unwrap_or(0))
}

/// An estimate of the tokens of plain text.
pub fn of_text(text: &str) -> u64 {
    estimated(text)
}

/// About four bytes of ASCII make a token, and about one and a half other characters.
fn estimated(text: &str) -> u64 {
    let ascii = count_bytes(text, |byte| byte.is_ascii());
    // Bytes that begin a character of more than one.
    let others = count_bytes(text, |byte| byte >= 0xC0);
    (ascii.div_ceil(4) + (2 * others).div_ceil(3)) as u64
}

/// Counts in bytes, as far as they reach, so that many are counted at a time.
fn count_bytes(text: &str, counts: impl Fn(u8) -> bool) -> usize {
    let runs = text.as_bytes().chunks(usize::from(u8::MAX));
    runs.map(|run| usize::from(run.iter().map(|byte| u8::from(counts(*byte))).sum::<u8>())).sum()
}

fn total(request: &Request, text: &dyn Fn(&str) -> u64) -> u64 {
    let messages = request.messages.iter();
    let messages: u64 = messages.map(|message| PER_MESSAGE + parts(&message.parts, text)).sum();
    let tools: u64 = request.tools.iter().map(|of| tool(of, text)).sum();
    let schema = match &request.format {
        Some(Format::Schema { schema, .. }) => text(&schema.to_string()),
        _ => 0,
    };
    if let Some(embed) = &request.embed {
        let inputs = embed.inputs.iter();
        return inputs
            .map(|input| match input {
                EmbedInput::Text(words) => text(words),
                EmbedInput::Tokens(tokens) => tokens.len() as u64,
            })
            .sum();
    }
    messages + tools + schema + PER_REQUEST
}

fn parts(parts: &[Part], text: &dyn Fn(&str) -> u64) -> u64 {
    parts.iter().map(|of| part(of, text)).sum()
}

fn part(part: &Part, text: &dyn Fn(&str) -> u64) -> u64 {
    match &part.kind {
        PartKind::Text(words) | PartKind::Refusal(words) => text(words),
        PartKind::Reasoning { text: words, .. } => text(words),
        PartKind::ToolCall { name, arguments, .. } => text(name) + text(arguments),
        PartKind::ToolResult { parts: inner, .. } => parts(inner, text),
        PartKind::Image { .. } => PER_IMAGE,
        PartKind::Audio(_) | PartKind::Video(_) | PartKind::File { .. } => PER_FILE,
        // Sealed reasoning is as long as it looks, at base64's rate.
        PartKind::Hidden(seal) => (seal.data.len() / 6) as u64,
        PartKind::Own(own) => text(&own.to_string()),
    }
}

fn tool(tool: &Tool, text: &dyn Fn(&str) -> u64) -> u64 {
    match tool {
        Tool::Function { name, description, parameters, .. } => {
            let schema = parameters.as_ref().map_or(0, |schema| text(&schema.to_string()));
            PER_MESSAGE + text(name) + description.as_deref().map_or(0, text) + schema
        }
        Tool::Own(own) => text(&own.to_string()),
    }
}

#[cfg(feature = "tokenizers")]
mod public {
    //! Which models' tokenizers are public.

    use bpe_openai::Tokenizer;

    const O200K: &[&str] = &["gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "chatgpt-4o", "gpt-oss"];
    const CL100K: &[&str] = &["gpt-4", "gpt-3.5", "text-embedding-3", "text-embedding-ada-002"];

    /// The tokenizer of a model, by how its name begins; a maker before a slash does not count.
    pub fn of(model: &str) -> Option<(&'static str, &'static Tokenizer)> {
        let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
        let begins = |names: &[&str]| names.iter().any(|known| name.starts_with(known));
        let is_o_series = matches!(name.as_bytes(), [b'o', b'1'..=b'9', ..]);
        if begins(O200K) || is_o_series {
            Some(("o200k_base", bpe_openai::o200k_base()))
        } else if begins(CL100K) {
            Some(("cl100k_base", bpe_openai::cl100k_base()))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::DialectName;
    use crate::chat::request::Message;
    use crate::chat::request::Role;

    fn request(text: &str) -> Request {
        let mut request = Request::new(DialectName::OpenAi, "m");
        request.messages.push(Message::text(Role::User, text));
        request
    }

    #[test]
    fn an_estimate_grows_with_the_words_and_knows_wider_scripts() {
        let tokens = |text: &str| estimate(&request(text)) - PER_MESSAGE - PER_REQUEST;
        assert_eq!(tokens(""), 0);
        assert_eq!(tokens("four"), 1);
        assert_eq!(tokens(&"word ".repeat(100)), 125);
        assert_eq!(tokens("日本語"), 2, "two thirds of a token a character");
    }

    #[test]
    fn a_model_without_public_tokenizer_is_estimated_and_says_so() {
        assert_eq!(count(&request("hello"), "claude-sonnet-4-5").by, "estimate");
    }

    #[cfg(feature = "tokenizers")]
    #[test]
    fn public_tokenizers_count_exactly() {
        // The counts are those of OpenAI's cookbook, "How to count tokens with tiktoken".
        for (model, by, text, tokens) in [
            ("gpt-4o-mini", "o200k_base", "antidisestablishmentarianism", 6),
            ("openai/gpt-4.1", "o200k_base", "2 + 2 = 4", 7),
            ("o3-mini", "o200k_base", "お誕生日おめでとう", 8),
            ("gpt-4-turbo", "cl100k_base", "2 + 2 = 4", 7),
            ("gpt-3.5-turbo", "cl100k_base", "お誕生日おめでとう", 9),
        ] {
            let counted = count(&request(text), model);
            let expected = Count { tokens: tokens + PER_MESSAGE + PER_REQUEST, by };
            assert_eq!(counted, expected, "{model}: {text}");
        }
    }
}
