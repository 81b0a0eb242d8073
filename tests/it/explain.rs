//! `understudy explain`, as a person and as a script call it.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = "routes:\n  support-bot: { targets: [openai/gpt-4o, anthropic/claude-x] }\n\
    \x20 cheap:\n    targets: [openai/gpt-4o, openai/gpt-4o-mini]\n    choose: cost\n\
    \x20   when: [{ if: { tools: true }, targets: [anthropic/claude-haiku-4-5] }]\n\
    \x20 easy:\n    targets: [openai/gpt-4o-mini, openai/gpt-4o]\n\
    \x20   cascade: { accept: [refusal], judge: { target: anthropic/claude-haiku-4-5 } }\n";
const EXPERIMENT: &str = "experiment: upgrade\nmatch: { model: support-bot }\n\
    unit: { header: x-user-id }\ncontrol: { target: openai/gpt-4o }\n\
    candidates: { next: { target: anthropic/claude-x } }\n\
    traffic: { split: { next: 100% }, shadow: 100% }\n\
    evaluate: { comparators: [exact] }\n";

/// Exit code, standard output and standard error.
fn explain(body: &str, args: &[&str]) -> (i32, String, String) {
    let room = TempDir::new().unwrap();
    fs::write(room.path().join("understudy.yaml"), CONFIG).unwrap();
    fs::create_dir(room.path().join("experiments")).unwrap();
    fs::write(room.path().join("experiments/upgrade.yaml"), EXPERIMENT).unwrap();
    fs::write(room.path().join("request.json"), body).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    command.env_remove("UNDERSTUDY_CONFIG").env_remove("UNDERSTUDY_EXPERIMENTS");
    command.current_dir(room.path()).args(["explain", "request.json"]).args(args);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_decision_is_told_with_its_reason_and_no_credential_is_shown() {
    let body = r#"{"model":"support-bot","messages":[{"role":"user","content":"hi"}],"seed":1,"max_tokens":9,
        "stream":true,"stream_options":{"include_usage":true}}"#;
    let headers = ["--header", "x-user-id: 7", "--header", "authorization: Bearer sk-secret"];
    let (code, text, _) = explain(body, &headers);
    assert_eq!(code, 0);
    for said in [
        "openai, guessed by `messages` in the body",
        "support-bot, answer streamed",
        "1. anthropic/claude-x",
        "translated to anthropic, left out: seed",
        "2. openai/gpt-4o",
        "the caller's goes to openai only",
        "upgrade=next",
        "the header x-user-id stands at",
        "makes a pair",
        "fresh for 24 h",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("sk-secret") && !text.contains("Bearer"), "{text}");
    let (code, json, _) = explain(body, &[&headers[..], &["--json"]].concat());
    assert_eq!(code, 0);
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["experiment"]["variant"], "next");
    assert_eq!(told["targets"][0]["left_out"][0], "seed");
    assert_eq!(told["targets"][0]["cache_key"].as_str().unwrap().len(), 64);
    assert!(!json.contains("sk-secret"), "{json}");
    let counts = |list: &str, name: &str| {
        let rows = told[list].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap()["counts"].as_bool().unwrap()
    };
    for (list, name, expected) in [
        ("fields", "model", false),
        ("fields", "stream", false),
        ("fields", "stream_options", true),
        ("fields", "stream_options.include_usage", false),
        ("fields", "seed", true),
        ("headers", "authorization", true),
        ("headers", "x-user-id", false),
    ] {
        assert_eq!(counts(list, name), expected, "{list} {name}");
    }
}

#[test]
fn a_choice_is_told_with_the_condition_that_holds_and_what_speaks_for_each() {
    let turns = r#""messages":[{"role":"user","content":"hi"}]"#;
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
    for (body, said) in [
        (
            format!(r#"{{"model":"cheap",{turns}}}"#),
            [
                "1. openai/gpt-4o-mini",
                "by cost",
                "openai/gpt-4o: 4.375 USD per million tokens, pace known to a running sidecar only, \
                 quality 0.50",
            ],
        ),
        (
            format!(r#"{{"model":"cheap",{turns},{tools}}}"#),
            ["1. anthropic/claude-haiku-4-5", "the route cheap, when[0] holds", "by cost"],
        ),
        (
            format!(r#"{{"model":"easy",{turns}}}"#),
            [
                "1. openai/gpt-4o-mini",
                "asked if those before fail or will not do",
                "all but the last are held back for refusal, the word of anthropic/claude-haiku-4-5",
            ],
        ),
        (
            format!(r#"{{"model":"easy",{turns},"web_search_options":{{}}}}"#),
            ["1. openai/gpt-4o", "asked first", "only the last target is asked: server_tools"],
        ),
    ] {
        let (code, text, error) = explain(&body, &[]);
        assert_eq!(code, 0, "{error}");
        said.iter().for_each(|said| assert!(text.contains(said), "{said}: {text}"));
    }
}

#[test]
fn what_would_be_done_about_a_failure_is_told_with_the_limits_in_force() {
    let room = TempDir::new().unwrap();
    let config = "routes:\n  bot:\n    targets: [openai/m, anthropic/n]\n    hedge: { after: 4s }\n\
        \x20   timeouts: { connect: 2s }\n    retry: { attempts: 1, budget: 10% }\n\
        providers:\n  openai: { limits: { requests_per_minute: 500, concurrency: 9 } }\n\
        breaker: { failures: 3 }\n";
    fs::write(room.path().join("understudy.yaml"), config).unwrap();
    let run = |body: &str, args: &[&str]| {
        fs::write(room.path().join("request.json"), body).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
        command.env_remove("UNDERSTUDY_CONFIG").env_remove("UNDERSTUDY_EXPERIMENTS");
        command.current_dir(room.path()).args(["explain", "request.json"]).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let turns = r#""messages":[{"role":"user","content":"hi"}]"#;
    let body = format!(r#"{{"model":"bot",{turns},"stream":true}}"#);
    let text = run(&body, &[]);
    for said in [
        "asked again once at most, for 10 % of calls, after up to 250ms that doubles to 8s",
        "then the next target is asked",
        "the next target is asked beside one that has not begun after 4s, for 5 % of calls",
        "connect 2s, first content 60s, between pieces 30s, everything 600s",
        "openai: 500 calls a minute, 9 calls at once, what it says itself; a call waits 1s at most",
        "anthropic: what it says itself",
        "left alone for 10s after 3 failures in a row, or 50 % of the last 20 calls",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let told: Value = serde_json::from_str(&run(&body, &["--json"])).unwrap();
    let failing = &told["failing"];
    assert_eq!(failing["retry"]["attempts"], 1);
    assert_eq!((&failing["acts"], &failing["hedge"]["after_ms"]), (&Value::Null, &4000.into()));
    assert_eq!(failing["limits"][0]["concurrency"], 9);
    // What acts is not repeated where it may have been done, nor made twice at once.
    let acts = format!(r#"{{"model":"openai/m",{turns},"background":true}}"#);
    let told: Value = serde_json::from_str(&run(&acts, &["--json"])).unwrap();
    let failing = &told["failing"];
    assert!(failing["acts"].is_string(), "{failing}");
    assert_eq!((&failing["hedge"], &failing["retry"]["attempts"]), (&Value::Null, &2.into()));
    assert_eq!(failing["timeouts"]["first_token_ms"], Value::Null);
    assert!(run(&acts, &[]).contains("there is no other target"));
}

#[test]
fn a_request_that_only_one_variant_can_go_on_from_says_who_and_why() {
    let thought = r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}"#;
    let turns = format!(r#"{{"role":"user","content":"hi"}},{thought}"#);
    let body = format!(r#"{{"model":"support-bot","input":[{turns}]}}"#);
    let (code, json, error) = explain(&body, &["--json", "--header", "x-user-id: 7"]);
    assert_eq!(code, 0, "{error}");
    let told: Value = serde_json::from_str(&json).unwrap();
    let experiment = &told["experiment"];
    assert_eq!(
        (&experiment["variant"], &experiment["served"]),
        (&"next".into(), &"control".into())
    );
    assert_eq!(experiment["pinned"], "signed_history");
    assert_eq!(experiment["is_pair"], false);
    assert_eq!(told["targets"][0]["target"], "openai/gpt-4o");
    let (_, text, _) = explain(&body, &["--header", "x-user-id: 7"]);
    assert!(text.contains("pinned to control (signed history)"), "{text}");
}

#[test]
fn the_dialect_is_guessed_from_the_body_or_told_by_the_path() {
    let turns = r#""messages":[{"role":"user","content":"hi"}]"#;
    for (body, path, expected) in [
        (format!(r#"{{"model":"support-bot",{turns}}}"#), None, "openai"),
        (
            format!(r#"{{"model":"support-bot","max_tokens":5,"system":"x",{turns}}}"#),
            None,
            "anthropic",
        ),
        (
            format!(r#"{{"model":"support-bot","max_tokens":5,{turns}}}"#),
            Some("/anthropic/v1/messages"),
            "anthropic",
        ),
        (r#"{"model":"support-bot","input":"hi"}"#.to_owned(), None, "openai-responses"),
        (r#"{"model":"support-bot","prompt":"hi"}"#.to_owned(), None, "completions"),
        (
            r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#.to_owned(),
            Some("/v1beta/models/support-bot:streamGenerateContent?alt=sse&key=k"),
            "gemini",
        ),
    ] {
        let path = path.map_or(vec!["--json"], |path| vec!["--json", "--path", path]);
        let (code, json, error) = explain(&body, &path);
        assert_eq!(code, 0, "{body}: {error}");
        let told: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(told["dialect"], expected, "{body}");
        assert_eq!(told["guessed_by"].is_null(), path.len() > 1, "{body}");
    }
}

#[test]
fn what_cannot_be_explained_is_refused_with_its_place_and_remedy() {
    let good = r#"{"model":"support-bot","messages":[{"role":"user","content":"hi"}]}"#;
    for (body, args, said) in [
        ("{", &[][..], "line 1, column 1"),
        ("[]", &[], "is not a request"),
        ("{\"model\":\"x\"}", &[], "--path /v1/chat/completions"),
        ("{\"contents\":[]}", &[], "--path /v1beta/models/"),
        (good, &["--path", "/v2/chat"], "no request for an answer goes to /v2/chat"),
        (good, &["--header", "sk-secret"], "--header takes a name and a value"),
        (good, &["--header", "a b: c"], "cannot be the name of a header"),
    ] {
        let (code, out, error) = explain(body, args);
        assert_eq!((code, out.as_str()), (2, ""), "{body}: {error}");
        assert!(error.contains(said) && !error.contains("sk-secret"), "{body}: {error}");
    }
}
