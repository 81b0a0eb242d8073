//! Requests that cannot be served: each is told why in its dialect, and none reaches a provider.

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::whole;
use crate::harness::until;
use crate::harness::within;

fn check(name: &str, reply: &Reply, status: u16, code: &str, says: &str) {
    assert_eq!(reply.status, status, "{name}: {}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json", "{name}");
    assert!(!reply.header("x-request-id").is_empty(), "{name}");
    let body = reply.json();
    let error = &body["error"];
    assert_eq!(error["code"], code, "{name}: {error}");
    let kind = error["type"].as_str().unwrap();
    assert_eq!(kind == "invalid_request_error", status < 500, "{name}: {error}");
    assert!(error.get("param").is_some_and(Value::is_null), "{name}: {error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(says), "{name}: {message}");
    assert!(message.len() < 300, "{name}: {message}");
    assert!(!message.contains("SECRET"), "{name} repeats the prompt: {message}");
}

/// A body, the status and code it is refused with, and words of the explanation.
fn bodies() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let deep = |open: &str, close: &str, n: usize| {
        let nested = format!("{}{}", open.repeat(n), close.repeat(n));
        format!("{{\"model\":\"alpha/m\",\"messages\":[{nested}]}}").into_bytes()
    };
    let text = |body: &str| body.as_bytes().to_vec();
    vec![
        ("empty", Vec::new(), "not valid JSON"),
        ("white space", text(" \n "), "not valid JSON"),
        ("no JSON", text("SECRET"), "not valid JSON (line 1"),
        ("half", text("{\"model\":\"alpha/m\",\"messages\":[{\"content\":\"SECRET"), "not valid"),
        ("two values", text("{\"model\":\"alpha/m\",\"messages\":[]} {\"SECRET\":1}"), "not valid"),
        ("a list", text("[\"SECRET\"]"), "not a chat completion request"),
        ("a string", text("\"SECRET\""), "not a chat completion request"),
        ("a number", text("1"), "not a chat completion request"),
        ("no model", text("{\"messages\":[\"SECRET\"]}"), "missing field `model`"),
        (
            "model twice",
            text("{\"model\":\"a\",\"model\":\"b\",\"messages\":[]}"),
            "duplicate field `model`",
        ),
        (
            "messages twice",
            text("{\"model\":\"a\",\"messages\":[],\"messages\":[]}"),
            "duplicate field `messages`",
        ),
        ("model null", text("{\"model\":null,\"messages\":[]}"), "must be a string"),
        ("model a number", text("{\"model\":7,\"messages\":[]}"), "must be a string"),
        ("model empty", text("{\"model\":\"\",\"messages\":[]}"), "is empty"),
        ("no messages", text("{\"model\":\"alpha/m\"}"), "`messages` must be a list"),
        ("messages null", text("{\"model\":\"alpha/m\",\"messages\":null}"), "must be a list"),
        ("messages a text", text("{\"model\":\"m\",\"messages\":\"SECRET\"}"), "must be a list"),
        ("stream a text", text("{\"model\":\"m\",\"messages\":[],\"stream\":\"SECRET\"}"), "chat"),
        (
            "not UTF-8",
            text("{\"model\":\"alpha/m\",\"messages\":[\"SECRET")
                .into_iter()
                .chain([0xff, 0xfe])
                .chain(text("\"]}"))
                .collect(),
            "not valid",
        ),
        ("a byte order mark", text("\u{feff}{\"model\":\"m\",\"messages\":[]}"), "not valid JSON"),
        ("100,000 brackets", "[".repeat(100_000).into_bytes(), "not valid JSON"),
        ("100,000 braces", "{\"a\":".repeat(100_000).into_bytes(), "not valid JSON"),
        ("100,000 closed brackets", deep("[", "]", 100_000), "nested too deeply"),
        ("100,000 closed braces", deep("{\"a\":[", "]}", 50_000), "nested too deeply"),
        ("a number without end", text("{\"model\":\"m\",\"messages\":[1e999]}"), "not valid JSON"),
        ("a model of 10,000 letters", text(&asking(&"SECRET".repeat(2000), "x", false)), "longer"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_request_is_refused_with_the_reason_and_without_its_text() {
    let provider = Provider::start().await;
    let mut config = config(&[("alpha", &provider)]);
    config.limits.max_request_bytes = 1 << 20;
    let sidecar = Sidecar::start(config).await;
    for (name, body, says) in bodies() {
        for path in ["/v1/chat/completions", "/alpha/v1/chat/completions"] {
            let reply = whole(sidecar.post(path, body.clone())).await;
            check(name, &reply, 400, "bad_request", says);
        }
    }
    let large = asking("alpha/m", &"x".repeat(1 << 20), false);
    let reply = sidecar.ask(large).await;
    check("too large", &reply, 413, "too_large", "limits.max_request_bytes");
    let unknown = sidecar.ask(asking("nobody/m", "SECRET", false)).await;
    check("unknown model", &unknown, 404, "not_found", "no route or provider answers to");
    // It is still there after all that.
    provider.expect(Answer::saying("ok"));
    assert_eq!(sidecar.ask(asking("alpha/m", "x", false)).await.status, 200);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_path_or_method_is_refused_with_a_way_out() {
    let provider = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &provider)])).await;
    let url = |path: &str| format!("{}{path}", sidecar.data);
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let request = sidecar.client.request(method.parse().unwrap(), url("/v1/chat/completions"));
        check(method, &whole(request).await, 405, "bad_method", "takes POST only");
    }
    let head = whole(sidecar.client.head(url("/v1/chat/completions"))).await;
    assert_eq!((head.status, head.body.len()), (405, 0));
    for path in ["/", "/v1", "/v2/chat/completions", "/v1/unknown", "/nobody/v1/x", "//", "/alpha"]
    {
        let request = sidecar.client.get(url(path));
        check(path, &whole(request).await, 404, "not_found", "try /v1/chat/completions");
    }
    let doubled = whole(sidecar.client.get(url("//alpha/v1/x"))).await;
    check("two slashes", &doubled, 404, "not_found", "try /v1/chat/completions");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_reaches_no_provider() {
    let provider = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &provider)])).await;
    let address = sidecar.data.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = String::new();
    within("the end", stream.read_to_string(&mut reply)).await.unwrap();
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400"), "{reply}");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_allowed_are_told_to_come_back() {
    let provider = Provider::start().await;
    let mut config = config(&[("alpha", &provider)]);
    config.limits.max_concurrency = 1;
    let sidecar = Sidecar::start(config).await;
    let gate = Gate::new();
    provider.expect(Answer::saying("ok").after(&gate));
    let first = tokio::spawn(whole(sidecar.chat(asking("alpha/m", "x", false))));
    until("the first", || provider.count() == 1).await;
    assert_eq!(sidecar.metrics.open.get(), 1);
    let second = sidecar.ask(asking("alpha/m", "y", false)).await;
    check("second", &second, 503, "overloaded", "1 requests are open already");
    assert_eq!(second.header("retry-after"), "1");
    gate.open();
    assert_eq!(within("the first", first).await.unwrap().status, 200);
    until("room", || sidecar.metrics.open.get() == 0).await;
    provider.expect(Answer::saying("ok"));
    assert_eq!(sidecar.ask(asking("alpha/m", "y", false)).await.status, 200);
    sidecar.stop().await;
}
