//! Where the requests come from: batches, exports, a running sidecar, its data directory.

use std::fs;

use serde_json::{Value, json};

use super::stage::Stage;
use super::{NEARLY_EQUAL, recording};
use crate::process::{self, Sidecar};

#[tokio::test]
async fn questions_and_answers_may_be_two_files_and_what_is_not_controls_is_asked() {
    let Some(recording) = recording(NEARLY_EQUAL, 12) else { return };
    let stage = Stage::start(&recording, &[], json!({})).await;
    let mut lines: Vec<Value> = (0..10).map(|row| stage.asks(row)).collect();
    // The same prompt again, two for other models, and something that is no chat.
    lines.push(stage.asks(0));
    let mut other = stage.asks(10);
    other["body"]["model"] = json!("recorded/another");
    lines.push(other);
    let mut unknown = stage.asks(11);
    unknown["body"]["model"] = json!("nobody/knows");
    lines.push(unknown);
    let mut embedding = stage.asks(11);
    embedding["url"] = json!("/v1/embeddings");
    embedding["body"] = json!({"model": "m", "input": "a"});
    lines.push(embedding);
    let text = |lines: &[Value]| {
        lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\nnot json\n"
    };
    stage.write("questions.jsonl", &text(&lines));
    let mut answers: Vec<Value> = (0..8).map(|row| stage.answers(row)).collect();
    answers[0]["response"]["body"]["model"] = json!("a-third-model");
    answers[1]["response"]["status_code"] = json!(500);
    answers.push(stage.answers(11));
    answers[8]["custom_id"] = json!("nobody asked");
    stage.write("answers.jsonl", &text(&answers));
    let ran = stage.backtest(&["--from", "questions.jsonl", "--answers", "answers.jsonl"]);
    let report = ran.report();
    let about = &report["backtest"];
    assert_eq!(about["requests"], 14, "{}", ran.told);
    let why = json!({"duplicate": 1, "not_chat": 1, "route": 2});
    assert_eq!(about["passed_over"], why);
    let counts = ["taken", "recorded", "others_answers", "unasked", "wrong"].map(|k| &about[k]);
    assert_eq!(counts, [&json!(10), &json!(6), &json!(2), &json!(1), &json!(2)]);
    assert!(ran.told.contains("questions.jsonl:15: "), "{}", ran.told);
    assert_eq!(report["candidates"]["candidate"]["pairs"], 10);
    assert_eq!(stage.asked_of(&recording.control).await, 4, "for whom nothing is recorded");
}

#[tokio::test]
async fn what_the_sidecar_stored_is_run_over_while_it_runs_and_when_it_does_not() {
    let Some(recording) = recording(NEARLY_EQUAL, 20) else { return };
    let stage = Stage::start(&recording, &[], json!({})).await;
    let http = process::client();
    // Nobody takes part yet, so that the copies are those of the backtest.
    let text = fs::read_to_string(stage.path().join("experiments/alpaca.json")).unwrap();
    let mut definition: Value = serde_json::from_str(&text).unwrap();
    definition["status"] = json!("draft");
    stage.write("experiments/alpaca.json", &definition.to_string());
    let mut sidecar = Sidecar::start(stage.path(), "serve.log", &http, []).await;
    for row in 0..recording.rows.len() {
        let mut body = stage.asks(row)["body"].clone();
        body["stream"] = json!(row % 2 == 1);
        let url = format!("http://{}/v1/chat/completions", sidecar.listen);
        let sent = http.post(url).header("content-type", "application/json");
        let answer = sent.body(body.to_string()).send().await.unwrap();
        assert!(answer.status().is_success());
        answer.bytes().await.unwrap();
    }
    let admin = sidecar.admin.to_string();
    let running = stage.backtest(&["--admin", &admin]);
    let pairs = |ran: &super::stage::Ran| ran.report()["candidates"]["candidate"]["pairs"].clone();
    assert_eq!(pairs(&running), 20, "{}", running.told);
    assert_eq!(running.report()["backtest"]["recorded"], 20);
    assert_eq!(stage.asked_of(&recording.control).await, 20, "by the application, and no more");
    assert!(sidecar.process.terminate().await.success());
    // The same requests from the directory, as if there had been no backtest.
    let stored = stage.backtest(&["--fresh"]);
    assert_eq!(super::result(&stored.report()), super::result(&running.report()));
    assert!(stored.told.contains("are forgotten"), "{}", stored.told);
    // And as a file.
    let export = stage.run(&["cache", "export", "export.jsonl"]);
    assert_eq!(export.code, 0, "{}", export.told);
    let file = stage.backtest(&["--from", "export.jsonl"]);
    assert_eq!(super::result(&file.report()), super::result(&running.report()));
    assert!(file.told.contains("the requests are others"), "{}", file.told);
    assert_eq!(stage.asked_of(&recording.control).await, 20);
    // What cannot be mixed begins anew, and says why.
    definition["decide"] = json!({"goal": "superior"});
    stage.write("experiments/alpaca.json", &definition.to_string());
    let redefined = stage.backtest(&["--from", "export.jsonl"]);
    assert!(redefined.told.contains("the definition changed: goal"), "{}", redefined.told);
}

#[tokio::test]
async fn headers_that_are_not_recorded_are_given() {
    let Some(recording) = recording(NEARLY_EQUAL, 5) else { return };
    let stage = Stage::start(&recording, &[], json!({})).await;
    let text = fs::read_to_string(stage.path().join("experiments/alpaca.json")).unwrap();
    let mut definition: Value = serde_json::from_str(&text).unwrap();
    definition["match"]["headers"] = json!({"x-app": "support"});
    stage.write("experiments/alpaca.json", &definition.to_string());
    let from = stage.requests(0..5);
    let without = stage.backtest(&["--from", &from]);
    assert_eq!(without.code, 2);
    assert!(without.told.contains("give it with --header"), "{}", without.told);
    let with = stage.backtest(&["--from", &from, "--header", "x-app: support"]);
    assert_eq!(with.report()["candidates"]["candidate"]["pairs"], 5, "{}", with.told);
}
