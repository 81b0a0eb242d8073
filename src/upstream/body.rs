//! A flow as the body of a response.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use http_body::Body;
use http_body::Frame as BodyFrame;

use crate::error::Error;
use crate::upstream::pump::Ended;
use crate::upstream::pump::Flow;

/// A [`Flow`] as the body of a response; finishes or reports when the application leaves.
pub struct Pump {
    flow: Option<Flow>,
    /// Pieces that were read before the head went out.
    held: std::collections::VecDeque<Bytes>,
}

impl Pump {
    /// `held` goes out first.
    pub fn new(flow: Flow, held: Vec<Bytes>) -> Self {
        Self { flow: Some(flow), held: held.into() }
    }
}

impl Body for Pump {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Error>>> {
        if let Some(bytes) = self.held.pop_front() {
            return Poll::Ready(Some(Ok(BodyFrame::data(bytes))));
        }
        let Some(flow) = &mut self.flow else { return Poll::Ready(None) };
        match std::task::ready!(flow.poll_next(cx)) {
            Some(bytes) => Poll::Ready(Some(Ok(BodyFrame::data(bytes)))),
            None => {
                // A body that is no stream has no way to say that it broke, except by breaking.
                let cut = match (flow.ended(), flow.is_stream()) {
                    (Some(Ended::Cut(error)), false) => Some(error.clone()),
                    _ => None,
                };
                self.flow = None;
                Poll::Ready(cut.map(Err))
            }
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let Some(mut flow) = self.flow.take().filter(|flow| flow.ended().is_none()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && flow.must_finish()
        {
            runtime.spawn(async move { while flow.next().await.is_some() {} });
        }
    }
}
