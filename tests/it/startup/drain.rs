//! SIGTERM: open answers finish, new ones are turned away, and nothing lasts longer than allowed.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

use super::FREE;
use crate::harness::client;
use crate::harness::process::Process;
use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::asking;
use crate::harness::until;
use crate::harness::within;

/// A running program with a scripted provider, and a stream whose first piece has arrived.
struct Scene {
    _dir: TempDir,
    process: Process,
    data: String,
    admin: String,
    client: reqwest::Client,
    response: reqwest::Response,
    first: String,
}

async fn open(provider: &Provider, drain: &str) -> Scene {
    let dir = TempDir::new().unwrap();
    let url = provider.base_url();
    let config = serde_json::json!({
        "providers": {"alpha": {"base_url": url}}, "limits": {"drain": drain},
    });
    fs::write(dir.path().join("understudy.yaml"), config.to_string()).unwrap();
    let args = [&["serve"], &FREE[..]].concat();
    let mut process = Process::start(dir.path(), &args, &[]);
    let (data, admin) = (process.address("listen"), process.address("admin"));
    // A new connection for each question: kept ones could hide that no one listens any more.
    let client = client().pool_max_idle_per_host(0).build().unwrap();
    let request = client.post(format!("http://{data}/v1/chat/completions"));
    let request = request.body(asking("alpha/m", "x", true));
    let mut response = within("the head", request.send()).await.unwrap();
    let first = within("the first piece", response.chunk()).await.unwrap().unwrap();
    let first = String::from_utf8_lossy(&first).into_owned();
    Scene { _dir: dir, process, data, admin, client, response, first }
}

impl Scene {
    async fn ready(&self) -> u16 {
        let request = self.client.get(format!("http://{}/readyz", self.admin)).send();
        within("readiness", request).await.map_or(0, |response| response.status().as_u16())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_finishes_after_sigterm_while_the_process_says_it_is_not_ready() {
    let provider = Provider::start().await;
    let gate = Gate::new();
    let rest = [vec![delta("one"), Step::Wait(gate.clone()), delta("two")], ending()].concat();
    provider.expect(Answer::stream(rest));
    let mut scene = open(&provider, "15s").await;
    assert_eq!(scene.ready().await, 200);
    scene.process.terminate();
    scene.process.wait_for("that it stops", |output| output.contains("stopping").then_some(()));
    assert_eq!(scene.ready().await, 503);
    let models = scene.client.get(format!("http://{}/v1/models", scene.data)).send();
    assert!(within("a refusal", models).await.is_err_and(|error| error.is_connect()));
    gate.open();
    let mut body = scene.first.clone();
    while let Some(piece) = within("the rest", scene.response.chunk()).await.unwrap() {
        body.push_str(&String::from_utf8_lossy(&piece));
    }
    assert!(body.contains("two") && body.ends_with("data: [DONE]\n\n"), "{body}");
    let ended = scene.process.end();
    println!("{}", ended.output);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(!ended.output.contains("grace period"), "{}", ended.output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_outlasts_the_drain_limit_breaks_and_the_process_ends_in_order() {
    let provider = Provider::start().await;
    provider.expect(Answer::stream(vec![delta("one"), Step::Hang]));
    let mut scene = open(&provider, "1s").await;
    let began = Instant::now();
    scene.process.terminate();
    let mut body = scene.first.clone();
    let broke = loop {
        match within("the end", scene.response.chunk()).await {
            Ok(Some(piece)) => body.push_str(&String::from_utf8_lossy(&piece)),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broke || body.contains("\"error\""), "it looks complete: {body}");
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    let ended = scene.process.end();
    println!("ended after {:?}, broke: {broke}\n{}", began.elapsed(), ended.output);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains("grace period"), "{}", ended.output);
    until("the call's end", || provider.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let provider = Provider::start().await;
    provider.expect(Answer::stream(vec![delta("one"), Step::Hang]));
    let mut scene = open(&provider, "1m").await;
    scene.process.terminate();
    scene.process.wait_for("that it stops", |output| output.contains("stopping").then_some(()));
    scene.process.terminate();
    let ended = scene.process.end();
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    until("the call's end", || provider.open() == 0).await;
}
