//! Nothing that happens out of the application's sight reaches it, and its credential goes nowhere.

use std::time::Duration;
use std::time::Instant;

use http::HeaderMap;
use understudy::config::Config;
use understudy::experiment::Experiment;
use understudy::experiment::Judge;
use understudy::experiment::Judges;
use understudy::experiment::Share;

use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::key;
use crate::harness::sidecar::route;
use crate::harness::sidecar::target;
use crate::harness::sidecar::whole;
use crate::harness::until;

/// Requests of one run; each asks something else, every other one for a stream.
const REQUESTS: usize = 40;

/// Requests of one row of figures.
const MANY: usize = 2_000;

/// What the other variant does.
struct Mood {
    name: &'static str,
    shadow: Share,
    answer: Option<Answer>,
    change: fn(&mut Config),
}

fn moods() -> Vec<Mood> {
    let mood = |name, answer| Mood { name, shadow: Share::ALL, answer, change: |_| {} };
    let malformed = Step::Send("data: {{{\n\n\u{0}".into());
    let hanging = Answer::saying("never").after(&Gate::new());
    vec![
        Mood { shadow: Share::NONE, ..mood("off", None) },
        mood("on", Some(Answer::stream([vec![delta("other")], ending()].concat()))),
        mood("failing", Some(Answer::error(500))),
        mood("hanging", Some(hanging.clone())),
        mood("malformed", Some(Answer::stream(vec![malformed]))),
        mood("cut", Some(Answer::stream(vec![delta("o"), Step::Cut]))),
        Mood {
            change: |config| config.limits.max_answer_bytes = 64 << 10,
            ..mood("flooding", Some(Answer::stream(vec![delta(&"flood ".repeat(20_000)); 20])))
        },
        mood("stalling", Some(Answer::stream(vec![delta("o"), Step::Hang]))),
        mood("trickling", Some(Answer::stream(vec![Step::Trickle(Duration::from_millis(20))]))),
        Mood {
            change: |config| {
                config.limits.shadow_queue = 1;
                config.shadowing.concurrency = 1;
            },
            ..mood("full queue", Some(hanging))
        },
    ]
}

/// What may differ from one run to the next: the date, and how long it took.
fn constant(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove("date");
    headers.remove("server-timing");
    headers
}

/// A sidecar, its two providers, and what a client got from it and how long each answer took.
struct Driven {
    sidecar: Sidecar,
    beta: Provider,
    _alpha: Provider,
    replies: Vec<Reply>,
    took: Vec<Duration>,
}

async fn drive(mood: &Mood, requests: usize) -> Driven {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    if let Some(answer) = &mood.answer {
        beta.always(answer.clone());
    }
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    config.experiments.push(experiment("alpha/m", "beta/m", mood.shadow, Share::NONE));
    (mood.change)(&mut config);
    let sidecar = Sidecar::start(config).await;
    let (mut replies, mut took) = (Vec::new(), Vec::new());
    for number in 0..requests {
        let is_stream = number % 2 == 1;
        alpha.expect(match (number % 10, is_stream) {
            (8, _) => Answer::error(429).header("retry-after", "7"),
            (9, _) => Answer::stream(vec![delta("half"), Step::Cut]),
            (_, true) => Answer::stream([vec![delta("he"), delta("llo")], ending()].concat()),
            (_, false) => Answer::saying("hello").header("openai-version", "2020-10-01"),
        });
        let body = asking("alpha/m", &format!("question {number}"), is_stream);
        let request = sidecar.chat(body).header("x-request-id", format!("r-{number}"));
        let began = Instant::now();
        let reply = whole(request.bearer_auth("client-key")).await;
        took.push(began.elapsed());
        replies.push(Reply { headers: constant(&reply.headers), ..reply });
    }
    Driven { sidecar, beta, _alpha: alpha, replies, took }
}

/// One client's requests, one after the other, and what became of their copies.
async fn run(mood: &Mood) -> (Vec<Reply>, Vec<Duration>) {
    let driven = drive(mood, REQUESTS).await;
    let (sidecar, beta) = (&driven.sidecar, &driven.beta);
    sidecar.flush().await;
    match mood.name {
        "off" => assert_eq!((sidecar.funnel("sampled"), beta.count()), (0, 0)),
        "on" => until("pairs", || sidecar.funnel("whole") == 32).await,
        "full queue" => assert!(sidecar.funnel("lost") > 30, "{}", sidecar.funnel("lost")),
        "hanging" | "stalling" | "trickling" => until("the copies", || beta.open() >= 32).await,
        name => {
            until("lost pairs", || sidecar.funnel("lost") == REQUESTS as u64).await;
            assert_eq!(sidecar.funnel("whole"), 0, "{name}");
        }
    }
    for call in beta.calls() {
        assert_eq!(call.header("authorization"), None, "the client's key went to the other one");
    }
    driven.sidecar.stop().await;
    (driven.replies, driven.took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_other_variant_does_never_shows_in_the_applications_answers() {
    let mut expected = None;
    for mood in moods() {
        let (replies, mut took) = run(&mood).await;
        took.sort();
        let (median, last) = (took[REQUESTS / 2], took[REQUESTS - 1]);
        println!("shadow {:<11} median {median:?}, slowest {last:?}", mood.name);
        let expected = expected.get_or_insert_with(|| replies.clone());
        for (got, wanted) in replies.iter().zip(expected) {
            assert_eq!(got, wanted, "shadow {}", mood.name);
        }
    }
}

/// What a run costs this process, provider and client included: processor time and peak memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures; run it alone, in release mode, with --nocapture"]
async fn what_copies_cost_beside_the_applications_requests() {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let processor = || {
        let stat = read("/proc/self/stat");
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
    };
    let peak = || {
        let status = read("/proc/self/status");
        let line = status.lines().find(|line| line.starts_with("VmHWM"));
        line.unwrap_or("VmHWM unknown").trim_start_matches("VmHWM:").trim().to_owned()
    };
    println!("{MANY} requests a row; times from sending a request to the end of its answer");
    println!(
        "{:<12} {:>12} {:>9} {:>9} {:>14}",
        "shadow", "cpu µs each", "p50 µs", "p99 µs", "peak"
    );
    // The first run warms up; the second row without copies shows what is noise.
    let all = moods();
    for mood in all.iter().take(1).chain(&all).chain(all.iter().take(1)) {
        let began = processor();
        let Driven { sidecar, mut took, .. } = drive(mood, MANY).await;
        sidecar.stop().await;
        took.sort();
        let spent = (processor() - began) * 1000 / MANY as u64;
        let (median, late) = (took[MANY / 2].as_micros(), took[MANY * 99 / 100].as_micros());
        println!("{:<12} {spent:>12} {median:>9} {late:>9} {:>14}", mood.name, peak());
    }
}

/// Everything that tells who the client is.
const CLIENT: [(&str, &str); 5] = [
    ("authorization", "Bearer client-key"),
    ("api-key", "client-key"),
    ("x-api-key", "client-key"),
    ("x-goog-api-key", "client-key"),
    ("cookie", "session=client-key"),
];

fn judged(control: &str, candidate: &str) -> Experiment {
    let mut experiment = experiment(control, candidate, Share::ALL, Share::NONE);
    let criteria = vec!["Right.".to_owned()];
    let judge = Judge { criteria, ..Judge::new(target("judge/j")) };
    experiment.evaluate.judge = Judges::Models(vec![judge]);
    experiment
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_copy_nor_the_judge_carries_the_clients_credential_to_another_provider() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let judge = Provider::start().await;
    let mut config = config(&[("alpha", &alpha), ("beta", &beta), ("judge", &judge)]);
    config.providers.get_mut("judge").unwrap().api_keys = vec![key("judge-key")];
    config.experiments.push(judged("alpha/m", "beta/m"));
    let sidecar = Sidecar::start(config).await;
    alpha.expect(Answer::saying("one"));
    beta.expect(Answer::saying("two"));
    judge.always(Answer::saying("no verdict"));
    let mut request = sidecar.chat(asking("alpha/m", "x", false));
    for (name, value) in CLIENT {
        request = request.header(name, value);
    }
    assert_eq!(whole(request).await.status, 200);
    until("a score", || sidecar.funnel("scored") == 1).await;
    let own = alpha.calls().remove(0);
    for (name, value) in CLIENT {
        let expected = (name != "cookie").then_some(value);
        assert_eq!(own.header(name), expected, "{name}");
    }
    let judge_calls = judge.calls();
    assert_eq!(judge_calls.len(), 2, "both orders");
    for call in beta.calls().iter().chain(&judge_calls) {
        let headers = format!("{:?}{}", call.headers, String::from_utf8_lossy(&call.body));
        assert!(!headers.contains("client-key"), "{headers}");
    }
    for call in &judge_calls {
        assert_eq!(call.header("authorization"), Some("Bearer judge-key"));
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_to_the_clients_own_provider_uses_the_clients_key() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.experiments.push(experiment("alpha/m", "alpha/n", Share::ALL, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("same"));
    let request = sidecar.chat(asking("alpha/m", "x", false)).bearer_auth("client-key");
    assert_eq!(whole(request).await.status, 200);
    until("a score", || sidecar.funnel("scored") == 1).await;
    let calls = alpha.calls();
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call.header("authorization"), Some("Bearer client-key"));
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_failover_nor_weight_nor_split_shows_the_clients_key_to_another_provider() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let ordered = route(&config, &[("alpha/m", None), ("beta/m", None)]);
    let weighted = route(&config, &[("alpha/m", Some(1)), ("beta/m", Some(1))]);
    config.routes.insert("ordered".into(), ordered);
    config.routes.insert("weighted".into(), weighted);
    let mut split = experiment("alpha/e", "beta/e", Share::NONE, Share::ALL);
    split.matches.route = Some("alpha/e".to_owned());
    config.experiments.push(split);
    let sidecar = Sidecar::start(config).await;
    beta.always(Answer::saying("beta"));
    for (model, rounds, answer) in [
        ("ordered", 1, Answer::error(500)),
        ("weighted", 32, Answer::saying("alpha")),
        ("alpha/e", 1, Answer::error(599)),
    ] {
        if model != "alpha/e" {
            alpha.always(answer);
        }
        for number in 0..rounds {
            let mut request = sidecar.chat(asking(model, &number.to_string(), false));
            for (name, value) in CLIENT {
                request = request.header(name, value);
            }
            assert_eq!(whole(request).await.status, 200, "{model}");
        }
        let calls = beta.calls();
        assert!(!calls.is_empty(), "{model}");
        for call in calls {
            assert!(!format!("{:?}", call.headers).contains("client-key"), "{model}: {call:?}");
        }
        for call in alpha.calls() {
            assert_eq!(call.header("authorization"), Some("Bearer client-key"), "{model}");
        }
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_configuration_replaces_the_clients() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.providers.get_mut("alpha").unwrap().api_keys = vec![key("own-key")];
    let sidecar = Sidecar::start(config).await;
    alpha.expect(Answer::saying("ok"));
    let request = sidecar.chat(asking("alpha/m", "x", false)).bearer_auth("client-key");
    assert_eq!(whole(request).await.status, 200);
    assert_eq!(alpha.calls()[0].header("authorization"), Some("Bearer own-key"));
    sidecar.stop().await;
}
