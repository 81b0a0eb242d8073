//! Requests: what each field becomes, what is lost on the way, what is refused.

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use understudy::chat::DialectName;
use understudy::chat::Maker;
use understudy::chat::Seal;
use understudy::chat::request::Effort;
use understudy::chat::request::Message;
use understudy::chat::request::Part;
use understudy::chat::request::PartKind;
use understudy::chat::request::Request;
use understudy::chat::request::Role;
use understudy::chat::request::Source;
use understudy::chat::request::Tool;
use understudy::error::Error;
use understudy::wire::Dialect;
use understudy::wire::Recipient;
use understudy::wire::carry::Feature;
use understudy::wire::carry::Losses;
use understudy::wire::quirk::Quirks;

fn dialect() -> &'static dyn Dialect {
    DialectName::Responses.dialect()
}

fn read(body: &Value) -> Result<Request, Error> {
    let head = dialect().read_head(Bytes::from(body.to_string()), None)?;
    dialect().read(&head)
}

fn write(request: &Request) -> Result<(Value, Vec<(Feature, String)>), Error> {
    let to = Recipient { model: "target", quirks: &Quirks::NONE };
    let written = dialect().write(request, &to)?;
    let losses = written.losses.fields().map(|(of, field)| (of, field.to_owned())).collect();
    Ok((serde_json::from_slice(&written.body).unwrap(), losses))
}

fn foreign(messages: Vec<Message>) -> Request {
    let mut request = Request::new(DialectName::Anthropic, "asked");
    request.messages = messages;
    request
}

fn with(role: Role, kinds: Vec<PartKind>) -> Message {
    Message::new(role, kinds.into_iter().map(Part::new).collect())
}

fn input(items: Value) -> Value {
    json!({"model": "target", "input": items})
}

#[test]
fn an_own_request_returns_field_by_field() {
    let call = json!({"type": "function_call", "id": "fc", "call_id": "c", "name": "f",
                      "arguments": "{}", "status": "completed", "namespace": "n"});
    let answer = |id: &str, phase: &str| {
        let part = json!({"type": "output_text", "text": "x", "annotations": []});
        json!({"type": "message", "role": "assistant", "id": id, "phase": phase,
               "status": "completed", "content": [part]})
    };
    let two = json!([{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]);
    for body in [
        input(json!([answer("m1", "commentary"), call, answer("m2", "final_answer")])),
        input(json!([answer("m1", "commentary"), answer("m2", "final_answer")])),
        input(json!([{"type": "reasoning", "id": "rs", "summary": two,
                      "encrypted_content": "gAAA", "status": "completed"}])),
        input(json!([{"type": "reasoning", "id": "rs", "summary": [],
                      "content": [{"type": "reasoning_text", "text": "hm"}]}])),
        input(json!([{"type": "message", "role": "system", "content": "s"}])),
        input(json!([{"type": "message", "role": "user", "content": "q"},
                     {"type": "item_reference", "id": "x"},
                     {"type": "function_call_output", "call_id": "c", "output": [
                         {"type": "input_image", "image_url": "https://i", "detail": "low"}],
                      "status": "completed"},
                     {"type": "custom_tool_call_output", "call_id": "d", "output": "o"}])),
        input(json!([{"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "a", "odd": 1},
            {"type": "input_image", "file_id": "f"},
            {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE",
             "filename": "a.pdf"},
            {"type": "input_file", "file_url": "https://f"},
            {"type": "input_new", "x": {}}], "status": "completed"}])),
        json!({"model": "target", "instructions": "be brief", "input": [
                  {"type": "message", "role": "system", "content": "s"}],
               "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"},
                          "defer_loading": true},
                         {"type": "web_search"}],
               "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []},
               "parallel_tool_calls": false, "previous_response_id": "resp_1",
               "text": {"format": {"type": "json_schema", "name": "n", "schema": {},
                                   "strict": true}, "verbosity": "low"},
               "reasoning": {"effort": "low", "summary": "auto", "context": "all_turns"},
               "include": ["message.output_text.logprobs", "file_search_call.results"],
               "top_logprobs": 3, "temperature": 0.5, "top_p": 0.5, "max_output_tokens": 5,
               "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "store": false,
               "metadata": {"a": "b"}, "background": true, "truncation": "auto",
               "service_tier": "flex", "stream": true, "stream_options": {"x": 1}}),
    ] {
        let (written, losses) = write(&read(&body).unwrap()).unwrap();
        assert_eq!(written, body);
        assert_eq!(losses, []);
    }
}

#[test]
fn what_the_model_said_in_one_go_is_one_turn() {
    let request = read(&input(json!([
        {"role": "user", "content": "q"},
        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAA"},
        {"type": "message", "role": "assistant", "id": "m", "content": [
            {"type": "output_text", "text": "x", "annotations": []}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "d", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "d", "output": "1"},
        {"type": "function_call_output", "call_id": "c", "output": "2"},
        {"role": "assistant", "content": "y"},
    ])))
    .unwrap();
    let shape: Vec<(Role, usize)> =
        request.messages.iter().map(|message| (message.role, message.parts.len())).collect();
    let expected = [(Role::User, 1), (Role::Assistant, 4), (Role::Tool, 2), (Role::Assistant, 1)];
    assert_eq!(shape, expected);
    let data = "{\"id\":\"rs\",\"encrypted_content\":\"gAAA\"}".to_owned();
    let hidden = PartKind::Hidden(Seal { by: Maker::OpenAi, data });
    assert_eq!(request.messages[1].parts[0].kind, hidden);
    let PartKind::ToolResult { name, .. } = &request.messages[2].parts[0].kind else { panic!() };
    assert_eq!(name.as_deref(), Some("g"), "the history tells the tool's name");
}

#[test]
fn a_request_from_elsewhere_is_written_in_this_dialects_words() {
    let seal = |by| Some(Seal { by, data: "{\"id\":\"rs\",\"encrypted_content\":\"g\"}".into() });
    let image = Source::Inline { mime: "image/png".into(), data: "iVBO".into() };
    let mut request = foreign(vec![
        Message::text(Role::System, "s"),
        with(
            Role::User,
            vec![
                PartKind::Text("q".into()),
                PartKind::Image { source: image, detail: None },
                PartKind::File {
                    source: Source::Inline { mime: "application/pdf".into(), data: "JVBE".into() },
                    name: None,
                },
            ],
        ),
        with(
            Role::Assistant,
            vec![
                PartKind::Reasoning { text: "mine".into(), seal: seal(Maker::OpenAi) },
                PartKind::Reasoning { text: "theirs".into(), seal: seal(Maker::Anthropic) },
                PartKind::Text("a".into()),
                PartKind::Text("b".into()),
                PartKind::ToolCall { id: None, name: "f".into(), arguments: "".into(), seal: None },
            ],
        ),
        with(
            Role::Tool,
            vec![PartKind::ToolResult {
                call_id: None,
                name: Some("f".into()),
                parts: vec![Part::text("1")],
                is_error: false,
            }],
        ),
        Message::text(Role::Developer, "d"),
    ]);
    request.tools = vec![Tool::Function {
        name: "f".into(),
        description: None,
        parameters: Some(json!({"type": "object"})),
        strict: None,
        rest: Map::new(),
    }];
    request.reasoning = Some(Effort { budget_tokens: Some(2_000), ..Effort::default() });
    request.sampling.seed = Some(1);
    request.rest.insert("odd".into(), json!(1));
    let (written, losses) = write(&request).unwrap();
    assert_eq!(
        written,
        json!({
            "model": "target",
            "instructions": "s",
            "input": [
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "q"},
                    {"type": "input_image", "image_url": "data:image/png;base64,iVBO",
                     "detail": "auto"},
                    {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE",
                     "filename": "document.pdf"}]},
                {"type": "reasoning", "id": "rs", "encrypted_content": "g",
                 "summary": [{"type": "summary_text", "text": "mine"}]},
                {"type": "message", "role": "assistant", "content": "ab"},
                {"type": "function_call", "call_id": "call_3", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_3", "output": "1"},
                {"type": "message", "role": "developer", "content": "d"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"},
                       "strict": false}],
            "reasoning": {"effort": "low"},
            "store": false,
            "include": ["reasoning.encrypted_content"],
        })
    );
    let at = "messages[2].content[1]";
    assert_eq!(
        losses,
        [
            (Feature::Seal, at.to_owned()),
            (Feature::Seed, "seed".to_owned()),
            (Feature::UnknownField, "odd".to_owned()),
        ]
    );
}

#[test]
fn what_would_change_the_answer_is_refused() {
    let part = |kind| foreign(vec![with(Role::User, vec![kind])]);
    let mut stops = foreign(vec![Message::text(Role::User, "q")]);
    stops.sampling.stop = vec!["x".into()];
    let mut several = foreign(vec![Message::text(Role::User, "q")]);
    several.sampling.choices = Some(2);
    let mut tool = foreign(vec![]);
    tool.tools = vec![Tool::Own(json!({"type": "bash"}))];
    for (request, field) in [
        (part(PartKind::Audio(Source::Id("a".into()))), "messages[0].content[0]"),
        (part(PartKind::Own(json!({"type": "search_result"}))), "messages[0].content[0]"),
        (
            part(PartKind::Image { source: Source::Id("a".into()), detail: None }),
            "messages[0].content[0]",
        ),
        (stops, "stop"),
        (several, "n"),
        (tool, "tools[0]"),
    ] {
        let error = write(&request).unwrap_err();
        assert!(error.detail.contains(&format!("`{field}`")), "{}", error.detail);
    }
}

#[test]
fn what_only_the_provider_remembers_is_refused_elsewhere() {
    for (field, is_refused) in [
        ("background", true),
        ("conversation", true),
        ("previous_response_id", true),
        ("prompt", true),
        ("store", false),
        ("truncation", false),
        ("include", false),
    ] {
        let mut losses = Losses::new(DialectName::Anthropic, &Quirks::NONE);
        let left = losses.leave_out(Feature::UnknownField, field);
        assert_eq!(left.is_err(), is_refused, "{field}");
    }
    let body = json!({"model": "m", "input": "q", "background": false, "conversation": null});
    assert!(read(&body).unwrap().rest.is_empty(), "what asks for nothing needs no home");
}

#[test]
fn a_wrong_type_is_named_with_its_place() {
    for (body, place) in [
        (json!({"model": "m", "input": 1}), "`input`"),
        (json!({"model": "m", "input": [1]}), "`input[0]`"),
        (input(json!([{"content": "x"}])), "`input[0].type`"),
        (input(json!([{"role": "judge", "content": "x"}])), "`input[0].role`"),
        (input(json!([{"role": "user"}])), "`input[0].content`"),
        (
            input(json!([{"role": "user", "content": [{"text": "x"}]}])),
            "`input[0].content[0].type`",
        ),
        (
            input(json!([{"role": "user", "content": [{"type": "input_text", "text": 1}]}])),
            "`input[0].content[0].text`",
        ),
        (
            input(json!([{"role": "user", "content": [{"type": "input_file"}]}])),
            "`input[0].content[0].file_data`",
        ),
        (input(json!([{"type": "function_call"}])), "`input[0].name`"),
        (json!({"model": "m", "tools": {}}), "`tools`"),
        (json!({"model": "m", "tools": [{"type": "function"}]}), "`tools[0].name`"),
        (json!({"model": "m", "tool_choice": 1}), "`tool_choice`"),
        (json!({"model": "m", "temperature": "hot"}), "`temperature`"),
        (json!({"model": "m", "max_output_tokens": -1}), "`max_output_tokens`"),
        (
            json!({"model": "m", "text": {"format": {"type": "json_schema"}}}),
            "`text.format.schema`",
        ),
        (json!({"model": "m", "reasoning": {"effort": 1}}), "`reasoning.effort`"),
    ] {
        let error = read(&body).unwrap_err();
        assert!(error.detail.contains(place), "{body}: {}", error.detail);
    }
}

#[test]
fn a_conversation_is_known_by_the_name_it_was_given() {
    let name = |fields: Value| {
        let mut body = json!({"model": "m", "input": "q"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let head = dialect().read_head(Bytes::from(body.to_string()), None).unwrap();
        dialect().conversation(&head)
    };
    let user = json!({"user": "u", "prompt_cache_key": ""});
    let key = json!({"user": "u", "prompt_cache_key": "k"});
    assert_eq!(name(user), "user:u");
    assert_eq!(name(key), "prompt_cache_key:k");
    assert_eq!(name(json!({"conversation": "c", "prompt_cache_key": "k"})), "conversation:c");
    assert_eq!(name(json!({"conversation": {"id": "c"}})), "conversation:c");
    assert_eq!(
        name(json!({})),
        name(json!({"input": [{"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"}, {"role": "user", "content": "more"}]}))
    );
    assert_ne!(name(json!({})), name(json!({"input": "other"})));
}
