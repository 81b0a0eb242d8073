//! What crosses the border: headers by a list, requests to configured hosts only.

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::endpoint;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;
use crate::harness::within;

/// Headers of an application that concern no provider.
const OURS: [&str; 8] = [
    "cookie",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-real-ip",
    "x-user-id",
    "x-internal-token",
    "baggage",
];

/// Headers of a provider that concern its own address only.
const THEIRS: [&str; 6] =
    ["set-cookie", "alt-svc", "strict-transport-security", "server", "x-powered-by", "nel"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_headers_cross_and_those_that_the_configuration_adds() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    config.forward_headers = vec!["x-team".parse().unwrap()];
    let beta_only = &mut config.providers.get_mut("beta").unwrap().forward_headers;
    *beta_only = vec!["x-tier".parse().unwrap()];
    let both = route(&config, &[("alpha/m", None), ("beta/m", None)]);
    config.routes.insert("both".into(), both);
    let sidecar = Sidecar::start(config).await;
    let told = [("retry-after", "7"), ("x-ratelimit-remaining-tokens", "8"), ("x-team", "9")];
    for path in ["/v1/chat/completions", "/beta/v1/files"] {
        let answer = THEIRS.iter().fold(Answer::saying("fine"), |a, name| a.header(name, "theirs"));
        let answer = told.iter().fold(answer, |a, (name, value)| a.header(name, value));
        if path == "/v1/chat/completions" {
            alpha.expect(Answer::error(500));
        }
        beta.expect(answer);
        let mut request = sidecar.post(path, asking("both", "q", false)).bearer_auth("key");
        for name in OURS.iter().chain(&["x-team", "x-tier"]) {
            request = request.header(*name, "ours");
        }
        for name in ["openai-organization", "idempotency-key", "x-stainless-lang", "traceparent"] {
            request = request.header(name, "sdk");
        }
        let reply = whole(request.header("user-agent", "sdk/1")).await;
        assert_eq!(reply.status, 200);
        for name in THEIRS {
            assert!(!reply.headers.contains_key(name), "{path}: {name}");
        }
        for (name, value) in told {
            assert_eq!(reply.header(name), value, "{path}");
        }
        for (call, tier) in alpha
            .calls()
            .iter()
            .map(|c| (c, None))
            .chain(beta.calls().iter().map(|c| (c, Some("ours"))))
        {
            for name in OURS {
                assert_eq!(call.header(name), None, "{path}");
            }
            for name in ["openai-organization", "idempotency-key", "x-stainless-lang"] {
                assert_eq!(call.header(name), Some("sdk"), "{path}");
            }
            assert_eq!(call.header("x-team"), Some("ours"));
            assert_eq!(call.header("x-tier"), tier);
            assert_eq!(call.header("user-agent"), Some("sdk/1"));
        }
    }
    sidecar.stop().await;
}

/// Sends a request's first line and these headers as they are, and gives back the status.
async fn raw(sidecar: &Sidecar, line: &str, headers: &str) -> String {
    let host = sidecar.data.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = within("an answer", stream.read_to_string(&mut answer)).await;
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_chooses_neither_the_host_nor_a_path_outside_the_base_url() {
    let (alpha, elsewhere) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[]);
    let below = format!("http://{}/tenant-1/v1", alpha.address);
    config.providers.insert("alpha".into(), endpoint("alpha", &below));
    let sidecar = Sidecar::start(config).await;
    let other = elsewhere.address;
    for (path, host, seen) in [
        ("/alpha/files".to_owned(), other.to_string(), Some("/tenant-1/v1/files")),
        (format!("http://{other}/alpha/files"), other.to_string(), Some("/tenant-1/v1/files")),
        (format!("/alpha//{other}/x"), "localhost".into(), Some("/tenant-1/v1//ADDRESS/x")),
        (format!("/alpha/@{other}/x"), "localhost".into(), Some("/tenant-1/v1/@ADDRESS/x")),
        (format!("//{other}/v1/files"), "localhost".into(), None),
        (format!("/http://{other}/v1/files"), "localhost".into(), None),
        ("/alpha/../tenant-2/v1/files".into(), "localhost".into(), None),
        ("/alpha/v1/../../tenant-2/files".into(), "localhost".into(), None),
        ("/alpha/%2e%2e/%2E%2E/tenant-2".into(), "localhost".into(), None),
        ("/alpha/.%2e/tenant-2/v1/files".into(), "localhost".into(), None),
        ("/alpha/\\..\\..\\tenant-2".into(), "localhost".into(), None),
        ("/alpha/a/../files".into(), "localhost".into(), Some("/tenant-1/v1/files")),
    ] {
        if seen.is_some() {
            alpha.expect(Answer::saying("here"));
        }
        let status = raw(&sidecar, &format!("GET {path}"), &format!("host: {host}\r\n")).await;
        let calls = alpha.calls();
        let paths: Vec<&str> = calls.iter().map(|call| call.path.as_str()).collect();
        let wanted = seen.map(|path| path.replace("ADDRESS", &other.to_string()));
        assert_eq!(paths, wanted.as_deref().into_iter().collect::<Vec<_>>(), "{path}");
        assert_eq!(status == "200", seen.is_some(), "{path}: {status}");
        let is_its_own = |call: &crate::harness::provider::Call| {
            call.header("host") == Some(alpha.address.to_string().as_str())
        };
        assert!(calls.iter().all(is_its_own), "{path}");
    }
    assert_eq!(elsewhere.count(), 0);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed() {
    let (alpha, elsewhere) = (Provider::start().await, Provider::start().await);
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    let to = format!("{}/files", elsewhere.base_url());
    for status in [301, 302, 307, 308] {
        // A redirect is no answer to a question, and may be one to what passes untouched.
        for (path, told) in [("/v1/chat/completions", 502), ("/alpha/v1/files", status)] {
            alpha.expect(Answer::error(status).header("location", &to));
            let body = asking("alpha/m", &status.to_string(), false);
            let reply = whole(sidecar.post(path, body).bearer_auth("key")).await;
            assert_eq!(reply.status, told, "{path}");
        }
    }
    assert_eq!((alpha.calls().len(), elsewhere.count()), (8, 0));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_is_refused_in_the_dialect_it_asks_in_and_calls_nobody() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    for (path, name, value, place) in [
        ("/v1/chat/completions", "origin", "https://evil.test", "/error/code"),
        ("/v1/chat/completions", "host", "evil.test", "/error/code"),
        ("/v1/messages", "origin", "null", "/error/type"),
        ("/alpha/v1/files", "host", "evil.test:4100", "/error/code"),
    ] {
        let body = asking("alpha/m", "x", false);
        let request = sidecar.client.post(format!("{}{path}", sidecar.data)).body(body);
        let request = request.header("content-type", "text/plain").header(name, value);
        let reply = whole(request).await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
        assert!(reply.json().pointer(place).is_some(), "{}", reply.text());
        assert!(reply.text().contains("allow_hosts"), "{}", reply.text());
    }
    alpha.expect(Answer::saying("a page of this machine"));
    let request = sidecar.chat(asking("alpha/m", "x", false));
    assert_eq!(whole(request.header("origin", "http://localhost:3000")).await.status, 200);
    sidecar.stop().await;
}
