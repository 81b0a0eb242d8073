//! Labels through a running sidecar, its terminal and its data directory.

use std::fs;

use serde_json::{Value, json};
use understudy::experiment::{Judges, Share};

use crate::alpaca::recording::Recording;
use crate::alpaca::stage::{NAME, Stage};
use crate::harness;
use crate::harness::provider::{Answer, Provider};
use crate::harness::sidecar::{Sidecar, asking, config, experiment, whole};
use crate::{process, shared};

async fn get(sidecar: &Sidecar, path: &str) -> Value {
    whole(sidecar.client.get(format!("{}/api/v1/{path}", sidecar.admin))).await.json()
}

async fn give(sidecar: &Sidecar, body: &Value) -> (u16, Value) {
    let url = format!("{}/api/v1/experiments/trial/labels", sidecar.admin);
    let reply = whole(sidecar.client.post(url).body(body.to_string())).await;
    (reply.status, reply.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_people_judge_a_pair_waits_for_its_label_and_the_label_is_the_score() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    alpha.always(Answer::saying("the old answer"));
    beta.always(Answer::saying("the new answer"));
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let mut trial = experiment("alpha/m", "beta/n", Share::ALL, Share::NONE);
    trial.evaluate.judge = Judges::People;
    config.experiments = vec![trial];
    let sidecar = Sidecar::start(config).await;
    for number in 0..4 {
        sidecar.ask(asking("alpha/m", &format!("question {number}"), false)).await;
    }
    harness::until("whole pairs", || sidecar.funnel("whole") == 4).await;
    let list = get(&sidecar, "experiments/trial/labels").await;
    assert_eq!((&list["labelled"], &list["left"]), (&json!(0), &json!(4)), "{list}");
    let pairs = list["pairs"].as_array().unwrap().clone();
    assert!(pairs[0]["prompt"][0]["text"].as_str().unwrap().starts_with("question "));
    // Whoever prefers the new answer names the side that it is on.
    for (pair, wanted) in pairs.iter().zip(["new", "new", "old"]) {
        let is_a = pair["a"].as_str().unwrap().contains(wanted);
        let prefers = if is_a { "a" } else { "b" };
        let body = json!({"pair": pair["pair"], "candidate": "next", "prefers": prefers});
        assert_eq!(give(&sidecar, &body).await.0, 200);
    }
    harness::until("scores", || sidecar.funnel("scored") == 3).await;
    let sidecar = sidecar.restart(|_| {}).await;
    let report = get(&sidecar, "experiments/trial").await;
    let view = &report["candidates"]["next"];
    assert_eq!((&view["pairs"], &view["wins"], &view["losses"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!(report["judge"]["target"], "human");
    let list = get(&sidecar, "experiments/trial/labels").await;
    assert_eq!((&list["labelled"], &list["left"]), (&json!(3), &json!(1)), "{list}");
    for (body, told) in [
        (json!({"pair": "x", "candidate": "next", "prefers": "a"}), "32 hex digits"),
        (json!({"pair": pairs[0]["pair"], "candidate": "none", "prefers": "a"}), "no candidate"),
        (json!({"pair": "00".repeat(16), "candidate": "next", "prefers": "a"}), "has no pair"),
        (json!({"pair": pairs[0]["pair"], "candidate": "next", "prefers": "both"}), "prefers"),
    ] {
        let (status, said) = give(&sidecar, &body).await;
        let said = said["error"]["message"].as_str().unwrap();
        assert!(status >= 400 && said.contains(told), "{status} {said}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn labels_count_at_once_and_after_a_restart_and_summaries_add_up() {
    let Some(folder) = shared::data("alpacaeval/v2_weighted") else { return };
    let recording = Recording::read(&folder.join("FuseChat-Llama-3.2-3B-Instruct.jsonl.gz"));
    let mut stage = Stage::start(&recording, &[], json!({})).await;
    let rows: Vec<usize> = (0..40).collect();
    stage.client.ask(stage.sidecar.listen, &rows, |_| {}).await;
    assert_eq!(stage.settle(40).await, 40, "{}", stage.report());
    let admin = stage.sidecar.admin.to_string();
    let args = ["experiment", "label", NAME, "--by", "ann", "--admin", &admin];
    let said = process::told(stage.dir.path(), args, "a\nb\nperhaps\ntie\ns\nq\n");
    assert!(said.contains("please answer a, b, tie, skip or quit"), "{said}");
    assert!(said.contains("3 labelled, 1 skipped"), "{said}");
    let args = ["experiment", "label", NAME, "--json", "--admin", &admin];
    let listed = process::json(stage.dir.path(), args);
    let shown: Vec<&String> = listed["pairs"][0].as_object().unwrap().keys().collect();
    assert_eq!(shown, ["pair", "candidate", "prompt", "a", "b"], "nothing tells whose is which");
    let labels = |report: &Value| report["candidates"]["candidate"]["labels"].as_u64().unwrap();
    assert_eq!(labels(&stage.report()), 3);
    let summary = stage.summary().await;
    assert!(stage.sidecar.process.terminate().await.success());
    // On the data directory, while no sidecar runs.
    let elsewhere = ["--admin", "127.0.0.1:1", "--data-dir", "data", "--limit", "2"];
    let args = ["experiment", "label", NAME].into_iter().chain(elsewhere);
    let said = process::told(stage.dir.path(), args, "a\na\na\n");
    assert!(said.contains("2 labelled"), "{said}");
    let stored = stage.stored_report();
    assert_eq!(labels(&stored), 5, "{stored}");
    // The summary of before is its own, and older; under another name it is another sidecar's.
    let file = stage.dir.path().join("other.json");
    let together = |summary: &Value| {
        fs::write(&file, summary.to_string()).unwrap();
        let elsewhere = ["--admin", "127.0.0.1:1", "--data-dir", "data"];
        let args = ["experiment", "report", NAME, "--json", "--with", "other.json"];
        process::json(stage.dir.path(), args.into_iter().chain(elsewhere))
    };
    let same = together(&summary);
    assert_eq!((&same["replicas"], labels(&same)), (&json!(1), 5));
    assert_eq!(same["candidates"], stored["candidates"]);
    let mut other = summary;
    other["replica"] = json!("another");
    let both = together(&other);
    assert_eq!((&both["replicas"], labels(&both)), (&json!(2), 8));
    assert_eq!(both["candidates"]["candidate"]["pairs"], 80);
}
