//! The examples as processes: each runs against a simulated provider until its pairs are scored.

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use understudy::chat::DialectName;
use understudy::config;
use understudy::config::Config;
use understudy::experiment::Experiment;
use understudy::experiment::Unit;
use understudy::sentinel::Prompts;
use understudy::sentinel::Sentinel;

use crate::process;
use crate::process::Provider;
use crate::process::Sidecar;

/// How long an example may take until each of its candidates has a scored pair.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests sent between two looks at the report.
const BATCH: usize = 20;

/// The most requests that an example may need.
const MOST: usize = 400;

/// Where the simulator is for a provider, in a configuration without keys of anybody.
fn settings(config: &Config, base_url: &str) -> String {
    let sentinels = config.sentinels.iter().map(|sentinel| sentinel.as_experiment(1));
    let experiments: Vec<Experiment> =
        config.experiments.iter().cloned().chain(sentinels).collect();
    let experiments = experiments.iter();
    let targets = experiments.flat_map(|experiment| {
        let judge = experiment.evaluate.judges().iter().map(|judge| &judge.target);
        experiment.variants().map(|variant| &variant.target).chain(judge)
    });
    let bare = base_url.trim_end_matches("/v1");
    let place = |name: &str| match config.providers[name].dialects[0] {
        DialectName::Anthropic | DialectName::Gemini => bare,
        _ => base_url,
    };
    let providers: serde_json::Map<String, Value> = targets
        .map(|target| {
            let provider = json!({"base_url": place(&target.provider), "auth": "none"});
            (target.provider.clone(), provider)
        })
        .collect();
    json!({"providers": providers}).to_string()
}

/// A quick simulator in which the experiment's judge is one that gives verdicts.
fn personas(experiment: &Experiment) -> String {
    let judge = experiment.evaluate.judges().iter().map(|judge| {
        // The simulated model is called what its provider calls it.
        (judge.target.model.clone(), json!({"judge": true}))
    });
    let personas: serde_json::Map<String, Value> = judge.collect();
    json!({"latency": "1ms", "ttft": "1ms", "personas": personas}).to_string()
}

/// A request that takes part, of a user of its own.
fn request(
    client: &reqwest::Client,
    url: &str,
    experiment: &Experiment,
    n: usize,
) -> reqwest::RequestBuilder {
    let matches = &experiment.matches;
    let mut body = json!({
        "model": matches.route.as_deref().unwrap_or("openai/gpt-4o"),
        "messages": [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": format!("Question {n}: how do I reset my password?")},
        ],
    });
    for (pointer, value) in &matches.fields {
        set(&mut body, pointer, value.clone());
    }
    let user = format!("user-{n}");
    if let Unit::Field(pointer) = &experiment.unit {
        set(&mut body, pointer, user.as_str().into());
    }
    let mut request = client.post(url).header("content-type", "application/json");
    for (name, value) in &matches.headers {
        request = request.header(name, value);
    }
    if let Unit::Header(name) = &experiment.unit {
        request = request.header(name, user);
    }
    request.body(body.to_string())
}

fn set(body: &mut Value, pointer: &str, value: Value) {
    let path = pointer.trim_start_matches('/').split('/');
    let place = path.fold(body, |body, key| &mut body[key]);
    *place = value;
}

/// Whether each candidate has a pair that was scored.
fn is_scored(report: &Value, experiment: &Experiment) -> bool {
    experiment.candidates.iter().all(|candidate| {
        report["candidates"][&candidate.variant.name]["pairs"].as_u64().is_some_and(|n| n > 0)
    })
}

async fn check(text: &str) {
    let read = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let named = [("example.yaml".to_owned(), text.to_owned())];
    let (config, _) = config::load(None, &named, &|_| None, &read).unwrap();
    if let [sentinel] = config.sentinels.as_slice() {
        return check_sentinel(text, &config, sentinel).await;
    }
    let experiment = &config.experiments[0];
    let name = &experiment.name;
    let (dir, client) = (TempDir::new().unwrap(), process::client());
    fs::write(dir.path().join("simulate.yaml"), personas(experiment)).unwrap();
    let provider = Provider::start(dir.path(), ["--config", "simulate.yaml"]).await;
    fs::write(dir.path().join("understudy.yaml"), settings(&config, &provider.base_url)).unwrap();
    fs::write(dir.path().join("example.yaml"), text).unwrap();
    let args = ["--config", "understudy.yaml", "--experiments", "example.yaml"];
    let sidecar = Sidecar::start(dir.path(), "serve.log", &client, args).await;
    let url = format!("http://{}/v1/chat/completions", sidecar.listen);
    let report_url = format!("http://{}/api/v1/experiments/{name}", sidecar.admin);
    let (began, mut sent) = (Instant::now(), 0);
    loop {
        let answer = client.get(&report_url).send().await.unwrap();
        let report: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        if is_scored(&report, experiment) {
            assert_eq!(report["experiment"], json!(name));
            assert_eq!(report["question"], json!(experiment.question));
            println!("{name}: every candidate has a scored pair after {sent} requests");
            return;
        }
        let log = || sidecar.process.log();
        assert!(began.elapsed() < PATIENCE, "{name} has no scored pairs: {report}\n{}", log());
        if sent >= MOST {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        for n in sent..sent + BATCH {
            let answer = request(&client, &url, experiment, n).send().await.unwrap();
            let status = answer.status();
            let body = answer.text().await.unwrap();
            assert!(status.is_success(), "{name}: {status} {body}\n{}", log());
        }
        sent += BATCH;
    }
}

/// A sentinel runs by itself: its answers are pinned, and compared with others of the same day.
async fn check_sentinel(text: &str, config: &Config, sentinel: &Sentinel) {
    let (dir, client) = (TempDir::new().unwrap(), process::client());
    let experiment = sentinel.as_experiment(1);
    fs::write(dir.path().join("simulate.yaml"), personas(&experiment)).unwrap();
    let provider = Provider::start(dir.path(), ["--config", "simulate.yaml"]).await;
    fs::write(dir.path().join("understudy.yaml"), settings(config, &provider.base_url)).unwrap();
    fs::write(dir.path().join("example.yaml"), text).unwrap();
    let args = ["--config", "understudy.yaml", "--experiments", "example.yaml"];
    let sidecar = Sidecar::start(dir.path(), "serve.log", &client, args).await;
    let url = format!("http://{}/api/v1/sentinels/{}", sidecar.admin, sentinel.name);
    let began = Instant::now();
    let view = loop {
        let answer = client.get(&url).send().await.unwrap();
        let view: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let is_over = view["runs"].as_array().is_some_and(|runs| !runs.is_empty());
        if is_over || !view["trouble"].is_null() {
            break view;
        }
        assert!(began.elapsed() < PATIENCE, "{view}\n{}", sidecar.process.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(view["state"], "steady", "{view}\n{}", sidecar.process.log());
    let Prompts::Here(prompts) = &sentinel.prompts else { panic!("its prompts are elsewhere") };
    assert_eq!(view["runs"][0]["pairs"], prompts.len(), "{view}");
}

#[tokio::test]
async fn every_example_runs_until_its_pairs_are_scored() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            check(&fs::read_to_string(path).unwrap()).await;
            count += 1;
        }
    }
    assert!(count >= 8, "only {count} examples were found");
}
