//! The cohere dialect against what was recorded.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::ChatEvent;
use understudy::chat::DialectName;
use understudy::chat::Stop;
use understudy::chat::request::Effort;
use understudy::chat::request::Format;
use understudy::chat::request::Message;
use understudy::chat::request::Part;
use understudy::chat::request::PartKind;
use understudy::chat::request::Request;
use understudy::chat::request::Role;
use understudy::chat::request::Source;
use understudy::chat::request::Tool;
use understudy::chat::request::ToolChoice;
use understudy::error::Error;
use understudy::wire;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

use crate::recordings;

const COHERE: DialectName = DialectName::Cohere;

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    recordings::answers_are_read("cohere_v2_chat", COHERE, &[]);
}

#[test]
fn a_stream_cut_anywhere_gives_one_answer() {
    recordings::any_chunking_gives_one_answer("cohere_v2_chat", COHERE);
}

#[test]
fn answers_written_again_say_the_same() {
    recordings::answers_survive("cohere_v2_chat", COHERE, COHERE, |answer| {
        // That there was a plan cannot be written without its words.
        answer.choices.iter_mut().for_each(|choice| choice.others.clear());
        plain_arguments(answer);
    });
}

#[test]
fn answers_of_openai_survive() {
    recordings::answers_survive("chat", DialectName::OpenAi, COHERE, |answer| {
        answer.model = None;
        answer.id = None;
        answer.done = true;
        answer.choices.truncate(1);
        plain_arguments(answer);
        // Counts that Cohere does not tell.
        if let Some(usage) = &mut answer.usage {
            (usage.total_tokens, usage.reasoning_tokens) = (None, None);
            usage.cache_write_tokens = None;
        }
        for choice in &mut answer.choices {
            choice.finish = None;
            // Cohere has no place for what the provider did, what was made, or seals.
            choice.others.clear();
            choice.media.clear();
            choice.seals.clear();
            if choice.stop.is_none() {
                choice.stop = Some(Stop::Stop);
            }
            choice.text = choice.said().to_owned();
            (choice.refusal, choice.transcript) = (String::new(), String::new());
            for (index, call) in (0..).zip(&mut choice.tool_calls) {
                (call.index, call.id) = (index, None);
            }
            choice.logprobs.iter_mut().for_each(|token| token.top.clear());
        }
        answer.choices.retain(|choice| choice.index == 0);
    });
}

/// Empty, absent and null arguments are one.
fn plain_arguments(answer: &mut Answer) {
    for call in answer.choices.iter_mut().flat_map(|choice| &mut choice.tool_calls) {
        if call.arguments_json() == Some(json!({})) {
            call.arguments = "{}".to_owned();
        }
    }
}

#[test]
fn recorded_requests_survive() {
    recordings::requests_survive(
        "cohere_v2_chat",
        COHERE,
        |_| None,
        |body| {
            for message in body["messages"].as_array_mut().unwrap() {
                let message = message.as_object_mut().unwrap();
                if message.get("content").is_some_and(Value::is_null) {
                    message.remove("content");
                }
            }
        },
    );
}

#[test]
fn every_field_of_a_request_returns() {
    let body = json!({
        "model": "command-a", "stream": true,
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "document", "document": {"id": "d", "data": {"text": "x"}}},
            ]},
            {"role": "assistant", "tool_plan": "ask", "content": [
                {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "well"},
            ], "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": [
                {"type": "document", "document": {"data": {"x": 1}}},
            ]},
            {"role": "assistant", "content": "done", "citations": [{"start": 0, "end": 1}]},
        ],
        "tools": [{"type": "function", "function": {
            "name": "f", "description": "d", "parameters": {"type": "object"}}}],
        "strict_tools": true, "tool_choice": "NONE",
        "documents": ["a", {"id": "b", "data": {"text": "c"}}],
        "citation_options": {"mode": "FAST"}, "safety_mode": "STRICT", "priority": 3,
        "response_format": {"type": "json_object", "json_schema": {"type": "object"}},
        "max_tokens": 5, "stop_sequences": ["x"], "temperature": 0.5, "seed": 7,
        "frequency_penalty": 0.1, "presence_penalty": 0.2, "k": 3, "p": 0.9, "logprobs": true,
        "thinking": {"type": "enabled", "token_budget": 99},
    });
    let request = read(&body).unwrap();
    assert_eq!(written(&request).unwrap().0, body);
}

#[test]
fn what_is_wrong_in_a_request_is_named() {
    for (change, place) in [
        (json!({"messages": 1}), "`messages` must be a list"),
        (json!({"messages": [1]}), "`messages[0]` must be an object"),
        (json!({"messages": [{"content": "x"}]}), "`messages[0].role` is missing"),
        (json!({"messages": [{"role": "judge"}]}), "`messages[0].role` must be"),
        (json!({"messages": [{"role": "user", "content": 1}]}), "`messages[0].content` must be"),
        (json!({"messages": [{"role": "tool"}]}), "`messages[0].tool_call_id` is missing"),
        (json!({"temperature": "hot"}), "`temperature` must be a number"),
        (json!({"max_tokens": -1}), "`max_tokens` must be a whole number"),
        (json!({"stop_sequences": [1]}), "`stop_sequences` must be a list of strings"),
        (json!({"thinking": {"type": "maybe"}}), "`thinking.type` must be"),
        (json!({"tools": [{"type": "function"}]}), "`tools[0].function` is missing"),
    ] {
        let mut body = json!({"model": "m", "messages": []});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let error = read(&body).unwrap_err();
        assert!(error.detail.contains(place), "{change}: {}", error.detail);
    }
}

/// What another dialect's request says, in Cohere's words, and what is left out.
#[test]
fn a_request_of_another_dialect_is_written() {
    let mut request = Request::new(DialectName::OpenAi, "gpt");
    let call = |id: Option<&str>, name: &str| {
        let (id, name) = (id.map(str::to_owned), name.to_owned());
        Part::new(PartKind::ToolCall { id, name, arguments: String::new(), seal: None })
    };
    let result = |id: Option<&str>, name: &str, is_error| {
        let (call_id, name) = (id.map(str::to_owned), Some(name.to_owned()));
        Part::new(PartKind::ToolResult { call_id, name, parts: vec![Part::text("r")], is_error })
    };
    request.messages = vec![
        Message::text(Role::Developer, "rule"),
        Message::text(Role::User, "hi"),
        Message::new(
            Role::Assistant,
            vec![Part::text("let me see"), call(None, "f"), call(Some("x"), "g")],
        ),
        Message::new(Role::Tool, vec![result(None, "f", true), result(Some("x"), "g", false)]),
    ];
    request.messages[1].name = Some("ann".to_owned());
    let function = |name: &str| Tool::Function {
        name: name.to_owned(),
        description: None,
        parameters: None,
        strict: Some(true),
        rest: serde_json::Map::new(),
    };
    request.tools = vec![function("g"), function("f")];
    request.tool_choice = Some(ToolChoice::Named("f".to_owned()));
    request.parallel_tools = Some(false);
    request.reasoning = Some(Effort { level: Some("high".to_owned()), ..Effort::default() });
    request.format = Some(Format::Json);
    request.end_user = Some("u".to_owned());
    request.rest.insert("service_tier".to_owned(), json!("flex"));
    let (body, losses) = written(&request).unwrap();
    let made = |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
    assert_eq!(
        body,
        json!({
            "model": "command-a", "stream": false,
            "messages": [
                {"role": "system", "content": "rule"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "tool_plan": "let me see",
                 "tool_calls": [made("call_0", "f"), made("x", "g")]},
                {"role": "tool", "tool_call_id": "call_0", "content": [
                    {"type": "document", "document": {"data": {"error": "r"}}}]},
                {"role": "tool", "tool_call_id": "x", "content": "r"},
            ],
            "tools": [{"type": "function", "function": {
                "name": "f", "parameters": {"type": "object", "properties": {}}}}],
            "strict_tools": true, "tool_choice": "REQUIRED",
            "response_format": {"type": "json_object"},
        })
    );
    assert_eq!(
        losses,
        ["messages[1].name", "parallel_tool_calls", "reasoning.effort", "user", "service_tier"]
    );
}

#[test]
fn what_must_not_be_left_out_is_refused() {
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = Request::new(DialectName::OpenAi, "gpt");
        request.messages = vec![Message::text(Role::User, "hi")];
        change(&mut request);
        written(&request).map(|_| ()).unwrap_err().detail
    };
    let part =
        |kind: PartKind| with(&|request| request.messages[0].parts.push(Part::new(kind.clone())));
    let source = Source::Id("file-1".to_owned());
    let image = PartKind::Image { source: source.clone(), detail: None };
    let file = PartKind::File { source: source.clone(), name: None };
    for (detail, place) in [
        (part(PartKind::Audio(source.clone())), "messages[0].content[1]"),
        (part(PartKind::Video(source)), "messages[0].content[1]"),
        (part(image), "messages[0].content[1]"),
        (part(file), "messages[0].content[1]"),
        (part(PartKind::Own(json!({}))), "messages[0].content[1]"),
        (with(&|r| r.sampling.choices = Some(2)), "`n`"),
        (with(&|r| r.sampling.logprobs = Some(3)), "top_logprobs"),
        (with(&|r| r.sampling.stop = vec!["x".to_owned(); 6]), "stop"),
        // Naming a tool is requiring one of those that are there, and that one alone is sent.
        (with(&|r| r.tool_choice = Some(ToolChoice::Named("f".to_owned()))), "tool_choice"),
        (with(&|r| r.tools = vec![Tool::Own(json!({}))]), "tools[0]"),
    ] {
        assert!(detail.contains(place), "{place}: {detail}");
    }
}

#[test]
fn oddities_and_errors_are_read() {
    let body = |json: &str| COHERE.dialect().decode_body(json.as_bytes());
    let error = |events: &[ChatEvent]| match events.last() {
        Some(ChatEvent::Error(error)) => (error.kind.clone(), error.message.clone()),
        other => panic!("{other:?}"),
    };
    let malformed = Some("malformed".to_owned());
    let message = |text: &str| (None, text.to_owned());
    assert_eq!(error(&body(r#"{"message":"invalid api token"}"#)), message("invalid api token"));
    assert_eq!(error(&body(r#"{"id":"i","message":"slow down"}"#)), message("slow down"));
    for bad in ["", "<html>", "[]", "{}", "null"] {
        assert_eq!(error(&body(bad)).0, malformed, "{bad}");
    }
    let failed = body(r#"{"message":{"content":"half"},"finish_reason":"ERROR"}"#);
    assert_eq!(error(&failed).0.as_deref(), Some("ERROR"));
    assert!(!failed.contains(&ChatEvent::Done));
    let odd = body(
        r#"{"id":5,"message":{"content":[{"type":"text","text":"a"},7,{"type":"new","x":1}],
        "tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}],"citations":"none"},
        "usage":{"tokens":{"input_tokens":12.0,"output_tokens":"x"}},"finish_reason":null}"#,
    );
    let mut fold = understudy::chat::fold::Fold::new();
    odd.into_iter().for_each(|event| fold.push(event));
    let answer = fold.finish();
    assert_eq!(answer.choices[0].text, "a7");
    assert_eq!(answer.choices[0].tool_calls[0].arguments, r#"{"a":1}"#);
    assert_eq!(answer.usage.unwrap().input_tokens, Some(12));
    assert_eq!(answer.usage.unwrap().output_tokens, None);
    assert!(answer.done);
}

#[test]
fn citations_name_their_sources() {
    let stream = concat!(
        "data: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"Rain\"}}},",
        "\"logprobs\":{\"text\":\"Rain\",\"token_ids\":[1,2],\"logprobs\":[-0.5,-0.25]}}\n\n",
        "data: {\"type\":\"citation-start\",\"delta\":{\"message\":{\"citations\":{\"start\":0,\"end\":4,",
        "\"sources\":[{\"type\":\"document\",\"document\":{\"title\":\"t\",\"text\":\"q\",\"url\":\"u\"}},",
        "{\"type\":\"tool\",\"tool_output\":{\"content\":\"wet\"}}]}}}}\n\n",
        "data: {\"type\":\"citation-start\",\"delta\":{\"message\":{\"citations\":{\"start\":0,\"end\":4,",
        "\"type\":\"PLAN\"}}}}\n\n",
        "data: {\"type\":\"later\",\"delta\":{\"message\":7}}\n\n",
        "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"STOP_SEQUENCE\"}}\n\n",
    );
    let answer = wire::fold(COHERE.dialect(), true, [stream.as_bytes()]);
    let found: Vec<_> = answer.choices[0]
        .citations
        .iter()
        .map(|c| (c.url.as_deref(), c.title.as_deref(), c.quote.as_deref(), c.span))
        .collect();
    let span = Some((0, 4));
    assert_eq!(
        found,
        [
            (Some("u"), Some("t"), Some("q"), span),
            (None, None, Some("wet"), span),
            (None, None, None, None)
        ]
    );
    assert_eq!(answer.choices[0].logprobs[0].logprob, -0.75);
    assert_eq!(answer.choices[0].stop, Some(Stop::Stop));
}

#[test]
fn a_failed_stream_never_looks_complete() {
    let text = ChatEvent::Text { choice: 0, text: "half".to_owned() };
    let failure = ChatEvent::Error(understudy::chat::ProviderError {
        message: "gone".to_owned(),
        ..Default::default()
    });
    let bytes = recordings::written(COHERE, &[text, failure], true);
    let answer = wire::fold(COHERE.dialect(), true, [&bytes[..]]);
    assert_eq!(answer.choices[0].text, "half");
    assert_eq!(answer.error.as_ref().unwrap().message, "gone");
    assert!(!answer.is_whole() && !answer.done);
    let frame = COHERE.dialect().error_frame(502, answer.error.as_ref().unwrap());
    assert!(!wire::fold(COHERE.dialect(), true, [&frame[..]]).is_whole());
}

fn read(body: &Value) -> Result<Request, Error> {
    let head = COHERE.dialect().read_head(Bytes::from(body.to_string()), None)?;
    COHERE.dialect().read(&head)
}

fn written(request: &Request) -> Result<(Value, Vec<String>), Error> {
    let to = Recipient { model: "command-a", quirks: &Quirks::NONE };
    let written = COHERE.dialect().write(request, &to)?;
    let losses = written.losses.fields().map(|(_, field)| field.to_owned()).collect();
    Ok((serde_json::from_slice(&written.body).unwrap(), losses))
}
