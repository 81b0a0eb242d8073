//! Replay mode's error, and the commands for stored exchanges, with a sidecar and without.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use understudy::config::CacheMode;
use understudy::experiment::Share;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::whole;

const BASE: &str = r#"{"model":"alpha/m","messages":[{"role":"system","content":"Be brief."},
{"role":"user","content":"What is the weather in Oslo today, and will it rain tomorrow morning?"}],
"temperature":0,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]}"#;

fn told(reply: &Reply) -> String {
    let told = reply.json()["error"]["message"].as_str().map(str::to_owned);
    told.unwrap_or_else(|| panic!("no message in {}", reply.text()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miss_in_replay_mode_names_the_nearest_request_and_the_place() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    alpha.always(Answer::saying("ok"));
    let ask = async |sidecar: &Sidecar, body: &str| sidecar.ask(body.to_owned()).await;
    assert_eq!(ask(&sidecar, BASE).await.status, 200);
    assert_eq!(ask(&sidecar, &asking("alpha/m", "something else", false)).await.status, 200);
    let sidecar = sidecar.restart(|config| config.cache.mode = CacheMode::Replay).await;
    assert_eq!(ask(&sidecar, BASE).await.status, 200, "{}", ask(&sidecar, BASE).await.text());
    for (from, to, wanted) in [
        (
            "Be brief.",
            "Be long.",
            "at messages[0].content: stored \"Be brief.\", asked \"Be long.\"",
        ),
        (
            "tomorrow morning",
            "tomorrow evening",
            "at messages[1].content: stored …\"t rain tomorrow morning?\", asked …\"t rain",
        ),
        (r#""temperature":0"#, r#""temperature":0.5"#, "at temperature: stored 0, asked 0.5"),
        (r#""temperature":0,"#, "", "at temperature: stored 0, asked nothing"),
        (
            r#""type":"object""#,
            r#""type":"object","required":["a"]"#,
            "at tools[0].function.parameters.required: stored nothing, asked [\"a\"]",
        ),
        (
            r#"{"role":"system","content":"Be brief."},"#,
            "",
            "at messages[0].role: stored \"system\", asked \"user\" (and 2 more places)",
        ),
        ("alpha/m", "alpha/n", "in the target only: stored alpha/m, asked alpha/n"),
    ] {
        let changed = BASE.replace(from, to);
        assert_ne!(changed, BASE, "{from}");
        let missed = ask(&sidecar, &changed).await;
        assert_eq!((missed.status, &missed.json()["error"]["code"]), (504, &json!("not_cached")));
        let told = told(&missed);
        assert!(told.contains(wanted), "{told}");
        assert!(told.contains("understudy cache show 0") && told.contains(", alpha/m)"), "{told}");
    }
    assert_eq!(alpha.calls().len(), 2, "nobody is asked");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miss_is_told_in_every_dialect_even_when_nothing_is_stored() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.cache.mode = CacheMode::Replay;
    let sidecar = Sidecar::start(config).await;
    let message = json!([{"role": "user", "content": "x"}]);
    let chat = json!({"model": "alpha/m", "messages": message});
    let messages = json!({"model": "alpha/m", "messages": message, "max_tokens": 9});
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
    for (path, body) in [
        ("/v1/chat/completions", &chat),
        ("/v1/messages", &messages),
        ("/alpha/v1beta/models/m:generateContent", &contents),
        ("/v1/responses", &json!({"model": "alpha/m", "input": "x"})),
        ("/v1/embeddings", &json!({"model": "alpha/m", "input": "x"})),
    ] {
        let reply = whole(sidecar.post(path, body.to_string())).await;
        assert_eq!(reply.status, 504, "{path} {}", reply.text());
        let told = told(&reply);
        assert!(told.contains("no answer is stored") && told.contains("mode: record"), "{told}");
    }
    sidecar.stop().await;
}

/// The same question streamed and whole has one key, and each of its answers its own bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_in_both_forms_is_replayed_with_the_bytes_of_each() {
    for first_streams in [false, true] {
        let alpha = Provider::start().await;
        let mut config = config(&[("alpha", &alpha)]);
        config.cache.mode = CacheMode::Record;
        let sidecar = Sidecar::start(config).await;
        let mut recorded = Vec::new();
        for stream in [first_streams, !first_streams] {
            alpha.expect(match stream {
                true => Answer::stream([vec![delta("a"), delta("b")], ending()].concat()),
                false => Answer::saying("whole"),
            });
            recorded.push((stream, sidecar.ask(asking("alpha/m", "x", stream)).await.body));
        }
        let sidecar = sidecar.restart(|config| config.cache.mode = CacheMode::Replay).await;
        for (stream, body) in recorded {
            let replayed = sidecar.ask(asking("alpha/m", "x", stream)).await;
            assert_eq!(replayed.body, body, "{}", replayed.text());
        }
        assert_eq!(alpha.calls().len(), 2);
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_dialect_or_variant_is_told_as_such() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    alpha.always(Answer::saying("ok"));
    let chat = asking("alpha/m", "x", false);
    assert_eq!(sidecar.ask(chat.clone()).await.status, 200);
    let sidecar = sidecar.restart(|config| config.cache.mode = CacheMode::Replay).await;
    let messages = json!({"model": "alpha/m", "max_tokens": 9, "messages":
        [{"role": "user", "content": "quite another question"}]});
    let missed = whole(sidecar.post("/v1/messages", messages.to_string())).await;
    let said = told(&missed);
    assert!(said.contains("in its dialect: stored openai, asked anthropic"), "{said}");
    let trial = experiment("alpha/m", "alpha/m", Share::NONE, Share::NONE);
    let sidecar = sidecar.restart(|config| config.experiments.push(trial)).await;
    let said = told(&sidecar.ask(chat).await);
    let wanted = "in the variant of the experiment only: stored none, asked trial=control";
    assert!(said.contains(wanted), "{said}");
    sidecar.stop().await;
}

/// What a command prints, its complaints, and its exit code.
struct Ran {
    out: String,
    err: String,
    code: i32,
}

/// Where commands look: a sidecar's admin plane, or a directory.
#[derive(Clone)]
struct Look {
    room: std::path::PathBuf,
    place: Vec<String>,
}

impl Look {
    fn at(room: &Path, place: &[&str]) -> Self {
        Self { room: room.into(), place: place.iter().map(|&word| word.to_owned()).collect() }
    }

    async fn run(&self, line: &str) -> Ran {
        let (look, words) = (self.clone(), line.to_owned());
        let run = move || {
            Command::new(env!("CARGO_BIN_EXE_understudy"))
                .args(words.split(' '))
                .args(&look.place)
                .current_dir(&look.room)
                .env_clear()
                .stdin(std::process::Stdio::null())
                .output()
                .unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Ran { out: text(output.stdout), err: text(output.stderr), code }
    }

    async fn good(&self, line: &str) -> String {
        let ran = self.run(line).await;
        assert_eq!(ran.code, 0, "{line}: {}{}", ran.out, ran.err);
        ran.out
    }

    async fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.good(&format!("{line} --json")).await).unwrap()
    }

    async fn refused(&self, line: &str, wanted: &str) {
        let ran = self.run(line).await;
        assert_eq!(ran.code, 2, "{line}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(wanted), "{line}: {}", ran.err);
    }
}

/// What every command says of two stored exchanges, a whole one and a stream.
async fn check_commands(look: &Look, alpha: &Provider, stream: &Reply) {
    let rows = look.json("cache ls").await["exchanges"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 2);
    let table = look.good("cache ls --text sky").await;
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains("alpha/m") && table.contains("What colour is the sky?"), "{table}");
    let id = |row: &Value| row["short_id"].as_str().unwrap().to_owned();
    let (streamed, plain) = (id(&rows[0]), id(&rows[1]));
    let shown = look.good(&format!("cache show {plain}")).await;
    for wanted in
        ["answered by  alpha/m (openai)", "What colour", "counts", "\nanswer\nblue as ever"]
    {
        assert!(shown.contains(wanted), "{wanted} in {shown}");
    }
    assert!(look.good("cache stats").await.starts_with("exchanges   2 (2 may be served now)"));
    assert_eq!(look.good(&format!("replay {plain}")).await, "blue as ever\n");
    assert_eq!(look.good(&format!("replay {streamed} --raw")).await, stream.text());
    let timed = format!("replay {streamed} --timing --speed 1000x");
    assert_eq!(look.good(&timed).await, "once upon\n");
    assert_eq!(look.good(&format!("{timed} --raw")).await, stream.text());
    alpha.expect(Answer::saying("blue as ever"));
    let same = look.good(&format!("replay {plain} --send --diff")).await;
    assert!(same.starts_with("the same answer\n"), "{same}");
    alpha.expect(Answer::saying("green as ever"));
    let line = format!("replay {plain} --send --diff --target alpha/other");
    let other = look.good(&line).await;
    assert!(other.contains("[-blue -]{+green +}as ever"), "{other}");
    assert!(other.contains("alpha/m  ->  alpha/other"), "{other}");
    let sent = alpha.calls().last().unwrap().body.clone();
    let sent: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(
        (&sent["model"], &sent["messages"][0]["content"]),
        (&json!("other"), &json!("What colour is the sky?"))
    );
    alpha.expect(Answer::saying("grey"));
    let told = look.json(&format!("replay {plain} --send --diff")).await;
    assert_eq!((&told["same"], &told["before"]["target"]), (&json!(false), &json!("alpha/m")));
    look.refused("replay ffff0000", "understudy cache ls").await;
    look.refused("cache show 0", "too short").await;
    look.refused("cache ls --status never", "`--status` takes a status").await;
    look.refused("cache purge", "say what to forget").await;
    look.refused("cache purge --all", "needs --yes").await;
    look.refused("cache purge --all --model m --yes", "contradict").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_say_the_same_with_a_sidecar_and_without() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    alpha.expect(Answer::saying("blue as ever"));
    sidecar.ask(asking("alpha/m", "What colour is the sky?", false)).await;
    alpha.expect(Answer::stream([vec![delta("once "), delta("upon")], ending()].concat()));
    let stream = sidecar.ask(asking("alpha/m", "Tell a story.", true)).await;
    let room = TempDir::new().unwrap();
    let providers = json!({"alpha": {"dialect": "openai", "base_url": alpha.base_url()}});
    let file = json!({"providers": providers}).to_string();
    std::fs::write(room.path().join("understudy.yaml"), file).unwrap();

    let admin = sidecar.admin.trim_start_matches("http://").to_owned();
    let running = Look::at(room.path(), &["--admin", &admin]);
    check_commands(&running, &alpha, &stream).await;
    assert!(running.good("cache export running.jsonl").await.starts_with("wrote 2 exchanges"));
    let again = running.json("cache import running.jsonl").await;
    assert_eq!((&again["added"], &again["known"]), (&json!(0), &json!(2)));
    let left = sidecar.leave().await;

    let dir = left.path().to_str().unwrap();
    let stored = Look::at(room.path(), &["--admin", "127.0.0.1:9", "--data-dir", dir]);
    check_commands(&stored, &alpha, &stream).await;
    stored.good("cache export stored.jsonl").await;
    let read = |name: &str| std::fs::read_to_string(room.path().join(name)).unwrap();
    assert_eq!(read("running.jsonl"), read("stored.jsonl"));
    assert_eq!(stored.good("cache export").await, read("stored.jsonl"));

    let fresh = room.path().join("fresh").to_str().unwrap().to_owned();
    let fresh = Look::at(room.path(), &["--admin", "127.0.0.1:9", "--data-dir", &fresh]);
    assert_eq!(fresh.good("cache ls").await, "nothing is stored yet\n");
    std::fs::write(room.path().join("bad.jsonl"), format!("{}{{}}\n", read("stored.jsonl")))
        .unwrap();
    let ran = fresh.run("cache import bad.jsonl").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (2, "imported 2, 0 were there already, 1 were wrong\n")
    );
    assert!(ran.err.contains("bad.jsonl:3: missing field `understudy`"), "{}", ran.err);
    assert_eq!(fresh.good("cache export").await, read("stored.jsonl"));
    assert_eq!(fresh.good("cache purge --text sky --yes").await, "forgot 1 exchange\n");
    assert_eq!(fresh.json("cache purge --all --yes").await, json!({"deleted": 1}));
    assert_eq!(fresh.json("cache stats").await["exchanges"], 0);
}
