//! Who shares an answer with whom, for how long, and what requests may say about it.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use understudy::config::CacheMode;
use understudy::experiment::Share;
use understudy::experiment::Unit;

use crate::harness::PATIENCE;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::whole;

const HIT: &str = "understudy; hit";
const STORED: &str = "understudy; fwd=miss; stored";

async fn with(sidecar: &Sidecar, text: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = sidecar.chat(asking("alpha/m", text, false));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    whole(request).await
}

/// Both variants are the same model, so only the variant can keep them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_variants_never_share_an_answer_and_users_of_one_do() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    let half = Share::from_ppm(500_000).unwrap();
    let mut trial = experiment("alpha/m", "alpha/m", Share::NONE, half);
    trial.unit = Unit::Header("x-user-id".parse().unwrap());
    config.experiments.push(trial);
    let sidecar = Sidecar::start(config).await;
    alpha.expect(Answer::saying("first"));
    alpha.expect(Answer::saying("second"));
    let mut met: BTreeMap<String, Vec<Reply>> = BTreeMap::new();
    for user in 0..60 {
        let reply = with(&sidecar, "x", &[("x-user-id", &format!("user-{user}"))]).await;
        met.entry(reply.header("x-understudy-experiment").to_owned()).or_default().push(reply);
    }
    assert_eq!(met.keys().collect::<Vec<_>>(), ["trial=control", "trial=next"]);
    let bodies: Vec<_> = met.values().map(|replies| &replies[0].body).collect();
    assert_ne!(bodies[0], bodies[1]);
    for replies in met.values() {
        assert!(replies.len() >= 15, "{}", replies.len());
        assert_eq!(replies[0].cache(), STORED);
        for reply in &replies[1..] {
            assert_eq!((reply.cache(), &reply.body), (HIT, &replies[0].body));
        }
    }
    assert_eq!(alpha.calls().len(), 2);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_credentials_never_share_an_answer() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    alpha.always(Answer::saying("ok"));
    let clients: [&[(&str, &str)]; 9] = [
        &[],
        &[("authorization", "Bearer a")],
        &[("authorization", "Bearer b")],
        &[("authorization", "a")],
        &[("api-key", "a")],
        &[("x-api-key", "a")],
        &[("x-goog-api-key", "a")],
        &[("api-key", "a"), ("x-api-key", "b")],
        &[("api-key", "b"), ("x-api-key", "a")],
    ];
    for headers in clients {
        assert_eq!(with(&sidecar, "x", headers).await.cache(), STORED, "{headers:?}");
    }
    for headers in clients {
        assert_eq!(with(&sidecar, "x", headers).await.cache(), HIT, "{headers:?}");
    }
    assert_eq!(alpha.calls().len(), clients.len());
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spelling_of_a_request_does_not_count_and_its_meaning_does() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    alpha.always(Answer::saying("ok"));
    let base = r#"{"model":"alpha/m","messages":[{"role":"user","content":"é/"}],"top_p":1}"#;
    assert_eq!(sidecar.ask(base).await.cache(), STORED);
    for same in [
        "\n{ \"top_p\" : 1.0, \"messages\": [ { \"content\": \"\\u00e9\\/\", \"role\": \"user\" } ],\t\"model\":\"alpha/m\" }",
        r#"{"model":"alpha\/m","top_p":1e0,"messages":[{"role":"user","content":"é/"}]}"#,
    ] {
        assert_eq!(sidecar.ask(same).await.cache(), HIT, "{same}");
    }
    for other in [
        r#"{"model":"alpha/n","messages":[{"role":"user","content":"é/"}],"top_p":1}"#,
        r#"{"model":"alpha/m","messages":[{"role":"user","content":"é/ "}],"top_p":1}"#,
        r#"{"model":"alpha/m","messages":[{"role":"user","content":"é/"}],"top_p":"1"}"#,
        r#"{"model":"alpha/m","messages":[{"role":"user","content":"é/"}]}"#,
        r#"{"model":"alpha/m","messages":[{"role":"user","content":"é/"}],"top_p":1,"x":null}"#,
        r#"{"model":"alpha/m","messages":[{"role":"user","content":"é/"}],"top_p":1,"top_p":1}"#,
    ] {
        assert_eq!(sidecar.ask(other).await.cache(), STORED, "{other}");
        assert_eq!(sidecar.ask(other).await.cache(), HIT, "{other}");
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cache_control_of_a_request_is_honoured() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    let ask =
        async |text: &str, control: &str| with(&sidecar, text, &[("cache-control", control)]).await;
    let missing = ask("x", "only-if-cached").await;
    assert_eq!(
        (missing.status, missing.json()["error"]["code"].as_str()),
        (504, Some("not_cached"))
    );
    alpha.expect(Answer::saying("1"));
    assert_eq!(ask("x", "no-store").await.cache(), "understudy; fwd=bypass");
    alpha.expect(Answer::saying("2"));
    assert_eq!(ask("x", "max-age=60").await.cache(), STORED);
    let hit = ask("x", "only-if-cached, max-age=60").await;
    assert_eq!((hit.status, hit.cache(), hit.header("age")), (200, HIT, "0"));
    alpha.expect(Answer::saying("3"));
    assert_eq!(ask("x", "No-Cache").await.cache(), "understudy; fwd=bypass; stored");
    let hit = with(&sidecar, "x", &[]).await;
    assert_eq!(
        (hit.cache(), hit.json()["choices"][0]["message"]["content"].as_str()),
        (HIT, Some("3"))
    );
    let began = Instant::now();
    // An answer is too old for `max-age=0` as soon as the clock has moved.
    alpha.always(Answer::saying("4"));
    while ask("x", "max-age=0").await.cache() == HIT {
        assert!(began.elapsed() < PATIENCE);
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_of_the_cache_does_what_it_says_and_a_hit_survives_a_restart() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.cache.mode = CacheMode::Off;
    let sidecar = Sidecar::start(config).await;
    let stream = asking("alpha/m", "a stream", true);
    for _ in 0..2 {
        alpha.expect(Answer::saying("off"));
        assert_eq!(with(&sidecar, "x", &[]).await.cache(), "understudy; fwd=bypass");
    }
    let sidecar = sidecar.restart(|config| config.cache.mode = CacheMode::Record).await;
    for text in ["one", "two"] {
        alpha.expect(Answer::saying(text));
        assert_eq!(with(&sidecar, "x", &[]).await.cache(), "understudy; fwd=bypass; stored");
    }
    let frames = [vec![delta("str"), delta("eam")], ending()].concat();
    alpha.expect(Answer::stream(frames));
    let first = sidecar.ask(stream.clone()).await;
    let sidecar = sidecar.restart(|config| config.cache.mode = CacheMode::Replay).await;
    let hit = with(&sidecar, "x", &[]).await;
    assert_eq!(
        (hit.cache(), &hit.json()["choices"][0]["message"]["content"]),
        (HIT, &"two".into())
    );
    let streamed = sidecar.ask(stream).await;
    assert_eq!((streamed.cache(), &streamed.body), (HIT, &first.body));
    assert_eq!(streamed.header("content-type"), "text/event-stream");
    let missing = with(&sidecar, "y", &[]).await;
    assert_eq!(
        (missing.status, missing.json()["error"]["code"].as_str()),
        (504, Some("not_cached"))
    );
    let sidecar = sidecar.restart(|config| config.cache.mode = CacheMode::On).await;
    assert_eq!(with(&sidecar, "x", &[]).await.cache(), HIT);
    alpha.expect(Answer::saying("new"));
    assert_eq!(with(&sidecar, "y", &[]).await.cache(), STORED);
    assert_eq!(with(&sidecar, "y", &[]).await.cache(), HIT);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_forgotten_when_its_time_is_over_or_there_is_no_room() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("ok"));
    let mut config = config(&[("alpha", &alpha)]);
    config.cache.ttl = Duration::from_millis(300);
    let sidecar = Sidecar::start(config).await;
    assert_eq!(with(&sidecar, "x", &[]).await.cache(), STORED);
    let began = Instant::now();
    while with(&sidecar, "x", &[]).await.cache() == HIT {
        assert!(began.elapsed() < PATIENCE, "it never expires");
    }
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    sidecar.stop().await;

    let mut rng = fastrand::Rng::with_seed(1);
    let mut config = crate::harness::sidecar::config(&[("alpha", &alpha)]);
    config.cache.max_bytes = 1_200_000;
    let sidecar = Sidecar::start(config).await;
    for number in 0..30 {
        let noise: String = (0..40_000).map(|_| rng.alphanumeric()).collect();
        alpha.expect(Answer::saying(&noise));
        let stored = with(&sidecar, &format!("question {number}"), &[]).await;
        assert_eq!(stored.cache(), STORED);
    }
    let sidecar = sidecar.restart(|_| {}).await;
    assert_eq!(with(&sidecar, "question 29", &[]).await.cache(), HIT, "the newest stays");
    assert_eq!(with(&sidecar, "question 0", &[]).await.cache(), STORED, "the oldest goes");
    let sidecar = sidecar.restart(|_| {}).await;
    let mut kept = 0;
    for number in 1..30 {
        let control = [("cache-control", "only-if-cached")];
        let reply = with(&sidecar, &format!("question {number}"), &control).await;
        kept += usize::from(reply.status == 200);
    }
    assert!((5..=20).contains(&kept), "{kept} answers of 30,000 packed bytes on 1,200,000");
    sidecar.stop().await;
}
