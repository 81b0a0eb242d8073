//! The OpenAI Responses dialect.

mod answer;
mod content;
mod decode;
mod echo;
mod encode;
mod event;
mod failure;
mod history;
mod output;
mod read;
mod sealed;
mod slot;
mod tell;
mod turns;
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

/// What `include` says to have log-probabilities.
const LOGPROBS: &str = "message.output_text.logprobs";

const SORT: json::Sort = json::Sort { what: "a response request", has_messages: false };

/// The dialect; it has no state.
pub struct Responses;

impl Dialect for Responses {
    fn name(&self) -> DialectName {
        DialectName::Responses
    }

    fn path(&self, _model: &str, _is_stream: bool) -> String {
        "/responses".to_owned()
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

    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes {
        failure::body(status, error)
    }

    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes {
        failure::frame(status, error)
    }
}
