//! What makes two requests the same: on every request that was recorded, and across dialects.

mod change;

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::chat::DialectName;
use understudy::chat::request::Request;
use understudy::config::Config;
use understudy::experiment::Target;
use understudy::key;
use understudy::key::CacheKey;
use understudy::key::Reach;
use understudy::plan::Caller;
use understudy::plan::plan;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

use crate::shared;

/// About so many bytes of changed bodies are tried of one request: all changes of most requests,
/// and an even choice of those of long ones.
const MOST_BYTES: usize = 150_000;

/// A recorded request.
struct Recorded {
    file: String,
    dialect: DialectName,
    in_path: Option<InPath>,
    body: Value,
}

/// Every recorded request with a JSON body; none, with a printed line, where there are no
/// recordings.
fn recorded() -> Vec<Recorded> {
    let Some(root) = shared::data("recordings") else { return Vec::new() };
    let manifest = fs::read_to_string(root.join("manifest.jsonl")).unwrap();
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for row in manifest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let Some(file) = row["request"].as_str().map(str::to_owned) else { continue };
        if seen.contains(&file) {
            continue;
        }
        let request = json_file(&root.join(&file));
        seen.push(file.clone());
        let dialect = match row["api"].as_str().unwrap() {
            "chat" => DialectName::OpenAi,
            "responses" => DialectName::Responses,
            "messages" => DialectName::Anthropic,
            "generate_content" => DialectName::Gemini,
            "cohere_v2_chat" => DialectName::Cohere,
            "converse" => DialectName::Converse,
            "completions" => DialectName::Completions,
            "embeddings" => DialectName::Embeddings,
            other => panic!("an API nobody knows: {other}"),
        };
        let is_named_in_path = matches!(dialect, DialectName::Gemini | DialectName::Converse);
        let url = request["url"].as_str().unwrap_or_default();
        let in_path = is_named_in_path
            .then(|| InPath { model: "a-model".to_owned(), stream: url.contains("tream") });
        let mut body = request["body"].clone();
        if !body.is_object() {
            continue;
        }
        if in_path.is_none() && !body["model"].is_string() {
            body["model"] = json!("a-model");
        }
        all.push(Recorded { file, dialect, in_path, body });
    }
    all
}

fn json_file(path: &PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The digest in hexadecimal with its reach; `None` if the request is refused for its form.
fn digest(dialect: DialectName, in_path: Option<&InPath>, body: &str) -> Option<(String, Reach)> {
    let dialect = dialect.dialect();
    let head = dialect.read_head(Bytes::from(body.to_owned()), in_path.cloned()).ok()?;
    let reading = key::read(dialect, &head, &[]).ok()?;
    Some((reading.digest.to_string(), reading.reach))
}

/// Whether a change at this path may leave the digest as it is.
fn is_denied(recorded: &Recorded, path: &str) -> bool {
    let has_stream = recorded.in_path.is_none();
    let usage = "/stream_options/include_usage";
    path == "/model" || (has_stream && (path == "/stream" || path == usage))
        // The whole object, where it says nothing else.
        || (has_stream && path == "/stream_options"
            && recorded.body["stream_options"].as_object().is_some_and(|o| o.len() == 1))
}

#[test]
fn every_change_of_a_recorded_request_changes_its_digest() {
    let (mut requests, mut changes, mut refused) = (0, 0, 0);
    let mut reaches = [0; 3];
    let mut wrong = Vec::new();
    for recorded in recorded() {
        let of =
            |body: &Value| digest(recorded.dialect, recorded.in_path.as_ref(), &body.to_string());
        let Some((original, reach)) = of(&recorded.body) else { continue };
        requests += 1;
        reaches[reach as usize] += 1;
        for (path, changed) in change::all(&recorded.body, MOST_BYTES) {
            changes += 1;
            match of(&changed) {
                None => refused += 1,
                Some((digest, _)) if digest == original && !is_denied(&recorded, &path) => {
                    wrong.push(format!("{} {path}", recorded.file));
                }
                Some(_) => {}
            }
        }
    }
    println!(
        "{requests} requests, {changes} changes, {refused} of them refused; any dialect {}, own \
         dialect {}, same form {}",
        reaches[0], reaches[1], reaches[2]
    );
    assert!(
        wrong.is_empty(),
        "{} do not count, first: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(40)]
    );
}

#[test]
fn the_spelling_of_a_recorded_request_does_not_change_its_digest() {
    let mut count = 0;
    for recorded in recorded() {
        let of = |text: &str| digest(recorded.dialect, recorded.in_path.as_ref(), text);
        let Some(original) = of(&recorded.body.to_string()) else { continue };
        count += 1;
        for order in 0..3 {
            let spelled = change::respelled(&recorded.body, order);
            assert_eq!(of(&spelled).as_ref(), Some(&original), "{}", recorded.file);
        }
    }
    println!("{count} requests, three spellings of each");
}

/// What is asked in one dialect and, translated without loss, in another, has one digest wherever
/// nothing in it is of one dialect only.
#[test]
fn requests_that_ask_the_same_in_two_dialects_share_their_digest() {
    const INTO: [DialectName; 4] =
        [DialectName::OpenAi, DialectName::Responses, DialectName::Anthropic, DialectName::Gemini];
    let (mut tried, mut equal, mut shared) = (0, 0, 0);
    for recorded in recorded() {
        let from = recorded.dialect.dialect();
        let body = Bytes::from(recorded.body.to_string());
        let Ok(head) = from.read_head(body, recorded.in_path.clone()) else { continue };
        let original = key::read(from, &head, &[]).unwrap();
        let Some(request) = original.request else { continue };
        for into in INTO.into_iter().filter(|into| *into != recorded.dialect) {
            let to = Recipient { model: "a-model", quirks: &Quirks::NONE };
            let Ok(written) = into.dialect().write(&request, &to) else { continue };
            if !written.losses.is_empty() {
                continue;
            }
            tried += 1;
            let in_path = (into == DialectName::Gemini)
                .then(|| InPath { model: "a-model".to_owned(), stream: request.stream });
            let head = into.dialect().read_head(written.body, in_path).unwrap();
            let again = key::read(into.dialect(), &head, &[]).unwrap();
            let Some(read) = again.request else { continue };
            let mut alike = Request::clone(&read);
            alike.dialect = request.dialect;
            alike.model.clone_from(&request.model);
            (alike.stream, alike.stream_usage) = (request.stream, request.stream_usage);
            alike.spelling.clone_from(&request.spelling);
            let is_equal = alike == *request;
            equal += usize::from(is_equal);
            let both = [original.reach, again.reach] == [Reach::AnyDialect; 2];
            let is_shared = original.digest.0 == again.digest.0;
            shared += usize::from(is_shared);
            assert!(!is_shared || both, "{} into {}", recorded.file, into.as_str());
            if is_equal && both {
                assert!(is_shared, "{} into {}", recorded.file, into.as_str());
            }
        }
    }
    println!("{tried} translated without loss, {equal} equal when read again, {shared} share");
}

/// One request in each dialect; a digest that changes makes every stored answer unreachable.
#[test]
fn digests_never_change() {
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.5, "metadata": {"b": 1, "a": [1.5, null]}});
    let pinned = [
        (
            DialectName::OpenAi,
            chat,
            "3dafaa73b2b5910f997bc5c9ba2c8082a5f5d7960de9aa32b6139ed171d161c3",
        ),
        (
            DialectName::Responses,
            json!({"model": "m", "input": "hi", "store": false}),
            "1e8b194260b6318fa954c5204ec28ec0963490718bfbc52aba464a1054ad3737",
        ),
        (
            DialectName::Anthropic,
            json!({"model": "m", "max_tokens": 5, "top_k": 3,
                "messages": [{"role": "user", "content": "hi"}]}),
            "91bd431d9c87904a44ff9b801d508713709e93c1d0b1599a284ad98cb85df58e",
        ),
        (
            DialectName::Gemini,
            json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
                "safetySettings": []}),
            "e6de3af943ce9922ea40cf55a5bec2001629db4e7c8c14f33258142f0209d712",
        ),
        (
            DialectName::Completions,
            json!({"model": "m", "prompt": "hi", "echo": true}),
            "b6365bf07a155c849c0b883d6f69bf0a0cc093f9625187882f47cb583f363ea0",
        ),
        (
            DialectName::Embeddings,
            json!({"model": "m", "input": ["hi", "ho"]}),
            "9ee46f86bc3b7710b74d447465471e66f3d4058f6646e97aea1789636c5d9b43",
        ),
        (
            DialectName::Cohere,
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
            "1bc95a4a1a5d96243ccc79042c2f09d9f3ebdf91ba490951473be12764973c11",
        ),
        // What cannot be read: the content is missing.
        (
            DialectName::Anthropic,
            json!({"model": "m", "messages": [{"role": "user"}]}),
            "c59033b4d073e6eba9609e12642d22d9491105a895a0f821f563f4d0b0b0649d",
        ),
    ];
    let mut wrong = Vec::new();
    for (dialect, body, expected) in pinned {
        let in_path = (dialect == DialectName::Gemini)
            .then(|| InPath { model: "m".to_owned(), stream: false });
        let (digest, reach) = digest(dialect, in_path.as_ref(), &body.to_string()).unwrap();
        if digest != expected {
            wrong.push(format!("{} {reach:?} {digest}", dialect.as_str()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is asked in other words of the same dialect, or may mean something else there.
#[test]
fn what_only_one_dialect_can_say_stays_in_it() {
    let hi = json!([{"role": "user", "content": "hi"}]);
    let openai = |more: Value| {
        let mut body = json!({"model": "m", "messages": hi, "max_completion_tokens": 5});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        digest(DialectName::OpenAi, None, &body.to_string()).unwrap()
    };
    let anthropic = json!({"model": "n", "max_tokens": 5, "messages": hi, "stream": true});
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {"maxOutputTokens": 5}});
    let in_path = InPath { model: "g".to_owned(), stream: true };
    let plain = openai(json!({}));
    assert_eq!(plain.1, Reach::AnyDialect);
    assert_eq!(digest(DialectName::Anthropic, None, &anthropic.to_string()).unwrap(), plain);
    assert_eq!(digest(DialectName::Gemini, Some(&in_path), &gemini.to_string()).unwrap(), plain);
    for more in [
        json!({"max_tokens": 5}),
        json!({"temperature": null}),
        json!({"store": true}),
        json!({"metadata": {}, "x": 1}),
        json!({"tools": []}),
        json!({"tool_choice": {"type": "function", "function": {"name": "f"}, "x": 1}}),
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}),
    ] {
        let other = openai(more.clone());
        assert_eq!(other.1, Reach::OwnDialect, "{more}");
        assert_ne!(other.0, plain.0, "{more}");
    }
    let long = "x".repeat(key::MAX_COMMON_BYTES);
    let long = openai(json!({"messages": [{"role": "user", "content": long}]}));
    assert_eq!(long.1, Reach::OwnDialect);
}

/// The key of the first target's answer to a request with these headers and this query.
fn key_of(
    config: &Config,
    dialect: DialectName,
    target: &str,
    headers: &[(&str, &str)],
    query: Option<&str>,
) -> CacheKey {
    let mut sent = HeaderMap::new();
    for (name, value) in headers {
        sent.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let body = json!({"model": target, "max_tokens": 5,
        "messages": [{"role": "user", "content": "hi"}]});
    let head = dialect.dialect().read_head(Bytes::from(body.to_string()), None).unwrap();
    let caller = Caller { query, ..Caller::new(&sent) };
    let plan = plan(config, dialect.dialect(), &head, &caller).unwrap();
    plan.key(&Target::parse(target).unwrap())
}

#[test]
fn headers_count_where_the_provider_reads_them() {
    const CLAUDE: &str = "anthropic/claude-sonnet-4-5";
    const GPT: &str = "openai/gpt-4o";
    /// What a header changes in a key.
    #[derive(Debug, PartialEq)]
    enum Changes {
        Nothing,
        Everything,
        TenantHalf,
    }
    use Changes::Everything;
    use Changes::Nothing;
    use Changes::TenantHalf;
    let mut config = Config::default();
    config.vary.push("x-flavour".parse().unwrap());
    let (anthropic, openai) = (DialectName::Anthropic, DialectName::OpenAi);
    for (dialect, target, header, expected) in [
        (anthropic, CLAUDE, ("anthropic-version", "2023-06-01"), Nothing),
        (anthropic, CLAUDE, ("anthropic-version", "2024-01-01"), Everything),
        (anthropic, CLAUDE, ("anthropic-beta", "context-1m"), Everything),
        (anthropic, GPT, ("anthropic-beta", "context-1m"), Nothing),
        (openai, CLAUDE, ("anthropic-beta", "context-1m"), Everything),
        (openai, GPT, ("openai-beta", "x"), Everything),
        (openai, GPT, ("openai-organization", "o"), TenantHalf),
        (openai, GPT, ("openai-project", "p"), TenantHalf),
        (anthropic, GPT, ("openai-project", "p"), TenantHalf),
        (anthropic, GPT, ("x-flavour", "mild"), Everything),
        (openai, GPT, ("cookie", "a=b"), TenantHalf),
        (openai, GPT, ("authorization", "Bearer a"), TenantHalf),
        (openai, GPT, ("user-agent", "x"), Nothing),
        (openai, GPT, ("x-request-id", "x"), Nothing),
    ] {
        let without = key_of(&config, dialect, target, &[], None);
        let with = key_of(&config, dialect, target, &[header], None);
        let changes = match (with == without, with.prompt_half() == without.prompt_half()) {
            (true, _) => Nothing,
            (false, true) => TenantHalf,
            (false, false) => Everything,
        };
        assert_eq!(changes, expected, "{} to {target}: {header:?}", dialect.as_str());
    }
}

#[test]
fn a_query_counts_unless_it_only_chooses_the_form() {
    let config = Config::default();
    let key = |query| key_of(&config, DialectName::OpenAi, "openai/gpt-4o", &[], query);
    for (query, counts) in [
        (Some("alt=sse"), false),
        (Some("alt=json"), false),
        (Some("alt=proto"), true),
        (Some("beta=true"), true),
        (Some("api-version=2024-10-21"), true),
    ] {
        assert_eq!(key(query) != key(None), counts, "{query:?}");
    }
    assert_eq!(key(Some("beta=true&alt=sse")), key(Some("beta=true")));
    assert_ne!(key(Some("beta=true")), key(Some("beta=false")));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6f64).prop_map(Value::from),
        "[a-z\"\\\\é\n]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Whatever the fields are, in whatever order and with whatever spaces.
    #[test]
    fn any_order_of_keys_and_any_white_space_keep_the_digest(fields in any_json(), order in 0..3usize) {
        let body = json!({"model": "m", "extra": fields, "n": 1, "top_p": 0.5,
            "messages": [{"role": "user", "content": "hi", "name": "x"}]});
        let of = |text: &str| digest(DialectName::OpenAi, None, text);
        prop_assert_eq!(of(&change::respelled(&body, order)), of(&body.to_string()));
    }
}
