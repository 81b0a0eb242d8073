//! The converse dialect against what was recorded.

use bytes::Bytes;
use serde_json::Map;
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
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::eventstream;
use understudy::wire::quirk::Quirks;

use crate::recordings;

const CONVERSE: DialectName = DialectName::Converse;
const CLAUDE: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    recordings::answers_are_read("converse", CONVERSE, &[]);
}

#[test]
fn answers_written_again_say_the_same() {
    recordings::answers_survive("converse", CONVERSE, CONVERSE, plain_arguments);
}

#[test]
fn answers_of_openai_survive() {
    recordings::answers_survive("chat", DialectName::OpenAi, CONVERSE, |answer| {
        (answer.id, answer.model, answer.done) = (None, None, true);
        answer.choices.retain(|choice| choice.index == 0);
        plain_arguments(answer);
        // A count that Converse does not tell.
        if let Some(usage) = &mut answer.usage {
            usage.reasoning_tokens = None;
            // What is written to a cache was not read from it.
            let rest = usage.input_tokens.zip(usage.cached_input_tokens);
            let rest = rest.map(|(input, read)| input.saturating_sub(read));
            usage.cache_write_tokens = usage.cache_write_tokens.filter(|n| rest >= Some(*n));
        }
        for choice in &mut answer.choices {
            choice.finish = None;
            // Converse has no place for what the provider did, nor for sound.
            choice.others.clear();
            // A citation stands on its block, whatever part of it was meant.
            choice.citations.iter_mut().for_each(|citation| citation.span = None);
            choice.media.retain(|(mime, _)| mime.starts_with("image/"));
            choice.stop = choice.stop.or(Some(Stop::Stop));
            choice.text = choice.said().to_owned();
            (choice.refusal, choice.transcript) = (String::new(), String::new());
            choice.logprobs.clear();
            for (index, call) in (0..).zip(&mut choice.tool_calls) {
                (call.index, call.id) = (index, None);
            }
        }
    });
}

/// Converse holds arguments as JSON, not as its text.
fn plain_arguments(answer: &mut Answer) {
    for call in answer.choices.iter_mut().flat_map(|choice| &mut choice.tool_calls) {
        let input = call.arguments_json().unwrap_or_else(|| json!({"input": call.arguments}));
        call.arguments = input.to_string();
    }
}

#[test]
fn recorded_requests_survive() {
    recordings::requests_survive("converse", CONVERSE, in_path, |body| {
        let body = body.as_object_mut().unwrap();
        // Empty is as good as absent.
        body.retain(|_, value| *value != json!([]) && *value != json!({}));
        for message in body["messages"].as_array_mut().unwrap() {
            for block in message["content"].as_array_mut().unwrap() {
                if let Some(result) = block.get_mut("toolResult").and_then(Value::as_object_mut) {
                    result.retain(|_, value| *value != "success");
                }
            }
        }
    });
}

fn in_path(url: &str) -> Option<InPath> {
    let (model, method) = url.split_once("/model/")?.1.rsplit_once('/')?;
    Some(InPath { model: model.replace("%3A", ":"), stream: method == "converse-stream" })
}

#[test]
fn the_path_holds_the_model() {
    let arn = "arn:aws:bedrock:us-east-1:123:inference-profile/abc";
    for (model, is_stream, path) in [
        (CLAUDE, false, "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"),
        (
            arn,
            true,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123%3Ainference-profile%2Fabc/converse-stream",
        ),
    ] {
        assert_eq!(CONVERSE.dialect().path(model, is_stream), path);
    }
}

#[test]
fn every_field_of_a_request_returns() {
    let schema = json!({"type": "object"});
    let body = json!({
        "messages": [
            {"role": "user", "content": [
                {"text": "look"},
                {"image": {"format": "png", "source": {"bytes": "QUJD"}}},
                {"document": {"format": "pdf", "name": "a (b)", "source": {"bytes": "QUJD"},
                              "citations": {"enabled": true}}},
                {"document": {"format": "txt", "name": "t", "source": {"text": "words"}}},
                {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/v.mp4"}}}},
                {"video": {"format": "mp4", "source": {"s3Location": {
                    "uri": "s3://b/v.mp4", "bucketOwner": "123456789012"}}}},
                {"audio": {"format": "mp3", "source": {"bytes": "QUJD"}}},
                {"guardContent": {"text": {"text": "guarded"}}},
                {"cachePoint": {"type": "default", "ttl": "1h"}},
            ]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                {"reasoningContent": {"redactedContent": "RXVFQ0Nr"}},
                {"reasoningContent": {"redactedContent": "/+8="}},
                {"text": "calling"},
                {"toolUse": {"toolUseId": "t.1:0", "name": "f", "input": {"z": 1, "a": [2]}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "t.1:0", "status": "error", "content": [
                    {"text": "no"}, {"json": {"x": 1}},
                    {"image": {"format": "jpeg", "source": {"bytes": "QUJD"}}}]}},
                {"cachePoint": {"type": "default"}},
                {"text": "and?"},
            ]},
        ],
        "system": [{"text": "be brief"}, {"cachePoint": {"type": "default"}}],
        "inferenceConfig": {"maxTokens": 5, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"]},
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "f", "description": "d", "strict": false,
                              "inputSchema": {"json": schema}}},
                {"systemTool": {"name": "nova_grounding"}},
                {"cachePoint": {"type": "default"}},
            ],
            "toolChoice": {"tool": {"name": "f"}},
        },
        "outputConfig": {
            "effort": "low",
            "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {
                "name": "n", "description": "d", "schema": "{\"type\":\"object\"}"}}},
        },
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        "additionalModelRequestFields": {"top_k": 4},
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "requestMetadata": {"team": "a"},
        "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "flex"},
        "promptVariables": {"v": {"text": "x"}},
    });
    let request = read(&body).unwrap();
    let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    assert_eq!(written(&request, CLAUDE).unwrap(), (body, Vec::new()));
}

#[test]
fn what_is_wrong_in_a_request_is_named() {
    let block = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    for (body, place) in [
        (json!({"messages": {}}), "`messages` must be a list"),
        (json!({"messages": [{"role": "judge"}]}), "`messages[0].role` must be"),
        (json!({"messages": [{"role": "user", "content": "x"}]}), "`messages[0].content` must be"),
        (block(json!(1)), "`messages[0].content[0]` must be an object"),
        (block(json!({"text": 1})), "`messages[0].content[0].text` must be a string"),
        (block(json!({"toolUse": {"toolUseId": "x"}})), "content[0].toolUse.name` is missing"),
        (block(json!({"toolResult": {}})), "content[0].toolResult.toolUseId` is missing"),
        (json!({"inferenceConfig": {"maxTokens": "x"}}), "`inferenceConfig.maxTokens` must be"),
        (
            json!({"toolConfig": {"tools": [{"toolSpec": {}}]}}),
            "tools[0].toolSpec.name` is missing",
        ),
        (json!({"system": ["x"]}), "`system[0]` must be an object"),
    ] {
        let mut whole = json!({"messages": []});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let error = read(&whole).unwrap_err();
        assert!(error.detail.contains(place), "{body}: {}", error.detail);
    }
}

fn call(id: Option<&str>, name: &str, arguments: &str) -> Part {
    let (id, name, arguments) = (id.map(str::to_owned), name.to_owned(), arguments.to_owned());
    Part::new(PartKind::ToolCall { id, name, arguments, seal: None })
}

fn result(id: Option<&str>, is_error: bool) -> Part {
    let call_id = id.map(str::to_owned);
    Part::new(PartKind::ToolResult { call_id, name: None, parts: vec![Part::text("r")], is_error })
}

fn function(name: &str) -> Tool {
    let (name, rest) = (name.to_owned(), Map::new());
    Tool::Function { name, description: Some(String::new()), parameters: None, strict: None, rest }
}

fn seal(by: Maker) -> Option<Seal> {
    Some(Seal { by, data: "sig".to_owned() })
}

/// What another dialect's request says, in Converse's words, and what is left out.
#[test]
fn a_request_of_another_dialect_is_written() {
    let mut request = Request::new(DialectName::Anthropic, "claude");
    let thought = |by| Part::new(PartKind::Reasoning { text: "hm".to_owned(), seal: seal(by) });
    let file = |name: &str| {
        let (mime, data) = ("application/pdf".to_owned(), "QUJD".to_owned());
        let source = Source::Inline { mime, data };
        Part::new(PartKind::File { source, name: Some(name.to_owned()) })
    };
    let mut marked = Part::text("hi");
    marked.rest.insert("cache_control".to_owned(), json!({"type": "ephemeral", "ttl": "1h"}));
    request.messages = vec![
        Message::text(Role::System, "rule"),
        Message::new(Role::User, vec![marked, file("q_1.pdf"), file("q?1.pdf"), Part::text("")]),
        Message::text(Role::User, "more"),
        Message::text(Role::Developer, "late rule"),
        Message::new(
            Role::Assistant,
            vec![
                thought(Maker::Anthropic),
                thought(Maker::Gemini),
                call(None, "f", ""),
                call(Some("functions.g:0"), "g", "[1]"),
            ],
        ),
        Message::new(Role::Tool, vec![result(None, true), result(Some("functions.g:0"), false)]),
        Message::text(Role::User, "so?"),
    ];
    request.tools = vec![function("f")];
    request.tool_choice = Some(ToolChoice::Auto);
    request.reasoning = Some(Effort { budget_tokens: Some(2000), ..Effort::default() });
    request.sampling.max_tokens = Some(1500);
    request.sampling.temperature = Some(0.5);
    request.sampling.top_k = Some(3);
    request.sampling.seed = Some(1);
    request.metadata = Some(json!({"team": "a b"}));
    request.rest.insert("service_tier".to_owned(), json!("auto"));
    let (body, losses) = written(&request, CLAUDE).unwrap();
    let document = |name: &str| json!({"document": {"format": "pdf", "source": {"bytes": "QUJD"}, "name": name}});
    let id = body.pointer("/messages/1/content/2/toolUse/toolUseId").unwrap();
    assert!(id.as_str().unwrap().starts_with("call_") && id.as_str().unwrap().len() == 37);
    assert_eq!(
        body,
        json!({
            "messages": [
                {"role": "user", "content": [
                    {"text": "hi"}, {"cachePoint": {"type": "default", "ttl": "1h"}},
                    document("q-1"), document("q-1 (2)"), {"text": "more"}]},
                {"role": "assistant", "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
                    {"toolUse": {"toolUseId": "call_0", "name": "f", "input": {}}},
                    {"toolUse": {"toolUseId": id, "name": "g", "input": {"input": "[1]"}}}]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "call_0", "content": [{"text": "r"}],
                                    "status": "error"}},
                    {"toolResult": {"toolUseId": id, "content": [{"text": "r"}]}},
                    {"text": "so?"}]},
            ],
            "system": [{"text": "rule"}, {"text": "late rule"}],
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {
                    "type": "object", "properties": {}}}}}],
                "toolChoice": {"auto": {}},
            },
            "inferenceConfig": {"maxTokens": 1500},
            "additionalModelRequestFields": {
                "thinking": {"type": "enabled", "budget_tokens": 1499}},
            "requestMetadata": {"team": "a b"},
        })
    );
    let place = "messages[4].content[1]";
    assert_eq!(losses, [place, "top_k", "temperature", "seed", "service_tier"]);
}

/// How thinking and drawing are asked for depends on the model.
#[test]
fn each_family_of_models_is_asked_in_its_own_words() {
    let high = Effort { level: Some("high".to_owned()), ..Effort::default() };
    let off = Effort { level: Some("none".to_owned()), ..Effort::default() };
    for (model, effort, top_k, fields, losses) in [
        (
            "anthropic.claude-3",
            &off,
            Some(4),
            json!({"thinking": {"type": "disabled"}, "top_k": 4}),
            &[][..],
        ),
        (
            CLAUDE,
            &high,
            None,
            json!({"thinking": {"type": "enabled", "budget_tokens": 16384}}),
            &[],
        ),
        (
            "us.amazon.nova-2-lite-v1:0",
            &high,
            Some(4),
            json!({
            "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"},
            "inferenceConfig": {"topK": 4}}),
            &[],
        ),
        (
            "amazon.nova-lite-v1:0",
            &high,
            Some(4),
            json!({"inferenceConfig": {"topK": 4}}),
            &["reasoning"],
        ),
        ("openai.gpt-oss-20b", &high, Some(4), json!({"reasoning_effort": "high"}), &["top_k"]),
        ("qwen.qwen3-32b-v1:0", &high, None, json!({"reasoning_config": "high"}), &[]),
        ("meta.llama", &high, Some(4), Value::Null, &["reasoning", "top_k"]),
    ] {
        let mut request = Request::new(DialectName::OpenAi, "m");
        request.reasoning = Some(effort.clone());
        request.sampling.top_k = top_k;
        let (body, lost) = written(&request, model).unwrap();
        assert_eq!(body["additionalModelRequestFields"], fields, "{model}");
        assert_eq!(lost, losses, "{model}");
    }
    // Claude cannot think where a tool is forced, nor in too few tokens.
    for change in
        [(|r: &mut Request| r.tool_choice = Some(ToolChoice::Required)) as fn(&mut Request), |r| {
            r.sampling.max_tokens = Some(1024);
        }]
    {
        let mut request = Request::new(DialectName::OpenAi, "m");
        request.reasoning = Some(high.clone());
        change(&mut request);
        assert_eq!(written(&request, CLAUDE).unwrap().1, ["reasoning"]);
    }
}

#[test]
fn no_tool_may_be_called_where_none_is_there() {
    let mut request = Request::new(DialectName::OpenAi, "m");
    request.messages = vec![Message::text(Role::User, "hi")];
    (request.tools, request.tool_choice) = (vec![function("f")], Some(ToolChoice::None));
    let (body, losses) = written(&request, CLAUDE).unwrap();
    assert!(body.get("toolConfig").is_none() && losses.is_empty());
    request.messages.push(Message::new(Role::Assistant, vec![call(None, "f", "{}")]));
    assert!(written(&request, CLAUDE).unwrap_err().detail.contains("tool_choice"));
}

#[test]
fn what_must_not_be_left_out_is_refused() {
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = Request::new(DialectName::OpenAi, "gpt");
        request.messages = vec![Message::text(Role::User, "hi")];
        change(&mut request);
        written(&request, CLAUDE).unwrap_err().detail
    };
    let part =
        |kind: PartKind| with(&|request| request.messages[0].parts.push(Part::new(kind.clone())));
    let image = |source| PartKind::Image { source, detail: None };
    let url = Source::Url { url: "https://example.com/a.png".to_owned(), mime: None };
    let odd = Source::Inline { mime: "image/tiff".to_owned(), data: "QUJD".to_owned() };
    for (detail, place) in [
        (part(image(url)), "messages[0].content[1]"),
        (part(image(odd)), "messages[0].content[1]"),
        (part(image(Source::Id("f".to_owned()))), "messages[0].content[1]"),
        (part(PartKind::Own(json!({}))), "messages[0].content[1]"),
        (with(&|r| r.format = Some(Format::Json)), "response_format"),
        (with(&|r| r.sampling.choices = Some(2)), "`n`"),
        (with(&|r| r.sampling.logprobs = Some(0)), "logprobs"),
        (with(&|r| r.tools = vec![Tool::Own(json!({}))]), "tools[0]"),
    ] {
        assert!(detail.contains(place), "{place}: {detail}");
    }
}

fn stream(events: &[(&str, Value)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data) in events {
        let write = |out: &mut Vec<u8>| out.extend(data.to_string().bytes());
        if name.ends_with("Exception") {
            eventstream::write_exception(name, &mut bytes, write);
        } else {
            eventstream::write_event(name, &mut bytes, write);
        }
    }
    bytes
}

fn delta(index: u32, delta: Value) -> (&'static str, Value) {
    ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta, "p": "abcdef"}))
}

fn begin(index: u32, start: Value) -> (&'static str, Value) {
    ("contentBlockStart", json!({"contentBlockIndex": index, "start": start}))
}

/// Everything a stream can hold, in any pieces.
#[test]
fn a_stream_is_read_whole() {
    let source = json!({"title": "t", "sourceContent": [{"text": "q"}, {"text": "r"}],
                        "location": {"web": {"url": "u"}}});
    let bytes = stream(&[
        ("messageStart", json!({"role": "assistant"})),
        delta(0, json!({"reasoningContent": {"text": "hm"}})),
        delta(0, json!({"reasoningContent": {"signature": "sig"}})),
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        delta(1, json!({"reasoningContent": {"redactedContent": "RXVFQ0Nr"}})),
        delta(2, json!({"text": "é1"})),
        delta(3, json!({"text": "Rain"})),
        delta(3, json!({"text": "."})),
        delta(3, json!({"citation": source})),
        begin(4, json!({"toolUse": {"toolUseId": "a", "name": "f"}})),
        begin(5, json!({"toolUse": {"toolUseId": "s", "name": "g", "type": "server_tool_use"}})),
        begin(6, json!({"toolUse": {"toolUseId": "b", "name": "g"}})),
        delta(4, json!({"toolUse": {"input": "{\"a\""}})),
        delta(5, json!({"toolUse": {"input": "{}"}})),
        delta(6, json!({"toolUse": {"input": "{}"}})),
        delta(4, json!({"toolUse": {"input": ":1}"}})),
        begin(7, json!({"image": {"format": "jpeg"}})),
        delta(7, json!({"image": {"source": {"bytes": "QUJD"}}})),
        begin(8, json!({"toolResult": {"toolUseId": "s"}})),
        ("newKind", json!(["?"])),
        ("messageStop", json!({"stopReason": "tool_use"})),
        (
            "metadata",
            json!({"usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 17,
            "cacheReadInputTokens": 10}, "metrics": {"latencyMs": 5}}),
        ),
    ]);
    let answer = wire::fold(CONVERSE.dialect(), true, [&bytes[..]]);
    for size in [1, 7, 12, 100] {
        let pieces = bytes.chunks(size);
        assert_eq!(wire::fold(CONVERSE.dialect(), true, pieces), answer, "in pieces of {size}");
    }
    let choice = &answer.choices[0];
    assert_eq!((choice.text.as_str(), choice.reasoning.as_str()), ("é1Rain.", "hm"));
    let seals: Vec<_> = choice.seals.iter().map(|seal| seal.data.as_str()).collect();
    assert_eq!(seals, ["sig", "EuECCk"]);
    let calls = choice.tool_calls.iter();
    let calls = calls.map(|call| (call.index, call.name.as_str(), call.arguments.as_str()));
    assert_eq!(calls.collect::<Vec<_>>(), [(0, "f", "{\"a\":1}"), (1, "g", "{}")]);
    let (url, title, quote) = (Some("u".into()), Some("t".into()), Some("qr".into()));
    assert_eq!(choice.citations, [Citation { url, title, quote, span: Some((2, 7)) }]);
    assert_eq!(choice.media, [("image/jpeg".to_owned(), "QUJD".to_owned())]);
    assert_eq!(choice.others, ["server_tool_use", "toolResult"]);
    assert_eq!(choice.stop, Some(Stop::ToolCalls));
    let usage = answer.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.cached_input_tokens), (Some(13), Some(10)));
    assert_eq!((usage.total_tokens, usage.cache_write_tokens), (Some(17), None));
    assert!(answer.is_whole() && answer.done);
}

#[test]
fn a_stream_is_over_when_both_of_its_last_events_came() {
    let stop = ("messageStop", json!({"stopReason": "end_turn"}));
    let metadata = ("metadata", json!({"usage": {"inputTokens": 1}}));
    for (events, is_done) in [
        (vec![stop.clone()], false),
        (vec![metadata.clone()], false),
        (vec![stop.clone(), metadata.clone()], true),
        (vec![metadata.clone(), stop.clone(), stop, metadata], true),
    ] {
        let mut dones = 0;
        let bytes = stream(&events);
        wire::events(CONVERSE.dialect(), true, [&bytes[..]], |event| {
            dones += usize::from(event == ChatEvent::Done);
        });
        assert_eq!(dones, usize::from(is_done), "{events:?}");
    }
}

#[test]
fn failures_inside_a_stream_are_told() {
    let text = delta(0, json!({"text": "half"}));
    let slow = json!({"message": "slow down"});
    let model = json!({"message": "m", "originalStatusCode": 500, "originalMessage": "o"});
    for (bytes, kind, code, message) in [
        (
            stream(&[text.clone(), ("throttlingException", slow)]),
            "ThrottlingException",
            None,
            "slow down",
        ),
        (
            stream(&[text.clone(), ("modelStreamErrorException", model)]),
            "ModelStreamErrorException",
            Some("500"),
            "m",
        ),
        (
            stream(&[text.clone(), ("odd", json!({})), ("validationException", json!(7))]),
            "ValidationException",
            None,
            "an error without a message",
        ),
        (
            [stream(std::slice::from_ref(&text)), b"HTTP/1.1 502 Bad Gateway".to_vec()].concat(),
            "malformed",
            None,
            "the beginning of an event is damaged",
        ),
        (
            {
                let mut bytes = stream(&[text.clone(), text.clone()]);
                bytes.pop();
                bytes
            },
            "malformed",
            None,
            "the stream ended inside an event",
        ),
    ] {
        let answer = wire::fold(CONVERSE.dialect(), true, [&bytes[..]]);
        let error = answer.error.clone().unwrap();
        assert_eq!(answer.choices[0].text, "half");
        assert_eq!(error.kind.as_deref(), Some(kind));
        assert_eq!(error.code.as_deref(), code);
        assert_eq!(error.message, message);
        assert!(!answer.is_whole());
    }
}

#[test]
fn error_bodies_are_read() {
    for (body, kind, message) in [
        (r#"{"message":"no"}"#, None, "no"),
        (r#"{"Message":"no"}"#, None, "no"),
        (
            r#"{"__type":"com.amazon.coral.service#ThrottlingException:http://x/","message":"m"}"#,
            Some("ThrottlingException"),
            "m",
        ),
        (
            r#"{"__type":"AccessDeniedException"}"#,
            Some("AccessDeniedException"),
            "AccessDeniedException",
        ),
        (
            r#"{"Output":{"__type":"a#UnknownOperationException"},"Version":"1.0"}"#,
            Some("UnknownOperationException"),
            "UnknownOperationException",
        ),
        (
            r#"{"type":"error","error":{"type":"ThrottlingException","message":"slow"}}"#,
            Some("ThrottlingException"),
            "slow",
        ),
        (r#"{"error":"no"}"#, None, "no"),
        ("<html>", Some("malformed"), "not JSON: line 1 column 1"),
        ("[]", Some("malformed"), "neither an answer nor an error message"),
        (r#"{"output":7}"#, Some("malformed"), "neither an answer nor an error message"),
    ] {
        let events = CONVERSE.dialect().decode_body(body.as_bytes());
        let [ChatEvent::Error(error)] = &events[..] else { panic!("{body}: {events:?}") };
        assert_eq!((error.kind.as_deref(), error.message.as_str()), (kind, message), "{body}");
        let again = CONVERSE.dialect().error_body(429, error);
        let events = CONVERSE.dialect().decode_body(&again);
        let [ChatEvent::Error(again)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(again.message, error.message);
        let frame = CONVERSE.dialect().error_frame(429, error);
        let answer = wire::fold(CONVERSE.dialect(), true, [&frame[..]]);
        assert_eq!(answer.error.unwrap().kind, again.kind);
    }
}

#[test]
fn odd_blocks_of_a_body_lose_only_themselves() {
    let body = json!({"output": {"message": {"content": [
        7, {"text": null}, {"text": "a"}, {"toolUse": "f"}, {"newBlock": {}},
        {"toolUse": {"name": "f", "input": null}},
        {"citationsContent": {"content": [{"text": "b"}], "citations": [{"title": "t"}, 8]}},
        {"citationsContent": {"content": [{"text": "c"}], "citations": [
            {"source": "https://e.com", "location": {"documentChar": {"start": 1}}}]}},
        {"image": {"format": "png", "source": {"bytes": "QUJD"}}},
    ]}}, "stopReason": 5, "usage": {"inputTokens": "x", "outputTokens": 2.0}});
    let answer = wire::fold(CONVERSE.dialect(), false, [body.to_string().as_bytes()]);
    let choice = &answer.choices[0];
    assert_eq!(choice.text, "abc");
    assert_eq!(choice.tool_calls.len(), 1);
    assert_eq!(choice.others, ["toolUse", "newBlock"]);
    assert_eq!(answer.usage.unwrap().output_tokens, Some(2));
    assert!(answer.done);
}

/// What any other dialect may say, in whatever order, gives one answer as a body and as a stream.
#[test]
fn any_sequence_of_events_is_written() {
    let choice = 0;
    let text = |text: &str| ChatEvent::Text { choice, text: text.to_owned() };
    let call = |index, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
        ChatEvent::ToolCall { choice, index, id, name, arguments: arguments.to_owned() }
    };
    let sealed = |on, by| ChatEvent::Seal { choice, on, seal: seal(by).unwrap() };
    let citation = Citation { title: Some("t".to_owned()), ..Citation::default() };
    let usage = Usage { input_tokens: Some(9), cached_input_tokens: Some(4), ..Usage::default() };
    let events = [
        ChatEvent::Usage(usage),
        ChatEvent::Finish { choice, reason: "tool_calls".to_owned(), stop: Some(Stop::ToolCalls) },
        call(3, Some("a"), Some("f"), "{\"x\""),
        text("one"),
        ChatEvent::Citation { choice, citation: citation.clone() },
        text("two"),
        call(7, None, Some("g"), ""),
        ChatEvent::Reasoning { choice, text: "late".to_owned() },
        sealed(Sealed::Reasoning, Maker::Gemini),
        ChatEvent::Text { choice: 1, text: "another answer".to_owned() },
        sealed(Sealed::Hidden, Maker::OpenAi),
        sealed(Sealed::Text, Maker::Gemini),
        call(3, None, None, ":1}"),
        ChatEvent::Start { id: None, model: None, fingerprint: None },
        ChatEvent::Media { choice, mime: "image/png".to_owned(), data: "QUJD".to_owned() },
        ChatEvent::Done,
    ];
    let answers = [false, true].map(|is_stream| {
        let bytes = recordings::written(CONVERSE, &events, is_stream);
        wire::fold(CONVERSE.dialect(), is_stream, [&bytes[..]])
    });
    assert_eq!(answers[0].choices[0].tool_calls[1].arguments, "{}");
    let [answer, mut streamed] = answers;
    streamed.choices[0].tool_calls[1].arguments = "{}".to_owned();
    assert_eq!(answer, streamed);
    let choice = &answer.choices[0];
    assert_eq!((choice.text.as_str(), choice.reasoning.as_str()), ("onetwo", "late"));
    assert_eq!(choice.citations, [Citation { span: Some((0, 3)), ..citation }]);
    assert_eq!(choice.seals, [seal(Maker::Gemini).unwrap(), seal(Maker::OpenAi).unwrap()]);
    assert_eq!(choice.tool_calls[0].arguments, "{\"x\":1}");
    assert_eq!(choice.tool_calls[1].id.as_deref(), Some("call_0199test_1"));
    assert_eq!(choice.media.len(), 1);
    assert_eq!((choice.finish.as_deref(), answer.usage), (Some("tool_use"), Some(usage)));
    assert_eq!(answer.choices.len(), 1);
}

#[test]
fn a_failed_stream_never_looks_complete() {
    let text = ChatEvent::Text { choice: 0, text: "half".to_owned() };
    let failure = ProviderError { message: "gone".to_owned(), ..ProviderError::default() };
    let bytes = recordings::written(CONVERSE, &[text, ChatEvent::Error(failure)], true);
    let answer = wire::fold(CONVERSE.dialect(), true, [&bytes[..]]);
    assert_eq!(answer.choices[0].text, "half");
    assert_eq!(answer.error.as_ref().unwrap().message, "gone");
    assert!(!answer.is_whole() && !answer.done);
}

fn read(body: &Value) -> Result<Request, Error> {
    let in_path = Some(InPath { model: CLAUDE.to_owned(), stream: false });
    let head = CONVERSE.dialect().read_head(Bytes::from(body.to_string()), in_path)?;
    CONVERSE.dialect().read(&head)
}

fn written(request: &Request, model: &str) -> Result<(Value, Vec<String>), Error> {
    let to = Recipient { model, quirks: &Quirks::NONE };
    let written = CONVERSE.dialect().write(request, &to)?;
    let losses = written.losses.fields().map(|(_, field)| field.to_owned()).collect();
    Ok((serde_json::from_slice(&written.body).unwrap(), losses))
}
