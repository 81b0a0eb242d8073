//! The edge: sockets, paths, and errors turned into responses.

pub mod admin;
pub mod data;
pub mod feedback;
pub mod patience;
pub mod socket;

use std::convert::Infallible;
use std::time::Duration;

use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;

use crate::http::socket::Sockets;

/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of a request's head; hyper takes 100 headers besides.
const MAX_HEAD: usize = 64 << 10;

/// The pause after the system has no socket left to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long answers and sockets that are told to end may take to say so.
const GOODBYE: Duration = Duration::from_secs(1);

/// What answers the requests of a listener's connections.
pub trait Serve:
    Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Serve for S where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Serves until `sockets` stop, then lets open exchanges and sockets finish for at most `drain`.
pub async fn serve(listener: TcpListener, service: impl Serve, sockets: Sockets, drain: Duration) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http1().max_buf_size(MAX_HEAD);
    builder.http2().max_header_list_size(MAX_HEAD as u32);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sockets.stopped() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without this a stream's small pieces wait for each other.
        let _ = stream.set_nodelay(true);
        let stream = TokioIo::new(stream);
        let connection =
            builder.serve_connection_with_upgrades(stream, service.clone()).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a connection ended badly");
            }
        });
    }
    drop(listener);
    let mut finished = std::pin::pin!(async {
        graceful.shutdown().await;
        sockets.closed().await;
    });
    if tokio::time::timeout(drain, &mut finished).await.is_err() {
        tracing::warn!(?drain, "answers were still under way at the end of the grace period");
        sockets.end();
        let _ = tokio::time::timeout(GOODBYE, finished).await;
    }
}
