//! The files in k8s/ say what the program says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use understudy::config;
use understudy::manifest;
use understudy::sidecar;
use understudy::sidecar::Settings;
use understudy::sidecar::sdk;
use understudy::sidecar::wish::NAMES;
use understudy::sidecar::wish::Wish;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("k8s").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn image() -> String {
    format!("understudy:{VERSION}")
}

/// The documents of a file, each with the sidecar where one is to be.
fn documents(text: &str) -> Vec<Value> {
    manifest::inject(text, &Settings::new(&image()).unwrap()).unwrap().documents
}

fn files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path(folder)).unwrap() {
        let at = entry.unwrap().path();
        let name = format!("{folder}{}", at.file_name().unwrap().to_str().unwrap());
        match at.is_dir() {
            true => found.extend(files(&format!("{name}/"))),
            false => found.push((name.clone(), text(&name))),
        }
    }
    found
}

#[test]
fn the_component_adds_what_the_command_adds() {
    let application = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: any }\nspec:\n  \
                       template: { spec: { containers: [{ name: app }] } }\n";
    let component = text("kustomize/component/sidecar.yaml");
    assert_eq!(documents(&component), documents(application));
    assert_eq!(manifest::inject(&component, &Settings::new("x").unwrap()).unwrap().text, component);
}

#[test]
fn one_folder_holds_the_configuration_and_the_experiments() {
    let mounted = tempfile::tempdir().unwrap();
    let trial = "experiment: trial\nmatch: { model: bot }\ncontrol: { target: openai/a }\n\
                 candidates: { b: { target: openai/b } }\n";
    fs::write(mounted.path().join("understudy.yaml"), "routes: { bot: { targets: [openai/a] } }\n")
        .unwrap();
    fs::write(mounted.path().join("trial.yaml"), trial).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args(["experiment", "ls", "--data-dir", "nowhere", "--experiments"])
        .arg(mounted.path())
        .current_dir(mounted.path())
        .env_clear()
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("trial"), "{told}");
}

/// A value as the language of policies has it, where a type is named by the way to it.
fn cel(value: &Value, path: &str, indent: usize) -> String {
    let inner = " ".repeat(indent + 2);
    let lines = |all: Vec<String>, open: &str, close: &str| {
        format!(
            "{open}\n{inner}{}\n{}{close}",
            all.join(&format!(",\n{inner}")),
            " ".repeat(indent)
        )
    };
    match value {
        Value::String(text) if text.starts_with("params.") || text.starts_with("variables.") => {
            text.clone()
        }
        Value::Array(items) if items.iter().all(Value::is_string) => value.to_string(),
        Value::Array(items) => {
            lines(items.iter().map(|item| cel(item, path, indent + 2)).collect(), "[", "]")
        }
        Value::Object(members) => {
            let is_map = path.ends_with(".requests") || path.ends_with(".limits");
            let members = members.iter().map(|(key, value)| {
                let key = if is_map { format!("\"{key}\"") } else { key.clone() };
                format!("{key}: {}", cel(value, &format!("{path}.{key}"), indent + 2))
            });
            let open = if is_map { "{".to_owned() } else { format!("{path}{{") };
            lines(members.collect(), &open, "}")
        }
        _ => value.to_string(),
    }
}

#[test]
fn the_policy_adds_what_the_webhook_adds() {
    let wish = Wish { config: "variables.config".to_owned(), ..Wish::default() };
    let sidecar = sidecar::container("params.data.image", &wish);
    let sidecar = cel(&sidecar, "Object.spec.initContainers", 10);
    let volumes = cel(&Value::from(sidecar::volumes(&wish)), "Object.spec.volumes", 14);
    let line = |name: &str, group: &str, value: &str| {
        format!("{{\"name\": \"{name}\", \"group\": \"{group}\", \"value\": \"{value}\"}}")
    };
    let mut told = vec![line(sdk::URL_VARIABLE, sdk::URL_VARIABLE, sdk::URL)];
    for sdk in wish.providers {
        let group = sdk.variables.join(",");
        told.extend(sdk.variables.iter().map(|name| line(name, &group, &sdk.url())));
    }
    let told = format!("[{}]", told.join(",\n        "));
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let policy = plain(&text("policy/policy.yaml"));
    for part in [sidecar, volumes, told] {
        assert!(policy.contains(&plain(&part)), "policy.yaml lacks this:\n{part}");
    }
    let status = format!("{{\\\"version\\\":\\\"{VERSION}\\\",\\\"config\\\":");
    assert!(policy.contains(&status), "{status}");
}

#[test]
fn the_chart_knows_every_annotation_and_the_readme_tells_of_it() {
    let schema: Value = serde_json::from_str(&text("helm/understudy/values.schema.json")).unwrap();
    let defaults = schema["properties"]["defaults"]["properties"].as_object().unwrap();
    assert_eq!(defaults.keys().map(String::as_str).collect::<Vec<_>>(), NAMES);
    let readme = text("README.md");
    for name in NAMES {
        assert!(readme.contains(&format!("\n| `{name}` |")), "k8s/README.md has no row for {name}");
    }
    for sdk in sdk::SDKS {
        for variable in sdk.variables {
            assert!(readme.contains(variable), "k8s/README.md does not name {variable}");
        }
    }
}

#[test]
fn every_file_names_this_version() {
    let chart = text("helm/understudy/Chart.yaml");
    assert!(chart.contains(&format!("\nversion: {VERSION}\n")), "{chart}");
    assert!(chart.contains(&format!("\nappVersion: {VERSION}\n")), "{chart}");
    for (name, text) in files("").into_iter().filter(|(name, _)| name.ends_with(".yaml")) {
        for (at, _) in text.match_indices("understudy:0") {
            assert!(text[at..].starts_with(&image()), "{name}: {}", &text[at..at + 20]);
        }
    }
}

#[test]
fn the_examples_are_good_configuration_and_good_experiments() {
    let mut seen = 0;
    for (name, text) in files("examples/") {
        let maps = documents(&text).into_iter().filter(|one| one["kind"] == "ConfigMap");
        for map in maps {
            let data = map["data"].as_object().unwrap();
            let file = |key: &str| data[key].as_str().unwrap().to_owned();
            let config = data.contains_key("understudy.yaml").then(|| file("understudy.yaml"));
            let experiments = data.keys().filter(|key| *key != "understudy.yaml");
            let experiments: Vec<_> = experiments.map(|key| (key.clone(), file(key))).collect();
            let config = config.as_deref().map(|text| ("understudy.yaml", text));
            // Keys are files of a Secret that is not here.
            let key = |_: &std::path::Path| Ok("a-key".to_owned());
            let loaded = config::load(config, &experiments, &|_| None, &key);
            let (loaded, warnings) =
                loaded.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
            assert_eq!(warnings, [], "{name}");
            assert_eq!(loaded.experiments.len(), experiments.len(), "{name}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}
