//! How replicas keep one certificate in a Secret, whatever the Kubernetes API does.

use std::fs;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use tokio::sync::Barrier;
use understudy::error::Kind;
use understudy::secrets::kubernetes;
use understudy::webhook::authority::Authority;
use understudy::webhook::keeper::Round;
use understudy::webhook::presented::Presented;

use crate::harness::cluster::Cluster;
use crate::harness::cluster::Fault;
use crate::webhook::CONFIGURATION;
use crate::webhook::Clock;
use crate::webhook::Replica;
use crate::webhook::SECRET;
use crate::webhook::api_server;
use crate::webhook::asked;
use crate::webhook::bundle;
use crate::webhook::configuration;
use crate::webhook::day;
use crate::webhook::pod;
use crate::webhook::review;
use crate::webhook::serve;

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.put(CONFIGURATION, configuration());
    cluster
}

/// What the replica shows is believed by who reads the configuration, on that day.
async fn is_believed(replica: &Replica, cluster: &Cluster, on: i64) -> bool {
    let webhook = replica.serve().await;
    let client = api_server(webhook.listen, &bundle(cluster), Clock::at(day(on)));
    let answered = review(&client, webhook.listen, &asked(&pod())).await;
    answered.is_ok_and(|answer| answer["response"]["allowed"] == true)
}

fn decoded(secret: &Value, key: &str) -> String {
    let text = secret["data"][key].as_str().unwrap_or_default();
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

#[tokio::test]
async fn from_nothing_a_secret_is_made_and_the_api_server_is_told_whom_to_trust() {
    let (cluster, now) = (cluster().await, day(0));
    let replica = Replica::of(&cluster);
    assert!(!replica.presented.is_ready());
    assert_eq!(replica.keeper.round(now).await.unwrap(), Round::Settled);
    assert!(replica.presented.is_ready());
    assert!(is_believed(&replica, &cluster, 0).await);
    let secret = cluster.get(SECRET).unwrap();
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(decoded(&secret, "ca.crt"), bundle(&cluster));
    let told = cluster.get(CONFIGURATION).unwrap();
    let told = |at: usize| told["webhooks"][at]["clientConfig"]["caBundle"].clone();
    assert_eq!((told(0) == told(2), told(1)), (true, Value::Null), "each of ours, and no other");
    let rights = [
        format!("GET {CONFIGURATION}"),
        format!("GET {SECRET}"),
        "POST /api/v1/namespaces/apps/secrets".to_owned(),
        format!("PATCH {CONFIGURATION}"),
    ];
    assert_eq!(cluster.calls(), rights);
    assert_eq!(replica.keeper.round(now).await.unwrap(), Round::Settled);
    assert_eq!(cluster.calls(), rights[..2], "nothing is written that is as it should be");
}

#[tokio::test]
async fn a_replica_that_comes_later_shows_what_is_there() {
    let cluster = cluster().await;
    Replica::of(&cluster).keeper.round(day(0)).await.unwrap();
    let secret = cluster.get(SECRET);
    let second = Replica::of(&cluster);
    second.keeper.round(day(1)).await.unwrap();
    assert!(is_believed(&second, &cluster, 1).await);
    assert_eq!(cluster.get(SECRET), secret);
}

#[tokio::test]
async fn of_two_that_begin_or_renew_at_once_one_wins_and_the_other_reads() {
    let cluster = cluster().await;
    let (a, b) = (Replica::of(&cluster), Replica::of(&cluster));
    for (on, verb) in [(0, "POST"), (5, "PUT")] {
        let meet = Arc::new(Barrier::new(2));
        for _ in 0..2 {
            cluster.fault(Method::GET, SECRET, Fault::Meet(meet.clone()));
        }
        let (first, second) = tokio::join!(a.keeper.round(day(on)), b.keeper.round(day(on)));
        first.unwrap();
        second.unwrap();
        let tried = cluster.calls().iter().filter(|call| call.starts_with(verb)).count();
        assert_eq!(tried, 2, "both tried to {verb}");
        // Whoever patched second may have been told to look again.
        a.keeper.round(day(on)).await.unwrap();
        b.keeper.round(day(on)).await.unwrap();
        cluster.calls();
        assert!(is_believed(&a, &cluster, on).await);
        assert!(is_believed(&b, &cluster, on).await);
        let secret = cluster.get(SECRET).unwrap();
        assert_eq!(decoded(&secret, "ca.crt"), bundle(&cluster));
    }
    let text = a.metrics.text() + &b.metrics.text();
    let count = |change: &str| text.matches(&format!("{{change=\"{change}\"}} 1")).count();
    assert_eq!((count("beginning"), count("certificate")), (1, 1), "{text}");
}

#[tokio::test]
async fn an_api_that_fails_at_the_start_is_asked_until_it_answers() {
    let cluster = cluster().await;
    let replica = Replica::of(&cluster);
    for (method, fault, kind, said) in [
        (
            Method::GET,
            403,
            Kind::Config,
            "denies GET /api/v1/namespaces/apps/secrets/tls: secrets is forbidden",
        ),
        (Method::GET, 500, Kind::Overloaded, "answered 500"),
        (Method::GET, 429, Kind::Overloaded, "answered 429"),
        (Method::POST, 403, Kind::Config, "denies POST"),
        (Method::POST, 503, Kind::Overloaded, "answered 503"),
    ] {
        cluster.fault(method, "/secrets", Fault::Status(fault));
        let error = replica.keeper.round(day(0)).await.unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(error.detail.contains(said), "{error}");
        assert!(!replica.presented.is_ready());
    }
    replica.keeper.round(day(0)).await.unwrap();
    assert!(is_believed(&replica, &cluster, 0).await);
}

#[tokio::test]
async fn nobody_at_the_address_is_an_error_that_says_so() {
    let cluster = cluster().await;
    let url = cluster.url.clone();
    drop(cluster);
    let mut gone = Cluster::start().await;
    gone.url = url;
    let error = Replica::of(&gone).keeper.round(day(0)).await.unwrap_err();
    assert!(error.detail.contains("the Kubernetes API cannot be reached"), "{error}");
}

#[tokio::test]
async fn what_is_shown_stays_while_the_api_is_away() {
    let cluster = cluster().await;
    let replica = Replica::of(&cluster);
    replica.keeper.round(day(0)).await.unwrap();
    for method in [Method::GET, Method::PUT] {
        cluster.fault(method, SECRET, Fault::Status(500));
        replica.keeper.round(day(5)).await.unwrap_err();
        assert!(is_believed(&replica, &cluster, 5).await);
    }
}

#[tokio::test]
async fn reviews_do_not_wait_for_a_slow_api() {
    let cluster = cluster().await;
    let replica = Replica::of(&cluster);
    replica.keeper.round(day(0)).await.unwrap();
    let answered = Arc::new(Barrier::new(2));
    cluster.fault(Method::GET, SECRET, Fault::Meet(answered.clone()));
    let meanwhile = async {
        assert!(is_believed(&replica, &cluster, 1).await);
        answered.wait().await;
    };
    let (round, ()) = tokio::join!(replica.keeper.round(day(1)), meanwhile);
    assert_eq!(round.unwrap(), Round::Settled);
}

#[tokio::test]
async fn without_a_configuration_it_serves_and_says_what_is_missing() {
    let cluster = Cluster::start().await;
    let replica = Replica::of(&cluster);
    let error = replica.keeper.round(day(0)).await.unwrap_err();
    assert!(error.detail.contains("no MutatingWebhookConfiguration understudy"), "{error}");
    assert!(replica.presented.is_ready());
    let mut other = configuration();
    other["webhooks"].as_array_mut().unwrap().retain(|webhook| webhook["name"] == "b.test");
    cluster.put(CONFIGURATION, other);
    let error = replica.keeper.round(day(0)).await.unwrap_err();
    assert!(error.detail.contains("leads to the Service hook in apps"), "{error}");
    cluster.put(CONFIGURATION, configuration());
    cluster.fault(Method::PATCH, CONFIGURATION, Fault::Status(403));
    replica.keeper.round(day(0)).await.unwrap_err();
    replica.keeper.round(day(0)).await.unwrap();
    assert!(is_believed(&replica, &cluster, 0).await);
}

#[tokio::test]
async fn who_finds_the_configuration_changed_looks_again() {
    let cluster = cluster().await;
    let replica = Replica::of(&cluster);
    cluster.fault(Method::PATCH, CONFIGURATION, Fault::Status(409));
    assert_eq!(replica.keeper.round(day(0)).await.unwrap(), Round::Again);
    assert_eq!(replica.keeper.round(day(0)).await.unwrap(), Round::Settled);
    // Somebody applies the chart again, which does not have the field.
    cluster.put(CONFIGURATION, configuration());
    assert_eq!(replica.keeper.round(day(0)).await.unwrap(), Round::Settled);
    assert!(is_believed(&replica, &cluster, 0).await);
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_as_it_is() {
    let cluster = cluster().await;
    let theirs =
        json!({"metadata": {"name": "tls"}, "data": {"tls.crt": "eA==", "tls.key": "eA=="}});
    cluster.put(SECRET, theirs);
    let before = cluster.get(SECRET);
    let error = Replica::of(&cluster).keeper.round(day(0)).await.unwrap_err();
    assert!(error.detail.contains("a certificate from elsewhere"), "{error}");
    assert_eq!(cluster.get(SECRET), before);
}

#[tokio::test]
async fn an_empty_or_damaged_secret_is_filled_and_keeps_its_labels() {
    let cluster = cluster().await;
    let damaged = json!({"ca.crt": "eA==", "ca.key": "eA==", "tls.crt": "eA==", "tls.key": "eA=="});
    for data in [Value::Null, json!({}), damaged] {
        let metadata = json!({"name": "tls", "labels": {"team": "platform"}});
        cluster.put(SECRET, json!({"metadata": metadata, "type": "Opaque", "data": data}));
        let replica = Replica::of(&cluster);
        replica.keeper.round(day(0)).await.unwrap();
        assert!(is_believed(&replica, &cluster, 0).await);
        let secret = cluster.get(SECRET).unwrap();
        assert_eq!(
            (&secret["metadata"]["labels"]["team"], &secret["type"]),
            (&json!("platform"), &json!("Opaque"))
        );
    }
}

#[tokio::test]
async fn a_deleted_secret_ends_the_trust_in_everything_before() {
    let cluster = cluster().await;
    let replica = Replica::of(&cluster);
    replica.keeper.round(day(0)).await.unwrap();
    let before = bundle(&cluster);
    cluster.delete(SECRET);
    replica.keeper.round(day(1)).await.unwrap();
    assert!(is_believed(&replica, &cluster, 1).await);
    assert!(!bundle(&cluster).contains(&before));
}

#[tokio::test]
async fn a_token_that_is_replaced_is_read_again() {
    let cluster = cluster().await;
    let replica = Replica::of(&cluster);
    replica.keeper.round(day(0)).await.unwrap();
    cluster.new_token("second");
    replica.keeper.round(day(0)).await.unwrap();
}

#[tokio::test]
async fn an_api_over_tls_is_believed_for_the_authority_of_the_account_and_no_other() {
    let (cluster, now) = (Cluster::start().await, Timestamp::now());
    let (ours, other) = (Authority::found(now).unwrap(), Authority::found(now).unwrap());
    // What answers there is no API, but it is known by its certificate.
    let (presented, pair) =
        (Arc::new(Presented::default()), ours.issue(&["127.0.0.1".into()], now));
    let pair = pair.unwrap();
    presented.show(pair.certificate.pem().as_bytes(), &pair.key).unwrap();
    let webhook = serve(presented, Arc::default()).await;
    let api = format!("https://{}/", webhook.listen);
    let api = kubernetes::Cluster::new(&api, cluster.account.path().to_owned());
    let file = cluster.account.path().join("ca.crt");
    for (authority, said) in [(&other, "cannot be reached"), (&ours, "answered 405")] {
        fs::write(&file, authority.certificate.pem()).unwrap();
        let error = api.get("/mutate").await.unwrap_err();
        assert!(error.detail.contains(said), "{error}");
    }
}
