//! The converse dialect; being written.

use bytes::Bytes;

use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::ProviderError;
use crate::chat::request::Request;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::wire::Asked;
use crate::wire::ChatRequest;
use crate::wire::Decode;
use crate::wire::Dialect;
use crate::wire::Encode;
use crate::wire::InPath;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::sse;

/// The dialect; it has no state.
pub struct Converse;

impl Dialect for Converse {
    fn name(&self) -> DialectName {
        DialectName::Converse
    }

    fn path(&self, _model: &str, _is_stream: bool) -> String {
        "/model/M/converse".to_owned()
    }

    fn read_head(&self, body: Bytes, in_path: Option<InPath>) -> Result<ChatRequest> {
        crate::wire::json::head(body, in_path, "a request")
    }

    fn read(&self, _head: &ChatRequest) -> Result<Request> {
        Err(Error::new(Kind::Internal, "being written"))
    }

    fn write(&self, _request: &Request, _to: &Recipient<'_>) -> Result<Written> {
        Err(Error::new(Kind::Internal, "being written"))
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(Nothing)
    }

    fn decode_body(&self, _body: &[u8]) -> Vec<ChatEvent> {
        Vec::new()
    }

    fn encoder(&self, _asked: &Asked) -> Box<dyn Encode> {
        Box::new(Nothing)
    }

    fn encode_body(&self, _asked: &Asked, _events: &[ChatEvent]) -> Bytes {
        Bytes::new()
    }

    fn error_body(&self, _status: u16, _error: &ProviderError) -> Bytes {
        Bytes::new()
    }

    fn error_frame(&self, _status: u16, _error: &ProviderError) -> Bytes {
        Bytes::new()
    }
}

struct Nothing;

impl Decode for Nothing {
    fn decode(&mut self, _event: &sse::Event, _out: &mut Vec<ChatEvent>) {}
}

impl Encode for Nothing {
    fn encode(&mut self, _event: &ChatEvent, _out: &mut Vec<u8>) {}
}

/// Percent-encodes a byte of a path or query, unless RFC 3986 leaves it as it is.
pub fn push_encoded(byte: u8, out: &mut String) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
        out.push(char::from(byte));
    } else {
        out.push('%');
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
        }
    }
}
