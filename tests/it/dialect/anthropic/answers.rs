//! Oddities of Anthropic's answers, and answers of every shape written as Anthropic's.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::chat::ChatEvent;
use understudy::chat::Citation;
use understudy::chat::DialectName;
use understudy::chat::Maker;
use understudy::chat::ProviderError;
use understudy::chat::Seal;
use understudy::chat::Sealed;
use understudy::chat::Stop;
use understudy::chat::Usage;
use understudy::wire;

use crate::recordings;

fn decoded(pieces: &[Value]) -> Vec<ChatEvent> {
    let stream: String = pieces
        .iter()
        .map(|data| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or("x")))
        .collect();
    let mut events = Vec::new();
    let dialect = DialectName::Anthropic.dialect();
    wire::events(dialect, true, [stream.as_bytes()], |event| events.push(event));
    events
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: text.to_owned() }
}

fn reasoning(text: &str) -> ChatEvent {
    ChatEvent::Reasoning { choice: 0, text: text.to_owned() }
}

fn seal(by: Maker, on: Sealed, data: &str) -> ChatEvent {
    ChatEvent::Seal { choice: 0, on, seal: Seal { by, data: data.to_owned() } }
}

fn call(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> ChatEvent {
    let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
    ChatEvent::ToolCall { choice: 0, index, id, name, arguments: arguments.to_owned() }
}

fn finish(reason: &str, stop: Option<Stop>) -> ChatEvent {
    ChatEvent::Finish { choice: 0, reason: reason.to_owned(), stop }
}

fn begin(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn grow(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn end(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

#[test]
fn every_oddity_of_a_stream_is_read() {
    let piece = |text: &str| json!({"type": "input_json_delta", "partial_json": text});
    let tool = |input: Value| json!({"type": "tool_use", "id": "t", "name": "f", "input": input});
    let named = call(0, Some("t"), Some("f"), "");
    let page = Citation {
        url: Some("u".into()),
        title: Some("T".into()),
        quote: Some("q".into()),
        span: Some((1, 3)),
    };
    let source = json!({"type": "web_search_result_location", "url": "u", "title": "T",
                        "cited_text": "q", "encrypted_index": "e"});
    for (what, pieces, expected) in [
        (
            "text in the start of a block",
            vec![begin(0, json!({"type": "text", "text": "a"})), end(0)],
            vec![text("a")],
        ),
        (
            "a citation follows what it supports, which it may precede on the wire",
            vec![
                begin(0, json!({"type": "text", "text": "ä"})),
                end(0),
                begin(1, json!({"type": "text", "text": "", "citations": []})),
                grow(1, json!({"type": "citations_delta", "citation": source})),
                grow(1, json!({"type": "text_delta", "text": "öü"})),
                end(1),
            ],
            vec![text("ä"), text("öü"), ChatEvent::Citation { choice: 0, citation: page }],
        ),
        (
            "input in the start of a block",
            vec![begin(0, tool(json!({"a": 1}))), end(0)],
            vec![named.clone(), call(0, None, None, "{\"a\":1}")],
        ),
        (
            "pieces replace the input of the start",
            vec![begin(0, tool(json!({}))), grow(0, piece("")), grow(0, piece("{}")), end(0)],
            vec![named.clone(), call(0, None, None, "{}")],
        ),
        (
            "what the provider runs is no call of the application's",
            vec![
                begin(0, json!({"type": "server_tool_use", "id": "s", "name": "w", "input": {}})),
                grow(0, piece("{\"q\":1}")),
                end(0),
                begin(1, json!({"type": "web_search_tool_result", "content": [{"a": 1}]})),
            ],
            vec![
                ChatEvent::Other { choice: 0, kind: "server_tool_use".into() },
                ChatEvent::Other { choice: 0, kind: "web_search_tool_result".into() },
            ],
        ),
        (
            "thinking of which only the signature is there",
            vec![
                begin(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
                grow(0, json!({"type": "signature_delta", "signature": "S"})),
                end(0),
                begin(1, json!({"type": "redacted_thinking", "data": "D"})),
            ],
            vec![
                seal(Maker::Anthropic, Sealed::Reasoning, "S"),
                seal(Maker::Anthropic, Sealed::Hidden, "D"),
            ],
        ),
        (
            "unknown events and pieces, and fields of other types",
            vec![
                json!({"type": "ping"}),
                json!({"type": "novelty", "index": "x", "delta": 7}),
                begin(0, json!({"type": "text", "text": null, "citations": 3})),
                grow(0, json!({"type": "novel_delta", "text": "no"})),
                json!({"type": "content_block_delta", "index": -1, "delta": "x"}),
                json!({"type": "content_block_start", "index": 1e300, "content_block": []}),
            ],
            vec![],
        ),
        (
            "a refusal with its explanation",
            vec![
                json!({"type": "message_delta", "usage": null, "delta": {"stop_reason": "refusal",
                        "stop_details": {"type": "refusal", "explanation": "no"}}}),
            ],
            vec![
                ChatEvent::Refusal { choice: 0, text: "no".into() },
                finish("refusal", Some(Stop::ContentFilter)),
            ],
        ),
        (
            "a paused turn",
            vec![json!({"type": "message_delta", "delta": {"stop_reason": "pause_turn"}})],
            vec![finish("pause_turn", None)],
        ),
        (
            "one end, however often it is said",
            vec![json!({"type": "message_stop"}), json!({"type": "message_stop"})],
            vec![ChatEvent::Done],
        ),
    ] {
        assert_eq!(decoded(&pieces), expected, "{what}");
    }
}

#[test]
fn usage_is_the_last_of_every_count_and_a_new_message_counts_anew() {
    let start = |usage: Value| json!({"type": "message_start", "message": {"usage": usage}});
    let events = decoded(&[
        start(json!({"input_tokens": 99, "cache_read_input_tokens": 9, "output_tokens": 9})),
        start(json!({"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 1})),
        json!({"type": "message_delta", "usage": {"output_tokens": 20.0, "input_tokens": null,
               "cache_creation_input_tokens": 3, "output_tokens_details": {"thinking_tokens": 5}}}),
    ]);
    let last = events.into_iter().rev().find_map(|event| match event {
        ChatEvent::Usage(usage) => Some(usage),
        _ => None,
    });
    let expected = Usage {
        input_tokens: Some(17),
        output_tokens: Some(20),
        total_tokens: Some(37),
        cached_input_tokens: Some(4),
        cache_write_tokens: Some(3),
        cache_write_1h_tokens: None,
        reasoning_tokens: Some(5),
    };
    assert_eq!(last, Some(expected));
}

#[test]
fn every_shape_of_error_is_read() {
    for (body, kind, message) in [
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"r"}"#,
            "overloaded_error",
            "m",
        ),
        (r#"{"error":{"message":"m","type":"not_found_error"}}"#, "not_found_error", "m"),
        (r#"[{"error":{"code":429,"message":"m","status":"X"}}]"#, "X", "m"),
        (r#"{"type":"error","error":"m"}"#, "", "m"),
        (r#"{"message":"m"}"#, "", "m"),
        (r#"{"type":"error","error":null}"#, "", "an error without a message"),
        (r#"{"id":"x"}"#, "malformed", "neither an answer nor an error message"),
        ("<html>", "malformed", "not JSON: line 1 column 1"),
        ("", "malformed", "not JSON: line 1 column 0"),
        ("3", "malformed", "neither an answer nor an error message"),
    ] {
        let dialect = DialectName::Anthropic.dialect();
        let events = dialect.decode_body(body.as_bytes());
        let [ChatEvent::Error(error)] = &events[..] else { panic!("{body}: {events:?}") };
        assert_eq!(error.kind.as_deref().unwrap_or_default(), kind, "{body}");
        assert_eq!(error.message, message, "{body}");
    }
    let events = decoded(&[
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    ]);
    assert!(matches!(&events[..], [ChatEvent::Error(error)] if error.message == "Overloaded"));
}

/// The stream in short: `+text`, a delta, `-0`, the end.
fn told(events: &[ChatEvent]) -> Vec<String> {
    let bytes = recordings::written(DialectName::Anthropic, events, true);
    let stream = String::from_utf8(bytes).unwrap();
    let mut out = Vec::new();
    for frame in stream.split_terminator("\n\n") {
        let (event, data) = frame.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event.strip_prefix("event: "), data["type"].as_str());
        let index = &data["index"];
        out.push(match data["type"].as_str().unwrap() {
            "message_start" => format!("start {}", data["message"]["usage"]),
            "content_block_start" => {
                let block = &data["content_block"];
                let id = block["id"].as_str().or(block["data"].as_str()).unwrap_or_default();
                format!("{index}+{} {id}", block["type"].as_str().unwrap())
            }
            "content_block_delta" => {
                let delta = data["delta"].as_object().unwrap();
                let (_, piece) = delta.iter().find(|(key, _)| *key != "type").unwrap();
                format!("{index}:{}", piece.as_str().unwrap_or("citation"))
            }
            "content_block_stop" => format!("{index}-"),
            "message_delta" => {
                format!("{} {}", data["delta"]["stop_reason"].as_str().unwrap(), data["usage"])
            }
            "error" => format!("error {}", data["error"]["type"].as_str().unwrap()),
            other => other.to_owned(),
        });
    }
    out
}

#[test]
fn any_order_of_events_makes_a_stream_that_clients_read() {
    let start = "start {\"input_tokens\":7,\"output_tokens\":0}";
    let over = |reason: &str, tokens: u64| format!("{reason} {{\"output_tokens\":{tokens}}}");
    let cited = Citation { url: Some("u".into()), ..Citation::default() };
    let cited = ChatEvent::Citation { choice: 0, citation: cited };
    let done = ChatEvent::Done;
    let gemini = |on: Sealed| seal(Maker::Gemini, on, "G");
    let marked = "understudy-seal:gemini:G";
    let check = |what: &str, events: &[ChatEvent], expected: &[&str]| {
        assert_eq!(told(events), expected, "{what}");
    };
    check("nothing", std::slice::from_ref(&done), &[start, &over("end_turn", 0), "message_stop"]);
    check(
        "interleaved calls end when they are complete and another block begins",
        &[
            text("abcd"),
            call(3, Some("x"), Some("f"), ""),
            call(4, None, Some("g"), "{\"b\":"),
            call(3, None, None, "{\"a\":\"}\"}"),
            call(4, None, None, "2}"),
            text("e"),
            done.clone(),
        ],
        &[
            start,
            "0+text ",
            "0:abcd",
            "0-",
            "1+tool_use x",
            "2+tool_use call_0199test_4",
            "2:{\"b\":",
            "1:{\"a\":\"}\"}",
            "2:2}",
            "1-",
            "2-",
            "3+text ",
            "3:e",
            "3-",
            &over("tool_use", 6),
            "message_stop",
        ],
    );
    check(
        "reasoning after text, and seals of another maker",
        &[
            text("t"),
            reasoning("r"),
            seal(Maker::OpenAi, Sealed::Reasoning, "O"),
            reasoning("s"),
            call(0, Some("x"), Some("f"), "{}"),
            gemini(Sealed::ToolCall(0)),
            finish("STOP", Some(Stop::ToolCalls)),
            done.clone(),
        ],
        &[
            start,
            "0+text ",
            "0:t",
            "0-",
            "1+thinking ",
            "1:r",
            "1:understudy-seal:openai:O",
            "1-",
            "2+thinking ",
            "2:s",
            "2-",
            "3+tool_use x",
            "3:{}",
            "3-",
            &format!("4+redacted_thinking {marked}"),
            "4-",
            &over("tool_use", 2),
            "message_stop",
        ],
    );
    check(
        "text after a citation stands apart",
        &[text("a"), cited.clone(), cited, text("b"), done.clone()],
        &[
            start,
            "0+text ",
            "0:a",
            "0:citation",
            "0:citation",
            "0-",
            "1+text ",
            "1:b",
            "1-",
            &over("end_turn", 1),
            "message_stop",
        ],
    );
    check(
        "only the first answer, and a refusal's words",
        &[
            ChatEvent::Text { choice: 1, text: "other".into() },
            ChatEvent::Refusal { choice: 0, text: "no".into() },
            finish("stop", Some(Stop::Stop)),
            done.clone(),
        ],
        &[start, "0+text ", "0:no", "0-", &over("refusal", 1), "message_stop"],
    );
    check(
        "an error ends it without an end mark",
        &[text("a"), ChatEvent::Error(ProviderError::default()), done],
        &[start, "0+text ", "0:a", "error api_error"],
    );
}

#[test]
fn tokens_are_told_as_soon_as_they_are_known_and_as_anthropic_counts() {
    let usage = |output: Option<u64>| {
        ChatEvent::Usage(Usage {
            input_tokens: Some(30),
            output_tokens: output,
            cached_input_tokens: Some(20),
            reasoning_tokens: output,
            ..Usage::default()
        })
    };
    let start = ChatEvent::Start { id: None, model: None, fingerprint: None };
    let known = r#"{"input_tokens":10,"cache_read_input_tokens":20,"output_tokens":0}"#;
    let end = r#"{"input_tokens":10,"cache_read_input_tokens":20,"output_tokens":8,"output_tokens_details":{"thinking_tokens":8}}"#;
    let early = told(&[start, usage(None), text("a"), usage(Some(8)), ChatEvent::Done]);
    assert_eq!(early.first(), Some(&format!("start {known}")));
    assert_eq!(early[4], format!("end_turn {end}"));
    let late = told(&[finish("stop", Some(Stop::Stop)), usage(Some(8)), ChatEvent::Done]);
    assert_eq!(late[1], format!("end_turn {end}"));
}

#[test]
fn why_it_ended_is_said_in_anthropics_words() {
    let one_call = call(0, Some("x"), Some("f"), "{}");
    for (events, expected) in [
        (vec![finish("pause_turn", None)], "pause_turn"),
        (vec![finish("stop_sequence", Some(Stop::Stop))], "stop_sequence"),
        (vec![finish("length", Some(Stop::Length))], "max_tokens"),
        (vec![finish("SAFETY", Some(Stop::ContentFilter))], "refusal"),
        (vec![finish("UNEXPECTED_TOOL_CALL", None)], "end_turn"),
        (vec![one_call.clone(), finish("stop", Some(Stop::Stop))], "tool_use"),
        (vec![one_call], "tool_use"),
        (vec![], "end_turn"),
    ] {
        let body = recordings::written(DialectName::Anthropic, &events, false);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["stop_reason"], expected, "{events:?}");
    }
}

#[test]
fn a_body_divides_text_where_its_citations_begin_and_end() {
    let cite = |url: &str, span| {
        let citation = Citation { url: Some(url.into()), span, ..Citation::default() };
        ChatEvent::Citation { choice: 0, citation }
    };
    let events = [text("äbc"), text("def"), cite("1", Some((1, 3))), cite("2", Some((4, 6)))];
    let body = recordings::written(DialectName::Anthropic, &events, false);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let blocks: Vec<_> = body["content"].as_array().unwrap().iter().collect();
    let blocks: Vec<_> =
        blocks.iter().map(|block| (&block["text"], &block["citations"][0]["url"])).collect();
    let expected = [("ä", Value::Null), ("bc", json!("1")), ("d", Value::Null), ("ef", json!("2"))];
    for ((text, url), (expected_text, expected_url)) in blocks.into_iter().zip(&expected) {
        assert_eq!((text, url), (&json!(expected_text), expected_url));
    }
    assert_eq!(body["content"].as_array().unwrap().len(), expected.len());
}

#[test]
fn an_error_has_anthropics_class_for_its_status() {
    let dialect = DialectName::Anthropic.dialect();
    let kind_of = |status: u16, kind: Option<&str>| {
        let kind = kind.map(str::to_owned);
        let error = ProviderError { kind, message: "m".into(), ..ProviderError::default() };
        let body: Value = serde_json::from_slice(&dialect.error_body(status, &error)).unwrap();
        let frame = String::from_utf8(dialect.error_frame(status, &error).to_vec()).unwrap();
        assert_eq!(frame, format!("event: error\ndata: {body}\n\n"));
        assert_eq!((&body["type"], &body["error"]["message"]), (&json!("error"), &json!("m")));
        body["error"]["type"].as_str().unwrap().to_owned()
    };
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        assert_eq!(kind_of(status, None), kind, "{status}");
        assert_eq!(kind_of(status, Some("RESOURCE_EXHAUSTED")), kind, "another's word, {status}");
    }
    assert_eq!(kind_of(500, Some("overloaded_error")), "overloaded_error");
    assert_eq!(kind_of(502, Some("provider_error")), "provider_error");
}

fn any_event() -> impl Strategy<Value = ChatEvent> {
    let cited = |url: Option<String>| {
        let citation = Citation { url, span: Some((1, 2)), ..Citation::default() };
        ChatEvent::Citation { choice: 0, citation }
    };
    let on = prop_oneof![
        Just(Sealed::Reasoning),
        Just(Sealed::Hidden),
        Just(Sealed::Text),
        (0..3u32).prop_map(Sealed::ToolCall),
    ];
    let piece = prop::sample::select(vec!["", "{", "}", "{}", "null", "\"", "a\\", "ä"]);
    let id = prop::option::of(prop::sample::select(vec!["x", "y", ""]));
    prop_oneof![
        piece.clone().prop_map(text),
        piece.clone().prop_map(reasoning),
        (on, prop::sample::select(vec![Maker::Anthropic, Maker::Gemini, Maker::OpenAi]))
            .prop_map(|(on, by)| seal(by, on, "S")),
        (0..3u32, id.clone(), id.clone(), piece)
            .prop_map(|(index, id, name, piece)| call(index, id, name, piece)),
        id.prop_map(move |url| cited(url.map(str::to_owned))),
        Just(finish("odd", None)),
        Just(ChatEvent::Usage(Usage::default())),
        Just(ChatEvent::Start { id: None, model: None, fingerprint: None }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Blocks begin in the order of their index, grow while they are open, and each ends once;
    /// the body of the same events has as many blocks or more.
    #[test]
    fn no_order_of_events_breaks_the_frame_of_a_stream(
        events in prop::collection::vec(any_event(), 0..30),
    ) {
        let mut events = events;
        events.push(ChatEvent::Done);
        let (mut begun, mut open) = (0, Vec::new());
        for line in told(&events) {
            let Some(at) = line.find(['+', ':', '-']) else { continue };
            let Ok(index) = line[..at].parse::<usize>() else { continue };
            match &line[at..=at] {
                "+" => {
                    prop_assert_eq!(index, begun);
                    begun += 1;
                    open.push(index);
                }
                ":" => prop_assert!(open.contains(&index), "{} grows when closed", index),
                _ => {
                    prop_assert!(open.contains(&index), "{} ends twice", index);
                    open.retain(|other| *other != index);
                }
            }
        }
        prop_assert!(open.is_empty(), "{:?} never end", open);
        let body = recordings::written(DialectName::Anthropic, &events, false);
        let body: Value = serde_json::from_slice(&body).unwrap();
        prop_assert!(body["content"].as_array().unwrap().len() >= begun);
    }
}

#[test]
fn arguments_that_are_no_object_are_text_in_one() {
    for (pieces, expected) in [
        (vec!["SELECT ", "\"a\"\n"], json!({"input": "SELECT \"a\"\n"})),
        (vec![" ", "[1", "]"], json!({"input": " [1]"})),
        (vec!["null"], json!({})),
        (vec!["{\"a\"", ":1}"], json!({"a": 1})),
    ] {
        let mut events = vec![call(0, Some("c"), Some("f"), "")];
        events.extend(pieces.iter().map(|piece| call(0, None, None, piece)));
        events.push(ChatEvent::Text { choice: 0, text: "after".to_owned() });
        events.push(ChatEvent::Done);
        for is_stream in [false, true] {
            let bytes = recordings::written(DialectName::Anthropic, &events, is_stream);
            let answer = wire::fold(DialectName::Anthropic.dialect(), is_stream, [&bytes[..]]);
            let arguments = &answer.choices[0].tool_calls[0].arguments;
            let arguments = if arguments.is_empty() { "{}" } else { arguments };
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            assert_eq!(arguments, expected, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}
