//! One stored answer for everyone who asks the same: as it came, or in the form asked for now.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::StatusCode;

use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::request::Request;
use crate::error::Result;
use crate::exchange::Incoming;
use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::exchange::translate::Question;
use crate::store::exchange::Exchange;
use crate::upstream::unasked::WithoutUsage;
use crate::wire;
use crate::wire::ChatRequest;
use crate::wire::json;

/// The form in which an application wants an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// Its dialect.
    pub dialect: DialectName,
    /// Whether it comes as a stream.
    pub stream: bool,
    /// Whether a stream ends with the usage, in dialects that ask.
    pub usage: bool,
    /// Whether a stream is one JSON array; Gemini only.
    pub in_array: bool,
}

/// How a stored answer serves a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Byte for byte.
    AsItCame,
    /// Byte for byte but for the usage, which this application did not ask for.
    WithoutUsage,
    /// Read and written again, with nothing lost.
    Translated,
    /// Read and written again, but the provider said something that only its own form can hold.
    Lossy,
}

impl Form {
    /// What `incoming` wants.
    pub fn of(incoming: &Incoming, request: &ChatRequest) -> Self {
        let dialect = incoming.dialect.name();
        let may_ask = matches!(dialect, DialectName::OpenAi | DialectName::Completions);
        Self {
            dialect,
            stream: request.stream,
            usage: request.stream && may_ask && json::asks_stream_usage(&request.body),
            in_array: incoming.in_array(request.stream),
        }
    }

    /// How `stored` serves this form; `None` if it lacks what is wanted.
    pub fn serving(&self, stored: &Exchange) -> Option<Serving> {
        let head = &stored.head;
        let answered_in = DialectName::parse(&head.dialect)?;
        let is_own = answered_in == self.dialect;
        if head.status != 200 {
            return Some(if is_own { Serving::AsItCame } else { Serving::Translated });
        }
        let is_translated = head.asked.dialect != head.dialect;
        // Whoever translates asks for the usage.
        let has_usage = head.asked.usage || head.has_unasked_usage || is_translated;
        let is_same = match is_translated {
            true => head.is_stream == self.stream && !self.in_array,
            false => head.asked.stream == self.stream && head.asked.in_array == self.in_array,
        };
        if is_own && is_same {
            return match (has_usage, self.usage) {
                (false, true) => None,
                (true, false) if head.is_stream && is_chat(answered_in) => {
                    Some(Serving::WithoutUsage)
                }
                _ => Some(Serving::AsItCame),
            };
        }
        let events = events(stored, answered_in);
        let is_own_words = |event: &ChatEvent| matches!(event, ChatEvent::Other { .. });
        let is_lossy = events.iter().any(is_own_words) || (self.usage && !has_usage_in(&events));
        Some(if is_lossy { Serving::Lossy } else { Serving::Translated })
    }
}

/// A stored answer as the reply to `incoming`; `headers` come from the cache.
///
/// # Errors
/// The request cannot be read, or the answer is not whole, which is never served.
pub fn reply(
    stored: &Exchange,
    request: &ChatRequest,
    read: Option<&Arc<Request>>,
    incoming: &Incoming,
    headers: HeaderMap,
) -> Result<Reply> {
    let status = StatusCode::from_u16(stored.head.status).unwrap_or(StatusCode::OK);
    let body = match Form::of(incoming, request).serving(stored) {
        Some(Serving::AsItCame) => stored.body(),
        Some(Serving::WithoutUsage) => WithoutUsage::all(&stored.body()),
        Some(Serving::Translated | Serving::Lossy) | None => {
            let from = DialectName::parse(&stored.head.dialect).unwrap_or(incoming.dialect.name());
            let pieces: Vec<Bytes> =
                stored.frames.iter().map(|frame| frame.bytes.clone()).collect();
            let first = (stored.head.request_id.as_str(), stored.head.asked.at_ms);
            let question = Question::asked_as(incoming, request, read, first)?;
            return question.reply(status, headers, from, stored.head.is_stream, &pieces);
        }
    };
    Ok(Reply { status, headers, body: ReplyBody::Whole(body) })
}

fn is_chat(dialect: DialectName) -> bool {
    matches!(dialect, DialectName::OpenAi | DialectName::Completions)
}

fn has_usage_in(events: &[ChatEvent]) -> bool {
    events.iter().any(|event| matches!(event, ChatEvent::Usage(_)))
}

fn events(stored: &Exchange, from: DialectName) -> Vec<ChatEvent> {
    let mut events = Vec::new();
    let pieces = stored.frames.iter().map(|frame| &frame.bytes[..]);
    wire::events(from.dialect(), stored.head.is_stream, pieces, |event| events.push(event));
    events
}
