//! Answers that break in every way a provider or a client can break them.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use understudy::chat::DialectName;
use understudy::config::Config;
use understudy::experiment::Share;
use understudy::wire;
use understudy::wire::sse::Parser;

use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::completion;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::as_far_as_it_goes;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::endpoint;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::whole;
use crate::harness::until;
use crate::harness::within;

/// Limits short enough to be met in a test.
fn impatient(provider: &Provider) -> Config {
    let mut config = config(&[("alpha", provider)]);
    config.timeouts.first_token = Duration::from_millis(400);
    config.timeouts.idle = Duration::from_millis(200);
    config.timeouts.total = Duration::from_millis(900);
    config.limits.max_answer_bytes = 64 << 10;
    config
}

fn send(text: &str) -> Step {
    Step::Send(Bytes::copy_from_slice(text.as_bytes()))
}

/// Every piece that a script sends, together.
fn sent(steps: &[Step]) -> Vec<u8> {
    let piece = |step: &Step| match step {
        Step::Send(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    steps.iter().flat_map(piece).collect()
}

/// An error body in the shape that OpenAI's SDKs read.
fn told(body: &[u8]) -> Value {
    let body: Value = serde_json::from_slice(body).unwrap();
    let error = &body["error"];
    assert!(error["message"].as_str().unwrap().starts_with("understudy: "), "{body}");
    assert!(error["type"].is_string() && error["code"].is_string(), "{body}");
    assert!(error.get("param").is_some_and(Value::is_null), "{body}");
    error.clone()
}

/// How a stream breaks, what is told of it, and how it is counted.
struct Break {
    name: &'static str,
    /// What breaks before its first content can still be told with a status.
    status: u16,
    steps: Vec<Step>,
    code: &'static str,
    says: &'static str,
    counted: &'static str,
}

fn breaks() -> Vec<Break> {
    let finish = || ending().remove(0);
    let stopped =
        |name, steps, code, says, counted| Break { name, status: 200, steps, code, says, counted };
    let told = |status, stopped| Break { status, ..stopped };
    let (broken, timeout) = ("provider_broken", "provider_timeout");
    vec![
        stopped("cut", vec![delta("a"), delta("b"), Step::Cut], broken, "broke off", "cut"),
        stopped(
            "cut in the middle of a frame",
            vec![delta("a"), send("data: {\"choices\":[{\"del"), Step::Cut],
            broken,
            "broke off",
            "cut",
        ),
        stopped(
            "cut in the middle of a line end",
            vec![delta("a"), send("data: {\"choices\":[]}\r\n\r"), Step::Cut],
            broken,
            "broke off",
            "cut",
        ),
        stopped(
            "cut between two line ends",
            vec![delta("a"), send("data: {\"choices\":[]}\r\n"), Step::Cut],
            broken,
            "broke off",
            "cut",
        ),
        told(502, {
            stopped("cut after its finish", vec![finish(), Step::Cut], broken, "broke off", "cut")
        }),
        stopped("stalled", vec![delta("a"), Step::Hang], timeout, "sent nothing for", "cut"),
        told(504, {
            stopped("never a first byte", vec![Step::Hang], timeout, "sent nothing of", "cut")
        }),
        stopped(
            "a trickle past the total",
            vec![delta("a"), Step::Trickle(Duration::from_millis(40))],
            timeout,
            "total limit",
            "cut",
        ),
        stopped("no finish", vec![delta("a")], broken, "before the answer", "unfinished"),
        stopped("empty", vec![], broken, "before the answer", "unfinished"),
        stopped(
            "malformed and no finish",
            vec![delta("a"), send("data: {\"choices\":[{\n\n")],
            broken,
            "before the answer",
            "unfinished",
        ),
        stopped(
            "an unfinished frame at the end",
            vec![delta("a"), send("data: {\"choices\":[{\"delta\":{\"content\":\"b")],
            broken,
            "before the answer",
            "unfinished",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_ends_with_an_error_is_never_kept_and_is_counted_once() {
    for Break { name, status, steps, code, says, counted } in breaks() {
        let provider = Provider::start().await;
        let sidecar = Sidecar::start(impatient(&provider)).await;
        for round in 1..=2 {
            provider.expect(Answer::stream(steps.clone()));
            let reply = sidecar.ask(asking("alpha/m", "x", true)).await;
            assert_eq!(reply.status, status, "{name}");
            if status != 200 {
                let error = told(&reply.body);
                assert_eq!(error["code"], code, "{name}");
                assert!(error["message"].as_str().unwrap().contains(says), "{name}: {error}");
                assert_eq!(sidecar.all_broken(), 0, "{name}: there was no answer to break");
                continue;
            }
            assert!(reply.cache().starts_with("understudy; fwd=miss"), "{name}: kept");
            let body = &reply.body[..];
            let untouched = sent(&steps);
            assert!(body.starts_with(&untouched), "{name}: {}", reply.text());
            assert!(!reply.text().contains("[DONE]"), "{name}: {}", reply.text());
            let text = reply.text();
            let error = told(&text.as_bytes()[text.rfind("data: ").unwrap() + 6..]);
            assert_eq!(error["code"], code, "{name}");
            assert!(error["message"].as_str().unwrap().contains(says), "{name}: {error}");
            assert!(reply.text().ends_with("\n\n"), "{name}");
            let answer = wire::fold(DialectName::OpenAi.dialect(), true, [body]);
            assert!(!answer.is_whole() && answer.error.is_some(), "{name}: {answer:?}");
            let mut events = Vec::new();
            let mut parser = Parser::new();
            parser.push(body, |event| events.push(event.data.clone()));
            let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
            assert_eq!(last["error"], error, "{name}: not an event of its own: {events:?}");
            assert_eq!((sidecar.broken(counted), sidecar.all_broken()), (round, round), "{name}");
        }
        until("no call under way", || provider.open() == 0).await;
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_piece_or_an_error_in_a_stream_passes_untouched_and_is_never_kept() {
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
    let malformed = [vec![delta("a"), send("data: {\"choices\":[{\n\n")], ending()].concat();
    for steps in [vec![delta("a"), send(error)], malformed, vec![send(error)]] {
        let provider = Provider::start().await;
        let sidecar = Sidecar::start(impatient(&provider)).await;
        for _ in 0..2 {
            provider.expect(Answer::stream(steps.clone()));
            let reply = sidecar.ask(asking("alpha/m", "x", true)).await;
            assert_eq!(reply.text(), String::from_utf8(sent(&steps)).unwrap());
        }
        assert_eq!((sidecar.broken("unfinished"), sidecar.all_broken()), (2, 2));
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_above_the_limit_passes_whole_and_is_not_kept() {
    let mut stream: Vec<Step> = (0..200).map(|_| delta(&"y".repeat(5_000))).collect();
    stream.extend(ending());
    let body = completion(&"z".repeat(1_000_000));
    let whole = vec![send(&body[..500_000]), send(&body[500_000..])];
    let cases = [(true, Answer::stream(stream.clone()), sent(&stream)), {
        (false, Answer::new(200, "application/json", whole), body.into_bytes())
    }];
    for (is_stream, answer, expected) in cases {
        let provider = Provider::start().await;
        let sidecar = Sidecar::start(impatient(&provider)).await;
        for _ in 0..2 {
            provider.expect(answer.clone());
            let reply = sidecar.ask(asking("alpha/m", "x", is_stream)).await;
            assert!(reply.body == expected, "{} of {}", reply.body.len(), expected.len());
        }
        assert_eq!((sidecar.broken("too_large"), sidecar.all_broken()), (2, 2));
        sidecar.stop().await;
    }
}

/// What is too large to keep is not exempt from the rule that no broken answer looks complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_that_breaks_does_not_look_complete() {
    let provider = Provider::start().await;
    let sidecar = Sidecar::start(impatient(&provider)).await;
    let large = vec![send(&completion(&"z".repeat(200_000))[..150_000]), Step::Cut];
    provider.expect(Answer::new(200, "application/json", large));
    let (_, error) = as_far_as_it_goes(sidecar.chat(asking("alpha/m", "x", false))).await;
    assert!(error.is_some(), "the reply ended as if it were whole");
    for end in [vec![], vec![Step::Cut], vec![Step::Hang]] {
        let stream = [vec![delta(&"y".repeat(100_000))], end].concat();
        provider.expect(Answer::stream(stream));
        let reply = sidecar.ask(asking("alpha/m", "x", true)).await;
        let answer = wire::fold(DialectName::OpenAi.dialect(), true, [&reply.body[..]]);
        assert!(answer.error.is_some(), "{}", &reply.text()[reply.body.len() - 100..]);
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_answer_that_fails_becomes_an_error_in_the_dialect_and_is_never_kept() {
    let body = completion("hello");
    let half = || send(&body[..body.len() / 2]);
    let json = |steps| Answer::new(200, "application/json", steps);
    let closed = Gate::new();
    let cases = [
        ("cut", json(vec![half(), Step::Cut]), 502, "provider_broken"),
        (
            "short of its length",
            json(vec![half(), Step::Cut]).header("content-length", "5000"),
            502,
            "provider_broken",
        ),
        ("stalled", json(vec![half(), Step::Hang]), 504, "provider_timeout"),
        ("no body", json(vec![Step::Hang]), 504, "provider_timeout"),
        ("no answer", json(vec![]).after(&closed), 504, "provider_timeout"),
    ];
    for (name, answer, status, code) in cases {
        let provider = Provider::start().await;
        let sidecar = Sidecar::start(impatient(&provider)).await;
        for _ in 0..2 {
            provider.expect(answer.clone());
            let reply = sidecar.ask(asking("alpha/m", "x", false)).await;
            assert_eq!(reply.status, status, "{name}: {}", reply.text());
            assert_eq!(reply.header("content-type"), "application/json", "{name}");
            let error = told(&reply.body);
            assert_eq!((&error["code"], &error["type"]), (&code.into(), &"provider_error".into()));
        }
        until("no call under way", || provider.open() == 0).await;
        sidecar.stop().await;
    }
    // A stream whose head never comes can still be told with a status.
    let provider = Provider::start().await;
    let sidecar = Sidecar::start(impatient(&provider)).await;
    provider.expect(Answer::stream(vec![]).after(&closed));
    let reply = sidecar.ask(asking("alpha/m", "x", true)).await;
    assert_eq!((reply.status, told(&reply.body)["code"].as_str()), (504, Some("provider_timeout")));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_answer_passes_untouched_and_is_never_kept() {
    for body in ["", "not JSON", "{}", "[]", "{\"choices\":[]}", &completion("cut")[..60], "null"] {
        let provider = Provider::start().await;
        let sidecar = Sidecar::start(impatient(&provider)).await;
        for _ in 0..2 {
            provider.expect(Answer::json(body.to_owned()));
            let reply = sidecar.ask(asking("alpha/m", "x", false)).await;
            assert_eq!((reply.status, reply.text().as_str()), (200, body));
        }
        assert_eq!((sidecar.broken("unfinished"), sidecar.all_broken()), (2, 2), "{body}");
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_not_there_or_hangs_up_is_a_502() {
    let provider = Provider::start().await;
    let mut config = impatient(&provider);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/v1", gone.local_addr().unwrap());
    drop(gone);
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung_up = format!("http://{}/v1", rude.local_addr().unwrap());
    let rude = tokio::spawn(async move {
        while let Ok((stream, _)) = rude.accept().await {
            drop(stream);
        }
    });
    config.providers.insert("gone".into(), endpoint("gone", &refused));
    config.providers.insert("rude".into(), endpoint("rude", &hung_up));
    let sidecar = Sidecar::start(config).await;
    for (model, code) in [("gone/m", "provider_unreachable"), ("rude/m", "provider_broken")] {
        for stream in [false, true] {
            let reply = sidecar.ask(asking(model, "x", stream)).await;
            assert_eq!((reply.status, told(&reply.body)["code"].as_str()), (502, Some(code)));
        }
    }
    rude.abort();
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_reported_once_and_its_call_is_cancelled() {
    let closed = Gate::new();
    let body = completion("hello");
    let cases = [
        ("in a stream", true, Answer::stream(vec![delta("a"), Step::Hang])),
        ("before a stream", true, Answer::stream(vec![]).after(&closed)),
        ("in a whole answer", false, {
            Answer::new(200, "application/json", vec![send(&body[..20]), Step::Hang])
        }),
        ("before a whole answer", false, Answer::saying("hello").after(&closed)),
    ];
    for (name, is_stream, answer) in cases {
        let provider = Provider::start().await;
        let sidecar = Sidecar::start(config(&[("alpha", &provider)])).await;
        provider.expect(answer);
        let request = sidecar.chat(asking("alpha/m", "x", is_stream));
        let client = tokio::spawn(async move {
            let mut response = request.send().await.unwrap();
            while let Ok(Some(_)) = response.chunk().await {}
        });
        until("the call", || provider.open() == 1).await;
        if name == "in a stream" {
            until("our head", || sidecar.metrics.text().contains("status=\"200\"")).await;
        }
        client.abort();
        until("the call's end", || provider.open() == 0).await;
        assert_eq!(provider.abandoned(), 1, "{name}");
        until(name, || sidecar.broken("client_left") > 0).await;
        provider.expect(Answer::saying("again"));
        let reply = sidecar.ask(asking("alpha/m", "x", is_stream)).await;
        assert_eq!(reply.cache(), "understudy; fwd=miss; stored", "{name}");
        sidecar.flush().await;
        assert_eq!((sidecar.broken("client_left"), sidecar.all_broken()), (1, 1), "{name}");
        sidecar.stop().await;
    }
}

/// Many clients close as soon as they have read the end mark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_after_the_end_mark_has_had_the_whole_answer() {
    let provider = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &provider)])).await;
    let steps = [vec![delta("hello")], ending(), vec![Step::Hang]].concat();
    provider.expect(Answer::stream(steps));
    let mut response = sidecar.chat(asking("alpha/m", "x", true)).send().await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"[DONE]\n\n") {
        seen.extend_from_slice(&response.chunk().await.unwrap().unwrap());
    }
    drop(response);
    until("the call's end", || provider.open() == 0).await;
    let reply = sidecar.ask(asking("alpha/m", "x", true)).await;
    assert!(reply.cache().starts_with("understudy; hit"), "{}", reply.cache());
    assert_eq!(reply.body, seen);
    assert_eq!(sidecar.all_broken(), 0);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_a_pair_is_finished_although_the_client_left() {
    for is_stream in [true, false] {
        let (alpha, beta) = (Provider::start().await, Provider::start().await);
        let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
        config.experiments.push(experiment("alpha/m", "beta/m", Share::ALL, Share::NONE));
        let sidecar = Sidecar::start(config).await;
        let gate = Gate::new();
        let stream = [vec![delta("a"), Step::Wait(gate.clone())], ending()].concat();
        let answer = |text: &str| match is_stream {
            true => Answer::stream([vec![delta(text)], ending()].concat()),
            false => Answer::saying(text),
        };
        alpha.expect(match is_stream {
            true => Answer::stream(stream.clone()),
            false => answer("a").after(&gate),
        });
        beta.expect(answer("b"));
        let body = asking("alpha/m", "x", is_stream);
        let request = sidecar.chat(body.clone());
        let client = tokio::spawn(async move {
            let mut response = request.send().await.unwrap();
            while let Ok(Some(_)) = response.chunk().await {}
        });
        until("both calls", || alpha.open() == 1 && beta.count() == 1).await;
        if is_stream {
            until("our head", || sidecar.metrics.text().contains("status=\"200\"")).await;
        }
        client.abort();
        within("the client's end", client).await.unwrap_err();
        gate.open();
        until("the pair", || sidecar.funnel("whole") == 1).await;
        assert_eq!((alpha.abandoned(), sidecar.all_broken(), sidecar.funnel("lost")), (0, 0, 0));
        let again = sidecar.ask(body).await;
        assert_eq!(again.cache(), "understudy; hit");
        if is_stream {
            assert_eq!(again.body, sent(&stream));
        }
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_answer_makes_no_pair_on_either_side() {
    let good = Answer::stream([vec![delta("good")], ending()].concat());
    for broken in breaks() {
        for is_live in [true, false] {
            let (alpha, beta) = (Provider::start().await, Provider::start().await);
            let mut config = impatient(&alpha);
            config.providers.insert("beta".into(), endpoint("beta", &beta.base_url()));
            config.experiments.push(experiment("alpha/m", "beta/m", Share::ALL, Share::NONE));
            let sidecar = Sidecar::start(config).await;
            let bad = Answer::stream(broken.steps.clone());
            let (live, shadow) = if is_live { (bad, good.clone()) } else { (good.clone(), bad) };
            alpha.expect(live);
            // A pair that is lost before the copy was sent asks for none.
            beta.always(shadow);
            let reply: Reply = whole(sidecar.chat(asking("alpha/m", "x", true))).await;
            assert_eq!(reply.status, if is_live { broken.status } else { 200 });
            until(broken.name, || sidecar.funnel("lost") == 1).await;
            until("no call under way", || beta.open() == 0).await;
            sidecar.flush().await;
            assert_eq!((sidecar.funnel("whole"), sidecar.funnel("scored")), (0, 0), "{}", {
                broken.name
            });
            sidecar.stop().await;
        }
    }
}
