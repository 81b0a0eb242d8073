//! What a variant changes of recorded requests is what is read back, and nothing else changes.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use understudy::chat::DialectName;
use understudy::chat::request::PartKind;
use understudy::chat::request::Request;
use understudy::chat::request::Role;
use understudy::chat::request::Tool;
use understudy::chat::request::ToolChoice;
use understudy::config;
use understudy::config::Provider;
use understudy::experiment::SystemChange;
use understudy::experiment::Target;
use understudy::experiment::Variant;
use understudy::key::CacheKey;
use understudy::plan;
use understudy::plan::Caller;
use understudy::upstream::outgoing::Outgoing;
use understudy::wire::InPath;

use crate::recordings;

const WORDS: &str = "Be brief.";

/// Every dialect with a chat, and the name under which its requests were recorded.
const APIS: [(&str, DialectName); 6] = [
    ("chat", DialectName::OpenAi),
    ("responses", DialectName::Responses),
    ("messages", DialectName::Anthropic),
    ("generate_content", DialectName::Gemini),
    ("cohere_v2_chat", DialectName::Cohere),
    ("converse", DialectName::Converse),
];

type Change = fn(String) -> SystemChange;

const CHANGES: [Change; 3] = [SystemChange::Replace, SystemChange::Prepend, SystemChange::Append];

fn variant() -> Variant {
    let target = Target::parse("p/m").unwrap();
    Variant { name: "brief".to_owned(), target, patch: Map::new(), system: None, tools: None }
}

fn function(name: &str) -> Tool {
    Tool::Function {
        name: name.to_owned(),
        description: Some("Does it.".to_owned()),
        parameters: Some(json!({"type": "object", "properties": {"id": {"type": "string"}}})),
        strict: None,
        rest: Map::new(),
    }
}

fn in_path(dialect: DialectName) -> Option<InPath> {
    let has_path = matches!(dialect, DialectName::Gemini | DialectName::Converse);
    has_path.then(|| InPath { model: "m".to_owned(), stream: false })
}

/// A request for a model of a provider of the same dialect, and the one that it is sent.
fn sent(dialect: DialectName, body: &Value, variant: &Variant) -> (Request, Request, Bytes) {
    let own = dialect.dialect();
    let read = |body: Bytes| own.read(&own.read_head(body, in_path(dialect)).unwrap()).unwrap();
    let bytes = written(dialect, body, variant);
    (read(Bytes::from(body.to_string())), read(bytes.clone()), bytes)
}

fn written(dialect: DialectName, body: &Value, variant: &Variant) -> Bytes {
    let own = dialect.dialect();
    let head = own.read_head(Bytes::from(body.to_string()), in_path(dialect)).unwrap();
    let provider = Provider::native("p", "http://127.0.0.1:1".parse().unwrap(), dialect);
    let outgoing = Outgoing::write(&head, own, &provider, &head.model, Some(variant), false);
    let outgoing = outgoing.unwrap();
    assert_eq!(outgoing.dialect, dialect);
    outgoing.body
}

fn is_system(role: Role) -> bool {
    matches!(role, Role::System | Role::Developer)
}

/// Takes the system's turns, or only those before anybody else speaks, as words without gaps.
fn take_system(request: &mut Request, all: bool) -> String {
    let leading = request.messages.iter().take_while(|turn| is_system(turn.role)).count();
    let mut at = 0;
    let taken = request.messages.extract_if(.., |turn| {
        at += 1;
        is_system(turn.role) && (all || at <= leading)
    });
    let parts: Vec<_> = taken.flat_map(|turn| turn.parts).collect();
    // What is told of other turns is told of them wherever they stand now.
    let spelling = std::mem::take(&mut request.spelling);
    let turns = spelling.iter().filter(|(place, _)| place.starts_with("messages["));
    let turns: Vec<Value> = turns.map(|(_, told)| told.clone()).collect();
    request.spelling = spelling;
    request.spelling.retain(|place, _| !place.starts_with("messages["));
    request.spelling.insert("messages".to_owned(), Value::Array(turns));
    let words = parts.iter().filter_map(|part| match &part.kind {
        PartKind::Text(text) => Some(text.as_str()),
        _ => None,
    });
    words.collect::<String>().split_whitespace().collect()
}

fn recorded(check: impl Fn(&str, DialectName, &Value)) {
    let mut count = 0;
    for (api, dialect) in APIS {
        let Some(recordings) = recordings::of_api(api) else { return };
        for recording in recordings {
            let Some(body) = recording.request.map(|request| request["body"].clone()) else {
                continue;
            };
            if body.is_object() {
                check(&recording.id, dialect, &body);
                count += 1;
            }
        }
    }
    assert!(count > 300, "only {count} requests were found");
}

#[test]
fn the_changed_system_prompt_is_what_the_dialect_reads_and_nothing_else_changes() {
    let new: String = WORDS.split_whitespace().collect();
    recorded(|id, dialect, body| {
        for change in CHANGES {
            let system = Some(change(WORDS.to_owned()));
            let replaces = matches!(system, Some(SystemChange::Replace(_)));
            let variant = Variant { system: system.clone(), ..variant() };
            let (mut before, mut after, _) = sent(dialect, body, &variant);
            let old = take_system(&mut before, replaces);
            let expected = match system {
                Some(SystemChange::Prepend(_)) => format!("{new}{old}"),
                Some(SystemChange::Append(_)) => format!("{old}{new}"),
                _ => new.clone(),
            };
            assert_eq!(take_system(&mut after, replaces), expected, "{id} {system:?}");
            assert_eq!(after, before, "{id} {system:?}");
        }
    });
}

#[test]
fn the_changed_tools_are_what_the_dialect_reads_and_nothing_else_changes() {
    recorded(|id, dialect, body| {
        for tools in [vec![], vec![function("find"), function("ask")]] {
            let names: Vec<String> = tools.iter().filter_map(name).collect();
            let variant = Variant { tools: Some(tools), ..variant() };
            let (mut before, mut after, _) = sent(dialect, body, &variant);
            let found: Vec<String> = after.tools.iter().filter_map(name).collect();
            assert_eq!(found, names, "{id}");
            // A point of the cache behind no tool at all is an error to the provider.
            let is_point =
                |tool: &Tool| matches!(tool, Tool::Own(own) if own.get("cachePoint").is_some());
            let own = |request: &Request| -> Vec<Tool> {
                let own = request.tools.iter().filter(|tool| name(tool).is_none());
                let own: Vec<Tool> = own.cloned().collect();
                if names.is_empty() && own.iter().all(is_point) { Vec::new() } else { own }
            };
            assert_eq!(own(&after), own(&before), "{id}: the provider's own tools stay");
            let is_gone = matches!(&before.tool_choice, Some(ToolChoice::Named(_)));
            if after.tools.is_empty() || is_gone {
                assert_eq!(after.tool_choice, None, "{id}");
            }
            for request in [&mut before, &mut after] {
                request.tools.clear();
                (request.tool_choice, request.parallel_tools) = (None, None);
                for key in ["tools", "functions", "function_call", "tool_choice"] {
                    request.spelling.remove(key);
                }
                // Cohere's one switch for all tools.
                request.rest.remove("strict_tools");
            }
            assert_eq!(after, before, "{id}");
        }
    });
}

fn name(tool: &Tool) -> Option<String> {
    match tool {
        Tool::Function { name, .. } => Some(name.clone()),
        Tool::Own(_) => None,
    }
}

#[test]
fn a_plain_variant_leaves_every_byte() {
    recorded(|id, dialect, body| {
        let (_, _, bytes) = sent(dialect, body, &variant());
        assert_eq!(bytes, body.to_string(), "{id}");
    });
}

/// Where each dialect has its system prompt, written by hand.
#[test]
fn a_paragraph_goes_where_the_dialect_has_its_system_prompt() {
    let turn = |role: &str, content: Value| json!({"role": role, "content": content});
    let user = turn("user", json!("hi"));
    let mark = json!({"type": "ephemeral"});
    let block = |text: &str| json!({"type": "text", "text": text});
    let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": mark});
    for (dialect, change, before, after) in [
        (
            DialectName::OpenAi,
            CHANGES[2],
            json!({"messages": [turn("developer", json!("a")), turn("system", json!("b")), user]}),
            json!({"messages":
                [turn("developer", json!("a")), turn("system", json!("b\n\nBe brief.")), user]}),
        ),
        (
            DialectName::OpenAi,
            CHANGES[0],
            json!({"messages": [turn("developer", json!("a")), user, turn("system", json!("b"))]}),
            json!({"messages": [turn("developer", json!(WORDS)), user]}),
        ),
        (
            DialectName::OpenAi,
            CHANGES[1],
            json!({"messages": [user]}),
            json!({"messages": [turn("system", json!(WORDS)), user]}),
        ),
        (
            DialectName::Responses,
            CHANGES[2],
            json!({"instructions": "a", "input": [turn("developer", json!("b")), user]}),
            json!({"instructions": "a",
                "input": [turn("developer", json!("b\n\nBe brief.")), user]}),
        ),
        (
            DialectName::Responses,
            CHANGES[0],
            json!({"input": [turn("system", json!("b")), user], "instructions": "a"}),
            json!({"input": [user], "instructions": WORDS}),
        ),
        (
            DialectName::Anthropic,
            CHANGES[2],
            json!({"max_tokens": 9, "system": [marked("a")], "messages": [user]}),
            json!({"max_tokens": 9, "system": [marked("a"), block("\n\nBe brief.")],
                "messages": [user]}),
        ),
        (
            DialectName::Anthropic,
            CHANGES[0],
            json!({"max_tokens": 9, "system": [block("x"), marked("a")], "messages": [user]}),
            json!({"max_tokens": 9, "system": [marked(WORDS)], "messages": [user]}),
        ),
        (
            DialectName::Gemini,
            CHANGES[1],
            json!({"system_instruction": {"parts": {"text": "a"}, "role": "x"}, "contents": []}),
            json!({"system_instruction":
                {"parts": [{"text": "Be brief.\n\n"}, {"text": "a"}], "role": "x"},
                "contents": []}),
        ),
        (
            DialectName::Converse,
            CHANGES[0],
            json!({"system": [{"text": "a"}, {"cachePoint": {"type": "default"}}],
                "messages": []}),
            json!({"system": [{"text": WORDS}, {"cachePoint": {"type": "default"}}],
                "messages": []}),
        ),
    ] {
        let system = Some(change(WORDS.to_owned()));
        let with_model = |mut body: Value| {
            if in_path(dialect).is_none() {
                body["model"] = json!("m");
            }
            body
        };
        let variant = Variant { system, ..variant() };
        let body = written(dialect, &with_model(before), &variant);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, with_model(after), "{dialect:?}");
    }
}

#[test]
fn the_patch_has_the_last_word_and_a_translation_the_first() {
    let Value::Object(patch) = json!({"system": "Patched.", "tools": null}) else { unreachable!() };
    let variant = Variant {
        patch,
        system: Some(SystemChange::Replace(WORDS.to_owned())),
        tools: Some(vec![function("find")]),
        ..variant()
    };
    let body = r#"{"model":"m","messages":[{"role":"system","content":"a"},
                   {"role":"user","content":"hi"}]}"#;
    let openai = DialectName::OpenAi.dialect();
    let head = openai.read_head(Bytes::from(body), None).unwrap();
    let address = "http://127.0.0.1:1".parse().unwrap();
    let provider = Provider::native("p", address, DialectName::Anthropic);
    let write = |variant: &Variant| {
        let written = Outgoing::write(&head, openai, &provider, "m", Some(variant), false);
        serde_json::from_slice::<Value>(&written.unwrap().body).unwrap()
    };
    let patched = write(&variant);
    assert_eq!((&patched["system"], patched.get("tools")), (&json!("Patched."), None));
    let unpatched = write(&Variant { patch: Map::new(), ..variant });
    assert_eq!(unpatched["system"], json!(WORDS));
    assert_eq!(unpatched["tools"][0]["input_schema"]["type"], "object");
}

#[test]
fn what_a_dialect_has_no_place_for_is_an_error_that_names_the_variant() {
    let completions = DialectName::Completions;
    let address = "http://127.0.0.1:1".parse().unwrap();
    let provider = Provider::native("p", address, completions);
    let body = Bytes::from_static(br#"{"model":"m","prompt":"hi"}"#);
    let head = completions.dialect().read_head(body, None).unwrap();
    let system = Some(SystemChange::Append(WORDS.to_owned()));
    for (variant, what) in [
        (Variant { system, ..variant() }, "the system prompt"),
        (Variant { tools: Some(vec![]), ..variant() }, "the tools"),
    ] {
        let from = completions.dialect();
        let error =
            Outgoing::write(&head, from, &provider, "m", Some(&variant), false).unwrap_err();
        let expected = format!(
            "the variant `brief`: it changes {what}, which completions requests do not have"
        );
        assert_eq!(error.detail, expected);
    }
}

/// The key of an answer of control, whose variant has these further keys.
fn key(changes: &str) -> CacheKey {
    let text = format!(
        "experiment: e\ncontrol: {{ target: openai/a, {changes} }}\n\
         candidates: {{ b: {{ target: openai/b }} }}\ntraffic: {{ shadow: 1% }}\n"
    );
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let (config, _) = config::load(None, &[("e.yaml".to_owned(), text)], &|_| None, &read).unwrap();
    let body = Bytes::from_static(br#"{"model":"openai/a","messages":[]}"#);
    let openai = DialectName::OpenAi.dialect();
    let head = openai.read_head(body, None).unwrap();
    let headers = HeaderMap::new();
    let plan = plan::plan(&config, openai, &head, &Caller::new(&headers)).unwrap();
    plan.key(&plan.targets[0])
}

#[test]
fn everything_that_a_variant_changes_is_in_the_key_of_its_answers() {
    let all = [
        "",
        "patch: { a: 1, b: { c: 1, d: 2 } }",
        "patch: { a: 1, b: { c: 1, d: 3 } }",
        "system: { replace: x }",
        "system: { prepend: x }",
        "system: { append: x }",
        "system: { append: y }",
        "tools: []",
        "tools: [{ name: x }]",
        "tools: [{ name: x, strict: true }]",
        "tools: [{ name: x, description: y }]",
        "tools: [{ name: x, parameters: { type: object } }]",
        "patch: { system: { append: x } }",
    ];
    let keys: std::collections::BTreeSet<String> =
        all.iter().map(|changes| key(changes).to_string()).collect();
    assert_eq!(keys.len(), all.len());
    let turned = key("patch: { b: { d: 2, c: 1 }, a: 1 }");
    assert_eq!(turned, key(all[1]), "the order of fields says nothing");
}
