//! Requests that pass untouched: made again only where that can do nothing twice.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::chat::DialectName;
use crate::config::Timeouts;
use crate::error::Result;
use crate::experiment::Target;
use crate::metrics::Metrics;
use crate::retry;
use crate::retry::Again;
use crate::retry::Reason;
use crate::retry::Retry;
use crate::upstream::Opened;
use crate::upstream::Upstream;
use crate::upstream::outgoing::Outgoing;

/// A request for a path below a provider's base URL.
pub struct Passage<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// The request's method.
    pub method: Method,
    /// What stands behind the base URL.
    pub path_and_query: &'a str,
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// The body, whole.
    pub body: Bytes,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// How calls that fail are made again.
    pub retry: Retry,
    /// Where retries are counted.
    pub metrics: &'a Metrics,
}

impl Upstream {
    /// Sends a request untouched to a path below a provider's base URL.
    ///
    /// # Errors
    /// The provider is unknown, unreachable or too slow.
    pub async fn pass(&self, passage: &Passage<'_>) -> Result<Opened> {
        let Passage { provider, retry, metrics, .. } = passage;
        let target = Target { provider: (*provider).to_owned(), model: String::new() };
        let until = Instant::now() + passage.timeouts.total;
        self.health.earn(&target, retry.budget, 0.0, Instant::now().into_std());
        let mut number = 0;
        loop {
            let outcome = self.pass_once(passage, &target, until).await;
            let (reason, headers) = match &outcome {
                Ok(opened) => (Reason::of_status(opened.status), Some(&opened.headers)),
                Err(error) => (Reason::of(error), None),
            };
            let reason = reason.filter(|reason| reason.is_harmless() || passage.may_repeat());
            let is_final = headers.is_some_and(retry::is_final);
            let Some(reason) = reason.filter(|_| !is_final) else { return outcome };
            let now_ms = jiff::Timestamp::now().as_millisecond();
            let asked = headers.and_then(|headers| retry::wait_in(headers, now_ms));
            let now = Instant::now();
            let (part, left) = (fastrand::f64(), until.saturating_duration_since(now));
            let again = Again { number, asked, has_others: false, part, left };
            let wait = again.wait(retry, &self.health, &target, now.into_std());
            let Some(wait) = wait else { return outcome };
            Metrics::again(&metrics.retries, provider, reason.as_str());
            sleep(wait).await;
            number += 1;
        }
    }

    /// The status with which a provider answers a GET of ours, within `limit`.
    ///
    /// # Errors
    /// The provider is unknown, unreachable or too slow.
    pub async fn ping(&self, provider: &str, path: &str, limit: Duration) -> Result<StatusCode> {
        let (endpoint, headers) = (self.endpoint(provider)?, HeaderMap::new());
        let request = endpoint.passing(Method::GET, path, &headers, Bytes::new()).await?;
        let target = Target { provider: provider.to_owned(), model: String::new() };
        let with = (self.client(limit)?, &self.secrets);
        let paid = request.send(with, &target, Instant::now(), limit).await?;
        Ok(paid.response.status())
    }

    async fn pass_once(
        &self,
        passage: &Passage<'_>,
        target: &Target,
        until: Instant,
    ) -> Result<Opened> {
        let Passage { provider, method, path_and_query, headers, body, .. } = passage;
        let (method, body) = (method.clone(), body.clone());
        let endpoint = self.endpoint(provider)?;
        let request = endpoint.passing(method, path_and_query, headers, body).await?;
        // Nothing is known of the dialect, and nobody reads the answer.
        let outgoing = Outgoing::new(DialectName::OpenAi, Bytes::new(), false);
        let total = until.saturating_duration_since(Instant::now());
        let timeouts = Timeouts { total, ..passage.timeouts };
        self.execute(request, target.clone(), timeouts, outgoing).await
    }
}

impl Passage<'_> {
    fn may_repeat(&self) -> bool {
        let is_reading = matches!(self.method, Method::GET | Method::HEAD);
        is_reading || self.headers.contains_key(retry::IDEMPOTENCY_KEY)
    }
}
