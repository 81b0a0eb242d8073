//! The openai dialect against what was recorded, and in both directions.

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
use understudy::chat::request::Effort;
use understudy::chat::request::Message;
use understudy::chat::request::Part;
use understudy::chat::request::PartKind;
use understudy::chat::request::Request;
use understudy::chat::request::Role;
use understudy::chat::request::Source;
use understudy::wire;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;
use understudy::wire::quirk::Thinking;

use crate::recordings;

const OPENAI: DialectName = DialectName::OpenAi;

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    recordings::answers_are_read("chat", OPENAI, &[]);
}

#[test]
fn any_chunking_of_a_recorded_stream_gives_one_answer() {
    recordings::any_chunking_gives_one_answer("chat", OPENAI);
}

/// What the dialect cannot say again: a provider's own word for an end, a call's number, what the
/// provider did besides, and an answer or call without an id.
fn forgive(answer: &mut Answer) {
    answer.id = answer.id.take().filter(|id| id != "chatcmpl-0199test");
    answer.model = answer.model.take().filter(|model| model != "model-asked");
    if let Some(usage) = &mut answer.usage {
        let sum = usage.input_tokens.zip(usage.output_tokens).map(|(i, o)| i + o);
        usage.total_tokens = usage.total_tokens.or(sum);
    }
    for choice in &mut answer.choices {
        choice.others.clear();
        choice.stop = choice.stop.or(Some(Stop::Stop));
        choice.finish = choice.stop.map(|stop| stop.as_str().to_owned());
        for (at, call) in (0..).zip(&mut choice.tool_calls) {
            call.index = at;
            call.id = call.id.take().filter(|id| !id.starts_with("call_0199test"));
            if call.arguments.is_empty() {
                call.arguments = "{}".to_owned();
            }
        }
    }
}

#[test]
fn recorded_answers_survive_being_written_again() {
    recordings::answers_survive("chat", OPENAI, OPENAI, forgive);
}

#[test]
fn recorded_requests_ask_the_same_when_written_again() {
    recordings::requests_survive("chat", OPENAI, |_| None, drop_nulls);
}

/// Null says the same as nothing in this dialect.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn read(body: &Value) -> Result<Request, String> {
    let dialect = OPENAI.dialect();
    let head = dialect.read_head(Bytes::from(body.to_string()), None);
    head.and_then(|head| dialect.read(&head)).map_err(|error| error.detail)
}

/// The body written for a provider, and the fields that did not go into it.
fn write(request: &Request, quirks: &Quirks) -> Result<(Value, Vec<String>), String> {
    let to = Recipient { model: "m", quirks };
    let written = OPENAI.dialect().write(request, &to).map_err(|error| error.detail)?;
    let losses = written.losses.fields().map(|(_, field)| field.to_owned()).collect();
    Ok((serde_json::from_slice(&written.body).unwrap(), losses))
}

#[test]
fn what_only_this_dialect_knows_returns_as_it_was() {
    let ask = |fields: Value| {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    let say = |message: Value| ask(json!({"messages": [message]}));
    let part = |part: Value| say(json!({"role": "user", "content": [part]}));
    let details = json!([
        {"type": "reasoning.text", "text": "so", "signature": "s", "format": "anthropic-claude-v1"},
        {"type": "reasoning.encrypted", "data": "x", "format": "xai-responses-v1"},
    ]);
    let call = json!({
        "id": "c", "type": "function", "function": {"name": "f", "arguments": ""},
        "extra_content": {"google": {"thought_signature": "sig"}, "other": 1},
    });
    for body in [
        ask(json!({"max_tokens": 5, "stop": "x", "n": 1, "logprobs": false, "stream": false})),
        ask(json!({"max_tokens": 5, "max_completion_tokens": 6, "stop": ["x"], "top_k": 3})),
        ask(json!({"logprobs": true, "top_logprobs": 2, "seed": -7, "service_tier": "flex"})),
        ask(json!({"stream": true, "stream_options": {"include_obfuscation": false}})),
        ask(json!({"reasoning": {"effort": "high", "exclude": true, "more": {"a": null}}})),
        ask(json!({"thinking": {"type": "enabled", "budget_tokens": 9, "clear_thinking": true}})),
        ask(json!({"enable_thinking": false, "thinking_budget": 0, "reasoning_effort": "max"})),
        ask(json!({"response_format": {"type": "text"}, "tool_choice": "any"})),
        ask(json!({"response_format": {"type": "grammar", "grammar": "g"}})),
        ask(json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}})),
        ask(json!({"tools": [
            {"type": "custom", "custom": {"name": "c"}},
            {"type": "function", "function": {"name": "f", "strict": true, "x": 1}, "y": 2},
            {"function": {"name": "g", "parameters": {"default": null}}},
        ], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}})),
        say(json!({"role": "developer", "name": "d", "content": [{"type": "text", "text": "a"}]})),
        say(json!({"role": "assistant", "content": "", "tool_calls": [call]})),
        say(json!({"role": "assistant", "reasoning_content": "", "content": "a", "prefix": true})),
        say(json!({"role": "assistant", "content": "a", "reasoning_details": details})),
        say(json!({"role": "assistant", "refusal": "no", "audio": {"id": "a1"}})),
        say(json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]})),
        say(json!({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}})),
        say(json!({"role": "function", "name": "f", "content": "1"})),
        say(
            json!({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "1"}]}),
        ),
        part(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}})),
        part(json!({"type": "image_url", "image_url": {"url": "https://a/b", "detail": "low"}})),
        part(json!({"type": "image_url", "image_url": "https://a/b"})),
        part(json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}})),
        part(json!({"type": "video_url", "video_url": {"url": "https://a/v"}})),
        part(
            json!({"type": "file", "file": {"file_data": "data:a/b;base64,AA==", "filename": "f"}}),
        ),
        part(json!({"type": "file", "file": {"file_id": "file-1"}})),
        part(json!({"type": "file", "file": {"file_data": "AAAA"}})),
        part(json!({"type": "document_url", "document_url": "https://a/d"})),
        part(json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}})),
        part(json!({"type": "hologram", "hologram": {}})),
    ] {
        let written = write(&read(&body).unwrap(), &Quirks::NONE).unwrap();
        assert_eq!(written, (body, vec![]));
    }
}

#[test]
fn a_wrong_type_is_named_with_its_path() {
    let message = |message: Value| json!({"model": "m", "messages": [message]});
    let assistant = |key: &str, value: Value| message(json!({"role": "assistant", key: value}));
    for (body, path) in [
        (json!({"model": "m"}), "`messages`"),
        (message(json!("hi")), "`messages[0]`"),
        (message(json!({"content": "a"})), "`messages[0].role`"),
        (message(json!({"role": "robot", "content": "a"})), "`messages[0].role`"),
        (message(json!({"role": "user", "content": 1})), "`messages[0].content`"),
        (message(json!({"role": "user", "content": [1]})), "`messages[0].content[0]`"),
        (message(json!({"role": "user", "content": [{}]})), "`messages[0].content[0].type`"),
        (
            message(json!({"role": "user", "content": [{"type": "image_url", "image_url": {}}]})),
            "`messages[0].content[0].image_url.url`",
        ),
        (assistant("tool_calls", json!([{}])), "`messages[0].tool_calls[0].function`"),
        (assistant("tool_calls", json!({})), "`messages[0].tool_calls`"),
        (assistant("reasoning", json!(1)), "`messages[0].reasoning`"),
        (json!({"model": "m", "messages": [], "max_tokens": -1}), "`max_tokens`"),
        (json!({"model": "m", "messages": [], "temperature": "hot"}), "`temperature`"),
        (json!({"model": "m", "messages": [], "stop": [1]}), "`stop`"),
        (
            json!({"model": "m", "messages": [], "tools": [{"type": "function"}]}),
            "`tools[0].function`",
        ),
        (json!({"model": "m", "messages": [], "reasoning": {"effort": 1}}), "`reasoning.effort`"),
        (json!({"model": "m", "messages": [], "tool_choice": 1}), "`tool_choice`"),
    ] {
        let detail = read(&body).unwrap_err();
        assert!(detail.contains(path), "{body}: {detail}");
    }
}

fn seal(by: Maker, data: &str) -> Seal {
    Seal { by, data: data.to_owned() }
}

/// A request of another dialect's, with what this one has and what it has not.
fn foreign() -> Request {
    let mut request = Request::new(DialectName::Anthropic, "asked");
    let call = |id: Option<&str>, seal| PartKind::ToolCall {
        id: id.map(str::to_owned),
        name: "f".to_owned(),
        arguments: String::new(),
        seal,
    };
    let result = |call_id: Option<&str>| PartKind::ToolResult {
        call_id: call_id.map(str::to_owned),
        name: Some("f".to_owned()),
        parts: vec![Part::text("1")],
        is_error: false,
    };
    let signed = Some(seal(Maker::Anthropic, "sig"));
    request.messages = vec![
        Message::text(Role::Developer, "be kind"),
        Message::new(
            Role::Assistant,
            vec![
                Part::new(PartKind::Reasoning { text: "hm".to_owned(), seal: signed }),
                Part::new(PartKind::Hidden(seal(Maker::Anthropic, "hid"))),
                Part::new(call(Some("a"), None)),
                Part::new(call(None, Some(seal(Maker::Gemini, "g")))),
            ],
        ),
        Message::new(Role::Tool, vec![Part::new(result(Some("a"))), Part::new(result(None))]),
    ];
    (request.stream, request.sampling.max_tokens) = (true, Some(9));
    request
}

#[test]
fn a_foreign_history_is_written_as_the_provider_takes_it() {
    let detailed = Quirks { reasoning_history: Some("reasoning_details"), ..Quirks::NONE };
    let plain = Quirks { reasoning_history: Some("reasoning_content"), ..Quirks::COMPATIBLE };
    let at = |index: usize| format!("messages[1].content[{index}]");
    let signature = format!("{}.signature", at(3));
    let details = json!([
        {"type": "reasoning.text", "text": "hm", "signature": "sig",
         "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "hid", "format": "anthropic-claude-v1", "index": 1},
        {"type": "reasoning.encrypted", "data": "g", "format": "google-gemini-v1", "id": "call_1",
         "index": 0},
    ]);
    for (quirks, role, field, thought, lost) in [
        (Quirks::NONE, "developer", None, json!(null), vec![signature.clone(), at(0), at(1)]),
        (plain, "system", Some("reasoning_content"), json!("hm"), vec![signature, at(0), at(1)]),
        (detailed, "developer", Some("reasoning_details"), details, vec![]),
    ] {
        let call = |id: &str| {
            let function = json!({"name": "f", "arguments": "{}"});
            json!({"id": id, "type": "function", "function": function})
        };
        let mut turn = json!({"role": "assistant", "content": null,
            "tool_calls": [call("a"), call("call_1")]});
        if let Some(field) = field {
            turn[field] = thought;
        }
        let want = json!({
            "model": "m",
            "messages": [
                {"role": role, "content": "be kind"}, turn,
                {"role": "tool", "tool_call_id": "a", "content": "1"},
                {"role": "tool", "tool_call_id": "call_1", "content": "1"},
            ],
            quirks.max_tokens: 9, "stream": true, "stream_options": {"include_usage": true},
        });
        assert_eq!(write(&foreign(), &quirks).unwrap(), (want, lost));
    }
}

#[test]
fn thinking_is_asked_for_in_the_providers_way() {
    let effort = |enabled: Option<bool>, level: Option<&str>, budget_tokens: Option<u64>| {
        let level = level.map(str::to_owned);
        Effort { enabled, level, budget_tokens, summary: None }
    };
    let (on, off) = (effort(Some(true), None, None), effort(Some(false), None, None));
    let level = |word: &str| effort(None, Some(word), None);
    let budget = |tokens: u64| effort(None, None, Some(tokens));
    for (thinking, effort, want) in [
        (Thinking::Effort, level("xhigh"), json!({"reasoning_effort": "xhigh"})),
        (Thinking::Effort, budget(0), json!({"reasoning_effort": "none"})),
        (Thinking::Effort, budget(700), json!({"reasoning_effort": "minimal"})),
        (Thinking::Effort, budget(1_024), json!({"reasoning_effort": "low"})),
        (Thinking::Effort, budget(8_192), json!({"reasoning_effort": "medium"})),
        (Thinking::Effort, budget(32_000), json!({"reasoning_effort": "high"})),
        (Thinking::Effort, on.clone(), json!({"reasoning_effort": "medium"})),
        (Thinking::Effort, off.clone(), json!({"reasoning_effort": "none"})),
        (Thinking::Object, level("low"), json!({"reasoning": {"effort": "low"}})),
        (Thinking::Object, budget(5), json!({"reasoning": {"max_tokens": 5}})),
        (Thinking::Object, off.clone(), json!({"reasoning": {"enabled": false}})),
        (Thinking::Switch, on.clone(), json!({"thinking": {"type": "enabled"}})),
        (Thinking::Switch, level("none"), json!({"thinking": {"type": "disabled"}})),
        (Thinking::Flag, level("low"), json!({"enable_thinking": true, "thinking_budget": 1024})),
        (Thinking::Flag, budget(77), json!({"enable_thinking": true, "thinking_budget": 77})),
        (Thinking::Flag, off, json!({"enable_thinking": false})),
    ] {
        let mut request = Request::new(DialectName::Anthropic, "asked");
        request.reasoning = Some(effort);
        let (body, losses) = write(&request, &Quirks { thinking, ..Quirks::NONE }).unwrap();
        let mut full = json!({"model": "m", "messages": []});
        full.as_object_mut().unwrap().extend(want.as_object().unwrap().clone());
        assert_eq!((body, losses), (full, vec![]), "{thinking:?}");
    }
    let mut request = Request::new(DialectName::Anthropic, "asked");
    request.reasoning = Some(on);
    let quirks = Quirks { thinking: Thinking::No, ..Quirks::NONE };
    assert_eq!(write(&request, &quirks).unwrap().1, ["reasoning"]);
}

#[test]
fn what_has_no_place_is_refused_by_its_path() {
    let image = PartKind::Image { source: Source::Id("f1".to_owned()), detail: None };
    let url = Source::Url { url: "https://a/b".to_owned(), mime: None };
    let file = PartKind::File { source: url.clone(), name: None };
    for kind in [image, file, PartKind::Video(url), PartKind::Own(json!({"type": "x"}))] {
        let mut request = Request::new(DialectName::Gemini, "asked");
        request.messages = vec![Message::new(Role::User, vec![Part::text("a"), Part::new(kind)])];
        let refusal = write(&request, &Quirks::NONE).unwrap_err();
        assert!(refusal.contains("`messages[0].content[1]`"), "{refusal}");
    }
}

/// Everything a provider may say, in the order of a body, with calls interleaved.
fn everything() -> Vec<ChatEvent> {
    let reasoning = |text: &str| ChatEvent::Reasoning { choice: 0, text: text.to_owned() };
    let on = |on: Sealed, seal: Seal| ChatEvent::Seal { choice: 0, on, seal };
    let call = |index: u32, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
        ChatEvent::ToolCall { choice: 0, index, id, name, arguments: arguments.to_owned() }
    };
    let citation = Citation {
        url: Some("https://a".to_owned()),
        title: Some("A".to_owned()),
        quote: Some("q".to_owned()),
        span: Some((1, 4)),
    };
    let media = |mime: &str| ChatEvent::Media {
        choice: 0,
        mime: mime.to_owned(),
        data: "UklGRgAA".to_owned(),
    };
    vec![
        ChatEvent::Start {
            id: Some("a1".to_owned()),
            model: Some("real".to_owned()),
            fingerprint: None,
        },
        reasoning("one "),
        reasoning("two"),
        on(Sealed::Reasoning, seal(Maker::Anthropic, "s1")),
        on(Sealed::Hidden, seal(Maker::Anthropic, "s2")),
        reasoning("sum"),
        on(Sealed::Reasoning, seal(Maker::OpenAi, "s3")),
        ChatEvent::Text { choice: 0, text: "text".to_owned() },
        ChatEvent::Citation { choice: 0, citation },
        call(3, Some("c3"), Some("f"), "{\"a\""),
        call(7, Some("c7"), Some("g"), ""),
        call(3, None, None, ":1}"),
        on(Sealed::ToolCall(3), seal(Maker::Gemini, "Zm9v")),
        on(Sealed::ToolCall(7), seal(Maker::OpenAi, "s4")),
        media("audio/wav"),
        media("image/png"),
        ChatEvent::Refusal { choice: 1, text: "no".to_owned() },
        ChatEvent::Finish { choice: 0, reason: "tool_use".to_owned(), stop: Some(Stop::ToolCalls) },
        ChatEvent::Usage(Usage {
            input_tokens: Some(3),
            output_tokens: Some(4),
            ..Usage::default()
        }),
        ChatEvent::Done,
    ]
}

#[test]
fn everything_a_provider_may_say_is_read_back() {
    let events = everything();
    let mut wanted = understudy::chat::fold::Fold::new();
    events.iter().for_each(|event| wanted.push(event.clone()));
    let mut wanted = wanted.finish();
    forgive(&mut wanted);
    for is_stream in [false, true] {
        let bytes = recordings::written(OPENAI, &events, is_stream);
        let mut answer = wire::fold(OPENAI.dialect(), is_stream, [&bytes[..]]);
        forgive(&mut answer);
        assert_eq!(answer, wanted, "{}", String::from_utf8_lossy(&bytes));
    }
}

/// The SDK adds up the entries of a list that share an index, refuses a second without one, and
/// puts strings together.
#[test]
fn what_a_stream_adds_to_lists_is_numbered() {
    let citation = |url: &str| ChatEvent::Citation {
        choice: 0,
        citation: Citation { url: Some(url.to_owned()), ..Citation::default() },
    };
    let media = |mime: &str| ChatEvent::Media {
        choice: 0,
        mime: mime.to_owned(),
        data: "UklGRgAA".to_owned(),
    };
    let mut events = everything();
    let more = [citation("https://b"), media("image/png"), media("audio/wav")];
    events.splice(events.len() - 1..events.len() - 1, more);
    let bytes = recordings::written(OPENAI, &events, true);
    let text = String::from_utf8(bytes).unwrap();
    let chunks = text.lines().filter_map(|line| line.strip_prefix("data: {"));
    let chunks = chunks.map(|chunk| serde_json::from_str(&format!("{{{chunk}")).unwrap());
    let deltas: Vec<Value> = chunks.map(|c: Value| c["choices"][0]["delta"].clone()).collect();
    for (list, count) in [("reasoning_details", 4), ("annotations", 2), ("images", 2)] {
        let entries = deltas.iter().filter_map(|delta| delta[list].as_array()).flatten();
        let numbers: Vec<_> = entries.map(|entry| entry["index"].as_u64()).collect();
        assert_eq!(numbers, (0..count).map(Some).collect::<Vec<_>>(), "{list}: {text}");
    }
    let calls = deltas.iter().filter_map(|delta| delta["tool_calls"].as_array()).flatten();
    calls.for_each(|call| assert!(call["function"]["arguments"].is_string(), "{call}"));
    let sounds = deltas.iter().filter_map(|delta| delta["audio"].as_object());
    assert_eq!(sounds.filter(|sound| sound.contains_key("id")).count(), 1, "{text}");
}

#[test]
fn a_client_that_returns_the_answer_returns_its_seals() {
    let bytes = recordings::written(OPENAI, &everything(), false);
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    let mut message = answer["choices"][0]["message"].clone();
    message.as_object_mut().unwrap().shift_remove("audio");
    let request = read(&json!({"model": "m", "messages": [message]})).unwrap();
    let reasoning = |text: &str, by: Maker, data: &str| PartKind::Reasoning {
        text: text.to_owned(),
        seal: Some(seal(by, data)),
    };
    let call = |id: &str, name: &str, arguments: &str, seal: Seal| PartKind::ToolCall {
        id: Some(id.to_owned()),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        seal: Some(seal),
    };
    let kinds: Vec<_> = request.messages[0].parts.iter().map(|part| part.kind.clone()).collect();
    let wanted = [
        reasoning("one two", Maker::Anthropic, "s1"),
        PartKind::Hidden(seal(Maker::Anthropic, "s2")),
        reasoning("sum", Maker::OpenAi, "s3"),
        PartKind::Text("text".to_owned()),
        call("c3", "f", "{\"a\":1}", seal(Maker::Gemini, "Zm9v")),
        call("c7", "g", "{}", seal(Maker::OpenAi, "s4")),
    ];
    assert_eq!(kinds, wanted);
}

#[test]
fn a_stream_has_the_shape_that_clients_expect() {
    let text = |text: &str| ChatEvent::Text { choice: 0, text: text.to_owned() };
    let call = ChatEvent::ToolCall {
        choice: 0,
        index: 4,
        id: None,
        name: Some("f".to_owned()),
        arguments: String::new(),
    };
    let bytes = recordings::written(OPENAI, &[text("a"), call, ChatEvent::Done, text("b")], true);
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-0199test\",\"object\":\"chat.completion.chunk\",\
             \"created\":1700000000,\"model\":\"model-asked\",\"choices\":[{{\"index\":0,\
             \"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let wanted = [
        chunk(r#"{"role":"assistant","content":""}"#, "null"),
        chunk(r#"{"content":"a"}"#, "null"),
        chunk(
            "{\"tool_calls\":[{\"index\":0,\"id\":\"call_0199test_0\",\"type\":\"function\",\
             \"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}",
            "null",
        ),
        chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#, "null"),
        chunk("{}", "\"tool_calls\""),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(String::from_utf8(bytes).unwrap(), wanted.concat());
}

#[test]
fn a_broken_stream_tells_it_and_does_not_end_well() {
    let error = ProviderError { message: "gone".to_owned(), ..ProviderError::default() };
    let text = ChatEvent::Text { choice: 0, text: "a".to_owned() };
    let bytes =
        recordings::written(OPENAI, &[text, ChatEvent::Error(error), ChatEvent::Done], true);
    let text = String::from_utf8(bytes).unwrap();
    let end = "data: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\",\
               \"param\":null,\"code\":null}}\n\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn a_client_of_the_old_form_is_answered_in_it() {
    let body = json!({"model": "m", "messages": [], "functions": [{"name": "f"}]});
    let asked = wire::Asked {
        request: std::sync::Arc::new(read(&body).unwrap()),
        id: "1".to_owned(),
        created_s: 1,
        input_estimate: 1,
        in_array: false,
    };
    let events = everything();
    let body = OPENAI.dialect().encode_body(&asked, &events);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let call = json!({"name": "f", "arguments": "{\"a\":1}"});
    assert_eq!(body["choices"][0]["message"]["function_call"], call);
    assert_eq!(body["choices"][0]["finish_reason"], "function_call");
    let mut stream = Vec::new();
    let mut encoder = OPENAI.dialect().encoder(&asked);
    events.iter().for_each(|event| encoder.encode(event, &mut stream));
    let answer = wire::fold(OPENAI.dialect(), true, [&stream[..]]);
    assert_eq!(answer.choices[0].finish.as_deref(), Some("function_call"));
    assert_eq!(answer.choices[0].tool_calls[0].arguments, "{\"a\":1}");
    assert!(!String::from_utf8(stream).unwrap().contains("tool_calls"));
}

fn whole(body: &Value) -> Answer {
    wire::fold(OPENAI.dialect(), false, [body.to_string().as_bytes()])
}

#[test]
fn failures_are_read_in_every_shape() {
    let raw = "{\"error\":{\"message\":\"slow down\",\"type\":\"rate\"}}";
    for (body, message, kind, wait_ms) in [
        (json!({"error": "no model"}), "no model", None, None),
        (json!({"detail": "Not Found"}), "Not Found", None, None),
        (json!({"message": "m", "type": "t", "object": "error"}), "m", Some("t"), None),
        (
            json!({"detail": [{"loc": ["body", "x", 0], "msg": "field required", "type": "t"}]}),
            "field required",
            None,
            None,
        ),
        (
            json!([{"error": {"code": 429, "message": "q", "status": "RESOURCE_EXHAUSTED",
                "details": [{"@type": "RetryInfo", "retryDelay": "34.4s"}]}}]),
            "q",
            Some("RESOURCE_EXHAUSTED"),
            Some(34_400),
        ),
        (
            json!({"error": {"message": "Provider returned error", "code": 429,
                "metadata": {"raw": raw, "provider_name": "P"}}}),
            "Provider returned error: slow down",
            None,
            None,
        ),
        (
            json!({"error": {"message": "Limit. Please try again in 1m2.5s.", "type": "tokens"}}),
            "Limit. Please try again in 1m2.5s.",
            Some("tokens"),
            Some(62_500),
        ),
        (
            json!({"error": {"message": "Please retry after 7 seconds."}}),
            "Please retry after 7 seconds.",
            None,
            Some(7_000),
        ),
        (json!({"error": {"message": "a", "retry_after": 2}}), "a", None, Some(2_000)),
        (json!({"errors": [{"message": "a"}]}), "a", None, None),
        (json!({"x": 1}), "neither an answer nor an error message", Some("malformed"), None),
    ] {
        let answer = whole(&body);
        assert!(!answer.is_whole() && !answer.done, "{body}");
        let error = answer.error.unwrap();
        let got = (error.message.as_str(), error.kind.as_deref(), error.retry_after_ms);
        assert_eq!(got, (message, kind, wait_ms), "{body}");
    }
}

#[test]
fn values_of_wrong_types_cost_only_themselves() {
    let answer = whole(&json!({
        "id": 7, "model": ["m"], "usage": {"prompt_tokens": "3", "completion_tokens": -1},
        "choices": [
            null,
            {"index": "0", "finish_reason": "stop", "logprobs": "none", "message": {
                "content": "kept", "tool_calls": {"0": {}}, "annotations": "none",
                "reasoning_details": [5, {"type": "reasoning.text", "text": "why"}],
                "images": [{"image_url": {"url": "https://a/b.png"}}], "audio": [],
            }},
        ],
    }));
    let choice = &answer.choices[0];
    assert_eq!((choice.text.as_str(), choice.reasoning.as_str()), ("kept", "why"));
    assert_eq!(choice.others, ["image_url"]);
    let usage = answer.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(3), None));
    assert!(answer.error.is_none() && answer.done);
}

#[test]
fn sources_listed_in_every_chunk_are_told_once() {
    let chunk = |text: &str, sources: Value| {
        let chunk = json!({"choices": [{"delta": {"content": text}}], "citations": sources});
        format!("data: {chunk}\n\n")
    };
    let stream =
        chunk("a", json!(["u1"])) + &chunk("b", json!(["u1", {"url": "u2", "title": "t"}]));
    let answer = wire::fold(OPENAI.dialect(), true, [stream.as_bytes()]);
    let urls: Vec<_> = answer.choices[0].citations.iter().map(|c| c.url.as_deref()).collect();
    assert_eq!(urls, [Some("u1"), Some("u2")]);
}

#[test]
fn reasoning_said_twice_is_read_once() {
    let chunk = |delta: Value| format!("data: {}\n\n", json!({"choices": [{"delta": delta}]}));
    let detail = |text: &str, signature: Option<&str>| {
        json!([{"type": "reasoning.text", "text": text, "signature": signature,
                "format": "anthropic-claude-v1", "index": 0}])
    };
    let both = chunk(json!({"reasoning": "so", "reasoning_details": detail("so", None)}))
        + &chunk(json!({"reasoning_details": detail("so", Some("sig"))}));
    let only = chunk(json!({"reasoning_details": detail("so", None)}))
        + &chunk(json!({"reasoning_details": detail("", Some("sig"))}));
    for stream in [both, only] {
        let answer = wire::fold(OPENAI.dialect(), true, [stream.as_bytes()]);
        assert_eq!(answer.choices[0].reasoning, "so", "{stream}");
        assert_eq!(answer.choices[0].seals, [seal(Maker::Anthropic, "sig")]);
    }
}
