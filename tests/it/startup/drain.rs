//! SIGTERM: open answers finish, new ones are turned away, and nothing lasts longer than allowed.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
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
    let config = json!({
        "providers": {"alpha": {"base_url": url}}, "limits": {"drain": drain},
    });
    fs::write(dir.path().join("understudy.yaml"), config.to_string()).unwrap();
    let args = [&["serve"], &FREE[..]].concat();
    let mut process = Process::start(dir.path(), &args, &[]);
    let (data, admin) = (process.address("listen"), process.address("admin"));
    // A new connection for each question: kept ones could hide that no one listens any more.
    let client = client().pool_max_idle_per_host(0).build().unwrap();
    let response = ask(&client, &data, "/v1/chat/completions", true).await;
    let mut response = response.unwrap();
    let first = within("the first piece", response.chunk()).await.unwrap().unwrap();
    let first = String::from_utf8_lossy(&first).into_owned();
    Scene { _dir: dir, process, data, admin, client, response, first }
}

/// The head of the answer; every path asks the same in its own words.
async fn ask(
    client: &reqwest::Client,
    data: &str,
    path: &str,
    stream: bool,
) -> reqwest::Result<reqwest::Response> {
    let body = match path {
        "/v1/messages" => json!({
            "model": "alpha/m", "max_tokens": 9, "stream": stream,
            "messages": [{"role": "user", "content": "x"}],
        })
        .to_string(),
        _ => asking("alpha/m", "x", stream),
    };
    let request = client.post(format!("http://{data}{path}")).body(body);
    within("the head", request.send()).await
}

/// All that comes; it has to end as HTTP ends a body.
async fn rest(response: &mut reqwest::Response) -> String {
    let mut body = String::new();
    while let Some(piece) = within("the rest", response.chunk()).await.unwrap() {
        body.push_str(&String::from_utf8_lossy(&piece));
    }
    body
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
    let steps = [vec![delta("one"), Step::Wait(gate.clone()), delta("two")], ending()].concat();
    provider.expect(Answer::stream(steps));
    let mut scene = open(&provider, "15s").await;
    assert_eq!(scene.ready().await, 200);
    scene.process.terminate();
    scene.process.wait_for("that it stops", |output| output.contains("stopping").then_some(()));
    assert_eq!(scene.ready().await, 503);
    let models = scene.client.get(format!("http://{}/v1/models", scene.data)).send();
    assert!(within("a refusal", models).await.is_err_and(|error| error.is_connect()));
    gate.open();
    let body = rest(&mut scene.response).await;
    assert!(body.contains("two") && body.ends_with("data: [DONE]\n\n"), "{body}");
    let ended = scene.process.end();
    println!("{}", ended.output);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(!ended.output.contains("grace period"), "{}", ended.output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlasts_the_drain_limit_is_told_so_in_its_dialect_and_the_process_ends_in_order() {
    let provider = Provider::start().await;
    provider.expect(Answer::stream(vec![delta("one"), Step::Hang]));
    let mut scene = open(&provider, "1s").await;
    // The same request again shares the call; another dialect makes its own.
    let (client, data) = (scene.client.clone(), scene.data.clone());
    let mut shared = ask(&client, &data, "/v1/chat/completions", true).await.unwrap();
    provider.expect(Answer::stream(vec![delta("one"), Step::Hang]));
    let mut translated = ask(&client, &data, "/v1/messages", true).await.unwrap();
    provider.expect(Answer::stream(vec![Step::Hang]));
    let whole = tokio::spawn(async move { ask(&client, &data, "/v1/messages", false).await });
    until("the last call", || provider.count() == 3).await;
    let began = Instant::now();
    scene.process.terminate();
    let own = format!("{}{}", scene.first, rest(&mut scene.response).await);
    let told = "understudy: the process was told to end";
    for (which, body) in [("own", own), ("shared", rest(&mut shared).await)] {
        let last = body.trim_end().rsplit("\n\n").next().unwrap();
        let error = last.strip_prefix("data: ").map(serde_json::from_str::<Value>);
        let error = &error.unwrap_or_else(|| panic!("{which}: {body}")).unwrap()["error"];
        assert!(error["message"].as_str().unwrap().starts_with(told), "{which}: {body}");
        assert!(body.contains("one") && !body.contains("[DONE]"), "{which}: {body}");
    }
    let body = rest(&mut translated).await;
    let last = body.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("event: error\n") && last.contains(told), "{body}");
    assert!(!body.contains("message_stop"), "{body}");
    let whole = whole.await.unwrap().unwrap();
    assert_eq!(whole.status(), 503);
    let body: Value = serde_json::from_slice(&whole.bytes().await.unwrap()).unwrap();
    assert_eq!(body["type"], json!("error"), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().starts_with(told), "{body}");
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    let ended = scene.process.end();
    println!("ended after {:?}\n{}", began.elapsed(), ended.output);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains("grace period"), "{}", ended.output);
    until("the calls' end", || provider.open() == 0).await;
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
