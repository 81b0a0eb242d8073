//! The legacy completions dialect: a text, and how it goes on.

mod decode;
mod encode;
mod read;
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
use crate::wire::openai::OpenAi;
use crate::wire::text;

const SORT: json::Sort = json::Sort { what: "a completion request", has_messages: false };

/// The dialect; it has no state.
pub struct Completions;

impl Dialect for Completions {
    fn name(&self) -> DialectName {
        DialectName::Completions
    }

    fn path(&self, _model: &str, _is_stream: bool) -> String {
        "/completions".to_owned()
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
        Box::new(decode::Decoder)
    }

    fn decode_body(&self, body: &[u8]) -> Vec<ChatEvent> {
        let mut events = Vec::new();
        decode::read(&text(body), &mut events);
        if !events.iter().any(|event| matches!(event, ChatEvent::Error(_))) {
            events.push(ChatEvent::Done);
        }
        events
    }

    fn encoder(&self, asked: &Asked) -> Box<dyn Encode> {
        Box::new(encode::Encoder::new(asked))
    }

    fn encode_body(&self, asked: &Asked, events: &[ChatEvent]) -> Bytes {
        Bytes::from(encode::body(asked, events))
    }

    // Failures look as they do in chat.
    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes {
        OpenAi.error_body(status, error)
    }

    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes {
        OpenAi.error_frame(status, error)
    }
}
