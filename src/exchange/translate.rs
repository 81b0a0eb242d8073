//! Answers of a provider that speaks another dialect than the application.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header;

use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::ProviderError;
use crate::chat::fold::Fold;
use crate::chat::request::Request;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Incoming;
use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::tokens;
use crate::upstream::way::Translation;
use crate::wire;
use crate::wire::Asked;
use crate::wire::ChatRequest;
use crate::wire::Dialect;

/// What an application asked, as far as the words of its answer depend on it.
pub struct Question {
    dialect: &'static dyn Dialect,
    asked: Asked,
}

impl Question {
    /// A request that was read as a whole, if it could be; otherwise this says why not.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(
        incoming: &Incoming,
        head: &ChatRequest,
        read: Option<&Arc<Request>>,
    ) -> Result<Self> {
        Self::asked_as(incoming, head, read, (&incoming.request_id, incoming.arrived_ms))
    }

    /// As [`Self::new`], with the id and the time (Unix milliseconds) of another request that asked
    /// the same: what is made of them in an answer is then the same, too.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn asked_as(
        incoming: &Incoming,
        head: &ChatRequest,
        read: Option<&Arc<Request>>,
        (id, at_ms): (&str, i64),
    ) -> Result<Self> {
        let dialect = incoming.dialect;
        let request = match read {
            Some(read) => read.clone(),
            None => Arc::new(dialect.read(head)?),
        };
        let asked = Asked {
            input_estimate: tokens::estimate(&request),
            request,
            id: id.chars().filter(char::is_ascii_alphanumeric).collect(),
            created_s: at_ms / 1000,
            in_array: incoming.in_array(head.stream),
        };
        Ok(Self { dialect, asked })
    }

    /// A stream's translation.
    pub fn translation(&self) -> Translation {
        Translation::new(self.dialect.encoder(&self.asked))
    }

    /// Says in what form the answer comes.
    pub fn set_content_type(&self, headers: &mut HeaderMap) {
        let is_events = self.asked.request.stream && !self.asked.in_array;
        let kind = if is_events { "text/event-stream; charset=utf-8" } else { "application/json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }

    /// The whole answer of a provider, a failure included.
    ///
    /// # Errors
    /// It is neither an answer nor a failure that the provider told.
    pub fn reply(
        &self,
        status: StatusCode,
        mut headers: HeaderMap,
        from: DialectName,
        is_stream: bool,
        pieces: &[Bytes],
    ) -> Result<Reply> {
        let events = events(from, is_stream, pieces.iter().map(|piece| &piece[..]));
        let failure = events.iter().find_map(|event| match event {
            ChatEvent::Error(error) => Some(error.clone()),
            _ => None,
        });
        let has_failed = failure.is_some() || !status.is_success();
        if has_failed {
            let failure = failure.unwrap_or_else(|| ProviderError {
                message: format!("the provider answered with status {}", status.as_u16()),
                ..ProviderError::default()
            });
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            add_retry_after(&mut headers, &failure);
            let status = failed_status(status, &failure);
            let body = self.dialect.error_body(status.as_u16(), &failure);
            return Ok(Reply { status, headers, body: ReplyBody::Whole(body) });
        }
        let body = self.say(events)?;
        self.set_content_type(&mut headers);
        Ok(Reply { status, headers, body: ReplyBody::Whole(body) })
    }

    /// The answer in the form that was asked for, in one piece.
    fn say(&self, mut events: Vec<ChatEvent>) -> Result<Bytes> {
        let mut fold = Fold::new();
        events.iter().for_each(|event| fold.push(event.clone()));
        let answer = fold.finish();
        if !answer.is_whole() {
            let what = "the provider ended the answer before it was complete";
            return Err(Error::new(Kind::Broken, what));
        }
        if !answer.done {
            events.push(ChatEvent::Done);
        }
        if !self.asked.request.stream {
            return Ok(self.dialect.encode_body(&self.asked, &events));
        }
        let (mut encoder, mut body) = (self.dialect.encoder(&self.asked), Vec::new());
        events.iter().for_each(|event| encoder.encode(event, &mut body));
        Ok(Bytes::from(body))
    }
}

fn events<'a>(
    from: DialectName,
    is_stream: bool,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Vec<ChatEvent> {
    let mut events = Vec::new();
    wire::events(from.dialect(), is_stream, pieces, |event| events.push(event));
    events
}

/// A failure that came with a good status gets the one its code names, or says it is upstream's.
fn failed_status(status: StatusCode, failure: &ProviderError) -> StatusCode {
    if !status.is_success() {
        return status;
    }
    let named = failure.code.as_deref().and_then(|code| code.parse::<u16>().ok());
    let named = named.filter(|code| (400..600).contains(code));
    named.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// What only the body says about when to try again, where SDKs look for it.
fn add_retry_after(headers: &mut HeaderMap, failure: &ProviderError) {
    let Some(after_ms) = failure.retry_after_ms else { return };
    if !headers.contains_key(header::RETRY_AFTER) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after_ms.div_ceil(1000)));
        headers.insert("retry-after-ms", HeaderValue::from(after_ms));
    }
}
