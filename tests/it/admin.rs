//! The admin plane's view of stored exchanges: found, shown, moved, forgotten, documented.

mod gate;

use serde_json::Value;
use serde_json::json;
use understudy::config::CacheMode;
use understudy::library::query::PARAMETERS;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::whole;

async fn get(sidecar: &Sidecar, path: &str) -> Reply {
    whole(sidecar.client.get(format!("{}{path}", sidecar.admin))).await
}

async fn post(sidecar: &Sidecar, path: &str, kind: &str, body: impl Into<String>) -> Reply {
    let request = sidecar.client.post(format!("{}{path}", sidecar.admin));
    whole(request.header("content-type", kind).body(body.into())).await
}

async fn purge(sidecar: &Sidecar, body: &Value) -> Reply {
    post(sidecar, "/api/v1/exchanges/purge", "application/json", body.to_string()).await
}

async fn import(sidecar: &Sidecar, lines: &str) -> Reply {
    post(sidecar, "/api/v1/exchanges/import", "application/x-ndjson", lines).await
}

fn told(reply: &Reply) -> String {
    reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
}

fn rows(reply: &Reply) -> Vec<Value> {
    reply.json()["exchanges"].as_array().unwrap().clone()
}

/// A sidecar that has answered `one`, `two` and `three`, each with a word of its own.
async fn with_three(alpha: &Provider) -> Sidecar {
    let sidecar = Sidecar::start(config(&[("alpha", alpha)])).await;
    for (number, text) in ["one", "two", "three"].into_iter().enumerate() {
        alpha.expect(Answer::saying(&format!("word{number}")));
        let asked = sidecar.chat(asking("alpha/m", &format!("question {text}"), false));
        assert_eq!(whole(asked.header("x-request-id", format!("req-{text}"))).await.status, 200);
    }
    sidecar
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_tells_every_method_and_every_filter() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    let document = get(&sidecar, "/openapi.json").await.json();
    let mut checked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let url = format!("{}{}", sidecar.admin, path.replace(['{', '}'], "_"));
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let request = sidecar.client.request(method.parse().unwrap(), &url);
            let answers = whole(request).await.status != 405;
            let documented = methods.get(method.to_lowercase()).is_some();
            assert_eq!(answers, documented, "{method} {path}");
            checked += 1;
        }
    }
    assert!(checked >= 60, "{checked}");
    for (name, takes) in PARAMETERS {
        assert_eq!(document["components"]["parameters"][name]["description"], **takes, "{name}");
        let purged = &document["paths"]["/api/v1/exchanges/purge"]["post"]["requestBody"];
        let purged = &purged["content"]["application/json"]["schema"]["properties"][name];
        assert_eq!(purged["description"], **takes, "{name}");
    }
    let is_known = |text: &str| document.pointer(text.strip_prefix('#').unwrap()).is_some();
    let mut refs = Vec::new();
    references(&document, &mut refs);
    let lost: Vec<&String> = refs.iter().filter(|text| !is_known(text)).collect();
    assert!(lost.is_empty() && refs.len() > 20, "{lost:?} of {}", refs.len());
    sidecar.stop().await;
}

fn references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str);
            into.extend(own.map(str::to_owned));
            members.values().for_each(|member| references(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_are_listed_newest_first_and_page_by_page() {
    let alpha = Provider::start().await;
    let sidecar = with_three(&alpha).await;
    let all = get(&sidecar, "/api/v1/exchanges").await;
    let questions: Vec<Value> = rows(&all).iter().map(|row| row["question"].clone()).collect();
    assert_eq!(questions, ["question three", "question two", "question one"]);
    assert_eq!(all.json()["next_before"], Value::Null);
    let mut before = String::new();
    let mut paged = Vec::new();
    loop {
        let page = get(&sidecar, &format!("/api/v1/exchanges?limit=2{before}")).await;
        paged.extend(rows(&page));
        let Some(next) = page.json()["next_before"].as_str().map(str::to_owned) else { break };
        before = format!("&before={next}");
    }
    assert_eq!(paged.len(), 3);
    for (query, wanted) in [
        ("text=WORD1", 1),
        ("text=question%20two", 1),
        ("text=absent", 0),
        ("model=ALPHA", 3),
        ("model=beta", 0),
        ("status=200", 3),
        ("status=failed", 0),
        ("since=1h", 3),
        ("until=1h", 0),
        ("experiment=trial", 0),
    ] {
        let found = rows(&get(&sidecar, &format!("/api/v1/exchanges?{query}")).await);
        assert_eq!(found.len(), wanted, "{query}");
    }
    for row in rows(&all) {
        let id = row["short_id"].as_str().unwrap();
        let found = rows(&get(&sidecar, &format!("/api/v1/exchanges/{id}")).await);
        assert_eq!((found.len(), &found[0]["facts"]["id"]), (1, &row["id"]), "{id}");
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_exchange_is_found_by_any_of_its_names_and_told_whole() {
    let alpha = Provider::start().await;
    let sidecar = with_three(&alpha).await;
    let row = &rows(&get(&sidecar, "/api/v1/exchanges").await)[1];
    for name in ["id", "key", "request_id"] {
        let name = row[name].as_str().unwrap();
        let found = get(&sidecar, &format!("/api/v1/exchanges/{name}?body=frames")).await;
        assert_eq!(found.status, 200, "{name}: {}", found.text());
        let found = &rows(&found)[0];
        assert_eq!(found["facts"]["id"], row["id"], "{name}");
        assert_eq!(found["request"]["messages"][0]["content"], "question two");
        assert_eq!(found["answer"]["choices"][0]["text"], "word1");
        let frames = found["frames"].as_array().unwrap();
        assert!(frames[0]["text"].as_str().unwrap().contains("word1"));
        assert_eq!(found["timing"]["frames"], frames.len());
        let counts = found["keyed"]["counts"].to_string();
        assert!(counts.contains("messages") && counts.contains("alpha/m"), "{counts}");
        assert!(found["keyed"]["does_not_count"].to_string().contains("model"));
    }
    for (path, status, wanted) in [
        ("/api/v1/exchanges/ffffffff", 404, "understudy cache ls"),
        ("/api/v1/exchanges/req-", 400, "may mean several exchanges: req-one, req-three, req-two"),
        ("/api/v1/exchanges/abc", 400, "too short"),
        ("/api/v1/exchanges/req-one?body=all", 400, "`body` takes answer or frames"),
        ("/api/v1/exchanges/req-one?frames=1", 400, "only parameter is `body`"),
        ("/api/v1/exchanges?status=bad", 400, "`status` takes a status such as 200"),
        ("/api/v1/exchanges?modell=x", 400, "no parameter is called `modell`: there is since"),
        ("/api/v1/exchanges/export?with_tenants=yes", 400, "`with_tenants` takes true or false"),
    ] {
        let reply = get(&sidecar, path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert!(told(&reply).contains(wanted), "{path}: {}", told(&reply));
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_purged_is_gone_from_disk_and_memory() {
    let alpha = Provider::start().await;
    let sidecar = with_three(&alpha).await;
    let ask = async |text: &str| sidecar.ask(asking("alpha/m", text, false)).await;
    assert_eq!(ask("question one").await.cache(), "understudy; hit");
    for (body, wanted) in [
        (json!({}), "nothing is named"),
        (json!({"all": "yes"}), "`all` takes true or false"),
        (json!({"all": true, "model": "m"}), "contradict"),
        (json!({"modle": "m"}), "no parameter is called `modle`"),
        (json!([]), "not an object"),
    ] {
        let refused = purge(&sidecar, &body).await;
        assert_eq!(refused.status, 400, "{body}");
        assert!(told(&refused).contains(wanted), "{body}: {}", told(&refused));
    }
    let plain = post(&sidecar, "/api/v1/exchanges/purge", "text/plain", r#"{"all":true}"#).await;
    assert_eq!(plain.status, 400, "a page in a browser may send text/plain to anyone");
    assert_eq!(purge(&sidecar, &json!({"text": "question one"})).await.json()["deleted"], 1);
    alpha.expect(Answer::saying("again"));
    assert_eq!(ask("question one").await.cache(), "understudy; fwd=miss; stored");
    assert_eq!(ask("question two").await.cache(), "understudy; hit");
    let id = rows(&get(&sidecar, "/api/v1/exchanges?text=two").await)[0]["id"].clone();
    let url = format!("{}/api/v1/exchanges/{}", sidecar.admin, id.as_str().unwrap());
    let deleted = whole(sidecar.client.delete(&url)).await;
    assert_eq!((deleted.status, deleted.json()["deleted"].as_u64()), (200, Some(1)));
    assert_eq!(whole(sidecar.client.delete(&url)).await.status, 404);
    alpha.expect(Answer::saying("again"));
    assert_eq!(ask("question two").await.cache(), "understudy; fwd=miss; stored");
    assert_eq!(purge(&sidecar, &json!({"all": true})).await.json()["deleted"], 3);
    let stats = get(&sidecar, "/api/v1/cache").await.json();
    assert_eq!((&stats["exchanges"], &stats["oldest_ms"]), (&json!(0), &Value::Null));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_counted() {
    let alpha = Provider::start().await;
    let sidecar = with_three(&alpha).await;
    sidecar.ask(asking("alpha/m", "question one", false)).await;
    let stats = get(&sidecar, "/api/v1/cache").await.json();
    for (pointer, wanted) in [
        ("/exchanges", json!(3)),
        ("/fresh", json!(3)),
        ("/by_target", json!({"alpha/m": 3})),
        ("/by_status", json!({"200": 3})),
        ("/since_start/hit", json!(1)),
        ("/since_start/miss", json!(3)),
        ("/max_bytes", json!(1 << 30)),
    ] {
        assert_eq!(stats.pointer(pointer), Some(&wanted), "{pointer} of {stats}");
    }
    assert!(stats["oldest_ms"].as_i64().unwrap() <= stats["newest_ms"].as_i64().unwrap());
    assert!(stats["packed_bytes"].as_u64().unwrap() > 0);
    sidecar.stop().await;
}

/// The answers are asked for with another credential than they were recorded with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_replays_byte_for_byte_in_an_empty_directory() {
    let alpha = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &alpha)])).await;
    let stream = asking("alpha/m", "stream", true);
    let asked = [asking("alpha/m", "whole ü", false), stream, asking("alpha/m", "fails", false)];
    alpha.expect(Answer::saying("grüße"));
    alpha.expect(Answer::stream([vec![delta("str"), delta("ééé")], ending()].concat()));
    alpha.expect(Answer::error(500));
    let ask = async |sidecar: &Sidecar, body: &str, key: &str| {
        whole(sidecar.chat(body.to_owned()).header("authorization", key)).await
    };
    let mut first = Vec::new();
    for body in &asked {
        first.push(ask(&sidecar, body, "Bearer sk-of-the-recording").await);
    }
    let exported = get(&sidecar, "/api/v1/exchanges/export").await;
    assert_eq!(exported.header("content-type"), "application/x-ndjson");
    let lines = exported.text();
    assert_eq!(lines.lines().count(), 3);
    assert!(!lines.contains("sk-of"), "no credential leaves");
    sidecar.stop().await;

    let mut config = config(&[("alpha", &alpha)]);
    config.cache.mode = CacheMode::Replay;
    let sidecar = Sidecar::start(config).await;
    let with_wrong = format!("{lines}\nnot json\n{{\"understudy\":9}}\n");
    let imported = import(&sidecar, &with_wrong).await.json();
    assert_eq!((&imported["added"], &imported["wrong"]), (&json!(3), &json!(2)), "{imported}");
    let wrong: Vec<u64> = imported["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["line"].as_u64().unwrap())
        .collect();
    assert_eq!(wrong, [5, 6], "{imported}");
    let again = import(&sidecar, &lines).await.json();
    assert_eq!((&again["added"], &again["known"]), (&json!(0), &json!(3)));
    for round in 0..2 {
        for (body, first) in asked.iter().zip(&first).take(2) {
            let reply = ask(&sidecar, body, &format!("Bearer other-{round}")).await;
            assert_eq!((reply.status, &reply.body), (200, &first.body), "{}", reply.text());
        }
    }
    assert_eq!(
        ask(&sidecar, &asked[2], "Bearer other").await.status,
        504,
        "a failure is no answer"
    );
    sidecar.stop().await;
}
