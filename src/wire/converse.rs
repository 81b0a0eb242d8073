//! The Converse dialect of AWS Bedrock, spoken to Bedrock only.

pub mod block;
pub mod decode;
pub mod encode;
pub mod media;
pub mod model;
pub mod part;
pub mod read;
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
use crate::wire::Framing;
use crate::wire::InPath;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::json;
use crate::wire::text;

const SORT: json::Sort = json::Sort { what: "a Converse request", has_messages: false };

/// The dialect; it has no state.
pub struct Converse;

impl Dialect for Converse {
    fn name(&self) -> DialectName {
        DialectName::Converse
    }

    fn path(&self, model: &str, is_stream: bool) -> String {
        let mut path = "/model/".to_owned();
        model.bytes().for_each(|byte| push_encoded(byte, &mut path));
        path.push_str(if is_stream { "/converse-stream" } else { "/converse" });
        path
    }

    fn framing(&self) -> Framing {
        Framing::EventStream
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

    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes {
        let kind = encode::exception(status, error);
        Bytes::from(json!({"__type": kind, "message": error.message}).to_string())
    }

    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes {
        let mut out = Vec::new();
        encode::error(status, error, &mut out);
        Bytes::from(out)
    }
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
