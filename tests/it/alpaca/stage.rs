//! A simulated provider and a sidecar around one recording, and a client that asks its prompts.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::recording::Recording;
use crate::process::{self, Provider, Sidecar};

/// Requests that the client has open at once.
const CONCURRENCY: usize = 32;
/// A run in which no pair is scored for so long has come to its end, wanted or not.
const STILL: Duration = Duration::from_secs(5);
/// Between two looks at the report.
const LOOK: Duration = Duration::from_millis(50);

/// The experiment's name.
pub const NAME: &str = "alpaca";

/// Both processes, the files they work on, and the client.
pub struct Stage<'r> {
    pub client: Client<'r>,
    pub sidecar: Sidecar,
    pub dir: TempDir,
    starts: u32,
    _provider: Provider,
}

/// An application that asks the prompts of a recording.
pub struct Client<'r> {
    pub recording: &'r Recording,
    http: reqwest::Client,
}

impl<'r> Stage<'r> {
    /// Starts both; `timing` goes to the provider, `limits` to the sidecar.
    pub async fn start(recording: &'r Recording, timing: &[&str], limits: Value) -> Self {
        let decide = json!({"goal": "superior", "min_pairs": 20_000, "max_pairs": 20_000});
        Self::deciding(recording, timing, limits, decide).await
    }

    /// The same with another decision to come to.
    pub async fn deciding(
        recording: &'r Recording,
        timing: &[&str],
        limits: Value,
        decide: Value,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let answers = recording.path.to_str().unwrap();
        let args = ["--answers", answers].into_iter().chain(timing.iter().copied());
        let provider = Provider::start(dir.path(), args).await;
        let config = json!({
            "providers": {"recorded": {"base_url": provider.base_url}},
            "limits": limits,
        });
        fs::write(dir.path().join("understudy.yaml"), config.to_string()).unwrap();
        fs::create_dir(dir.path().join("experiments")).unwrap();
        let definition = definition(recording, decide).to_string();
        fs::write(dir.path().join("experiments/alpaca.json"), definition).unwrap();
        let client = Client { recording, http: process::client() };
        let sidecar = Sidecar::start(dir.path(), "serve-0.log", &client.http, []).await;
        Self { client, sidecar, dir, starts: 0, _provider: provider }
    }

    /// Starts the sidecar again, on the same data.
    pub async fn restart(&mut self) {
        self.starts += 1;
        let log = format!("serve-{}.log", self.starts);
        self.sidecar = Sidecar::start(self.dir.path(), &log, &self.client.http, []).await;
    }

    /// The report, as the command prints it while the sidecar runs.
    pub fn report(&self) -> Value {
        let admin = self.sidecar.admin.to_string();
        let args = ["experiment", "report", NAME, "--json", "--admin", &admin];
        process::json(self.dir.path(), args)
    }

    /// The report that follows from the data directory alone.
    pub fn stored_report(&self) -> Value {
        // Nobody listens on port 1.
        let elsewhere = ["--admin", "127.0.0.1:1", "--data-dir", "data"];
        let args = ["experiment", "report", NAME, "--json"].into_iter().chain(elsewhere);
        process::json(self.dir.path(), args)
    }

    /// What the sidecar has counted, to be added to what others have.
    pub async fn summary(&self) -> Value {
        let url = format!("http://{}/api/v1/experiments/{NAME}/summary", self.sidecar.admin);
        let summary = self.client.http.get(url).send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&summary).unwrap()
    }

    /// Pairs scored or found unjudgeable so far.
    pub async fn settled(&self) -> u64 {
        let url = format!("http://{}/api/v1/experiments/{NAME}", self.sidecar.admin);
        let report = self.client.http.get(url).send().await.unwrap().bytes().await.unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        let view = &report["candidates"]["candidate"];
        let unjudged = view["unjudged"].as_object().unwrap().values();
        view["pairs"].as_u64().unwrap() + unjudged.map(|n| n.as_u64().unwrap()).sum::<u64>()
    }

    /// Waits until `wanted` pairs are settled, or nothing moves any more; how many are.
    pub async fn settle(&self, wanted: u64) -> u64 {
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let settled = self.settled().await;
            if settled >= wanted || moved.elapsed() > STILL {
                return settled;
            }
            if settled != last {
                (last, moved) = (settled, Instant::now());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Client<'_> {
    /// Asks the prompts of these rows, a bounded number at once, and tells `heard` of each one
    /// whose whole answer arrived; one that broke off, or that nobody took, is passed over.
    ///
    /// # Panics
    /// An answer is not the recorded one.
    pub async fn ask(&self, listen: SocketAddr, rows: &[usize], mut heard: impl FnMut(usize)) {
        let mut waiting = rows.iter().copied();
        let mut asked = JoinSet::new();
        loop {
            let room = CONCURRENCY - asked.len();
            for row in waiting.by_ref().take(room) {
                let answer = answer(self.request(listen, row), is_stream(row));
                asked.spawn(async move { (row, answer.await) });
            }
            let Some(answered) = asked.join_next().await else { return };
            let (row, answer) = answered.unwrap();
            let Some(answer) = answer else { continue };
            assert_eq!(answer, self.recording.rows[row].output, "row {row}");
            heard(row);
        }
    }

    fn request(&self, listen: SocketAddr, row: usize) -> reqwest::RequestBuilder {
        let body = json!({
            "model": format!("recorded/{}", self.recording.control),
            "messages": [{"role": "user", "content": self.recording.rows[row].instruction}],
            "stream": is_stream(row),
        });
        let request = self.http.post(format!("http://{listen}/v1/chat/completions"));
        request.header("content-type", "application/json").body(body.to_string())
    }
}

/// Every second prompt is answered as a stream.
fn is_stream(row: usize) -> bool {
    row % 2 == 1
}

/// The text of an answer; `None` when it did not arrive whole.
async fn answer(request: reqwest::RequestBuilder, is_stream: bool) -> Option<String> {
    let response = request.send().await.ok()?;
    let status = response.status();
    let body = response.bytes().await.ok()?;
    let body = std::str::from_utf8(&body).unwrap();
    assert!(status.is_success(), "{status}: {body}");
    if is_stream { streamed(body) } else { whole(body) }
}

/// Every prompt in the shadow, judged in both orders by a model that the recording does not have.
pub fn definition(recording: &Recording, decide: Value) -> Value {
    let target = |model: &str| format!("recorded/{model}");
    json!({
        "experiment": NAME,
        "match": {"route": target(&recording.control)},
        "control": {"target": target(&recording.control)},
        "candidates": {"candidate": {"target": target(&recording.candidate)}},
        "traffic": {"shadow": 1},
        "evaluate": {
            "comparators": ["exact"],
            "judge": {
                "target": "recorded/the-judge",
                "criteria": "Which answer would most people prefer?",
                "both_orders": true,
            },
        },
        "decide": decide,
    })
}

fn whole(body: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(body).ok()?;
    Some(answer["choices"][0]["message"]["content"].as_str()?.to_owned())
}

/// The text of a stream, if it has its end.
fn streamed(body: &str) -> Option<String> {
    let events = body.strip_suffix("data: [DONE]\n\n")?;
    let events = events.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let chunks = events.map(|event| serde_json::from_str::<Value>(event).unwrap());
    let piece =
        |chunk: Value| chunk["choices"][0]["delta"]["content"].as_str().unwrap_or("").to_owned();
    Some(chunks.map(piece).collect())
}
