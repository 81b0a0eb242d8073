//! The Gemini `generateContent` dialect, of the Gemini API and of Vertex AI.

pub mod answer;
pub mod chunk;
pub mod count;
pub mod decode;
pub mod encode;
pub mod failure;
pub mod field;
pub mod part;
pub mod partial;
pub mod read;
pub mod schema;
pub mod shape;
pub mod span;
pub mod thinking;
pub mod turn;
pub mod write;

use bytes::Bytes;

use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::ProviderError;
use crate::chat::request::Request;
use crate::error::Result;
use crate::wire::Asked;
use crate::wire::ChatRequest;
use crate::wire::Decode;
use crate::wire::Dialect;
use crate::wire::Encode;
use crate::wire::InPath;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::json;
use crate::wire::text;

const SORT: json::Sort = json::Sort { what: "a generateContent request", has_messages: false };

/// The dialect; it has no state.
pub struct Gemini;

impl Dialect for Gemini {
    fn name(&self) -> DialectName {
        DialectName::Gemini
    }

    fn path(&self, model: &str, is_stream: bool) -> String {
        let verb = if is_stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
        format!("{}:{verb}", model_path(model))
    }

    fn read_head(&self, body: Bytes, in_path: Option<InPath>) -> Result<ChatRequest> {
        json::head(body, in_path.map(plain_model), SORT)
    }

    fn read(&self, head: &ChatRequest) -> Result<Request> {
        read::request(head)
    }

    fn write(&self, request: &Request, to: &Recipient<'_>) -> Result<Written> {
        write::request(request, to)
    }

    fn count_path(&self, model: &str) -> Option<String> {
        Some(format!("{}:countTokens", model_path(model)))
    }

    fn read_count(&self, head: &ChatRequest) -> Result<Request> {
        count::read(&head.body, &head.model)
    }

    fn write_count(&self, tokens: u64) -> Bytes {
        count::write(tokens)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(decode::Decoder::default())
    }

    fn decode_body(&self, body: &[u8]) -> Vec<ChatEvent> {
        decode::body(&text(body))
    }

    fn encoder(&self, asked: &Asked) -> Box<dyn Encode> {
        Box::new(encode::Encoder::new(asked))
    }

    fn encode_body(&self, asked: &Asked, events: &[ChatEvent]) -> Bytes {
        answer::body(asked, events)
    }

    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes {
        Bytes::from(failure::body(status, error).to_string())
    }

    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes {
        Bytes::from(format!("data: {}\r\n\r\n", failure::body(status, error)))
    }
}

/// The name without `models/`, which some applications put before it.
pub fn plain_model(in_path: InPath) -> InPath {
    let model = in_path.model.strip_prefix("models/").map(str::to_owned);
    InPath { model: model.unwrap_or(in_path.model), ..in_path }
}

/// Where a model is; tuned ones are not among the others.
pub fn model_path(model: &str) -> String {
    let collection = if model.starts_with("tunedModels/") { "" } else { "models/" };
    let model = model.strip_prefix("models/").unwrap_or(model);
    let mut path = format!("/v1beta/{collection}");
    for byte in model.bytes() {
        // Of RFC 3986's characters of a path only the colon is left out: it begins the verb.
        if byte.is_ascii_alphanumeric() || b"-._~/@!$&'()*+,;=".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}
