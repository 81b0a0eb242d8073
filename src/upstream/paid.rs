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
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
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

/// A request that is finished but for its key.
pub(super) struct Unpaid<'a> {
    /// Who is asked.
    pub endpoint: &'a Endpoint,
    /// The provider's keys, or those for copies.
    pub pool: &'a Pool,
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
    /// The head of the answer, within `limit` of `sent`, however many keys it takes, and what of
    /// the request no error may quote.
    ///
    /// The last key's refusal is the answer.
    ///
    /// # Errors
    /// There is no key, or the provider is unreachable or too slow.
    pub async fn send(
        self,
        (client, secrets): (&Client, &Secrets),
        target: &Target,
        sent: Instant,
        limit: Duration,
    ) -> Result<(reqwest::Response, Vec<HeaderValue>)> {
        let no_key = |error: Error| {
            // It may come back, and another target may have one.
            Error::new(
                Kind::Overloaded,
                format!("the key of {} {error}", self.endpoint.provider.name),
            )
        };
        let mut picked = match self.endpoint.provider.auth.header() {
            Some(_) => self.pool.first().await.map_err(no_key)?,
            None => None,
        };
        let mut tried = Vec::new();
        loop {
            let request = self.paid_with(picked.as_ref(), secrets).await?;
            let quoted = scrub::secrets(request.headers());
            let response = answered(client, request, target, sent, limit).await?;
            let Some(last) = picked else { return Ok((response, quoted)) };
            let (response, outcome) = judged(response).await;
            let Some(outcome) = outcome else { return Ok((response, quoted)) };
            self.pool.report(&last, outcome);
            if outcome == Outcome::Good {
                return Ok((response, quoted));
            }
            tried.push(last.key.digest);
            // Boxed, because it hardly ever happens and its future is large.
            picked = match Box::pin(self.pool.another(&last, outcome, &tried)).await {
                None => return Ok((response, quoted)),
                next => next,
            };
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
