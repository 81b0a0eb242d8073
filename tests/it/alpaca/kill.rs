//! `kill -9` in the middle of a run: no pair is lost, none counts twice, the figures are the same.
//!
//! How many pairs fifty kills cost, at several speeds of the provider:
//! `cargo test --release --test it kill::fifty -- --ignored --nocapture`

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Notify;

use super::check_rates;
use super::recording::Recording;
use super::stage::Stage;
use crate::shared;

/// Kills in one run.
const KILLS: usize = 5;
/// A kill comes at most so long after the answer that it waits for, microseconds.
const AFTER_US: u64 = 20_000;

/// What a client does about answers that it had when the sidecar was killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Resend {
    /// It asks only for those it does not have.
    Missing,
    /// It begins again.
    All,
}

/// When to kill: after so many answers in this life of the sidecar, and a little later.
#[derive(Clone, Copy, Debug)]
struct Moment {
    answers: usize,
    after: Duration,
}

/// Random moments, all of which come before the last answer.
fn moments(seed: u64, resend: Resend, rows: usize) -> Vec<Moment> {
    let mut random = fastrand::Rng::with_seed(seed);
    let within = match resend {
        Resend::Missing => rows / KILLS,
        Resend::All => rows,
    };
    let moment = |_| Moment {
        answers: random.usize(1..within),
        after: Duration::from_micros(random.u64(..AFTER_US)),
    };
    (0..KILLS).map(moment).collect()
}

/// Asks everything, kills and starts the sidecar at these moments, and goes on until the client
/// has every answer.
async fn interrupt(stage: &mut Stage<'_>, moments: &[Moment], resend: Resend) {
    let rows = stage.client.recording.rows.len();
    let has = vec![Cell::new(false); rows];
    let to_ask = || (0..rows).filter(|row| resend == Resend::All || !has[*row].get()).collect();
    for moment in moments {
        let asked: Vec<usize> = to_ask();
        let (heard, enough) = (Cell::new(0), Notify::new());
        let asking = stage.client.ask(stage.sidecar.listen, &asked, |row| {
            has[row].set(true);
            heard.set(heard.get() + 1);
            if heard.get() == moment.answers.min(asked.len()) {
                enough.notify_one();
            }
        });
        // The requests under way at that moment are followed to their end, whatever it is.
        let killing = async {
            enough.notified().await;
            tokio::time::sleep(moment.after).await;
            stage.sidecar.process.kill();
        };
        tokio::join!(asking, killing);
        stage.restart().await;
    }
    let asked: Vec<usize> = to_ask();
    stage.client.ask(stage.sidecar.listen, &asked, |row| has[row].set(true)).await;
    assert!(has.iter().all(Cell::get), "every prompt is answered in the end");
}

/// One run with kills; how many pairs came to nothing.
async fn lost(recording: &Recording, timing: &[&str], seed: u64, resend: Resend) -> u64 {
    let rows = recording.rows.len();
    let moments = moments(seed, resend, rows);
    let mut stage = Stage::start(recording, timing, json!({})).await;
    interrupt(&mut stage, &moments, resend).await;
    let lost = rows as u64 - stage.settle(rows as u64).await;
    if lost == 0 {
        check_rates(&stage.report(), recording);
    }
    lost
}

fn nearly_no_effect() -> Option<Recording> {
    let folder = shared::data("alpacaeval/v2_weighted")?;
    Some(Recording::read(&folder.join("FuseChat-Llama-3.2-3B-Instruct.jsonl.gz")))
}

#[tokio::test]
async fn five_kills_and_one_more_while_judging_change_nothing() {
    let Some(recording) = nearly_no_effect() else { return };
    let all = recording.rows.len() as u64;
    let moments = moments(7, Resend::Missing, recording.rows.len());
    println!("killed at {moments:?}");
    // Answers that take longer than the promise of their pair does to reach the disk, on a machine
    // that is busy with other tests, too.
    let timing = ["--latency", "100ms..200ms", "--ttft", "50ms..100ms"];
    let mut stage = Stage::start(&recording, &timing, json!({})).await;
    interrupt(&mut stage, &moments, Resend::Missing).await;
    // From here on the client is gone, so what is left finishes by itself or never.
    let settled = stage.settled().await;
    assert!(settled < all, "nothing is left to be judged");
    println!("killed again with {settled} of {all} pairs judged");
    stage.sidecar.process.kill();
    stage.restart().await;
    assert!(stage.settled().await >= settled, "a score that was seen is gone");
    assert_eq!(stage.settle(all).await, all, "{}", stage.report());
    let report = stage.report();
    check_rates(&report, &recording);
    assert_eq!(report["funnel"]["lost"], json!({}));
    assert!(stage.sidecar.process.terminate().await.success());
    check_rates(&stage.stored_report(), &recording);
}

#[tokio::test]
async fn what_was_under_way_waits_for_room_after_a_restart() {
    let Some(recording) = nearly_no_effect() else { return };
    let limits = json!({"shadow_queue": 4, "shadow_concurrency": 4});
    let timing = ["--latency", "400ms", "--ttft", "400ms"];
    let mut stage = Stage::start(&recording, &timing, limits).await;
    // As many copies as there is room for, and as many answers, all of them unfinished.
    let rows: Vec<usize> = (0..8).collect();
    let asking = stage.client.ask(stage.sidecar.listen, &rows, |row| panic!("{row} is answered"));
    let killing = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        stage.sidecar.process.kill();
    };
    tokio::join!(asking, killing);
    stage.restart().await;
    assert_eq!(stage.settle(8).await, 8, "{}", stage.report());
}

#[tokio::test]
#[ignore = "ten minutes; run it in release mode, with --nocapture to see the table"]
async fn fifty_kills_lose_no_pair_at_the_speed_of_a_model() {
    let Some(recording) = nearly_no_effect() else { return };
    let timings: [&[&str]; 3] =
        [&[], &["--latency", "5ms", "--ttft", "5ms"], &["--latency", "50ms", "--ttft", "50ms"]];
    println!("{:<32} {:<8} {:>5} {:>5} {:>6}", "provider", "resend", "kills", "lost", "s");
    for timing in timings {
        for resend in [Resend::Missing, Resend::All] {
            let began = Instant::now();
            let mut sum = 0;
            for seed in 0..10 {
                sum += lost(&recording, timing, seed, resend).await;
            }
            let seconds = began.elapsed().as_secs_f64();
            let (timing, client) = (timing.join(" "), format!("{resend:?}"));
            println!("{timing:<32} {client:<8} {:>5} {sum:>5} {seconds:>6.1}", 10 * KILLS);
            // A faster answer than any model's can be there before its promise is in the journal;
            // such a pair is lost if the process is killed in that moment and nobody asks again.
            let is_real = resend == Resend::All || timing.starts_with("--latency 50ms");
            assert!(sum == 0 || !is_real, "{sum} pairs were lost");
        }
    }
}
