//! What a client is told when nothing is stored and nobody may be asked.

use crate::error::Error;
use crate::error::Kind;
use crate::exchange::Front;
use crate::exchange::Incoming;
use crate::experiment::Target;
use crate::key::CacheKey;
use crate::library::near::Near;
use crate::library::near::Wanted;
use crate::library::view;
use crate::plan::Plan;
use crate::wire::ChatRequest;

/// How a test suite or a developer gets an answer stored.
const REMEDY: &str = "record it with `cache: {mode: record}`, or bring it with \
                      `understudy cache import`";

impl Front {
    /// Why there is no answer; in replay mode it names the nearest stored request and where it
    /// differs. The message quotes the prompt, so it is for the client's eyes only.
    pub(super) async fn missed(
        &self,
        plan: &Plan<'_>,
        target: &Target,
        key: &CacheKey,
        request: &ChatRequest,
        incoming: &Incoming,
    ) -> Error {
        if !plan.cache.any_tenant {
            let what =
                format!("no answer is stored under {key}, and calling the provider is not allowed");
            return Error::new(Kind::NotCached, what);
        }
        let what = if self.library.is_empty() {
            format!("no answer is stored, and in replay mode no provider is asked: {REMEDY}")
        } else {
            let wanted = Wanted {
                key: *key,
                asked: incoming.asked(request),
                target: target.to_string(),
                assigned: plan.assigned(),
                body: request.body.clone(),
            };
            told(self.library.nearest(wanted).await)
        };
        Error::new(Kind::NotCached, what)
    }
}

fn told(near: Option<Near>) -> String {
    let Some(Near { id, answered_ms, target, place, .. }) = near else {
        return format!(
            "no answer is stored for this request, and in replay mode no provider is asked: {REMEDY}"
        );
    };
    let at = view::moment(answered_ms);
    format!(
        "no answer is stored for this request, and in replay mode no provider is asked; the \
         nearest stored one is {id} ({at} UTC, {target}): {place}; see `understudy cache show \
         {id}`, or {REMEDY}"
    )
}
