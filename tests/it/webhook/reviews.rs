//! What the webhook answers to reviews, and to whatever else arrives.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use understudy::metrics::webhook::Metrics;
use understudy::sidecar::Operation;
use understudy::sidecar::apply;
use understudy::webhook::Webhook;
use understudy::webhook::authority::Authority;
use understudy::webhook::presented::Presented;

use crate::harness;
use crate::harness::within;
use crate::shared;
use crate::webhook::Clock;
use crate::webhook::HOST;
use crate::webhook::api_server;
use crate::webhook::asked;
use crate::webhook::pod;
use crate::webhook::review;
use crate::webhook::serve;
use crate::webhook::url;

/// A webhook with a certificate, and somebody who trusts it.
async fn started() -> (Webhook, reqwest::Client) {
    let now = Timestamp::now();
    let (presented, authority) = (Arc::new(Presented::default()), Authority::found(now).unwrap());
    let pair = authority.issue(&[HOST.to_owned()], now).unwrap();
    presented.show(pair.certificate.pem().as_bytes(), &pair.key).unwrap();
    let webhook = serve(presented, Arc::default()).await;
    let client = api_server(webhook.listen, &authority.certificate.pem(), Clock::at(now));
    (webhook, client)
}

/// The pod as it is after the patch of an answer.
fn patched(object: &Value, answer: &Value) -> Value {
    let mut object = object.clone();
    if let Some(patch) = answer["response"]["patch"].as_str() {
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
        let patch: Vec<Operation> =
            serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
        assert!(!patch.is_empty());
        apply(&mut object, &patch);
    }
    object
}

#[tokio::test]
async fn reviews_of_a_real_api_server_inject_once_and_change_nothing_the_second_time() {
    let Some(folder) = shared::data("admission") else { return };
    let (webhook, client) = started().await;
    let mut seen = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let mut asked: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let answer = review(&client, webhook.listen, &asked).await.unwrap();
        assert_eq!(answer["response"]["uid"], asked["request"]["uid"], "{path:?}");
        assert_eq!(answer["response"]["allowed"], true);
        let before = asked["request"]["object"].clone();
        let after = patched(&before, &answer);
        let containers = |pod: &Value| {
            let all = pod["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
            let all = all.into_iter().chain(pod["spec"]["containers"].as_array().unwrap().clone());
            all.filter(|container| container["name"] == "understudy").count()
        };
        // Where its ports would be everybody's there is none, and who created the pod is told.
        let is_refused = before["spec"]["hostNetwork"] == true;
        assert_eq!(containers(&after), usize::from(!is_refused), "{path:?}");
        assert!(!is_refused || answer["response"]["warnings"][0].is_string());
        asked["request"]["object"] = after.clone();
        let again = review(&client, webhook.listen, &asked).await.unwrap();
        assert_eq!(patched(&after, &again), after, "{path:?}");
        seen += 1;
    }
    assert!(seen >= 10, "{seen} requests");
}

#[tokio::test]
async fn what_is_no_review_is_refused_and_the_next_one_is_answered() {
    let (webhook, client) = started().await;
    let post = |kind: &'static str, body: Vec<u8>| {
        client.post(url(webhook.listen)).header("content-type", kind).body(body)
    };
    let json = "application/json";
    let old = asked(&pod()).to_string().replace("k8s.io/v1", "k8s.io/v1beta1");
    let elsewhere = url(webhook.listen).replace("mutate", "validate");
    let long = asked(&json!({"metadata": {"name": "x".repeat(4 << 20)}})).to_string();
    let deep = "{\"a\":".repeat(100_000);
    for (request, status) in [
        (client.get(url(webhook.listen)), 405),
        (client.post(elsewhere).header("content-type", json), 404),
        (post("text/plain", asked(&pod()).to_string().into()), 400),
        (post(json, Vec::new()), 400),
        (post(json, b"\xff\xfe{}".to_vec()), 400),
        (post(json, b"{\"apiVersion\": \"admission.k8s.io/v1\"".to_vec()), 400),
        (post(json, old.into()), 400),
        (post(json, deep.into()), 400),
        (post(json, long.into()), 413),
    ] {
        let answer = within("an answer", request.send()).await.unwrap();
        let (got, said) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(got, status, "{said}");
        let answer = review(&client, webhook.listen, &asked(&pod())).await.unwrap();
        assert_eq!(answer["response"]["allowed"], true);
    }
    let plain = format!("http://{}/metrics", webhook.health);
    let text = harness::client().build().unwrap().get(plain).send().await.unwrap();
    let text = text.text().await.unwrap();
    for line in [
        "understudy_webhook_reviews_total{outcome=\"injected\"} 9",
        "understudy_webhook_reviews_total{outcome=\"bad_request\"} 6",
        "understudy_webhook_reviews_total{outcome=\"too_large\"} 1",
        "understudy_webhook_review_seconds_count 16",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn who_speaks_no_tls_or_says_nothing_keeps_nobody_else_waiting() {
    let (webhook, client) = started().await;
    let silent = TcpStream::connect(webhook.listen).await.unwrap();
    let mut plain = TcpStream::connect(webhook.listen).await.unwrap();
    plain.write_all(b"POST /mutate HTTP/1.1\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ended = within("the end", plain.read_to_end(&mut said)).await;
    review(&client, webhook.listen, &asked(&pod())).await.unwrap();
    drop(silent);
}

async fn probe(health: SocketAddr, path: &str) -> u16 {
    let client = harness::client().build().unwrap();
    client.get(format!("http://{health}{path}")).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn it_is_ready_once_there_is_a_certificate() {
    let presented = Arc::new(Presented::default());
    let webhook = serve(presented.clone(), Arc::new(Metrics::new())).await;
    let authority = Authority::found(Timestamp::now()).unwrap();
    let client =
        api_server(webhook.listen, &authority.certificate.pem(), Clock::at(Timestamp::now()));
    review(&client, webhook.listen, &asked(&pod())).await.unwrap_err();
    let health = webhook.health;
    assert_eq!((probe(health, "/livez").await, probe(health, "/readyz").await), (200, 503));
    let pair = authority.issue(&[HOST.to_owned()], Timestamp::now()).unwrap();
    presented.show(pair.certificate.pem().as_bytes(), &pair.key).unwrap();
    assert_eq!(probe(health, "/readyz").await, 200);
    review(&client, webhook.listen, &asked(&pod())).await.unwrap();
}
