//! A small Kubernetes API: objects with versions, conflicts, and faults on demand.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::Uri;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

/// What happens to a call instead of its answer, or before it.
#[derive(Clone)]
pub enum Fault {
    /// This status.
    Status(u16),
    /// The answer as it was, once so many have come.
    Meet(Arc<Barrier>),
}

/// The API, and the folder of a service account that may use it.
pub struct Cluster {
    pub url: String,
    pub account: TempDir,
    held: Arc<Mutex<Held>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Held {
    objects: BTreeMap<String, Value>,
    version: u64,
    token: String,
    faults: VecDeque<(Method, &'static str, Fault)>,
    calls: Vec<String>,
}

impl Cluster {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let held = Arc::new(Mutex::new(Held::default()));
        let router = Router::new().fallback(answer).with_state(held.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let cluster = Self { url, account: TempDir::new().unwrap(), held, server };
        cluster.new_token("first");
        std::fs::write(cluster.account.path().join("namespace"), "apps").unwrap();
        cluster
    }

    /// From now on the account has another token.
    pub fn new_token(&self, token: &str) {
        std::fs::write(self.account.path().join("token"), token).unwrap();
        self.held.lock().unwrap().token = format!("Bearer {token}");
    }

    /// Puts an object there as somebody else would.
    pub fn put(&self, path: &str, object: Value) {
        self.held.lock().unwrap().store(path, object);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.held.lock().unwrap().objects.get(path).cloned()
    }

    pub fn delete(&self, path: &str) {
        self.held.lock().unwrap().objects.remove(path);
    }

    /// The next call of this method to a path with this part; each fault happens once.
    pub fn fault(&self, method: Method, part: &'static str, fault: Fault) {
        self.held.lock().unwrap().faults.push_back((method, part, fault));
    }

    /// Method and path of each call since this was last asked.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.held.lock().unwrap().calls)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Held {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn fault(&mut self, method: &Method, path: &str) -> Option<Fault> {
        let is_meant = |(m, part, _): &(Method, &str, Fault)| m == method && path.contains(part);
        let at = self.faults.iter().position(is_meant)?;
        self.faults.remove(at).map(|(_, _, fault)| fault)
    }

    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let there = self.objects.get(path).cloned();
        let version = &body["metadata"]["resourceVersion"];
        let is_stale = |there: &Value| there["metadata"]["resourceVersion"] != *version;
        match (method.as_str(), there) {
            ("GET", Some(there)) => (200, there),
            ("POST", _) => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                match self.objects.contains_key(&path) {
                    true => (409, json!({"reason": "AlreadyExists"})),
                    false => (201, self.store(&path, body.clone())),
                }
            }
            ("PUT" | "PATCH", Some(there)) if is_stale(&there) => {
                (409, json!({"reason": "Conflict"}))
            }
            ("PUT", Some(_)) => (200, self.store(path, body.clone())),
            ("PATCH", Some(mut there)) => {
                for told in body["webhooks"].as_array().unwrap() {
                    let all = there["webhooks"].as_array_mut().unwrap();
                    let same = all.iter_mut().find(|webhook| webhook["name"] == told["name"]);
                    same.unwrap()["clientConfig"]["caBundle"] =
                        told["clientConfig"]["caBundle"].clone();
                }
                (200, self.store(path, there))
            }
            _ => (404, json!({"reason": "NotFound"})),
        }
    }
}

async fn answer(
    State(held): State<Arc<Mutex<Held>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path();
    let fault = {
        let mut held = held.lock().unwrap();
        held.calls.push(format!("{method} {path}"));
        held.fault(&method, path)
    };
    let status = |code: u16| StatusCode::from_u16(code).unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let answered = || {
        let mut held = held.lock().unwrap();
        if headers.get("authorization").is_none_or(|token| token != held.token.as_str()) {
            return (401, json!({"reason": "Unauthorized"}));
        }
        if method == Method::PATCH {
            assert_eq!(headers["content-type"], "application/strategic-merge-patch+json");
        }
        held.answer(&method, path, &body)
    };
    let (code, said) = match fault {
        Some(Fault::Status(code)) => {
            (code, json!({"message": "secrets is forbidden: User \"u\" cannot do that"}))
        }
        Some(Fault::Meet(others)) => {
            let answered = answered();
            others.wait().await;
            answered
        }
        None => answered(),
    };
    (status(code), axum::Json(said)).into_response()
}
