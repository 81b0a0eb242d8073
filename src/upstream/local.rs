//! Questions to a process on this machine: a running sidecar's admin plane.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::header;
use reqwest::Client;
use reqwest::Url;
use secrecy::ExposeSecret;
use secrecy::SecretString;

use crate::config::Admission;
use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::upstream::transport_error;

/// How long a process on this machine may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the process may say nothing while it answers: it may have a whole disk to look through.
const SILENCE: Duration = Duration::from_secs(120);

/// A running sidecar's admin plane.
#[derive(Clone, Debug)]
pub struct Plane {
    /// Where it listens.
    pub address: SocketAddr,
    token: Option<SecretString>,
}

impl Plane {
    /// That of the sidecar which runs with this configuration.
    pub fn of(config: &Config) -> Self {
        let token = match &config.admission {
            Admission::Token(token) => Some(token.clone()),
            Admission::Local | Admission::Open => None,
        };
        Self { address: config.admin, token }
    }

    /// What it wants to hear.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let token = self.token.as_ref()?;
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
        value.ok().map(|mut value| {
            value.set_sensitive(true);
            value
        })
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct Question<'q> {
    /// GET, POST, DELETE.
    pub method: Method,
    /// The path's segments.
    pub path: &'q [&'q str],
    /// Names and values, as they are meant.
    pub query: &'q [(String, String)],
    /// The body with its media type.
    pub body: Option<(&'static str, Bytes)>,
}

/// An answer whose body is still to come.
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    from: Target,
    response: reqwest::Response,
}

/// Asks, and gives back the answer's head.
///
/// # Errors
/// [`Kind::Connect`] when nobody listens there; otherwise it does not answer properly.
pub async fn ask(plane: &Plane, question: Question<'_>) -> Result<Answered> {
    // A second installation in one process, as in tests, changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = plane.address;
    let from = Target { provider: address.to_string(), model: String::new() };
    let client = Client::builder().no_proxy().read_timeout(SILENCE).build();
    let client = client.map_err(|error| transport_error(&from, &error))?;
    let url = url(address, &question)?;
    let mut request = reqwest::Request::new(question.method, url);
    if let Some((kind, body)) = question.body {
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        *request.body_mut() = Some(body.into());
    }
    if let Some(value) = plane.authorization() {
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let sent = client.execute(request).await;
    let response = sent.map_err(|error| transport_error(&from, &error))?;
    Ok(Answered { status: response.status().as_u16(), from, response })
}

impl Answered {
    /// The next piece of the body.
    ///
    /// # Errors
    /// It broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.response.chunk().await.map_err(|error| transport_error(&self.from, &error))
    }

    /// The whole body.
    ///
    /// # Errors
    /// It broke off.
    pub async fn whole(self) -> Result<Bytes> {
        self.response.bytes().await.map_err(|error| transport_error(&self.from, &error))
    }
}

fn url(address: SocketAddr, question: &Question<'_>) -> Result<Url> {
    let wrong = |_| Error::new(Kind::BadRequest, format!("{address} is no address to ask"));
    let mut url = Url::parse(&format!("http://{address}")).map_err(wrong)?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(question.path);
    }
    if !question.query.is_empty() {
        url.query_pairs_mut().extend_pairs(question.query);
    }
    Ok(url)
}

/// Asks a process on this machine, such as a running sidecar's admin plane.
///
/// # Errors
/// [`Kind::Connect`] when nobody listens there; otherwise it does not answer properly.
pub async fn get(plane: &Plane, path: &str) -> Result<(u16, Bytes)> {
    // A second installation in one process, as in tests, changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = plane.address;
    let target = Target { provider: address.to_string(), model: String::new() };
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
    let client = client.map_err(|error| transport_error(&target, &error))?;
    let mut request = client.get(format!("http://{address}{path}"));
    if let Some(value) = plane.authorization() {
        request = request.header(header::AUTHORIZATION, value);
    }
    let sent = request.send().await;
    let response = sent.map_err(|error| transport_error(&target, &error))?;
    let status = response.status().as_u16();
    Ok((status, response.bytes().await.map_err(|error| transport_error(&target, &error))?))
}
