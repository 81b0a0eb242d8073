//! The OpenAI embeddings dialect.

pub mod answer;
pub mod request;

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
use crate::wire::sse;
use crate::wire::text;

const SORT: json::Sort = json::Sort { what: "an embedding request", has_messages: false };

/// The dialect; it has no state.
pub struct Embeddings;

impl Dialect for Embeddings {
    fn name(&self) -> DialectName {
        DialectName::Embeddings
    }

    fn path(&self, _model: &str, _is_stream: bool) -> String {
        "/embeddings".to_owned()
    }

    fn read_head(&self, body: Bytes, in_path: Option<InPath>) -> Result<ChatRequest> {
        json::head(body, in_path, SORT)
    }

    fn read(&self, head: &ChatRequest) -> Result<Request> {
        request::read(head)
    }

    fn write(&self, request: &Request, to: &Recipient<'_>) -> Result<Written> {
        request::write(request, to)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(Whole(answer::decode))
    }

    fn decode_body(&self, body: &[u8]) -> Vec<ChatEvent> {
        answer::decode(&text(body))
    }

    fn encoder(&self, asked: &Asked) -> Box<dyn Encode> {
        Box::new(Gathered::new(asked, answer::encode, answer::failure))
    }

    fn encode_body(&self, asked: &Asked, events: &[ChatEvent]) -> Bytes {
        answer::encode(asked, events)
    }

    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes {
        answer::failure(status, error)
    }

    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes {
        answer::failure(status, error)
    }
}

/// Reads each event as a whole body: vectors are not streamed, but some server may frame them so.
pub struct Whole(pub fn(&str) -> Vec<ChatEvent>);

impl Decode for Whole {
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>) {
        if event.data.trim() == "[DONE]" {
            out.push(ChatEvent::Done);
        } else {
            out.extend(self.0(&event.data));
        }
    }
}

/// Gathers an answer that has no stream, and writes its body at the end.
pub struct Gathered {
    asked: Asked,
    events: Vec<ChatEvent>,
    body: fn(&Asked, &[ChatEvent]) -> Bytes,
    failure: fn(u16, &ProviderError) -> Bytes,
}

impl Gathered {
    /// Before the first event.
    pub fn new(
        asked: &Asked,
        body: fn(&Asked, &[ChatEvent]) -> Bytes,
        failure: fn(u16, &ProviderError) -> Bytes,
    ) -> Self {
        Self { asked: asked.clone(), events: Vec::new(), body, failure }
    }
}

impl Encode for Gathered {
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Done => out.extend_from_slice(&(self.body)(&self.asked, &self.events)),
            // A failure without a status is the provider's.
            ChatEvent::Error(error) => out.extend_from_slice(&(self.failure)(502, error)),
            event => self.events.push(event.clone()),
        }
    }
}
