//! Money, rates and providers that want to be left alone.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::stage::{NAME, Ran, Stage};
use super::{NEARLY_EQUAL, recording};
use crate::process::{self, Provider};

/// Simulated models under names that have a price, and requests for them.
async fn priced(rows: usize) -> (TempDir, Provider) {
    let dir = tempfile::tempdir().unwrap();
    let personas = json!({"personas": {
        "gpt-4o": {"quality": 0.7, "varies": true}, "gpt-4o-mini": {"quality": 0.7, "varies": true},
        "gpt-4.1": {"judge": true},
    }});
    fs::write(dir.path().join("simulate.yaml"), personas.to_string()).unwrap();
    let provider = Provider::start(dir.path(), ["--config", "simulate.yaml"]).await;
    let config = json!({
        "data_dir": "data", "admin": "127.0.0.1:1",
        "providers": {"openai": {"base_url": provider.base_url, "auth": "none"}},
    });
    fs::write(dir.path().join("understudy.yaml"), config.to_string()).unwrap();
    let experiment = json!({
        "experiment": NAME,
        "match": {"model": "gpt-4o"},
        "control": {"target": "openai/gpt-4o"},
        "candidates": {"candidate": {"target": "openai/gpt-4o-mini"}},
        "traffic": {"shadow": 1},
        "evaluate": {"judge": {"target": "openai/gpt-4.1"}},
        "decide": {"goal": "superior", "margin": 0.001},
    });
    fs::create_dir(dir.path().join("experiments")).unwrap();
    fs::write(dir.path().join("experiments/a.json"), experiment.to_string()).unwrap();
    let asks = (0..rows).map(|row| {
        let content = format!("Order {row} has not arrived. Can I get my money back?");
        json!({
            "custom_id": row.to_string(), "method": "POST", "url": "/v1/chat/completions",
            "body": {
                "model": "gpt-4o", "max_tokens": 200,
                "messages": [{"role": "user", "content": content}],
            },
        })
        .to_string()
    });
    let lines: Vec<String> = asks.collect();
    fs::write(dir.path().join("requests.jsonl"), lines.join("\n")).unwrap();
    (dir, provider)
}

#[tokio::test]
async fn it_stops_before_the_limit_and_goes_on_when_the_limit_is_raised() {
    let (dir, _provider) = priced(80).await;
    let run = |usd: &str| {
        let args = ["backtest", NAME, "--json", "--all", "--from", "requests.jsonl", "--max-usd"];
        let args = args.into_iter().chain([usd]);
        Ran::of(&process::command(dir.path(), args).output().unwrap())
    };
    let first = run("0.1");
    let report: Value = first.report();
    assert_eq!((first.code, &report["backtest"]["ended"]), (3, &json!("spent")), "{}", first.told);
    assert!(first.told.contains("stopped before the limit"), "{}", first.told);
    let spent = report["backtest"]["spent_usd"].as_f64().unwrap();
    assert!((0.02..=0.1).contains(&spent), "{spent}: {}", first.told);
    let settled = report["backtest"]["settled"].as_u64().unwrap();
    assert!(settled < 80, "{settled}");
    let told =
        report["cost_usd"].as_f64().unwrap() + report["copies"]["total_usd"].as_f64().unwrap();
    assert!((told - spent).abs() < 1e-9, "{told}, {spent}");
    let second = run("100");
    let report = second.report();
    assert_eq!(report["candidates"]["candidate"]["pairs"], 80, "{}", second.told);
    assert_eq!(report["backtest"]["ended"], "complete");
}

#[tokio::test]
async fn a_provider_that_wants_to_be_left_alone_is_waited_for() {
    let Some(recording) = recording(NEARLY_EQUAL, 40) else { return };
    let fault = format!("status=429,retry_after=1,every=15,model={}", recording.candidate);
    let stage = Stage::start(&recording, &["--fault", &fault], json!({})).await;
    let from = stage.requests(0..40);
    let ran = stage.backtest(&["--from", &from, "--concurrency", "4"]);
    let report = ran.report();
    assert_eq!(report["candidates"]["candidate"]["pairs"], 40, "{}", ran.told);
    assert_eq!(report["funnel"]["lost"], json!({}));
    assert!(stage.asked_of(&recording.candidate).await > 40, "some were refused first");
}

#[tokio::test]
async fn it_keeps_to_a_rate() {
    let Some(recording) = recording(NEARLY_EQUAL, 30) else { return };
    let stage = Stage::start(&recording, &[], json!({})).await;
    let from = stage.requests(0..30);
    let began = std::time::Instant::now();
    let ran = stage.backtest(&["--from", &from, "--rate", "10"]);
    assert_eq!(ran.report()["candidates"]["candidate"]["pairs"], 30);
    // Ten at once, and two seconds for the others.
    assert!(began.elapsed().as_secs_f64() > 1.9, "{:?}", began.elapsed());
}
