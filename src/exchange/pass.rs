//! Endpoints that are not understood: they pass through untouched, below a provider's prefix.

use http::HeaderMap;
use http::Method;
use tokio::time::Instant;

use crate::chat::DialectName;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::Incoming;
use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::exchange::header;
use crate::plan;
use crate::upstream::Opened;
use crate::upstream::body::Pump;
use crate::upstream::passage::Passage;
use crate::upstream::pump::Flow;
use crate::upstream::pump::Terms;
use crate::upstream::upgrade::Tunnel;
use crate::upstream::upgrade::Upgraded;
use crate::upstream::way::Way;

/// What became of a request for a socket.
pub enum Switch {
    /// The provider agreed.
    Open {
        /// The headers of its agreement.
        headers: HeaderMap,
        /// The way to it.
        tunnel: Tunnel,
    },
    /// It answered something else.
    Refused(Reply),
}

impl Front {
    /// Passes a request for another endpoint of a provider through untouched.
    ///
    /// # Errors
    /// The provider is unknown or out of reach.
    pub async fn pass(
        &self,
        provider: &str,
        method: Method,
        path_and_query: &str,
        incoming: Incoming,
    ) -> Result<Reply> {
        let Incoming { headers, body, request_id, arrived, .. } = incoming;
        let passage = Passage {
            provider,
            method,
            path_and_query,
            headers: &headers,
            body,
            timeouts: self.config.timeouts,
            retry: self.config.retry,
            metrics: &self.metrics,
        };
        let opened = self.upstream.pass(&passage).await?;
        Ok(passed(opened, &request_id, arrived))
    }

    /// Asks a provider to make a socket of a request, which passes through untouched.
    ///
    /// # Errors
    /// The provider is unknown or out of reach.
    pub async fn switch(
        &self,
        provider: &str,
        path_and_query: &str,
        incoming: &Incoming,
    ) -> Result<Switch> {
        let timeouts = self.config.timeouts;
        let sent = Instant::now();
        let Incoming { headers, request_id, arrived, .. } = incoming;
        Ok(match self.upstream.upgrade(provider, path_and_query, headers, timeouts).await? {
            Upgraded::Refused(opened) => Switch::Refused(passed(*opened, request_id, *arrived)),
            Upgraded::Open { mut headers, tunnel } => {
                header::add_common(&mut headers, request_id, sent, *arrived);
                Switch::Open { headers, tunnel }
            }
        })
    }

    /// Whether a request goes first to a provider that speaks its dialect, and so untouched.
    ///
    /// # Errors
    /// The request cannot be read, or nobody answers to its model.
    pub fn is_native(&self, incoming: &Incoming) -> Result<bool> {
        let dialect = incoming.dialect;
        let request = dialect.read_head(incoming.body.clone(), incoming.in_path.clone())?;
        let plan = plan::plan(&self.config, dialect, &request, &incoming.caller())?;
        let provider = plan.targets.first().and_then(|t| self.config.providers.get(&t.provider));
        Ok(provider.is_some_and(|provider| provider.dialects.contains(&dialect.name())))
    }
}

fn passed(mut opened: Opened, request_id: &str, arrived: Instant) -> Reply {
    let mut headers = std::mem::take(&mut opened.headers);
    header::add_common(&mut headers, request_id, opened.sent, arrived);
    let status = opened.status;
    // Nothing is kept of what is not understood.
    let terms = Terms {
        dialect: DialectName::OpenAi.dialect(),
        is_stream: false,
        way: Way::Untouched,
        max_kept_bytes: 0,
        must_finish: false,
    };
    let flow = Flow::new(opened, terms, Box::new(|_| {}));
    Reply { status, headers, body: ReplyBody::Live(Box::new(Pump::new(flow, Vec::new()))) }
}
