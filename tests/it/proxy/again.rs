//! Calls that are made again, elsewhere, beside one another, or not at all.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use understudy::config::Config;
use understudy::retry::Hedge;

use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
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
