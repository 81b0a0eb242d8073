//! Which endpoint a request is for: by its path, or by what its body looks like.

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use serde_json::Map;
use serde_json::Value;

use crate::chat::DialectName;
use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::wire::InPath;
use crate::wire::endpoint;
use crate::wire::json::not_readable;

/// Where a request goes.
#[derive(Debug)]
pub struct Endpoint {
    /// The dialect it is asked in.
    pub dialect: DialectName,
    /// What the path says.
    pub in_path: Option<InPath>,
    /// The provider whose prefix the path has.
    pub provider: Option<String>,
    /// What the guess goes by; `None` when the path says it.
    pub guessed_by: Option<String>,
    query: Option<String>,
}

/// Members that only one dialect's bodies have; the first that is found decides.
///
/// Chat completions and messages share most of theirs, so those that differ come first.
const TELLING: &[(&str, DialectName)] = &[
    ("contents", DialectName::Gemini),
    ("systemInstruction", DialectName::Gemini),
    ("system", DialectName::Anthropic),
    ("stop_sequences", DialectName::Anthropic),
    ("anthropic_version", DialectName::Anthropic),
    ("messages", DialectName::OpenAi),
    ("instructions", DialectName::Responses),
    ("max_output_tokens", DialectName::Responses),
    ("previous_response_id", DialectName::Responses),
    ("encoding_format", DialectName::Embeddings),
    ("dimensions", DialectName::Embeddings),
    ("input", DialectName::Responses),
    ("prompt", DialectName::Completions),
];

impl Endpoint {
    /// What a path asks for.
    ///
    /// # Errors
    /// Nothing is there that takes a request for an answer.
    pub fn of_path(path_and_query: &str, config: &Config) -> Result<Self> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let query = (!query.is_empty()).then(|| query.to_owned());
        let nothing = || {
            bad(format!(
                "--path: no request for an answer goes to {path}: try /v1/chat/completions, \
                 /v1/responses, /v1/messages or /v1beta/models/MODEL:generateContent, alone or \
                 below a provider's name"
            ))
        };
        let (provider, found) = match endpoint::of(path) {
            Some(found) => (None, found),
            None => {
                let inside = path.strip_prefix('/').unwrap_or(path);
                let (name, rest) = inside.split_at(inside.find('/').unwrap_or(inside.len()));
                let provider = config.providers.get(name).ok_or_else(nothing)?;
                let base = provider.base_url.path().trim_end_matches('/');
                let below = rest.strip_prefix(base).filter(|below| below.starts_with('/'));
                let found = below.and_then(endpoint::of).or_else(|| endpoint::of(rest));
                (Some(name.to_owned()), found.ok_or_else(nothing)?)
            }
        };
        match found {
            endpoint::Endpoint::Answer { dialect, in_path }
            | endpoint::Endpoint::CountTokens { dialect, in_path } => {
                Ok(Self { dialect, in_path, provider, guessed_by: None, query })
            }
            endpoint::Endpoint::Models { .. } => Err(nothing()),
        }
    }

    /// What a body looks like.
    ///
    /// # Errors
    /// It is no JSON object, looks like nothing known, or does not name its model.
    pub fn guessed(body: &Bytes) -> Result<Self> {
        let fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| not_readable(&error, "a request"))?;
        let told = if has_anthropic_tools(&fields) {
            Some(("tools[0].input_schema", DialectName::Anthropic))
        } else {
            TELLING.iter().copied().find(|(name, _)| fields.contains_key(*name))
        };
        let Some((by, dialect)) = told else {
            return Err(bad(
                "the body looks like no dialect's request: say where it is sent, for \
                            example --path /v1/chat/completions"
                    .to_owned(),
            ));
        };
        let model = fields.get("model").and_then(Value::as_str);
        let in_path = match (dialect, model) {
            (DialectName::Gemini, Some(model)) => Some(InPath {
                model: model.trim_start_matches("models/").to_owned(),
                stream: false,
            }),
            (DialectName::Gemini, None) => {
                return Err(bad(
                    "the model of a generateContent request is in its path: give it, for \
                                example --path /v1beta/models/gemini-2.5-flash:generateContent"
                        .to_owned(),
                ));
            }
            _ => None,
        };
        let guessed_by = Some(format!("`{by}` in the body"));
        Ok(Self { dialect, in_path, provider: None, guessed_by, query: None })
    }

    /// The query as it is planned with: Google's `key` is a credential and moves to the headers.
    pub fn query_without_key(&self, headers: &mut HeaderMap) -> Option<String> {
        let (keys, rest): (Vec<&str>, Vec<&str>) =
            self.query.as_deref()?.split('&').partition(|pair| pair.starts_with("key="));
        let key = keys.first().and_then(|pair| HeaderValue::from_str(pair.get(4..)?).ok());
        if let Some(key) = key {
            headers.entry("x-goog-api-key").or_insert(key);
        }
        (!rest.is_empty()).then(|| rest.join("&"))
    }
}

fn has_anthropic_tools(fields: &Map<String, Value>) -> bool {
    let first = fields.get("tools").and_then(|tools| tools.get(0));
    first.is_some_and(|tool| tool.get("input_schema").is_some())
}

fn bad(detail: String) -> Error {
    Error::new(Kind::BadRequest, detail)
}
