//! Sends requests to providers and gives back their answers, one open body at a time.

pub mod account;
pub mod authority;
pub mod begun;
pub mod body;
pub mod commit;
pub mod ended;
pub mod errand;
mod fetch;
pub mod gate;
pub mod held;
mod glance;
pub mod local;
mod opened;
pub mod outgoing;
mod paid;
pub mod passage;
pub mod pump;
mod resolve;
mod scrub;
pub mod shared;
mod sign;
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
use crate::metrics::Metrics;
use crate::provider::travel::Pass;
use crate::provider::url;
use crate::secrets::Secrets;
use crate::secrets::pool::Pool;
use crate::upstream::authority::Authorities;
use crate::upstream::gate::Gates;
use crate::upstream::gate::Sake;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::paid::Purse;
use crate::upstream::paid::Unpaid;
use crate::upstream::resolve::Resolver;

pub use opened::Opened;

/// The connections to every configured provider.
pub struct Upstream {
    /// By the time that a connection may take.
    clients: Vec<(Duration, Client)>,
    /// For sockets, which HTTP/2 does not switch to; made when first wanted.
    http1: OnceLock<Client>,
    endpoints: BTreeMap<String, Endpoint>,
    resolver: Arc<Resolver>,
    authorities: Authorities,
    secrets: Secrets,
    /// What is known of every target; it outlives the configuration.
    health: Arc<Health>,
    /// What is in use of the providers' limits; likewise.
    gates: Arc<Gates>,
}

struct Endpoint {
    provider: Provider,
    /// Where everything of it is.
    base: Url,
    /// Which headers travel.
    pass: Pass,
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

    /// The connections of a configuration that takes the place of another's: what is known of
    /// targets, limits and keys stays known.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn after(config: &Config, former: Option<&Self>) -> Result<Self> {
        // A second installation in one process, as in tests, changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let providers = config.providers.values();
        let link_local = providers.clone().filter(|provider| provider.allow_link_local);
        let link_local = link_local.filter_map(|provider| provider.base_url.host());
        let link_local = link_local.map(str::to_ascii_lowercase).collect();
        let resolver = Arc::new(Resolver { link_local });
        let routes = config.routes.values().map(|route| route.timeouts.connect);
        let limits: BTreeSet<Duration> = routes.chain([config.timeouts.connect]).collect();
        let authorities = Authorities::read(config.authorities.as_deref())?;
        let client = |limit| client(limit, &resolver, &authorities);
        let clients = limits.into_iter().map(|limit| Ok((limit, client(limit)?)));
        let clients = clients.collect::<Result<_>>()?;
        let secrets = Secrets::new(config, former.map(|former| &former.secrets));
        let endpoints = providers.map(|provider| {
            let name = provider.name.clone();
            let former = former.and_then(|former| former.endpoints.get(&name));
            let forward = &config.forward_headers;
            Ok((name, Endpoint::new(provider.clone(), forward, &secrets, former)?))
        });
        let endpoints = endpoints.collect::<Result<_>>()?;
        let health = former.map(|former| former.health.clone()).unwrap_or_default();
        let gates = former.map(|former| former.gates.clone()).unwrap_or_default();
        let http1 = OnceLock::new();
        Ok(Self { clients, http1, endpoints, resolver, authorities, secrets, health, gates })
    }

    /// Writes down how the places are that keys come from.
    pub fn tell(&self, metrics: &Metrics) {
        self.secrets.tell(metrics);
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
        match endpoint.keys_for_copies.is_empty() {
            true => self.send_admitted(endpoint, call, Sake::Copy).await,
            // Limits are those of keys.
            false => {
                let purse = Purse::open(endpoint, &endpoint.keys_for_copies, &[]).await?;
                self.send_to(endpoint, purse, call).await
            }
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
        purse: Purse<'_>,
        call: Call<'_>,
    ) -> Result<Opened> {
        let Call { target, mut outgoing, headers, timeouts } = call;
        let mut headers = endpoint.pass.asked(headers);
        let json = HeaderValue::from_static("application/json");
        headers.entry(header::CONTENT_TYPE).or_insert(json);
        let mut url = endpoint.url(&outgoing, &target.model)?;
        if let Some(query) = &outgoing.query {
            url.set_query(Some(&joined(url.query(), query)));
        }
        let (method, dialect) = (Method::POST, outgoing.dialect);
        let body = std::mem::take(&mut outgoing.body);
        let unpaid = Unpaid { endpoint, purse, dialect, method, url, headers, body };
        self.execute(unpaid, target.clone(), timeouts, outgoing).await
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
        let pass = &unpaid.endpoint.pass;
        let with = (self.client(timeouts.connect)?, &self.secrets);
        let paid = unpaid.send(with, &target, sent, limit).await?;
        Ok(Opened::new(paid, pass, target, asked, sent, timeouts))
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

    fn endpoint(&self, provider: &str) -> Result<&Endpoint> {
        self.endpoints.get(provider).ok_or_else(|| {
            let known: Vec<&str> = self.endpoints.keys().map(String::as_str).collect();
            let known = known.join(", ");
            Error::new(Kind::NotFound, format!("no provider \"{provider}\": there is {known}"))
        })
    }
}

fn client(
    connect: Duration,
    resolver: &Arc<Resolver>,
    authorities: &Authorities,
) -> Result<Client> {
    let builder = Client::builder()
        .dns_resolver(resolver.clone())
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(90));
    authorities.client(builder)
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

impl Endpoint {
    fn new(
        provider: Provider,
        forward_headers: &[HeaderName],
        secrets: &Secrets,
        former: Option<&Self>,
    ) -> Result<Self> {
        let base = parse(&provider, &provider.base_url.to_string())?;
        let host = provider.base_url.host().unwrap_or_default();
        let more = [forward_headers, &provider.forward_headers].concat();
        let pass = Pass::new(&provider.name, host, provider.auth.header(), more);
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
        Ok(Self { provider, base, pass, keys, keys_for_copies, urls })
    }

    fn url(&self, outgoing: &Outgoing, model: &str) -> Result<Url> {
        let Outgoing { dialect, is_stream, body, .. } = outgoing;
        match self.urls.iter().find(|(of, _)| of == dialect) {
            Some((_, url)) => Ok(url.clone()),
            None => {
                let path = dialect.dialect().path_of(model, *is_stream, body);
                self.inside(parse(&self.provider, &url::join(&self.provider.base_url, &path))?)
            }
        }
    }

    /// A request for a path below the base URL, otherwise untouched.
    async fn passing(
        &self,
        method: Method,
        path_and_query: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Unpaid<'_>> {
        let url = url::below(&self.provider.base_url, path_and_query);
        let url = Url::parse(&url)
            .map_err(|e| Error::new(Kind::BadRequest, format!("not a path: {e}")))?;
        let (url, headers) = (self.inside(url)?, self.pass.asked(headers));
        let dialect = self.provider.dialects.first().copied().unwrap_or(DialectName::OpenAi);
        let purse = Purse::open(self, &self.keys, &[]).await?;
        Ok(Unpaid { endpoint: self, purse, dialect, method, url, headers, body })
    }

    /// The URL, unless dots or slashes in what the client wrote lead out of the base URL: the
    /// provider's key would go along.
    fn inside(&self, url: Url) -> Result<Url> {
        let base = &self.base;
        let is_there = url.scheme() == base.scheme()
            && url.host_str() == base.host_str()
            && url.port_or_known_default() == base.port_or_known_default();
        let below = url.path().strip_prefix(base.path().trim_end_matches('/'));
        if is_there && below.is_some_and(|rest| rest.starts_with('/')) {
            return Ok(url);
        }
        let what = format!("the path leads out of the base URL of {}", self.provider.name);
        Err(Error::new(Kind::BadRequest, what))
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
    let cause = root(error);
    if error.is_connect() {
        let what = format!("cannot connect to {provider}: {cause}{}", authority::remedy(cause));
        return Error::new(Kind::Connect, what);
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
