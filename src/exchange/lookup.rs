//! Whether a request is served from the cache, and if not, why it goes to a provider.

use std::sync::Arc;

use crate::cache::Found;
use crate::cache::Wanted;
use crate::exchange::Front;
use crate::exchange::Incoming;
use crate::exchange::hit::Form;
use crate::exchange::hit::Serving;
use crate::key::CacheKey;
use crate::key::Parts;
use crate::plan::CacheRules;
use crate::plan::Plan;
use crate::store::exchange::Exchange;
use crate::wire::ChatRequest;

/// Why a request goes to a provider (RFC 9211, section 2.2), and more exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// `bypass`, `miss`, `stale` or `request`.
    pub why: &'static str,
    /// A word that explains it.
    pub detail: Option<&'static str>,
}

/// What came of looking into the cache.
pub struct Looked {
    /// What may be served, with its key.
    pub hit: Option<(CacheKey, Arc<Exchange>)>,
    /// Why nothing may.
    pub forward: Forward,
    /// The metric's word for it.
    pub outcome: &'static str,
}

impl Front {
    /// Looks for an answer to a request.
    ///
    /// A failover's answer is stored under the target that gave it. Where nobody may be asked, it
    /// is looked for there as well; otherwise the first target comes first.
    pub async fn look_up(
        &self,
        plan: &Plan<'_>,
        request: &ChatRequest,
        incoming: &Incoming,
        now_ms: i64,
    ) -> Looked {
        let rules = &plan.cache;
        let mut looked = Looked::bypass(rules);
        if !rules.read {
            return looked;
        }
        let form = Form::of(incoming, request);
        let serves = |stored: &Exchange| match form.serving(stored) {
            // Who may not call the provider is served what there is.
            Some(Serving::Lossy) => rules.only_if_cached,
            serving => serving.is_some(),
        };
        let draw = draw(&incoming.request_id);
        let wanted = Wanted { rules, now_ms, draw, serves: &serves };
        let places = if rules.any_tenant { plan.targets.len() } else { 1 };
        for target in plan.targets.iter().take(places) {
            let key = plan.key(target);
            looked = Looked::of(key, self.cache.get(&key, wanted).await);
            if looked.hit.is_some() {
                break;
            }
        }
        looked
    }
}

impl Looked {
    fn bypass(rules: &CacheRules) -> Self {
        let forward = Forward { why: "bypass", detail: rules.not_served };
        Self { hit: None, forward, outcome: "bypass" }
    }

    fn of(key: CacheKey, found: Found) -> Self {
        let hit = |exchange, outcome| Self {
            hit: Some((key, exchange)),
            forward: Forward { why: "miss", detail: None },
            outcome,
        };
        let none =
            |why, detail, outcome| Self { hit: None, forward: Forward { why, detail }, outcome };
        match found {
            Found::Answer(exchange) => hit(exchange, "hit"),
            Found::Failure(exchange) => hit(exchange, "negative_hit"),
            Found::TooFew => none("miss", Some("samples"), "miss"),
            Found::Expired => none("stale", None, "stale"),
            Found::Declined => none("request", None, "stale"),
            Found::Moved => none("stale", Some("model"), "stale"),
            Found::Nothing => none("miss", None, "miss"),
        }
    }
}

/// A number that a request's id draws.
fn draw(request_id: &str) -> u64 {
    let mut parts = Parts::new("draw");
    parts.part(request_id.as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = parts.finish();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
