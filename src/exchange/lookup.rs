//! Whether a request is served from the cache, and if not, why it goes to a provider.

use std::sync::Arc;

use crate::cache::Fit;
use crate::cache::Found;
use crate::cache::Wanted;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::Incoming;
use crate::exchange::hit::Form;
use crate::exchange::hit::Serving;
use crate::key::CacheKey;
use crate::key::Parts;
use crate::key::Reading;
use crate::plan;
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
    /// What may be served.
    pub hit: Option<Hit>,
    /// Why nothing may.
    pub forward: Forward,
}

/// A stored exchange that may be served.
pub struct Hit {
    /// Where it is stored.
    pub key: CacheKey,
    /// The exchange.
    pub exchange: Arc<Exchange>,
    /// The metric's word for it.
    pub outcome: &'static str,
    /// When it was found, Unix milliseconds.
    pub now_ms: i64,
}

impl Front {
    /// Looks for an answer to a request.
    ///
    /// A failover's answer is stored under the target that gave it. Where nobody may be asked, it
    /// is looked for there as well; otherwise the first target comes first. Where speed, cost or a
    /// score choose the first, or a cascade has accepted what is stored, any target of the route may
    /// have answered before, and all are looked at in the order of asking.
    pub async fn look_up(
        &self,
        plan: &Plan<'_>,
        request: &ChatRequest,
        incoming: &Incoming,
    ) -> Looked {
        let rules = &plan.cache;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let mut looked = Looked::bypass(rules);
        if !rules.read {
            return looked;
        }
        let form = Form::of(incoming, request);
        let fits = |stored: &Exchange| match form.serving(stored)? {
            Serving::AsItCame | Serving::WithoutUsage => Some(Fit::AsItCame),
            Serving::Translated => Some(Fit::Made),
            // Who may not call the provider is served what there is.
            Serving::Lossy => rules.only_if_cached.then_some(Fit::Made),
        };
        let draw = || draw(&incoming.request_id);
        let wanted = Wanted { rules, now_ms, draw: &draw, fits: &fits };
        let takes_any = rules.any_tenant || plan.takes_any_target();
        let places = if takes_any { plan.targets.len() } else { 1 };
        for target in plan.targets.iter().take(places) {
            let key = plan.key(target);
            looked = Looked::of(key, self.cache.get(&key, wanted).await, now_ms);
            if looked.hit.is_some() {
                break;
            }
        }
        looked
    }
}

/// A request that was read for its key, now or when the same bytes came before.
pub struct Known {
    /// What was read.
    pub reading: Arc<Reading>,
    /// Under which name to remember it, if it is new, and its size in bytes.
    new: Option<([u8; 32], usize)>,
}

impl Front {
    /// Reads a request, unless one of the same bytes was answered from the cache before.
    ///
    /// # Errors
    /// The body is not JSON.
    pub fn read(&self, request: &ChatRequest, incoming: &Incoming) -> Result<Known> {
        let caller = incoming.caller();
        let name = plan::exactly(incoming.dialect, request, &caller);
        if let Some(reading) = self.cache.reading(&name) {
            return Ok(Known { reading, new: None });
        }
        let reading = plan::read(incoming.dialect, request, &caller)?;
        Ok(Known { reading, new: Some((name, request.body.len())) })
    }

    /// Keeps what was read of a request that is answered from the cache: it may well come again.
    pub fn remember(&self, known: Known) {
        if let Some((name, bytes)) = known.new {
            self.cache.remember(name, known.reading, bytes);
        }
    }
}

impl Forward {
    /// The metric's word for it.
    pub fn outcome(&self) -> &'static str {
        match self.why {
            "bypass" => "bypass",
            "miss" => "miss",
            _ => "stale",
        }
    }
}

impl Looked {
    fn bypass(rules: &CacheRules) -> Self {
        Self::none("bypass", rules.not_served)
    }

    fn none(why: &'static str, detail: Option<&'static str>) -> Self {
        Self { hit: None, forward: Forward { why, detail } }
    }

    fn of(key: CacheKey, found: Found, now_ms: i64) -> Self {
        let hit = |exchange, outcome| Self {
            hit: Some(Hit { key, exchange, outcome, now_ms }),
            ..Self::none("miss", None)
        };
        match found {
            Found::Answer(exchange) => hit(exchange, "hit"),
            Found::Failure(exchange) => hit(exchange, "negative_hit"),
            Found::TooFew => Self::none("miss", Some("samples")),
            Found::Expired => Self::none("stale", None),
            Found::Declined => Self::none("request", None),
            Found::Moved => Self::none("stale", Some("model")),
            Found::Nothing => Self::none("miss", None),
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
