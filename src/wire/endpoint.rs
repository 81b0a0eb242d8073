//! What the paths of applications' SDKs ask for, in every dialect.

use std::borrow::Cow;

use crate::chat::DialectName;
use crate::wire::InPath;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An answer.
    Answer {
        /// The dialect of request and answer.
        dialect: DialectName,
        /// What the path says about the request.
        in_path: Option<InPath>,
    },
    /// How many tokens a request has.
    CountTokens {
        /// The dialect of the request.
        dialect: DialectName,
        /// The model, where the path names it.
        in_path: Option<InPath>,
    },
    /// What models there are.
    Models {
        /// Whose SDK asks.
        dialect: DialectName,
    },
}

impl Endpoint {
    /// The dialect it is asked in.
    pub fn dialect(&self) -> DialectName {
        match self {
            Self::Answer { dialect, .. }
            | Self::CountTokens { dialect, .. }
            | Self::Models { dialect } => *dialect,
        }
    }
}

/// Paths that say everything but the model, below the version.
const FIXED: &[(&str, DialectName)] = &[
    ("/chat/completions", DialectName::OpenAi),
    ("/completions", DialectName::Completions),
    ("/embeddings", DialectName::Embeddings),
    ("/messages", DialectName::Anthropic),
    ("/responses", DialectName::Responses),
];

/// What stands before a path's meaning; the Vercel SDK leaves it out for some providers.
const VERSIONS: &[&str] = &["/v1beta", "/v1alpha", "/v1", ""];

/// What is asked at a path that is not below a provider's prefix; `None` for anything else.
///
/// The Google SDK calls `/v1` as well as `/v1beta`.
pub fn of(path: &str) -> Option<Endpoint> {
    let found = VERSIONS.iter().find_map(|version| {
        let rest = path.strip_prefix(version).filter(|rest| rest.starts_with('/'))?;
        Some((*version, rest))
    });
    let (version, rest) = found?;
    if rest == "/models" {
        let is_google = matches!(version, "/v1beta" | "/v1alpha");
        let dialect = if is_google { DialectName::Gemini } else { DialectName::OpenAi };
        return Some(Endpoint::Models { dialect });
    }
    if let Some(rest) = rest.strip_prefix("/models/") {
        return google(rest);
    }
    if rest == "/messages/count_tokens" {
        return Some(Endpoint::CountTokens { dialect: DialectName::Anthropic, in_path: None });
    }
    let (_, dialect) = FIXED.iter().find(|(fixed, _)| *fixed == rest)?;
    Some(Endpoint::Answer { dialect: *dialect, in_path: None })
}

/// Google's `{model}:{method}`; a model's name may hold slashes and colons.
fn google(rest: &str) -> Option<Endpoint> {
    let (model, method) = rest.rsplit_once(':')?;
    let model = decoded(model).into_owned();
    let in_path = |stream| Some(InPath { model: model.clone(), stream });
    let (dialect, stream) = match method {
        "generateContent" => (DialectName::Gemini, false),
        "streamGenerateContent" => (DialectName::Gemini, true),
        "embedContent" | "batchEmbedContents" => (DialectName::GeminiEmbeddings, false),
        "countTokens" => {
            let dialect = DialectName::Gemini;
            return Some(Endpoint::CountTokens { dialect, in_path: in_path(false) });
        }
        _ => return None,
    };
    Some(Endpoint::Answer { dialect, in_path: in_path(stream) })
}

/// Percent-decoded; what is no good escape or no UTF-8 stays as it is.
pub fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = (*first == b'%').then(|| tail.get(..2)).flatten();
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_or(text.into(), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sdks_path_is_understood() {
        let answer = |dialect| Some(Endpoint::Answer { dialect, in_path: None });
        let google = |dialect, model: &str, stream| {
            let in_path = Some(InPath { model: model.into(), stream });
            Some(Endpoint::Answer { dialect, in_path })
        };
        for (path, expected) in [
            ("/v1/chat/completions", answer(DialectName::OpenAi)),
            ("/chat/completions", answer(DialectName::OpenAi)),
            ("/v1/completions", answer(DialectName::Completions)),
            ("/v1/responses", answer(DialectName::Responses)),
            ("/v1/embeddings", answer(DialectName::Embeddings)),
            ("/v1/messages", answer(DialectName::Anthropic)),
            ("/messages", answer(DialectName::Anthropic)),
            ("/v1/models/m:generateContent", google(DialectName::Gemini, "m", false)),
            (
                "/v1beta/models/openai/gpt-4o:streamGenerateContent",
                google(DialectName::Gemini, "openai/gpt-4o", true),
            ),
            (
                "/v1beta/models/up%2Fllama3%3A8b:generateContent",
                google(DialectName::Gemini, "up/llama3:8b", false),
            ),
            (
                "/v1beta/models/ollama/llama3:8b:embedContent",
                google(DialectName::GeminiEmbeddings, "ollama/llama3:8b", false),
            ),
            ("/v1/models", Some(Endpoint::Models { dialect: DialectName::OpenAi })),
            ("/v1beta/models", Some(Endpoint::Models { dialect: DialectName::Gemini })),
            ("/v1/responses/resp_1", None),
            ("/v1beta/models/m:predict", None),
            ("/v1beta/models/m", None),
            ("/v1x/messages", None),
            ("", None),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
    }

    #[test]
    fn a_broken_escape_stays_as_it_is() {
        for (text, expected) in [("a%2", "a%2"), ("%zz", "%zz"), ("%ff", "%ff"), ("%41%", "A%")] {
            assert_eq!(decoded(text), expected);
        }
    }
}
