//! A running sidecar whose experiments are paused, halted, stopped, decided and defined anew.

use std::fs;
use std::path::Path;

use serde_json::Value;
use serde_json::json;
use understudy::experiment::Share;

use crate::harness;
use crate::harness::process::Process;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::target;
use crate::harness::sidecar::whole;
use crate::startup::FREE;

async fn post(sidecar: &Sidecar, path: &str, body: &Value) -> Reply {
    let url = format!("{}/api/v1/{path}", sidecar.admin);
    whole(sidecar.client.post(url).body(body.to_string())).await
}

async fn get(sidecar: &Sidecar, path: &str) -> Value {
    whole(sidecar.client.get(format!("{}/api/v1/{path}", sidecar.admin))).await.json()
}

/// Which variant the next request meets, if any.
async fn met(sidecar: &Sidecar, number: usize) -> String {
    let reply = sidecar.ask(asking("alpha/m", &format!("question {number}"), false)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-understudy-experiment").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_holds_for_the_next_request_and_after_a_restart() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("yes"));
    let mut config = config(&[("alpha", &alpha)]);
    config.experiments = vec![experiment("alpha/m", "alpha/n", Share::NONE, Share::ALL)];
    let mut sidecar = Sidecar::start(config).await;
    assert_eq!(met(&sidecar, 0).await, "trial=next");
    let candidate = json!({"candidate": "next", "why": "too slow"});
    let none = json!({});
    for (number, (act, body, met_then, state)) in [
        ("pause", &json!({"why": "a look"}), "", "paused"),
        ("resume", &none, "trial=next", "running"),
        ("halt", &candidate, "trial=control", "running"),
        // Doing it again changes nothing.
        ("halt", &candidate, "trial=control", "running"),
        ("pause", &none, "", "paused"),
        ("resume", &none, "trial=control", "running"),
        ("stop", &none, "", "stopped"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = post(&sidecar, &format!("experiments/trial/{act}"), body).await;
        assert_eq!((reply.status, reply.json()["state"].as_str()), (200, Some(state)), "{act}");
        assert_eq!(met(&sidecar, 2 * number + 1).await, met_then, "{act}");
        sidecar = sidecar.restart(|_| {}).await;
        assert_eq!(met(&sidecar, 2 * number + 2).await, met_then, "{act}, started again");
        let report = get(&sidecar, "experiments/trial").await;
        assert_eq!((&report["state"], &report["epoch"]), (&json!(state), &json!(1)), "{act}");
    }
    for (path, body, status, told) in [
        ("experiments/trial/resume", &none, 400, "is stopped and cannot be resumed"),
        ("experiments/trail/pause", &none, 404, "there is: trial"),
        ("experiments/trial/halt", &none, 404, "no candidate"),
        ("experiments/trial/pause", &json!({"way": "x"}), 400, "unknown field"),
    ] {
        let reply = post(&sidecar, path, body).await;
        assert_eq!(reply.status, status, "{path}");
        assert!(reply.text().contains(told), "{path}: {}", reply.text());
    }
    let log = get(&sidecar, "experiments/trial/log").await;
    let entries = log["entries"].as_array().unwrap();
    let told: Vec<&str> = entries.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    let wanted = [
        "defined", "started", "paused", "resumed", "halted", "paused", "resumed", "stopped",
        "recorded",
    ];
    assert_eq!((told.as_slice(), &log["broken"]), (wanted.as_slice(), &Value::Null));
    assert_eq!(entries[4]["why"], "too slow");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_two_definitions_are_never_mixed() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("yes"));
    let mut config = config(&[("alpha", &alpha)]);
    config.experiments = vec![experiment("alpha/m", "alpha/n", Share::ALL, Share::NONE)];
    let sidecar = Sidecar::start(config).await;
    let pairs = |report: &Value| report["candidates"]["next"]["pairs"].as_u64().unwrap();
    let ask = async |sidecar: &Sidecar, numbers: std::ops::Range<usize>| {
        let before = sidecar.funnel("scored");
        let count = numbers.len() as u64;
        for number in numbers {
            met(sidecar, number).await;
        }
        harness::until("scores", || sidecar.funnel("scored") == before + count).await;
    };
    ask(&sidecar, 0..4).await;
    let sidecar = sidecar.restart(|config| config.experiments[0].decide.max_pairs = 900).await;
    ask(&sidecar, 4..5).await;
    let report = get(&sidecar, "experiments/trial").await;
    assert_eq!((pairs(&report), &report["epoch"]), (5, &json!(1)), "{report}");
    let change = |config: &mut understudy::config::Config| {
        config.experiments[0].candidates[0].variant.target = target("alpha/o");
    };
    let sidecar = sidecar.restart(change).await;
    let report = get(&sidecar, "experiments/trial").await;
    assert_eq!((pairs(&report), &report["epoch"]), (0, &json!(2)), "{report}");
    // A prompt that made a pair before makes one of the new definition.
    ask(&sidecar, 0..2).await;
    let report = get(&sidecar, "experiments/trial").await;
    assert_eq!(pairs(&report), 2, "{report}");
    assert_eq!(report["candidates"]["next"]["target"], "alpha/o");
    let former = get(&sidecar, "experiments/trial?epoch=1").await;
    assert_eq!((pairs(&former), &former["epoch"]), (5, &json!(1)), "{former}");
    assert_eq!(former["candidates"]["next"]["target"], "alpha/n");
    let none = get(&sidecar, "experiments/trial?epoch=3").await;
    assert!(none["error"]["message"].as_str().unwrap().contains("no epoch 3"), "{none}");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_ends_the_experiment_and_stays() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("yes"));
    let mut config = config(&[("alpha", &alpha)]);
    config.experiments = vec![experiment("alpha/m", "alpha/n", Share::ALL, Share::NONE)];
    let mut sidecar = Sidecar::start(config).await;
    let mut report = Value::Null;
    for number in 0..600 {
        met(&sidecar, number).await;
        report = get(&sidecar, "experiments/trial").await;
        if report["state"] == "decided" {
            break;
        }
    }
    assert_eq!((&report["state"], &report["verdict"]), (&json!("decided"), &json!("ship")));
    for start in 0..2 {
        // The last requests before the verdict may still be on their way to the recorder.
        sidecar.flush().await;
        let sampled = sidecar.funnel("sampled");
        assert_eq!(met(&sidecar, 1000 + start).await, "trial=control");
        sidecar.flush().await;
        assert_eq!(sidecar.funnel("sampled"), sampled, "it goes on after its verdict");
        sidecar = sidecar.restart(|_| {}).await;
        let report = get(&sidecar, "experiments/trial").await;
        assert_eq!((&report["state"], &report["verdict"]), (&json!("decided"), &json!("ship")));
    }
    let log = get(&sidecar, "log").await;
    let entries = log["entries"].as_array().unwrap();
    let [.., last, recorded] = entries.as_slice() else { panic!("{log}") };
    assert_eq!(recorded["event"], json!("recorded"));
    assert_eq!((&last["event"], &last["verdict"]), (&json!("decided"), &json!("ship")));
    assert!(last["verdicts"]["next"]["pairs"].as_u64().unwrap() >= 10, "{last}");
    sidecar.stop().await;
}

const FILE: &str = "experiment: trial\ncontrol: { target: openai/a }\n\
                    candidates: { next: { target: openai/b } }\ntraffic: { shadow: 1% }\n";

/// Runs a command to its end and reads what it printed.
fn command(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let ended = Process::start(dir, args, &[]).end();
    (ended.code, ended.output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_told_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("experiments")).unwrap();
    fs::write(dir.path().join("experiments/trial.yaml"), FILE).unwrap();
    let serve = [&["serve"], &FREE[..]].concat();
    let life = |act: &'static str, admin: &str| {
        let args = ["experiment", act, "trial", "--why", "test", "--json", "--admin", admin];
        let (code, output) = command(dir.path(), &args);
        assert_eq!(code, Some(0), "{act}: {output}");
        serde_json::from_str::<Value>(&output[output.find('{').unwrap()..]).unwrap()
    };
    let mut state = String::new();
    for act in ["pause", "resume", "pause", "stop"] {
        let mut process = Process::start(dir.path(), &serve, &[]);
        let admin = process.address("admin");
        if !state.is_empty() {
            let args = ["experiment", "ls", "--admin", &admin];
            let listed = command(dir.path(), &args).1;
            assert!(listed.contains(&state), "was {state}:\n{listed}");
        }
        let args = if act == "resume" {
            // A wish that is only in the log, as if the process had ended before its effect.
            process.kill();
            life_offline(dir.path())
        } else {
            let told = life(act, &admin);
            process.kill();
            told
        };
        state = args["state"].as_str().unwrap().to_owned();
    }
    assert_eq!(state, "stopped");
    let (code, log) = command(dir.path(), &["experiment", "log", "trial"]);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped by a person: test") && log.contains("is whole"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_reads_the_files_again_and_the_hash_in_force_is_that_of_check() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("experiments/trial.yaml");
    fs::create_dir(dir.path().join("experiments")).unwrap();
    fs::write(&file, FILE).unwrap();
    let mut process = Process::start(dir.path(), &[&["serve"], &FREE[..]].concat(), &[]);
    let admin = process.address("admin");
    let (code, checked) = command(dir.path(), &["check", "--json"]);
    assert_eq!(code, Some(0), "{checked}");
    let checked: Value = serde_json::from_str(&checked).unwrap();
    let client = harness::client().build().unwrap();
    let config: Value = whole(client.get(format!("http://{admin}/api/v1/config"))).await.json();
    assert_eq!(checked["hash"], config["hash"], "{checked} {config}");
    fs::write(&file, "experiment: [").unwrap();
    let refused = |times: usize| {
        move |output: &str| {
            let found = output.matches("what was in force stays").count();
            assert!(found <= times, "read without being asked:\n{output}");
            (found == times).then_some(())
        }
    };
    process.wait_for("that the file is broken", refused(1));
    process.signal("HUP");
    process.wait_for("that it is still broken", refused(2));
}

fn life_offline(dir: &Path) -> Value {
    // Nobody listens on the port of a listener that is gone.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let admin = free.to_string();
    let args = ["experiment", "resume", "trial", "--json", "--admin", &admin];
    let (code, output) = command(dir, &args);
    assert_eq!(code, Some(0), "{output}");
    serde_json::from_str(&output[output.find('{').unwrap()..]).unwrap()
}
