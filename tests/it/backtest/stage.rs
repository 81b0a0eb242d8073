//! A simulated provider with a recording, an experiment, files of requests, and the command.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::alpaca::recording::Recording;
use crate::alpaca::stage::definition;
use crate::process::{self, Provider};

pub use crate::alpaca::stage::NAME;

pub struct Stage<'r> {
    pub recording: &'r Recording,
    pub dir: TempDir,
    pub provider: Provider,
    http: reqwest::Client,
}

/// A command that has ended.
pub struct Ran {
    pub code: i32,
    pub said: String,
    pub told: String,
}

impl<'r> Stage<'r> {
    /// Starts the provider and writes the files.
    pub async fn start(recording: &'r Recording, provider: &[&str], decide: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let answers = recording.path.to_str().unwrap();
        let args = ["--answers", answers].into_iter().chain(provider.iter().copied());
        let provider = Provider::start(dir.path(), args).await;
        let stage = Self { recording, dir, provider, http: process::client() };
        let base_url = &stage.provider.base_url;
        let config = json!({
            "listen": "127.0.0.1:0",
            // Nobody listens on port 1.
            "admin": "127.0.0.1:1",
            "data_dir": "data",
            "providers": {"recorded": {"base_url": base_url}},
        });
        stage.write("understudy.yaml", &config.to_string());
        stage.define(decide);
        stage
    }

    /// Writes the experiment anew.
    pub fn define(&self, decide: Value) {
        fs::create_dir_all(self.dir.path().join("experiments")).unwrap();
        self.write("experiments/alpaca.json", &definition(self.recording, decide).to_string());
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// A batch file of these rows with control's answers behind them; its name.
    pub fn requests(&self, rows: Range<usize>) -> String {
        let asks = rows.clone().map(|row| self.asks(row).to_string());
        let answers = rows.map(|row| self.answers(row).to_string());
        let lines: Vec<String> = asks.chain(answers).collect();
        self.write("requests.jsonl", &(lines.join("\n") + "\n"));
        "requests.jsonl".to_owned()
    }

    pub fn asks(&self, row: usize) -> Value {
        json!({
            "custom_id": format!("row-{row}"), "method": "POST", "url": "/v1/chat/completions",
            "body": {
                "model": format!("recorded/{}", self.recording.control),
                "messages": [{"role": "user", "content": self.recording.rows[row].instruction}],
            },
        })
    }

    pub fn answers(&self, row: usize) -> Value {
        let message = json!({"role": "assistant", "content": self.recording.rows[row].output});
        json!({
            "id": format!("batch-{row}"), "custom_id": format!("row-{row}"), "error": null,
            "response": {"status_code": 200, "request_id": "r", "body": {
                "id": "c", "object": "chat.completion", "created": 1,
                "model": self.recording.control,
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
            }},
        })
    }

    /// Runs the backtest to its end.
    pub fn backtest(&self, args: &[&str]) -> Ran {
        self.run(&[&["backtest", NAME, "--json"], args].concat())
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        let out = process::command(self.dir.path(), args.iter().copied()).output().unwrap();
        Ran::of(&out)
    }

    /// Starts the backtest with this data directory.
    pub fn begin(&self, args: &[&str]) -> Child {
        let args = [&["backtest", NAME, "--json"], args].concat();
        let mut command = process::command(self.dir.path(), args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Requests that the provider has had so far, in all.
    pub async fn asked(&self) -> u64 {
        self.counters().await["requests"].as_u64().unwrap()
    }

    /// Requests for one model.
    pub async fn asked_of(&self, model: &str) -> u64 {
        self.counters().await["by_model"][model].as_u64().unwrap_or(0)
    }

    async fn counters(&self) -> Value {
        let url = self.provider.base_url.replace("/v1", "/simulate/counters");
        let body = self.http.get(url).send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Ran {
    pub fn of(out: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = out.status.code().unwrap_or(-1);
        Self { code, said: text(&out.stdout), told: text(&out.stderr) }
    }

    pub fn report(&self) -> Value {
        serde_json::from_str(&self.said)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.said, self.told))
    }
}
