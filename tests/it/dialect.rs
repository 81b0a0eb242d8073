//! Dialects in both directions: what is written is read back, and requests change only where meant.

mod anthropic;
mod cohere;
mod completions;
mod converse;
mod crossing;
mod embeddings;
mod gemini;
mod openai;
mod responses;
mod variant;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::chat::DIALECTS;
use understudy::chat::DialectName;
use understudy::wire;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, name) in DIALECTS {
            let dialect = name.dialect();
            let in_path = InPath { model: "m".into(), stream: false };
            for in_path in [None, Some(in_path)] {
                if let Ok(head) = dialect.read_head(Bytes::from(bytes.clone()), in_path) {
                    let _ = dialect.read(&head);
                }
            }
            let _ = wire::fold(dialect, true, [&bytes[..]]);
            let _ = wire::fold(dialect, false, [&bytes[..]]);
        }
    }
}

/// Requests whose every byte but the model's name has to survive.
#[test]
fn only_the_models_name_changes_on_the_way_up() {
    for (body, renamed) in [
        (r#"{"model":"a","messages":[]}"#, r#"{"model":"b/c","messages":[]}"#),
        (
            "{ \"messages\" : [ ],\n\t\"x\":1e2, \"model\" :  \"\\u0061\" }",
            "{ \"messages\" : [ ],\n\t\"x\":1e2, \"model\" :  \"b/c\" }",
        ),
        (
            r#"{"messages":[{"content":"\"model\":\"a\""}],"model":"a","model_":"a"}"#,
            r#"{"messages":[{"content":"\"model\":\"a\""}],"model":"b/c","model_":"a"}"#,
        ),
    ] {
        let dialect = DialectName::OpenAi.dialect();
        let head = dialect.read_head(Bytes::from_static(body.as_bytes()), None).unwrap();
        let write = |model: &str| {
            let to = Recipient { model, quirks: &Quirks::NONE };
            wire::rewrite(&head, dialect, dialect, &to).unwrap().body
        };
        assert_eq!(write("b/c"), renamed);
        assert_eq!(write("a"), body, "an unchanged name leaves every byte");
    }
}

#[test]
fn a_patch_is_a_json_merge_patch() {
    let dialect = DialectName::OpenAi.dialect();
    let body = r#"{"model":"a","messages":[],"temperature":1,"extra":{"keep":1,"drop":2}}"#;
    let head = dialect.read_head(Bytes::from_static(body.as_bytes()), None).unwrap();
    let patch = json!({"temperature": 0, "extra": {"drop": null, "new": [1]}, "gone": null});
    let Value::Object(patch) = patch else { unreachable!() };
    let to = Recipient { model: "b", quirks: &Quirks::NONE };
    let written = wire::rewrite(&head, dialect, dialect, &to).unwrap().body;
    let written = wire::json::patch(&written, &patch).unwrap();
    let expected = r#"{"model":"b","messages":[],"temperature":0,"extra":{"keep":1,"new":[1]}}"#;
    assert_eq!(written, expected, "the order of fields stays");
}

#[test]
fn a_conversation_keeps_its_name_as_it_grows() {
    let dialect = DialectName::OpenAi.dialect();
    let conversation = |body: Value| {
        dialect.conversation(&dialect.read_head(Bytes::from(body.to_string()), None).unwrap())
    };
    let named = |messages: Value| conversation(json!({"model": "m", "messages": messages}));
    let turn = |role: &str, text: &str| json!({"role": role, "content": text});
    let first = named(json!([turn("system", "s"), turn("user", "hi")]));
    let grown = json!([
        turn("system", "s"),
        turn("user", "hi"),
        turn("assistant", "yes"),
        turn("user", "so")
    ]);
    assert_eq!(first, named(grown));
    assert_ne!(first, named(json!([turn("system", "s"), turn("user", "hello")])));
    let by_user = |text: &str| {
        conversation(json!({"model": "m", "messages": [turn("user", text)], "user": "u1"}))
    };
    assert_eq!(by_user("a"), by_user("b"), "the application's own name of its user wins");
}
