//! The edge: sockets, paths, and errors turned into responses.

pub mod admin;
pub mod data;
pub mod feedback;
pub mod patience;
pub mod site;
pub mod socket;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
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
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

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

/// What a connection goes through before it speaks HTTP.
pub trait Greet: Clone + Send + 'static {
    /// What it is afterwards.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Greets whoever connected.
    ///
    /// # Errors
    /// They did not understand each other.
    fn greet(&self, stream: TcpStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// HTTP at once, without TLS.
#[derive(Clone, Copy)]
struct Plain;

impl Greet for Plain {
    type Stream = TcpStream;

    async fn greet(&self, stream: TcpStream) -> io::Result<TcpStream> {
        Ok(stream)
    }
}

/// Serves until `sockets` stop, then lets open exchanges and sockets finish for at most `drain`.
pub async fn serve(listener: TcpListener, service: impl Serve, sockets: Sockets, drain: Duration) {
    serve_greeted(listener, Plain, service, sockets, drain).await;
}

/// As [`serve`], with everybody who connects greeted first.
pub async fn serve_greeted(
    listener: TcpListener,
    greet: impl Greet,
    service: impl Serve,
    sockets: Sockets,
    drain: Duration,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http1().max_buf_size(MAX_HEAD);
    builder.http2().max_header_list_size(MAX_HEAD as u32);
    let builder = Arc::new(builder);
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
        let (greet, builder, service) = (greet.clone(), builder.clone(), service.clone());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let stream = match tokio::time::timeout(HEAD_TIMEOUT, greet.greet(stream)).await {
                Ok(Ok(stream)) => TokioIo::new(stream),
                Ok(Err(error)) => return tracing::debug!(%error, "a connection did not begin"),
                Err(_) => return tracing::debug!("a connection did not begin in time"),
            };
            let connection = builder.serve_connection_with_upgrades(stream, service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
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
