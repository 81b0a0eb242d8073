//! Separate processes with nothing in common but the definitions agree on every unit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use understudy::config;

use crate::process::Provider;
use crate::process::Sidecar;
use crate::process::client;

const UNITS: usize = 200;

/// Two experiments over the same requests: the first by name takes them in every process.
const BOTH: [(&str, &str); 2] = [
    (
        "trial",
        "experiment: trial\nmatch: { model: sim/a }\nunit: { header: x-user-id }\n\
         control: { target: sim/a }\n\
         candidates: { b: { target: sim/b }, c: { target: sim/c }, d: { target: sim/d } }\n\
         traffic: { split: { b: 20%, c: 30%, d: 10% } }\nevaluate: { comparators: [exact] }\n",
    ),
    (
        "unheard",
        "experiment: unheard\nmatch: { model: sim/a }\nunit: { header: x-user-id }\n\
         control: { target: sim/a }\ncandidates: { b: { target: sim/b } }\n\
         traffic: { split: { b: 100% } }\nevaluate: { comparators: [exact] }\n",
    ),
];

/// What every unit is told it is assigned to.
async fn assignments(dir: &Path, files: [&str; 2], base_url: &str) -> BTreeMap<String, String> {
    let config = format!("providers:\n  sim: {{ dialect: openai, base_url: {base_url} }}\n");
    fs::write(dir.join("understudy.yaml"), config).unwrap();
    fs::create_dir(dir.join("experiments")).unwrap();
    for (file, (_, text)) in files.iter().zip(BOTH) {
        fs::write(dir.join("experiments").join(file), text).unwrap();
    }
    let client = client();
    let mut sidecar = Sidecar::start(dir, "serve.log", &client, []).await;
    let mut told = BTreeMap::new();
    let body = r#"{"model":"sim/a","messages":[{"role":"user","content":"hi"}]}"#;
    for unit in 0..UNITS {
        let unit = format!("user-{unit}");
        let url = format!("http://{}/v1/chat/completions", sidecar.listen);
        let request = client.post(url).header("x-user-id", &unit);
        let request = request.header("content-type", "application/json").body(body);
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 200, "{unit}");
        let assigned = reply.headers()["x-understudy-experiment"].to_str().unwrap().to_owned();
        told.insert(unit, assigned);
    }
    assert!(sidecar.process.terminate().await.success());
    told
}

#[tokio::test]
async fn two_processes_agree_on_every_unit_whatever_the_order_of_their_files() {
    let rooms = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let provider = Provider::start(rooms[0].path(), []).await;
    let one = assignments(rooms[0].path(), ["1.yaml", "2.yaml"], &provider.base_url).await;
    let two = assignments(rooms[1].path(), ["2.yaml", "1.yaml"], &provider.base_url).await;
    assert_eq!(one, two);
    let files = [("trial.yaml".to_owned(), BOTH[0].1.replace("sim/", "openai/"))];
    let no_file = |_: &Path| Err(std::io::Error::other("no file"));
    let (loaded, _) = config::load(None, &files, &|_| None, &no_file).unwrap();
    let trial = &loaded.experiments[0];
    for (unit, told) in &one {
        assert_eq!(*told, format!("trial={}", trial.assign(unit.as_bytes()).name), "{unit}");
    }
    let variants: std::collections::BTreeSet<&String> = one.values().collect();
    assert_eq!(variants.len(), 4, "{variants:?}");
}
