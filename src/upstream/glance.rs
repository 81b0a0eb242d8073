//! Looks at how a body begins, and leaves it as if nobody had.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tokio::time::timeout_at;

/// What is looked at, bytes; errors are far shorter.
const MOST: usize = 16 << 10;

/// How long is waited for it: what it says only helps to do better.
const LONGEST: Duration = Duration::from_secs(2);

/// What came of a body within the limits, and the whole of it.
pub async fn glance(mut body: reqwest::Body) -> (Vec<u8>, reqwest::Body) {
    let until = Instant::now() + LONGEST;
    let (mut seen, mut begun, mut is_over) = (Vec::new(), VecDeque::new(), false);
    while seen.len() < MOST && !is_over {
        let Ok(frame) = timeout_at(until, body.frame()).await else { break };
        is_over = !matches!(frame, Some(Ok(_)));
        let data = frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()));
        if let Some(Ok(piece)) = &data {
            seen.extend_from_slice(piece);
        }
        begun.extend(data);
    }
    let rest = (!is_over).then_some(body);
    (seen, reqwest::Body::wrap(Seen { begun, rest }))
}

/// A body that somebody has looked at.
struct Seen {
    begun: VecDeque<reqwest::Result<Bytes>>,
    /// What did not come yet; a body that has ended is not to be asked again.
    rest: Option<reqwest::Body>,
}

impl Body for Seen {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<reqwest::Result<Frame<Bytes>>>> {
        if let Some(piece) = self.begun.pop_front() {
            return Poll::Ready(Some(piece.map(Frame::data)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
}
