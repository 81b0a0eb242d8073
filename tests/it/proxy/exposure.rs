//! Which units met which variants, and what people said of the answers.

use std::fs;

use serde_json::Value;
use serde_json::json;
use understudy::board::Board;
use understudy::experiment::Share;
use understudy::exposure::Exposure;
use understudy::exposure::Origin;
use understudy::exposure::UnitRow;
use understudy::exposure::digest;
use understudy::stats::Verdict;

use crate::harness::client;
use crate::harness::process::Process;
use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;
use crate::harness::until;
use crate::proxy::shadowing::report;

async fn exposures(sidecar: &Sidecar) -> Value {
    sidecar.flush().await;
    report(sidecar).await["exposures"].clone()
}

fn met(exposures: &Value, variant: &str) -> [u64; 4] {
    let count = |what: &str| exposures[variant][what].as_u64().unwrap_or(0);
    ["units", "requests", "cached", "collapsed"].map(count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_paid_for_the_answer_it_is_an_exposure_and_a_restart_keeps_it() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha), ("beta", &alpha)]);
    config.experiments.push(experiment("alpha/m", "beta/m", Share::NONE, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    let gate = Gate::new();
    alpha.expect(Answer::saying("a").after(&gate));
    let ask = || {
        let request = sidecar.chat(asking("alpha/m", "x", false));
        tokio::spawn(whole(request))
    };
    let all: Vec<_> = (0..3).map(|_| ask()).collect();
    let joined = || {
        let word = understudy::metrics::Word { what: "collapsed" };
        sidecar.metrics.cache.get_or_create(&word).get()
    };
    until("those who join", || joined() == 2).await;
    gate.open();
    for one in all {
        assert_eq!(one.await.unwrap().status, 200);
    }
    assert_eq!(ask().await.unwrap().cache(), "understudy; hit");
    alpha.expect(Answer::error(500));
    assert_eq!(sidecar.ask(asking("alpha/m", "another unit", false)).await.status, 500);
    let seen = exposures(&sidecar).await;
    assert_eq!(met(&seen, "control"), [2, 5, 1, 2], "{seen}");
    assert_eq!(seen["contaminated"], json!({"reconfiguration": 0, "failover": 0}));
    let again = sidecar.restart(|_| {}).await;
    assert_eq!(exposures(&again).await, seen);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_met_two_variants_is_counted_by_reason_and_stays_where_it_was_assigned() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let both = route(&config, &[("alpha/m", None), ("beta/m", None)]);
    config.routes.insert("bot".to_owned(), both);
    config.experiments.push(experiment("alpha/m", "beta/m", Share::NONE, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    alpha.expect(Answer::error(500));
    beta.always(Answer::saying("b"));
    assert_eq!(
        sidecar.ask(asking("bot", "x", false)).await.header("x-understudy-target"),
        "beta/m"
    );
    let seen = exposures(&sidecar).await;
    assert_eq!(seen["contaminated"], json!({"reconfiguration": 0, "failover": 1}), "{seen}");
    let moved = sidecar.restart(|config| config.experiments[0].candidates[0].split = Share::ALL);
    let sidecar = moved.await;
    let reply = sidecar.ask(asking("bot", "x", false)).await;
    assert_eq!(reply.header("x-understudy-experiment"), "trial=next");
    let seen = exposures(&sidecar).await;
    assert_eq!(seen["contaminated"], json!({"reconfiguration": 1, "failover": 1}), "{seen}");
    assert_eq!((met(&seen, "control"), met(&seen, "next")), ([1, 1, 0, 0], [0, 1, 0, 0]), "{seen}");
    sidecar.stop().await;
}

#[test]
fn a_split_that_is_not_as_configured_asks_for_a_person() {
    let half = Share::from_ppm(500_000).unwrap();
    let board = Board::new(&[experiment("alpha/m", "beta/m", Share::ALL, half)]);
    let meet = |number: usize, assigned: &str| {
        let exposure = Exposure {
            experiment: "trial".to_owned(),
            epoch: 1,
            unit: digest("trial", &number.to_string()),
            request_id: number.to_string(),
            assigned: assigned.to_owned(),
            served: Some(assigned.to_owned()),
            origin: Origin::Live,
            split: vec![500_000],
            at_ms: 0,
        };
        let mut row = UnitRow::default();
        row.meet(&exposure);
        board.met("trial", 1, None, &row);
    };
    (0..1000).for_each(|number| meet(number, if number % 2 == 0 { "control" } else { "next" }));
    assert_eq!(board.report("trial").unwrap().verdict, Verdict::KeepRunning);
    (1000..2000).for_each(|number| meet(number, if number % 5 == 0 { "next" } else { "control" }));
    let report = board.report("trial").unwrap();
    assert_eq!((report.verdict, &*report.reason), (Verdict::Review, "sample_ratio_mismatch"));
}

async fn say(sidecar: &Sidecar, what: &Value) -> Reply {
    whole(sidecar.post("/v1/feedback", what.to_string())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_say_counts_for_the_variant_once_and_survives_a_restart() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha), ("beta", &alpha)]);
    config.experiments.push(experiment("alpha/m", "beta/m", Share::NONE, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("a"));
    let mut ids = Vec::new();
    for text in ["x", "y", "x"] {
        let reply = sidecar.ask(asking("alpha/m", text, false)).await;
        ids.push(reply.header("x-request-id").to_owned());
    }
    let first = json!({"request_id": ids[0], "thumbs": "down", "score": 0.1, "label": "wrong"});
    let taken = say(&sidecar, &first).await;
    let expected = json!({"request_id": ids[0], "experiment": "trial", "variant": "control"});
    assert_eq!((taken.status, taken.json()), (200, expected));
    let better = json!({"request_id": ids[0], "thumbs": "up", "score": 0.5, "comment": "secret"});
    assert_eq!(say(&sidecar, &better).await.status, 200);
    // An answer from the cache is one that people see, too; the admin plane takes it as well.
    let cached = json!({"request_id": ids[2], "thumbs": "up", "score": 1, "label": "fine"});
    let admin = format!("{}/api/v1/feedback", sidecar.admin);
    assert_eq!(whole(sidecar.client.post(admin).body(cached.to_string())).await.status, 200);
    let report_before = report(&sidecar).await;
    let said = &report_before["feedback"]["control"];
    assert_eq!((&said["thumbs_up"], &said["thumbs_down"]), (&json!(2), &json!(0)), "{said}");
    assert_eq!((&said["score"], &said["labels"]), (&json!(0.75), &json!({"fine": 1})), "{said}");
    assert!(!report_before.to_string().contains("secret"), "comments are not in the report");
    let again = sidecar.restart(|_| {}).await;
    assert_eq!(report(&again).await["feedback"], report_before["feedback"]);
    let late = json!({"request_id": ids[1], "thumbs": "down"});
    assert_eq!(say(&again, &late).await.status, 200, "feedback may come after a restart");
    let list = format!("{}/api/v1/experiments/trial/feedback", again.admin);
    let list = whole(again.client.get(list)).await.json();
    assert_eq!(list["count"], 3);
    assert!(list.to_string().contains("secret"));
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feedback_that_cannot_be_taken_says_what_to_do() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    let long = format!("{{\"comment\":\"{}\"}}", "x".repeat(70_000));
    for (body, status, words) in [
        (r#"{"request_id":"r","thumbs":"up"}"#, 404, "`x-request-id`"),
        (r#"{"thumbs":"up"}"#, 400, "`request_id` is missing"),
        (r#"{"request_id":"r","score":7}"#, 400, "`score`"),
        ("nonsense", 400, "not valid JSON"),
        (long.as_str(), 413, "`comment`"),
    ] {
        let reply = whole(sidecar.post("/v1/feedback", body.to_owned())).await;
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(reply.status, status, "{message}");
        assert!(message.contains(words), "{message}");
    }
    let got = whole(sidecar.client.get(format!("{}/v1/feedback", sidecar.data))).await;
    assert_eq!(got.status, 405);
    sidecar.stop().await;
}

const DEFINITION: &str = "experiment: trial
match: { route: alpha/m }
unit: { header: x-user }
control: { target: alpha/m }
candidates: { next: { target: alpha/n } }
traffic: { split: { next: 50% }, shadow: 0% }
evaluate: { comparators: [exact] }
decide: { metric: win_rate, goal: non_inferior, margin: 3% }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_no_exposure_that_was_flushed_and_counts_none_twice() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("a"));
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("experiments")).unwrap();
    fs::write(dir.path().join("experiments/trial.yaml"), DEFINITION).unwrap();
    let settings = json!({
        "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "data_dir": dir.path().join("data"),
        "providers": {"alpha": {"dialect": "openai", "base_url": alpha.base_url()}},
    });
    fs::write(dir.path().join("understudy.yaml"), settings.to_string()).unwrap();
    let client = client().build().unwrap();
    let (mut flushed, mut sent) = (0, 0);
    for _ in 0..3 {
        let mut process = Process::start(dir.path(), &["serve"], &[]);
        let (data, admin) = (process.address("listen"), process.address("admin"));
        let report = client.get(format!("http://{admin}/api/v1/experiments/trial"));
        let seen = whole(report).await.json()["exposures"].clone();
        let [a, b] = ["control", "next"].map(|variant| met(&seen, variant));
        let (units, requests) = (a[0] + b[0], a[1] + b[1]);
        assert!(units <= 10 && (flushed..=sent).contains(&requests), "{flushed} {sent} {seen}");
        // What a kill lost does not come back.
        sent = requests;
        let mut last = String::new();
        for number in 0..20 {
            let request = client.post(format!("http://{data}/v1/chat/completions"));
            let request = request.header("x-user", format!("u{}", number % 10));
            let body = asking("alpha/m", &number.to_string(), false);
            let reply = whole(request.body(body)).await;
            assert_eq!(reply.status, 200);
            last = reply.header("x-request-id").to_owned();
            sent += 1;
            if number == 9 {
                // Its answer comes once everything before it is on disk.
                let body = json!({"request_id": last, "thumbs": "up"}).to_string();
                let said = client.post(format!("http://{data}/v1/feedback")).body(body);
                assert_eq!(whole(said).await.status, 200);
                flushed = sent;
            }
        }
        assert!(!last.is_empty());
        drop(process);
    }
}
