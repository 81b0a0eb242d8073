//! What does not count in a key although it is in a request, and what counts although it is beside it.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;

use crate::chat::DialectName;

/// Fields that do not make another answer, each with its reason; everything else in a body counts.
pub const NOT_IN_KEY: &[(&str, &str)] = &[
    ("model", "the key holds the provider and model that are really called"),
    ("stream", "an answer is stored once and served streamed or whole"),
    (
        "stream_options.include_usage",
        "of a stream only: its usage is stored whether asked for or not",
    ),
];

/// Parameters of a query that only choose the form of an answer.
pub const NOT_IN_KEY_OF_QUERY: &[(&str, &str)] = &[
    ("alt=json", "an answer is stored once and served as a JSON array or as events"),
    ("alt=sse", "an answer is stored once and served as a JSON array or as events"),
];

/// A header that makes another answer of the same body.
#[derive(Clone, Copy, Debug)]
pub struct KeyHeader {
    /// Its name.
    pub name: &'static str,
    /// A value that changes nothing.
    pub usual: Option<&'static str>,
    /// The dialects whose providers read it, whatever the application speaks.
    pub read_by: &'static [DialectName],
    /// Whether it says who pays rather than what is asked, and so counts as the credential does.
    pub is_account: bool,
    /// Why it counts.
    pub reason: &'static str,
}

const OPENAI: &[DialectName] = &[
    DialectName::OpenAi,
    DialectName::Responses,
    DialectName::Completions,
    DialectName::Embeddings,
];
const ANTHROPIC: &[DialectName] = &[DialectName::Anthropic];
const GEMINI: &[DialectName] = &[DialectName::Gemini, DialectName::GeminiEmbeddings];

/// Every such header, where the target's provider speaks the application's dialect or reads it.
pub static KEY_HEADERS: &[KeyHeader] = &[
    KeyHeader {
        name: "anthropic-beta",
        usual: None,
        read_by: ANTHROPIC,
        is_account: false,
        reason: "switches features of the model on",
    },
    KeyHeader {
        name: "anthropic-version",
        usual: Some("2023-06-01"),
        read_by: ANTHROPIC,
        is_account: false,
        reason: "chooses the API's version, unless it is the one that SDKs send",
    },
    KeyHeader {
        name: "openai-beta",
        usual: None,
        read_by: OPENAI,
        is_account: false,
        reason: "switches features of the API on",
    },
    KeyHeader {
        name: "openai-organization",
        usual: None,
        read_by: OPENAI,
        is_account: true,
        reason: "chooses the account, with its own models, files and limits",
    },
    KeyHeader {
        name: "openai-project",
        usual: None,
        read_by: OPENAI,
        is_account: true,
        reason: "chooses the account, with its own models, files and limits",
    },
    KeyHeader {
        name: "x-goog-user-project",
        usual: None,
        read_by: GEMINI,
        is_account: true,
        reason: "chooses the account, with its own models, files and limits",
    },
];

/// Headers that tell one caller from another beside those that carry a key.
pub const TENANT_HEADERS: &[(&str, &str)] =
    &[("cookie", "goes to the provider with the credential, and may be one")];

/// Those of `headers` that have a place in a table, in its order, each with its place.
///
/// A request has fewer headers than tables have rows, so it is they that are gone through.
pub fn in_order(
    headers: &HeaderMap,
    place: impl Fn(&HeaderName) -> Option<usize>,
) -> Vec<(usize, &HeaderName, &HeaderValue)> {
    let placed = headers.iter().filter_map(|(name, value)| Some((place(name)?, name, value)));
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by_key(|(place, ..)| *place);
    placed
}
