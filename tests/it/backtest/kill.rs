//! `kill -9` in the middle of a backtest: gone on with, it ends as if nothing had happened.

use std::process::Child;
use std::time::Duration;

use serde_json::json;

use super::stage::{Ran, Stage};
use super::{NEARLY_EQUAL, recording, result};

/// Copies under way at once.
const CONCURRENCY: u64 = 8;
/// Judge calls under way at once, as by default, in both orders.
const JUDGED: u64 = 2 * 16;
/// Copies lost at a kill for each that was under way: itself, and the one before it, whose answer
/// had left its place but was not on disk yet.
const LOST: u64 = 2;

/// Waits until the provider was asked so often for the candidate, then a little longer.
async fn kill_at(stage: &Stage<'_>, child: &mut Child, asked: u64, after: Duration) {
    while stage.asked_of(&stage.recording.candidate).await < asked {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(after).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn check(rows: usize, seed: u64) {
    let Some(recording) = recording(NEARLY_EQUAL, rows) else { return };
    let timing = ["--latency", "10ms..60ms"];
    let decide = json!({"goal": "superior", "margin": 0.01, "max_pairs": 20_000});
    let stage = Stage::start(&recording, &timing, decide).await;
    let from = stage.requests(0..rows);
    let concurrency = CONCURRENCY.to_string();
    let args = |data: &'static str| {
        ["--from", &from, "--data-dir", data, "--concurrency", &concurrency].map(str::to_owned)
    };
    let whole = args("whole");
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    let uninterrupted = stage.backtest(&whole);
    let rows = rows as u64;
    let once = stage.asked().await;
    assert_eq!(stage.asked_of(&recording.candidate).await, rows, "{}", uninterrupted.told);

    let mut random = fastrand::Rng::with_seed(seed);
    let mut moments: Vec<u64> = (0..2).map(|_| random.u64(rows / 20..rows * 19 / 20)).collect();
    moments.sort_unstable();
    let killed = args("killed");
    let killed: Vec<&str> = killed.iter().map(String::as_str).collect();
    for moment in &moments {
        let mut child = stage.begin(&killed);
        let after = Duration::from_micros(random.u64(..50_000));
        // What was asked anew after the first kill counts, too.
        kill_at(&stage, &mut child, rows + moment, after).await;
    }
    let child = stage.begin(&killed);
    let ended = Ran::of(&child.wait_with_output().unwrap());
    println!("killed after {moments:?} of {rows} copies: {}", ended.told);
    let (one, other) = (uninterrupted.report(), ended.report());
    assert_eq!(result(&other), result(&one));
    assert_eq!(ended.code, uninterrupted.code);
    // Whoever was asked before a kill is not asked again where the reply is remembered.
    let judged = |report: &serde_json::Value| {
        let mut judge = report["judge"].clone();
        let calls = judge["by_candidate"]["candidate"]["calls"].take().as_u64().unwrap();
        (judge, calls)
    };
    let ((one_judge, one_calls), (other_judge, other_calls)) = (judged(&one), judged(&other));
    assert_eq!(other_judge, one_judge, "the judge's every verdict is the same");
    assert!(other_calls <= one_calls, "{other_calls}, not {one_calls}");
    let candidate = stage.asked_of(&recording.candidate).await - rows;
    let all = stage.asked().await - once;
    println!("asked {all} times in place of {once}, the candidate {candidate} in place of {rows}");
    let kills = moments.len() as u64;
    assert!((rows..=rows + kills * LOST * CONCURRENCY).contains(&candidate), "{candidate}");
    assert!((once..=once + kills * (CONCURRENCY + JUDGED)).contains(&all), "{all}, not {once}");
    assert_eq!(stage.asked_of(&recording.control).await, 0, "its answers are recorded");
}

#[tokio::test]
async fn a_backtest_killed_twice_ends_as_one_that_was_not() {
    check(160, 11).await;
}

#[tokio::test]
#[ignore = "all 805 prompts; run it in release mode, with --nocapture to see the counts"]
async fn all_prompts_killed_twice_end_as_if_nothing_had_happened() {
    for seed in [1, 2, 3] {
        check(805, seed).await;
    }
}

#[tokio::test]
async fn an_interrupt_stops_it_cleanly_and_it_goes_on() {
    let Some(recording) = recording(NEARLY_EQUAL, 60) else { return };
    let stage = Stage::start(&recording, &["--latency", "50ms"], json!({})).await;
    let from = stage.requests(0..60);
    let child = stage.begin(&["--from", &from, "--concurrency", "4"]);
    while stage.asked_of(&recording.candidate).await < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-s", "INT", &pid]).status().unwrap();
    assert!(sent.success());
    let stopped = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!(stopped.code, 3, "{}", stopped.told);
    assert!(stopped.told.contains("the same command goes on from here"), "{}", stopped.told);
    assert_eq!(stopped.report()["backtest"]["ended"], "stopped");
    let rest = stage.backtest(&["--from", &from]);
    assert_eq!(rest.report()["candidates"]["candidate"]["pairs"], 60, "{}", rest.told);
}
