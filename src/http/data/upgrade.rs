//! WebSockets at the edge: which path wants one, and who is at its other end.
//!
//! `/v1/responses` is the Responses API's own socket mode, answered by any target. Below a
//! provider's prefix, and at `/v1/realtime`, a socket passes through untouched; only where such a
//! provider has no socket for the Responses API is it answered as without the prefix.

mod answer;
mod bridge;
mod event;
mod memory;
mod queue;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::header;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Incoming;
use crate::exchange::pass::Switch;
use crate::http::data::Asked;
use crate::http::data::Edge;
use crate::http::data::below_prefix;
use crate::http::data::entry::Slot;
use crate::http::data::incoming;
use crate::http::data::upgrade::bridge::Bridge;
use crate::http::data::with_query;
use crate::upstream::upgrade::Tunnel;
use crate::wire::endpoint;
use crate::wire::endpoint::Endpoint;

/// Whose sockets `/v1/realtime` names.
const REALTIME: &str = "openai";

/// Who is at the other end.
enum Other<'a> {
    /// Any target, by way of the Responses API.
    Bridge,
    /// This provider, at this path.
    Provider { provider: &'a str, rest: &'a str, or_bridge: bool },
}

/// Whether a request asks for a WebSocket.
pub fn is_wanted(parts: &Parts) -> bool {
    let upgrade = parts.headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    parts.method == Method::GET
        && upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"))
}

/// Opens it.
///
/// # Errors
/// Nothing at this path takes one, the handshake is wrong, or the provider is out of reach.
pub async fn open(
    edge: &Edge,
    parts: &mut Parts,
    request_id: String,
    arrived: Instant,
) -> Result<Response> {
    let head = parts.clone();
    let mut slot = edge.slot()?;
    let mut incoming = incoming(&head, DialectName::Responses, request_id, arrived);
    edge.admit(&mut incoming, &mut slot)?;
    match edge.other(&head)? {
        Other::Bridge => bridge(edge, parts, incoming, slot).await,
        Other::Provider { provider, rest, or_bridge } => {
            let path = with_query(rest, &incoming);
            match edge.front.switch(provider, &path, &incoming).await? {
                Switch::Open { headers, tunnel } => join(edge, parts, headers, tunnel, slot),
                Switch::Refused(reply) if or_bridge && has_no_socket(reply.status) => {
                    incoming.provider = Some(provider.to_owned());
                    bridge(edge, parts, incoming, slot).await
                }
                Switch::Refused(reply) => Ok(edge.respond(reply, slot)),
            }
        }
    }
}

impl Edge {
    fn other<'p>(&self, parts: &'p Parts) -> Result<Other<'p>> {
        let path = parts.uri.path();
        if endpoint::of(path).as_ref().is_some_and(is_responses) {
            return Ok(Other::Bridge);
        }
        if let Some(below) = path.strip_prefix("/v1/realtime")
            && (below.is_empty() || below.starts_with('/'))
        {
            return Ok(Other::Provider { provider: REALTIME, rest: path, or_bridge: false });
        }
        // Nothing else is answered here with a socket, so whatever it is passes.
        let Asked::Pass { provider, rest } = self.asked(parts)? else {
            let what = format!("{path} has no WebSocket: send a plain request");
            return Err(Error::new(Kind::BadRequest, what));
        };
        let known = self.front.config.providers.get(provider);
        let endpoint = known.and_then(|known| below_prefix(known, rest));
        let is_responses = endpoint.as_ref().is_some_and(is_responses);
        Ok(Other::Provider { provider, rest, or_bridge: is_responses })
    }
}

fn is_responses(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Answer { dialect: DialectName::Responses, .. })
}

/// What servers say at a path that knows no sockets.
fn has_no_socket(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 405 | 426 | 501)
}

/// Answers the Responses API's events.
async fn bridge(
    edge: &Edge,
    parts: &mut Parts,
    mut incoming: Incoming,
    slot: Slot,
) -> Result<Response> {
    let largest = edge.front.config.limits.max_request_bytes;
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
    let upgrade = upgrade.map_err(|wrong| {
        let what = format!("not a WebSocket handshake: {}", wrong.body_text());
        Error::new(Kind::BadRequest, what)
    })?;
    let upgrade = upgrade.max_message_size(largest).max_frame_size(largest);
    let request_id = incoming.request_id.clone();
    without_handshake(&mut incoming.headers);
    let (edge, open) = (edge.clone(), edge.door.sockets.enter());
    let mut response = upgrade.on_upgrade(move |socket| async move {
        Bridge::new(edge, incoming).run(socket).await;
        drop((slot, open));
    });
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    Ok(response)
}

/// Leaves the headers that count for the requests on a socket.
fn without_handshake(headers: &mut HeaderMap) {
    for name in ["accept", "key", "version", "extensions", "protocol"] {
        headers.remove(format!("sec-websocket-{name}"));
    }
    // Browsers send both with every WebSocket handshake, and mean no cache of answers.
    if headers.remove(header::PRAGMA).is_some() {
        headers.remove(header::CACHE_CONTROL);
    }
}

/// Joins the client's end with the provider's.
fn join(
    edge: &Edge,
    parts: &mut Parts,
    headers: HeaderMap,
    tunnel: Tunnel,
    slot: Slot,
) -> Result<Response> {
    let client = parts.extensions.remove::<OnUpgrade>();
    let client = client.ok_or_else(|| {
        let what = "this connection cannot become a WebSocket: use HTTP/1.1";
        Error::new(Kind::BadRequest, what)
    })?;
    let limits = edge.front.config.limits;
    let (sockets, open) = (edge.door.sockets.clone(), edge.door.sockets.enter());
    tokio::spawn(async move {
        let joined = async {
            // A client that does not wait for the answer to its handshake.
            let Ok(client) = client.await else { return };
            if let Err(error) = tunnel.join(TokioIo::new(client), limits.socket_idle).await {
                tracing::debug!(%error, "a socket ended badly");
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(limits.socket_life, joined) => {}
            () = sockets.ended() => {}
        }
        drop((slot, open));
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    Ok(response)
}
