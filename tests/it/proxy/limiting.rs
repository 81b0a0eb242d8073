//! Limits of providers: configured ones, those they tell of, and what clients hear of them.

use std::time::Duration;

use understudy::config::Config;
use understudy::metrics::LimitLabels;
use understudy::quota::Quota;

use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::key;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;
use crate::harness::until;

/// Nobody waits.
fn strict(mut config: Config, provider: &str, quota: Quota) -> Config {
    let quota = Quota { wait: Duration::ZERO, ..quota };
    config.providers.get_mut(provider).unwrap().quota = quota;
    config
}

fn limited(sidecar: &Sidecar, limit: &'static str) -> u64 {
    let labels = LimitLabels { provider: "alpha".to_owned(), limit };
    sidecar.metrics.limited.get_or_create(&labels).get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_a_limit_is_our_own_429_in_the_clients_dialect() {
    let alpha = Provider::start().await;
    let quota = Quota { requests_per_minute: Some(1), ..Quota::default() };
    let sidecar = Sidecar::start(strict(config(&[("alpha", &alpha)]), "alpha", quota)).await;
    alpha.expect(Answer::saying("one"));
    assert_eq!(sidecar.ask(asking("alpha/m", "1", false)).await.status, 200);
    let messages =
        r#"{"model":"alpha/m","max_tokens":9,"messages":[{"role":"user","content":"2"}]}"#;
    let gemini = r#"{"contents":[{"parts":[{"text":"3"}]}]}"#;
    for (path, body, place, kind) in [
        ("/v1/chat/completions", asking("alpha/m", "2", false), "/error/code", "provider_busy"),
        ("/v1/chat/completions", asking("alpha/m", "2", true), "/error/code", "provider_busy"),
        ("/v1/messages", messages.to_owned(), "/error/type", "rate_limit_error"),
        (
            "/v1beta/models/alpha%2Fm:generateContent",
            gemini.to_owned(),
            "/error/status",
            "RESOURCE_EXHAUSTED",
        ),
    ] {
        let reply = whole(sidecar.post(path, body)).await;
        assert_eq!(reply.status, 429, "{path}: {}", reply.text());
        let told = reply.json();
        assert_eq!(told.pointer(place).and_then(|told| told.as_str()), Some(kind), "{told}");
        assert!(told.to_string().contains("providers.alpha.limits.requests_per_minute"), "{told}");
        let seconds: u64 = reply.header("retry-after").parse().unwrap();
        let millis: u64 = reply.header("retry-after-ms").parse().unwrap();
        assert!((1..=60).contains(&seconds) && millis.div_ceil(1000) == seconds, "{millis}");
    }
    assert_eq!(alpha.count(), 1);
    assert_eq!(limited(&sidecar, "requests"), 4);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_target_answers_for_one_whose_limits_are_used_up() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let both = route(&config, &[("alpha/one", None), ("beta/two", None)]);
    config.routes.insert("both".into(), both);
    let quota = Quota { tokens_per_minute: Some(50), ..Quota::default() };
    let sidecar = Sidecar::start(strict(config, "alpha", quota)).await;
    // By estimate nearly all that there is; the provider says that it used 2.
    let long = "word ".repeat(30);
    alpha.expect(Answer::saying("one"));
    let reply = sidecar.ask(asking("both", &long, false)).await;
    assert_eq!(reply.header("x-understudy-target"), "alpha/one");
    alpha.expect(Answer::saying("one"));
    let reply = sidecar.ask(asking("both", &format!("{long}again"), false)).await;
    assert_eq!(reply.header("x-understudy-target"), "alpha/one", "settled with the usage");
    let used = Answer::json(
        r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
            "message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],
            "usage":{"prompt_tokens":40,"completion_tokens":60,"total_tokens":100}}"#,
    );
    alpha.expect(used);
    sidecar.ask(asking("both", "short", false)).await;
    beta.expect(Answer::saying("two"));
    let reply = sidecar.ask(asking("both", "short too", false)).await;
    assert_eq!(reply.header("x-understudy-target"), "beta/two");
    assert_eq!(limited(&sidecar, "tokens"), 1);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_among_the_calls_is_held_to_the_end_of_a_stream() {
    let alpha = Provider::start().await;
    let quota = Quota { concurrency: Some(1), ..Quota::default() };
    let sidecar = Sidecar::start(strict(config(&[("alpha", &alpha)]), "alpha", quota)).await;
    let gate = Gate::new();
    let rest = [vec![delta("begun"), Step::Wait(gate.clone()), delta("over")], ending()].concat();
    alpha.expect(Answer::stream(rest));
    let mut open = sidecar.chat(asking("alpha/m", "1", true)).send().await.unwrap();
    assert!(open.chunk().await.unwrap().is_some());
    let reply = sidecar.ask(asking("alpha/m", "2", false)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "2"));
    assert!(reply.text().contains("limits.concurrency"), "{}", reply.text());
    gate.open();
    while open.chunk().await.unwrap().is_some() {}
    alpha.expect(Answer::saying("free"));
    assert_eq!(sidecar.ask(asking("alpha/m", "2", false)).await.status, 200);
    // So is that of a client that leaves, until it has left.
    alpha.expect(Answer::stream(vec![delta("begun"), Step::Hang]));
    let mut open = sidecar.chat(asking("alpha/m", "3", true)).send().await.unwrap();
    assert!(open.chunk().await.unwrap().is_some());
    drop(open);
    until("a free place", || sidecar.metrics.open.get() == 0).await;
    alpha.expect(Answer::saying("free"));
    assert_eq!(sidecar.ask(asking("alpha/m", "4", false)).await.status, 200);
    assert_eq!(limited(&sidecar, "concurrency"), 1);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_place_gets_it_when_one_is_free() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    let quota = Quota { concurrency: Some(1), wait: Duration::from_secs(60), ..Quota::default() };
    config.providers.get_mut("alpha").unwrap().quota = quota;
    let sidecar = Sidecar::start(config).await;
    let gate = Gate::new();
    alpha.expect(Answer::saying("first").after(&gate));
    alpha.expect(Answer::saying("second"));
    let second = async {
        until("the first call", || alpha.count() == 1).await;
        let asked = sidecar.ask(asking("alpha/m", "2", false));
        let opened = async {
            until("both open", || sidecar.metrics.open.get() == 2).await;
            gate.open();
        };
        tokio::join!(asked, opened).0
    };
    let (first, second) = tokio::join!(sidecar.ask(asking("alpha/m", "1", false)), second);
    assert_eq!((first.status, second.status), (200, 200));
    assert!(second.text().contains("second"), "{}", second.text());
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_says_of_its_limits_is_kept_to() {
    let alpha = Provider::start().await;
    let quota = Quota::default();
    let sidecar = Sidecar::start(strict(config(&[("alpha", &alpha)]), "alpha", quota)).await;
    let last = Answer::saying("the last")
        .header("x-ratelimit-limit-requests", "60")
        .header("x-ratelimit-remaining-requests", "0")
        .header("x-ratelimit-reset-requests", "1m0s");
    alpha.expect(last);
    assert_eq!(sidecar.ask(asking("alpha/m", "1", false)).await.status, 200);
    let reply = sidecar.ask(asking("alpha/m", "2", false)).await;
    assert_eq!(reply.status, 429);
    assert!(reply.text().contains("no more calls for now"), "{}", reply.text());
    // Another model has limits of its own, and so has another account.
    alpha.expect(Answer::error(429).header("retry-after", "30"));
    let reply = sidecar.ask(asking("alpha/n", "3", false)).await;
    assert!(reply.text().contains("status 429"), "the provider's own: {}", reply.text());
    let reply = sidecar.ask(asking("alpha/n", "4", false)).await;
    assert_eq!(reply.status, 429);
    let seconds: u64 = reply.header("retry-after").parse().unwrap();
    assert!((25..=31).contains(&seconds), "{seconds}");
    alpha.expect(Answer::saying("somebody else's"));
    let other = sidecar.chat(asking("alpha/n", "4", false)).bearer_auth("another key");
    assert_eq!(whole(other).await.status, 200);
    assert_eq!((limited(&sidecar, "said_requests"), limited(&sidecar, "retry_after")), (1, 1));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_which_nothing_is_left_is_spared_while_another_has_some() {
    let alpha = Provider::start().await;
    let mut config = strict(config(&[("alpha", &alpha)]), "alpha", Quota::default());
    config.providers.get_mut("alpha").unwrap().api_keys = vec![key("one"), key("two")];
    let sidecar = Sidecar::start(config).await;
    let last = Answer::saying("the last")
        .header("x-ratelimit-limit-requests", "1")
        .header("x-ratelimit-remaining-requests", "0")
        .header("x-ratelimit-reset-requests", "1m0s");
    alpha.expect(last.clone());
    let mut paid = Vec::new();
    for number in 0..4 {
        let text = number.to_string();
        assert_eq!(sidecar.ask(asking("alpha/m", &text, false)).await.status, 200);
        paid.extend(
            alpha.calls().iter().map(|call| call.header("authorization").unwrap().to_owned()),
        );
        alpha.expect(if number < 2 { Answer::saying("more") } else { last.clone() });
    }
    assert_eq!(paid, ["Bearer one", "Bearer two", "Bearer two", "Bearer two"]);
    // Now nothing is left of either, of this model; another has limits of its own.
    assert_eq!(sidecar.ask(asking("alpha/m", "4", false)).await.status, 429);
    assert_eq!(limited(&sidecar, "said_requests"), 1);
    assert_eq!(sidecar.ask(asking("alpha/n", "5", false)).await.status, 200);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_through_is_neither_counted_nor_held_and_opens_no_breaker() {
    let alpha = Provider::start().await;
    let quota = Quota { requests_per_minute: Some(1), ..Quota::default() };
    let mut config = strict(config(&[("alpha", &alpha)]), "alpha", quota);
    (config.breaker.failures, config.breaker.open) = (1, Duration::from_secs(3600));
    let sidecar = Sidecar::start(config).await;
    let files = format!("{}/alpha/v1/files", sidecar.data);
    for _ in 0..3 {
        alpha.expect(Answer::error(500));
        assert_eq!(whole(sidecar.client.get(&files)).await.status, 500);
    }
    alpha.expect(Answer::error(500));
    assert_eq!(sidecar.ask(asking("alpha/m", "1", false)).await.status, 500, "the first call");
    // Now its breaker is open and its limit is used up.
    alpha.expect(Answer::json("[]"));
    assert_eq!(whole(sidecar.client.get(&files)).await.status, 200);
    assert_eq!(sidecar.ask(asking("alpha/n", "2", false)).await.status, 429, "another target");
    assert_eq!(sidecar.ask(asking("alpha/m", "3", false)).await.status, 503, "the same");
    sidecar.stop().await;
}
