//! Dialects in both directions: what is written is read back, and requests change only where meant.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::chat::ChatEvent;
use understudy::chat::ProviderError;
use understudy::chat::TokenLogprob;
use understudy::chat::Usage;
use understudy::chat::fold::Fold;
use understudy::wire;
use understudy::wire::DIALECTS;
use understudy::wire::DialectName;

fn event() -> impl Strategy<Value = ChatEvent> {
    let text = ".{1,12}";
    let some = proptest::option::of("[a-z]{1,6}");
    let count = proptest::option::of(0..1_000_000u64);
    prop_oneof![
        (0..3u32, text).prop_map(|(choice, text)| ChatEvent::Text { choice, text }),
        (0..3u32, text).prop_map(|(choice, text)| ChatEvent::Reasoning { choice, text }),
        (0..3u32, text).prop_map(|(choice, text)| ChatEvent::Refusal { choice, text }),
        (0..3u32, text).prop_map(|(choice, text)| ChatEvent::Transcript { choice, text }),
        (0..3u32, 0..4u32, some.clone(), some.clone(), ".{0,8}").prop_map(
            |(choice, index, id, name, arguments)| ChatEvent::ToolCall {
                choice,
                index,
                id,
                name,
                arguments
            }
        ),
        (0..3u32, text, 0..64u8).prop_map(|(choice, token, eighths)| {
            let logprob = -f64::from(eighths) / 8.0;
            let top = vec![(token.clone(), logprob), ("other".to_owned(), -9.5)];
            ChatEvent::Logprobs { choice, tokens: vec![TokenLogprob { token, logprob, top }] }
        }),
        (0..3u32, "[a-z_]{1,10}").prop_map(|(choice, reason)| ChatEvent::Finish { choice, reason }),
        (count.clone(), count.clone(), count.clone(), count).prop_map(|(a, b, c, d)| {
            ChatEvent::Usage(Usage {
                input_tokens: a,
                output_tokens: b,
                cached_input_tokens: c,
                reasoning_tokens: d,
                ..Usage::default()
            })
        }),
        (some.clone(), some, text).prop_map(|(kind, code, message)| {
            ChatEvent::Error(ProviderError { kind, code, message, param: None })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_stream_that_is_written_reads_as_what_was_said(
        events in prop::collection::vec(event(), 0..20),
    ) {
        for (_, name) in DIALECTS {
            let dialect = name.dialect();
            let start =
                ChatEvent::Start { id: Some("id-1".into()), model: Some("model-1".into()) };
            let said = [vec![start], events.clone(), vec![ChatEvent::Done]].concat();
            let (mut encoder, mut bytes, mut fold) = (dialect.encoder(), Vec::new(), Fold::new());
            for event in said {
                encoder.encode(&event, &mut bytes);
                fold.push(event);
            }
            prop_assert_eq!(wire::fold(dialect, true, [&bytes[..]]), fold.finish());
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, name) in DIALECTS {
            let dialect = name.dialect();
            let _ = dialect.read_request(Bytes::from(bytes.clone()));
            let _ = wire::fold(dialect, true, [&bytes[..]]);
            let _ = wire::fold(dialect, false, [&bytes[..]]);
            let _ = dialect.turns(&bytes);
            let _ = dialect.conversation(&bytes);
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
        let request = dialect.read_request(Bytes::from_static(body.as_bytes())).unwrap();
        let write = |model: &str| dialect.write_request(&request, model, None).unwrap();
        assert_eq!(write("b/c"), renamed);
        assert_eq!(write("a"), body, "an unchanged name leaves every byte");
    }
}

#[test]
fn a_patch_is_a_json_merge_patch() {
    let dialect = DialectName::OpenAi.dialect();
    let body = r#"{"model":"a","messages":[],"temperature":1,"extra":{"keep":1,"drop":2}}"#;
    let request = dialect.read_request(Bytes::from_static(body.as_bytes())).unwrap();
    let patch = json!({"temperature": 0, "extra": {"drop": null, "new": [1]}, "gone": null});
    let Value::Object(patch) = patch else { unreachable!() };
    let written = dialect.write_request(&request, "b", Some(&patch)).unwrap();
    let expected = r#"{"model":"b","messages":[],"temperature":0,"extra":{"keep":1,"new":[1]}}"#;
    assert_eq!(written, expected, "the order of fields stays");
}

#[test]
fn a_conversation_keeps_its_name_as_it_grows() {
    let dialect = DialectName::OpenAi.dialect();
    let named = |messages: Value| {
        dialect.conversation(json!({"model": "m", "messages": messages}).to_string().as_bytes())
    };
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
        let body = json!({"model": "m", "messages": [turn("user", text)], "user": "u1"});
        dialect.conversation(body.to_string().as_bytes())
    };
    assert_eq!(by_user("a"), by_user("b"), "the application's own name of its user wins");
}
