//! Sends requests to providers and gives back their answers, one open body at a time.

pub mod body;
pub mod local;
mod opened;
pub mod outgoing;
mod paid;
pub mod pump;
pub mod shared;
mod sign;
pub mod unasked;
pub mod upgrade;
pub mod way;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
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
use crate::metrics::Metrics;
use crate::provider::KEY_HEADERS;
use crate::provider::url;
use crate::secrets::Secrets;
use crate::secrets::pool::Pool;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::paid::Unpaid;

pub use opened::Opened;

/// How long a process on this machine may take to answer.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections to every configured provider.
pub struct Upstream {
    client: Client,
    /// For sockets, which HTTP/2 does not switch to; made when first wanted.
    http1: OnceLock<Client>,
    endpoints: BTreeMap<String, Endpoint>,
    secrets: Secrets,
    /// Headers that hold a key for some provider and for no other.
    key_headers: Vec<HeaderName>,
}

struct Endpoint {
    provider: Provider,
    /// Its keys.
    keys: Pool,
    /// Those for copies; without any, copies are sent with its keys.
    keys_for_copies: Pool,
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
        Self::after(config, None)
    }

    /// The connections of a configuration that takes the place of another's: what is known of keys
    /// stays known.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn after(config: &Config, former: Option<&Self>) -> Result<Self> {
        // A second installation in one process, as in tests, changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.timeouts.connect)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(90))
            .build()
            .map_err(|e| Error::new(Kind::Internal, format!("starting the HTTP client: {e}")))?;
        let secrets = Secrets::new(config, former.map(|former| &former.secrets));
        let endpoints = config.providers.values().map(|provider| {
            let name = provider.name.clone();
            let former = former.and_then(|former| former.endpoints.get(&name));
            Ok((name, Endpoint::new(provider.clone(), &secrets, former)?))
        });
        let key_headers = config.providers.values().filter_map(|provider| provider.auth.header());
        let key_headers =
            key_headers.filter(|name| !KEY_HEADERS.contains(&name.as_str())).collect();
        let endpoints = endpoints.collect::<Result<_>>()?;
        Ok(Self { client, http1: OnceLock::new(), endpoints, secrets, key_headers })
    }

    /// Writes down how the places are that keys come from.
    pub fn tell(&self, metrics: &Metrics) {
        self.secrets.tell(metrics);
    }

    /// Asks the targets in turn until one answers with something that is not its own failure.
    ///
    /// `write` writes the request for a target, `headers` chooses its headers. The last target's
    /// failure is the answer.
    ///
    /// # Errors
    /// No target could be reached in time, or the request cannot be written.
    pub async fn send<'h>(
        &self,
        targets: &[Target],
        write: impl Fn(&Target) -> Result<Outgoing>,
        headers: impl Fn(&Target) -> &'h HeaderMap,
        timeouts: Timeouts,
    ) -> Result<Opened> {
        let mut last = Err(Error::new(Kind::NotFound, "the route has no targets"));
        for (at, target) in targets.iter().enumerate() {
            let (outgoing, headers) = (write(target)?, headers(target));
            last = self.send_once(Call { target, outgoing, headers, timeouts }).await;
            let is_last = at + 1 == targets.len();
            match &last {
                Ok(opened) if is_last || !fails_over(opened.status) => return last,
                Err(error) if is_last || !error.may_retry() => return last,
                Ok(opened) => tracing::info!(%target, status = opened.status.as_u16(), "failover"),
                Err(error) => tracing::info!(%target, %error, "failover"),
            }
        }
        last
    }

    /// Sends one request to one target.
    ///
    /// # Errors
    /// The provider is unknown, unreachable or too slow.
    pub async fn send_once(&self, call: Call<'_>) -> Result<Opened> {
        let endpoint = self.endpoint(&call.target.provider)?;
        self.send_to(endpoint, &endpoint.keys, call).await
    }

    /// Sends a copy of a request, with the provider's keys for copies if it has such.
    ///
    /// # Errors
    /// As [`Self::send_once`].
    pub async fn send_copy(&self, call: Call<'_>) -> Result<Opened> {
        let endpoint = self.endpoint(&call.target.provider)?;
        let own = &endpoint.keys_for_copies;
        let keys = if own.is_empty() { &endpoint.keys } else { own };
        self.send_to(endpoint, keys, call).await
    }

    async fn send_to(&self, endpoint: &Endpoint, pool: &Pool, call: Call<'_>) -> Result<Opened> {
        let Call { target, mut outgoing, headers, timeouts } = call;
        let provider = &endpoint.provider;
        let mut headers = self.headers(provider, headers);
        let json = HeaderValue::from_static("application/json");
        headers.entry(header::CONTENT_TYPE).or_insert(json);
        let mut url = endpoint.url(&outgoing, &target.model)?;
        if let Some(query) = &outgoing.query {
            url.set_query(Some(&joined(url.query(), query)));
        }
        let (method, dialect) = (Method::POST, outgoing.dialect);
        let body = std::mem::take(&mut outgoing.body);
        let unpaid = Unpaid { provider, pool, dialect, method, url, headers, body };
        self.execute(unpaid, target.clone(), timeouts, outgoing).await
    }

    /// Sends a request untouched to a path below a provider's base URL.
    ///
    /// # Errors
    /// As [`Self::send_once`].
    pub async fn pass(
        &self,
        provider: &str,
        method: Method,
        path_and_query: &str,
        headers: &HeaderMap,
        body: Bytes,
        timeouts: Timeouts,
    ) -> Result<Opened> {
        let unpaid = self.passing(provider, method, path_and_query, headers, body)?;
        let target = Target { provider: provider.to_owned(), model: String::new() };
        // Nothing is known of the dialect, and nobody reads the answer.
        let outgoing = Outgoing::new(DialectName::OpenAi, Bytes::new(), false);
        self.execute(unpaid, target, timeouts, outgoing).await
    }

    /// A request for a path below a provider's base URL, otherwise untouched.
    fn passing(
        &self,
        provider: &str,
        method: Method,
        path_and_query: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Unpaid<'_>> {
        let endpoint = self.endpoint(provider)?;
        let provider = &endpoint.provider;
        let url = url::below(&provider.base_url, path_and_query);
        let url = Url::parse(&url)
            .map_err(|e| Error::new(Kind::BadRequest, format!("not a path: {e}")))?;
        let headers = self.headers(provider, headers);
        let dialect = provider.dialects.first().copied().unwrap_or(DialectName::OpenAi);
        let pool = &endpoint.keys;
        Ok(Unpaid { provider, pool, dialect, method, url, headers, body })
    }

    async fn execute(
        &self,
        unpaid: Unpaid<'_>,
        target: Target,
        timeouts: Timeouts,
        asked: Outgoing,
    ) -> Result<Opened> {
        let sent = Instant::now();
        // A whole answer's first byte comes when it is finished, so only streams have a first token.
        let limit =
            if asked.is_stream { timeouts.first_token.min(timeouts.total) } else { timeouts.total };
        let with = (&self.client, &self.secrets);
        let response = unpaid.send(with, &target, sent, limit).await?;
        Ok(Opened::new(response, target, asked, sent, timeouts))
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

/// Asks a process on this machine, such as a running sidecar's admin plane.
///
/// # Errors
/// [`Kind::Connect`] when nobody listens there; otherwise it does not answer properly.
pub async fn get_local(address: std::net::SocketAddr, path: &str) -> Result<(u16, Bytes)> {
    // A second installation in one process, as in tests, changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let target = Target { provider: address.to_string(), model: String::new() };
    let client = Client::builder().no_proxy().timeout(LOCAL_TIMEOUT).build();
    let client = client.map_err(|error| transport_error(&target, &error))?;
    let sent = client.get(format!("http://{address}{path}")).send().await;
    let response = sent.map_err(|error| transport_error(&target, &error))?;
    let status = response.status().as_u16();
    Ok((status, response.bytes().await.map_err(|error| transport_error(&target, &error))?))
}

/// Statuses that another provider may do better on.
fn fails_over(status: StatusCode) -> bool {
    Error::new(Kind::Status(status.as_u16()), "").may_retry()
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
    fn new(provider: Provider, secrets: &Secrets, former: Option<&Self>) -> Result<Self> {
        let mut urls = Vec::new();
        for dialect in provider.dialects.iter().copied() {
            let url = provider.url(dialect, "a", false);
            let is_fixed = url == provider.url(dialect, "b", true);
            let url = parse(&provider, &url)?;
            urls.extend(is_fixed.then_some((dialect, url)));
        }
        let keys = Pool::new(&provider.api_keys, secrets, former.map(|former| &former.keys));
        let former = former.map(|former| &former.keys_for_copies);
        let keys_for_copies = Pool::new(&provider.shadow_keys, secrets, former);
        Ok(Self { provider, keys, keys_for_copies, urls })
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

/// Without the URL, whose query may hold a key.
fn transport_error(target: &Target, error: &reqwest::Error) -> Error {
    let provider = &target.provider;
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_connect() {
        return Error::new(Kind::Connect, format!("cannot connect to {provider}: {cause}"));
    }
    if error.is_timeout() {
        return Error::new(Kind::Timeout, format!("{provider} did not answer in time"));
    }
    Error::new(Kind::Broken, format!("the connection to {provider} broke: {cause}"))
}
