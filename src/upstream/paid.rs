//! Sends a request with one of its provider's keys, and with the next where the last is not taken.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use reqwest::Client;
use reqwest::Url;
use tokio::time::Instant;

use crate::chat::DialectName;
use crate::config::Provider;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::keyring::Digest;
use crate::keyring::Outcome;
use crate::keyring::said;
use crate::retry;
use crate::secrets::Secrets;
use crate::secrets::pool::Picked;
use crate::secrets::pool::Pool;
use crate::upstream::Endpoint;
use crate::upstream::answered;
use crate::upstream::glance::glance;
use crate::upstream::scrub;
use crate::upstream::sign;

/// Keys, and the one that is to pay.
pub(super) struct Purse<'a> {
    /// The provider's keys, or those for copies.
    pool: &'a Pool,
    /// The first that is sent; none where the provider takes none, or the application brings it.
    picked: Option<Picked>,
}

impl<'a> Purse<'a> {
    /// A pool with the key that pays first, another than those to `spare` if there is one.
    ///
    /// # Errors
    /// The key is not there yet.
    pub async fn open(endpoint: &Endpoint, pool: &'a Pool, spare: &[Digest]) -> Result<Self> {
        let Provider { name, auth, .. } = &endpoint.provider;
        let picked = match auth.header() {
            // It may come back, and another target may have one.
            Some(_) => pool.first(spare).await.map_err(|error| {
                Error::new(Kind::Overloaded, format!("the key of {name} {error}"))
            })?,
            None => None,
        };
        Ok(Self { pool, picked })
    }

    /// Which key pays first.
    pub fn payer(&self) -> Option<Digest> {
        self.picked.as_ref().map(|picked| picked.key.digest)
    }
}

/// A request that was paid for.
pub(super) struct Paid {
    /// The head of the answer.
    pub response: reqwest::Response,
    /// What of the request no error may quote.
    pub quoted: Vec<HeaderValue>,
    /// The last key that was sent.
    pub payer: Option<Digest>,
}

/// A request that is finished but for its key.
pub(super) struct Unpaid<'a> {
    /// Who is asked.
    pub endpoint: &'a Endpoint,
    /// What it is paid from.
    pub purse: Purse<'a>,
    /// What is spoken.
    pub dialect: DialectName,
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// All headers but those that the key brings.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Unpaid<'_> {
    /// The head of the answer, within `limit` of `sent`, however many keys it takes.
    ///
    /// The last key's refusal is the answer.
    ///
    /// # Errors
    /// The provider is unreachable or too slow.
    pub async fn send(
        mut self,
        (client, secrets): (&Client, &Secrets),
        target: &Target,
        sent: Instant,
        limit: Duration,
    ) -> Result<Paid> {
        let mut tried = Vec::new();
        loop {
            let request = self.paid_with(self.purse.picked.as_ref(), secrets).await?;
            let quoted = scrub::secrets(request.headers());
            let response = answered(client, request, target, sent, limit).await?;
            let payer = self.purse.payer();
            let Some(last) = self.purse.picked.take() else {
                return Ok(Paid { response, quoted, payer });
            };
            let (response, outcome) = judged(response).await;
            let Some(outcome) = outcome else { return Ok(Paid { response, quoted, payer }) };
            let pool = self.purse.pool;
            pool.report(&last, outcome);
            if outcome == Outcome::Good {
                return Ok(Paid { response, quoted, payer });
            }
            tried.push(last.key.digest);
            // Boxed, because it hardly ever happens and its future is large.
            self.purse.picked = Box::pin(pool.another(&last, outcome, &tried)).await;
            if self.purse.picked.is_none() {
                return Ok(Paid { response, quoted, payer });
            }
            let status = response.status().as_u16();
            tracing::info!(%target, status, "a key is not taken: the next one is");
        }
    }

    async fn paid_with(
        &self,
        picked: Option<&Picked>,
        secrets: &Secrets,
    ) -> Result<reqwest::Request> {
        let mut request = reqwest::Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.headers.clone();
        let key = picked.map(|picked| &picked.key.secret);
        let region = self.endpoint.provider.authorize(self.dialect, request.headers_mut(), key)?;
        if let Some(region) = region {
            let key = Box::pin(secrets.signing_key(region)).await?;
            sign::sign(&mut request, &self.body, &key, region)?;
        }
        if !self.body.is_empty() {
            *request.body_mut() = Some(self.body.clone().into());
        }
        Ok(request)
    }
}

/// An answer, and what it says of the key.
async fn judged(response: reqwest::Response) -> (reqwest::Response, Option<Outcome>) {
    let status = response.status();
    let asked = retry::wait_in(response.headers(), jiff::Timestamp::now().as_millisecond());
    if !said::is_in_body(status) {
        return (response, said::outcome(status, asked, &[]));
    }
    let (parts, body) = http::Response::from(response).into_parts();
    // Boxed, because it hardly ever happens and its future is large.
    let (seen, body) = Box::pin(glance(body)).await;
    (http::Response::from_parts(parts, body).into(), said::outcome(status, asked, &seen))
}
