//! Requests: both spellings, Google's schemas, history with and without ids, and what is left out.

use bytes::Bytes;
use serde_json::Map;
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
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::gemini::count;
use understudy::wire::gemini::schema::to_json_schema;
use understudy::wire::quirk::Quirks;

fn read(body: &Value) -> Result<Request, Error> {
    let in_path = InPath { model: "models/gemini-3-pro".into(), stream: false };
    let dialect = DialectName::Gemini.dialect();
    let head = dialect.read_head(Bytes::from(body.to_string()), Some(in_path))?;
    dialect.read(&head)
}

fn write(request: &Request, model: &str) -> Result<(Value, String), Error> {
    let to = Recipient { model, quirks: &Quirks::NONE };
    let written = DialectName::Gemini.dialect().write(request, &to)?;
    let losses = written.losses.fields().map(|(_, field)| field).collect::<Vec<_>>().join(" ");
    Ok((serde_json::from_slice(&written.body).unwrap(), losses))
}

fn foreign(messages: Vec<Message>) -> Request {
    let mut request = Request::new(DialectName::OpenAi, "asked");
    request.messages = messages;
    request
}

fn message(role: Role, kinds: Vec<PartKind>) -> Message {
    Message::new(role, kinds.into_iter().map(Part::new).collect())
}

fn call(id: &str, name: &str, arguments: &str, seal: Option<Seal>) -> PartKind {
    let (id, name) = (Some(id.to_owned()), name.to_owned());
    PartKind::ToolCall { id, name, arguments: arguments.to_owned(), seal }
}

fn result(id: &str, parts: Vec<Part>, is_error: bool) -> PartKind {
    PartKind::ToolResult { call_id: Some(id.to_owned()), name: None, parts, is_error }
}

fn sealed(by: Maker) -> Option<Seal> {
    Some(Seal { by, data: "c2ln".to_owned() })
}

#[test]
fn a_path_names_model_and_verb() {
    let path = |model: &str, is_stream| DialectName::Gemini.dialect().path(model, is_stream);
    for (model, is_stream, expected) in [
        ("gemini-3-pro", false, "/v1beta/models/gemini-3-pro:generateContent"),
        ("models/g", true, "/v1beta/models/g:streamGenerateContent?alt=sse"),
        ("tunedModels/t", false, "/v1beta/tunedModels/t:generateContent"),
        ("a/b c:d?e#é", false, "/v1beta/models/a/b%20c%3Ad%3Fe%23%C3%A9:generateContent"),
    ] {
        assert_eq!(path(model, is_stream), expected);
    }
}

#[test]
fn both_spellings_of_every_field_mean_the_same() {
    let camel = json!({
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [{"role": "user", "parts": [
            {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
            {"fileData": {"fileUri": "https://x/y.pdf", "mimeType": "application/pdf"}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a_b": 1}},
                                         "thoughtSignature": "c2ln"}]}],
        "tools": [{"functionDeclarations": [{"name": "f",
                   "parametersJsonSchema": {"type": "object"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {"topP": 0.5, "topK": 4, "maxOutputTokens": "9", "seed": -1,
            "stopSequences": ["x"], "candidateCount": 2, "responseLogprobs": true, "logprobs": 3,
            "responseMimeType": "application/json", "presencePenalty": 1, "frequencyPenalty": 0.5,
            "thinkingConfig": {"thinkingBudget": 5, "includeThoughts": true}},
    });
    let mut snake = camel.clone();
    spell(&mut snake);
    let (camel, snake) = (read(&camel).unwrap(), read(&snake).unwrap());
    assert_eq!(camel, snake);
    assert_eq!(camel.model, "gemini-3-pro");
    assert_eq!(camel.tool_choice, Some(ToolChoice::Named("f".into())));
    assert_eq!(camel.sampling.max_tokens, Some(9));
    assert_eq!(camel.sampling.logprobs, Some(3));
    assert!(camel.rest.is_empty(), "{:?}", camel.rest);
}

/// Writes every field name with underscores.
fn spell(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(spell),
        Value::Object(fields) => {
            for (key, mut value) in std::mem::take(fields) {
                spell(&mut value);
                let upper = |c: char| if c.is_uppercase() { format!("_{c}") } else { c.into() };
                fields.insert(key.chars().map(upper).collect::<String>().to_lowercase(), value);
            }
        }
        _ => {}
    }
}

#[test]
fn wrong_types_are_refused_with_their_place() {
    for (body, place) in [
        (json!({}), "`contents`"),
        (json!({"contents": "hi"}), "`contents`"),
        (json!({"contents": [{"role": "assistant", "parts": []}]}), "`contents[0].role`"),
        (json!({"contents": [{"parts": [{"text": 1}]}]}), "`contents[0].parts[0].text`"),
        (json!({"contents": [{"parts": ["x"]}]}), "`contents[0].parts[0]`"),
        (json!({"contents": [], "tools": {}}), "`tools`"),
        (
            json!({"contents": [], "tools": [{"functionDeclarations": [{}]}]}),
            "`tools[0].functionDeclarations[0].name`",
        ),
        (json!({"contents": [], "generationConfig": {"topP": "x"}}), "`generationConfig.topP`"),
        (
            json!({"contents": [], "generationConfig": {"stopSequences": ["a", 1]}}),
            "`generationConfig.stopSequences[1]`",
        ),
    ] {
        let detail = read(&body).unwrap_err().detail;
        assert!(detail.contains(place), "{body}: {detail}");
    }
}

#[test]
fn what_only_gemini_knows_returns_to_gemini_and_is_reported_elsewhere() {
    let body = json!({
        "contents": [{"role": "model", "parts": [
            {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "c2ln"},
            {"inlineData": {"mimeType": "image/png", "data": "AA==", "displayName": "d"},
             "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"}}]}],
        "tools": [{"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"},
                       "includeServerSideToolInvocations": true},
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"],
                             "thinkingConfig": {"thinkingBudget": -1, "new": 1}},
        "safetySettings": [], "cachedContent": "c", "labels": {"a": "b"},
    });
    let request = read(&body).unwrap();
    assert_eq!(write(&request, "gemini-3-pro").unwrap(), (body, String::new()));
    let keys: Vec<&str> = request.rest.keys().map(String::as_str).collect();
    let expected = [
        "safetySettings",
        "cachedContent",
        "labels",
        "toolConfig.includeServerSideToolInvocations",
        "generationConfig.thinkingConfig.new",
        "generationConfig.responseModalities",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn googles_schemas_become_json_schema() {
    for (google, expected) in [
        (
            json!({"type": "OBJECT", "properties": {"type": {"type": "STRING", "nullable": true}},
                   "propertyOrdering": ["type"]}),
            json!({"type": "object", "properties": {"type": {"type": ["string", "null"]}},
                   "propertyOrdering": ["type"]}),
        ),
        (
            json!({"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "2"}),
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 2}),
        ),
        (
            json!({"anyOf": [{"type": "NUMBER"}], "nullable": true}),
            json!({"anyOf": [{"type": "number"}, {"type": "null"}]}),
        ),
        (
            json!({"type": "STRING", "enum": ["A"], "nullable": true}),
            json!({"type": ["string", "null"], "enum": ["A", null]}),
        ),
        (
            json!({"type": ["string", "null"], "$ref": "#/x", "const": "TYPE"}),
            json!({"type": ["string", "null"], "$ref": "#/x", "const": "TYPE"}),
        ),
        (json!(true), json!(true)),
    ] {
        assert_eq!(to_json_schema(google.clone()), expected, "{google}");
    }
}

#[test]
fn calls_without_ids_get_the_same_ones_as_their_results_and_lose_them_again() {
    let body = json!({"contents": [
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"n": 1}}},
                                    {"functionCall": {"name": "g"}},
                                    {"functionCall": {"name": "f", "args": {"n": 2}}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "f", "response": {"result": "one"}}},
            {"functionResponse": {"name": "g", "response": {"error": "bad"}}},
            {"functionResponse": {"name": "f", "response": {"deep": [2]}}},
            {"text": "go on"}]},
    ]});
    let request = read(&body).unwrap();
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::Assistant, Role::Tool, Role::User]);
    let results = request.messages[1].parts.iter().map(|part| match &part.kind {
        PartKind::ToolResult { call_id, parts, is_error, .. } => {
            let PartKind::Text(text) = &parts[0].kind else { panic!() };
            (call_id.as_deref().unwrap(), text.as_str(), *is_error)
        }
        other => panic!("{other:?}"),
    });
    let expected = [
        ("gemini_call_0", "one", false),
        ("gemini_call_1", "bad", true),
        ("gemini_call_2", r#"{"deep":[2]}"#, false),
    ];
    assert_eq!(results.collect::<Vec<_>>(), expected);
    assert_eq!(request.tool_of_call("gemini_call_1"), Some("g"));
    assert_eq!(write(&request, "m").unwrap().0, body);
}

#[test]
fn a_strangers_history_becomes_geminis() {
    let request = foreign(vec![
        Message::text(Role::System, "s"),
        Message::text(Role::Developer, "d"),
        Message::text(Role::User, "hi"),
        message(
            Role::Assistant,
            vec![
                PartKind::Reasoning { text: "hm".into(), seal: sealed(Maker::Anthropic) },
                PartKind::Text("ok".into()),
                call("c1", "f", r#"{"a":1}"#, None),
                call("c2", "g", "", None),
            ],
        ),
        message(Role::Tool, vec![result("c1", vec![Part::text(r#"{"b":2}"#)], false)]),
        message(Role::Tool, vec![result("c2", vec![Part::text("oh")], true)]),
        Message::text(Role::User, "and"),
        message(Role::Assistant, vec![call("c3", "f", "cut", sealed(Maker::Gemini))]),
    ]);
    let new = |signature: &str| {
        json!({
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [
                    {"text": "hm", "thought": true}, {"text": "ok"},
                    {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}},
                     "thoughtSignature": signature},
                    {"functionCall": {"id": "c2", "name": "g", "args": {}}}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "c1", "name": "f", "response": {"b": 2}}},
                    {"functionResponse": {"id": "c2", "name": "g", "response": {"error": "oh"}}},
                    {"text": "and"}]},
                {"role": "model", "parts": [
                    {"functionCall": {"id": "c3", "name": "f", "args": {"input": "cut"}},
                     "thoughtSignature": "c2ln"}]},
            ],
            "systemInstruction": {"parts": [{"text": "s"}, {"text": "d"}]},
        })
    };
    let mut old = new("");
    old["contents"][1]["parts"][2].as_object_mut().unwrap().remove("thoughtSignature");
    let loss = "messages[3].content[0].signature".to_owned();
    let skip = "skip_thought_signature_validator";
    assert_eq!(write(&request, "gemini-3-pro").unwrap(), (new(skip), loss.clone()));
    assert_eq!(write(&request, "gemini-2.5-pro").unwrap(), (old, loss));
}

#[test]
fn pictures_in_results_go_where_the_model_can_see_them() {
    let picture = || {
        let source = Source::Inline { mime: "image/png".into(), data: "AA==".into() };
        Part::new(PartKind::Image { source, detail: None })
    };
    let request = foreign(vec![
        message(Role::Assistant, vec![call("c1", "f", "{}", sealed(Maker::Gemini))]),
        message(Role::Tool, vec![result("c1", vec![Part::text("see"), picture()], false)]),
    ]);
    let blob = json!({"inlineData": {"mimeType": "image/png", "data": "AA=="}});
    let plain = json!({"id": "c1", "name": "f", "response": {"result": "see"}});
    let mut with = plain.clone();
    with["parts"] = json!([blob]);
    for (model, expected) in [
        ("gemini-3-flash", json!([{"functionResponse": with}])),
        ("gemini-2.5-flash", json!([{"functionResponse": plain}, blob])),
    ] {
        assert_eq!(write(&request, model).unwrap().0["contents"][1]["parts"], expected, "{model}");
    }
}

#[test]
fn asking_for_words_is_asking_for_nothing() {
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
                      "generationConfig": {"responseModalities": ["TEXT"]}});
    let request = read(&body).unwrap();
    assert!(request.rest.is_empty());
    assert_eq!(write(&request, "m").unwrap().0, body);
}

#[test]
fn bytes_in_the_alphabet_of_urls_become_what_others_read() {
    for (sent, read_as) in [("-_8=", "+/8="), ("-_8", "+/8="), ("AAAA", "AAAA"), ("_-", "/+==")] {
        let blob = json!({"inlineData": {"mimeType": "image/png", "data": sent}});
        let request = read(&json!({"contents": [{"parts": [blob]}]})).unwrap();
        let kind = &request.messages[0].parts[0].kind;
        let PartKind::Image { source: Source::Inline { data, .. }, .. } = kind else {
            panic!("{kind:?}")
        };
        assert_eq!(data, read_as);
    }
}

#[test]
fn pictures_and_documents_are_read_and_written() {
    let url = |url: &str| Source::Url { url: url.into(), mime: None };
    let image = |source, detail: Option<&str>| PartKind::Image {
        source,
        detail: detail.map(str::to_owned),
    };
    for (kind, expected, losses) in [
        (
            image(url("https://x/a.PNG?q=1"), Some("low")),
            Ok(json!({"fileData": {"fileUri": "https://x/a.PNG?q=1", "mimeType": "image/png"}})),
            "messages[0].content[0].detail",
        ),
        (
            image(url("https://x/a"), Some("auto")),
            Ok(json!({"fileData": {"fileUri": "https://x/a"}})),
            "",
        ),
        (
            PartKind::File {
                source: Source::Inline { mime: "application/pdf".into(), data: "AA==".into() },
                name: Some("n.pdf".into()),
            },
            Ok(json!({"inlineData": {"mimeType": "application/pdf", "data": "AA=="}})),
            "messages[0].content[0].filename",
        ),
        (
            PartKind::File { source: Source::Id("file-1".into()), name: None },
            Err("`messages[0].content[0]`"),
            "",
        ),
        (PartKind::Own(json!({"type": "x"})), Err("`messages[0].content[0]`"), ""),
        (PartKind::Refusal("no".into()), Ok(json!({"text": "no"})), ""),
    ] {
        let got = write(&foreign(vec![message(Role::User, vec![kind])]), "m");
        match (got, expected) {
            (Ok((body, reported)), Ok(expected)) => {
                assert_eq!(body["contents"][0]["parts"][0], expected);
                assert_eq!(reported, losses);
            }
            (Err(error), Err(place)) => assert!(error.detail.contains(place), "{error:?}"),
            (got, expected) => panic!("{got:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn anothers_seal_comes_back_on_the_thought_it_closes() {
    let marked = "dW5kZXJzdHVkeS1zZWFsOmFudGhyb3BpYzpTSUc=";
    let body = json!({"contents": [{"role": "model", "parts": [
        {"text": "a", "thought": true}, {"text": "b", "thought": true},
        {"text": "", "thought": true, "thoughtSignature": marked},
        {"text": "", "thoughtSignature": marked},
        {"text": "words", "thoughtSignature": "c2ln"},
    ]}]});
    let seal = Seal { by: Maker::Anthropic, data: "SIG".into() };
    let kinds: Vec<PartKind> =
        read(&body).unwrap().messages.remove(0).parts.into_iter().map(|part| part.kind).collect();
    let own = Seal { by: Maker::Gemini, data: "c2ln".into() };
    let expected = [
        PartKind::Reasoning { text: "ab".into(), seal: Some(seal.clone()) },
        PartKind::Hidden(seal),
        PartKind::Text("words".into()),
        PartKind::Hidden(own),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn effort_is_a_budget_or_a_level_by_the_model() {
    let level = |word: &str| Effort { level: Some(word.into()), ..Effort::default() };
    let budget = |tokens| Effort { budget_tokens: Some(tokens), ..Effort::default() };
    let enabled = |enabled| Effort { enabled: Some(enabled), ..Effort::default() };
    let shown = Effort { summary: Some("auto".into()), ..level("low") };
    for (effort, model, expected) in [
        (level("low"), "gemini-2.5-flash", json!({"thinkingBudget": 1024})),
        (level("none"), "gemini-2.5-flash", json!({"thinkingBudget": 0})),
        (level("none"), "gemini-2.5-pro", json!({"thinkingBudget": 128})),
        (level("none"), "gemini-3-pro", json!({"thinkingLevel": "MINIMAL"})),
        (level("high"), "gemini-3-pro", json!({"thinkingLevel": "HIGH"})),
        (level("xhigh"), "gemini-flash-latest", json!({"thinkingLevel": "HIGH"})),
        (level("odd"), "gemini-3-pro", Value::Null),
        (budget(7), "gemini-3-pro", json!({"thinkingBudget": 7})),
        (enabled(false), "gemini-2.5-flash", json!({"thinkingBudget": 0})),
        (enabled(true), "gemini-2.5-flash", json!({"thinkingBudget": -1})),
        (enabled(true), "gemini-3-pro", Value::Null),
        (shown, "gemini-3-pro", json!({"thinkingLevel": "LOW", "includeThoughts": true})),
    ] {
        let mut request = foreign(vec![Message::text(Role::User, "hi")]);
        request.reasoning = Some(effort.clone());
        let (body, losses) = write(&request, model).unwrap();
        assert_eq!(body["generationConfig"]["thinkingConfig"], expected, "{effort:?} {model}");
        assert_eq!(losses.is_empty(), effort.level.as_deref() != Some("odd"));
    }
    let mut request = foreign(vec![Message::text(Role::User, "hi")]);
    request.dialect = DialectName::Anthropic;
    request.reasoning = Some(Effort { budget_tokens: Some(7), ..enabled(true) });
    let config = &write(&request, "gemini-3-pro").unwrap().0["generationConfig"];
    assert_eq!(config["thinkingConfig"], json!({"thinkingBudget": 7, "includeThoughts": true}));
}

#[test]
fn everything_else_of_a_stranger_has_its_place_or_is_reported() {
    let mut request = foreign(vec![Message::text(Role::System, "alone")]);
    request.end_user = Some("u".into());
    request.metadata = Some(json!({"a": "b"}));
    request.parallel_tools = Some(false);
    request.rest = Map::from_iter([("store".to_owned(), json!(true))]);
    request.tools = vec![Tool::Function {
        name: "f".into(),
        description: Some("d".into()),
        parameters: Some(json!({"type": "object", "$defs": {}})),
        strict: Some(true),
        rest: Map::from_iter([("cache_control".to_owned(), json!({}))]),
    }];
    request.tool_choice = Some(ToolChoice::Required);
    request.format = Some(Format::Schema {
        name: Some("n".into()),
        description: Some("why".into()),
        schema: json!({"type": "object"}),
        strict: Some(true),
    });
    request.sampling.choices = Some(2);
    request.sampling.logprobs = Some(0);
    request.sampling.stop = vec!["x".into()];
    let expected = json!({
        "contents": [{"role": "user", "parts": [{"text": "alone"}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "description": "d",
            "parametersJsonSchema": {"type": "object", "$defs": {}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {"stopSequences": ["x"], "candidateCount": 2, "responseLogprobs": true,
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object", "description": "why"}},
    });
    let losses = "tools[0].strict tools[0].cache_control store user metadata parallel_tool_calls";
    assert_eq!(write(&request, "m").unwrap(), (expected, losses.to_owned()));
    request.sampling.stop = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec();
    assert!(write(&request, "m").unwrap_err().detail.contains("`stop`"));
}

#[test]
fn a_prompt_can_be_counted_in_either_form() {
    let contents = json!([{"role": "user", "parts": [{"text": "hi"}]}]);
    let plain = json!({"contents": contents});
    let whole = json!({"generateContentRequest": {"model": "models/m", "contents": contents}});
    let read = |body: &Value| count::read(body.to_string().as_bytes(), "m").unwrap();
    assert_eq!(read(&plain), read(&whole));
    assert_eq!(read(&plain).messages, [Message::text(Role::User, "hi")]);
    assert!(count::read(b"[]", "m").is_err());
    assert_eq!(count::write(12), r#"{"totalTokens":12}"#);
}
