//! Endpoints that are not understood: they pass through untouched, below a provider's prefix.

use http::Method;

use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::Incoming;
use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::exchange::header;
use crate::upstream::body::Pump;
use crate::upstream::pump::Flow;
use crate::upstream::pump::Terms;
use crate::upstream::way::Way;

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
        let timeouts = self.config.timeouts;
        let Incoming { headers, body, request_id, arrived, .. } = incoming;
        let mut opened =
            self.upstream.pass(provider, method, path_and_query, &headers, body, timeouts).await?;
        let mut head = std::mem::take(&mut opened.headers);
        header::add_common(&mut head, &request_id, opened.sent, arrived);
        let status = opened.status;
        // Nothing is kept of what is not understood.
        let terms = Terms {
            dialect: crate::chat::DialectName::OpenAi.dialect(),
            is_stream: false,
            way: Way::Untouched,
            max_kept_bytes: 0,
            must_finish: false,
        };
        let flow = Flow::new(opened, terms, Box::new(|_| {}));
        Ok(Reply {
            status,
            headers: head,
            body: ReplyBody::Live(Box::new(Pump::new(flow, Vec::new()))),
        })
    }
}
