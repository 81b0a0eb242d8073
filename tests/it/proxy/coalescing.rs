//! Identical requests in flight: one call, everyone's answer, whoever comes late, leaves or is slow.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use understudy::config::Config;
use understudy::experiment::Share;
use understudy::metrics::Word;

use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::completion;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;
use crate::harness::until;
use crate::harness::within;

const COLLAPSED: &str = "understudy; fwd=miss; collapsed";
const STORED: &str = "understudy; fwd=miss; stored";

async fn started(change: impl FnOnce(&mut Config)) -> (Provider, Sidecar) {
    let provider = Provider::start().await;
    let mut config = config(&[("alpha", &provider)]);
    change(&mut config);
    (provider, Sidecar::start(config).await)
}

fn asked(sidecar: &Sidecar, is_stream: bool) -> reqwest::RequestBuilder {
    sidecar.chat(asking("alpha/m", "x", is_stream))
}

fn clients(request: &reqwest::RequestBuilder, number: usize) -> Vec<JoinHandle<Reply>> {
    let one = |_| tokio::spawn(whole(request.try_clone().unwrap()));
    (0..number).map(one).collect()
}

async fn replies(clients: Vec<JoinHandle<Reply>>) -> Vec<Reply> {
    let mut replies = Vec::new();
    for client in clients {
        replies.push(within("a client's end", client).await.unwrap());
    }
    replies
}

/// Returns once so many requests share the call of another.
async fn joined(sidecar: &Sidecar, number: usize) {
    let word = Word { what: "collapsed" };
    let count = || sidecar.metrics.cache.get_or_create(&word).get();
    until("everyone has joined", || count() == number as u64).await;
}

fn sent(steps: &[Step]) -> Vec<u8> {
    let piece = |step: &Step| match step {
        Step::Send(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    steps.iter().flat_map(piece).collect()
}

/// A stream of ten words with a gate before each but a first one, and the gates.
fn gated() -> (Vec<Step>, Vec<Gate>) {
    let gates: Vec<Gate> = (0..10).map(|_| Gate::new()).collect();
    let word =
        |(at, gate): (usize, &Gate)| [Step::Wait(gate.clone()), delta(&format!("word{at} "))];
    let words = gates.iter().enumerate().flat_map(word).collect();
    ([vec![delta("first ")], words, ending()].concat(), gates)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_identical_requests_make_one_call_and_all_get_all_of_it() {
    for is_stream in [true, false] {
        let (provider, sidecar) = started(|_| {}).await;
        let (head, middle) = (Gate::new(), Gate::new());
        let steps =
            [vec![delta("a"), delta("b"), Step::Wait(middle.clone()), delta("c")], ending()]
                .concat();
        let (answer, body) = match is_stream {
            true => (Answer::stream(steps.clone()), sent(&steps)),
            false => (Answer::saying("hello"), completion("hello").into_bytes()),
        };
        provider.expect(answer.after(&head));
        let request = asked(&sidecar, is_stream);
        let mut all = clients(&request, 150);
        joined(&sidecar, 149).await;
        if is_stream {
            // The others come when the answer has begun.
            head.open();
            until("our head", || sidecar.metrics.text().contains("status=\"200\"")).await;
        }
        all.extend(clients(&request, 50));
        joined(&sidecar, 199).await;
        head.open();
        middle.open();
        let replies = replies(all).await;
        let mut ids = BTreeSet::new();
        for reply in &replies {
            assert_eq!((reply.status, &reply.body[..]), (200, &body[..]));
            assert!(ids.insert(reply.header("x-request-id").to_owned()), "an id of its own");
            assert!(reply.header("server-timing").contains("understudy;dur="));
            assert_eq!(reply.header("x-understudy-target"), "alpha/m");
        }
        let shared = replies.iter().filter(|reply| reply.cache() == COLLAPSED);
        let shared: Vec<_> = shared.map(|reply| reply.header("x-understudy-cost-usd")).collect();
        assert_eq!(shared, ["0"; 199]);
        assert_eq!(replies.iter().filter(|reply| reply.cache() == STORED).count(), 1);
        assert_eq!(whole(request).await.cache(), "understudy; hit");
        assert_eq!((provider.calls().len(), sidecar.all_broken()), (1, 0));
        let metrics = sidecar.metrics.clone();
        sidecar.stop().await;
        assert_eq!(metrics.stored_answers.get(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_stay_get_all_of_it_wherever_the_first_one_leaves() {
    for seed in 0..6 {
        let leaves_after = fastrand::Rng::with_seed(seed).usize(0..10);
        let (provider, sidecar) = started(|_| {}).await;
        let (steps, gates) = gated();
        provider.expect(Answer::stream(steps.clone()));
        let request = asked(&sidecar, true);
        let mut first = within("a head", request.try_clone().unwrap().send()).await.unwrap();
        let others = clients(&request, 20);
        joined(&sidecar, 20).await;
        let mut seen = Vec::new();
        for (at, gate) in gates.iter().take(leaves_after).enumerate() {
            gate.open();
            let word = format!("word{at} ");
            while !String::from_utf8_lossy(&seen).contains(&word) {
                seen.extend(within("a piece", first.chunk()).await.unwrap().unwrap());
            }
        }
        drop(first);
        until("the first has left", || sidecar.metrics.open.get() == 20).await;
        gates.iter().for_each(Gate::open);
        for reply in replies(others).await {
            assert_eq!((&reply.body[..], reply.cache()), (&sent(&steps)[..], COLLAPSED));
        }
        assert_eq!((provider.calls().len(), provider.abandoned()), (1, 0), "seed {seed}");
        assert_eq!(sidecar.all_broken(), 0, "seed {seed}");
        assert_eq!(whole(request).await.cache(), "understudy; hit");
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_may_leave_before_the_head_and_when_all_have_left_the_call_ends() {
    for is_stream in [true, false] {
        for everyone in [false, true] {
            let (provider, sidecar) = started(|_| {}).await;
            let head = Gate::new();
            let steps = [vec![delta("a")], ending()].concat();
            let answer = match is_stream {
                true => Answer::stream(steps),
                false => Answer::saying("a"),
            };
            provider.expect(answer.after(&head));
            let request = asked(&sidecar, is_stream);
            let first = clients(&request, 1);
            until("the call", || provider.open() == 1).await;
            let others = clients(&request, 10);
            joined(&sidecar, 10).await;
            first.iter().for_each(JoinHandle::abort);
            until("the first has left", || sidecar.metrics.open.get() == 10).await;
            if everyone {
                others.iter().for_each(JoinHandle::abort);
                until("the call's end", || provider.open() == 0).await;
                until("the count", || sidecar.broken("client_left") == 1).await;
                assert_eq!(provider.abandoned(), 1);
                provider.expect(Answer::saying("again"));
                assert_eq!(whole(request).await.cache(), STORED);
            } else {
                head.open();
                for reply in replies(others).await {
                    assert_eq!((reply.status, reply.cache()), (200, COLLAPSED));
                }
                assert_eq!((provider.calls().len(), sidecar.all_broken()), (1, 0));
            }
            sidecar.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_leave_in_the_middle_of_a_stream_its_call_ends_and_is_reported_once() {
    let (provider, sidecar) = started(|_| {}).await;
    provider.expect(Answer::stream(vec![delta("a"), Step::Hang]));
    let all = clients(&asked(&sidecar, true), 10);
    joined(&sidecar, 9).await;
    until("our head", || sidecar.metrics.text().contains("status=\"200\"")).await;
    all.iter().for_each(JoinHandle::abort);
    until("the call's end", || provider.open() == 0).await;
    until("no open request", || sidecar.metrics.open.get() == 0).await;
    assert_eq!((provider.abandoned(), sidecar.broken("client_left")), (1, 1));
    assert_eq!(sidecar.all_broken(), 1);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_tells_everyone_once_and_nobody_joins_it_after() {
    let (provider, sidecar) = started(|_| {}).await;
    let gate = Gate::new();
    provider.expect(Answer::stream(vec![delta("a"), Step::Wait(gate.clone()), Step::Cut]));
    let request = asked(&sidecar, true);
    let all = clients(&request, 20);
    joined(&sidecar, 19).await;
    gate.open();
    for reply in replies(all).await {
        let Step::Send(begun) = delta("a") else { panic!("not a piece") };
        assert!(reply.body.starts_with(&begun), "{}", reply.text());
        assert_eq!(reply.text().matches("broke off").count(), 1, "{}", reply.text());
        assert!(!reply.text().contains("[DONE]"));
    }
    assert_eq!((sidecar.broken("cut"), sidecar.all_broken()), (1, 1));
    provider.expect(Answer::stream([vec![delta("b")], ending()].concat()));
    assert_eq!(whole(request).await.cache(), STORED);
    assert_eq!(provider.calls().len(), 2);
    sidecar.stop().await;
}

/// Failures before anyone was told anything, what comes second, and what the others get of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_call_is_made_once_more_for_all_who_wait_and_never_again() {
    let cut = Answer::new(200, "application/json", vec![Step::Send("{".into()), Step::Cut]);
    let stream = Answer::stream([vec![delta("a")], ending()].concat());
    let cases = [
        ("a 500, then a stream", true, Answer::error(500), Some(stream), (500, 200, COLLAPSED)),
        ("a 429", false, Answer::error(429), Some(Answer::saying("a")), (429, 200, COLLAPSED)),
        ("a cut", false, cut.clone(), Some(Answer::saying("a")), (502, 200, COLLAPSED)),
        ("two failures", false, Answer::error(503), Some(cut), (503, 502, "")),
        ("two more", true, Answer::error(500), Some(Answer::error(503)), (500, 503, COLLAPSED)),
        ("the request's own fault", false, Answer::error(400), None, (400, 400, COLLAPSED)),
    ];
    for (name, is_stream, first, second, (leads, follows, cache)) in cases {
        let (provider, sidecar) = started(|_| {}).await;
        let gate = Gate::new();
        let calls = 1 + usize::from(second.is_some());
        provider.expect(first.after(&gate));
        second.into_iter().for_each(|second| provider.expect(second));
        let all = clients(&asked(&sidecar, is_stream), 20);
        joined(&sidecar, 19).await;
        gate.open();
        let replies = replies(all).await;
        assert_eq!(provider.calls().len(), calls, "{name}");
        let with = |status| replies.iter().filter(|reply| reply.status == status).count();
        match leads == follows {
            true => assert_eq!(with(leads), 20, "{name}"),
            false => assert_eq!((with(leads), with(follows)), (1, 19), "{name}"),
        }
        let shared = replies.iter().filter(|reply| reply.cache() == COLLAPSED).count();
        // One made the first call and, if there was a second, another one made that.
        let expected = if cache.is_empty() { 0 } else { 20 - calls };
        assert_eq!(shared, expected, "{name}");
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_delays_only_itself_and_misses_nothing() {
    let (provider, sidecar) = started(|_| {}).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut noise = |size| (0..size).map(|_| rng.alphanumeric()).collect::<String>();
    let words: Vec<Step> = (0..200).map(|_| delta(&noise(40_000))).collect();
    let steps = [words, ending()].concat();
    let gate = Gate::new();
    provider.expect(Answer::stream(steps.clone()).after(&gate));
    let request = asked(&sidecar, true);
    let (finished, all_fast) = watch::channel(0);
    let mut slow = Vec::new();
    for seed in 0..6 {
        let (request, mut all_fast) = (request.try_clone().unwrap(), all_fast.clone());
        slow.push(tokio::spawn(async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut response, mut seen) = (request.send().await.unwrap(), Vec::new());
            let pauses_at = rng.usize(1..200_000);
            let mut has_paused = false;
            while let Some(piece) = response.chunk().await.unwrap() {
                seen.extend_from_slice(&piece);
                if seen.len() > pauses_at && !has_paused {
                    has_paused = true;
                    all_fast.wait_for(|finished| *finished == 1).await.unwrap();
                }
                if rng.bool() {
                    tokio::task::yield_now().await;
                }
            }
            seen
        }));
    }
    let fast = clients(&request, 6);
    joined(&sidecar, 11).await;
    gate.open();
    let body = sent(&steps);
    for reply in replies(fast).await {
        assert!(reply.body == body, "{} of {} bytes", reply.body.len(), body.len());
    }
    finished.send(1).unwrap();
    for reader in slow {
        let seen = within("a slow reader", reader).await.unwrap();
        assert!(seen == body, "{} of {} bytes", seen.len(), body.len());
    }
    assert_eq!((provider.calls().len(), sidecar.all_broken()), (1, 0));
    sidecar.stop().await;
}

/// What a paused reader's sockets take is some megabytes; the rest may not be kept for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_answer_too_large_to_keep_a_paused_reader_is_told_and_others_get_all() {
    let (provider, sidecar) = started(|config| config.limits.max_answer_bytes = 2 << 20).await;
    let word = delta(&"w".repeat(100_000));
    let steps = [vec![word; 300], ending()].concat();
    let gate = Gate::new();
    provider.expect(Answer::stream(steps.clone()).after(&gate));
    let request = asked(&sidecar, true);
    let paused = request.try_clone().unwrap();
    let (resume, may_read) = watch::channel(false);
    let paused = tokio::spawn(async move {
        let mut response = paused.send().await.unwrap();
        let (mut seen, mut may_read) = (Vec::new(), may_read);
        may_read.wait_for(|may| *may).await.unwrap();
        while let Some(piece) = response.chunk().await.unwrap() {
            seen.extend_from_slice(&piece);
        }
        String::from_utf8(seen).unwrap()
    });
    let fast = clients(&request, 1);
    joined(&sidecar, 1).await;
    gate.open();
    let body = sent(&steps);
    for reply in replies(fast).await {
        assert!(reply.body == body, "{} of {} bytes", reply.body.len(), body.len());
    }
    resume.send(true).unwrap();
    let seen = within("the paused reader", paused).await.unwrap();
    assert!(!seen.contains("[DONE]"), "it looks complete");
    assert_eq!(seen.matches("read more slowly than others").count(), 1);
    assert_eq!((provider.calls().len(), sidecar.broken("too_large")), (1, 1));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_differ_in_anything_never_share_a_call() {
    let (provider, sidecar) = started(|config| {
        let routed = route(config, &[("alpha/m", None)]);
        config.routes.insert("named".into(), routed);
    })
    .await;
    let gate = Gate::new();
    provider.always(Answer::saying("a").after(&gate));
    let usage = json!({"model": "alpha/m", "messages": [{"role": "user", "content": "x"}],
                       "stream": true, "stream_options": {"include_usage": true}});
    let claude = json!({"model": "alpha/m", "max_tokens": 9,
                        "messages": [{"role": "user", "content": "x"}]});
    let different = [
        asked(&sidecar, false),
        asked(&sidecar, true),
        sidecar.chat(usage.to_string()),
        sidecar.chat(asking("alpha/m", "y", false)),
        sidecar.chat(asking("alpha/n", "x", false)),
        sidecar.chat(asking("named", "x", false)),
        asked(&sidecar, false).header("authorization", "Bearer a"),
        asked(&sidecar, false).header("authorization", "Bearer b"),
        sidecar.post("/v1/messages", claude.to_string()),
    ];
    let all: Vec<_> = different.iter().flat_map(|request| clients(request, 2)).collect();
    joined(&sidecar, different.len()).await;
    until("every call", || provider.open() == different.len()).await;
    gate.open();
    replies(all).await;
    assert_eq!(provider.calls().len(), different.len());
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn translated_answers_are_shared_too() {
    for is_stream in [true, false] {
        let (provider, sidecar) = started(|_| {}).await;
        let gate = Gate::new();
        let steps = [vec![delta("hel"), Step::Wait(gate.clone()), delta("lo")], ending()].concat();
        provider.expect(match is_stream {
            true => Answer::stream(steps),
            false => Answer::saying("hello").after(&gate),
        });
        let claude = json!({"model": "alpha/m", "max_tokens": 9, "stream": is_stream,
                            "messages": [{"role": "user", "content": "x"}]});
        let all = clients(&sidecar.post("/v1/messages", claude.to_string()), 10);
        joined(&sidecar, 9).await;
        gate.open();
        let replies = replies(all).await;
        for reply in &replies {
            assert_eq!((reply.status, &reply.body), (200, &replies[0].body));
            assert_eq!(reply.header("request-id"), reply.header("x-request-id"));
            let end = if is_stream { "message_stop" } else { "hello" };
            assert!(reply.text().contains(end), "{}", reply.text());
        }
        assert_eq!((provider.calls().len(), sidecar.all_broken()), (1, 0));
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_an_answer_of_its_own_gets_one() {
    let cases: [(bool, &str); 4] =
        [(false, "max-age=60"), (true, "no-cache"), (true, "no-store"), (true, "max-age=0")];
    for (coalesce, control) in cases {
        let (provider, sidecar) = started(|config| config.cache.coalesce = coalesce).await;
        let gate = Gate::new();
        provider.always(Answer::saying("a").after(&gate));
        let all = clients(&asked(&sidecar, false).header("cache-control", control), 5);
        until("every call", || provider.open() == 5).await;
        gate.open();
        for reply in replies(all).await {
            assert_ne!(reply.cache(), COLLAPSED, "{coalesce} {control}");
        }
        assert_eq!(provider.calls().len(), 5);
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_share_a_call_make_one_pair_and_count_as_met_again() {
    for is_stream in [true, false] {
        for everyone_leaves in [false, true] {
            let (alpha, beta) = (Provider::start().await, Provider::start().await);
            let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
            config.experiments.push(experiment("alpha/m", "beta/m", Share::ALL, Share::NONE));
            let sidecar = Sidecar::start(config).await;
            let gate = Gate::new();
            let answer = |text: &str| match is_stream {
                true => Answer::stream([vec![delta(text)], ending()].concat()),
                false => Answer::saying(text),
            };
            alpha.expect(answer("a").after(&gate));
            beta.expect(answer("b"));
            let request = asked(&sidecar, is_stream);
            let all = clients(&request, 10);
            joined(&sidecar, 9).await;
            until("the promise", || sidecar.funnel("repeated") == 9).await;
            if everyone_leaves {
                all.iter().for_each(JoinHandle::abort);
                until("nobody is left", || sidecar.metrics.open.get() == 0).await;
                gate.open();
            } else {
                gate.open();
                for reply in replies(all).await {
                    assert_eq!(reply.header("x-understudy-experiment"), "trial=control");
                }
            }
            until("the pair", || sidecar.funnel("whole") == 1).await;
            assert_eq!((sidecar.funnel("sampled"), sidecar.funnel("lost")), (1, 0));
            assert_eq!((alpha.calls().len(), alpha.abandoned(), beta.calls().len()), (1, 0, 1));
            assert_eq!(whole(request).await.cache(), "understudy; hit");
            sidecar.stop().await;
        }
    }
}

/// Between an answer's last byte and the cache there is no gap for a second call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_come_as_an_answer_ends_make_no_second_call() {
    for round in 0..20 {
        let (provider, sidecar) = started(|_| {}).await;
        let gate = Gate::new();
        let body = Bytes::from(completion("a"));
        let halves = vec![
            Step::Send(body.slice(..9)),
            Step::Wait(gate.clone()),
            Step::Send(body.slice(9..)),
        ];
        provider.expect(Answer::new(200, "application/json", halves));
        let request = asked(&sidecar, false);
        let mut all = clients(&request, 2);
        joined(&sidecar, 1).await;
        let opener = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            gate.open();
        });
        all.extend(clients(&request, 40));
        for reply in replies(all).await {
            assert_eq!((reply.status, &reply.body), (200, &body));
        }
        opener.await.unwrap();
        assert_eq!(provider.calls().len(), 1, "round {round}");
        sidecar.stop().await;
    }
}
