//! The Cohere v2 chat dialect, spoken to Cohere only.

pub mod decode;
pub mod encode;
pub mod read;
pub mod tools;
pub mod write;

use bytes::Bytes;
use serde_json::json;

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

const SORT: json::Sort = json::Sort { what: "a Cohere chat request", has_messages: false };

/// The dialect; it has no state.
pub struct Cohere;

impl Dialect for Cohere {
    fn name(&self) -> DialectName {
        DialectName::Cohere
    }

    fn path(&self, _model: &str, _is_stream: bool) -> String {
        "/v2/chat".to_owned()
    }

    fn read_head(&self, body: Bytes, in_path: Option<InPath>) -> Result<ChatRequest> {
        json::head(body, in_path, SORT)
    }

    fn read(&self, head: &ChatRequest) -> Result<Request> {
        read::read(head)
    }

    fn write(&self, request: &Request, to: &Recipient<'_>) -> Result<Written> {
        write::write(request, to)
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
        encode::body(asked, events)
    }

    fn error_body(&self, _status: u16, error: &ProviderError) -> Bytes {
        Bytes::from(json!({"message": error.message}).to_string())
    }

    fn error_frame(&self, _status: u16, error: &ProviderError) -> Bytes {
        let mut out = Vec::new();
        encode::error(error, &mut out);
        Bytes::from(out)
    }
}
