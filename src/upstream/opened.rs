//! An answer of a provider whose head has come.

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use tokio::time::Instant;

use crate::chat::DialectName;
use crate::config::Timeouts;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::health::Ticket;
use crate::keyring::Digest;
use crate::provider::travel::Pass;
use crate::upstream::begun::Begun;
use crate::upstream::gate::Permit;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::paid::Paid;
use crate::upstream::scrub;
use crate::wire::carry::Losses;

/// Media types of streams of events, in any framing.
const STREAM_TYPES: [&[u8]; 2] = [b"text/event-stream", b"application/vnd.amazon.eventstream"];

/// An answer whose body is still to come.
pub struct Opened {
    /// Who answers.
    pub target: Target,
    /// The dialect of the answer.
    pub dialect: DialectName,
    /// What the application asked for and the target was not.
    pub losses: Losses,
    /// A stream ends with its usage because we asked, not the application.
    pub unasked_usage: bool,
    /// Whatever the provider said, errors included.
    pub status: StatusCode,
    /// The provider's headers that travel.
    pub headers: HeaderMap,
    /// The body.
    pub body: reqwest::Body,
    /// Which of our keys paid for it.
    pub payer: Option<Digest>,
    /// When the request was sent.
    pub sent: Instant,
    /// How long the rest may take.
    pub timeouts: Timeouts,
    /// The right to the call; held until the answer has ended.
    pub permit: Option<Permit>,
    /// What was read of the body before.
    pub begun: Option<Box<Begun>>,
    /// Reports how the call ends.
    pub ticket: Option<Ticket>,
}

impl Opened {
    pub(super) fn new(
        paid: Paid,
        pass: &Pass,
        target: Target,
        asked: Outgoing,
        sent: Instant,
        timeouts: Timeouts,
    ) -> Self {
        let Paid { response, quoted, payer } = paid;
        let (parts, mut body) = http::Response::from(response).into_parts();
        let headers = pass.answered(&parts.headers);
        let status = parts.status;
        if !status.is_success() {
            body = scrub::scrub(body, &quoted);
        }
        let Outgoing { dialect, losses, unasked_usage, .. } = asked;
        Self {
            target,
            dialect,
            losses,
            unasked_usage,
            status,
            headers,
            body,
            payer,
            sent,
            timeouts,
            permit: None,
            begun: None,
            ticket: None,
        }
    }

    /// Whether the body is a stream of events, whatever was asked for.
    pub fn is_event_stream(&self) -> bool {
        let kind = self.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        STREAM_TYPES.iter().any(|stream| {
            kind.get(..stream.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(stream))
        })
    }

    /// The whole body, for requests of our own.
    ///
    /// # Errors
    /// It breaks off, takes too long, or is larger than `limit` bytes.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes> {
        let mut bytes = BytesMut::new();
        let until = self.sent + self.timeouts.total;
        while let Some(piece) = self.piece(until).await? {
            if bytes.len() + piece.len() > limit {
                let what = format!("the answer is larger than {limit} bytes");
                return Err(Error::new(Kind::TooLarge, what));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }
}
