//! A flow, or a share of one, as the body of a response.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use http_body::Body;
use http_body::Frame as BodyFrame;

use crate::chat::ProviderError;
use crate::error::Error;
use crate::error::Kind;
use crate::upstream::ended::Ended;
use crate::upstream::pump::Flow;
use crate::upstream::shared::Broadcast;
use crate::upstream::shared::Read;
use crate::upstream::shared::Reader;
use crate::upstream::shared::Source;
use crate::wire::Dialect;
use crate::wire::Framing;

/// A [`Flow`] as the body of a response; finishes or reports when the application leaves.
pub struct Pump {
    from: Piped,
}

/// What is let go with a body.
pub type Kept = Box<dyn Send + Sync>;

enum Piped {
    /// Its own; what was read before the head went out comes first.
    Own(Option<Box<Flow>>, VecDeque<Bytes>),
    /// Read by others, too.
    Shared {
        reader: Reader<Flow>,
        telling: Telling,
        _kept: Kept,
    },
    Over,
}

/// How a reader that fell behind is told.
pub struct Telling {
    /// The application's dialect.
    pub dialect: &'static dyn Dialect,
    /// Whether it reads server-sent events.
    pub is_stream: bool,
}

impl Pump {
    /// `held` goes out first.
    pub fn new(flow: Flow, held: Vec<Bytes>) -> Self {
        Self { from: Piped::Own(Some(Box::new(flow)), held.into()) }
    }

    /// A share of a flow, while its beginning is there; `kept` is let go when the body is.
    pub fn share(flow: &Broadcast<Flow>, telling: Telling, kept: Kept) -> Option<Self> {
        let reader = flow.read()?;
        Some(Self { from: Piped::Shared { reader, telling, _kept: kept } })
    }

    /// Ends it because the process ends: the last piece, which says so, or a failure where the body
    /// has no way to say it.
    pub fn stop(&mut self, error: Error) -> Option<Result<Bytes, Error>> {
        let last = match &mut self.from {
            Piped::Own(Some(flow), _) => {
                let last = flow.stop(&error);
                let is_silent = last.is_none() && !matches!(flow.ended(), Some(Ended::Whole));
                last.map(Ok).or(is_silent.then_some(Err(error)))
            }
            Piped::Shared { telling, .. } => Some(telling.failed(error)),
            Piped::Own(None, _) | Piped::Over => None,
        };
        self.from = Piped::Over;
        last
    }
}

impl Body for Pump {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Error>>> {
        let last = match &mut self.from {
            Piped::Own(flow, held) => {
                if let Some(bytes) = held.pop_front() {
                    return Poll::Ready(Some(Ok(BodyFrame::data(bytes))));
                }
                let Some(flow) = flow else { return Poll::Ready(None) };
                match ready!(flow.poll_next(cx)) {
                    Some(bytes) => return Poll::Ready(Some(Ok(BodyFrame::data(bytes)))),
                    None => flow.failure().map(Err),
                }
            }
            Piped::Shared { reader, telling, .. } => match ready!(reader.poll_next(cx)) {
                Read::Piece(bytes) => return Poll::Ready(Some(Ok(BodyFrame::data(bytes)))),
                Read::Lost => Some(telling.lost()),
                Read::End(failure) => failure.map(Err),
            },
            Piped::Over => None,
        };
        self.from = Piped::Over;
        Poll::Ready(last.map(|last| last.map(BodyFrame::data)))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        if let Self::Own(flow, _) = self
            && let Some(flow) = flow.take()
        {
            finish(*flow);
        }
    }
}

impl Telling {
    fn lost(&self) -> Result<Bytes, Error> {
        let what = "the application read more slowly than others that share this answer, and \
            what comes next is more than limits.max_answer_bytes behind";
        self.failed(Error::new(Kind::Broken, what))
    }

    /// The error that ends a stream which must not look complete.
    fn failed(&self, error: Error) -> Result<Bytes, Error> {
        if !self.is_stream || !matches!(self.dialect.framing(), Framing::Sse) {
            return Err(error);
        }
        let frame = self.dialect.error_frame(error.status(), &ProviderError::from(&error));
        // The piece before need not have ended an event; a blank line too many does no harm.
        Ok(Bytes::from([&b"\n\n"[..], &frame].concat()))
    }
}

impl Source for Flow {
    type Item = Bytes;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Self::poll_next(self, cx)
    }

    fn weight(item: &Bytes) -> usize {
        item.len()
    }

    /// A body that is no stream has no way to say that it broke, except by breaking.
    fn failure(&self) -> Option<Error> {
        match self.ended() {
            Some(Ended::Cut(error)) if !self.is_stream() => Some(error.clone()),
            _ => None,
        }
    }

    fn let_go(self: Box<Self>) {
        finish(*self);
    }
}

/// Reads on to the end if someone else waits for it, else reports that the application left.
fn finish(mut flow: Flow) {
    if flow.ended().is_none()
        && flow.must_finish()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(async move { while flow.next().await.is_some() {} });
    }
}
