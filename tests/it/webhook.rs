//! The webhook between an API server and the small Kubernetes API of the harness.

mod keeping;
mod process;
mod reviews;
mod rotation;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use rustls::time_provider::TimeProvider;
use serde_json::Value;
use serde_json::json;
use understudy::metrics::webhook::Metrics;
use understudy::secrets::kubernetes;
use understudy::sidecar::Settings;
use understudy::webhook::Parts;
use understudy::webhook::Webhook;
use understudy::webhook::keeper::Keeper;
use understudy::webhook::keeper::Names;
use understudy::webhook::presented::Presented;

use crate::harness::cluster::Cluster;

const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/understudy";
const SECRET: &str = "/api/v1/namespaces/apps/secrets/tls";

/// Where the API server thinks that it is.
const HOST: &str = "hook.apps.svc";

/// A moment of a replica's life.
fn day(number: i64) -> Timestamp {
    let first: Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
    first + SignedDuration::from_hours(24 * number)
}

/// What the chart would install: two webhooks that lead here, and one that does not.
fn configuration() -> Value {
    let leads = |name: &str, service: &str| {
        let service = json!({"name": service, "namespace": "apps", "path": "/mutate"});
        json!({"name": name, "clientConfig": {"service": service}, "failurePolicy": "Ignore"})
    };
    let webhooks = [leads("a.test", "hook"), leads("b.test", "other"), leads("c.test", "hook")];
    json!({"metadata": {"name": "understudy"}, "webhooks": webhooks})
}

/// One of several that share a Secret.
struct Replica {
    keeper: Keeper,
    presented: Arc<Presented>,
    metrics: Arc<Metrics>,
}

impl Replica {
    fn of(cluster: &Cluster) -> Self {
        let (presented, metrics) = (Arc::new(Presented::default()), Arc::new(Metrics::new()));
        let names = Names {
            namespace: "apps".to_owned(),
            service: "hook".to_owned(),
            secret: "tls".to_owned(),
            configuration: "understudy".to_owned(),
        };
        let api = kubernetes::Cluster::new(&cluster.url, cluster.account.path().to_owned());
        let keeper = Keeper::new(api, names, presented.clone(), metrics.clone());
        Self { keeper, presented, metrics }
    }

    async fn serve(&self) -> Webhook {
        serve(self.presented.clone(), self.metrics.clone()).await
    }
}

async fn serve(presented: Arc<Presented>, metrics: Arc<Metrics>) -> Webhook {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = Settings::new("understudy:1").unwrap();
    let parts = Parts { listen: free, health: free, settings, presented, metrics };
    Webhook::start(parts).await.unwrap()
}

/// Whom the API server is told to trust, PEM.
fn bundle(cluster: &Cluster) -> String {
    let configuration = cluster.get(CONFIGURATION).unwrap();
    let told = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str();
    String::from_utf8(STANDARD.decode(told.unwrap_or_default()).unwrap()).unwrap()
}

/// A clock that a test sets.
#[derive(Debug, Default)]
struct Clock(AtomicI64);

impl Clock {
    fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(now.as_second().into()))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn set(&self, now: Timestamp) {
        self.0.store(now.as_second(), Ordering::SeqCst);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.now().as_second()).unwrap();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// A client that trusts a bundle and nobody else, as an API server does, on its own connections.
fn api_server(address: SocketAddr, bundle: &str, clock: Arc<Clock>) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_details(provider, clock)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec!["h2".into()];
    let builder = reqwest::Client::builder().no_proxy().resolve(HOST, address);
    builder.tls_backend_preconfigured(tls).build().unwrap()
}

fn url(address: SocketAddr) -> String {
    format!("https://{HOST}:{}/mutate", address.port())
}

/// A review of a pod that nobody has seen.
fn asked(object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": "apps", "operation": "CREATE", "object": object,
        },
    })
}

fn pod() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app", "image": "a"}]}})
}

/// Sends a review; what comes back, or why nothing does.
async fn review(
    client: &reqwest::Client,
    address: SocketAddr,
    review: &Value,
) -> Result<Value, String> {
    let request = client.post(url(address)).header("content-type", "application/json");
    let sent = request.body(review.to_string()).send().await;
    let answer = sent.map_err(|error| format!("{error:?}"))?;
    let (status, body) = (answer.status(), answer.bytes().await);
    let body = body.map_err(|error| format!("{error:?}"))?;
    match status.is_success() {
        true => Ok(serde_json::from_slice(&body).unwrap()),
        false => Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
    }
}
