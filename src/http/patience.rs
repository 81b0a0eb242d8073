//! A request's body that has to keep coming: one that stalls would hold its place for long.

use std::fmt;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use http_body::SizeHint;
use tokio::time::Sleep;

/// How long a client may send nothing in the middle of its request.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body that fails when nothing of it has come for a while.
pub fn patient<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    for_at_most(PATIENCE, Body::new(body))
}

fn for_at_most(patience: Duration, body: Body) -> Body {
    Body::new(Patient { body, patience, pause: None })
}

struct Patient {
    body: Body,
    patience: Duration,
    /// Runs while nothing comes.
    pause: Option<Pin<Box<Sleep>>>,
}

/// Nothing came for too long.
#[derive(Debug)]
struct Stalled(Duration);

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing came for {:?}", self.0)
    }
}

impl std::error::Error for Stalled {}

impl http_body::Body for Patient {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.pause = None;
            return Poll::Ready(frame);
        }
        let patience = self.patience;
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        std::task::ready!(pause.as_mut().poll(cx));
        Poll::Ready(Some(Err(axum::Error::new(Stalled(patience)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use bytes::Bytes;
    use futures_util::StreamExt;
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::for_at_most;
    use super::patient;

    #[tokio::test]
    async fn a_body_that_comes_arrives_and_a_stalled_one_fails() {
        let piece = || Ok::<_, std::io::Error>(Bytes::from_static(b"x"));
        let whole = Body::from_stream(stream::iter(0..5).map(move |_| piece()));
        assert_eq!(patient(whole).collect().await.unwrap().to_bytes(), "xxxxx");
        let stalled = stream::once(async move { piece() }).chain(stream::pending());
        let stalled = for_at_most(Duration::ZERO, Body::from_stream(stalled));
        let error = stalled.collect().await.unwrap_err();
        assert!(error.to_string().contains("nothing came for 0ns"), "{error}");
    }
}
