//! Sends requests to providers and gives back their answers, one open body at a time.

pub mod begun;
pub mod body;
pub mod commit;
pub mod errand;
pub mod gate;
pub mod local;
mod opened;
pub mod outgoing;
pub mod passage;
pub mod pump;
pub mod shared;
pub mod sign;
pub mod unasked;
pub mod upgrade;
pub mod way;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::header;
use reqwest::Client;
use reqwest::Url;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::chat::DialectName;
use crate::config::Config;
use crate::config::Provider;
use crate::config::Timeouts;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::health::Health;
use crate::provider::KEY_HEADERS;
use crate::provider::url;
use crate::upstream::gate::Gates;
use crate::upstream::gate::Sake;
use crate::upstream::outgoing::Outgoing;

pub use opened::Opened;

/// The connections to every configured provider.
pub struct Upstream {
    /// By the time that a connection may take.
    clients: Vec<(Duration, Client)>,
    /// For sockets, which HTTP/2 does not switch to; made when first wanted.
    http1: OnceLock<Client>,
    endpoints: BTreeMap<String, Endpoint>,
    /// Headers that hold a key for some provider and for no other.
    key_headers: Vec<HeaderName>,
    /// What is known of every target; it outlives the configuration.
    health: Arc<Health>,
    /// What is in use of the providers' limits; likewise.
    gates: Arc<Gates>,
}

struct Endpoint {
    provider: Provider,
    /// The same with the keys for copies, where it has such.
    for_copies: Option<Provider>,
    /// Of dialects whose path is always the same, parsed once: reqwest would parse it three times
    /// a request.
    urls: Vec<(DialectName, Url)>,
}

/// One request to one target.
pub struct Call<'a> {
    /// Who is asked.
    pub target: &'a Target,
    /// What is sent.
    pub outgoing: Outgoing,
    /// The client's headers, or none for requests of our own.
    pub headers: &'a HeaderMap,
    /// How long each stage may take.
    pub timeouts: Timeouts,
}

impl Upstream {
    /// Prepares the connections; opens none.
    ///
    /// # Errors
    /// The TLS backend cannot start.
    pub fn new(config: &Config) -> Result<Self> {
        Self::with(config, Arc::default())
    }

    /// The same, with what is known of the targets already.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with(config: &Config, health: Arc<Health>) -> Result<Self> {
        // A second installation in one process, as in tests, changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let routes = config.routes.values().map(|route| route.timeouts.connect);
        let limits: BTreeSet<Duration> = routes.chain([config.timeouts.connect]).collect();
        let clients = limits.into_iter().map(|limit| Ok((limit, client(limit)?)));
        let clients = clients.collect::<Result<_>>()?;
        let endpoints = config
            .providers
            .values()
            .map(|provider| Ok((provider.name.clone(), Endpoint::new(provider.clone())?)));
        let key_headers = config.providers.values().filter_map(|provider| provider.auth.header());
        let key_headers =
            key_headers.filter(|name| !KEY_HEADERS.contains(&name.as_str())).collect();
        let endpoints = endpoints.collect::<Result<_>>()?;
        let gates = Arc::default();
        Ok(Self { clients, http1: OnceLock::new(), endpoints, key_headers, health, gates })
    }

    /// Sends one request to one target, as soon as the limits of its provider allow.
    ///
    /// # Errors
    /// The provider is unknown, unreachable or too slow, or a limit is used up.
    pub async fn send_once(&self, call: Call<'_>) -> Result<Opened> {
        let endpoint = self.endpoint(&call.target.provider)?;
        self.spare(call.target)?;
        self.send_admitted(endpoint, call, Sake::Application).await
    }

    /// Sends a copy of a request, with the provider's keys for copies if it has such.
    ///
    /// # Errors
    /// As [`Self::send_once`].
    pub async fn send_copy(&self, call: Call<'_>) -> Result<Opened> {
        let endpoint = self.endpoint(&call.target.provider)?;
        self.spare(call.target)?;
        match &endpoint.for_copies {
            // Limits are those of keys.
            Some(provider) => self.send_to(endpoint, provider, call).await,
            None => self.send_admitted(endpoint, call, Sake::Copy).await,
        }
    }

    /// Requests of our own never ask a target whose breaker applications have opened.
    ///
    /// They do not open one either: no application is to wait for what a copy met.
    fn spare(&self, target: &Target) -> Result<()> {
        match self.health.shut_for(target, Instant::now().into_std()) {
            None => Ok(()),
            Some(left) => Err(errand::shut(target, left)),
        }
    }

    async fn send_to(
        &self,
        endpoint: &Endpoint,
        provider: &Provider,
        call: Call<'_>,
    ) -> Result<Opened> {
        let Call { target, mut outgoing, headers, timeouts } = call;
        let mut headers = self.headers(provider, headers);
        let json = HeaderValue::from_static("application/json");
        headers.entry(header::CONTENT_TYPE).or_insert(json);
        let mut url = endpoint.url(&outgoing, &target.model)?;
        if let Some(query) = &outgoing.query {
            url.set_query(Some(&joined(url.query(), query)));
        }
        let mut request = reqwest::Request::new(Method::POST, url);
        *request.headers_mut() = headers;
        authorize(provider, outgoing.dialect, &mut request, &outgoing.body)?;
        *request.body_mut() = Some(std::mem::take(&mut outgoing.body).into());
        self.execute(request, target.clone(), timeouts, outgoing).await
    }

    /// A request for a path below a provider's base URL, otherwise untouched.
    fn passing(
        &self,
        provider: &str,
        method: Method,
        path_and_query: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<reqwest::Request> {
        let endpoint = self.endpoint(provider)?;
        let url = url::below(&endpoint.provider.base_url, path_and_query);
        let url = Url::parse(&url)
            .map_err(|e| Error::new(Kind::BadRequest, format!("not a path: {e}")))?;
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = self.headers(&endpoint.provider, headers);
        let dialect = endpoint.provider.dialects.first().copied().unwrap_or(DialectName::OpenAi);
        authorize(&endpoint.provider, dialect, &mut request, &body)?;
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }

    async fn execute(
        &self,
        request: reqwest::Request,
        target: Target,
        timeouts: Timeouts,
        asked: Outgoing,
    ) -> Result<Opened> {
        let sent = Instant::now();
        // A whole answer's first byte comes when it is finished, so only streams have a first token.
        let limit =
            if asked.is_stream { timeouts.first_token.min(timeouts.total) } else { timeouts.total };
        let client = self.client(timeouts.connect)?;
        let response = answered(client, request, &target, sent, limit).await?;
        Ok(Opened::new(response, target, asked, sent, timeouts))
    }

    /// What is known of every target.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The client whose connections may take so long.
    fn client(&self, connect: Duration) -> Result<&Client> {
        let known = self.clients.iter().find(|(limit, _)| *limit == connect);
        let client = known.or(self.clients.first()).map(|(_, client)| client);
        client.ok_or_else(|| Error::new(Kind::Internal, "there is no HTTP client"))
    }

    /// The client's headers without those of its connection, and without keys for others.
    ///
    /// Compression is not asked for, because what passes is read.
    fn headers(&self, provider: &Provider, client: &HeaderMap) -> HeaderMap {
        let mut headers = client.clone();
        CONNECTION_HEADERS.iter().for_each(|name| drop(headers.remove(*name)));
        headers.remove(header::ACCEPT_ENCODING);
        headers.remove(header::EXPECT);
        let own = provider.auth.header();
        let foreign = self.key_headers.iter().filter(|name| Some(*name) != own.as_ref());
        foreign.for_each(|name| drop(headers.remove(name)));
        headers
    }

    fn endpoint(&self, provider: &str) -> Result<&Endpoint> {
        self.endpoints.get(provider).ok_or_else(|| {
            let known: Vec<&str> = self.endpoints.keys().map(String::as_str).collect();
            let known = known.join(", ");
            Error::new(Kind::NotFound, format!("no provider \"{provider}\": there is {known}"))
        })
    }
}

fn client(connect: Duration) -> Result<Client> {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(90))
        .build()
        .map_err(|e| Error::new(Kind::Internal, format!("starting the HTTP client: {e}")))
}

/// The head of the answer to a request, within `limit` of `sent`.
async fn answered(
    client: &Client,
    request: reqwest::Request,
    target: &Target,
    sent: Instant,
    limit: Duration,
) -> Result<reqwest::Response> {
    match timeout_at(sent + limit, client.execute(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(transport_error(target, &error)),
        Err(_) => {
            let what = format!("{} did not begin to answer within {limit:?}", target.provider);
            Err(Error::new(Kind::Timeout, what))
        }
    }
}

/// Headers of one connection, which never travel further, and those the other side sets itself.
const CONNECTION_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Endpoint {
    fn new(provider: Provider) -> Result<Self> {
        let mut urls = Vec::new();
        for dialect in provider.dialects.iter().copied() {
            let url = provider.url(dialect, "a", false);
            let is_fixed = url == provider.url(dialect, "b", true);
            let url = parse(&provider, &url)?;
            urls.extend(is_fixed.then_some((dialect, url)));
        }
        let for_copies = (!provider.shadow_keys.is_empty())
            .then(|| Provider { api_keys: provider.shadow_keys.clone(), ..provider.clone() });
        Ok(Self { provider, for_copies, urls })
    }

    fn url(&self, outgoing: &Outgoing, model: &str) -> Result<Url> {
        let Outgoing { dialect, is_stream, body, .. } = outgoing;
        match self.urls.iter().find(|(of, _)| of == dialect) {
            Some((_, url)) => Ok(url.clone()),
            None => {
                let path = dialect.dialect().path_of(model, *is_stream, body);
                parse(&self.provider, &url::join(&self.provider.base_url, &path))
            }
        }
    }
}

/// The application's query over the dialect's own: of a name in both, the application's counts.
fn joined(own: Option<&str>, theirs: &str) -> String {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let named: Vec<String> = theirs.split('&').map(name).collect();
    let own = own.unwrap_or_default().split('&');
    let own = own.filter(|pair| !pair.is_empty() && !named.contains(&name(pair)));
    own.chain([theirs]).collect::<Vec<_>>().join("&")
}

fn parse(provider: &Provider, url: &str) -> Result<Url> {
    Url::parse(url).map_err(|e| Error::new(Kind::Config, format!("{}: {url}: {e}", provider.name)))
}

/// Adds the credential to a request that is otherwise finished.
fn authorize(
    provider: &Provider,
    dialect: DialectName,
    request: &mut reqwest::Request,
    body: &Bytes,
) -> Result<()> {
    match provider.authorize(dialect, request.headers_mut())? {
        None => Ok(()),
        Some(key) => sign::sign(request, body, key),
    }
}

/// Without the URL, whose query may hold a key.
fn transport_error(target: &Target, error: &reqwest::Error) -> Error {
    let provider = &target.provider;
    let cause = root(error);
    if error.is_connect() {
        return Error::new(Kind::Connect, format!("cannot connect to {provider}: {cause}"));
    }
    if error.is_timeout() {
        return Error::new(Kind::Timeout, format!("{provider} did not answer in time"));
    }
    Error::new(Kind::Broken, format!("the connection to {provider} broke: {cause}"))
}

/// A body that ended before its end.
fn broke_off(error: &reqwest::Error) -> Error {
    Error::new(Kind::Broken, format!("the provider's answer broke off: {}", root(error)))
}

/// The cause of all causes.
fn root(error: &reqwest::Error) -> &dyn std::error::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}
