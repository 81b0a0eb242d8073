//! Which requests may be served again, what they may say about it, which failures repeat themselves.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use serde_json::Value;
use serde_json::json;
use understudy::cacheable;
use understudy::cacheable::CLASSES;
use understudy::cacheable::Choices;
use understudy::cacheable::Question;
use understudy::cacheable::directive;
use understudy::cacheable::directive::Directives;
use understudy::cacheable::maker::Latest;
use understudy::cacheable::maker::Maker;
use understudy::cacheable::repeat::would_repeat;
use understudy::chat::DialectName;
use understudy::chat::ProviderError;
use understudy::chat::request::Request;
use understudy::experiment::Target;
use understudy::wire;
use understudy::wire::InPath;

use crate::recordings;

mod failures;

use DialectName::Anthropic;
use DialectName::Converse;
use DialectName::Gemini;
use DialectName::OpenAi;
use DialectName::Responses;

/// A request of this dialect with these fields, read as the proxy reads it.
fn asked(dialect: DialectName, fields: &Value) -> Request {
    let turns = json!([{"role": "user", "content": "hi"}]);
    let mut body = match dialect {
        Responses => json!({"model": "m", "input": "hi"}),
        Gemini => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
        Converse => json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
        _ => json!({"model": "m", "max_tokens": 9, "messages": turns}),
    };
    for (key, value) in fields.as_object().unwrap() {
        body[key] = value.clone();
    }
    let in_path = matches!(dialect, Gemini | Converse)
        .then(|| InPath { model: "m".to_owned(), stream: false });
    let head = dialect.dialect().read_head(Bytes::from(body.to_string()), in_path).unwrap();
    dialect.dialect().read(&head).unwrap()
}

/// The names of the classes a request belongs to, but for `sampled`, which is tested by itself.
fn classes(request: &Request, model: &str) -> Vec<&'static str> {
    let targets = [Target { provider: "p".to_owned(), model: model.to_owned() }];
    let question = Question { request, targets: &targets };
    let held = CLASSES.iter().filter(|class| class.holds(&question)).map(|class| class.name);
    held.filter(|name| *name != "sampled").collect()
}

#[test]
fn the_table_is_sorted_and_gives_a_reason_for_every_row() {
    let names: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    for class in &CLASSES {
        assert!(class.why.len() > 30 && !class.why.ends_with('.'), "{}", class.name);
        assert_eq!(Choices::default().allows(class.name), Some(class.by_default));
    }
    assert_eq!(Choices::default().allows("serve_tools"), None);
}

#[test]
fn the_readme_shows_the_table_as_it_is() {
    let readme = include_str!("../../README.md");
    for class in &CLASSES {
        let word = if class.by_default { "yes" } else { "no" };
        let row = format!("| `{}` | {word} | {} |\n", class.name, class.why);
        assert!(readme.contains(&row), "{row}");
    }
    for alias in directive::names() {
        assert!(readme.contains(&format!("`{alias}: ")), "{alias}");
    }
}

#[test]
fn a_request_belongs_to_the_classes_of_what_it_asks() {
    let function = json!({"type": "function", "function": {"name": "f"}});
    let named = json!({"type": "function", "name": "f"});
    let image = |source: Value| json!([{"role": "user", "content": [source]}]);
    let cases: &[(DialectName, Value, &[&str])] = &[
        (OpenAi, json!({}), &[]),
        (OpenAi, json!({"tools": [function]}), &["tools"]),
        (OpenAi, json!({"functions": [{"name": "f"}]}), &["tools"]),
        (OpenAi, json!({"tools": [{"type": "custom", "custom": {"name": "c"}}]}), &["tools"]),
        (OpenAi, json!({"tools": [{"type": "web_search"}]}), &["server_tools"]),
        (OpenAi, json!({"tools": [function, {"type": "x"}]}), &["server_tools", "tools"]),
        (OpenAi, json!({"tools": []}), &[]),
        (OpenAi, json!({"web_search_options": {}}), &["server_tools"]),
        (OpenAi, json!({"search_parameters": {"mode": "auto"}}), &["server_tools"]),
        (OpenAi, json!({"search_parameters": {"mode": "off"}}), &[]),
        (OpenAi, json!({"plugins": [{"id": "web"}]}), &["server_tools"]),
        (OpenAi, json!({"plugins": []}), &[]),
        (OpenAi, json!({"enable_search": true}), &["server_tools"]),
        (OpenAi, json!({"enable_search": false}), &[]),
        (OpenAi, json!({"store": true}), &["store"]),
        (OpenAi, json!({"store": false}), &[]),
        (OpenAi, json!({"store": null}), &[]),
        (OpenAi, json!({"deferred": true}), &["background"]),
        (
            OpenAi,
            json!({"messages": image(json!(
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}))}),
            &["links"],
        ),
        (
            OpenAi,
            json!({"messages": image(json!(
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}))}),
            &[],
        ),
        (
            OpenAi,
            json!({"messages": image(json!({"type": "file", "file": {"file_id": "file-1"}}))}),
            &["files"],
        ),
        (Responses, json!({"tools": [named]}), &["tools"]),
        (Responses, json!({"tools": [{"type": "custom", "name": "c"}]}), &["tools"]),
        (Responses, json!({"tools": [{"type": "local_shell"}]}), &["tools"]),
        (Responses, json!({"tools": [{"type": "apply_patch"}]}), &["tools"]),
        (Responses, json!({"tools": [{"type": "web_search_preview"}]}), &["server_tools"]),
        (Responses, json!({"tools": [{"type": "code_interpreter"}]}), &["server_tools"]),
        (Responses, json!({"tools": [{"type": "computer_use_preview"}]}), &["server_tools"]),
        (Responses, json!({"tools": [{"type": "file_search"}]}), &["server_tools"]),
        (Responses, json!({"tools": [{"type": "mcp", "server_label": "s"}]}), &["server_tools"]),
        (Responses, json!({"tools": [{"type": "image_generation"}]}), &["server_tools"]),
        (Responses, json!({"store": true}), &["store"]),
        (Responses, json!({"store": false}), &[]),
        (Responses, json!({"previous_response_id": "resp_1"}), &["previous_response"]),
        (Responses, json!({"previous_response_id": null}), &[]),
        (
            Responses,
            json!({"input": [{"type": "item_reference", "id": "msg_1"}]}),
            &["previous_response"],
        ),
        (Responses, json!({"conversation": "conv_1"}), &["conversation"]),
        (Responses, json!({"conversation": {"id": "conv_1"}}), &["conversation"]),
        (Responses, json!({"background": true}), &["background"]),
        (Responses, json!({"background": false}), &[]),
        (Responses, json!({"prompt": {"id": "pmpt_1"}}), &["stored_prompt"]),
        (Responses, json!({"prompt": {"id": "pmpt_1", "version": null}}), &["stored_prompt"]),
        (Responses, json!({"prompt": {"id": "pmpt_1", "version": "2"}}), &[]),
        (Anthropic, json!({"tools": [{"name": "f", "input_schema": {}}]}), &["tools"]),
        (Anthropic, json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}), &["tools"]),
        (Anthropic, json!({"tools": [{"type": "text_editor_20250728"}]}), &["tools"]),
        (Anthropic, json!({"tools": [{"type": "memory_20250818"}]}), &["tools"]),
        (Anthropic, json!({"tools": [{"type": "web_search_20250305"}]}), &["server_tools"]),
        (Anthropic, json!({"tools": [{"type": "code_execution_20250825"}]}), &["server_tools"]),
        (Anthropic, json!({"tools": [{"type": "computer_20250124"}]}), &["server_tools"]),
        (Anthropic, json!({"mcp_servers": [{"type": "url", "url": "x"}]}), &["server_tools"]),
        (Anthropic, json!({"mcp_servers": []}), &[]),
        (Anthropic, json!({"container": "container_1"}), &["container"]),
        (Gemini, json!({"tools": [{"functionDeclarations": [{"name": "f"}]}]}), &["tools"]),
        (Gemini, json!({"tools": [{"google_search": {}}]}), &["server_tools"]),
        (Gemini, json!({"tools": [{"googleSearch": {}}]}), &["server_tools"]),
        (Gemini, json!({"tools": [{"codeExecution": {}}]}), &["server_tools"]),
        (Gemini, json!({"tools": [{"urlContext": {}}]}), &["server_tools"]),
        (Gemini, json!({"cachedContent": "cachedContents/1"}), &["cached_content"]),
        (Gemini, json!({"cached_content": "cachedContents/1"}), &["cached_content"]),
        (
            Converse,
            json!({"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {}}},
                {"cachePoint": {"type": "default"}}]}}),
            &["tools"],
        ),
        (
            Converse,
            json!({"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}),
            &["server_tools"],
        ),
        (
            Converse,
            json!({"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "DRAFT"}}),
            &["unversioned_guardrail"],
        ),
        (
            Converse,
            json!({"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}),
            &[],
        ),
    ];
    for (dialect, fields, expected) in cases {
        assert_eq!(classes(&asked(*dialect, fields), "m"), *expected, "{dialect:?} {fields}");
    }
}

#[test]
fn models_that_always_search_are_server_tools() {
    let plain = asked(OpenAi, &json!({}));
    for (model, searches) in [
        ("gpt-4o", false),
        ("gpt-4o-search-preview", true),
        ("gpt-5-search-api", true),
        ("o3-deep-research", true),
        ("sonar-pro", true),
        ("perplexity/sonar", true),
        ("openai/gpt-4o:online", true),
        ("groq/compound-mini", true),
        ("llama-sonar-9b", false),
    ] {
        let expected: &[&str] = if searches { &["server_tools"] } else { &[] };
        assert_eq!(classes(&plain, model), expected, "{model}");
    }
}

/// Only the provider can read these; what stands in them is recognised all the same.
#[test]
fn a_request_that_only_the_provider_can_read_is_judged_by_its_fields() {
    for (body, expected) in [
        (r#"{"top_p":"1","tools":[{"type":"function","function":{"name":"f"}}]}"#, &[][..]),
        (r#"{"top_p":"1","tools":[{"type":"web_search"}]}"#, &["server_tools"]),
        (r#"{"tools":[{"functionDeclarations":[]}],"cachedContent":"c"}"#, &["cached_content"]),
        (r#"{"top_p":"1","store":true,"background":true}"#, &["background", "store"]),
        (r#"{"top_p":"1","temperature":0,"messages":[]}"#, &[]),
        ("[1]", &[]),
        ("no json", &[]),
    ] {
        assert_eq!(classes(&cacheable::unread(OpenAi, body.as_bytes()), "m"), expected, "{body}");
    }
}

#[test]
fn the_first_class_that_is_not_allowed_refuses_and_each_can_be_overridden() {
    let request = asked(Responses, &json!({"store": true, "tools": [{"type": "web_search"}]}));
    let cold = asked(OpenAi, &json!({"temperature": 0}));
    let warm = asked(OpenAi, &json!({"temperature": 0.1}));
    let unsaid = asked(OpenAi, &json!({}));
    type Overrides<'a> = &'a [(&'a str, bool)];
    let cases: &[(&Request, Overrides<'_>, Option<&str>)] = &[
        (&request, &[], Some("server_tools")),
        (&request, &[("server_tools", true)], Some("store")),
        (&request, &[("server_tools", true), ("store", true)], None),
        (&cold, &[], None),
        (&warm, &[], None),
        (&cold, &[("sampled", false)], None),
        (&warm, &[("sampled", false)], Some("sampled")),
        (&unsaid, &[("sampled", false)], Some("sampled")),
        (&warm, &[("no_such_class", false)], None),
    ];
    for (request, overrides, expected) in cases {
        let mut choices = Choices::default();
        overrides.iter().for_each(|(name, allowed)| choices.set(name, *allowed));
        let refusal = choices.refusal(&Question { request, targets: &[] });
        assert_eq!(refusal.map(|class| class.name), *expected, "{overrides:?}");
    }
}

#[test]
fn a_request_says_what_it_wants_of_the_cache_in_any_gateways_words() {
    let seconds = |n: u64| Some(Duration::from_secs(n));
    let none = Directives::default();
    let skip = Directives { no_cache: true, no_store: true, ..none };
    let refresh = Directives { no_cache: true, ..none };
    let no_store = Directives { no_store: true, ..none };
    let only = Directives { only_if_cached: true, ..none };
    let cases: &[(&[(&str, &str)], Directives)] = &[
        (&[], none),
        (&[("cache-control", "no-cache")], refresh),
        (&[("cache-control", "No-Store")], skip),
        (&[("cache-control", "only-if-cached")], only),
        (&[("cache-control", "max-age=60")], Directives { max_age: seconds(60), ..none }),
        (
            &[("cache-control", "max-age=\"60\", max-age=5")],
            Directives { max_age: seconds(5), ..none },
        ),
        (&[("cache-control", "max-age=-1, min-fresh=, max-age, max-age=1.5")], none),
        (
            &[("cache-control", "max-age=99999999999999999999999")],
            Directives { max_age: seconds(u32::MAX.into()), ..none },
        ),
        (
            &[("cache-control", "min-fresh=7 , max-stale")],
            Directives { min_fresh: seconds(7), ..none },
        ),
        (&[("cache-control", "max-stale=100, no-transform, x=\"no-store\"")], none),
        (&[("pragma", "no-cache")], none),
        (&[("cf-aig-skip-cache", "true")], skip),
        (&[("cf-aig-skip-cache", "false")], none),
        (&[("cf-aig-skip-cache", "1")], none),
        (&[("cf-aig-cache-ttl", "3600")], Directives { ttl: seconds(3600), ..none }),
        (&[("cf-aig-cache-ttl", "0")], no_store),
        (&[("cf-aig-cache-ttl", "soon")], none),
        (&[("helicone-cache-enabled", "false")], skip),
        (&[("helicone-cache-enabled", "True")], none),
        (&[("helicone-cache-bucket-max-size", "3")], Directives { samples: Some(3), ..none }),
        (&[("helicone-cache-bucket-max-size", "0")], none),
        (&[("helicone-cache-bucket-max-size", "101")], none),
        (&[("helicone-cache-seed", "s")], none),
        (&[("x-portkey-cache-force-refresh", "TRUE")], refresh),
        (&[("x-portkey-cache-force-refresh", "false")], none),
        (&[("x-openrouter-cache", "false")], skip),
        (&[("x-openrouter-cache", "true")], none),
        (&[("x-openrouter-cache-ttl", "300")], Directives { ttl: seconds(300), ..none }),
        (&[("x-openrouter-cache-clear", "true")], refresh),
        // The cautious one of two aliases, and `Cache-Control` above both.
        (&[("helicone-cache-enabled", "true"), ("cf-aig-skip-cache", "true")], skip),
        (&[("helicone-cache-enabled", "true"), ("cache-control", "no-store")], skip),
        (&[("x-openrouter-cache-clear", "true"), ("cache-control", "only-if-cached")], only),
        (
            &[("x-openrouter-cache", "false"), ("cache-control", "max-age=9")],
            Directives { max_age: seconds(9), ..skip },
        ),
    ];
    for (headers, expected) in cases {
        let mut map = HeaderMap::new();
        for (name, value) in *headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        assert_eq!(directive::read(&map), *expected, "{headers:?}");
    }
}

/// Makers in the words `model` or `model@fingerprint`, a second apart.
fn makers(words: &[&str]) -> Vec<Maker> {
    let read = |(at, word): (usize, &&str)| {
        let (model, fingerprint) = word.split_once('@').unwrap_or((word, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let answered_ms = i64::try_from(at).unwrap() * 1000;
        Maker { answered_ms, model: some(model), fingerprint: some(fingerprint) }
    };
    words.iter().enumerate().map(read).collect()
}

/// Whether the first of these answers is of a maker that the later ones show to be gone.
#[test]
fn an_answer_is_stale_when_its_target_has_another_maker_now() {
    let mut others = vec!["m@old"];
    others.extend(["m@new"; 16]);
    let mut with_old = others.clone();
    with_old.push("m@old");
    let mut unsaid = others.clone();
    unsaid[9] = "m";
    let cases: &[(&[&str], bool)] = &[
        (&["m-1"], false),
        (&["m-1", "m-1"], false),
        (&["m-1", "m-2"], true),
        (&["m-1", "m-1", "m-2", "m-2"], true),
        (&["m-1", ""], false),
        (&["", "m-2"], false),
        // A router, whose targets come and go.
        (&["m-1", "m-2", "m-1", "m-2"], false),
        (&["m-1", "m-2", "m-3", "m-2"], false),
        // Clusters: few answers say nothing of them.
        (&["m@old", "m@new", "m@new"], false),
        (&others, true),
        (&others[..16], false),
        (&with_old, false),
        (&unsaid, false),
    ];
    for (words, expected) in cases {
        let makers = makers(words);
        for is_reversed in [false, true] {
            let mut latest = Latest::default();
            let mut order = makers.clone();
            if is_reversed {
                order.reverse();
            }
            order.iter().for_each(|maker| latest.note(maker.clone()));
            // Noted again when it is read from disk.
            order.iter().for_each(|maker| latest.note(maker.clone()));
            assert_eq!(latest.has_moved_from(&makers[0]), *expected, "{words:?} {is_reversed}");
        }
        let newest = makers.last().unwrap();
        let mut latest = Latest::default();
        makers.iter().for_each(|maker| latest.note(maker.clone()));
        assert!(!latest.has_moved_from(newest), "the newest of {words:?}");
    }
    assert!(!Latest::default().has_moved_from(&makers(&["m-1"])[0]));
}
