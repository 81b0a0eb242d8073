//! `understudy inject`: every kind of workload, files that stay as they were, mistakes.

use std::io::Write;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use serde_json::Value;
use understudy::manifest;

use crate::sidecar::settings;

fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .arg("inject")
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn injected(text: &str) -> manifest::Injected {
    manifest::inject(text, &settings()).unwrap()
}

/// Lines of the first text that are not, in their order, in the second.
fn lost(before: &str, after: &str) -> Vec<String> {
    let (after, mut at) = (after.lines().collect::<Vec<_>>(), 0);
    let mut lost = Vec::new();
    for line in before.lines() {
        match after[at..].iter().position(|other| *other == line) {
            Some(found) => at += found + 1,
            None => lost.push(line.to_owned()),
        }
    }
    lost
}

const DEPLOYMENT: &str = "\
# The shop's bot.
apiVersion: v1
kind: ConfigMap
metadata: { name: words }
data:
  odd: [\"yes\", 1e3, 0644, ~]   # stays as it is
  text: |
    several
      lines
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: bot   # the bot
spec:
  selector: { matchLabels: { app: bot } }
  template:
    metadata:
      labels:
        app: bot
    spec:
      initContainers:
      # first of all
      - name: migrate
        image: app:1
      containers:
        - name: app
          image: app:1
          env:
            - name: MODE
              value: |
                fast
        # the log
        - { name: log, image: \"log:1\" }
      # the end of the pod
";

#[test]
fn a_file_stays_as_it_was_apart_from_what_is_added() {
    let after = injected(DEPLOYMENT);
    assert_eq!(after.warnings, Vec::<String>::new());
    let changed = lost(DEPLOYMENT, &after.text);
    assert_eq!(changed, ["        - { name: log, image: \"log:1\" }"], "{}", after.text);
    assert_eq!(injected(&after.text).text, after.text, "a second time adds nothing");
    let template = &after.documents[1]["spec"]["template"];
    assert_eq!(template["spec"]["initContainers"][0]["name"], "understudy");
    assert_eq!(template["spec"]["containers"][0]["env"][0]["value"], "fast\n");
    assert_eq!(after.documents[0]["data"]["odd"].to_string(), "[\"yes\",1000.0,420,null]");
}

fn workload(kind: &str, group: &str, before: &str, after: &str) -> String {
    format!(
        "{{\"apiVersion\": \"{group}\", \"kind\": \"{kind}\", \"metadata\": {{\"name\": \"w\"}}, \
         {before}\"spec\": {{\"containers\": [{{\"name\": \"app\", \"image\": \"app:1\"}}]}}{after}}}"
    )
}

#[test]
fn every_kind_of_workload_gets_it_and_others_pass() {
    let template = "\"spec\": {\"template\": {";
    for (kind, group, before, after, path) in [
        ("Pod", "v1", "", "", "/spec"),
        ("PodTemplate", "v1", "\"template\": {", "}", "/template/spec"),
        ("Deployment", "apps/v1", template, "}}", "/spec/template/spec"),
        ("StatefulSet", "apps/v1", template, "}}", "/spec/template/spec"),
        ("DaemonSet", "apps/v1", template, "}}", "/spec/template/spec"),
        ("ReplicaSet", "apps/v1", template, "}}", "/spec/template/spec"),
        ("ReplicationController", "v1", template, "}}", "/spec/template/spec"),
        ("Job", "batch/v1", template, "}}", "/spec/template/spec"),
        (
            "CronJob",
            "batch/v1",
            "\"spec\": {\"jobTemplate\": {\"spec\": {\"template\": {",
            "}}}}",
            "/spec/jobTemplate/spec/template/spec",
        ),
    ] {
        let one = workload(kind, group, before, after);
        let list = format!("{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{one}]}}");
        for (text, path) in [(&one, path.to_owned()), (&list, format!("/items/0{path}"))] {
            let after = injected(text);
            let spec = after.documents[0].pointer(&path).unwrap();
            assert_eq!(spec["initContainers"][0]["name"], "understudy", "{kind}: {}", after.text);
            assert_eq!(after.warnings, Vec::<String>::new(), "{kind}");
            let again = manifest::yaml(&after.documents);
            assert_eq!(injected(&again).documents, after.documents, "{kind}");
        }
    }
    let foreign = [("Job", "batch.volcano.sh/v1"), ("Service", "v1"), ("Deployment", "v1")];
    for (kind, group) in foreign {
        let text = workload(kind, group, "\"spec\": {\"template\": {", "}}");
        assert_eq!(injected(&text).text, text, "{kind}");
    }
}

#[test]
fn whoever_says_no_is_left_as_it_is() {
    for place in ["labels", "annotations"] {
        let no = format!("  {place}: {{ understudy.dev/inject: \"false\" }}\nspec:");
        let text = DEPLOYMENT.replace("spec:\n  selector", &format!("{no}\n  selector"));
        assert_eq!(injected(&text).text, text);
    }
    let text =
        DEPLOYMENT.replace("app: bot\n", "app: bot\n        understudy.dev/inject: \"false\"\n");
    assert_eq!(injected(&text).text, text);
}

#[test]
fn wishes_that_stand_where_nobody_reads_them_are_told() {
    let metadata = "name: bot   # the bot\n  annotations: { understudy.dev/config: mine }\n";
    let after = injected(&DEPLOYMENT.replace("name: bot   # the bot\n", metadata));
    assert!(after.warnings[0].contains("belongs on the pod template"), "{:?}", after.warnings);
}

#[test]
fn layouts_that_take_no_additions_are_written_anew_and_said_to_be() {
    let shared = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: { name: a }
  spec: &spec
    containers: [{ name: app, image: \"app:1\", args: [\"yes\", \"1e3\", \"0x1\", \"a: b\", \"x\\ny\", \"\"] }]
- apiVersion: v1
  kind: Pod
  metadata: { name: b }
  spec: *spec
";
    let after = injected(shared);
    assert!(after.warnings[0].contains("document 1 is written anew"), "{:?}", after.warnings);
    let again = injected(&after.text);
    assert_eq!((again.text, again.documents.clone()), (after.text, after.documents));
    for item in again.documents[0]["items"].as_array().unwrap() {
        let args = &item["spec"]["containers"][0]["args"];
        assert_eq!(args.to_string(), "[\"yes\",\"1e3\",\"0x1\",\"a: b\",\"x\\ny\",\"\"]");
    }
}

#[test]
fn additions_fit_layouts_of_all_sorts() {
    for pod in [
        "kind: Pod\napiVersion: v1\nmetadata:\nspec:\n  containers:\n  - image: a\n    name: a",
        "kind: Pod\r\napiVersion: v1\r\nspec:\r\n  containers:\r\n  - name: a\r\n    image: a\r\n",
        "--- {kind: Pod, apiVersion: v1, spec: {containers: [{name: a, image: a,}]}}\n",
        "%YAML 1.2\n---\nkind: Pod\napiVersion: v1\nspec: {containers: [{name: a}], volumes: []}\n...\n",
        "kind: Pod\napiVersion: v1\nspec:\n  volumes: null\n  initContainers:\n  containers:\n    -\n      name: a\n",
        "kind: Pod\napiVersion: v1\nspec:\n  containers:\n  - name: a\n    args:\n    - |+\n      text\n\n\n",
        "kind: Pod\napiVersion: v1\nmetadata: {labels: {a: b}}\nspec:\n  containers:\n  - name: a\n    env: []\n# end",
    ] {
        let after = injected(pod);
        assert_eq!(after.documents[0]["spec"]["initContainers"][0]["name"], "understudy", "{pod}");
        let again = injected(&after.text);
        assert_eq!((again.text, again.documents), (after.text, after.documents), "{pod}");
    }
}

#[test]
fn the_command_prints_manifests_differences_and_other_forms() {
    let plain = run(&[], DEPLOYMENT);
    assert!(plain.status.success(), "{}", err(&plain));
    assert!(out(&plain).contains("# the end of the pod"));
    assert!(out(&plain).contains(&format!("image: understudy:{}", env!("CARGO_PKG_VERSION"))));

    let diff = run(&["--diff", "--image", "mine:2", "--set", "cache-size=3Gi"], DEPLOYMENT);
    let text = out(&diff);
    assert!(text.starts_with("--- standard input\n+++ standard input\n@@ "), "{text}");
    assert!(text.contains("+        image: mine:2\n"), "{text}");
    assert!(text.contains("sizeLimit: \"3Gi\""), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with('-')).count(), 2, "{text}");
    assert_eq!(out(&run(&["--diff"], &out(&plain))), "");

    let json: Value = serde_json::from_str(&out(&run(&["-o", "json"], DEPLOYMENT))).unwrap();
    assert_eq!(json["kind"], "List");
    assert_eq!(json["items"][0]["data"]["text"], "several\n  lines\n");
    let yaml = out(&run(&["-o", "yaml"], DEPLOYMENT));
    assert_eq!(injected(&yaml).documents, json["items"].as_array().unwrap().clone());
}

#[test]
fn hostile_files_are_refused_in_little_time_and_memory() {
    let mut doubling = "a: &a0 [x, x]\n".to_owned();
    let mut deepening = "a: &a0 [x]\n".to_owned();
    for level in 1..=60 {
        let before = level - 1;
        doubling += &format!("b{level}: &a{level} [*a{before}, *a{before}]\n");
        let (open, close) = ("[".repeat(50), "]".repeat(50));
        deepening += &format!("b{level}: &a{level} {open}*a{before}{close}\n");
    }
    for text in [doubling, deepening, "[".repeat(100_000), "- ".repeat(100_000), "*a".to_owned()] {
        let error = manifest::inject(&text, &settings()).unwrap_err();
        assert!(error.detail.contains("not YAML that can be read"), "{}", error.detail);
    }
}

#[test]
fn mistakes_are_told_with_exit_code_two() {
    for (args, input, said) in [
        (&["--set", "cache-sise=1Gi"][..], "", "did you mean `cache-size`?"),
        (&["--set", "cache-size"], "", "write NAME=VALUE"),
        (&["--set", "memory-limit=x"], "", "no quantity"),
        (&["--image", "a b"], "", "the image cannot be"),
        (&["-f", "nowhere.yaml"], "", "cannot read nowhere.yaml"),
        (&[], "a: [", "standard input: this is not YAML"),
        (&[], "kind: Pod\napiVersion: v1\nmetadata: {name: x}", "Pod x: this is no pod"),
    ] {
        let output = run(args, input);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert!(err(&output).contains(said), "{args:?}: {}", err(&output));
    }
    let warned = run(
        &[],
        &DEPLOYMENT.replace(
            "template:\n    metadata:\n",
            "template:\n    metadata:\n      annotations: { understudy.dev/secrt: keys }\n",
        ),
    );
    assert!(warned.status.success());
    assert!(
        err(&warned).contains("note: standard input: Deployment bot: annotation"),
        "{}",
        err(&warned)
    );
}
