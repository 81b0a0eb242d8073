//! Each fault as a client sees it.

use std::time::{Duration, Instant};

use serde_json::json;
use understudy::simulate::{Settings, Simulator};

use super::{Bench, question, seeded, with};

const TEXT: &str = "one two three four five six seven eight nine ten";

async fn bench() -> Bench {
    Bench::start(seeded(1)).await
}

fn streamed() -> serde_json::Value {
    with(question("echo", TEXT), json!({"stream": true}))
}

#[tokio::test]
async fn a_status_comes_with_its_error_body_and_retry_after() {
    let bench = bench().await;
    for (status, kind) in
        [(429, "requests"), (500, "server_error"), (503, "server_error"), (529, "overloaded_error")]
    {
        let fault = format!("status={status},retry_after=2");
        let answer = bench.ask_with_fault(&streamed(), &fault).await.unwrap();
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (status, &json!(kind)));
        assert_eq!(answer.headers["retry-after"], "2");
    }
    let answer = bench.ask_with_fault(&streamed(), "status=500").await.unwrap();
    assert!(!answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_cut_stream_breaks_after_its_chunks_without_an_end() {
    let bench = bench().await;
    for after in [0, 1, 4, 9999] {
        let request = bench.request(&streamed()).header("x-simulate-fault", format!("cut={after}"));
        let mut response = request.send().await.unwrap();
        let mut read = String::new();
        let broken = loop {
            match response.chunk().await {
                Ok(Some(bytes)) => read.push_str(std::str::from_utf8(&bytes).unwrap()),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(broken, "the client notices that the stream is cut");
        assert!(!read.contains("[DONE]") && !read.contains("\"finish_reason\":\"stop\""));
        if after < 9999 {
            assert_eq!(read.matches("data: ").count(), after);
        }
    }
    assert!(bench.ask_with_fault(&question("echo", TEXT), "cut").await.is_err());
}

#[tokio::test]
async fn a_dropped_connection_gives_no_answer_at_all() {
    let error = bench().await.ask_with_fault(&streamed(), "drop").await.err().unwrap();
    assert!(error.is_request() && error.status().is_none(), "{error:?}");
}

#[tokio::test]
async fn a_stall_pauses_and_then_goes_on() {
    let bench = bench().await;
    for body in [streamed(), question("echo", TEXT)] {
        let start = Instant::now();
        let answer = bench.ask_with_fault(&body, "stall=2,for=80ms").await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(80));
        let text = if body["stream"] == true { answer.streamed_text() } else { answer.text() };
        assert_eq!(text, TEXT);
    }
}

#[tokio::test]
async fn a_hang_answers_nothing_and_then_closes() {
    let bench = bench().await;
    let start = Instant::now();
    assert!(bench.ask_with_fault(&streamed(), "hang=50ms").await.is_err());
    assert!(start.elapsed() >= Duration::from_millis(50));
    let request = bench.request(&streamed()).header("x-simulate-fault", "hang");
    let error = request.timeout(Duration::from_millis(50)).send().await.err().unwrap();
    assert!(error.is_timeout(), "{error:?}");
    // The client has left; the simulator must notice without waiting out the hang.
    for _ in 0..1000 {
        if bench.simulator.counters().abandoned == 1 {
            return;
        }
        bench.get("/livez").await;
    }
    panic!("{:?}", bench.simulator.counters());
}

#[tokio::test]
async fn a_malformed_answer_is_broken_json_under_status_200() {
    let bench = bench().await;
    let answer = bench.ask_with_fault(&question("echo", TEXT), "malformed").await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_str::<serde_json::Value>(&answer.body).is_err());
    let answer = bench.ask_with_fault(&streamed(), "malformed=2").await.unwrap();
    let events: Vec<&str> = answer.body.split("\n\n").filter(|e| !e.is_empty()).collect();
    let good = |event: &&str| {
        let data = event.strip_prefix("data: ").unwrap();
        data == "[DONE]" || serde_json::from_str::<serde_json::Value>(data).is_ok()
    };
    let bad: Vec<usize> = (0..events.len()).filter(|n| !good(&events[*n])).collect();
    assert_eq!(bad, [2]);
}

#[tokio::test]
async fn a_stream_without_done_has_all_text_but_never_says_that_it_is_complete() {
    let answer = bench().await.ask_with_fault(&streamed(), "no_done").await.unwrap();
    assert_eq!(answer.streamed_text(), TEXT);
    assert!(!answer.body.contains("[DONE]") && !answer.body.contains("\"stop\""));
}

#[tokio::test]
async fn an_error_in_a_stream_comes_under_status_200() {
    let bench = bench().await;
    let answer = bench.ask_with_fault(&streamed(), "error_in_stream=2").await.unwrap();
    let chunks = answer.chunks();
    assert_eq!((answer.status, chunks.len()), (200, 3));
    assert_eq!(chunks[2]["error"]["type"], "server_error");
    assert!(!answer.body.contains("[DONE]"));
    let whole = bench.ask_with_fault(&question("echo", TEXT), "error_in_stream").await.unwrap();
    assert_eq!(whole.status, 500);
}

#[tokio::test]
async fn a_flood_has_the_size_asked_for() {
    let bench = bench().await;
    let whole = bench.ask_with_fault(&question("echo", TEXT), "huge=3MiB").await.unwrap();
    assert_eq!(whole.text().len(), 3 << 20);
    let stream = bench.ask_with_fault(&streamed(), "huge=200KiB").await.unwrap();
    assert_eq!(stream.streamed_text().len(), 200 << 10);
}

#[tokio::test]
async fn a_bad_fault_header_is_refused_and_says_why() {
    let answer = bench().await.ask_with_fault(&streamed(), "explode").await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("explode"));
}

#[tokio::test]
async fn configured_faults_strike_by_count_model_and_share() {
    let faults = [
        "status=503,first=2,model=a",
        "status=429,every=3,model=b",
        "status=500,share=30%,model=c",
    ];
    let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    let settings = Settings { faults, ..seeded(4) };
    let mut runs = Vec::new();
    for _ in 0..2 {
        let bench = Bench::start(settings.clone()).await;
        let mut run = Vec::new();
        for model in ["a", "b", "c", "d"] {
            for _ in 0..60 {
                run.push(bench.ask(&question(model, "hi")).await.status);
            }
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1], "a run repeats");
    let of = |n: usize| &runs[0][n * 60..(n + 1) * 60];
    assert_eq!(of(0)[..3], [503, 503, 200]);
    assert!(of(0)[3..].iter().all(|status| *status == 200));
    let thirds = of(1).iter().enumerate().all(|(n, status)| (*status == 429) == (n % 3 == 2));
    assert!(thirds, "{:?}", of(1));
    let failed = of(2).iter().filter(|status| **status == 500).count();
    assert!((8..=30).contains(&failed), "a repeated body is drawn anew: {failed} of 60");
    assert!(of(3).iter().all(|status| *status == 200));
}

#[tokio::test]
async fn shutdown_ends_requests_that_would_never_end() {
    let bench = bench().await;
    let request = bench.request(&streamed()).header("x-simulate-fault", "hang").send();
    let waiting = tokio::spawn(request);
    while bench.simulator.counters().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let Bench { simulator, .. } = bench;
    let start = Instant::now();
    Simulator::shutdown(simulator).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(waiting.await.unwrap().is_err());
}
