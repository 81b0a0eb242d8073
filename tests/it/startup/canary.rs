//! Keys planted in every place a key can be are found nowhere afterwards: not in logs, metrics, files,
//! exports, error bodies, nor in what any command prints.

use std::fs;
use std::io::Read;
use std::path::Path;

use memchr::memmem;
use serde_json::json;
use tempfile::TempDir;

use super::FREE;
use crate::harness::client;
use crate::harness::process::Process;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::completion;
use crate::harness::provider::delta;
use crate::harness::sidecar::asking;
use crate::harness::until;
use crate::harness::within;

const PROMPT: &str = "canaryPrompt";

/// Where each is planted, and what it is.
const VALUE: &str = "sk-canary-value-9f1c";
const ENV: &str = "sk-canary-env-77ab";
const FILE: &str = "sk-canary-file-03de";
const HEADER: &str = "sk-canary-header-c2b1";
const CLIENT: &str = "sk-canary-client-5e5e";
const QUERY: &str = "sk-canary-query-d00d";
const COOKIE: &str = "sk-canary-cookie-1a2b";
const AWS_SECRET: &str = "sk-canary-aws-secret-8";
const AWS_TOKEN: &str = "sk-canary-aws-token-4";
const ADMIN: &str = "sk-canary-admin-6c6c";
const ENCRYPTION: &str = "sk-canary-encryption-0123456789abcdef";
const USERINFO: &str = "sk-canary-userinfo-2";
const MISPLACED: &str = "sk-canary-misplaced-3";
const ALL: [&str; 13] = [
    VALUE, ENV, FILE, HEADER, CLIENT, QUERY, COOKIE, AWS_SECRET, AWS_TOKEN, ADMIN, ENCRYPTION,
    USERINFO, MISPLACED,
];

const TRIAL: &str = "
experiment: trial
match: { headers: { x-trial: 'yes' } }
control: { target: open/m }
candidates: { next: { target: beta/n } }
traffic: { shadow: 100% }
evaluate: { judge: { target: beta/judge, criteria: Right. } }
";

const VARIABLES: [(&str, &str); 7] = [
    ("BETA_KEY", ENV),
    ("AWS_ACCESS_KEY_ID", "AKIACANARY"),
    ("AWS_SECRET_ACCESS_KEY", AWS_SECRET),
    ("AWS_SESSION_TOKEN", AWS_TOKEN),
    ("UNDERSTUDY_ADMIN_TOKEN", ADMIN),
    ("ENCRYPTION_KEY", ENCRYPTION),
    ("NO_COLOR", "1"),
];

/// Everything that anybody could read, by where it was.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, what: impl Into<Vec<u8>>) {
        self.0.push((place.into(), what.into()));
    }

    /// Every file below a directory, as it is and with what is packed inside.
    fn add_files(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                self.add_files(&path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let place = path.display().to_string();
            for at in memmem::find_iter(&bytes, &[0x28, 0xb5, 0x2f, 0xfd]) {
                let mut unpacked = Vec::new();
                if let Ok(packed) = zstd::stream::read::Decoder::new(&bytes[at..]) {
                    // What follows the record is none of it, and ends the reading.
                    let _ended = packed.take(1 << 20).read_to_end(&mut unpacked);
                }
                self.add(format!("{place}, unpacked at {at}"), unpacked);
            }
            self.add(place, bytes);
        }
    }

    fn places(&self, word: &str) -> Vec<&str> {
        let holds = |bytes: &[u8]| memmem::find(bytes, word.as_bytes()).is_some();
        let found = self.0.iter().filter(|(_, bytes)| holds(bytes));
        found.map(|(place, _)| place.as_str()).collect()
    }
}

/// A provider's answer to a key it does not like.
fn refusing(key: &str) -> Answer {
    let body = json!({"error": {"message": format!("Incorrect API key provided: {key}. Bye."),
                                "type": "invalid_request_error", "code": "invalid_api_key"}});
    let body = body.to_string();
    let (first, second) = body.split_at(50);
    let steps = [first, second].map(|part| Step::Send(part.to_owned().into())).to_vec();
    Answer::new(401, "application/json", steps)
}

fn config(providers: [&Provider; 5], is_encrypted: bool) -> String {
    let [alpha, beta, gamma, open, bedrock] = providers.map(Provider::base_url);
    let bedrock = bedrock.trim_end_matches("/v1");
    let mut config = json!({
        "providers": {
            "alpha": {"base_url": alpha, "api_keys": [{"value": VALUE}],
                      "headers": {"x-secret": HEADER}},
            "beta": {"base_url": beta, "api_keys": [{"env": "BETA_KEY"}]},
            "gamma": {"base_url": gamma, "api_keys": [{"file": "gamma.key"}]},
            "open": {"base_url": open},
            "bedrock": {"base_url": bedrock, "region": "us-east-1"},
            "dead": {"base_url": "http://127.0.0.1:9/v1", "api_keys": [{"value": VALUE}]},
        },
        "routes": {"desk": {"targets": ["open/m"]}, "both": {"targets": ["alpha/m", "beta/m"]}},
        "timeouts": {"idle": "300ms"},
        "retry": {"attempts": 0},
    });
    if is_encrypted {
        config["encryption_keys"] = json!([{"env": "ENCRYPTION_KEY"}]);
    }
    config.to_string()
}

/// Sends a request with a key in every header, and keeps what comes back.
async fn ask(seen: &mut Seen, url: &str, body: String, more: &[(&str, &str)]) {
    let mut request = client().build().unwrap().post(url).body(body);
    for (name, value) in [("cookie", COOKIE), ("x-request-id", "r-1")].iter().chain(more) {
        request = request.header(*name, *value);
    }
    let response = within("a reply", request.send()).await.unwrap();
    let mut told = format!("{} {:?}\n", response.status(), response.headers()).into_bytes();
    if let Ok(body) = within("its body", response.bytes()).await {
        told.extend_from_slice(&body);
    }
    seen.add(format!("the answer to {}", url.split('?').next().unwrap()), told);
}

async fn traffic(seen: &mut Seen, data: &str, [alpha, beta, gamma, open, bedrock]: [&Provider; 5]) {
    let bearer = format!("Bearer {CLIENT}");
    let client = [("authorization", bearer.as_str())];
    let chat = format!("http://{data}/v1/chat/completions");
    let body = |model: &str, n: u8, stream| asking(model, &format!("{PROMPT}{n}"), stream);
    alpha.expect(Answer::saying("fine"));
    ask(seen, &chat, body("alpha/m", 1, false), &client).await;
    for (provider, name, key) in [(alpha, "alpha/m", VALUE), (gamma, "gamma/m", FILE)] {
        provider.expect(refusing(key));
        ask(seen, &chat, body(name, 2, false), &client).await;
        provider.expect(refusing(key));
        ask(seen, &chat, body(name, 2, true), &client).await;
    }
    alpha.expect(refusing(HEADER));
    ask(seen, &chat, body("alpha/m", 3, false), &[("cache-control", "no-cache")]).await;
    open.expect(refusing(CLIENT));
    ask(seen, &chat, body("open/m", 4, false), &client).await;
    open.expect(refusing(CLIENT));
    let messages = format!("http://{data}/v1/messages");
    let message = json!({"model": "desk", "max_tokens": 9,
                         "messages": [{"role": "user", "content": PROMPT}]});
    ask(seen, &messages, message.to_string(), &[("x-api-key", CLIENT)]).await;
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}).to_string();
    open.expect(refusing(QUERY));
    let gemini = format!("http://{data}/v1beta/models/desk:generateContent");
    ask(seen, &format!("{gemini}?key={QUERY}"), contents.clone(), &[]).await;
    open.expect(refusing(CLIENT));
    ask(seen, &gemini, contents, &[("x-goog-api-key", CLIENT)]).await;
    open.expect(refusing(QUERY));
    ask(seen, &format!("http://{data}/open/v1/files?key={QUERY}"), "{}".into(), &[]).await;
    bedrock.expect(refusing(AWS_TOKEN));
    ask(seen, &chat, body("bedrock/m", 5, false), &[]).await;
    ask(seen, &chat, body("dead/m", 6, false), &client).await;
    alpha.expect(Answer::error(500));
    beta.expect(refusing(ENV));
    ask(seen, &chat, body("both", 7, false), &client).await;
    for end in [Step::Cut, Step::Hang, Step::Send("data: {broken\n\n".into())] {
        beta.expect(Answer::stream(vec![delta("begun"), end]));
        ask(seen, &chat, body("beta/m", 8, true), &client).await;
    }
    beta.expect(Answer::json("{not JSON"));
    ask(seen, &chat, body("beta/m", 9, false), &client).await;
    for bad in ["", "{", "[1]", r#"{"model":"nobody/m","messages":[]}"#] {
        ask(seen, &chat, bad.to_owned(), &client).await;
    }
    open.expect(Answer::json(completion("fine")));
    beta.always(refusing(ENV));
    beta.calls();
    let trial = [("authorization", bearer.as_str()), ("x-trial", "yes")];
    ask(seen, &chat, body("open/m", 10, false), &trial).await;
    until("the copy", || beta.count() >= 1).await;
}

async fn look(seen: &mut Seen, admin: &str) {
    for path in ["/metrics", "/api/v1/config", "/api/v1/exchanges", "/api/v1/exchanges/export", "/"]
    {
        for token in [ADMIN, "wrong"] {
            let request = client().build().unwrap().get(format!("http://{admin}{path}"));
            let response = within("a reply", request.bearer_auth(token).send()).await.unwrap();
            assert_eq!(response.status() == 200, token == ADMIN, "{path}");
            seen.add(path, within("its body", response.bytes()).await.unwrap());
        }
    }
}

/// What commands print that know the same files and variables.
fn commands(seen: &mut Seen, dir: &Path) {
    let wrong = json!({
        "providers": {
            "a": {"base_url": format!("https://user:{USERINFO}@example.com/v1")},
            "b": {"base_url": "http://h/v1", "api_keys": [MISPLACED]},
            "c": {"base_url": "http://h/v1", "api_keys": [{"env": MISPLACED}]},
            "d": {"base_url": format!("http://h/v1?key={MISPLACED}")},
            "e": {"base_url": "http://h/v1", "headers": {"authorization": MISPLACED}},
        },
        "admin_token": MISPLACED,
        "encryption_keys": [MISPLACED],
    });
    fs::write(dir.join("wrong.yaml"), wrong.to_string()).unwrap();
    fs::write(dir.join("request.json"), asking("alpha/m", "hello", false)).unwrap();
    for args in [
        &["check"][..],
        &["check", "wrong.yaml"],
        &["serve", "--config", "wrong.yaml"],
        &["providers"],
        &["providers", "--json"],
        &["explain", "request.json"],
        &["cache", "ls", "--json"],
        &["cache", "stats"],
        &["cache", "export", "-"],
        &["cache", "export", "out.jsonl"],
        &["experiment", "ls", "--experiments", "trial.yaml"],
        &["serve", "--help"],
        &["--help"],
    ] {
        let ended = Process::start(dir, args, &VARIABLES).end();
        seen.add(args.join(" "), ended.output);
    }
    fs::remove_file(dir.join("wrong.yaml")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_key_is_found_nowhere_and_with_encryption_no_prompt_either() {
    for (level, is_encrypted) in [("trace", false), ("debug", true)] {
        let mut started = Vec::new();
        for _ in 0..5 {
            started.push(Provider::start().await);
        }
        let providers: [&Provider; 5] = std::array::from_fn(|n| &started[n]);
        let dir = TempDir::new().unwrap();
        let yaml = dir.path().join("understudy.yaml");
        fs::write(&yaml, config(providers, is_encrypted)).unwrap();
        fs::write(dir.path().join("gamma.key"), FILE).unwrap();
        fs::write(dir.path().join("trial.yaml"), TRIAL).unwrap();
        let more = ["--log", level, "--log-format", "json", "--experiments", "trial.yaml"];
        let args = [&["serve"], &FREE[..], &more].concat();
        let mut process = Process::start(dir.path(), &args, &VARIABLES);
        let (data, admin) = (process.address("listen"), process.address("admin"));
        let mut seen = Seen::default();
        traffic(&mut seen, &data, providers).await;
        look(&mut seen, &admin).await;
        process.terminate();
        let ended = process.end();
        assert_eq!(ended.code, Some(0));
        seen.add("the log", ended.output);
        commands(&mut seen, dir.path());
        seen.add_files(&dir.path().join("understudy-data"));
        println!("{level}: {} places", seen.0.len());
        for key in ALL {
            assert_eq!(seen.places(key), Vec::<&str>::new(), "{key}, encrypted: {is_encrypted}");
        }
        // The search sees what is there: stars, and prompts where nothing hides them.
        assert!(!seen.places("provided: *****").is_empty());
        let stored = seen.places(PROMPT);
        let in_files = stored.iter().any(|place| place.contains("understudy-data"));
        assert_eq!(in_files, !is_encrypted, "{stored:#?}");
        assert!(stored.contains(&"/api/v1/exchanges/export"), "{stored:#?}");
        assert!(!stored.contains(&"the log"));
    }
}
