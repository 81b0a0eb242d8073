//! What Anthropic's clients may ask, and what others ask written for Anthropic.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use understudy::chat::DialectName;
use understudy::chat::Maker;
use understudy::chat::Seal;
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
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

fn read(body: &Value) -> Result<Request, Error> {
    let dialect = DialectName::Anthropic.dialect();
    dialect.read(&dialect.read_head(Bytes::from(body.to_string()), None)?)
}

fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"model": "claude-opus-4-8", "max_tokens": 9,
                          "messages": [{"role": "user", "content": "hi"}]});
    body[field] = value;
    body
}

/// The body and the fields left out.
fn write(request: &Request, model: &str) -> Result<(Value, Vec<String>), Error> {
    let to = Recipient { model, quirks: &Quirks::NONE };
    let written = DialectName::Anthropic.dialect().write(request, &to)?;
    let left_out = written.losses.fields().map(|(_, field)| field.to_owned()).collect();
    Ok((serde_json::from_slice(&written.body).unwrap(), left_out))
}

fn foreign(messages: Vec<Message>) -> Request {
    Request { messages, ..Request::new(DialectName::OpenAi, "asked") }
}

fn user() -> Message {
    Message::text(Role::User, "hi")
}

fn call(id: Option<&str>, arguments: &str) -> Part {
    Part::new(PartKind::ToolCall {
        id: id.map(str::to_owned),
        name: "f".into(),
        arguments: arguments.into(),
        seal: None,
    })
}

fn result(id: Option<&str>, text: &str) -> Part {
    Part::new(PartKind::ToolResult {
        call_id: id.map(str::to_owned),
        name: None,
        parts: vec![Part::text(text)],
        is_error: false,
    })
}

#[test]
fn everything_a_client_may_ask_returns_in_its_own_dialect() {
    let block =
        |block: Value| json!([{"role": "user", "content": [block, {"type": "text", "text": "x"}]}]);
    let said = |block: Value| {
        json!([{"role": "user", "content": "q"},
               {"role": "assistant", "content": [block, {"type": "text", "text": "x"}]}])
    };
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    for (field, value) in [
        ("system", json!("s")),
        (
            "system",
            json!([{"type": "text", "text": "a", "cache_control": mark},
                          {"type": "text", "text": "b"}]),
        ),
        (
            "messages",
            block(json!({"type": "image", "cache_control": mark, "source":
            {"type": "base64", "media_type": "image/png", "data": "AA=="}})),
        ),
        ("messages", block(json!({"type": "image", "source": {"type": "url", "url": "u"}}))),
        ("messages", block(json!({"type": "image", "source": {"type": "file", "file_id": "f"}}))),
        (
            "messages",
            block(json!({"type": "document", "title": "t", "context": "c", "source":
            {"type": "text", "media_type": "text/plain", "data": "wörds"},
            "citations": {"enabled": true}})),
        ),
        (
            "messages",
            block(json!({"type": "document", "source":
            {"type": "base64", "media_type": "application/pdf", "data": "AA=="}})),
        ),
        ("messages", block(json!({"type": "document", "source": {"type": "url", "url": "u"}}))),
        (
            "messages",
            block(json!({"type": "document", "source":
            {"type": "content", "content": [{"type": "text", "text": "x"}]}})),
        ),
        (
            "messages",
            block(json!({"type": "search_result", "source": "s", "title": "t",
            "content": [{"type": "text", "text": "x"}]})),
        ),
        ("messages", block(json!({"type": "container_upload", "file_id": "f"}))),
        ("messages", said(json!({"type": "thinking", "thinking": "t", "signature": "S"}))),
        ("messages", said(json!({"type": "redacted_thinking", "data": "D"}))),
        ("messages", said(json!({"type": "text", "text": "x", "citations": [{"url": "u"}]}))),
        (
            "messages",
            json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f",
                "input": {"a": null, "b": 1.5}, "caller": {"type": "direct"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "is_error": true, "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image", "source": {"type": "url", "url": "u"}}]},
                {"type": "text", "text": "and"}]},
            {"role": "system", "content": "now"},
            {"role": "assistant", "content": "so "}]),
        ),
        (
            "tools",
            json!([
            {"name": "f", "description": "d", "strict": false, "defer_loading": true,
             "input_schema": {"type": "object", "default": null}, "cache_control": mark},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]),
        ),
        ("tool_choice", json!({"type": "auto", "disable_parallel_tool_use": true})),
        ("tool_choice", json!({"type": "any", "disable_parallel_tool_use": false})),
        ("tool_choice", json!({"type": "tool", "name": "f"})),
        ("tool_choice", json!({"type": "none"})),
        ("tool_choice", json!({"type": "novel", "x": 1})),
        ("thinking", json!({"type": "enabled", "budget_tokens": 2000, "display": "omitted"})),
        ("thinking", json!({"type": "adaptive", "display": "summarized"})),
        ("thinking", json!({"type": "disabled"})),
        ("thinking", json!({"type": "between_tools"})),
        (
            "output_config",
            json!({"effort": "max", "task_budget": {"total": 1}, "format":
            {"type": "json_schema", "schema": {"type": "object"}}}),
        ),
        ("metadata", json!({"user_id": "u", "other": 1})),
        ("stop_sequences", json!(["\n\nHuman:"])),
        ("mcp_servers", json!([{"type": "url", "url": "u", "name": "n"}])),
        ("stream", json!(true)),
    ] {
        let body = with(field, value);
        let (again, left_out) = write(&read(&body).unwrap(), "claude-opus-4-8").unwrap();
        assert_eq!(again, body);
        assert!(left_out.is_empty(), "{left_out:?}");
    }
}

#[test]
fn a_wrong_request_is_refused_where_it_is_wrong() {
    let turn = |content: Value| json!([{"role": "user", "content": content}]);
    for (field, value, expected) in [
        ("max_tokens", Value::Null, "`max_tokens` is missing"),
        ("max_tokens", json!("9"), "`max_tokens` must be a whole number"),
        ("messages", Value::Null, "`messages` must be a list"),
        ("messages", json!({}), "`messages` must be a list"),
        ("messages", json!([{"role": "tool", "content": "x"}]), "`messages[0].role` must be user"),
        ("messages", json!([{"role": "user"}]), "`messages[0].content` is missing"),
        ("messages", turn(json!(3)), "`messages[0].content` must be a string or a list"),
        ("messages", turn(json!(["x"])), "`messages[0].content[0]` must be an object"),
        ("messages", turn(json!([{"text": "x"}])), "`messages[0].content[0].type`"),
        ("messages", turn(json!([{"type": "text"}])), "`messages[0].content[0].text` is missing"),
        ("messages", turn(json!([{"type": "image"}])), "`messages[0].content[0].source` is"),
        (
            "messages",
            turn(json!([{"type": "tool_use", "id": "a", "name": "b", "input": "{}"}])),
            "`messages[0].content[0].input` must be an object",
        ),
        (
            "messages",
            turn(json!([{"type": "tool_result", "tool_use_id": "a", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "x"}}]}])),
            "`messages[0].content[0].content[0].source.data` is missing",
        ),
        ("system", json!(1), "`system` must be"),
        ("tools", json!([{"name": "f"}]), "`tools[0].input_schema` is missing"),
        ("temperature", json!("hot"), "`temperature` must be a number"),
        ("stop_sequences", json!([1]), "`stop_sequences[0]` must be a string"),
        ("thinking", json!({"budget_tokens": 5}), "`thinking.type` is missing"),
    ] {
        let error = read(&with(field, value)).unwrap_err().detail;
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
}

#[test]
fn tokens_are_counted_without_a_limit_to_the_answer() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let dialect = DialectName::Anthropic.dialect();
    let head = dialect.read_head(Bytes::from(body.to_string()), None).unwrap();
    let request = DialectName::Anthropic.dialect().read_count(&head).unwrap();
    assert_eq!(request.messages, [user()]);
    assert!(dialect.read(&head).is_err(), "an answer needs its limit");
    assert_eq!(DialectName::Anthropic.dialect().write_count(12), r#"{"input_tokens":12}"#);
}

#[test]
fn turns_of_other_dialects_become_turns_that_anthropic_takes() {
    let messages = vec![
        Message::text(Role::System, "s"),
        Message::text(Role::Developer, "d"),
        user(),
        Message::text(Role::User, ""),
        Message::new(Role::Assistant, vec![Part::text("a"), call(Some("c.1"), "")]),
        Message::new(Role::Assistant, vec![call(None, "{\"x\": 1}"), call(Some("c_1"), "null")]),
        Message::text(Role::User, "meanwhile"),
        Message::new(Role::Tool, vec![result(Some("c.1"), "1"), result(None, "2")]),
        Message::new(Role::Tool, vec![result(Some("c_1"), "")]),
        Message::text(Role::Assistant, "so: "),
    ];
    let (body, left_out) = write(&foreign(messages), "claude-sonnet-4-5").unwrap();
    let tool =
        |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "f", "input": input});
    assert_eq!(
        body["system"],
        json!([{"type": "text", "text": "s"}, {"type": "text", "text": "d"}])
    );
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "text", "text": "a"}, tool("c_1", json!({})),
                tool("call_1", json!({"x": 1})), tool("c_1_2", json!({}))]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c_1", "content": "1"},
                {"type": "tool_result", "tool_use_id": "call_1", "content": "2"},
                {"type": "tool_result", "tool_use_id": "c_1_2"},
                {"type": "text", "text": "meanwhile"}]},
            {"role": "assistant", "content": "so: "},
        ])
    );
    assert_eq!(body["max_tokens"], 4096);
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn a_later_system_prompt_keeps_its_rank_and_where_it_can_its_place() {
    let messages =
        vec![user(), Message::text(Role::System, "now"), Message::text(Role::Assistant, "a")];
    let (body, left_out) = write(&foreign(messages.clone()), "claude-opus-4-8").unwrap();
    assert_eq!(body["messages"][1], json!({"role": "system", "content": "now"}));
    assert!(left_out.is_empty());
    let (body, left_out) = write(&foreign(messages), "claude-sonnet-4-5").unwrap();
    assert_eq!(body["system"], "now");
    assert_eq!(body["messages"].as_array().unwrap().len(), 2);
    assert_eq!(left_out, ["messages[1]"]);
}

#[test]
fn how_much_to_think_is_said_as_the_model_takes_it() {
    let adaptive = json!({"type": "adaptive"});
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    let level = |level: &str| Effort { level: Some(level.into()), ..Effort::default() };
    let of = |tokens: u64| Effort { budget_tokens: Some(tokens), ..Effort::default() };
    for (model, effort, thinking, output, max_tokens) in [
        ("claude-opus-4-8", level("minimal"), adaptive.clone(), json!({"effort": "low"}), 100),
        ("claude-sonnet-5", of(9000), adaptive.clone(), json!({"effort": "high"}), 100),
        ("claude-opus-4-6", of(9000), budget(9000), Value::Null, 9100),
        ("claude-sonnet-4-5", level("low"), budget(2048), Value::Null, 2148),
        ("claude-sonnet-4-5", of(10), budget(1024), Value::Null, 1124),
        ("claude-sonnet-4-5", level("none"), Value::Null, Value::Null, 100),
        ("claude-opus-4-8", of(0), json!({"type": "disabled"}), Value::Null, 100),
        ("glm-5.2", level("high"), budget(16384), Value::Null, 16484),
    ] {
        let mut request = foreign(vec![user()]);
        request.reasoning = Some(effort.clone());
        request.sampling.max_tokens = Some(100);
        let (body, left_out) = write(&request, model).unwrap();
        assert_eq!(body["thinking"], thinking, "{model} {effort:?}");
        assert_eq!(body["output_config"], output, "{model} {effort:?}");
        assert_eq!(body["max_tokens"], max_tokens, "{model} {effort:?}");
        assert!(left_out.is_empty(), "{left_out:?}");
    }
    let history = vec![
        user(),
        Message::new(Role::Assistant, vec![call(Some("c"), "{}")]),
        Message::new(Role::Tool, vec![result(Some("c"), "1")]),
    ];
    let mut request = foreign(history);
    request.reasoning = Some(level("high"));
    let (body, left_out) = write(&request, "claude-sonnet-4-5").unwrap();
    assert_eq!(body["thinking"], Value::Null, "its thoughts of this turn are not there");
    assert_eq!(left_out, ["reasoning"]);
}

#[test]
fn only_what_shades_the_answer_is_left_out_and_that_is_said() {
    let check = |what: &dyn Fn(&mut Request), expected: Result<&[&str], &str>| {
        let mut request = foreign(vec![user()]);
        what(&mut request);
        match (write(&request, "claude-sonnet-4-5"), expected) {
            (Ok((body, left_out)), Ok(expected)) => assert_eq!(left_out, expected, "{body}"),
            (Err(error), Err(field)) => {
                assert!(error.detail.contains(field), "{} lacks {field}", error.detail);
            }
            (got, expected) => panic!("{got:?} instead of {expected:?}"),
        }
    };
    let say =
        |request: &mut Request, kind: PartKind| request.messages[0].parts.push(Part::new(kind));
    let inline = |mime: &str| Source::Inline { mime: mime.into(), data: "AA==".into() };
    let sealed = |by| Some(Seal { by, data: "x".into() });
    check(&|r| r.sampling.seed = Some(1), Ok(&["seed"]));
    check(&|r| r.sampling.frequency_penalty = Some(0.0), Ok(&[]));
    check(&|r| r.sampling.presence_penalty = Some(1.0), Ok(&["presence_penalty"]));
    check(&|r| r.sampling.temperature = Some(1.7), Ok(&["temperature"]));
    check(&|r| (r.sampling.temperature, r.sampling.top_p) = (Some(0.5), Some(0.9)), Ok(&["top_p"]));
    check(
        &|r| {
            r.reasoning = Some(Effort { level: Some("low".into()), ..Effort::default() });
            (r.sampling.temperature, r.sampling.top_k) = (Some(0.5), Some(5));
        },
        Ok(&["temperature", "top_k"]),
    );
    check(&|r| r.sampling.choices = Some(1), Ok(&[]));
    check(&|r| r.sampling.choices = Some(2), Err("`n`"));
    check(&|r| r.sampling.logprobs = Some(0), Err("`logprobs`"));
    check(&|r| r.sampling.stop = vec!["\n".into()], Err("`stop`"));
    check(&|r| r.format = Some(Format::Json), Err("`response_format`"));
    check(&|r| r.metadata = Some(json!({"a": "b"})), Ok(&["metadata"]));
    check(&|r| r.messages[0].name = Some("Ann".into()), Ok(&["messages[0].name"]));
    check(&|r| r.tools = vec![Tool::Own(json!({"type": "x"}))], Err("`tools[0]`"));
    check(&|r| r.tool_choice = Some(ToolChoice::None), Ok(&[]));
    check(&|r| _ = r.rest.insert("store".into(), json!(true)), Ok(&["store"]));
    check(&|r| _ = r.messages[0].rest.insert("odd".into(), json!(1)), Ok(&["messages[0].odd"]));
    check(&|r| say(r, PartKind::Audio(inline("audio/wav"))), Err("`messages[0].content[1]`"));
    check(&|r| say(r, PartKind::Video(inline("video/mp4"))), Err("`messages[0].content[1]`"));
    check(&|r| say(r, PartKind::Own(json!({}))), Err("`messages[0].content[1]`"));
    check(
        &|r| say(r, PartKind::File { source: inline("application/zip"), name: None }),
        Err("`messages[0].content[1]`"),
    );
    check(
        &|r| say(r, PartKind::Image { source: Source::Id("f".into()), detail: None }),
        Err("`messages[0].content[1]`"),
    );
    check(
        &|r| say(r, PartKind::Image { source: inline("image/png"), detail: Some("low".into()) }),
        Ok(&["messages[0].content[1].detail"]),
    );
    check(
        &|r| say(r, PartKind::Reasoning { text: "t".into(), seal: sealed(Maker::OpenAi) }),
        Ok(&["messages[0].content[1]"]),
    );
    check(
        &|r| say(r, PartKind::Reasoning { text: "t".into(), seal: sealed(Maker::Anthropic) }),
        Ok(&[]),
    );
    check(&|r| r.messages[0].parts.push(call(Some("c"), "{oops")), Ok(&[]));
}

#[test]
fn the_shape_and_the_tools_are_written_as_anthropic_names_them() {
    let mut request = foreign(vec![user()]);
    request.format = Some(Format::Schema {
        name: Some("city".into()),
        description: Some("d".into()),
        schema: json!({"type": "object"}),
        strict: Some(true),
    });
    request.tools = vec![Tool::Function {
        name: "f".into(),
        description: None,
        parameters: None,
        strict: Some(true),
        rest: serde_json::Map::new(),
    }];
    (request.parallel_tools, request.end_user) = (Some(false), Some("u".into()));
    let (body, left_out) = write(&request, "claude-opus-4-8").unwrap();
    let schema = json!({"type": "object", "title": "city", "description": "d"});
    let expected = json!({"format": {"type": "json_schema", "schema": schema}});
    assert_eq!(body["output_config"], expected);
    let schema = json!({"type": "object", "properties": {}});
    assert_eq!(body["tools"], json!([{"name": "f", "input_schema": schema, "strict": true}]));
    let choice = json!({"type": "auto", "disable_parallel_tool_use": true});
    assert_eq!(body["tool_choice"], choice);
    assert_eq!(body["metadata"], json!({"user_id": "u"}));
    assert!(left_out.is_empty());
}

#[test]
fn what_another_maker_sealed_comes_back_with_the_history() {
    let assistant = json!({"role": "assistant", "content": [
        {"type": "thinking", "thinking": "t", "signature": "understudy-seal:openai:O"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        {"type": "redacted_thinking", "data": "understudy-seal:gemini:G"},
        {"type": "thinking", "thinking": "unsigned", "signature": ""},
    ]});
    let request = read(&with("messages", json!([{"role": "user", "content": "q"}, assistant])));
    let parts: Vec<_> =
        request.unwrap().messages[1].parts.iter().map(|part| part.kind.clone()).collect();
    let seal = |by, data: &str| Some(Seal { by, data: data.into() });
    let expected = [
        PartKind::Reasoning { text: "t".into(), seal: seal(Maker::OpenAi, "O") },
        PartKind::ToolCall {
            id: Some("a".into()),
            name: "f".into(),
            arguments: "{}".into(),
            seal: seal(Maker::Gemini, "G"),
        },
        PartKind::Reasoning { text: "unsigned".into(), seal: None },
    ];
    assert_eq!(parts, expected);
}
