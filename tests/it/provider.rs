//! The table of providers, from its rows alone to requests on the wire; and rows of a file.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;
use understudy::chat::DIALECTS;
use understudy::chat::DialectName;
use understudy::chat::request::Embed;
use understudy::chat::request::EmbedInput;
use understudy::chat::request::Message;
use understudy::chat::request::Request;
use understudy::chat::request::Role;
use understudy::config;
use understudy::config::Config;
use understudy::config::Provider as Endpoint;
use understudy::config::Timeouts;
use understudy::experiment::Target;
use understudy::plan::Caller;
use understudy::plan::plan;
use understudy::provider;
use understudy::provider::Auth;
use understudy::provider::table::PROVIDERS;
use understudy::upstream::Call;
use understudy::upstream::Upstream;
use understudy::upstream::outgoing::Outgoing;
use understudy::wire;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::quirk::Thinking;

use crate::harness::process::Process;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::whole;

/// Words that are found again in any body.
const WORDS: &str = "Where is my parcel?";

/// Every row as it runs when the environment holds its key and what its base URL needs.
fn known() -> Config {
    let env = |name: &str| {
        let holes = PROVIDERS.iter().flat_map(|row| row.holes);
        let mut holes = holes.filter(|hole| hole.env.contains(&name));
        holes.next().map_or(Some(format!("key-of-{name}")), |hole| Some(hole.example.to_owned()))
    };
    config::load(None, &[], &env, &|_| Err(io::ErrorKind::NotFound.into())).unwrap().0
}

/// The providers of a file that has no mistakes.
fn load(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Config {
    let read_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let (config, warnings) =
        config::load(Some(("understudy.yaml", text)), &[], env, &read_file).unwrap();
    assert_eq!(warnings, []);
    config
}

#[test]
fn every_row_says_where_it_is_asked_in_each_of_its_dialects() {
    let config = known();
    assert_eq!(config.providers.len(), PROVIDERS.len());
    for row in PROVIDERS {
        let provider = &config.providers[row.name];
        for dialect in row.dialects {
            for is_stream in [false, true] {
                let url = provider.url(*dialect, "a-model", is_stream);
                let place = format!("{} {dialect:?} {url}", row.name);
                assert!(!url.contains(['{', '}']), "{place}");
                let parsed = reqwest::Url::parse(&url).unwrap();
                assert!(parsed.path().len() > 1 && !parsed.path().contains("//"), "{place}");
                // Groq has an `openai` and Fireworks an `inference` before it, but no two versions
                // ever follow each other.
                let segments: Vec<&str> = parsed.path_segments().unwrap().collect();
                let is_version =
                    |s: &str| s.starts_with('v') && s[1..].starts_with(char::is_numeric);
                let twice = segments.windows(2).any(|s| is_version(s[0]) && is_version(s[1]));
                assert!(!twice, "{place}");
            }
        }
    }
    for (name, dialect, url) in [
        ("openai", DialectName::OpenAi, "https://api.openai.com/v1/chat/completions"),
        ("openai", DialectName::Responses, "https://api.openai.com/v1/responses"),
        ("anthropic", DialectName::Anthropic, "https://api.anthropic.com/v1/messages"),
        ("openrouter", DialectName::Anthropic, "https://openrouter.ai/api/v1/messages"),
        ("perplexity", DialectName::OpenAi, "https://api.perplexity.ai/chat/completions"),
        ("zai", DialectName::OpenAi, "https://api.z.ai/api/paas/v4/chat/completions"),
        ("cohere", DialectName::Cohere, "https://api.cohere.com/v2/chat"),
        (
            "azure",
            DialectName::Responses,
            "https://my-resource.openai.azure.com/openai/v1/responses",
        ),
    ] {
        assert_eq!(config.providers[name].url(dialect, "m", false), url);
    }
    let gemini = config.providers["gemini"].url(DialectName::Gemini, "m", false);
    let gemini = gemini.strip_prefix("https://generativelanguage.googleapis.com/v1beta").unwrap();
    assert!(gemini.starts_with("/models/"), "{gemini}");
    let vertex = config.providers["vertex"].url(DialectName::Gemini, "m", false);
    assert!(vertex.ends_with(&format!("/publishers/google{gemini}")), "{vertex}");
}

/// A request of one turn, or of one text to embed.
fn question(dialect: DialectName) -> Request {
    let mut request = Request::new(dialect, "asked-for");
    if dialect.is_embedding() {
        let inputs = vec![EmbedInput::Text(WORDS.to_owned())];
        let (dimensions, encoding, purpose, title) = (None, None, None, None);
        request.embed =
            Some(Embed { inputs, dimensions, encoding, purpose, title, is_single: true });
    } else {
        request.messages = vec![Message::text(Role::User, WORDS)];
        request.sampling.max_tokens = Some(64);
    }
    request
}

/// Whether the dialect is only ever written.
fn is_target_only(dialect: DialectName) -> bool {
    matches!(dialect, DialectName::Cohere | DialectName::Converse)
}

#[test]
fn a_request_written_for_a_row_can_be_read_in_each_of_its_dialects() {
    let mut written = 0;
    for row in PROVIDERS {
        for name in row.dialects.iter().copied() {
            let place = format!("{} {name:?}", row.name);
            let dialect = name.dialect();
            let to = Recipient { model: "a-model", quirks: &row.quirks };
            let body = match dialect.write(&question(name), &to) {
                Ok(written) => written.body,
                // Dialects that are still to come say so.
                Err(error) if error.detail == "being written" => continue,
                Err(error) => panic!("{place}: {error}"),
            };
            written += 1;
            let json: Value = serde_json::from_slice(&body).unwrap();
            assert!(json.to_string().contains(WORDS), "{place}: {json}");
            let has_limit = json.get(row.quirks.max_tokens).is_some();
            assert!(has_limit || name != DialectName::OpenAi, "{place}: {json}");
            if is_target_only(name) {
                continue;
            }
            let is_in_path = json.get("model").is_none();
            let in_path = InPath { model: "a-model".to_owned(), stream: false };
            let head = dialect.read_head(body, is_in_path.then_some(in_path)).unwrap();
            assert_eq!(head.model, "a-model", "{place}");
            let again = dialect.read(&head).unwrap();
            let said = match again.embed {
                Some(embed) => embed.inputs == [EmbedInput::Text(WORDS.to_owned())],
                None => wire::turn::turns(dialect, &head).iter().any(|turn| turn.text == WORDS),
            };
            assert!(said, "{place}");
        }
    }
    println!("{written} requests were written");
}

/// The header that holds the key of a row, and what stands there for `key`.
fn credential(auth: &Auth<&'static str>, key: &str) -> Option<(&'static str, String)> {
    match auth {
        Auth::Bearer | Auth::SigV4 => Some(("authorization", format!("Bearer {key}"))),
        Auth::Header(name) => Some((name, key.to_owned())),
        Auth::None => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_any_row_arrives_at_its_path_with_its_credential_and_no_other() {
    let server = Provider::start().await;
    server.always(Answer::json("{}"));
    let mut config = known();
    for provider in config.providers.values_mut() {
        let path = provider.base_url.path().trim_end_matches('/').to_owned();
        provider.base_url = format!("http://{}{path}", server.address).parse().unwrap();
    }
    let upstream = Upstream::new(&config).unwrap();
    for row in PROVIDERS {
        let target = Target { provider: row.name.to_owned(), model: "a-model".to_owned() };
        let key = row.key_env.first().map(|name| format!("key-of-{name}")).unwrap_or_default();
        for dialect in row.dialects.iter().copied() {
            let headers = HeaderMap::new();
            let outgoing = Outgoing::new(dialect, Bytes::from_static(b"{\"requests\":[]}"), true);
            let timeouts = Timeouts::default();
            let call = Call { target: &target, outgoing, headers: &headers, timeouts };
            upstream.send_once(call).await.unwrap().collect(100).await.unwrap();
            let call = server.calls().remove(0);
            let place = format!("{} {dialect:?}", row.name);
            let url = config.providers[row.name].url(dialect, "a-model", true);
            assert!(url.ends_with(&call.path), "{place}: {} {url}", call.path);
            let expected = credential(&row.auth, &key);
            for name in provider::KEY_HEADERS.iter().map(http::HeaderName::as_str) {
                let wanted = expected.as_ref().filter(|(own, _)| *own == name);
                assert_eq!(call.header(name), wanted.map(|(_, value)| value.as_str()), "{place}");
            }
            let version = (dialect == DialectName::Anthropic).then_some("2023-06-01");
            assert_eq!(call.header("anthropic-version"), version, "{place}");
        }
    }
}

/// A row of a file that is like nothing in the table.
fn new_row(server: &Provider) -> String {
    let address = server.address;
    format!(
        "
listen: 127.0.0.1:0
admin: 127.0.0.1:0
providers:
  newcomer:
    dialect: openai
    base_url: http://{address}/api/v7
    auth: {{ header: X-New-Key }}
    api_keys: [{{ value: file-key }}]
    headers: {{ x-team: support }}
    forward_headers: [x-new]
    quirks: {{ thinking: flag, max_tokens: max_completion_tokens, reasoning_history: reasoning }}
  open: {{ base_url: 'http://{address}/v1', auth: none }}
  theirs: {{ base_url: 'http://{address}/v1', auth: {{ header: x-their-key }} }}
routes: {{ desk: {{ targets: [newcomer/clerk] }} }}
"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_row_in_the_configuration_works_from_end_to_end() {
    let server = Provider::start().await;
    server.always(Answer::saying("at the depot").header("x-new", "1"));
    let config = load(&new_row(&server), &|_| None);
    let row = &config.providers["newcomer"];
    assert_eq!(row.quirks.thinking, Thinking::Flag);
    assert_eq!(row.quirks.max_tokens, "max_completion_tokens");
    assert_eq!(row.quirks.reasoning_history, Some("reasoning"));
    let sidecar = Sidecar::start(config).await;
    for (path, model) in [
        ("/v1/chat/completions", "desk"),
        ("/v1/chat/completions", "newcomer/clerk"),
        ("/newcomer/v1/chat/completions", "clerk"),
    ] {
        let request = sidecar.post(path, asking(model, &format!("{path} {model}"), false));
        let request = request.bearer_auth("client-key").header("x-team", "other");
        let reply = whole(request.header("x-their-key", "strange-key")).await;
        assert_eq!((reply.status, reply.header("x-understudy-target")), (200, "newcomer/clerk"));
        let call = server.calls().remove(0);
        assert_eq!(call.path, "/api/v7/chat/completions");
        assert_eq!(call.header("x-new-key"), Some("file-key"));
        assert_eq!(call.header("x-team"), Some("support"));
        assert_eq!(call.header("authorization"), None);
        assert_eq!(call.header("x-their-key"), None, "a key for somebody else");
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(body["model"], "clerk");
    }
    let files = whole(sidecar.post("/newcomer/v1/files?purpose=x", "{}")).await;
    assert_eq!((files.status, files.header("x-new")), (200, "1"));
    let call = server.calls().remove(0);
    assert_eq!(call.path, "/api/v7/files?purpose=x");
    assert_eq!(
        (call.header("x-new-key"), call.header("x-team")),
        (Some("file-key"), Some("support"))
    );
    whole(sidecar.post("/open/v1/chat/completions", asking("m", "open", false))).await;
    assert_eq!(server.calls().remove(0).header("authorization"), None);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_different_keys_in_a_providers_own_header_share_no_answer() {
    let server = Provider::start().await;
    server.always(Answer::saying("for you"));
    let sidecar = Sidecar::start(load(&new_row(&server), &|_| None)).await;
    let body = asking("theirs/m", "the same", false);
    for (key, cache) in [("one", "fwd=miss"), ("one", "hit"), ("two", "fwd=miss")] {
        let request = sidecar.chat(body.clone()).header("x-their-key", key);
        let reply = whole(request).await;
        assert!(reply.cache().contains(cache), "{key}: {}", reply.cache());
        sidecar.flush().await;
    }
    let keys: Vec<_> =
        server.calls().iter().map(|call| call.headers["x-their-key"].clone()).collect();
    assert_eq!(keys, ["one", "two"]);
    sidecar.stop().await;
}

#[test]
fn a_base_url_with_and_without_its_version_means_the_same() {
    let text = "
providers:
  a: { dialect: anthropic, base_url: https://h }
  b: { dialect: anthropic, base_url: https://h/v1 }
  c: { dialect: gemini, base_url: https://h/ }
  d: { dialect: gemini, base_url: https://h/v1beta/ }
  anthropic: { base_url: https://h/v1 }
";
    let config = load(text, &|_| None);
    let url = |name: &str| {
        let provider = &config.providers[name];
        provider.url(provider.dialects[0], "m", false)
    };
    assert_eq!(url("a"), "https://h/v1/messages");
    assert_eq!((url("b"), url("anthropic")), (url("a"), url("a")));
    assert!(url("c").starts_with("https://h/v1beta/models/"), "{}", url("c"));
    assert_eq!(url("d"), url("c"));
}

#[test]
fn what_a_provider_speaks_and_how_it_is_paid_follows_from_its_dialect() {
    use DialectName::{Anthropic, Completions, Converse, Embeddings, Gemini, GeminiEmbeddings};
    use DialectName::{OpenAi, Responses};
    let header = |name: &'static str| Auth::Header(name).ready();
    for (lines, dialects, auth) in [
        ("", vec![OpenAi, Completions, Embeddings], Auth::Bearer),
        ("dialect: openai", vec![OpenAi, Completions, Embeddings], Auth::Bearer),
        ("dialect: [openai, openai-responses]", vec![OpenAi, Responses], Auth::Bearer),
        ("dialect: anthropic", vec![Anthropic], header("x-api-key")),
        ("dialect: [anthropic, openai]", vec![Anthropic, OpenAi], header("x-api-key")),
        ("dialect: gemini", vec![Gemini, GeminiEmbeddings], header("x-goog-api-key")),
        ("dialect: cohere", vec![DialectName::Cohere], Auth::Bearer),
        ("dialect: bedrock, region: eu-west-1", vec![Converse], Auth::SigV4),
        ("dialect: gemini, auth: bearer", vec![Gemini, GeminiEmbeddings], Auth::Bearer),
        ("auth: { header: X-Key }", vec![OpenAi, Completions, Embeddings], header("x-key")),
    ] {
        let text = format!("providers: {{ mine: {{ base_url: http://h/x, {lines} }} }}");
        let mine = &load(&text, &|_| None).providers["mine"];
        assert_eq!((&mine.dialects, &mine.auth), (&dialects, &auth), "{lines}");
    }
}

#[test]
fn a_known_provider_is_found_by_its_region_project_or_resource() {
    let env = |name: &str| match name {
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "AWS_ACCESS_KEY_ID" => Some("id".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
        _ => None,
    };
    let base_url = |text: &str, name: &str| {
        load(text, &env).providers[name].base_url.to_string().trim_end_matches('/').to_owned()
    };
    for (text, name, expected) in [
        ("", "bedrock", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        (
            "providers: { bedrock: { region: us-west-2 } }",
            "bedrock",
            "https://bedrock-runtime.us-west-2.amazonaws.com",
        ),
        (
            "providers: { azure: { resource: mine } }",
            "azure",
            "https://mine.openai.azure.com/openai/v1",
        ),
        (
            "providers: { vertex: { region: global, project: p } }",
            "vertex",
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google",
        ),
        ("providers: { azure: { base_url: 'http://h/openai/v1' } }", "azure", "http://h/openai/v1"),
    ] {
        assert_eq!(base_url(text, name), expected, "{text}");
    }
    let region = |text: &str, name: &str| load(text, &env).providers[name].signing.clone();
    let in_bedrock = |text: &str| region(text, "bedrock").unwrap();
    assert_eq!(in_bedrock(""), "eu-central-1");
    assert_eq!(in_bedrock("providers: { bedrock: { region: us-west-2 } }"), "us-west-2");
    let custom = "providers: { mine: { dialect: bedrock, base_url: http://h, region: r-1 } }";
    assert_eq!(region(custom, "mine").as_deref(), Some("r-1"));
    let none = load("", &|_| None);
    assert!(!none.providers.contains_key("azure"), "nobody said where it is");
}

#[test]
fn a_bare_model_goes_to_the_home_of_its_dialect() {
    let config = load("", &|_| None);
    for (name, dialect) in DIALECTS {
        let home = provider::native(*dialect).home;
        let in_path = InPath { model: "a-model".to_owned(), stream: false };
        let body = Bytes::from_static(b"{\"model\":\"a-model\"}");
        let dialect = dialect.dialect();
        const SORT: wire::json::Sort = wire::json::Sort { what: "a request", has_messages: false };
        let ask = |model: &str| {
            let in_path = InPath { model: model.to_owned(), ..in_path.clone() };
            let head = wire::json::head(body.clone(), Some(in_path), SORT).unwrap();
            let headers = HeaderMap::new();
            plan(&config, dialect, &head, &Caller::new(&headers)).map(|plan| plan.targets)
        };
        match ask("a-model") {
            Ok(targets) => {
                assert_eq!((targets[0].provider.as_str(), targets.len()), (home, 1), "{name}");
            }
            Err(error) => assert_eq!((home, error.status()), ("bedrock", 404), "{name}: {error}"),
        }
        let error = ask("azure/gpt-4o").unwrap_err();
        assert!(error.detail.contains("azure is not configured"), "{error}");
        assert!(error.detail.contains("resource"), "{error}");
    }
}

#[test]
fn the_list_of_providers_tells_where_keys_come_from_and_never_what_they_are() {
    let dir = TempDir::new().unwrap();
    let text = "providers: { mine: { base_url: http://h/v1, api_keys: [{ value: canary-file }] } }";
    std::fs::write(dir.path().join("mine.yaml"), text).unwrap();
    let env = [("OPENAI_API_KEY", "canary-env"), ("AZURE_RESOURCE_NAME", "acme")];
    let list = |args: &[&str]| {
        let ended = Process::start(dir.path(), args, &env).end();
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        assert!(!ended.output.contains("canary"), "{}", ended.output);
        ended.output
    };
    let plain = list(&["providers"]);
    for row in PROVIDERS {
        assert!(plain.lines().any(|line| line.trim_start().starts_with(row.name)), "{}", row.name);
    }
    let line = |text: &str, name: &str| {
        let mut lines = text.lines().filter(|line| line.trim_start().starts_with(name));
        lines.next().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap()
    };
    assert!(line(&plain, "openai").starts_with("openai OPENAI_API_KEY (set) bearer openai"));
    assert!(line(&plain, "xai").starts_with("xai XAI_API_KEY (not set) bearer"));
    assert!(line(&plain, "azure").ends_with("https://acme.openai.azure.com/openai/v1"));
    assert!(!plain.contains("mine"), "{plain}");
    let more = list(&["providers", "--config", "mine.yaml"]);
    assert!(line(&more, "mine").starts_with("mine in the file bearer openai"), "{more}");
    let json = list(&["providers", "--config", "mine.yaml", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let rows = json["providers"].as_array().unwrap();
    assert_eq!(rows.len(), PROVIDERS.len() + 1);
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("openai")["key"]["set"], true);
    assert_eq!(row("mine")["key"]["from"], "config");
    assert_eq!(row("bedrock")["needs"][0], "region");
    assert_eq!(row("groq")["quirks"]["lacks"][0], "choices");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_be_signed_never_leaves_unsigned() {
    let server = Provider::start().await;
    let base_url = format!("http://{}", server.address).parse().unwrap();
    let mut config = Config::default();
    let endpoint = Endpoint::native("bedrock", base_url, DialectName::Converse);
    config.providers.insert("bedrock".to_owned(), endpoint);
    let target = Target { provider: "bedrock".to_owned(), model: "m".to_owned() };
    let ask = async |config: &Config| {
        let headers = HeaderMap::new();
        let outgoing = Outgoing::new(DialectName::Converse, Bytes::from_static(b"{}"), false);
        let timeouts = Timeouts::default();
        let call = Call { target: &target, outgoing, headers: &headers, timeouts };
        Upstream::new(config).unwrap().send_once(call).await.map(|opened| opened.status)
    };
    let error = ask(&config).await.unwrap_err();
    assert!(error.detail.contains("AWS_BEARER_TOKEN_BEDROCK"), "{error}");
    assert_eq!(server.count(), 0);
    server.expect(Answer::json("{}"));
    let key = SecretString::from("bedrock-key");
    config.providers.get_mut("bedrock").unwrap().fallback_key = Some(key);
    let answered = tokio::time::timeout(Duration::from_secs(10), ask(&config)).await.unwrap();
    assert_eq!(answered.unwrap(), 200);
    assert_eq!(server.calls()[0].header("authorization"), Some("Bearer bedrock-key"));
}
