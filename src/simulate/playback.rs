//! A response body that plays its parts at their times, and may break on purpose.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::counters::Busy;

/// What floods are made of.
static FILLER: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// One part of a body.
pub(super) struct Step {
    /// When, counted from the request's arrival; zero sets no timer.
    pub(super) at: Duration,
    pub(super) act: Act,
}

/// What happens at a step.
pub(super) enum Act {
    Send(Bytes),
    /// So many bytes of filler.
    Flood(u64),
    /// The connection closes without the body's end, once what came before has left.
    Cut,
}

/// The connection was closed on purpose.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a simulated fault closed the connection")
    }
}

impl std::error::Error for Broken {}

/// The body.
pub(super) struct Playback {
    steps: VecDeque<Step>,
    start: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether the server was given a turn to flush before the cut.
    flushed: bool,
    /// Bytes announced in `Content-Length`; `None` for streams.
    announced: Option<u64>,
    busy: Option<Busy>,
}

impl Playback {
    /// A body with its length announced, at once.
    pub(super) fn whole(body: Bytes, busy: Option<Busy>) -> Self {
        let announced = Some(body.len() as u64);
        let steps = VecDeque::from([Step { at: Duration::ZERO, act: Act::Send(body) }]);
        Self { steps, start: Instant::now(), sleep: None, flushed: false, announced, busy }
    }

    /// A body of several steps, timed from `start`.
    pub(super) fn steps(
        steps: impl IntoIterator<Item = Step>,
        announced: Option<u64>,
        start: Instant,
        busy: Busy,
    ) -> Self {
        let steps = steps.into_iter().collect();
        Self { steps, start, sleep: None, flushed: false, announced, busy: Some(busy) }
    }

    /// Waits until the first step is due.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(step) = self.steps.front_mut() else { return Poll::Ready(()) };
        if !step.at.is_zero() {
            let due = self.start + step.at;
            if due > Instant::now() {
                let sleep =
                    self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
                if sleep.deadline() != due {
                    sleep.as_mut().reset(due);
                }
                ready!(sleep.as_mut().poll(cx));
            }
            step.at = Duration::ZERO;
        }
        if matches!(step.act, Act::Cut) && !self.flushed {
            // The server throws its buffer away on an error, and fills it as long as there is more
            // to send; only when it is told to wait does it flush.
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        let next = match self.steps.front_mut().map(|step| &mut step.act)? {
            Act::Flood(left) if *left > FILLER.len() as u64 => {
                *left -= FILLER.len() as u64;
                return Some(Ok(Bytes::from_static(&FILLER)));
            }
            Act::Flood(left) => Ok(Bytes::from_static(&FILLER).slice(..*left as usize)),
            Act::Send(bytes) => Ok(std::mem::take(bytes)),
            Act::Cut => Err(Broken),
        };
        self.steps.pop_front();
        if self.steps.is_empty()
            && let Some(busy) = &mut self.busy
        {
            busy.finish();
        }
        Some(next)
    }
}

impl Body for Playback {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        ready!(self.poll_due(cx));
        Poll::Ready(self.next().map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
