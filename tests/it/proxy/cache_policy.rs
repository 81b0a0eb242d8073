//! What the cache serves again and what it never does, and that it says so.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use understudy::chat::DialectName;
use understudy::config::CacheMode;
use understudy::config::Config;
use understudy::metrics::Word;

use crate::harness::PATIENCE;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::completion;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;

const HIT: &str = "understudy; hit";
const MISS: &str = "understudy; fwd=miss";
const STORED: &str = "understudy; fwd=miss; stored";
const BYPASS: &str = "understudy; fwd=bypass";
const REFRESHED: &str = "understudy; fwd=bypass; stored";

async fn with(sidecar: &Sidecar, text: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = sidecar.chat(asking("alpha/m", text, false));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    whole(request).await
}

fn said(reply: &Reply) -> String {
    reply.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// A failure as OpenAI tells it.
fn failure(status: u16, code: &str, message: &str) -> Answer {
    let error = json!({"message": message, "type": "invalid_request_error", "code": code});
    let body = json!({"error": error}).to_string();
    Answer::new(status, "application/json", vec![Step::Send(body.into())])
}

fn no_model() -> Answer {
    failure(404, "model_not_found", "The model `m` does not exist or you do not have access to it.")
}

fn outcomes(sidecar: &Sidecar) -> Vec<(&'static str, u64)> {
    let count = |what| (what, sidecar.metrics.cache.get_or_create(&Word { what }).get());
    let all = ["hit", "negative_hit", "miss", "stale", "bypass"].map(count);
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_cacheable_is_asked_anew_each_time_says_why_and_is_kept_for_debugging() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("ok"));
    let mut config = config(&[("alpha", &alpha)]);
    let mut route = route(&config, &[("alpha/m", None)]);
    route.cache.cacheable.set("server_tools", true);
    config.routes.insert("searching".to_owned(), route);
    let sidecar = Sidecar::start(config).await;
    let asking = |model: &str, key: &str, value: Value| {
        let mut body: Value = serde_json::from_str(&asking(model, "x", false)).unwrap();
        body[key] = value;
        body.to_string()
    };
    let search = json!([{"type": "web_search"}]);
    for (key, value, expected) in [
        ("tools", search.clone(), "understudy; fwd=bypass; detail=server_tools"),
        ("store", json!(true), "understudy; fwd=bypass; detail=store"),
    ] {
        let body = asking("alpha/m", key, value);
        for _ in 0..2 {
            assert_eq!(sidecar.ask(body.clone()).await.cache(), expected);
        }
    }
    assert_eq!(outcomes(&sidecar), [("bypass", 4)]);
    let body = asking("searching", "tools", search);
    assert_eq!(sidecar.ask(body.clone()).await.cache(), STORED, "overridden by the route");
    assert_eq!(sidecar.ask(body).await.cache(), HIT);
    let heads = sidecar.stop_and_list().await;
    let why = |head: &understudy::store::exchange::Head| head.not_served.clone();
    let refused: Vec<_> = heads.iter().filter(|head| head.fresh_until_ms == 0).map(why).collect();
    assert!(refused.contains(&Some("store".to_owned())), "{refused:?}");
    assert!(heads.iter().any(|head| head.fresh_until_ms > 0), "{heads:?}");
    assert_eq!(alpha.calls().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_headers_of_other_gateways_do_here_what_they_do_there() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("ok"));
    let mut config = config(&[("alpha", &alpha)]);
    config.vary = vec!["x-team".parse().unwrap()];
    let sidecar = Sidecar::start(config).await;
    for (text, name, value, cache) in [
        ("a", "cf-aig-skip-cache", "true", BYPASS),
        ("a", "cf-aig-cache-ttl", "0", MISS),
        ("a", "helicone-cache-enabled", "false", BYPASS),
        ("a", "x-openrouter-cache", "false", BYPASS),
        ("a", "x-openrouter-cache", "true", STORED),
        ("a", "x-openrouter-cache", "true", HIT),
        ("a", "x-portkey-cache-force-refresh", "true", REFRESHED),
        ("a", "x-openrouter-cache-clear", "true", REFRESHED),
        ("a", "cf-aig-skip-cache", "perhaps", HIT),
        ("a", "helicone-cache-seed", "1", STORED),
        ("a", "helicone-cache-seed", "1", HIT),
        ("a", "helicone-cache-seed", "2", STORED),
        ("a", "x-team", "red", STORED),
        ("a", "x-team", "blue", STORED),
        ("a", "x-team", "red", HIT),
        ("a", "x-other", "red", HIT),
        ("b", "helicone-cache-bucket-max-size", "2", STORED),
        (
            "b",
            "helicone-cache-bucket-max-size",
            "2",
            "understudy; fwd=miss; detail=samples; stored",
        ),
        ("b", "helicone-cache-bucket-max-size", "2", HIT),
        ("c", "cf-aig-cache-ttl", "3600", STORED),
        ("c", "cache-control", "min-fresh=3500", HIT),
        ("c", "cache-control", "min-fresh=3700", "understudy; fwd=request; stored"),
    ] {
        assert_eq!(with(&sidecar, text, &[(name, value)]).await.cache(), cache, "{name}: {value}");
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_answers_of_a_prompt_are_collected_and_then_drawn_evenly() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.cache.samples = 3;
    let sidecar = Sidecar::start(config).await;
    for text in ["one", "two", "three"] {
        alpha.expect(Answer::saying(text));
        assert!(with(&sidecar, "x", &[]).await.cache().ends_with("; stored"));
    }
    let mut drawn: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..90 {
        let id = format!("request-{number}");
        let first = with(&sidecar, "x", &[("x-request-id", &id)]).await;
        assert_eq!(first.cache(), HIT);
        let again = with(&sidecar, "x", &[("x-request-id", &id)]).await;
        assert_eq!(said(&again), said(&first), "one id draws one answer");
        *drawn.entry(said(&first)).or_default() += 1;
    }
    assert_eq!(drawn.keys().collect::<Vec<_>>(), ["one", "three", "two"]);
    assert!(drawn.values().all(|count| (18..=45).contains(count)), "{drawn:?}");
    // A fresh one takes the place of the oldest.
    alpha.expect(Answer::saying("four"));
    assert_eq!(with(&sidecar, "x", &[("cache-control", "no-cache")]).await.cache(), REFRESHED);
    let mut kept = BTreeMap::new();
    for number in 0..40 {
        let reply = with(&sidecar, "x", &[("x-request-id", &number.to_string())]).await;
        kept.insert(said(&reply), reply.cache().to_owned());
    }
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["four", "three", "two"]);
    // Who may not call is served what there is.
    alpha.expect(Answer::saying("y"));
    assert_eq!(with(&sidecar, "y", &[]).await.cache(), STORED);
    assert_eq!(with(&sidecar, "y", &[("cache-control", "only-if-cached")]).await.cache(), HIT);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_would_only_repeat_itself_is_told_again_for_a_short_time() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.cache.error_ttl = Duration::from_secs(60);
    let sidecar = Sidecar::start(config).await;
    alpha.expect(no_model());
    let first = with(&sidecar, "x", &[]).await;
    assert_eq!((first.status, first.cache()), (404, MISS));
    let again = with(&sidecar, "x", &[]).await;
    assert_eq!((again.status, again.cache(), &again.body), (404, HIT, &first.body));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(outcomes(&sidecar), [("negative_hit", 1), ("miss", 1)]);
    for other in [
        failure(429, "model_not_found", "does not support"),
        failure(500, "model_not_found", "does not support"),
        failure(400, "insufficient_quota", "You exceeded your current quota"),
        failure(400, "tool_use_failed", "parameters did not match: 'x' is required"),
    ] {
        let text = format!("other {}", alpha.calls().len());
        for _ in 0..2 {
            alpha.always(other.clone());
            assert_eq!(with(&sidecar, &text, &[]).await.cache(), MISS);
        }
        alpha.calls();
    }
    let sidecar = sidecar.restart(|config| config.cache.error_ttl = Duration::ZERO).await;
    alpha.always(no_model());
    for _ in 0..2 {
        let reply = with(&sidecar, "z", &[]).await;
        assert_eq!((reply.status, reply.cache()), (404, MISS), "switched off");
    }
    let change = |config: &mut Config| config.cache.error_ttl = Duration::from_millis(300);
    let sidecar = sidecar.restart(change).await;
    with(&sidecar, "short", &[]).await;
    let began = Instant::now();
    while with(&sidecar, "short", &[]).await.cache() == HIT {
        assert!(began.elapsed() < PATIENCE, "it never passes");
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_failure_is_told_in_the_applications_dialect() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    let body = json!({"model": "alpha/m", "max_tokens": 9,
        "messages": [{"role": "user", "content": "x"}]});
    alpha.expect(no_model());
    let first = whole(sidecar.post("/v1/messages", body.to_string())).await;
    let again = whole(sidecar.post("/v1/messages", body.to_string())).await;
    assert_eq!((first.status, again.status, again.cache()), (404, 404, HIT));
    assert_eq!(again.body, first.body);
    assert_eq!(again.json()["type"], "error");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_stale_once_its_target_names_another_model() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    let by = |model: &str| Answer::json(completion("ok").replace("\"m\"", &format!("\"{model}\"")));
    alpha.expect(by("m-2024"));
    assert_eq!(with(&sidecar, "x", &[]).await.cache(), STORED);
    assert_eq!(with(&sidecar, "x", &[]).await.cache(), HIT);
    // Who made an answer counts from one millisecond to the next.
    let began = jiff::Timestamp::now().as_millisecond();
    while jiff::Timestamp::now().as_millisecond() <= began {
        tokio::task::yield_now().await;
    }
    alpha.expect(by("m-2025"));
    assert_eq!(with(&sidecar, "y", &[]).await.cache(), STORED);
    alpha.expect(by("m-2025"));
    let refreshed = with(&sidecar, "x", &[]).await;
    assert_eq!(refreshed.cache(), "understudy; fwd=stale; detail=model; stored");
    assert_eq!(with(&sidecar, "x", &[]).await.cache(), HIT);
    assert_eq!(with(&sidecar, "y", &[]).await.cache(), HIT);
    assert_eq!(outcomes(&sidecar), [("hit", 3), ("miss", 2), ("stale", 1)]);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_was_shortened_counts_for_older_answers_and_none_counts_in_replay() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    let mut patient = route(&config, &[("alpha/m", None)]);
    patient.cache.ttl = Duration::from_secs(48 * 3600);
    config.routes.insert("patient".to_owned(), patient);
    let sidecar = Sidecar::start(config).await;
    let ask = async |sidecar: &Sidecar| sidecar.ask(asking("patient", "x", false)).await;
    alpha.expect(Answer::saying("1"));
    assert_eq!(ask(&sidecar).await.cache(), STORED);
    let shorten = |config: &mut Config| {
        let route = config.routes.get_mut("patient").unwrap();
        route.cache.ttl = Duration::from_millis(1);
    };
    let sidecar = sidecar.restart(shorten).await;
    alpha.expect(Answer::saying("2"));
    assert_eq!(ask(&sidecar).await.cache(), "understudy; fwd=stale; stored");
    let replay = |config: &mut Config| {
        let route = config.routes.get_mut("patient").unwrap();
        route.cache.mode = CacheMode::Replay;
    };
    let sidecar = sidecar.restart(replay).await;
    let began = jiff::Timestamp::now().as_millisecond();
    while jiff::Timestamp::now().as_millisecond() <= began + 1 {
        tokio::task::yield_now().await;
    }
    let request = sidecar.chat(asking("patient", "x", false)).header("cache-control", "no-cache");
    let replayed = whole(request).await;
    assert_eq!((replayed.cache(), said(&replayed)), (HIT, "2".to_owned()));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_finds_the_answer_of_a_failover_and_of_what_is_not_cacheable() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    config.cache.mode = CacheMode::Record;
    config.routes.insert("both".to_owned(), route(&config, &[("alpha/m", None), ("beta/m", None)]));
    let sidecar = Sidecar::start(config).await;
    let mut body: Value = serde_json::from_str(&asking("both", "x", false)).unwrap();
    body["store"] = json!(true);
    alpha.always(Answer::error(500));
    beta.expect(Answer::saying("from beta"));
    let first = sidecar.ask(body.to_string()).await;
    assert_eq!((first.cache(), first.header("x-understudy-target")), (REFRESHED, "beta/m"));
    let replay = |config: &mut Config| {
        config.routes.get_mut("both").unwrap().cache.mode = CacheMode::Replay;
    };
    let sidecar = sidecar.restart(replay).await;
    let replayed = sidecar.ask(body.to_string()).await;
    assert_eq!((replayed.cache(), replayed.header("x-understudy-target")), (HIT, "beta/m"));
    assert_eq!(replayed.body, first.body);
    alpha.calls();
    sidecar.stop().await;
}

/// What is learnt of a prompt whose dialect is not the provider's is judged all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_anthropics_is_never_served_again() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.providers.get_mut("alpha").unwrap().dialects = vec![DialectName::Anthropic];
    let sidecar = Sidecar::start(config).await;
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1}});
    alpha.always(Answer::json(answer.to_string()));
    let body = json!({"model": "alpha/m", "max_tokens": 9, "container": "c_1",
        "messages": [{"role": "user", "content": "x"}]});
    for _ in 0..2 {
        let reply = whole(sidecar.post("/v1/messages", body.to_string())).await;
        assert_eq!(reply.cache(), "understudy; fwd=bypass; detail=container");
    }
    sidecar.stop().await;
}
