//! Callers known by keys of ours: who gets in, to what, how much, and that no key goes any further.

use std::sync::Arc;

use understudy::budget::Cap;
use understudy::budget::Caps;
use understudy::caller;
use understudy::caller::Limits;
use understudy::caller::Patron;
use understudy::config::Config;
use understudy::price::Prices;
use understudy::price::read;

use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::key;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;
use crate::harness::until;

const TABLE: &str = r#"{"models": [{"model": "alpha/m", "input": 1, "output": 2}]}"#;

const ONE: &str = "us-one";

fn patron(name: &str) -> Patron {
    Patron { labels: [("team".to_owned(), "search".to_owned())].into(), ..Patron::new(name) }
}

/// A configuration in which `us-one` is the key of the patron and `us-two` that of another.
fn known(alpha: &Provider, one: Patron) -> Config {
    let mut config = config(&[("alpha", alpha)]);
    config.prices = Arc::new(Prices::default().with_own(read::table(TABLE).unwrap(), [].into()));
    config.providers.get_mut("alpha").unwrap().api_keys = vec![key("provider-key")];
    config.patrons.insert(caller::digest(ONE.as_bytes()), one);
    config.patrons.insert(caller::digest(b"us-two"), patron("two"));
    config
}

async fn ask(sidecar: &Sidecar, key: &str, model: &str, text: &str) -> Reply {
    let request = sidecar.chat(asking(model, text, false));
    whole(request.header("authorization", format!("Bearer {key}"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_known_key_gets_in_and_none_reaches_a_provider() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(known(&alpha, patron("one"))).await;
    alpha.always(Answer::saying("yes"));
    assert_eq!(ask(&sidecar, ONE, "alpha/m", "a").await.status, 200);
    let gemini = "/v1beta/models/alpha%2Fm:generateContent?key=";
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"b"}]}]}"#;
    let asked = whole(sidecar.post(&format!("{gemini}{ONE}"), body)).await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    let anthropic =
        r#"{"model":"alpha/m","max_tokens":9,"messages":[{"role":"user","content":"c"}]}"#;
    let asked = sidecar.post("/v1/messages", anthropic);
    assert_eq!(whole(asked.header("x-api-key", ONE)).await.status, 200);
    let passed = sidecar.post("/alpha/v1/files", "{}").header("api-key", ONE);
    assert_eq!(whole(passed).await.status, 200);
    for call in alpha.calls() {
        assert_eq!(call.header("authorization"), Some("Bearer provider-key"));
        for name in ["x-api-key", "x-goog-api-key", "api-key"] {
            assert_eq!(call.header(name), None, "{name}");
        }
        assert!(!call.path.contains(ONE), "{}", call.path);
    }
    let calls = alpha.count();
    let refused = ask(&sidecar, "us-wrong", "alpha/m", "a").await;
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_str()),
        (401, Some("unauthorized"))
    );
    assert!(!refused.text().contains("us-wrong"));
    let refused = whole(sidecar.post("/v1/messages", anthropic)).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"]["type"], "authentication_error");
    let refused = whole(sidecar.post(&format!("{gemini}us-wrong"), body)).await;
    assert_eq!(
        (refused.status, refused.json()["error"]["status"].as_str()),
        (401, Some("UNAUTHENTICATED"))
    );
    assert_eq!(whole(sidecar.client.get(format!("{}/v1/models", sidecar.data))).await.status, 401);
    let said = sidecar.post("/v1/feedback", r#"{"request_id":"r","thumbs":"up"}"#);
    assert_eq!(whole(said).await.status, 401);
    assert_eq!(alpha.count(), calls, "nobody was asked");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_share_no_answers_and_each_has_its_own_books() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(known(&alpha, patron("one"))).await;
    alpha.always(Answer::saying("yes"));
    ask(&sidecar, ONE, "alpha/m", "a").await;
    assert_eq!(ask(&sidecar, ONE, "alpha/m", "a").await.cache(), "understudy; hit");
    assert_eq!(
        ask(&sidecar, "us-two", "alpha/m", "a").await.cache(),
        "understudy; fwd=miss; stored"
    );
    assert_eq!(alpha.count(), 2);
    let costs = sidecar.client.get(format!("{}/api/v1/costs?by=caller,team", sidecar.admin));
    let costs = whole(costs).await.json();
    let rows = costs["rows"].as_array().unwrap().iter().map(|row| {
        let word = |name: &str| row["of"][name].as_str().unwrap().to_owned();
        (word("caller"), word("team"), row["calls"].as_u64(), row["from_cache"].as_u64())
    });
    let row = |name: &str, hits| (name.to_owned(), "search".to_owned(), Some(1), Some(hits));
    assert_eq!(rows.collect::<Vec<_>>(), [row("one", 1), row("two", 0)]);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_asks_only_what_its_scope_names() {
    let alpha = Provider::start().await;
    let routes = Some(vec!["bot".to_owned()]);
    let mut config = known(&alpha, Patron { routes, ..patron("one") });
    for name in ["bot", "other"] {
        let route = route(&config, &[("alpha/m", None)]);
        config.routes.insert(name.to_owned(), route);
    }
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("yes"));
    assert_eq!(ask(&sidecar, ONE, "bot", "a").await.status, 200);
    for model in ["other", "alpha/m"] {
        let refused = ask(&sidecar, ONE, model, "a").await;
        assert_eq!(refused.status, 403, "{model}");
        assert_eq!(refused.json()["error"]["code"], "forbidden");
    }
    let passed = sidecar.post("/alpha/v1/files", "{}").header("x-api-key", ONE);
    assert_eq!(whole(passed).await.status, 403);
    let list = sidecar.client.get(format!("{}/v1/models", sidecar.data)).header("x-api-key", ONE);
    let list = whole(list).await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(alpha.count(), 1);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_requests_at_once_or_in_a_minute_wait_for_their_turn_elsewhere() {
    let alpha = Provider::start().await;
    let limits = Limits { requests_per_minute: Some(3), concurrency: Some(1), ..Limits::default() };
    let sidecar = Sidecar::start(known(&alpha, Patron { limits, ..patron("one") })).await;
    let gate = Gate::new();
    alpha.expect(Answer::saying("yes").after(&gate));
    alpha.always(Answer::saying("yes"));
    let first = ask(&sidecar, ONE, "alpha/m", "a");
    let second = async {
        until("the first to be asked", || alpha.count() == 1).await;
        let refused = ask(&sidecar, ONE, "alpha/m", "b").await;
        gate.open();
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status, second.status, second.header("retry-after")), (200, 429, "1"));
    until("the place to be free", || sidecar.metrics.open.get() == 0).await;
    assert_eq!(ask(&sidecar, ONE, "alpha/m", "c").await.status, 200);
    assert_eq!(ask(&sidecar, ONE, "alpha/m", "d").await.status, 200);
    let refused = ask(&sidecar, ONE, "alpha/m", "e").await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (429, Some("limited")));
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&after), "{after}");
    assert_eq!(ask(&sidecar, "us-two", "alpha/m", "e").await.status, 200, "others go on");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_spent_stays_so_after_a_restart_and_stored_answers_are_free() {
    let alpha = Provider::start().await;
    // An answer costs 3,000 nanodollars.
    let day = Cap { nano_usd: Some(6_000), tokens: None };
    let budget = Caps { day, ..Caps::default() };
    let sidecar = Sidecar::start(known(&alpha, Patron { budget, ..patron("one") })).await;
    alpha.always(Answer::saying("yes"));
    for text in ["a", "b"] {
        assert_eq!(ask(&sidecar, ONE, "alpha/m", text).await.status, 200);
    }
    let refused = ask(&sidecar, ONE, "alpha/m", "c").await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (429, Some("limited")));
    assert!(
        refused.text().contains("`usd_per_day`) is spent: it begins anew at"),
        "{}",
        refused.text()
    );
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 24 * 3600);
    assert_eq!(ask(&sidecar, ONE, "alpha/m", "a").await.status, 200, "from the cache");
    let refused = ask(&sidecar, ONE, "alpha/unknown", "c").await;
    assert_eq!(refused.status, 403, "what has no price has no place in a budget");
    let passed = sidecar.post("/alpha/v1/files", "{}").header("x-api-key", ONE);
    assert_eq!(whole(passed).await.status, 403);
    let again = sidecar.restart(|_| {}).await;
    assert_eq!(ask(&again, ONE, "alpha/m", "c").await.status, 429);
    assert_eq!(ask(&again, "us-two", "alpha/m", "c").await.status, 200);
    assert_eq!(alpha.count(), 3);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_keys_are_not_required_strangers_go_on_with_their_own() {
    let alpha = Provider::start().await;
    let mut config = known(&alpha, patron("one"));
    config.callers_required = false;
    config.providers.get_mut("alpha").unwrap().api_keys = Vec::new();
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("yes"));
    assert_eq!(ask(&sidecar, "sk-own", "alpha/m", "a").await.status, 200);
    assert_eq!(alpha.calls()[0].header("authorization"), Some("Bearer sk-own"));
    sidecar.stop().await;
}
