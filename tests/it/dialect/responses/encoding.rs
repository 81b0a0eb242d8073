//! What is written: the choreography of events, whole bodies, failures.

use std::sync::Arc;

use bytes::Bytes;
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
use understudy::chat::Usage;
use understudy::chat::request::PartKind;
use understudy::wire;
use understudy::wire::Asked;
use understudy::wire::Dialect;

fn dialect() -> &'static dyn Dialect {
    DialectName::Responses.dialect()
}

fn asked(body: &Value) -> Asked {
    let head = dialect().read_head(Bytes::from(body.to_string()), None).unwrap();
    Asked {
        request: Arc::new(dialect().read(&head).unwrap()),
        id: "0199-x".to_owned(),
        created_s: 1_700_000_000,
        input_estimate: 7,
        in_array: false,
    }
}

fn plain() -> Asked {
    asked(&json!({"model": "m", "input": "hi"}))
}

/// The events on the wire, checked for what every stream must keep.
fn streamed(asked: &Asked, events: &[ChatEvent]) -> Vec<Value> {
    let mut encoder = dialect().encoder(asked);
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encoder.encode(event, &mut bytes));
    let text = String::from_utf8(bytes).unwrap();
    let frames = text.split_terminator("\n\n").map(|frame| {
        let (name, data) = frame.split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
        data
    });
    let frames: Vec<Value> = frames.collect();
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(frame["sequence_number"], json!(at));
    }
    let ids: Vec<&Value> =
        frames.iter().filter_map(|frame| frame.get("response").map(|r| &r["id"])).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "an answer's id may not change");
    frames
}

fn whole(asked: &Asked, events: &[ChatEvent]) -> Value {
    serde_json::from_slice(&dialect().encode_body(asked, events)).unwrap()
}

fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

fn again(frames: &[Value]) -> Answer {
    let text: String = frames.iter().map(|frame| format!("data: {frame}\n\n")).collect();
    wire::fold(dialect(), true, [text.as_bytes()])
}

fn start() -> ChatEvent {
    ChatEvent::Start {
        id: Some("msg_7".into()),
        model: Some("other-model".into()),
        fingerprint: None,
    }
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: text.into() }
}

fn thought(text: &str) -> ChatEvent {
    ChatEvent::Reasoning { choice: 0, text: text.into() }
}

fn call(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> ChatEvent {
    let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
    ChatEvent::ToolCall { choice: 0, index, id, name, arguments: arguments.into() }
}

fn seal(on: Sealed, by: Maker, data: &str) -> ChatEvent {
    ChatEvent::Seal { choice: 0, on, seal: Seal { by, data: data.into() } }
}

fn finish(stop: Option<Stop>, reason: &str) -> ChatEvent {
    ChatEvent::Finish { choice: 0, reason: reason.into(), stop }
}

#[test]
fn a_stream_is_told_in_the_order_the_sdk_expects() {
    let frames = streamed(
        &plain(),
        &[
            start(),
            thought("hm"),
            seal(Sealed::Reasoning, Maker::Anthropic, "Eo8C"),
            text("a"),
            text("b"),
            ChatEvent::Refusal { choice: 0, text: "no".into() },
            call(4, Some("toolu_1"), Some("f"), ""),
            call(4, None, None, "{}"),
            finish(Some(Stop::ToolCalls), "tool_use"),
            ChatEvent::Usage(Usage { input_tokens: Some(3), ..Usage::default() }),
            ChatEvent::Done,
        ],
    );
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "output_item.added",
        "function_call_arguments.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&frames), expected.map(|kind| format!("response.{kind}")));
    let response = &frames[frames.len() - 1]["response"];
    let done: Vec<&Value> = frames
        .iter()
        .filter(|f| f["type"] == "response.output_item.done")
        .map(|f| &f["item"])
        .collect();
    assert_eq!(json!(done), response["output"], "the final response repeats every item");
    assert_eq!(response["output"][0]["encrypted_content"], "understudy-seal:anthropic:Eo8C");
    assert_eq!(response["output"][2]["call_id"], "toolu_1");
    assert_eq!((&response["id"], &response["model"]), (&json!("msg_7"), &json!("other-model")));
    assert_eq!(response["usage"]["input_tokens"], 3);
    assert!(response["usage"].get("output_tokens").is_none(), "what is not known is not 0");
    assert_eq!(response["usage"]["input_tokens_details"]["cached_tokens"], Value::Null);
}

#[test]
fn a_response_repeats_the_question() {
    let tool = json!({"type": "function", "name": "f", "parameters": {}, "strict": true});
    let asked = asked(&json!({
        "model": "m", "input": "hi", "instructions": "be brief", "tools": [tool],
        "tool_choice": "required", "temperature": 0.5, "metadata": {"a": "b"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "store": true,
        "reasoning": {"effort": "low"}, "conversation": "conv_1", "max_output_tokens": 9,
    }));
    let response = whole(&asked, &[text("x"), ChatEvent::Done]);
    for (field, expected) in [
        ("object", json!("response")),
        ("id", json!("resp_0199-x")),
        ("model", json!("m")),
        ("created_at", json!(1_700_000_000)),
        ("status", json!("completed")),
        ("instructions", json!("be brief")),
        ("tools", json!([tool])),
        ("tool_choice", json!("required")),
        ("temperature", json!(0.5)),
        ("top_p", Value::Null),
        ("metadata", json!({"a": "b"})),
        ("text", json!({"format": {"type": "json_object"}, "verbosity": "low"})),
        ("store", json!(true)),
        ("reasoning", json!({"effort": "low", "summary": null})),
        ("conversation", json!({"id": "conv_1"})),
        ("max_output_tokens", json!(9)),
        ("parallel_tool_calls", json!(true)),
        ("error", Value::Null),
        ("incomplete_details", Value::Null),
        ("usage", Value::Null),
    ] {
        assert_eq!(response[field], expected, "{field}");
    }
}

#[test]
fn a_body_says_what_the_stream_says() {
    let events = [
        start(),
        thought("a"),
        seal(Sealed::Reasoning, Maker::Gemini, "c2ln"),
        text("b"),
        ChatEvent::Citation {
            choice: 0,
            citation: Citation {
                url: Some("https://a".into()),
                span: Some((0, 1)),
                ..Citation::default()
            },
        },
        ChatEvent::Media { choice: 0, mime: "image/png".into(), data: "iVBO".into() },
        call(0, None, Some("f"), ""),
        seal(Sealed::ToolCall(0), Maker::Gemini, "eHg="),
        finish(Some(Stop::ToolCalls), "STOP"),
        ChatEvent::Done,
    ];
    let frames = streamed(&plain(), &events);
    let response = whole(&plain(), &events);
    assert_eq!(frames[frames.len() - 1]["response"], response);
    let answer = wire::fold(dialect(), false, [response.to_string().as_bytes()]);
    let mut told = again(&frames);
    // A call's seal follows its call in a stream, and nothing in an answer depends on the order.
    told.choices[0].seals.sort_by(|a, b| a.data.cmp(&b.data));
    let mut said = answer;
    said.choices[0].seals.sort_by(|a, b| a.data.cmp(&b.data));
    assert_eq!(told, said);
    assert_eq!(said.choices[0].seals.len(), 2);
    assert_eq!(said.choices[0].tool_calls[0].arguments, "{}");
    assert_eq!(said.choices[0].tool_calls[0].id.as_deref(), Some("call_0199-x_0"));
}

#[test]
fn seals_return_with_the_history_to_where_they_were() {
    let own = "{\"id\":\"rs_1\",\"encrypted_content\":\"gAAA\"}";
    let events = [
        seal(Sealed::Hidden, Maker::Anthropic, "redacted"),
        thought("hm"),
        seal(Sealed::Reasoning, Maker::OpenAi, own),
        seal(Sealed::Hidden, Maker::OpenAi, own),
        call(0, Some("c0"), Some("f"), "{}"),
        seal(Sealed::ToolCall(0), Maker::Gemini, "eHg="),
        call(1, Some("c1"), Some("f"), "{}"),
        ChatEvent::Done,
    ];
    let output = whole(&plain(), &events)["output"].clone();
    assert_eq!(output[2]["id"], "rs_1", "where nothing was told yet, an item keeps its id");
    assert_eq!(output[2]["encrypted_content"], "gAAA");
    let request = asked(&json!({"model": "m", "input": output})).request;
    let [message] = &request.messages[..] else { panic!("{request:?}") };
    let found: Vec<(&str, Option<(Maker, &str)>)> = message
        .parts
        .iter()
        .map(|part| {
            let of = |seal: &'_ Seal| (seal.by, if seal.by == Maker::OpenAi { own } else { "" });
            match &part.kind {
                PartKind::Hidden(seal) => ("hidden", Some(of(seal))),
                PartKind::Reasoning { seal, .. } => ("reasoning", seal.as_ref().map(of)),
                PartKind::ToolCall { seal, .. } => ("call", seal.as_ref().map(of)),
                _ => ("other", None),
            }
        })
        .collect();
    assert_eq!(
        found,
        [
            ("hidden", Some((Maker::Anthropic, ""))),
            ("reasoning", Some((Maker::OpenAi, own))),
            ("hidden", Some((Maker::OpenAi, own))),
            ("call", Some((Maker::Gemini, ""))),
            ("call", None),
        ]
    );
}

#[test]
fn calls_that_grow_side_by_side_are_items_of_their_own() {
    let frames = streamed(
        &plain(),
        &[
            start(),
            call(0, Some("a"), Some("f"), ""),
            call(1, Some("b"), Some("g"), ""),
            call(1, None, None, "{\"y\""),
            call(0, None, None, "{\"x\":1}"),
            text("meanwhile"),
            call(1, None, None, ":2}"),
            call(0, Some("c"), Some("f"), "{}"),
            ChatEvent::Done,
        ],
    );
    let answer = again(&frames);
    let calls: Vec<_> = answer.choices[0]
        .tool_calls
        .iter()
        .map(|call| (call.id.as_deref().unwrap(), call.name.as_str(), call.arguments.as_str()))
        .collect();
    assert_eq!(calls, [("a", "f", "{\"x\":1}"), ("b", "g", "{\"y\":2}"), ("c", "f", "{}")]);
    assert_eq!(answer.text(), "meanwhile");
}

#[test]
fn a_tool_that_takes_text_is_called_with_text() {
    let tool = json!({"type": "custom", "name": "sql"});
    let asked = asked(&json!({"model": "m", "input": "hi", "tools": [tool]}));
    let response = whole(&asked, &[call(0, Some("c"), Some("sql"), "SELECT 1"), ChatEvent::Done]);
    let expected = json!({"type": "custom_tool_call", "id": "ctc_0199-x_0", "status": "completed",
                          "call_id": "c", "name": "sql", "input": "SELECT 1"});
    assert_eq!(response["output"], json!([expected]));
}

#[test]
fn every_end_has_its_status() {
    for (finish, status, reason) in [
        (None, "completed", Value::Null),
        (Some(finish(Some(Stop::Stop), "end_turn")), "completed", Value::Null),
        (Some(finish(Some(Stop::Length), "length")), "incomplete", json!("max_output_tokens")),
        (Some(finish(Some(Stop::ContentFilter), "x")), "incomplete", json!("content_filter")),
        (Some(finish(None, "pause_turn")), "completed", Value::Null),
        (Some(finish(None, "incomplete")), "incomplete", Value::Null),
        (Some(finish(None, "max_messages")), "incomplete", json!("max_messages")),
    ] {
        let mut events = vec![start(), text("x")];
        events.extend(finish);
        events.push(ChatEvent::Done);
        let frames = streamed(&plain(), &events);
        let last = &frames[frames.len() - 1];
        assert_eq!(last["type"], format!("response.{status}"));
        assert_eq!(last["response"]["status"], status);
        assert_eq!(last["response"]["output"][0]["status"], status);
        let details = &last["response"]["incomplete_details"];
        assert_eq!(details.get("reason").unwrap_or(&Value::Null), &reason);
    }
}

#[test]
fn a_failure_never_looks_like_a_good_end() {
    let error = ProviderError {
        code: Some("overloaded".into()),
        message: "busy".into(),
        ..ProviderError::default()
    };
    for before in [vec![], vec![start(), text("a"), finish(Some(Stop::Stop), "stop")]] {
        let mut events = before.clone();
        events.push(ChatEvent::Error(error.clone()));
        let frames = streamed(&plain(), &events);
        let answer = again(&frames);
        assert_eq!(frames[frames.len() - 1]["type"], "response.failed");
        assert!(!kinds(&frames).contains(&"response.completed"));
        assert!(!answer.is_whole());
        assert_eq!(answer.error.unwrap().message, "busy");

        let mut encoder = dialect().encoder(&plain());
        let mut bytes = Vec::new();
        before.iter().for_each(|event| encoder.encode(event, &mut bytes));
        bytes.extend_from_slice(&dialect().error_frame(529, &error));
        let answer = wire::fold(dialect(), true, [&bytes[..]]);
        assert!(!answer.is_whole());
        assert_eq!(answer.error.unwrap().code.as_deref(), Some("overloaded"));
    }
}

#[test]
fn error_bodies_are_openais() {
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
    ] {
        let error = ProviderError { message: "x".into(), ..ProviderError::default() };
        let body: Value = serde_json::from_slice(&dialect().error_body(status, &error)).unwrap();
        let expected = json!({"message": "x", "type": kind, "param": null, "code": null});
        assert_eq!(body, json!({"error": expected}));
    }
}

#[test]
fn only_the_first_of_several_answers_is_told() {
    let second = ChatEvent::Text { choice: 1, text: "second".into() };
    let frames = streamed(&plain(), &[text("first"), second, ChatEvent::Done, text("late")]);
    assert_eq!(again(&frames).choices.len(), 1);
    assert_eq!(again(&frames).text(), "first");
}

#[test]
fn nothing_said_is_an_empty_answer() {
    let frames = streamed(&plain(), &[ChatEvent::Done]);
    let expected = ["response.created", "response.in_progress", "response.completed"];
    assert_eq!(kinds(&frames), expected);
    assert_eq!(frames[2]["response"]["output"], json!([]));
}
