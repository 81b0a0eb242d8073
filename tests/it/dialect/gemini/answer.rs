//! Answers: oddities of Google's, errors, and every order of events that another dialect may give.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::ChatEvent;
use understudy::chat::Citation;
use understudy::chat::DialectName;
use understudy::chat::Maker;
use understudy::chat::ProviderError;
use understudy::chat::Seal;
use understudy::chat::Sealed;
use understudy::chat::Stop;
use understudy::chat::TokenLogprob;
use understudy::chat::Usage;
use understudy::chat::request::Request;
use understudy::wire;
use understudy::wire::Asked;

use crate::recordings::written;

const GEMINI: DialectName = DialectName::Gemini;

fn body(body: &str) -> Answer {
    wire::fold(GEMINI.dialect(), false, [body.as_bytes()])
}

fn stream(chunks: &[Value]) -> Answer {
    let text: String = chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect();
    wire::fold(GEMINI.dialect(), true, [text.as_bytes()])
}

fn parts(parts: Value) -> Value {
    json!({"candidates": [{"content": {"parts": parts}}]})
}

#[test]
fn a_list_of_chunks_is_a_stream_in_one_body() {
    let chunk = |text: &str| parts(json!([{"text": text}]));
    let end = json!({"candidates": [{"finishReason": "STOP"}], "responseId": "r"});
    let answer = body(&json!([chunk("a"), chunk("b"), end]).to_string());
    assert_eq!((answer.text(), answer.is_whole(), answer.done), ("ab", true, true));
}

#[test]
fn arguments_are_put_together_from_their_values() {
    let piece = |path: &str, value: Value, more: bool| {
        let mut arg = json!({"jsonPath": path});
        arg.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        parts(json!([{"functionCall": {"partialArgs": [arg], "willContinue": more}}]))
    };
    let begin = parts(json!([{"functionCall": {"name": "f", "id": "1", "willContinue": true}}]));
    let answer = stream(&[
        begin.clone(),
        piece("$.a[1].b", json!({"stringValue": "x", "willContinue": true}), true),
        piece("$.a[1].b", json!({"stringValue": "y\n"}), true),
        piece("$['c d']", json!({"numberValue": 3}), true),
        piece("$.e", json!({"boolValue": true}), true),
        piece("$.n", json!({"nullValue": "NULL_VALUE"}), true),
        piece("$.a[999999999]", json!({"numberValue": 3}), true),
        begin,
        parts(json!([{"functionCall": {"args": {"whole": 1}}}])),
        parts(json!([{"functionCall": {}}])),
        json!({"candidates": [{"finishReason": "STOP"}]}),
    ]);
    let calls = &answer.choices[0].tool_calls;
    let expected = r#"{"a":[null,{"b":"xy\n"}],"c d":3,"e":true,"n":null,"whole":1}"#;
    assert_eq!(calls.len(), 1, "the same id goes on: {calls:?}");
    assert_eq!(calls[0].arguments, expected);
    assert_eq!(answer.choices[0].stop, Some(Stop::ToolCalls));
}

#[test]
fn several_answers_are_told_apart() {
    let answer = stream(&[
        json!({"candidates": [{"index": 1, "content": {"parts": [{"text": "b"}]}},
                              {"index": 0, "content": {"parts": [{"text": "a"}]}}]}),
        json!({"candidates": [{"index": 0, "finishReason": "SAFETY"},
                              {"index": 1, "finishReason": "NEW_WORD"}]}),
    ]);
    let told = answer.choices.iter().map(|choice| (choice.text.as_str(), choice.stop));
    assert_eq!(told.collect::<Vec<_>>(), [("a", Some(Stop::ContentFilter)), ("b", None)]);
    assert!(answer.is_whole());
}

#[test]
fn sources_are_cited_in_characters_and_once() {
    let grounding = json!({
        "groundingChunks": [{"web": {"uri": "u", "title": "t"}},
                            {"retrievedContext": {"title": "d", "text": "q"}}],
        "groundingSupports": [{"segment": {"startIndex": 3, "endIndex": 8},
                               "groundingChunkIndices": [0, 7]}]});
    let chunk = json!({"candidates": [{"groundingMetadata": grounding}]});
    let answer = stream(&[
        parts(json!([{"text": "é "}])),
        parts(json!([{"text": "ab€"}])),
        chunk.clone(),
        chunk,
    ]);
    let (url, title) = (Some("u".to_owned()), Some("t".to_owned()));
    let quote = Some("q".to_owned());
    let expected = [
        Citation { url, title, quote: None, span: Some((2, 5)) },
        Citation { url: None, title: Some("d".into()), quote, span: None },
    ];
    assert_eq!(answer.choices[0].citations, expected);
}

#[test]
fn a_field_of_the_wrong_type_costs_only_itself() {
    let answer = body(
        r#"{"responseId":5,"modelVersion":"m","candidates":[{"index":"x","finishReason":"STOP",
            "content":{"parts":[{"text":"a","thought":"no"},{"text":"b"},7,null]}}],
            "usageMetadata":{"promptTokenCount":-1,"totalTokenCount":3}}"#,
    );
    assert_eq!((answer.text(), answer.model.as_deref()), ("ab", Some("m")));
    assert_eq!(answer.usage.unwrap().total_tokens, Some(3));
    assert!(answer.is_whole());
}

#[test]
fn errors_are_read_in_every_shape() {
    for (body_text, kind, code, wait_ms, message) in [
        (
            r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m","details":[{},
               {"@type":"x.RetryInfo","retryDelay":"34.4s"}]}}"#,
            Some("RESOURCE_EXHAUSTED"),
            Some("429"),
            Some(34_400),
            "m",
        ),
        (r#"[{"error":{"code":400,"message":"m"}}]"#, None, Some("400"), None, "m"),
        (r#"{"error":"m"}"#, None, None, None, "m"),
        (r#"{}"#, Some("malformed"), None, None, "neither an answer nor an error message"),
        (r#"[]"#, Some("malformed"), None, None, "neither an answer nor an error message"),
        (r#"7"#, Some("malformed"), None, None, "neither an answer nor an error message"),
        (r#"{"#, Some("malformed"), None, None, "not JSON: line 1 column 1"),
    ] {
        let answer = body(body_text);
        let expected = ProviderError {
            kind: kind.map(str::to_owned),
            code: code.map(str::to_owned),
            message: message.to_owned(),
            param: None,
            retry_after_ms: wait_ms,
        };
        assert_eq!(answer.error, Some(expected), "{body_text}");
        assert!(!answer.is_whole() && !answer.done, "{body_text}");
    }
}

#[test]
fn errors_are_written_in_googles_shape() {
    let error = |kind: Option<&str>, code: Option<&str>, retry_after_ms| ProviderError {
        kind: kind.map(str::to_owned),
        code: code.map(str::to_owned),
        message: "m".into(),
        param: None,
        retry_after_ms,
    };
    for (status, error, word) in [
        (400, error(Some("invalid_request_error"), Some("bad"), None), "INVALID_ARGUMENT"),
        (401, error(None, None, None), "UNAUTHENTICATED"),
        (403, error(None, None, None), "PERMISSION_DENIED"),
        (404, error(None, None, None), "NOT_FOUND"),
        (418, error(None, None, None), "INVALID_ARGUMENT"),
        (429, error(None, None, Some(1500)), "RESOURCE_EXHAUSTED"),
        (500, error(Some("UNAVAILABLE"), Some("500"), None), "UNAVAILABLE"),
        (503, error(None, None, None), "UNAVAILABLE"),
        (504, error(None, None, None), "DEADLINE_EXCEEDED"),
        (599, error(None, None, None), "INTERNAL"),
    ] {
        let written = GEMINI.dialect().error_body(status, &error);
        let value: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(value["error"]["code"], status);
        assert_eq!(value["error"]["status"], word);
        let again = body(std::str::from_utf8(&written).unwrap()).error.unwrap();
        assert_eq!((again.message, again.retry_after_ms), (error.message, error.retry_after_ms));
        // Google's SDK knows a failed stream by how its chunk begins.
        let frame = GEMINI.dialect().error_frame(status, &ProviderError::default());
        assert!(frame.starts_with(b"data: {\"error\":"));
    }
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: text.into() }
}

fn call(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> ChatEvent {
    let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
    ChatEvent::ToolCall { choice: 0, index, id, name, arguments: arguments.into() }
}

fn finish(reason: &str, stop: Option<Stop>) -> ChatEvent {
    ChatEvent::Finish { choice: 0, reason: reason.into(), stop }
}

fn seal(on: Sealed, by: Maker) -> ChatEvent {
    ChatEvent::Seal { choice: 0, on, seal: Seal { by, data: "c2ln".into() } }
}

/// Every event of every kind, in an order that no dialect forbids.
#[test]
fn everything_said_is_read_again_from_both_forms() {
    let logprob = TokenLogprob { token: "t".into(), logprob: -0.5, top: vec![("t".into(), -0.5)] };
    let citation = Citation {
        url: Some("u".into()),
        title: Some("t".into()),
        quote: None,
        span: Some((1, 3)),
    };
    let events = [
        ChatEvent::Usage(Usage { input_tokens: Some(1), ..Usage::default() }),
        ChatEvent::Reasoning { choice: 0, text: "hm".into() },
        seal(Sealed::Reasoning, Maker::Anthropic),
        seal(Sealed::Hidden, Maker::OpenAi),
        text("aé"),
        text("c"),
        seal(Sealed::Text, Maker::Gemini),
        call(3, Some("x"), Some("f"), "{\"a\":"),
        call(5, None, Some("g"), ""),
        text("d"),
        call(3, None, None, "1}"),
        seal(Sealed::ToolCall(5), Maker::Gemini),
        ChatEvent::Reasoning { choice: 0, text: "late".into() },
        ChatEvent::Citation { choice: 0, citation: citation.clone() },
        ChatEvent::Logprobs { choice: 0, tokens: vec![logprob.clone()] },
        ChatEvent::Media { choice: 0, mime: "image/png".into(), data: "AA==".into() },
        ChatEvent::Text { choice: 2, text: "two".into() },
        ChatEvent::Other { choice: 0, kind: "x".into() },
        finish("tool_calls", Some(Stop::ToolCalls)),
        ChatEvent::Finish { choice: 2, reason: "length".into(), stop: Some(Stop::Length) },
        ChatEvent::Usage(Usage {
            input_tokens: Some(4),
            output_tokens: Some(9),
            reasoning_tokens: Some(2),
            ..Usage::default()
        }),
        ChatEvent::Done,
    ];
    for is_stream in [false, true] {
        let bytes = written(GEMINI, &events, is_stream);
        let answer = wire::fold(GEMINI.dialect(), is_stream, [&bytes[..]]);
        assert!(answer.is_whole());
        assert_eq!(answer.id.as_deref(), Some("0199test"));
        assert_eq!(answer.model.as_deref(), Some("model-asked"));
        let [zero, two] = &answer.choices[..] else { panic!("{answer:?}") };
        assert_eq!((zero.text.as_str(), zero.reasoning.as_str()), ("aécd", "hmlate"));
        let calls = zero.tool_calls.iter();
        let calls: Vec<_> = calls
            .map(|call| (call.id.as_deref(), call.name.as_str(), call.arguments.as_str()))
            .collect();
        assert_eq!(calls, [(Some("x"), "f", "{\"a\":1}"), (None, "g", "{}")]);
        let makers: Vec<_> = zero.seals.iter().map(|seal| seal.by).collect();
        assert_eq!(makers, [Maker::Anthropic, Maker::OpenAi, Maker::Gemini, Maker::Gemini]);
        assert!(zero.seals.iter().all(|seal| seal.data == "c2ln"));
        assert_eq!(zero.citations, std::slice::from_ref(&citation));
        assert_eq!(zero.logprobs, std::slice::from_ref(&logprob));
        assert_eq!(zero.media, [("image/png".to_owned(), "AA==".to_owned())]);
        assert_eq!(zero.stop, Some(Stop::ToolCalls));
        assert_eq!((two.text.as_str(), two.stop), ("two", Some(Stop::Length)));
        let usage = answer.usage.unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(4), Some(9)));
        assert_eq!((usage.reasoning_tokens, usage.total_tokens), (Some(2), None));
    }
}

#[test]
fn words_are_never_held_back() {
    let asked = asked(false);
    let mut encoder = GEMINI.dialect().encoder(&asked);
    for event in [text("a"), call(0, Some("i"), Some("f"), "{"), text("b")] {
        let mut out = Vec::new();
        encoder.encode(&event, &mut out);
        assert_eq!(out.is_empty(), matches!(event, ChatEvent::ToolCall { .. }), "{event:?}");
        assert!(out.is_empty() || out.ends_with(b"\r\n\r\n"));
    }
}

fn asked(in_array: bool) -> Asked {
    Asked {
        request: Arc::new(Request::new(GEMINI, "m")),
        id: "i".into(),
        created_s: 0,
        input_estimate: 1,
        in_array,
    }
}

#[test]
fn a_stream_can_be_one_list() {
    let failure = ProviderError { message: "m".into(), ..ProviderError::default() };
    for (events, said, is_whole) in [
        (vec![ChatEvent::Done], "", false),
        (vec![text("a"), text("b"), finish("stop", Some(Stop::Stop)), ChatEvent::Done], "ab", true),
        (vec![text("a"), ChatEvent::Error(failure)], "a", false),
    ] {
        let mut encoder = GEMINI.dialect().encoder(&asked(true));
        let mut out = Vec::new();
        events.iter().for_each(|event| encoder.encode(event, &mut out));
        let chunks: Vec<Value> = serde_json::from_slice(&out).unwrap();
        assert!(!chunks.is_empty());
        let answer = body(std::str::from_utf8(&out).unwrap());
        assert_eq!((answer.text(), answer.is_whole()), (said, is_whole), "{events:?}");
    }
}

#[test]
fn a_failure_does_not_look_like_an_end() {
    let failure = ProviderError {
        kind: Some("overloaded_error".into()),
        message: "m".into(),
        ..ProviderError::default()
    };
    let events = [
        text("a"),
        call(0, Some("i"), Some("whole"), "{\"a\":1}"),
        call(1, Some("j"), Some("cut"), "{\"a\":"),
        finish_of_another_choice(),
        ChatEvent::Error(failure),
    ];
    let bytes = written(GEMINI, &events, true);
    let answer = wire::fold(GEMINI.dialect(), true, [&bytes[..]]);
    assert!(!answer.is_whole());
    assert_eq!(answer.error.unwrap().kind.as_deref(), Some("UNAVAILABLE"));
    let names: Vec<_> = answer.choices[0].tool_calls.iter().map(|call| &call.name).collect();
    assert_eq!(names, ["whole"]);
    assert!(answer.choices.iter().all(|choice| choice.finish.is_none()));
}

fn finish_of_another_choice() -> ChatEvent {
    ChatEvent::Finish { choice: 1, reason: "stop".into(), stop: Some(Stop::Stop) }
}

#[test]
fn an_end_is_told_in_googles_words() {
    for (events, word) in [
        (vec![finish("end_turn", Some(Stop::Stop))], "STOP"),
        (vec![finish("max_tokens", Some(Stop::Length))], "MAX_TOKENS"),
        (vec![finish("refusal", Some(Stop::ContentFilter))], "SAFETY"),
        (vec![finish("pause_turn", None)], "OTHER"),
        (vec![finish("RECITATION", Some(Stop::ContentFilter))], "RECITATION"),
        (vec![text("no end")], "STOP"),
        (vec![finish("blocked:JAILBREAK", Some(Stop::ContentFilter))], "blocked:JAILBREAK"),
    ] {
        let mut events = events;
        events.push(ChatEvent::Done);
        for is_stream in [false, true] {
            let bytes = written(GEMINI, &events, is_stream);
            let answer = wire::fold(GEMINI.dialect(), is_stream, [&bytes[..]]);
            let choice = answer.choices.first();
            let got = choice.and_then(|choice| choice.finish.as_deref());
            assert_eq!(got, Some(word), "{events:?}");
        }
    }
}

#[test]
fn arguments_that_are_no_object_are_kept_as_text() {
    for (arguments, expected) in [
        ("", "{}"),
        ("null", "{}"),
        ("{\"a\": 1.50}", "{\"a\": 1.50}"),
        ("{\n \"a\": 1}", "{\"a\":1}"),
        ("{\"a\":", "{\"input\":\"{\\\"a\\\":\"}"),
        ("[1]", "{\"input\":\"[1]\"}"),
    ] {
        let events =
            [call(0, None, Some("f"), arguments), finish("x", Some(Stop::Stop)), ChatEvent::Done];
        for is_stream in [false, true] {
            let bytes = written(GEMINI, &events, is_stream);
            let answer = wire::fold(GEMINI.dialect(), is_stream, [&bytes[..]]);
            assert_eq!(answer.choices[0].tool_calls[0].arguments, expected, "{arguments}");
        }
    }
}
