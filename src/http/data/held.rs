//! A body on its way: it holds its place among the open requests until it ends, or the process does.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::http::data::Edge;
use crate::http::data::entry::Slot;
use crate::upstream::body::Pump;

struct Held {
    pump: Box<Pump>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: Slot,
}

/// What is told of what is not finished when the process has to end.
pub fn stopped() -> Error {
    let what = "the process was told to end, and its time to finish (limits.drain) is over: send \
                the request again";
    Error::new(Kind::Overloaded, what)
}

impl Edge {
    /// The response that brings a reply, and holds `slot` until it is brought.
    pub(super) fn respond(&self, reply: Reply, slot: Slot) -> Response {
        let body = match reply.body {
            ReplyBody::Whole(bytes) => Body::from(bytes),
            ReplyBody::Live(pump) => {
                let ended = Box::pin(self.door.sockets.until_ended());
                Body::new(Held { pump, ended, _slot: slot })
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.pump).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.ended.as_mut().poll(cx));
        Poll::Ready(self.pump.stop(stopped()).map(|last| last.map(Frame::data)))
    }
}
