//! Calls that are made again, elsewhere, beside one another, or not at all.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use understudy::config::Config;
use understudy::config::Ping;
use understudy::metrics::AgainLabels;
use understudy::metrics::PingLabels;
use understudy::retry::Hedge;

use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::endpoint;
use crate::harness::sidecar::key;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;
use crate::harness::until;

fn stubborn(providers: &[(&str, &Provider)]) -> Config {
    let mut config = config(providers);
    config.retry.attempts = 2;
    config.retry.backoff = Duration::from_millis(1);
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_repeated_is_and_what_acts_is_not() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(stubborn(&[("alpha", &alpha)])).await;
    for failure in [Answer::error(500), Answer::hang_up(), Answer::json("{}")] {
        alpha.expect(failure.clone());
        alpha.expect(failure);
        alpha.expect(Answer::saying("at last"));
        let request = sidecar.chat(asking("alpha/m", "x", false));
        let reply = whole(request.header("cache-control", "no-store")).await;
        assert_eq!((reply.status, alpha.calls().len()), (200, 3), "{}", reply.text());
    }
    let mut acts: Value = serde_json::from_str(&asking("alpha/m", "x", false)).unwrap();
    acts["background"] = json!(true);
    let acts = acts.to_string();
    alpha.expect(Answer::error(500));
    assert_eq!(sidecar.ask(acts.clone()).await.status, 500);
    alpha.expect(Answer::error(500));
    alpha.expect(Answer::saying("done once"));
    let keyed = sidecar.chat(acts.clone()).header("idempotency-key", "7");
    assert_eq!(whole(keyed).await.status, 200);
    alpha.expect(Answer::error(429));
    alpha.expect(Answer::saying("had no time before"));
    assert_eq!(sidecar.ask(acts).await.status, 200);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_through_is_repeated_when_it_only_reads() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(stubborn(&[("alpha", &alpha)])).await;
    let files = format!("{}/alpha/v1/files", sidecar.data);
    alpha.expect(Answer::error(503));
    alpha.expect(Answer::json("[]"));
    assert_eq!(whole(sidecar.client.get(&files)).await.status, 200);
    alpha.expect(Answer::error(503));
    assert_eq!(whole(sidecar.client.post(&files).body("x")).await.status, 503);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_answers_at_once_and_says_for_how_long() {
    let alpha = Provider::start().await;
    let mut config = stubborn(&[("alpha", &alpha)]);
    config.breaker.failures = 2;
    config.breaker.open = Duration::from_secs(60);
    let only = route(&config, &[("alpha/m", None)]);
    config.routes.insert("only".into(), only);
    let sidecar = Sidecar::start(config).await;
    alpha.expect(Answer::error(500));
    alpha.expect(Answer::error(500));
    // The breaker opens before the third attempt, and the provider's own words are handed on.
    assert_eq!(sidecar.ask(asking("only", "x", false)).await.status, 500);
    let reply = sidecar.ask(asking("only", "x", false)).await;
    assert_eq!((reply.status, alpha.calls().len()), (503, 2));
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(reply.text().contains("breaker"), "{}", reply.text());
    let metrics = whole(sidecar.client.get(format!("{}/metrics", sidecar.admin))).await.text();
    assert!(metrics.contains("understudy_breaker_state{target=\"alpha/m\"} 2"), "{metrics}");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_begin_is_overtaken_by_one_beside_it_and_cancelled() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = stubborn(&[("alpha", &alpha), ("beta", &beta)]);
    let mut both = route(&config, &[("alpha/m", None), ("beta/m", None)]);
    both.hedge = Some(Hedge { after: Duration::from_millis(20), budget: 1.0 });
    config.routes.insert("both".into(), both);
    let sidecar = Sidecar::start(config).await;
    let closed = Gate::new();
    alpha.expect(Answer::saying("too late").after(&closed));
    beta.expect(Answer::saying("in time"));
    let reply = sidecar.ask(asking("both", "x", false)).await;
    assert_eq!((reply.status, reply.header("x-understudy-target")), (200, "beta/m"));
    until("the other is cancelled", || alpha.open() == 0).await;
    assert_eq!((alpha.abandoned(), beta.count()), (1, 1));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_in_googles_body_is_waited_and_a_longer_one_is_handed_on() {
    let alpha = Provider::start().await;
    let mut config = stubborn(&[]);
    let google = understudy::config::Provider::native(
        "alpha",
        alpha.base_url().parse().unwrap(),
        understudy::chat::DialectName::Gemini,
    );
    config.providers.insert("alpha".to_owned(), google);
    let sidecar = Sidecar::start(config).await;
    let busy = |wait: &str| {
        let detail = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo",
                            "retryDelay": wait});
        let error = json!({"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED",
                           "details": [detail]});
        let body = json!({ "error": error }).to_string();
        Answer::new(429, "application/json", vec![Step::Send(body.into())])
    };
    let said = r#"{"candidates":[{"content":{"parts":[{"text":"yes"}],"role":"model"},
        "finishReason":"STOP","index":0}]}"#;
    let ask = async |text: &str| {
        let body = json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}).to_string();
        whole(sidecar.post("/v1beta/models/alpha%2Fm:generateContent", body)).await
    };
    alpha.expect(busy("0.002s"));
    alpha.expect(Answer::json(said));
    assert_eq!(ask("short").await.status, 200, "it was asked again");
    // Longer than anybody waits: what the provider says is handed on.
    alpha.expect(busy("34s"));
    let reply = ask("long").await;
    assert_eq!((reply.status, &reply.json()["error"]["message"]), (429, &json!("m")));
    sidecar.stop().await;
}

/// A server whose queue of connections is full, so that no further one is ever made.
async fn unreachable() -> (TcpListener, TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let first = TcpStream::connect(address).await.unwrap();
    (listener, first, format!("http://{address}/v1"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_has_its_own_limit_for_connecting() {
    let alpha = Provider::start().await;
    let (_listener, _first, nowhere) = unreachable().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.providers.insert("full".to_owned(), endpoint("full", &nowhere));
    // Nobody waits as long as other routes would.
    config.timeouts.connect = Duration::from_secs(3600);
    let mut quick = route(&config, &[("full/m", None), ("alpha/m", None)]);
    quick.timeouts.connect = Duration::from_millis(50);
    config.routes.insert("quick".to_owned(), quick);
    let sidecar = Sidecar::start(config).await;
    alpha.expect(Answer::saying("here"));
    let reply = sidecar.ask(asking("quick", "x", false)).await;
    assert_eq!((reply.status, reply.header("x-understudy-target")), (200, "alpha/m"));
    let labels = AgainLabels { provider: "full".to_owned(), reason: "connect" };
    assert_eq!(sidecar.metrics.failovers.get_or_create(&labels).get(), 1);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_finds_out_instead_of_an_application_whether_a_target_is_well() {
    let alpha = Provider::start().await;
    let mut config = stubborn(&[("alpha", &alpha)]);
    config.retry.attempts = 0;
    (config.breaker.failures, config.breaker.open) = (1, Duration::from_secs(3600));
    let ping = Ping { path: "/models".to_owned(), every: Duration::from_millis(5) };
    let provider = config.providers.get_mut("alpha").unwrap();
    provider.ping = Some(ping);
    provider.api_keys = vec![key("ours")];
    let only = route(&config, &[("alpha/m", None)]);
    config.routes.insert("only".into(), only);
    let sidecar = Sidecar::start(config).await;
    let pings = |result| {
        let labels = PingLabels { provider: "alpha".to_owned(), result };
        sidecar.metrics.pings.get_or_create(&labels).get()
    };
    alpha.always(Answer::error(503));
    assert_eq!(sidecar.ask(asking("only", "x", false)).await.status, 503);
    until("a ping", || pings("down") > 1).await;
    alpha.always(Answer::error(404));
    until("another ping", || pings("unclear") > 0).await;
    let reply = sidecar.ask(asking("only", "x", false)).await;
    assert!(reply.text().contains("(breaker)"), "still left alone: {}", reply.text());
    alpha.always(Answer::saying("a list, or what it takes for one"));
    until("the ping that finds it well", || pings("well") == 1).await;
    let calls = alpha.calls();
    assert_eq!((calls[0].method.as_str(), calls[1].method.as_str()), ("POST", "GET"));
    assert_eq!(calls[1].path, "/v1/models");
    assert_eq!(calls[1].header("authorization"), Some("Bearer ours"));
    assert_eq!(sidecar.ask(asking("only", "x", false)).await.status, 200);
    assert_eq!(pings("well"), 1, "who is well is not asked");
    sidecar.stop().await;
}
