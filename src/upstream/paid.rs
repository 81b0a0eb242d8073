//! Sends a request with one of its provider's keys, and with the next where the last is not taken.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::header;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::Client;
use reqwest::Url;
use tokio::time::Instant;

use crate::chat::DialectName;
use crate::config::Provider;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::keyring::Outcome;
use crate::secrets::Secrets;
use crate::secrets::pool::Picked;
use crate::secrets::pool::Pool;
use crate::upstream::answered;
use crate::upstream::sign;

/// A request that is finished but for its key.
pub struct Unpaid<'a> {
    /// Who is asked.
    pub provider: &'a Provider,
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
    /// The head of the answer, within `limit` of `sent`, however many keys it takes.
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
    ) -> Result<reqwest::Response> {
        let no_key = |error: Error| {
            // It may come back, and another target may have one.
            Error::new(Kind::Overloaded, format!("the key of {} {error}", self.provider.name))
        };
        let mut picked = match self.provider.auth.header() {
            Some(_) => self.pool.first().await.map_err(no_key)?,
            None => None,
        };
        let mut tried = Vec::new();
        loop {
            let request = self.paid_with(picked.as_ref(), secrets).await?;
            let response = answered(client, request, target, sent, limit).await?;
            let Some(last) = picked else { return Ok(response) };
            let Some(outcome) = outcome(&response) else { return Ok(response) };
            self.pool.report(&last, outcome);
            if outcome == Outcome::Good {
                return Ok(response);
            }
            tried.push(last.key.digest);
            // Boxed, because it hardly ever happens and its future is large.
            picked = match Box::pin(self.pool.another(&last, outcome, &tried)).await {
                None => return Ok(response),
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
        let region = self.provider.authorize(self.dialect, request.headers_mut(), key)?;
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

/// What an answer says of the key; nothing, when it is about something else.
fn outcome(response: &reqwest::Response) -> Option<Outcome> {
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
            Some(Outcome::Refused)
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Some(Outcome::Limited(rest(response.headers(), Timestamp::now())))
        }
        status if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS => {
            Some(Outcome::Good)
        }
        _ => None,
    }
}

/// How long to leave a key alone: milliseconds, seconds or a date.
fn rest(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let told = text(header::RETRY_AFTER.as_str())?;
    if let Ok(seconds) = told.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = rfc2822::parse(told).ok()?.timestamp();
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::rest;

    #[test]
    fn a_provider_says_in_three_ways_how_long_to_wait() {
        let now = "2026-11-29T12:00:00Z".parse().unwrap();
        for (name, value, millis) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "0.5", Some(500)),
            ("retry-after", "Sun, 29 Nov 2026 12:00:30 GMT", Some(30_000)),
            ("retry-after", "Sun, 29 Nov 2026 11:00:30 GMT", Some(0)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after", "-1", None),
            ("retry-after", "soon", None),
            ("other", "7", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(rest(&headers, now), millis.map(Duration::from_millis), "{name}: {value}");
        }
    }
}
