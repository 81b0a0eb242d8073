//! The record of a decision: made with every one, computed again, and different when touched.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use understudy::experiment::Share;
use understudy::experiment::State;
use understudy::experiment::definition;
use understudy::experiment::life::Event;
use understudy::experiment::record::Record;
use understudy::price::Prices;
use understudy::record;
use understudy::record::Basis;
use understudy::record::Check;
use understudy::stats::Verdict;

use super::reported;
use super::scores;
use super::share;
use super::tally;
use super::trial;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::whole;
use crate::harness::until;

fn recorded() -> (Record, record::Tallies) {
    let trial = trial();
    let scores = scores(700, 200, 560);
    let tallies = BTreeMap::from([("sonnet".to_owned(), tally(&scores))]);
    let report = reported(&trial, &scores);
    let templates = BTreeMap::from([("pairwise".to_owned(), "0f".to_owned())]);
    let basis = Basis {
        experiment: &trial,
        report: &report,
        tallies: &tallies,
        again: None,
        broken: &[],
        config: "c0ffee",
        prices: &Prices::built_in(),
        templates,
    };
    (record::record(&basis), tallies)
}

fn outcome(checks: &[Check]) -> Vec<(&str, Option<bool>)> {
    checks.iter().map(|check| (check.what.as_str(), check.matches)).collect()
}

#[test]
fn a_record_holds_what_a_verdict_rests_on_and_gives_it_again() {
    let (record, tallies) = recorded();
    assert_eq!((record.verdict, record.reason.as_str()), (Verdict::Ship, "not_worse"));
    assert_eq!(record.prices["openai/gpt-4o"], "2.5 10 1.25");
    assert_eq!(record.prices.len(), 3);
    assert_eq!(record.parts["salt"], "trial");
    assert!(record.parts.keys().any(|part| part.ends_with(".criteria")), "{:?}", record.parts);
    let sealed = definition::digest(&record.parts);
    let trial = trial();
    let checks = record::check(&record, &sealed, Some(&trial), Some(&tallies));
    let yes = Some(true);
    let all = [("definition", yes), ("verdict", yes), ("store", yes)];
    assert_eq!(outcome(&checks), all, "{checks:?}");
    let without = record::check(&record, &sealed, None, None);
    assert_eq!(outcome(&without), [("definition", yes), ("verdict", None), ("store", None)]);
}

#[test]
fn whatever_is_changed_in_a_record_is_told() {
    let (good, tallies) = recorded();
    let (sealed, trial) = (definition::digest(&good.parts), trial());
    let check = |change: &dyn Fn(&mut Record)| {
        let mut record = good.clone();
        change(&mut record);
        let checks = record::check(&record, &sealed, Some(&trial), Some(&tallies));
        let wrong = checks.into_iter().filter(|check| check.matches == Some(false));
        wrong.map(|check| check.what).collect::<Vec<String>>()
    };
    let other = serde_json::to_string(&tally(&scores(650, 200, 610))).unwrap();
    let ruling = |record: &mut Record| record.rulings.get_mut("sonnet").unwrap().upper_ppm += 1;
    assert_eq!(check(&|_| {}), Vec::<String>::new());
    let worse = |r: &mut Record| drop(r.parts.insert("margin".into(), "0.001".into()));
    assert_eq!(check(&worse), ["definition"]);
    let never = |r: &mut Record| drop(r.parts.insert("min_pairs".into(), "9000".into()));
    assert_eq!(check(&never), ["definition", "verdict"]);
    assert_eq!(check(&|r| ruling(r)), ["verdict"]);
    assert_eq!(
        check(&|r| r.counts.get_mut("sonnet").unwrap().tally = Some(other.clone())),
        ["counts"]
    );
    assert_eq!(
        check(&|r| r.counts.get_mut("sonnet").unwrap().digest = "0".into()),
        ["counts", "store"]
    );
}

#[test]
fn an_event_with_a_record_reads_back_as_it_was() {
    let (record, _) = recorded();
    let event = Event::Recorded { record: Box::new(record) };
    let text = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
}

async fn post(sidecar: &Sidecar, path: &str, body: &Value) -> Reply {
    let url = format!("{}/api/v1/experiments/trial/{path}", sidecar.admin);
    whole(sidecar.client.post(url).body(body.to_string())).await
}

async fn get(sidecar: &Sidecar, path: &str) -> Value {
    whole(sidecar.client.get(format!("{}/api/v1/{path}", sidecar.admin))).await.json()
}

fn events(log: &Value) -> Vec<&str> {
    log["entries"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decided_experiment_is_recorded_and_verified_and_a_person_may_overrule_it() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("yes"));
    let mut config = config(&[("alpha", &alpha)]);
    let mut trial = experiment("alpha/m", "alpha/n", share(100), Share::NONE);
    // Equal answers are ties, and so many ties decide.
    (trial.decide.margin, trial.decide.min_pairs, trial.decide.max_pairs) = (0.4, 10, 50);
    config.experiments = vec![trial];
    let mut sidecar = Sidecar::start(config).await;
    for number in 0..60 {
        sidecar.ask(asking("alpha/m", &format!("question {number}"), false)).await;
    }
    sidecar.flush().await;
    let mut state = Value::Null;
    for _ in 0..200 {
        state = get(&sidecar, "experiments/trial").await["state"].clone();
        if state == json!("decided") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(state, json!("decided"));
    let log = get(&sidecar, "experiments/trial/log?verify=true").await;
    assert_eq!(events(&log), ["defined", "started", "decided", "recorded"], "{log}");
    let checks: Vec<Check> = serde_json::from_value(log["verified"][0]["checks"].clone()).unwrap();
    assert!(checks.iter().all(|check| check.matches != Some(false)), "{checks:?}");
    assert!(checks.iter().any(|check| check.what == "verdict" && check.matches == Some(true)));

    let why = json!({"verdict": "do_not_ship", "why": "legal said no"});
    let reply = post(&sidecar, "override", &why).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["halted"], json!(["next"]));
    sidecar = sidecar.restart(|_| {}).await;
    let report = get(&sidecar, "experiments/trial").await;
    assert_eq!(
        (&report["verdict"], &report["reason"]),
        (&json!("do_not_ship"), &json!("overruled"))
    );
    assert_eq!(report["overruled"]["instead_of"], json!("ship"), "{report}");
    assert!(report["summary"].as_str().unwrap().contains("legal said no"));
    let log = get(&sidecar, "experiments/trial/log?verify=true").await;
    assert_eq!(log["broken"], Value::Null);
    assert_eq!(events(&log)[4..], ["overruled", "recorded"]);
    assert_eq!(log["entries"][5]["record"]["overruled"]["why"], json!("legal said no"));
    for (body, told) in [
        (json!({"why": "x"}), "`verdict` is missing"),
        (json!({"verdict": "review", "why": "x"}), "a person decides"),
        (json!({"verdict": "perhaps"}), "unknown variant"),
    ] {
        let reply = post(&sidecar, "override", &body).await;
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains(told), "{}", reply.text());
    }
    until("nothing under way", || sidecar.metrics.open.get() == 0).await;
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_recorded_with_what_was_known() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.experiments = vec![experiment("alpha/m", "alpha/n", Share::NONE, Share::NONE)];
    let sidecar = Sidecar::start(config).await;
    assert_eq!(post(&sidecar, "stop", &json!({"why": "enough"})).await.status, 200);
    let log = get(&sidecar, "experiments/trial/log?verify=true").await;
    assert_eq!(events(&log), ["defined", "started", "stopped", "recorded"]);
    let record: Record = serde_json::from_value(log["entries"][3]["record"].clone()).unwrap();
    assert_eq!(record.verdict, Verdict::KeepRunning);
    let report = get(&sidecar, "experiments/trial").await;
    assert_eq!(report["state"], json!(State::Stopped));
    sidecar.stop().await;
}
