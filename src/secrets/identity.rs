//! Who this process is to AWS: a key of the environment, or one that lasts for a while.
//!
//! Sources: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>,
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.

use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Client;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde_json::Value;

use crate::config::stores::AwsKey;
use crate::config::stores::AwsLogin;
use crate::config::stores::Given;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::keyring::Key;
use crate::secrets::answer::Answer;
use crate::secrets::answer::secret;
use crate::secrets::aws::code;
use crate::secrets::aws::element;
use crate::secrets::lock;
use crate::secrets::vault::given;

/// How long before its end a key is replaced.
const BEFORE_END: Duration = Duration::from_secs(300);

/// Who asks AWS.
pub struct Identity {
    login: Option<AwsLogin>,
    session: Mutex<Option<Session>>,
    /// For an agent beside this process, which no proxy can reach.
    direct: OnceLock<Client>,
    /// One login at a time.
    entering: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Session {
    key: AwsKey,
    ends: Option<Timestamp>,
}

impl Identity {
    /// Somebody who was not asked yet.
    pub fn new(login: Option<AwsLogin>) -> Self {
        let (session, direct) = (Mutex::default(), OnceLock::new());
        Self { login, session, direct, entering: tokio::sync::Mutex::default() }
    }

    /// A key that lasts for a while yet; `sts` is where a role is taken.
    ///
    /// # Errors
    /// Whoever gives it cannot be reached, or gives none.
    pub async fn key(&self, client: &Client, sts: &str) -> Result<AwsKey> {
        let login = self.login.as_ref().ok_or_else(|| {
            let what = "the environment has no AWS credentials: set AWS_ACCESS_KEY_ID and \
                        AWS_SECRET_ACCESS_KEY, or run with a role";
            Error::new(Kind::Config, what)
        })?;
        let _one_at_a_time = self.entering.lock().await;
        let known = lock(&self.session).clone();
        let lasts = |session: &Session, more: Duration| {
            session.ends.is_none_or(|ends| ends > Timestamp::now() + more)
        };
        if let Some(session) = known.clone().filter(|session| lasts(session, BEFORE_END)) {
            return Ok(session.key);
        }
        let found = match login {
            AwsLogin::Key(key) => Ok(Session { key: key.clone(), ends: None }),
            AwsLogin::WebIdentity { role_arn, token_file, session } => {
                let token = given(&Given::File(token_file.clone())).await;
                match token {
                    Ok(token) => take_role(client, sts, (role_arn, session), &token).await,
                    Err(error) => Err(error),
                }
            }
            AwsLogin::Container { url, token } => self.ask(&url.to_string(), token.as_ref()).await,
        };
        match (found, known) {
            (Ok(session), _) => {
                *lock(&self.session) = Some(session.clone());
                Ok(session.key)
            }
            // The old one goes on to its end.
            (Err(_), Some(known)) if lasts(&known, Duration::ZERO) => Ok(known.key),
            (Err(error), _) => Err(error),
        }
    }

    /// The key is no longer taken.
    pub fn forget(&self) {
        *lock(&self.session) = None;
    }

    /// Asks the agent beside this process.
    async fn ask(&self, url: &str, token: Option<&Given>) -> Result<Session> {
        let client = match self.direct.get() {
            Some(client) => client.clone(),
            None => {
                let client = Client::builder()
                    .no_proxy()
                    .redirect(reqwest::redirect::Policy::none())
                    .timeout(Duration::from_secs(5))
                    .build();
                let cannot = |e| Error::new(Kind::Internal, format!("starting a client: {e}"));
                let client = client.map_err(cannot)?;
                // Whoever comes second keeps a client of its own for this once.
                let _ = self.direct.set(client.clone());
                client
            }
        };
        let mut request = client.get(url);
        if let Some(token) = token {
            let token = given(token).await?;
            let value = http::HeaderValue::from_str(token.expose_secret());
            let wrong = |_| Error::new(Kind::Config, "the agent's token is no header's value");
            let mut value = value.map_err(wrong)?;
            value.set_sensitive(true);
            request = request.header("authorization", value);
        }
        let answer = Answer::to(request, "the agent that gives AWS credentials").await?;
        let told = answer.json();
        let ends = told.get("Expiration").and_then(Value::as_str).map(str::to_owned);
        let id = told.get("AccessKeyId").and_then(Value::as_str).map(str::to_owned);
        let (key, token) = (secret(&told, "/SecretAccessKey"), secret(&told, "/Token"));
        session(id, key, token, ends.as_deref()).ok_or_else(|| {
            let status = answer.status.as_u16();
            let what =
                format!("the agent gives no AWS credentials, {status}: check the pod's role");
            Error::new(Kind::Config, what)
        })
    }
}

/// Takes a role with a token of the pod's service account.
async fn take_role(
    client: &Client,
    sts: &str,
    (role, name): (&str, &str),
    token: &SecretString,
) -> Result<Session> {
    let mut form = String::from("Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
    for (key, value) in
        [("RoleArn", role), ("RoleSessionName", name), ("WebIdentityToken", token.expose_secret())]
    {
        form.push('&');
        form.push_str(key);
        form.push('=');
        value.bytes().for_each(|byte| crate::wire::converse::push_encoded(byte, &mut form));
    }
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let request = client.post(sts).header(kind.0, kind.1).body(form);
    let answer = Answer::to(request, "aws sts").await?;
    let text = answer.text();
    let part = |name| element(&text, name).filter(|part| !part.is_empty());
    let secret = |name| part(name).map(SecretString::from);
    let id = part("AccessKeyId").map(str::to_owned);
    let found = session(id, secret("SecretAccessKey"), secret("SessionToken"), part("Expiration"));
    found.filter(|_| answer.status.is_success()).ok_or_else(|| {
        let (status, code) = (answer.status.as_u16(), code(&answer));
        if status >= 500 {
            return Error::new(Kind::Overloaded, format!("aws sts answered {status} {code}"));
        }
        let what = format!("aws gives no role {role}, {status} {code}: check whom it trusts");
        Error::new(Kind::Config, what)
    })
}

fn session(
    id: Option<String>,
    secret: Option<SecretString>,
    token: Option<SecretString>,
    ends: Option<&str>,
) -> Option<Session> {
    let key = AwsKey { id: id?, secret: Key::new(secret?), session: token.map(Key::new) };
    Some(Session { key, ends: ends.and_then(|ends| ends.parse().ok()) })
}
