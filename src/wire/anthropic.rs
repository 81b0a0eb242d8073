//! The Anthropic messages dialect.

mod blocks;
mod decode;
mod encode;
mod form;
mod history;
mod ids;
mod layout;
mod lenient;
mod read;
mod shape;
mod think;
mod turn;
mod write;

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

const SORT: json::Sort = json::Sort { what: "a messages request", has_messages: true };

/// The dialect; it has no state.
pub struct Anthropic;

impl Dialect for Anthropic {
    fn name(&self) -> DialectName {
        DialectName::Anthropic
    }

    fn path(&self, _model: &str, _is_stream: bool) -> String {
        "/v1/messages".to_owned()
    }

    fn read_head(&self, body: Bytes, in_path: Option<InPath>) -> Result<ChatRequest> {
        json::head(body, in_path, SORT)
    }

    fn read(&self, head: &ChatRequest) -> Result<Request> {
        read::request(head)
    }

    fn write(&self, request: &Request, to: &Recipient<'_>) -> Result<Written> {
        write::request(request, to)
    }

    fn count_path(&self, _model: &str) -> Option<String> {
        Some("/v1/messages/count_tokens".to_owned())
    }

    fn read_count(&self, head: &ChatRequest) -> Result<Request> {
        read::without_limit(head)
    }

    fn write_count(&self, tokens: u64) -> Bytes {
        encode::token_count(tokens)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::<decode::Decoder>::default()
    }

    fn decode_body(&self, body: &[u8]) -> Vec<ChatEvent> {
        decode::body(&text(body))
    }

    fn encoder(&self, asked: &Asked) -> Box<dyn Encode> {
        Box::new(encode::Encoder::new(asked.clone()))
    }

    fn encode_body(&self, asked: &Asked, events: &[ChatEvent]) -> Bytes {
        encode::body(asked, events)
    }

    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes {
        encode::error_body(status, error)
    }

    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes {
        encode::error_frame(status, error)
    }
}
