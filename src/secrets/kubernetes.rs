//! The Kubernetes API, as a pod's service account may use it.
//!
//! Source: <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use http::Method;
use http::StatusCode;
use reqwest::Client;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::config::stores::Given;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::secrets::answer::Answer;
use crate::secrets::lock;
use crate::secrets::vault::given;

/// The name in messages.
const WHO: &str = "the Kubernetes API";

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(8);

/// How long a connection is kept for the next call, which is often a minute away: by then somebody
/// between may have forgotten it.
const KEPT: Duration = Duration::from_secs(5);

/// The most characters of what it says that are told on.
const QUOTED: usize = 300;

/// The API of the cluster around this pod.
pub struct Cluster {
    address: String,
    account: PathBuf,
    /// Trusts the authorities that were read last.
    client: Mutex<Option<(Vec<u8>, Client)>>,
}

/// How writing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// As asked.
    Done,
    /// Somebody else has written meanwhile: read again.
    Conflict,
}

impl Cluster {
    /// The API at `address`, for the service account whose `token` and `ca.crt` are in a folder;
    /// both are read again, since they change.
    pub fn new(address: &str, account: PathBuf) -> Self {
        // A second installation in one process, as in tests, changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = address.trim_end_matches('/').to_owned();
        Self { address, account, client: Mutex::default() }
    }

    /// The object at a path, if there is one.
    ///
    /// # Errors
    /// The API cannot be reached, or refuses.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        let answer = self.ask(Method::GET, path, None).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.json())),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(&Method::GET, path, &answer)),
        }
    }

    /// Makes an object in the collection at a path; a conflict is one of the same name.
    ///
    /// # Errors
    /// The API cannot be reached, or refuses.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Written> {
        self.write(Method::POST, path, ("application/json", object)).await
    }

    /// Replaces the object at a path, if it is still of the version that `object` names.
    ///
    /// # Errors
    /// The API cannot be reached, or refuses.
    pub async fn put(&self, path: &str, object: &Value) -> Result<Written> {
        self.write(Method::PUT, path, ("application/json", object)).await
    }

    /// Merges into the object at a path, items of lists by their names, if it is still of the
    /// version that `part` names.
    ///
    /// # Errors
    /// The API cannot be reached, or refuses.
    pub async fn patch(&self, path: &str, part: &Value) -> Result<Written> {
        let kind = "application/strategic-merge-patch+json";
        self.write(Method::PATCH, path, (kind, part)).await
    }

    async fn write(&self, method: Method, path: &str, body: (&str, &Value)) -> Result<Written> {
        let answer = self.ask(method.clone(), path, Some(body)).await?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => Ok(Written::Done),
            StatusCode::CONFLICT => Ok(Written::Conflict),
            _ => Err(refused(&method, path, &answer)),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Answer> {
        let token = given(&Given::File(self.account.join("token"))).await?;
        let bearer = format!("Bearer {}", token.expose_secret());
        let wrong =
            |_| Error::new(Kind::Config, "the service account's token is no header's value");
        let mut bearer = http::HeaderValue::from_str(&bearer).map_err(wrong)?;
        bearer.set_sensitive(true);
        let url = format!("{}{path}", self.address);
        let mut request = self.client().await?.request(method, url).header("authorization", bearer);
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        Answer::to(request, WHO).await
    }

    /// A client that trusts the cluster's own authorities and nobody else.
    async fn client(&self) -> Result<Client> {
        let authorities = if self.address.starts_with("https:") {
            let path = self.account.join("ca.crt");
            tokio::fs::read(&path).await.map_err(|error| {
                let what = format!("{} cannot be read: {}", path.display(), error.kind());
                Error::new(Kind::Config, what)
            })?
        } else {
            Vec::new()
        };
        if let Some((known, client)) = &*lock(&self.client)
            && *known == authorities
        {
            return Ok(client.clone());
        }
        let client = client(&authorities)?;
        *lock(&self.client) = Some((authorities, client.clone()));
        Ok(client)
    }
}

fn client(authorities: &[u8]) -> Result<Client> {
    let cannot = |error| Error::new(Kind::Config, format!("starting the client of {WHO}: {error}"));
    let authorities = reqwest::Certificate::from_pem_bundle(authorities).map_err(cannot)?;
    let builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(3))
        .timeout(LIMIT)
        .pool_idle_timeout(KEPT)
        .tls_certs_only(authorities);
    builder.build().map_err(cannot)
}

fn refused(method: &Method, path: &str, answer: &Answer) -> Error {
    let status = answer.status.as_u16();
    let told = answer.json();
    let said = told.get("message").and_then(Value::as_str).unwrap_or_default();
    let said: String = said.chars().filter(|c| !c.is_control()).take(QUOTED).collect();
    match status {
        401 => {
            let what = format!("{WHO} does not know the service account (401): check its token");
            Error::new(Kind::Config, what)
        }
        // It names who may not do what; what was sent is not in it.
        403 => Error::new(Kind::Config, format!("{WHO} denies {method} {path}: {said}")),
        404 => Error::new(Kind::Config, format!("{WHO} has no {path}")),
        429 | 500.. => Error::new(Kind::Overloaded, format!("{WHO} answered {status}")),
        _ => Error::new(Kind::Config, format!("{WHO} answered {status} to {method} {path}")),
    }
}
