//! Published results of real judges, measured again through the real binary.
//!
//! All files, with a table: `cargo test --release --test it alpaca::every -- --ignored --nocapture`

mod kill;
mod offline;
pub mod recording;
pub mod stage;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::recording::Recording;
use self::stage::Stage;
use crate::process::Usage;
use crate::shared;

/// What one run came to; rates in percent.
struct Measured {
    win_rate: f64,
    interval: [f64; 2],
    took: Duration,
    usage: Usage,
}

/// Runs one recording and holds the report against what was published.
async fn check(recording: &Recording) -> Measured {
    let began = Instant::now();
    let mut stage = Stage::start(recording, &[], json!({})).await;
    let rows: Vec<usize> = (0..recording.rows.len()).collect();
    let mut heard = 0;
    stage.client.ask(stage.sidecar.listen, &rows, |_| heard += 1).await;
    assert_eq!(heard, rows.len(), "every prompt is answered");
    let all = rows.len() as u64;
    assert_eq!(stage.settle(all).await, all, "{}", stage.report());
    let report = stage.report();
    let usage = stage.sidecar.process.usage();
    assert!(stage.sidecar.process.terminate().await.success());
    let timeless = |report: Value| without(report, &["next", "outlook"]);
    let stored = timeless(stage.stored_report());
    assert_eq!(stored, timeless(report.clone()), "the stored report is the live one");
    assert_quiet(&stage.sidecar.process.log());
    check_funnel(&report, recording);
    let took = began.elapsed();
    let (win_rate, interval) = check_rates(&report, recording);
    Measured { win_rate, interval, took, usage }
}

/// The report without what it says of the pace, which is another one a minute later.
fn without(mut report: Value, fields: &[&str]) -> Value {
    let all = report.as_object_mut().unwrap();
    fields.iter().for_each(|field| drop(all.remove(*field)));
    report
}

/// Nothing was lost or repeated on the way from requests to scores.
fn check_funnel(report: &Value, recording: &Recording) {
    let all = recording.rows.len() as u64;
    let funnel = &report["funnel"];
    for step in ["matched", "sampled", "sent", "whole"] {
        assert_eq!(funnel[step], all, "{step} in {funnel}");
    }
    assert_eq!(funnel["scored"], recording.published.pairs, "{funnel}");
    assert_eq!(funnel["repeated"], 0, "{funnel}");
    assert_eq!(funnel["lost"], json!({}), "{funnel}");
    let unjudged = all - recording.published.pairs;
    let view = &report["candidates"]["candidate"];
    let expected = match unjudged {
        0 => json!({}),
        n => json!({ "no_verdict": n }),
    };
    assert_eq!(view["unjudged"], expected);
}

/// Counts are equal, rates to 1e-6 of a percent point; gives rate and interval in percent.
fn check_rates(report: &Value, recording: &Recording) -> (f64, [f64; 2]) {
    let published = recording.published;
    let view = &report["candidates"]["candidate"];
    let count = |key: &str| view[key].as_u64().unwrap();
    let counts = [count("pairs"), count("wins"), count("ties"), count("losses")];
    let expected = [published.pairs, published.wins, published.ties, published.losses];
    assert_eq!(counts, expected, "{}: pairs, wins, ties, losses", recording.name);
    let percent = |key: &str| 100.0 * view["win_rate"][key].as_f64().unwrap();
    let win_rate = percent("estimate");
    assert!((win_rate - published.win_rate).abs() < 1e-6, "{win_rate}, {published:?}");
    let error = percent("standard_error");
    assert!((error / published.standard_error - 1.0).abs() < 1e-6, "{error}, {published:?}");
    let [lower, upper] = [percent("lower"), percent("upper")];
    assert!((lower..=upper).contains(&published.win_rate), "{lower}..{upper}, {published:?}");
    (win_rate, [lower, upper])
}

/// A run without faults has nothing to warn of.
fn assert_quiet(log: &str) {
    let loud = |line: &&str| !line.contains(r#""level":"INFO""#);
    let loud: Vec<&str> = log.lines().filter(loud).collect();
    assert!(loud.is_empty(), "{}", loud.join("\n"));
}

async fn check_named(file: &str) {
    let Some(folder) = shared::data("alpacaeval/v2_weighted") else { return };
    check(&Recording::read(&folder.join(file))).await;
}

#[tokio::test]
async fn a_model_with_nearly_no_effect_measures_as_published() {
    check_named("FuseChat-Llama-3.2-3B-Instruct.jsonl.gz").await;
}

#[tokio::test]
async fn an_answer_that_attacks_the_judges_prompt_measures_as_published() {
    check_named("NullModel.jsonl.gz").await;
}

/// Runs a recording whose experiment may decide, and gives its report.
async fn decided(recording: &Recording, decide: Value) -> Value {
    let mut stage = Stage::deciding(recording, &[], json!({}), decide).await;
    let rows: Vec<usize> = (0..recording.rows.len()).collect();
    stage.client.ask(stage.sidecar.listen, &rows, |_| {}).await;
    stage.settle(rows.len() as u64).await;
    let report = stage.report();
    assert!(stage.sidecar.process.terminate().await.success());
    let stored = stage.stored_report();
    assert_eq!((&stored["verdict"], &stored["reason"]), (&report["verdict"], &report["reason"]));
    report
}

#[tokio::test]
async fn an_answer_that_attacks_the_judge_ends_in_review_whatever_it_is_called() {
    let Some(folder) = shared::data("alpacaeval/v2_weighted") else { return };
    let dir = tempfile::tempdir().unwrap();
    let renamed = dir.path().join("quite-a-good-model.jsonl");
    let file = std::fs::File::open(folder.join("NullModel.jsonl.gz")).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(file), &mut text).unwrap();
    let null = Recording::read(&folder.join("NullModel.jsonl.gz"));
    let text = text.replace(&format!("\"{}\"", null.candidate), "\"quite-a-good-model\"");
    std::fs::write(&renamed, text).unwrap();
    let renamed = Recording { path: renamed, candidate: "quite-a-good-model".into(), ..null };
    let report = decided(&renamed, json!({"goal": "superior"})).await;
    assert_eq!((&report["verdict"], &report["state"]), (&json!("review"), &json!("decided")));
    let reason = report["reason"].as_str().unwrap();
    assert!(["injection", "prompt_independence"].contains(&reason), "{report}");
}

#[tokio::test]
async fn a_model_that_is_clearly_worse_is_refused_by_the_running_sidecar() {
    let Some(folder) = shared::data("alpacaeval/v2_weighted") else { return };
    let recording = Recording::read(&folder.join("claude-2.jsonl.gz"));
    let decide = json!({"goal": "non_inferior", "margin": "10%"});
    let report = decided(&recording, decide).await;
    assert_eq!(report["verdict"], "do_not_ship", "{report}");
    assert_eq!(report["reason"], "candidate_worse");
}

#[tokio::test]
#[ignore = "all thirteen files; run it in release mode, with --nocapture to see the table"]
async fn every_recording_measures_as_published() {
    println!(
        "{:<48} {:>4} {:>10} {:>10} {:>9} {:>16} {:>6} {:>6} {:>5} {:>5}",
        "file", "n", "published", "measured", "diff", "interval", "s", "cpu s", "MB", "peak"
    );
    for folder in ["v2_weighted", "v1_gpt4"] {
        let Some(path) = shared::data(&format!("alpacaeval/{folder}")) else { continue };
        for recording in Recording::all(&path) {
            let measured = check(&recording).await;
            println!("{}", line(folder, &recording, &measured));
        }
    }
}

fn line(folder: &str, recording: &Recording, measured: &Measured) -> String {
    let published = recording.published;
    let [lower, upper] = measured.interval;
    let usage = measured.usage;
    format!(
        "{:<48} {:>4} {:>10.6} {:>10.6} {:>9.1e} {:>16} {:>6.1} {:>6.1} {:>5} {:>5}",
        format!("{folder}/{}", recording.name),
        published.pairs,
        published.win_rate,
        measured.win_rate,
        measured.win_rate - published.win_rate,
        format!("{lower:.3}..{upper:.3}"),
        measured.took.as_secs_f64(),
        usage.cpu.as_secs_f64(),
        usage.resident >> 20,
        usage.peak >> 20,
    )
}
