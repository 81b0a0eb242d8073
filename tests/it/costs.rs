//! The books over the whole proxy: what calls cost, whoever asks and however they end.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use understudy::config::Feed;
use understudy::experiment::Share;
use understudy::price::Prices;
use understudy::price::read;

use crate::harness::PATIENCE;
use crate::harness::client;
use crate::harness::process::Process;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::completion;
use crate::harness::provider::delta;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::as_far_as_it_goes;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::whole;
use crate::harness::until;
use crate::process;

/// A dollar per million tokens in, two out: 3,000 nanodollars for an answer of the harness.
const TABLE: &str = r#"{"models": [
    {"model": "alpha/m", "input": 1, "output": 2}, {"model": "beta/m", "input": 10, "output": 20}
]}"#;

fn prices() -> std::sync::Arc<Prices> {
    let table = read::table(TABLE).unwrap();
    std::sync::Arc::new(Prices::default().with_own(table, [].into()))
}

async fn booked(sidecar: &Sidecar, query: &str) -> Value {
    whole(sidecar.client.get(format!("{}/api/v1/costs?{query}", sidecar.admin))).await.json()
}

fn count(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("{name} in {of}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_hits_failures_and_cut_streams_are_booked_as_what_they_are() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.prices = prices();
    let sidecar = Sidecar::start(config).await;
    alpha.expect(Answer::saying("yes"));
    let reply = sidecar.ask(asking("alpha/m", "one", false)).await;
    assert_eq!(reply.header("x-understudy-cost-usd"), "0.000003000");
    assert_eq!(sidecar.ask(asking("alpha/m", "one", false)).await.cache(), "understudy; hit");
    alpha.expect(Answer::error(500));
    assert_eq!(sidecar.ask(asking("alpha/m", "two", false)).await.status, 500);
    alpha.expect(Answer::stream(vec![delta("some of the answer"), Step::Cut]));
    let cut = as_far_as_it_goes(sidecar.chat(asking("alpha/m", "three", true))).await;
    assert!(cut.0.text().contains("some of the answer"));
    let unknown = completion("no price").replace(r#""model":"m""#, r#""model":"x""#);
    alpha.expect(Answer::json(unknown));
    assert_eq!(sidecar.ask(asking("alpha/unknown", "four", false)).await.status, 200);
    let costs = booked(&sidecar, "by=model").await;
    let row = |model: &str| {
        let mut rows = costs["rows"].as_array().unwrap().iter();
        rows.find(|row| row["of"]["model"] == model).unwrap().clone()
    };
    let known = row("m");
    let counts = ["calls", "failed", "from_cache", "estimated", "unknown", "saved_nano_usd"];
    assert_eq!(counts.map(|name| count(&known, name)), [3, 2, 1, 1, 0, 3000], "{known}");
    // One token in and one out were told; of the stream that was cut both are estimates.
    let estimate = count(&known, "cost_nano_usd") - 3000;
    let (input, output) = (count(&known, "input_tokens") - 1, count(&known, "output_tokens") - 1);
    assert_eq!(estimate, input * 1000 + output * 2000);
    assert!(input > 0 && output > 0);
    assert_eq!(count(&row("unknown"), "unknown"), 1);
    assert_eq!(count(&costs["total"], "calls"), 4);
    let again = sidecar.restart(|_| {}).await;
    assert_eq!(booked(&again, "by=model").await, costs, "a restart changes nothing");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_and_judges_are_told_apart_from_what_applications_ask() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    config.prices = prices();
    config.experiments.push(experiment("alpha/m", "beta/m", Share::ALL, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("same"));
    beta.always(Answer::saying("same"));
    for number in 0..3 {
        sidecar.ask(asking("alpha/m", &format!("question {number}"), false)).await;
    }
    until("every pair to be scored", || sidecar.funnel("scored") == 3).await;
    let costs = booked(&sidecar, "by=purpose,experiment,variant,provider").await;
    let rows = costs["rows"].as_array().unwrap().iter().map(|row| {
        let word = |name: &str| row["of"][name].as_str().unwrap();
        let key = ["purpose", "experiment", "variant", "provider"].map(word).join(" ");
        (key, count(row, "cost_nano_usd"))
    });
    let expected = [("shadow trial next beta", 90_000), ("live trial control alpha", 9000)];
    let expected = expected.map(|(key, cost)| (key.to_owned(), cost));
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cost_of_a_trace_is_that_of_its_calls() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.prices = prices();
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("yes"));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for (text, trace) in [("a", trace), ("b", trace), ("c", "11111111111111111111111111111111")] {
        let request = sidecar.chat(asking("alpha/m", text, false));
        whole(request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))).await;
    }
    let costs = booked(&sidecar, &format!("trace={trace}&by=provider")).await;
    assert_eq!(count(&costs["total"], "cost_nano_usd"), 6000);
    for (query, told) in [
        ("trace=abc", "`trace` takes the 32 hexadecimal digits"),
        ("since=yesterday", "`since` takes a time"),
        ("until=2020-01-01&sinc=2", "no parameter is called `sinc`"),
        ("by=a,,b", "`by` takes words"),
    ] {
        let refused = booked(&sidecar, query).await;
        let said = refused["error"]["message"].as_str().unwrap();
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(booked(&sidecar, "until=2020-01-01").await["rows"], json!([]));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_in_force_without_a_restart_and_a_broken_one_changes_nothing() {
    let alpha = Provider::start().await;
    let feed = Provider::start().await;
    feed.expect(Answer::json(TABLE));
    let mut config = config(&[("alpha", &alpha)]);
    config.feed =
        Some(Feed { url: format!("{}/prices", feed.base_url()), every: Duration::from_secs(3600) });
    let sidecar = Sidecar::start(config.clone()).await;
    let fetched = |sidecar: &Sidecar, what| {
        sidecar.metrics.price_feeds.get_or_create(&understudy::metrics::Word { what }).get()
    };
    until("the feed", || fetched(&sidecar, "good") == 1).await;
    alpha.always(Answer::saying("yes"));
    let paid = async |sidecar: &Sidecar| {
        until("the price", || true).await;
        let reply = sidecar.ask(asking("alpha/m", "one", false)).await;
        reply.header("x-understudy-cost-usd").to_owned()
    };
    assert_eq!(paid(&sidecar).await, "0.000003000");
    sidecar.stop().await;
    feed.expect(Answer::json(r#"{"models": [{"model": "alpha/m", "input": -1}]}"#));
    let sidecar = Sidecar::start(config).await;
    until("the broken feed", || fetched(&sidecar, "broken") == 1).await;
    assert_eq!(paid(&sidecar).await, "", "an unknown price is no price");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_and_budgets_outlive_kill_9_and_a_price_file_is_followed() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("yes"));
    let dir = TempDir::new().unwrap();
    let hash = |key: &str| blake3::hash(key.as_bytes()).to_hex().to_string();
    let config = json!({
        "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "data_dir": "data",
        "providers": {"alpha": {"base_url": alpha.base_url(), "api_keys": [{"value": "k"}]}},
        "prices": {"file": "prices.json"},
        "callers": {
            "one": {"key_blake3": hash("us-one"), "budget": {"usd_per_month": 0.000_006}},
            "two": {"key_blake3": hash("us-two"), "metadata": {"team": "b"}},
        },
    });
    fs::write(dir.path().join("understudy.yaml"), config.to_string()).unwrap();
    fs::write(dir.path().join("prices.json"), TABLE).unwrap();
    let mut process = Process::start(dir.path(), &["serve"], &[]);
    let client = client().build().unwrap();
    let ask = async |data: &str, key: &str, text: &str| {
        let request = client.post(format!("http://{data}/v1/chat/completions"));
        let request = request.header("x-api-key", key).body(asking("alpha/m", text, false));
        whole(request).await
    };
    let data = process.address("listen");
    assert_eq!(ask(&data, "us-one", "a").await.status, 200);
    assert_eq!(ask(&data, "us-one", "b").await.status, 200);
    assert_eq!(ask(&data, "us-two", "a").await.status, 200);
    let admin = process.address("admin");
    let costs = client.get(format!("http://{admin}/api/v1/costs?by=caller,team"));
    let costs = whole(costs).await.json();
    process.kill();
    let offline = process::json(dir.path(), ["costs", "--by", "caller,team", "--json"]);
    assert_eq!(offline, costs, "the same without the process");
    let rows = costs["rows"].as_array().unwrap().iter();
    let rows = rows.map(|row| (row["of"]["caller"].clone(), count(row, "cost_nano_usd")));
    assert_eq!(rows.collect::<Vec<_>>(), [(json!("one"), 6000), (json!("two"), 3000)]);
    let mut process = Process::start(dir.path(), &["serve"], &[]);
    let data = process.address("listen");
    let refused = ask(&data, "us-one", "c").await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.text().contains("usd_per_month"), "{}", refused.text());
    fs::write(dir.path().join("prices.json"), TABLE.replace(": 1,", ": 5,")).unwrap();
    let began = Instant::now();
    for number in 0.. {
        let reply = ask(&data, "us-two", &number.to_string()).await;
        match reply.header("x-understudy-cost-usd") {
            "0.000007000" => break,
            former => assert_eq!(former, "0.000003000"),
        }
        assert!(began.elapsed() < PATIENCE, "the file is not read again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill();
}
