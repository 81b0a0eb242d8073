//! The OpenAI chat completions dialect, spoken by OpenAI and most others.

pub mod chunk;
pub mod detail;
pub mod encode;
pub mod failure;
pub mod mend;
mod piece;
pub mod read;
pub mod text;
pub mod usage;
pub mod write;

use bytes::Bytes;
use serde::Serialize;

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
use crate::wire::sse;
use crate::wire::text;

const SORT: json::Sort = json::Sort { what: "a chat completion request", has_messages: true };

/// The dialect; it has no state.
pub struct OpenAi;

impl Dialect for OpenAi {
    fn name(&self) -> DialectName {
        DialectName::OpenAi
    }

    fn path(&self, _model: &str, _is_stream: bool) -> String {
        "/chat/completions".to_owned()
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
        Box::new(Decoder::default())
    }

    fn decode_body(&self, body: &[u8]) -> Vec<ChatEvent> {
        let mut events = Vec::new();
        chunk::Reader::default().read(&text(body), &mut events);
        if !events.iter().any(|event| matches!(event, ChatEvent::Error(_))) {
            events.push(ChatEvent::Done);
        }
        events
    }

    fn encoder(&self, asked: &Asked) -> Box<dyn Encode> {
        Box::new(encode::Encoder::new(asked))
    }

    fn encode_body(&self, asked: &Asked, events: &[ChatEvent]) -> Bytes {
        Bytes::from(encode::body::write(asked, events))
    }

    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes {
        let mut body = Vec::new();
        failure::write(status, error, &mut body);
        Bytes::from(body)
    }

    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes {
        let mut frame = b"data: ".to_vec();
        failure::write(status, error, &mut frame);
        frame.extend_from_slice(b"\n\n");
        Bytes::from(frame)
    }
}

#[derive(Default)]
struct Decoder {
    reader: chunk::Reader,
}

impl Decode for Decoder {
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>) {
        if event.data.trim() == "[DONE]" {
            out.push(ChatEvent::Done);
        } else {
            self.reader.read(&event.data, out);
        }
    }
}

/// Appends a value as JSON.
///
/// Only maps with keys that are no strings fail to be JSON, and nothing here has any.
pub fn json_into(value: &impl Serialize, out: &mut Vec<u8>) {
    let whole = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(whole);
        out.extend_from_slice(b"null");
    }
}
