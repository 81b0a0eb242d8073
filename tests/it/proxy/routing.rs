//! Who is asked: routes, failover, weights, prefixes, and what passes through untouched.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::net::TcpListener;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::delta;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::endpoint;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_target_is_passed_over_and_a_refusing_one_is_not() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let both = route(&config, &[("alpha/one", None), ("beta/two", None)]);
    config.routes.insert("both".into(), both);
    for (number, status) in [500, 502, 503, 529, 429, 408].into_iter().enumerate() {
        let sidecar = Sidecar::start(config.clone()).await;
        alpha.expect(Answer::error(status));
        beta.expect(Answer::saying("from beta"));
        let body = asking("both", &number.to_string(), false);
        let reply = sidecar.ask(body.clone()).await;
        assert_eq!((reply.status, reply.header("x-understudy-target")), (200, "beta/two"));
        let (first, second) = (alpha.calls().remove(0), beta.calls().remove(0));
        let model = |body: &Bytes| {
            serde_json::from_slice::<serde_json::Value>(body).unwrap()["model"].clone()
        };
        assert_eq!((model(&first.body), model(&second.body)), ("one".into(), "two".into()));
        // What beta said is not taken for what alpha says.
        alpha.expect(Answer::saying("from alpha"));
        let again = sidecar.ask(body).await;
        assert_eq!(again.header("x-understudy-target"), "alpha/one");
        alpha.calls();
        sidecar.stop().await;
    }
    let sidecar = Sidecar::start(config).await;
    for (number, status) in [400, 401, 403, 404, 422].into_iter().enumerate() {
        let answer = Answer::error(status).header("x-ratelimit-remaining-requests", "3");
        alpha.expect(answer);
        let reply = sidecar.ask(asking("both", &format!("refused {number}"), false)).await;
        assert_eq!((reply.status, reply.header("x-understudy-target")), (status, "alpha/one"));
        assert_eq!(reply.header("x-ratelimit-remaining-requests"), "3");
        assert!(reply.text().contains(&format!("status {status}")), "{}", reply.text());
    }
    alpha.expect(Answer::error(500));
    beta.expect(Answer::error(429).header("retry-after", "9"));
    let reply = sidecar.ask(asking("both", "both fail", false)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "9"));
    assert_eq!(reply.cache(), "understudy; fwd=miss");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_not_there_is_passed_over_and_a_begun_answer_never_is() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/v1", gone.local_addr().unwrap());
    drop(gone);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    config.providers.insert("gone".into(), endpoint("gone", &refused));
    let rest = route(&config, &[("gone/m", None), ("beta/m", None)]);
    let begun = route(&config, &[("alpha/m", None), ("beta/m", None)]);
    config.routes.insert("rest".into(), rest);
    config.routes.insert("begun".into(), begun);
    let sidecar = Sidecar::start(config).await;
    for stream in [false, true] {
        beta.expect(Answer::saying("here"));
        let reply = sidecar.ask(asking("rest", "x", stream)).await;
        assert_eq!((reply.status, reply.header("x-understudy-target")), (200, "beta/m"));
    }
    beta.calls();
    alpha.expect(Answer::stream(vec![delta("begun"), Step::Cut]));
    let reply = sidecar.ask(asking("begun", "x", true)).await;
    assert_eq!((reply.status, reply.header("x-understudy-target")), (200, "alpha/m"));
    assert!(reply.text().contains("begun") && reply.text().contains("provider_broken"));
    assert_eq!(beta.count(), 0);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_share_the_prompts_out_and_a_prompt_stays_where_it_is() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let shared = [("alpha/m", Some(3)), ("beta/m", Some(1)), ("alpha/never", Some(0))];
    config.routes.insert("shared".into(), route(&config, &shared));
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("alpha"));
    beta.always(Answer::saying("beta"));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..400 {
        let body = asking("shared", &format!("question {number}"), false);
        let request = sidecar.chat(body.clone()).header("cache-control", "no-store");
        let target = whole(request).await.header("x-understudy-target").to_owned();
        let request = sidecar.chat(body).header("cache-control", "no-store");
        assert_eq!(whole(request).await.header("x-understudy-target"), target);
        *counts.entry(target).or_default() += 1;
    }
    println!("{counts:?}");
    // 3 to 1 of 400, within five standard deviations.
    assert!((257..=343).contains(&counts["alpha/m"]), "{counts:?}");
    assert_eq!(counts.len(), 2, "{counts:?}");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_names_the_provider_of_a_bare_model() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let sidecar = Sidecar::start(config(&[("alpha", &alpha), ("beta", &beta)])).await;
    for path in ["/beta/v1/chat/completions", "/beta/chat/completions"] {
        beta.expect(Answer::saying("beta"));
        let request = sidecar.post(path, asking("m", path, false));
        assert_eq!(whole(request).await.header("x-understudy-target"), "beta/m", "{path}");
        assert_eq!(beta.calls()[0].path, "/v1/chat/completions");
    }
    for path in ["/v1/chat/completions", "/chat/completions"] {
        alpha.expect(Answer::saying("alpha"));
        let request = sidecar.post(path, asking("alpha/org/m", path, false));
        assert_eq!(whole(request).await.header("x-understudy-target"), "alpha/org/m", "{path}");
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_endpoint_of_a_provider_passes_through_untouched() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    let every_byte: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let binary = Answer::new(
        201,
        "audio/ogg",
        vec![
            Step::Send(every_byte[..70_000].to_vec().into()),
            Step::Send(every_byte[70_000..].to_vec().into()),
        ],
    );
    for (method, path, upstream, body) in [
        (
            "GET",
            "/alpha/v1/files?limit=2&after=a%20b&x=%2F",
            "/v1/files?limit=2&after=a%20b&x=%2F",
            None,
        ),
        ("GET", "/alpha/v1/models/org%2Fm", "/v1/models/org%2Fm", None),
        ("DELETE", "/alpha/v1/files/f-1", "/v1/files/f-1", None),
        (
            "POST",
            "/alpha/v1/audio/transcriptions?a",
            "/v1/audio/transcriptions?a",
            Some(&every_byte),
        ),
        ("PUT", "/alpha/uploads/u", "/v1/uploads/u", Some(&every_byte)),
        ("GET", "/alpha/v1/chat/completions/c-1", "/v1/chat/completions/c-1", None),
    ] {
        alpha.expect(binary.clone().header("x-of-theirs", "1").header("x-request-id", "theirs"));
        let url = format!("{}{path}", sidecar.data);
        let mut request = sidecar.client.request(method.parse().unwrap(), url);
        request = request.header("x-of-ours", "2").bearer_auth("key");
        if let Some(body) = body {
            request = request.header("content-type", "application/octet-stream").body(body.clone());
        }
        let reply = whole(request).await;
        assert_eq!((reply.status, reply.header("content-type")), (201, "audio/ogg"), "{path}");
        assert_eq!(reply.header("x-of-theirs"), "1");
        assert_eq!(reply.header("x-upstream-request-id"), "theirs");
        assert!(reply.body == every_byte, "{path}");
        let call = alpha.calls().remove(0);
        assert_eq!((call.method.as_str(), call.path.as_str()), (method, upstream));
        assert!(call.body == body.cloned().unwrap_or_default(), "{path}");
        assert_eq!((call.header("x-of-ours"), call.header("authorization")), {
            (Some("2"), Some("Bearer key"))
        });
        let kind = body.map(|_| "application/octet-stream");
        assert_eq!(call.header("content-type"), kind, "{method} {path}");
    }
    alpha.expect(Answer::error(404));
    let url = format!("{}/alpha/v1/nothing", sidecar.data);
    let reply = whole(sidecar.client.get(url)).await;
    assert_eq!((reply.status, reply.text().contains("status 404")), (404, true));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_routes_are_listed_as_models() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.routes.insert("support-bot".into(), route(&config, &[("alpha/m", None)]));
    let sidecar = Sidecar::start(config).await;
    let reply = whole(sidecar.client.get(format!("{}/v1/models", sidecar.data))).await;
    assert_eq!((reply.status, reply.json()["data"][0]["id"].as_str()), (200, Some("support-bot")));
    sidecar.stop().await;
}
