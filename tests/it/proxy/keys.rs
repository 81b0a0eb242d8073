//! Which key a request is paid with, and what happens when the provider does not take it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use understudy::chat::DialectName;
use understudy::config;
use understudy::config::CacheMode;
use understudy::config::Config;
use understudy::config::KeySource;
use understudy::config::Place;
use understudy::config::Timeouts;
use understudy::config::stores::Vault;
use understudy::upstream::Call;
use understudy::upstream::Opened;
use understudy::upstream::Upstream;
use understudy::upstream::outgoing::Outgoing;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::completion;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::endpoint;
use crate::harness::sidecar::key;
use crate::harness::sidecar::target;
use crate::harness::sidecar::whole;
use crate::harness::until;
use crate::harness::within;

/// A configuration whose one provider has these keys.
fn with_keys(alpha: &Provider, keys: Vec<KeySource>) -> Config {
    let mut config = config(&[("alpha", alpha)]);
    config.cache.mode = CacheMode::Off;
    config.providers.get_mut("alpha").unwrap().api_keys = keys;
    config
}

/// The keys that came.
fn keys(provider: &Provider) -> Vec<String> {
    let calls = provider.calls();
    let key = |header: &str| header.strip_prefix("Bearer ").unwrap().to_owned();
    calls.iter().map(|call| key(call.header("authorization").unwrap())).collect()
}

async fn ask(sidecar: &Sidecar) -> u16 {
    whole(sidecar.chat(asking("alpha/m", "x", false)).bearer_auth("client-key")).await.status
}

/// Asks without a sidecar.
async fn send(upstream: &Upstream) -> Opened {
    let (target, headers) = (target("alpha/m"), HeaderMap::new());
    let outgoing = Outgoing::new(DialectName::OpenAi, "{}".into(), false);
    let call = Call { target: &target, outgoing, headers: &headers, timeouts: Timeouts::default() };
    upstream.send_once(call).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_gives_way_to_the_next_within_the_request_and_rests() {
    for status in [401, 402, 403, 429] {
        let alpha = Provider::start().await;
        let sidecar = Sidecar::start(with_keys(&alpha, vec![key("one"), key("two")])).await;
        alpha.expect(Answer::error(status).header("retry-after", "60"));
        alpha.expect(Answer::saying("ok"));
        assert_eq!(ask(&sidecar).await, 200, "{status}");
        assert_eq!(keys(&alpha), ["one", "two"], "{status}");
        alpha.always(Answer::saying("ok"));
        for _ in 0..3 {
            assert_eq!(ask(&sidecar).await, 200);
        }
        assert_eq!(keys(&alpha), ["two"; 3], "{status}");
        sidecar.stop().await;
    }
}

/// An error with this body.
fn saying(status: u16, body: &str) -> Answer {
    Answer::new(status, "application/json", vec![Step::Send(body.to_owned().into())])
}

const WRONG: &str = r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT",
    "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#;

const UNPAID: &str =
    r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_in_the_body_gives_way_and_rests_as_any_refused_one() {
    let poor = r#"{"type":"error","error":{"type":"invalid_request_error",
        "message":"Your credit balance is too low to access the API."}}"#;
    for refusal in [saying(400, WRONG), saying(400, poor), saying(429, UNPAID)] {
        let alpha = Provider::start().await;
        let config = with_keys(&alpha, vec![key("one"), key("two")]);
        let upstream = Upstream::new(&config).unwrap();
        alpha.expect(refusal);
        alpha.expect(Answer::saying("ok"));
        assert_eq!(send(&upstream).await.status, 200);
        assert_eq!(keys(&alpha), ["one", "two"]);
        // Longer than one whose provider is only busy: the last is asked again before it.
        alpha.expect(Answer::error(401));
        alpha.expect(Answer::error(401));
        assert_eq!(send(&upstream).await.status, 401);
        assert_eq!(keys(&alpha), ["two", "one"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_was_looked_into_arrives_whole_however_it_ends() {
    let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(40_000));
    let (begin, end) = WRONG.split_at(60);
    let pieces = [begin, end].map(|piece| Step::Send(piece.to_owned().into())).to_vec();
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(with_keys(&alpha, vec![key("one")])).await;
    for (answer, body) in [
        (saying(400, WRONG), WRONG),
        (Answer::new(400, "application/json", pieces.clone()), WRONG),
        (saying(400, &long), &long),
        (saying(429, UNPAID), UNPAID),
    ] {
        alpha.expect(answer);
        let reply = whole(sidecar.chat(asking("alpha/m", "x", false))).await;
        assert_eq!(reply.text(), body);
    }
    let cut = [vec![pieces[0].clone()], vec![Step::Cut]].concat();
    alpha.expect(Answer::new(400, "application/json", cut));
    let reply = whole(sidecar.chat(asking("alpha/m", "x", false))).await;
    assert_eq!(reply.json()["error"]["code"], "provider_broken", "{}", reply.text());
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_without_money_is_not_asked_again_but_the_next_one_is() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = with_keys(&alpha, vec![key("one")]);
    config.providers.insert("beta".to_owned(), endpoint("beta", &beta.base_url()));
    config.retry.attempts = 2;
    let route = crate::harness::sidecar::route(&config, &[("alpha/m", None), ("beta/m", None)]);
    config.routes.insert("both".to_owned(), route);
    let sidecar = Sidecar::start(config).await;
    alpha.expect(saying(429, UNPAID));
    beta.expect(Answer::saying("ok"));
    assert_eq!(whole(sidecar.chat(asking("both", "x", false))).await.status, 200);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_about_the_key_is_not_asked_again_with_another() {
    for status in [400, 404, 422] {
        let alpha = Provider::start().await;
        let sidecar = Sidecar::start(with_keys(&alpha, vec![key("one"), key("two")])).await;
        alpha.expect(Answer::error(status));
        assert_eq!(ask(&sidecar).await, status);
        assert_eq!(keys(&alpha), ["one"]);
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_key_is_taken_the_last_refusal_is_the_answer() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(with_keys(&alpha, vec![key("one"), key("two")])).await;
    alpha.always(Answer::error(401));
    assert_eq!(ask(&sidecar).await, 401);
    assert_eq!(keys(&alpha), ["one", "two"]);
    // They rest, and are better than nothing.
    alpha.always(Answer::saying("ok"));
    assert_eq!(ask(&sidecar).await, 200);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_used_by_weight() {
    let alpha = Provider::start().await;
    let heavy = KeySource { weight: 3, ..key("heavy") };
    let sidecar = Sidecar::start(with_keys(&alpha, vec![heavy, key("light")])).await;
    alpha.always(Answer::saying("ok"));
    for _ in 0..8 {
        assert_eq!(ask(&sidecar).await, 200);
    }
    let heavy = keys(&alpha).iter().filter(|key| *key == "heavy").count();
    assert_eq!(heavy, 6);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_rests_goes_on_resting_when_the_configuration_changes() {
    let alpha = Provider::start().await;
    let first = with_keys(&alpha, vec![key("one"), key("two")]);
    let second = with_keys(&alpha, vec![key("new"), key("one")]);
    let before = Upstream::new(&first).unwrap();
    alpha.expect(Answer::error(401));
    alpha.always(Answer::saying("ok"));
    assert_eq!(send(&before).await.status, 200);
    let after = Upstream::after(&second, Some(&before)).unwrap();
    assert_eq!(keys(&alpha), ["one", "two"]);
    for _ in 0..3 {
        assert_eq!(send(&after).await.status, 200);
    }
    assert_eq!(keys(&alpha), ["new"; 3]);
}

/// A configuration whose key is in a Vault at `address`.
fn in_vault(alpha: &Provider, address: &str) -> Config {
    let place = Place::Vault { path: "secret/data/llm".to_owned(), field: "api_key".to_owned() };
    let mut config = with_keys(alpha, vec![KeySource { place, weight: 1, key: None }]);
    let env = |name: &str| (name == "VAULT_TOKEN").then(|| "t".to_owned());
    let known = config::stores::known(&|name| match name {
        "VAULT_ADDR" => Some(address.to_owned()),
        name => env(name),
    });
    assert!(matches!(&known.vault, Some(Vault { login: Some(_), .. })));
    config.stores = known;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_at_the_start_is_told_in_the_clients_dialect_until_it_is_up() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut config = in_vault(&alpha, &format!("http://{address}"));
    config.providers.insert("beta".to_owned(), endpoint("beta", &beta.base_url()));
    let route = crate::harness::sidecar::route(&config, &[("alpha/m", None), ("beta/m", None)]);
    config.routes.insert("both".to_owned(), route);
    let sidecar = Sidecar::start(config).await;
    let reply = whole(sidecar.chat(asking("alpha/m", "x", false)).bearer_auth("c")).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    let begin = "the key of alpha cannot be read from vault: secret/data/llm#api_key";
    assert!(message.contains(begin), "{message}");
    let reply = sidecar.post(
        "/v1/messages",
        r#"{"model":"alpha/m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#,
    );
    let reply = whole(reply).await;
    assert_eq!((reply.status, &reply.json()["type"]), (503, &"error".into()), "{}", reply.text());
    // Another target may have a key.
    beta.expect(Answer::saying("ok"));
    assert_eq!(whole(sidecar.chat(asking("both", "x", false))).await.status, 200);
    // The store comes up: it gives one answer to everything it is asked.
    let told = r#"{"data":{"ttl":0,"data":{"api_key":"of-vault"},"metadata":{"version":1}}}"#;
    let say = axum::routing::any(move || async move { told });
    let listener = TcpListener::bind(address).await.unwrap();
    let store = Router::new().fallback_service(say);
    let store = tokio::spawn(async move { axum::serve(listener, store).await });
    // What is wrong is tried again by itself.
    let line = "understudy_secret_refresh_total{source=\"vault: secret/data/llm#api_key\",result=";
    let scrape = async || {
        let asked = sidecar.client.get(format!("{}/metrics", sidecar.admin)).send();
        asked.await.unwrap().text().await.unwrap()
    };
    let none = format!("{line}\"good\"}} 0");
    while within("metrics", scrape()).await.lines().any(|line| line == none) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(within("metrics", scrape()).await.contains(&format!("{line}\"good\"}} ")));
    alpha.expect(Answer::saying("ok"));
    assert_eq!(ask(&sidecar).await, 200);
    assert_eq!(keys(&alpha), ["of-vault"]);
    store.abort();
    sidecar.stop().await;
}

/// Puts a key where a folder that Kubernetes mounts has it: `..data` is swapped.
fn swap(folder: &Path, version: usize) {
    let name = format!("..v{version}");
    fs::create_dir_all(folder.join(&name)).unwrap();
    fs::write(folder.join(&name).join("api_key"), format!("key-{version}\n")).unwrap();
    symlink(&name, folder.join("..next")).unwrap();
    fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
}

/// A provider that takes only keys that are valid now.
async fn strict(valid: Arc<Mutex<BTreeSet<String>>>) -> String {
    let answer = async move |headers: HeaderMap| {
        let key = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ");
        match valid.lock().unwrap().contains(key) {
            true => (StatusCode::OK, [("content-type", "application/json")], completion("ok")),
            false => {
                let refusal = r#"{"error":{"message":"no","type":"t"}}"#.to_owned();
                (StatusCode::UNAUTHORIZED, [("content-type", "application/json")], refusal)
            }
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/v1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_file_swapped_under_requests_fails_none_even_if_the_old_key_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    swap(folder.path(), 0);
    symlink("..data/api_key", folder.path().join("api_key")).unwrap();
    let valid = Arc::new(Mutex::new(BTreeSet::from(["key-0".to_owned()])));
    let mut config = Config::default();
    config.listen.set_port(0);
    config.admin.set_port(0);
    config.cache.mode = CacheMode::Off;
    let mut alpha = endpoint("alpha", &strict(valid.clone()).await);
    let place = Place::File(folder.path().join("api_key"));
    alpha.api_keys = vec![KeySource { place, ..key("key-0") }];
    config.providers.insert("alpha".to_owned(), alpha);
    let sidecar = Arc::new(Sidecar::start(config).await);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (sidecar, stop, answered) = (sidecar.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(ask(&sidecar).await, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for version in 1..=4 {
        let before = answered.load(Ordering::SeqCst);
        until("requests", || answered.load(Ordering::SeqCst) > before + 20).await;
        swap(folder.path(), version);
        *valid.lock().unwrap() = BTreeSet::from([format!("key-{version}")]);
    }
    let before = answered.load(Ordering::SeqCst);
    until("the last", || answered.load(Ordering::SeqCst) > before + 20).await;
    stop.store(true, Ordering::SeqCst);
    for asker in askers {
        asker.await.unwrap();
    }
    Arc::into_inner(sidecar).unwrap().stop().await;
}
