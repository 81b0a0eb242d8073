//! WebSockets: what passes untouched, and how sockets open and end.

mod responses;

use std::fs;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use futures_util::SinkExt;
use futures_util::StreamExt;
use http::HeaderMap;
use http::HeaderValue;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use understudy::quota::Quota;

use crate::harness::process::Process;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::config;
use crate::harness::sidecar::endpoint;
use crate::harness::sidecar::key;
use crate::harness::until;
use crate::harness::within;

/// A client's end.
type Socket = WebSocketStream<TcpStream>;

/// Opens a socket at `path` of `http://HOST` with these headers.
async fn connect(
    base: &str,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, Error> {
    let host = base.trim_start_matches("http://");
    let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let stream = TcpStream::connect(host).await.unwrap();
    let connected = within("a handshake", client_async(request, stream)).await;
    connected.map(|(socket, _)| socket)
}

async fn next(socket: &mut Socket) -> Option<Result<Message, Error>> {
    within("a message", socket.next()).await
}

async fn say(socket: &mut Socket, message: impl Into<Message>) {
    within("a message sent", socket.send(message.into())).await.unwrap();
}

/// A provider's own socket: it says everything back, and remembers how it was opened.
struct Echo {
    base_url: String,
    opened: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let opened = Arc::new(Mutex::new(Vec::new()));
        let seen = opened.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(echo(stream, seen.clone()));
            }
        });
        Self { base_url, opened }
    }

    fn opened(&self) -> Vec<(String, HeaderMap)> {
        std::mem::take(&mut self.opened.lock().unwrap())
    }
}

#[allow(clippy::result_large_err, reason = "the type is tungstenite's")]
async fn echo(stream: TcpStream, seen: Arc<Mutex<Vec<(String, HeaderMap)>>>) {
    let agree = |request: &server::Request, mut response: server::Response| {
        seen.lock().unwrap().push((request.uri().to_string(), request.headers().clone()));
        let headers = response.headers_mut();
        headers.insert("x-of-theirs", HeaderValue::from_static("1"));
        if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
            headers.insert("sec-websocket-protocol", protocol.clone());
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, agree).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text == "leave" => {
                let code = CloseCode::from(4001);
                let close = CloseFrame { code, reason: "as you say".into() };
                socket.close(Some(close)).await.unwrap();
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message).await.unwrap(),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_providers_own_socket_passes_untouched_in_both_directions() {
    let (echo, plain) = (Echo::start().await, Provider::start().await);
    let mut config = config(&[("plain", &plain)]);
    config.forward_headers = vec!["x-of-ours".parse().unwrap()];
    let mut openai = endpoint("openai", &echo.base_url);
    openai.api_keys = vec![key("sk-of-the-file")];
    config.providers.insert("openai".into(), openai);
    config.providers.insert("open".into(), endpoint("open", &echo.base_url));
    let sidecar = Sidecar::start(config).await;
    let every_byte: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for (path, upstream, credential) in [
        (
            "/v1/realtime?model=gpt-realtime&x=%2F",
            "/v1/realtime?model=gpt-realtime&x=%2F",
            "sk-of-the-file",
        ),
        ("/openai/v1/realtime?model=m", "/v1/realtime?model=m", "sk-of-the-file"),
        ("/open/v1/speech/live", "/v1/speech/live", "sk-of-the-client"),
        ("/open/speech", "/v1/speech", "sk-of-the-client"),
    ] {
        let headers = [
            ("authorization", "Bearer sk-of-the-client"),
            ("sec-websocket-protocol", "realtime"),
            ("x-of-ours", "2"),
            ("cookie", "ours"),
        ];
        let mut socket = connect(&sidecar.data, path, &headers).await.unwrap();
        let (uri, seen) = echo.opened().remove(0);
        assert_eq!(uri, upstream);
        assert_eq!(seen["authorization"], format!("Bearer {credential}"), "{path}");
        assert_eq!([&seen["sec-websocket-protocol"], &seen["x-of-ours"]], ["realtime", "2"]);
        assert!(!seen.contains_key("cookie"), "{path}");
        assert_eq!(sidecar.metrics.open.get(), 1);
        let texts = [Message::text("{\"type\":\"x\"}"), Message::text("no JSON at all")];
        for message in texts.into_iter().chain([Message::binary(every_byte.clone())]) {
            say(&mut socket, message.clone()).await;
            assert!(next(&mut socket).await.unwrap().unwrap() == message, "{path}");
        }
        say(&mut socket, Message::Ping("p".into())).await;
        assert_eq!(next(&mut socket).await.unwrap().unwrap(), Message::Pong("p".into()));
        say(&mut socket, Message::text("leave")).await;
        let Message::Close(Some(close)) = next(&mut socket).await.unwrap().unwrap() else {
            panic!("no close")
        };
        assert_eq!((u16::from(close.code), close.reason.as_str()), (4001, "as you say"));
        assert!(next(&mut socket).await.is_none());
        drop(socket);
        until("its place", || sidecar.metrics.open.get() == 0).await;
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_handshake_comes_back_as_it_is() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.limits.max_concurrency = 1;
    let sidecar = Sidecar::start(config).await;
    let answer = Answer::error(403).header("openai-version", "1").header("set-cookie", "theirs");
    alpha.expect(answer);
    let refused = connect(&sidecar.data, "/alpha/v1/realtime", &[]).await;
    let Err(Error::Http(response)) = refused else { panic!("{refused:?}") };
    assert_eq!(response.status().as_u16(), 403);
    assert_eq!(response.headers()["openai-version"], "1");
    assert!(!response.headers().contains_key("set-cookie"));
    let body = response.body().clone().unwrap_or_default();
    assert!(String::from_utf8_lossy(&body).contains("status 403"));
    let call = alpha.calls().remove(0);
    assert_eq!((call.method.as_str(), call.path.as_str()), ("GET", "/v1/realtime"));
    assert_eq!(call.header("upgrade"), Some("websocket"));
    for (path, status) in [
        ("/nobody/v1/x", 404),
        ("/v1/chat/completions", 405),
        ("/v1/realtime", 404),
        ("/v1/models", 400),
    ] {
        // The only place is free a moment after a refusal has been read.
        until("its place", || sidecar.metrics.open.get() == 0).await;
        let refused = connect(&sidecar.data, path, &[]).await;
        let Err(Error::Http(response)) = refused else { panic!("{refused:?}") };
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
    let page = [("origin", "https://evil.test")];
    for path in ["/alpha/v1/realtime", "/v1/responses"] {
        let refused = connect(&sidecar.data, path, &page).await;
        let Err(Error::Http(response)) = refused else { panic!("a page of another site") };
        assert_eq!(response.status().as_u16(), 403, "{path}");
    }
    until("its place", || sidecar.metrics.open.get() == 0).await;
    let _one = connect(&sidecar.data, "/v1/responses", &[]).await.unwrap();
    let Err(Error::Http(full)) = connect(&sidecar.data, "/v1/responses", &[]).await else {
        panic!("more sockets than requests may be open")
    };
    assert_eq!(full.status().as_u16(), 503);
    drop(_one);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_passes_through_takes_no_place_of_its_providers_limits() {
    let (echo, plain) = (Echo::start().await, Provider::start().await);
    let mut config = config(&[("plain", &plain)]);
    let mut limited = endpoint("limited", &echo.base_url);
    limited.quota =
        Quota { requests_per_minute: Some(1), concurrency: Some(1), ..Quota::default() };
    config.providers.insert("limited".into(), limited);
    let sidecar = Sidecar::start(config).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = connect(&sidecar.data, "/limited/v1/live", &[]).await.unwrap();
        say(&mut socket, "hello").await;
        assert_eq!(next(&mut socket).await.unwrap().unwrap().into_text().unwrap(), "hello");
        sockets.push(socket);
    }
    drop(sockets);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_socket_and_an_old_one_are_closed() {
    let echo = Echo::start().await;
    let plain = Provider::start().await;
    for (idle, life, is_old) in [(200, 60_000, false), (60_000, 300, true)] {
        let mut config = config(&[("plain", &plain)]);
        config.providers.insert("open".into(), endpoint("open", &echo.base_url));
        config.limits.socket_idle = Duration::from_millis(idle);
        config.limits.socket_life = Duration::from_millis(life);
        let sidecar = Sidecar::start(config).await;
        let mut passing = connect(&sidecar.data, "/open/v1/live", &[]).await.unwrap();
        let mut own = connect(&sidecar.data, "/v1/responses", &[]).await.unwrap();
        assert!(!matches!(next(&mut passing).await, Some(Ok(Message::Text(_)))));
        if is_old {
            let told = next(&mut own).await.unwrap().unwrap().into_text().unwrap();
            assert!(told.contains("websocket_connection_limit_reached"), "{told}");
            let Some(Ok(Message::Close(Some(close)))) = next(&mut own).await else { panic!() };
            assert_eq!(close.code, CloseCode::Normal);
        }
        // One that answers pings is not silent.
        drop((passing, own));
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_end_when_the_process_stops_and_do_not_outlast_the_drain_limit() {
    let echo = Echo::start().await;
    let dir = TempDir::new().unwrap();
    let config = serde_json::json!({
        "providers": {"alpha": {"base_url": echo.base_url}}, "limits": {"drain": "1s"},
    });
    fs::write(dir.path().join("understudy.yaml"), config.to_string()).unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut process = Process::start(dir.path(), &args, &[]);
    let data = process.address("listen");
    let mut own = connect(&data, "/v1/responses", &[]).await.unwrap();
    let mut passing = connect(&data, "/alpha/v1/live", &[]).await.unwrap();
    let began = Instant::now();
    process.terminate();
    let Some(Ok(Message::Close(Some(close)))) = next(&mut own).await else { panic!("no close") };
    assert_eq!(close.code, CloseCode::Away);
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    say(&mut passing, Message::text("still here")).await;
    assert_eq!(next(&mut passing).await.unwrap().unwrap(), Message::text("still here"));
    assert!(!matches!(next(&mut passing).await, Some(Ok(_))));
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    let ended = process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}
