//! Experiments over recorded requests, through the real binary.
//!
//! All 805 prompts: `cargo test --release --test it backtest::kill::all -- --ignored --nocapture`

mod cost;
mod kill;
mod source;
mod stage;

use serde_json::{Value, json};

use self::stage::Stage;
use crate::alpaca::recording::Recording;
use crate::shared;

/// A recording cut to its first rows, or none where the data is not beside the checkout.
fn recording(file: &str, rows: usize) -> Option<Recording> {
    let folder = shared::data("alpacaeval/v2_weighted")?;
    let mut recording = Recording::read(&folder.join(file));
    recording.rows.truncate(rows);
    Some(recording)
}

const NEARLY_EQUAL: &str = "FuseChat-Llama-3.2-3B-Instruct.jsonl.gz";
const MUCH_WORSE: &str = "alpaca-7b.jsonl.gz";

/// What of a report hangs on nothing but the pairs.
fn result(report: &Value) -> Value {
    let view = &report["candidates"]["candidate"];
    let keys =
        ["verdict", "reason", "pairs", "win_rate", "wins", "ties", "losses", "equal", "unjudged"];
    let view: serde_json::Map<String, Value> =
        keys.into_iter().map(|key| (key.to_owned(), view[key].clone())).collect();
    let funnel = &report["funnel"];
    json!({
        "verdict": report["verdict"], "reason": report["reason"], "candidate": view,
        "whole": funnel["whole"], "scored": funnel["scored"], "unjudged": funnel["unjudged"],
        "matched": funnel["matched"], "lost": funnel["lost"],
        "settled": report["backtest"]["settled"], "ended": report["backtest"]["ended"],
    })
}

#[tokio::test]
async fn a_verdict_ends_it_early_and_gives_the_exit_code() {
    let Some(recording) = recording(MUCH_WORSE, 805) else { return };
    let stage = Stage::start(&recording, &[], json!({"goal": "non_inferior", "margin": 0.1})).await;
    let from = stage.requests(0..805);
    let early = stage.backtest(&["--from", &from]);
    assert_eq!(early.code, 1, "{}", early.said);
    let report = early.report();
    assert_eq!(
        (&report["verdict"], &report["backtest"]["ended"]),
        (&json!("do_not_ship"), &json!("decided"))
    );
    let pairs = report["candidates"]["candidate"]["pairs"].as_u64().unwrap();
    assert_eq!(pairs % 50, 0, "it looks after so many pairs");
    assert!(pairs < 300, "{pairs} pairs for a model that wins 3 %");
    assert!(early.told.contains("the verdict was there after"), "{}", early.told);
    // Started again it knows its verdict, and asks nobody.
    let asked = stage.asked().await;
    let again = stage.backtest(&["--from", &from]);
    assert_eq!((again.code, result(&again.report())), (1, result(&report)));
    assert!(again.told.contains("this goes on with the backtest begun at"), "{}", again.told);
    assert_eq!(stage.asked().await, asked);
}

#[tokio::test]
async fn a_sample_of_a_sample_is_its_beginning_and_no_verdict_is_code_3() {
    let Some(recording) = recording(NEARLY_EQUAL, 200) else { return };
    let stage = Stage::start(&recording, &[], json!({"goal": "superior"})).await;
    let from = stage.requests(0..200);
    let first = stage.backtest(&["--from", &from, "--limit", "60"]);
    assert_eq!(first.code, 3, "{}", first.said);
    assert!(first.told.contains("a sample of 60 is run"), "{}", first.told);
    assert_eq!(first.report()["candidates"]["candidate"]["pairs"], 60);
    let more = stage.backtest(&["--from", &from, "--limit", "90"]);
    assert_eq!(more.report()["candidates"]["candidate"]["pairs"], 90);
    let candidate = stage.asked_of(&recording.candidate).await;
    assert_eq!(candidate, 90, "nothing is asked twice");
    assert_eq!(stage.asked_of(&recording.control).await, 0, "control's answers are recorded");
}

#[tokio::test]
async fn what_cannot_run_is_code_2_and_says_what_to_do() {
    let Some(recording) = recording(NEARLY_EQUAL, 3) else { return };
    let stage = Stage::start(&recording, &[], json!({})).await;
    let from = stage.requests(0..3);
    for (args, wanted) in [
        (vec!["--from", "nowhere.jsonl"], "check the path"),
        (vec!["--from", from.as_str(), "--max-usd", "1"], "is not known"),
        (vec![], "no requests are recorded"),
    ] {
        let run = stage.backtest(&args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.told);
        assert!(run.told.contains(wanted), "{args:?}: {}", run.told);
    }
    let other = stage.run(&["backtest", "other"]);
    assert_eq!(other.code, 2);
    assert!(other.told.contains("there is: alpaca"), "{}", other.told);
}
