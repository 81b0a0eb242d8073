//! Reads secrets of Vault and OpenBao, key-value engine version 2, and keeps the session alive.
//!
//! Source: <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>.

use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;
use reqwest::Client;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde_json::Value;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::config::checked_key;
use crate::config::stores::Given;
use crate::config::stores::Login;
use crate::config::stores::Vault;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::secrets::Version;
use crate::secrets::answer::Answer;
use crate::secrets::answer::secret;
use crate::secrets::lock;

/// The name in messages.
const WHO: &str = "vault";

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(8);

/// A server, and the session with it.
pub struct Server {
    settings: Vault,
    client: OnceCell<Client>,
    session: Mutex<Option<Session>>,
    /// One login at a time.
    entering: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Session {
    token: SecretString,
    /// When to renew it, and when it ends; `None`: it does not end.
    life: Option<Life>,
}

#[derive(Clone, Copy)]
struct Life {
    due: Instant,
    ends: Instant,
    is_renewable: bool,
}

impl Server {
    /// A server that was not asked yet.
    pub fn new(settings: Vault) -> Self {
        let (client, session) = (OnceCell::new(), Mutex::default());
        Self { settings, client, session, entering: tokio::sync::Mutex::default() }
    }

    /// When the session has to be renewed, from now.
    pub fn due(&self) -> Option<Duration> {
        let life = lock(&self.session).as_ref()?.life?;
        Some(life.due.saturating_duration_since(Instant::now()))
    }

    /// A field of a secret.
    ///
    /// # Errors
    /// The server is away or sealed, refuses, or has no such secret or field.
    pub async fn read(&self, path: &str, field: &str, version: Version) -> Result<SecretString> {
        let found = self.fetch(path, None).await?;
        let found = match version {
            Version::Current => found,
            Version::Former => {
                let number = found.pointer("/data/metadata/version").and_then(Value::as_u64);
                let before = number.and_then(|number| number.checked_sub(1)).filter(|n| *n > 0);
                let none = || Error::new(Kind::NotFound, format!("{path} has no version before"));
                self.fetch(path, Some(before.ok_or_else(none)?)).await?
            }
        };
        let field_of = found.pointer("/data/data").and_then(|data| data.get(field));
        let key = field_of.and_then(Value::as_str).map(SecretString::from);
        key.ok_or_else(|| {
            let what = format!("{path} has no field {field} that is text: add it, or name another");
            Error::new(Kind::NotFound, what)
        })
    }

    async fn fetch(&self, path: &str, version: Option<u64>) -> Result<Value> {
        let version = version.map(|version| format!("?version={version}")).unwrap_or_default();
        let path_and_query = format!("{path}{version}");
        let token = self.token().await?;
        let mut answer = self.ask("GET", &path_and_query, Some(&token), None).await?;
        if answer.status == StatusCode::FORBIDDEN {
            // The session may have been ended from outside.
            self.leave(&token);
            let token = self.token().await?;
            answer = self.ask("GET", &path_and_query, Some(&token), None).await?;
        }
        match answer.status {
            StatusCode::OK => Ok(answer.json()),
            StatusCode::FORBIDDEN => {
                let what = format!("vault denies {path}: let the policy of its role read it");
                Err(Error::new(Kind::Config, what))
            }
            StatusCode::NOT_FOUND => {
                let what =
                    format!("vault has nothing at {path}: write the secret, or name another");
                Err(Error::new(Kind::Config, what))
            }
            status => Err(unwell(status)),
        }
    }

    /// The token of a session that goes on for a while.
    async fn token(&self) -> Result<SecretString> {
        let _one_at_a_time = self.entering.lock().await;
        let session = lock(&self.session).clone();
        let now = Instant::now();
        if let Some(Session { token, life }) = session {
            match life {
                None => return Ok(token),
                Some(life) if now < life.due => return Ok(token),
                Some(life) if now < life.ends && life.is_renewable => {
                    let renewed = self.renew(&token, life).await;
                    if renewed || now < life.ends - (life.ends - life.due) / 2 {
                        return Ok(token);
                    }
                }
                Some(_) => {}
            }
        }
        let session = self.enter().await?;
        let token = session.token.clone();
        *lock(&self.session) = Some(session);
        Ok(token)
    }

    /// Prolongs a session; says whether it goes on for longer than it would have.
    async fn renew(&self, token: &SecretString, before: Life) -> bool {
        let body = Some(json!({}));
        let asked = self.ask("POST", "auth/token/renew-self", Some(token), body).await;
        let Some(answer) = asked.ok().filter(|answer| answer.status == StatusCode::OK) else {
            return false;
        };
        let life = life(&answer.json(), "/auth/lease_duration", "/auth/renewable");
        let is_longer = life.is_none_or(|life| life.ends > before.ends);
        *lock(&self.session) = Some(Session { token: token.clone(), life });
        is_longer
    }

    async fn enter(&self) -> Result<Session> {
        let login = self.settings.login.as_ref().ok_or_else(|| {
            Error::new(Kind::Config, "nothing says who asks vault: set secrets.vault.auth")
        })?;
        let (mount, body) = match login {
            Login::Token(token) => return self.look_up(given(token).await?).await,
            Login::AppRole { mount, role_id, secret_id } => {
                let secret_id = given(secret_id).await?;
                let secret_id = secret_id.expose_secret();
                (mount, json!({"role_id": role_id, "secret_id": secret_id}))
            }
            Login::Kubernetes { mount, role, token_file } => {
                let token = given(&Given::File(token_file.clone())).await?;
                (mount, json!({"role": role, "jwt": token.expose_secret()}))
            }
        };
        let path = format!("auth/{mount}/login");
        let answer = self.ask("POST", &path, None, Some(body)).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                let status = answer.status.as_u16();
                let what = format!("vault lets nobody in at {path} ({status}): check the role");
                return Err(Error::new(Kind::Config, what));
            }
            status => return Err(unwell(status)),
        }
        let told = answer.json();
        let token = secret(&told, "/auth/client_token")
            .ok_or_else(|| Error::new(Kind::Broken, format!("vault gave no token at {path}")))?;
        Ok(Session { token, life: life(&told, "/auth/lease_duration", "/auth/renewable") })
    }

    /// How long a token from elsewhere lives; one that may not even ask is used as it is.
    async fn look_up(&self, token: SecretString) -> Result<Session> {
        let answer = self.ask("GET", "auth/token/lookup-self", Some(&token), None).await?;
        match answer.status {
            StatusCode::OK | StatusCode::FORBIDDEN => {
                let life = life(&answer.json(), "/data/ttl", "/data/renewable");
                Ok(Session { token, life })
            }
            status => Err(unwell(status)),
        }
    }

    /// Ends the session, if it is still the one with this token.
    fn leave(&self, token: &SecretString) {
        let mut session = lock(&self.session);
        let is_same = |s: &Session| s.token.expose_secret() == token.expose_secret();
        if session.as_ref().is_some_and(is_same) {
            *session = None;
        }
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&SecretString>,
        body: Option<Value>,
    ) -> Result<Answer> {
        let address = self.settings.address.to_string();
        let url = format!("{}/v1/{path}", address.trim_end_matches('/'));
        let client = self.client.get_or_try_init(|| client(&self.settings)).await?;
        let mut request = match method {
            "POST" => client.post(url),
            _ => client.get(url),
        };
        request = request.header("x-vault-request", "true");
        if let Some(namespace) = &self.settings.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(token) = token {
            let mut value = http::HeaderValue::from_str(token.expose_secret()).map_err(|_| {
                Error::new(Kind::Config, "the token for vault is no header's value")
            })?;
            value.set_sensitive(true);
            request = request.header("x-vault-token", value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        Answer::to(request, WHO).await
    }
}

/// The secret itself.
pub async fn given(given: &Given) -> Result<SecretString> {
    let path = match given {
        Given::Known(key) => return Ok(key.secret.clone()),
        Given::File(path) => path,
    };
    let wrong = |why: String| {
        let what = format!("the file {} {why}: check the path and who may read it", path.display());
        Error::new(Kind::Config, what)
    };
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| wrong(format!("cannot be read, {}", error.kind())))?;
    checked_key(&text).ok_or_else(|| wrong("holds no token".to_owned()))
}

async fn client(settings: &Vault) -> Result<Client> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(3))
        .timeout(LIMIT);
    if let Some(path) = &settings.ca_file {
        let wrong = |why: String| {
            Error::new(Kind::Config, format!("the authority of vault, {}: {why}", path.display()))
        };
        let pem = tokio::fs::read(path).await.map_err(|error| wrong(error.to_string()))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem);
        for authority in authorities.map_err(|error| wrong(error.to_string()))? {
            builder = builder.add_root_certificate(authority);
        }
    }
    let cannot =
        |error| Error::new(Kind::Internal, format!("starting the client of vault: {error}"));
    builder.build().map_err(cannot)
}

/// How long a token lives: it is renewed after two thirds of that.
fn life(told: &Value, seconds: &str, renewable: &str) -> Option<Life> {
    let seconds = told.pointer(seconds)?.as_u64().filter(|seconds| *seconds > 0)?;
    let (now, whole) = (Instant::now(), Duration::from_secs(seconds.min(10 * 365 * 86_400)));
    let is_renewable = told.pointer(renewable).and_then(Value::as_bool).unwrap_or_default();
    Some(Life { due: now + whole * 2 / 3, ends: now + whole, is_renewable })
}

fn unwell(status: StatusCode) -> Error {
    let what = match status.as_u16() {
        503 => "vault is sealed: unseal it".to_owned(),
        429 | 472 | 473 => "vault stands by: name the active server".to_owned(),
        status @ 300..400 => format!("vault sends elsewhere ({status}): name the active server"),
        status => format!("vault answered {status}"),
    };
    Error::new(Kind::Overloaded, what)
}
