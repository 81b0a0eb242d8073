//! WebSockets to providers: the handshake passes untouched, then two streams of bytes are joined.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::header;
use reqwest::Client;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::split;
use tokio::time::Instant;

use crate::chat::DialectName;
use crate::config::Timeouts;
use crate::error::Result;
use crate::experiment::Target;
use crate::upstream::Opened;
use crate::upstream::Upstream;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::transport_error;

/// The most bytes that are on their way in one direction.
const PIECE: usize = 16 << 10;

/// What became of a request for a socket.
pub enum Upgraded {
    /// The provider agreed.
    Open {
        /// The headers of its agreement, those of the handshake included.
        headers: HeaderMap,
        /// The way to it.
        tunnel: Tunnel,
    },
    /// It answered something else.
    Refused(Box<Opened>),
}

/// The provider's end of a socket.
pub struct Tunnel(reqwest::Upgraded);

impl Upstream {
    /// Asks a provider for a WebSocket at a path below its base URL.
    ///
    /// # Errors
    /// The provider is unknown, unreachable or too slow.
    pub async fn upgrade(
        &self,
        provider: &str,
        path_and_query: &str,
        headers: &HeaderMap,
        timeouts: Timeouts,
    ) -> Result<Upgraded> {
        let endpoint = self.endpoint(provider)?;
        let passing = endpoint.passing(Method::GET, path_and_query, headers, Bytes::new());
        let mut unpaid = passing.await?;
        let to_socket = &mut unpaid.headers;
        to_socket.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        to_socket.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let target = Target { provider: provider.to_owned(), model: String::new() };
        let (client, sent) = (self.http1(timeouts.connect)?, Instant::now());
        let limit = timeouts.first_token.min(timeouts.total);
        let sending = unpaid.send((&client, &self.secrets), &target, sent, limit);
        let paid = sending.await?;
        if paid.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let asked = Outgoing::new(DialectName::OpenAi, Bytes::new(), false);
            let opened = Opened::new(paid, &endpoint.pass, target, asked, sent, timeouts);
            return Ok(Upgraded::Refused(Box::new(opened)));
        }
        let response = paid.response;
        let mut headers = endpoint.pass.answered(response.headers());
        for name in [header::CONNECTION, header::UPGRADE] {
            headers.extend(response.headers().get(&name).map(|value| (name, value.clone())));
        }
        let upgraded = response.upgrade().await.map_err(|error| transport_error(&target, &error));
        Ok(Upgraded::Open { headers, tunnel: Tunnel(upgraded?) })
    }

    fn http1(&self, connect: Duration) -> Result<Client> {
        if let Some(client) = self.http1.get() {
            return Ok(client.clone());
        }
        let builder = Client::builder()
            .dns_resolver(self.resolver.clone())
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connect)
            .tcp_nodelay(true);
        let client = self.authorities.client(builder)?;
        // Whoever comes second keeps a client of its own for this once.
        let _ = self.http1.set(client.clone());
        Ok(client)
    }
}

impl Tunnel {
    /// Carries bytes both ways until both ends have ended, one fails, or nothing has come for
    /// `idle`, which is noticed within twice that time.
    ///
    /// # Errors
    /// A connection broke.
    pub async fn join(self, client: impl AsyncRead + AsyncWrite, idle: Duration) -> io::Result<()> {
        let ((from_client, to_client), (from_provider, to_provider)) =
            (split(client), split(self.0));
        let moved = AtomicU64::new(0);
        let both = async {
            let there = carry(from_client, to_provider, &moved);
            let back = carry(from_provider, to_client, &moved);
            tokio::try_join!(there, back).map(|_| ())
        };
        tokio::select! {
            ended = both => ended,
            () = quiet(&moved, idle) => Ok(()),
        }
    }
}

/// Returns when nothing has moved between two looks.
async fn quiet(moved: &AtomicU64, idle: Duration) {
    loop {
        let before = moved.load(Ordering::Relaxed);
        tokio::time::sleep(idle).await;
        if moved.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

async fn carry(from: impl AsyncRead, to: impl AsyncWrite, moved: &AtomicU64) -> io::Result<()> {
    let (mut from, mut to) = (std::pin::pin!(from), std::pin::pin!(to));
    let mut piece = vec![0; PIECE];
    loop {
        let size = from.read(&mut piece).await?;
        if size == 0 {
            return to.shutdown().await;
        }
        moved.fetch_add(size as u64, Ordering::Relaxed);
        to.write_all(piece.get(..size).unwrap_or_default()).await?;
        to.flush().await?;
    }
}
