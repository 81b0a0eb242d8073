//! What everything is compared with: the least that axum and reqwest can do to pass a request on,
//! or to answer it from memory.

use std::io::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::serve::ListenerExt;
use bytes::Bytes;
use http_body_util::BodyExt;
use reqwest::Client;
use reqwest::Url;
use tokio::net::TcpListener;

#[derive(Clone)]
struct Upstream {
    client: Client,
    /// Parsed once, as understudy does.
    chat: Url,
    /// The first answer, for everyone after it; empty when every request is passed on.
    memory: Option<Arc<OnceLock<Bytes>>>,
}

/// Serves on `listen` until killed, sending everything to the chat endpoint of `upstream`, or only
/// the first request if `from_memory`.
pub fn run(
    listen: SocketAddr,
    upstream: SocketAddr,
    threads: usize,
    from_memory: bool,
) -> std::io::Result<()> {
    let runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        n => tokio::runtime::Builder::new_multi_thread().worker_threads(n).enable_all().build()?,
    };
    runtime.block_on(async {
        rustls::crypto::ring::default_provider()
            .install_default()
            .map_err(|_| Error::other("TLS was set up before"))?;
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(Error::other)?;
        let chat = format!("http://{upstream}/v1/chat/completions");
        let chat = Url::parse(&chat).map_err(Error::other)?;
        let memory = from_memory.then(Arc::default);
        let upstream = Upstream { client, chat, memory };
        let router = Router::new().fallback(answer).with_state(upstream);
        let listener = TcpListener::bind(listen).await?;
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        axum::serve(listener, router).await
    })
}

async fn answer(State(upstream): State<Upstream>, request: Request) -> Response {
    let Some(memory) = upstream.memory.clone() else { return pass(upstream, request).await };
    let bytes = match memory.get() {
        Some(bytes) => request.into_body().collect().await.map(|_| bytes.clone()),
        None => {
            let first = pass(upstream, request).await.into_body().collect().await;
            first.map(|body| memory.get_or_init(|| body.to_bytes()).clone())
        }
    };
    match bytes {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn pass(upstream: Upstream, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return StatusCode::BAD_REQUEST.into_response() };
    let mut sent = reqwest::Request::new(head.method, upstream.chat);
    *sent.headers_mut() = head.headers;
    sent.headers_mut().remove(header::HOST);
    sent.headers_mut().remove(header::CONTENT_LENGTH);
    *sent.body_mut() = Some(body.to_bytes().into());
    match upstream.client.execute(sent).await {
        Ok(answer) => http::Response::from(answer).map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
