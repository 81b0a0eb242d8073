//! How many tokens a request has: the provider's own count where it has one, else an estimate.

use std::sync::Arc;

use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::Incoming;
use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::exchange::header as head;
use crate::plan;
use crate::tokens;
use crate::wire::json;

impl Front {
    /// Counts the tokens of a request.
    ///
    /// # Errors
    /// The request cannot be read, or its provider cannot be reached.
    pub async fn count_tokens(self: &Arc<Self>, mut incoming: Incoming) -> Result<Reply> {
        let dialect = incoming.dialect;
        let request = dialect.read_head(incoming.body.clone(), incoming.in_path.clone())?;
        let plan = plan::plan(&self.config, dialect, &request, &incoming.caller())?;
        let target = plan.targets.first().ok_or_else(|| {
            Error::new(Kind::Config, format!("the route \"{}\" has no targets", request.model))
        })?;
        let speaks =
            |provider: &crate::config::Provider| provider.dialects.contains(&dialect.name());
        let is_own = self.config.providers.get(&target.provider).is_some_and(speaks);
        if let Some(path) = dialect.count_path(&target.model).filter(|_| is_own) {
            incoming.body = json::rename(&request, &target.model);
            if plan.credential_for != target.provider {
                incoming.headers = head::without_credential(&incoming.headers);
            }
            let (provider, method) = (target.provider.clone(), http::Method::POST);
            return self.hand_on(&provider, method, &path, incoming).await;
        }
        let counted = tokens::count(&dialect.read_count(&request)?, &target.model);
        let body = dialect.write_count(counted.tokens);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head::add_target(&mut headers, target);
        head::add_tokenizer(&mut headers, counted.by);
        Ok(Reply { status: StatusCode::OK, headers, body: ReplyBody::Whole(body) })
    }
}
