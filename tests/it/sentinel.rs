//! Sentinels through the real binary: they run when they are due, alarm when answers move, and open
//! the question of their experiment again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{self, Provider, Sidecar};

/// How long something may take to happen.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stage {
    dir: TempDir,
    http: reqwest::Client,
}

impl Stage {
    /// A folder with an experiment that is over and a sentinel of what it shipped.
    fn new(sentinel: Value) -> Self {
        let stage = Self { dir: tempfile::tempdir().unwrap(), http: process::client() };
        fs::create_dir(stage.path().join("experiments")).unwrap();
        let experiment = json!({
            "experiment": "upgrade", "status": "stopped",
            "match": {"model": "bot"},
            "control": {"target": "sim/old"},
            "candidates": {"new": {"target": "sim/new"}},
            "traffic": {"shadow": 1},
            "evaluate": {"judge": {"target": "sim/judge"}},
        });
        stage.write("experiments/upgrade.json", &experiment);
        stage.write("experiments/watch.json", &sentinel);
        stage
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, value: &Value) {
        fs::write(self.path().join(name), value.to_string()).unwrap();
    }

    /// A provider whose model `new` writes like this.
    async fn provider(&self, quality: f64, args: &[&str]) -> Provider {
        let personas = json!({"personas": {
            "new": {"quality": quality}, "judge": {"judge": true, "sharpness": 9.0},
            "gpt-4o-mini": {"quality": quality},
        }});
        self.write("simulate.yaml", &personas);
        let args = ["--config", "simulate.yaml"].into_iter().chain(args.iter().copied());
        let provider = Provider::start(self.path(), args).await;
        self.ask(&provider);
        provider
    }

    /// Lets the configuration name this provider.
    fn ask(&self, provider: &Provider) {
        let at = json!({"base_url": provider.base_url, "auth": "none"});
        let config = json!({"providers": {"sim": at.clone(), "openai": at}});
        self.write("understudy.yaml", &config);
    }

    async fn serve(&self, log: &str) -> Sidecar {
        Sidecar::start(self.path(), log, &self.http, []).await
    }

    async fn get(&self, url: String) -> String {
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    async fn json(&self, sidecar: &Sidecar, path: &str) -> Value {
        let text = self.get(format!("http://{}{path}", sidecar.admin)).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The sentinel as soon as `is_so`.
    async fn wait(&self, sidecar: &Sidecar, is_so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let view = self.json(sidecar, "/api/v1/sentinels/watch").await;
            if is_so(&view) {
                return view;
            }
            let log = || sidecar.process.log();
            assert!(began.elapsed() < PATIENCE, "it never came: {view}\n{}", log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn asked_of(&self, provider: &Provider, model: &str) -> u64 {
        let url = provider.base_url.replace("/v1", "/simulate/counters");
        let counters: Value = serde_json::from_str(&self.get(url).await).unwrap();
        counters["by_model"][model].as_u64().unwrap_or(0)
    }

    fn said(&self, sidecar: &Sidecar, args: &[&str]) -> String {
        let admin = sidecar.admin.to_string();
        let args = args.iter().copied().chain(["--admin", &admin]);
        let out = process::command(self.path(), args).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }
}

fn prompts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("My order {n} arrived broken. What can I do?")).collect()
}

fn runs(view: &Value) -> usize {
    view["runs"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn answers_that_move_raise_the_alarm_and_open_the_question_again() {
    let stage = Stage::new(json!({
        "sentinel": "watch", "experiment": "upgrade", "target": "sim/new",
        "prompts": prompts(40), "every": "1s",
        "evaluate": {"judge": {"target": "sim/judge"}},
        "alarm": {"moved": "20%"},
    }));
    let _good = stage.provider(1.0, &[]).await;
    let mut sidecar = stage.serve("serve-0.log").await;
    let view = stage.wait(&sidecar, |view| runs(view) >= 2).await;
    assert_eq!(
        (&view["state"], &view["runs"][1]["moved"]),
        (&json!("steady"), &json!(0)),
        "{view}"
    );
    assert_eq!(view["pinned"]["prompts"], 40);
    let before = stage.json(&sidecar, "/api/v1/experiments/upgrade").await;
    assert_eq!(before["verdict"], "keep_running");

    // The same name, another model behind it.
    let _bad = stage.provider(0.0, &[]).await;
    let view = stage.wait(&sidecar, |view| view["drifted"]["is_logged"] == true).await;
    let why = view["drifted"]["why"].to_string();
    assert!(why.contains("of 40 answers moved, surely more than"), "{why}");
    assert!(why.contains("the new answers win surely less than"), "{why}");
    let report = stage.json(&sidecar, "/api/v1/experiments/upgrade").await;
    assert_eq!((&report["verdict"], &report["reason"]), (&json!("review"), &json!("drifted")));
    assert!(report["summary"].as_str().unwrap().contains("the sentinel watch found that"));
    let metrics = stage.get(format!("http://{}/metrics", sidecar.admin)).await;
    for line in [
        "understudy_sentinel_drifted{sentinel=\"watch\"} 1",
        "understudy_sentinel_runs_total{sentinel=\"watch\",result=\"steady\"}",
        "understudy_sentinel_runs_total{sentinel=\"watch\",result=\"alarm\"}",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    let listed = stage.said(&sidecar, &["experiment", "ls"]);
    assert!(listed.contains("watch") && listed.contains("drifted"), "{listed}");
    let told = stage.said(&sidecar, &["experiment", "report", "watch"]);
    assert!(told.starts_with("A person must look: the answers of sim/new have moved"), "{told}");
    let log = stage.said(&sidecar, &["experiment", "log"]);
    assert!(log.contains("upgrade: drifted, as watch found in its run"), "{log}");
    assert!(log.contains("the chain is whole"), "{log}");

    // It stays after a restart, is in the log once, and a new pin forgets it.
    assert!(sidecar.process.terminate().await.success());
    let mut sidecar = stage.serve("serve-1.log").await;
    let count = runs(&view);
    stage.wait(&sidecar, |view| runs(view) > count + 1).await;
    let report = stage.json(&sidecar, "/api/v1/experiments/upgrade").await;
    assert_eq!(report["reason"], "drifted");
    let log = stage.said(&sidecar, &["experiment", "log"]);
    assert_eq!(log.matches("drifted, as watch").count(), 1, "{log}");
    let path = stage.path().join("experiments/watch.json");
    let mut definition: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    definition["pin"] = json!("of today");
    stage.write("experiments/watch.json", &definition);
    let view = stage.wait(&sidecar, |view| view["state"] == "steady").await;
    assert!(view["drifted"].is_null() && runs(&view) <= 3, "{view}");
    assert!(sidecar.process.terminate().await.success());
}

#[tokio::test]
async fn a_killed_run_goes_on_and_a_restart_neither_skips_nor_repeats_one() {
    let stage = Stage::new(json!({
        "sentinel": "watch", "target": "sim/new", "prompts": prompts(12), "every": "24h",
        "evaluate": {"comparators": ["exact"]}, "alarm": {"moved": "20%"},
    }));
    let provider = stage.provider(1.0, &["--latency", "200ms"]).await;
    let mut sidecar = stage.serve("serve-0.log").await;
    let began = Instant::now();
    while stage.asked_of(&provider, "new").await < 10 {
        assert!(began.elapsed() < PATIENCE, "{}", sidecar.process.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let view = stage.json(&sidecar, "/api/v1/sentinels/watch").await;
    assert_eq!((&view["is_running"], runs(&view)), (&json!(true), 0));
    sidecar.process.kill();
    let mut sidecar = stage.serve("serve-1.log").await;
    let view = stage.wait(&sidecar, |view| runs(view) == 1).await;
    assert_eq!((&view["runs"][0]["pairs"], &view["runs"][0]["run"]), (&json!(12), &json!(1)));
    // Each prompt twice, to pin it and to compare, and what was under way once more.
    let asked = stage.asked_of(&provider, "new").await;
    assert!((24..=32).contains(&asked), "{asked}");
    assert!(sidecar.process.terminate().await.success());
    let sidecar = stage.serve("serve-2.log").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = stage.json(&sidecar, "/api/v1/sentinels/watch").await;
    assert_eq!((runs(&after), &after["due_ms"]), (1, &view["due_ms"]));
    assert_eq!(stage.asked_of(&provider, "new").await, asked, "nothing is due");
    let day = after["due_ms"].as_i64().unwrap() - after["runs"][0]["began_ms"].as_i64().unwrap();
    assert_eq!(day, 24 * 3_600_000);
}

#[tokio::test]
async fn money_that_is_spent_leaves_prompts_out_until_tomorrow() {
    let stage = Stage::new(json!({
        "sentinel": "watch", "target": "openai/gpt-4o-mini", "every": "24h",
        "prompts": (0..30).map(|n| json!({
            "max_tokens": 200,
            "messages": [{"role": "user", "content": format!("Where is my parcel {n}?")}],
        })).collect::<Vec<_>>(),
        "evaluate": {"comparators": ["exact"]}, "alarm": {"moved": "20%"}, "daily_usd": 0.001,
    }));
    let _provider = stage.provider(1.0, &[]).await;
    let sidecar = stage.serve("serve-0.log").await;
    let view = stage.wait(&sidecar, |view| runs(view) == 1 || !view["trouble"].is_null()).await;
    let ran = &view["runs"][0];
    let (pairs, missing) = (ran["pairs"].as_u64().unwrap(), ran["missing"].as_u64().unwrap());
    assert!(pairs > 0 && missing > 0 && pairs + missing == 30, "{view}");
    let today = view["today_usd"].as_f64().unwrap();
    assert!(today > 0.0 && today <= 0.001, "{view}");
}

#[tokio::test]
async fn prompts_of_an_experiment_are_pinned_with_the_answers_that_were_scored() {
    let stage = Stage::new(json!({
        "sentinel": "watch", "experiment": "upgrade", "target": "sim/new", "every": "1s",
        "prompts": {"experiment": "upgrade", "last": 5},
        "evaluate": {"comparators": ["exact"]}, "alarm": {"moved": "20%"},
    }));
    let path = stage.path().join("experiments/upgrade.json");
    let mut definition: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    definition["status"] = json!("running");
    definition["match"] = json!({"route": "sim/old"});
    stage.write("experiments/upgrade.json", &definition);
    let provider = stage.provider(1.0, &[]).await;
    let sidecar = stage.serve("serve-0.log").await;
    let view = stage.wait(&sidecar, |view| !view["trouble"].is_null()).await;
    assert!(view["trouble"].as_str().unwrap().contains("has no scored pair"), "{view}");
    for n in 0..8 {
        let body = json!({
            "model": "sim/old",
            "messages": [{"role": "user", "content": format!("My parcel {n} is lost. And now?")}],
        });
        let url = format!("http://{}/v1/chat/completions", sidecar.listen);
        let sent = stage.http.post(url).header("content-type", "application/json");
        assert!(sent.body(body.to_string()).send().await.unwrap().status().is_success());
    }
    let view = stage.wait(&sidecar, |view| runs(view) >= 1).await;
    let pinned = view["pinned"]["prompts"].as_u64().unwrap();
    assert!((1..=5).contains(&pinned), "{view}");
    assert_eq!((&view["runs"][0]["pairs"], &view["runs"][0]["moved"]), (&json!(pinned), &json!(0)));
    assert_eq!(stage.asked_of(&provider, "old").await, 8, "nobody but the shipped one is asked");
}
