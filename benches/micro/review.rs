//! Reviews of the webhook: alone, and over TLS as an API server asks.

use std::fs;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use criterion::Criterion;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use tokio::runtime::Runtime;
use understudy::sidecar::Settings;
use understudy::webhook::Parts;
use understudy::webhook::Webhook;
use understudy::webhook::authority::Authority;
use understudy::webhook::presented::Presented;
use understudy::webhook::review::review;

/// Where the API server thinks that it is.
const HOST: &str = "hook.apps.svc";

/// Reviews that are under way at a time, on one connection.
const AT_ONCE: usize = 16;

/// Both measures; the second is CPU time of the server's thread, not time that passes.
pub fn reviews(c: &mut Criterion) {
    let (asked, settings) = (asked().to_string(), settings());
    let mut group = c.benchmark_group("review");
    group.bench_function(format!("{} KB, alone", asked.len() >> 10), |b| {
        b.iter(|| review(black_box(asked.as_bytes()), &settings).unwrap());
    });
    let (server, client) = (Server::start(), Runtime::new().unwrap());
    let once = |client: &reqwest::Client| {
        let url = format!("https://{HOST}:{}/mutate", server.address.port());
        let request = client.post(url).header("content-type", "application/json");
        request.body(asked.clone()).send()
    };
    let api_server = server.client();
    group.bench_function("over TLS on one connection, CPU time of the server", |b| {
        b.iter_custom(|times| {
            let before = server.cpu();
            client.block_on(async {
                for _ in 0..times.div_ceil(AT_ONCE as u64) {
                    for answer in join_all((0..AT_ONCE).map(|_| once(&api_server))).await {
                        assert!(answer.unwrap().bytes().await.unwrap().len() > 100);
                    }
                }
            });
            let asked = times.next_multiple_of(AT_ONCE as u64);
            (server.cpu() - before).mul_f64(times as f64 / asked as f64)
        });
    });
    group.finish();
}

/// A webhook on a thread of its own, so that its CPU time can be told from the client's.
struct Server {
    address: SocketAddr,
    authority: Authority,
    /// Below `/proc`.
    thread: String,
}

impl Server {
    fn start() -> Self {
        let authority = Authority::found(Timestamp::now()).unwrap();
        let pair = authority.issue(&[HOST.to_owned()], Timestamp::now()).unwrap();
        let presented = Arc::new(Presented::default());
        presented.show(pair.certificate.pem().as_bytes(), &pair.key).unwrap();
        let (tell, told) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let free = SocketAddr::from(([127, 0, 0, 1], 0));
                let (settings, metrics) = (settings(), Arc::default());
                let parts = Parts { listen: free, health: free, settings, presented, metrics };
                let webhook = Webhook::start(parts).await.unwrap();
                let thread = fs::read_link("/proc/thread-self").unwrap();
                tell.send((webhook.listen, thread.display().to_string())).unwrap();
                std::future::pending::<()>().await;
            });
        });
        let (address, thread) = told.recv().unwrap();
        Self { address, authority, thread }
    }

    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/schedstat", self.thread)).unwrap();
        Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
    }

    fn client(&self) -> reqwest::Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.certificate.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec!["h2".into()];
        let builder = reqwest::Client::builder().no_proxy().resolve(HOST, self.address);
        builder.tls_backend_preconfigured(tls).build().unwrap()
    }
}

fn settings() -> Settings {
    Settings::new("understudy:1").unwrap()
}

/// A review as API servers send it, with what they add to a pod and who manages which field.
fn asked() -> Value {
    let env = |n: usize| json!({"name": format!("SETTING_{n}"), "value": "some value of it"});
    let container = |name: &str| {
        json!({
            "name": name, "image": "example.invalid/app:1", "imagePullPolicy": "IfNotPresent",
            "env": (0..12).map(env).collect::<Vec<_>>(), "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "volumeMounts": [{"name": "kube-api-access-x", "readOnly": true, "mountPath": "/a"}],
        })
    };
    let managed = |n: usize| (format!("k:{{\"name\":\"SETTING_{n}\"}}"), json!({"f:value": {}}));
    let managed: serde_json::Map<_, _> = (0..24).map(managed).collect();
    let managed = json!({"manager": "kube-controller-manager", "fieldsV1": {"f:env": managed}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "web-7d4b9c-", "labels": {"understudy.dev/inject": "true"},
            "managedFields": [managed],
        },
        "spec": {
            "containers": [container("app"), container("worker")], "restartPolicy": "Always",
            "serviceAccountName": "default", "schedulerName": "default-scheduler",
        },
    });
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "739f83e9-5407-4013-98ac-a57f8b081eb5",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": "apps", "operation": "CREATE", "object": pod, "oldObject": null,
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        },
    })
}
