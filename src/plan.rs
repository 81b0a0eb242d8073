//! Everything decided about a request before any IO.

mod caching;
mod cascading;
mod enrol;
mod pin;
mod sent;
mod targets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::caller::Patron;
use crate::cascade::Cascade;
use crate::chat::DialectName;
use crate::chat::request::Request;
use crate::choice::Paces;
use crate::config::CacheMode;
use crate::config::Config;
use crate::config::Provider;
use crate::config::Timeouts;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Target;
use crate::experiment::Variant;
use crate::experiment::assign::Outside;
use crate::key;
use crate::key::CacheKey;
use crate::key::Ingredients;
use crate::key::NOT_IN_KEY_OF_QUERY;
use crate::key::PromptDigest;
use crate::key::Reach;
use crate::key::Reading;
use crate::key::Tenant;
use crate::pair::PairId;
use crate::wire::ChatRequest;
use crate::wire::Dialect;

pub use cascading::Cascading;
pub use enrol::previous_response;
pub use pin::Thread;
pub use sent::SentHeader;
pub use sent::tenant_headers;
pub use targets::Routed;

use caching::cache_rules;
use caching::refused;
use enrol::Enrolment;
use enrol::Entrant;
use sent::tenant;
use targets::Chosen;
use targets::Sought;
use targets::credential_for;

/// Who sent the request, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The provider whose path prefix was used, if any.
    pub provider: Option<&'a str>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// What its URL asks besides, without credentials.
    pub query: Option<&'a str>,
    /// What is remembered of the response it goes on from.
    pub thread: Option<&'a Thread>,
    /// How fast targets have been of late, where that is known.
    pub paces: Option<&'a Paces<'a>>,
    /// Who it is, where callers have keys of ours.
    pub patron: Option<&'a Patron>,
}

impl<'a> Caller<'a> {
    /// Who sends these headers, of whom nothing else is known.
    pub fn new(headers: &'a HeaderMap) -> Self {
        Self { provider: None, headers, query: None, thread: None, paces: None, patron: None }
    }
}

/// What will happen to a request.
#[derive(Clone, Debug)]
pub struct Plan<'c> {
    /// The request's dialect.
    pub dialect: DialectName,
    /// Who is asked, in order.
    pub targets: Vec<Target>,
    /// The only provider that may see the client's own credential.
    pub credential_for: String,
    /// What a route decided, if one answers to the model.
    pub route: Option<Routed>,
    /// What its cascade makes of the request, if it has one and no experiment chose the target.
    pub cascading: Option<Cascading<'c>>,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// The experiment the request takes part in, and the variant it is assigned to.
    pub enrolled: Option<(&'c Experiment, &'c Variant)>,
    /// The variant that is asked: the assigned one, unless the request is pinned.
    pub served: Option<&'c Variant>,
    /// Why another variant than the assigned one is asked: only that one can read the history.
    pub pinned: Option<&'static str>,
    /// What was randomized there: the value that stays on its variant.
    pub unit: Option<String>,
    /// What names the conversation, if an experiment wanted to know.
    pub conversation: Option<String>,
    /// Experiments whose conditions hold, but not for this unit, and why.
    pub outside: Vec<(&'c Experiment, Outside)>,
    /// The pair it makes, if it is sampled.
    pub pair: Option<PairId>,
    /// What the cache may do.
    pub cache: CacheRules,
    /// What is asked, whoever answers.
    pub prompt: PromptDigest,
    /// Which requests may share that digest.
    pub reach: Reach,
    /// For whom.
    pub tenant: Tenant,
    /// The headers that make another answer.
    pub headers: Vec<SentHeader>,
    /// Who can be asked, by name.
    pub providers: &'c BTreeMap<String, Provider>,
    /// The whole request; `None` where only the provider can tell what it means.
    pub request: Option<Arc<Request>>,
}

/// What the cache may do for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRules {
    /// A stored answer may be served.
    pub read: bool,
    /// The answer may be stored.
    pub write: bool,
    /// A miss is an error instead of a call.
    pub only_if_cached: bool,
    /// Stored answers older than this do not count.
    pub max_age: Option<Duration>,
    /// Stored answers that will not stay fresh for so long do not count.
    pub min_fresh: Option<Duration>,
    /// Stored answers count however old they are: in replay mode only.
    pub any_age: bool,
    /// Why the answer may not be served to anyone else, although it is stored.
    pub not_served: Option<&'static str>,
    /// How long the answer may be served.
    pub ttl: Duration,
    /// How long a failure that would only repeat itself may be served.
    pub error_ttl: Duration,
    /// Answers kept of one prompt.
    pub samples: u32,
    /// Whether the call may be shared with identical requests that are under way.
    pub coalesce: bool,
    /// Answers that others got with their own credential count, too: in replay mode only.
    pub any_tenant: bool,
}

/// Reads a request for its key, which is most of the work of a plan.
///
/// # Errors
/// The body is not JSON, in words for the client.
pub fn read(
    dialect: &dyn Dialect,
    request: &ChatRequest,
    caller: &Caller<'_>,
) -> Result<Arc<Reading>> {
    let read = key::read(dialect, request, &beside(caller));
    read.map(Arc::new).map_err(|error| not_json(&error))
}

/// A name for what [`read`] gives: the same for requests of the same bytes.
pub fn exactly(dialect: &dyn Dialect, request: &ChatRequest, caller: &Caller<'_>) -> [u8; 32] {
    key::exactly(dialect.name(), request, &beside(caller))
}

/// Decides everything about a request.
///
/// # Errors
/// The request asks for nothing that exists, in words for the client.
pub fn plan<'c>(
    config: &'c Config,
    dialect: &dyn Dialect,
    request: &ChatRequest,
    caller: &Caller<'_>,
) -> Result<Plan<'c>> {
    let reading = read(dialect, request, caller)?;
    plan_of(config, dialect, request, caller, &reading)
}

/// Decides everything about a request that was read, or one of the same bytes.
///
/// # Errors
/// The request asks for nothing that exists, in words for the client.
pub fn plan_of<'c>(
    config: &'c Config,
    dialect: &dyn Dialect,
    request: &ChatRequest,
    caller: &Caller<'_>,
    reading: &Reading,
) -> Result<Plan<'c>> {
    let (prompt, reach, whole) = (reading.digest, reading.reach, reading.request.clone());
    let of_headers = || tenant(config, caller.headers);
    let tenant = caller.patron.map_or_else(of_headers, |patron| patron.tenant);
    let sought = Sought { config, dialect, request, caller, tenant: &tenant, reading };
    let Chosen { targets: asked, timeouts, route } = sought.resolve()?;
    let first = asked.first().ok_or_else(|| {
        Error::new(Kind::Config, format!("the route \"{}\" has no targets", request.model))
    })?;
    if let Some(patron) = caller.patron.filter(|patron| !patron.may_ask(&request.model, &asked)) {
        let what = format!("the caller \"{}\" may not ask \"{}\"", patron.name, request.model);
        return Err(Error::new(Kind::Forbidden, what));
    }
    let credential_for = credential_for(config, &request.model, caller.provider, first);
    let entrant = Entrant { config, dialect, request, caller, first, tenant: &tenant, reading };
    let Enrolment { enrolled, served, pinned, unit, conversation, outside } = entrant.enrol();
    // What only one variant can read, the others cannot answer as well.
    let pair = enrolled
        .filter(|(experiment, _)| pinned.is_none() && experiment.is_running())
        .filter(|(experiment, _)| experiment.is_shadowed(&prompt.0))
        .map(|(experiment, _)| PairId::of(&experiment.run(), &prompt, &tenant));
    let mut targets = asked;
    let mut cascading = None;
    match served {
        Some(variant) => {
            targets.retain(|target| *target != variant.target);
            targets.insert(0, variant.target.clone());
        }
        None => cascading = Cascading::of(&sought, &targets),
    }
    if let Some(Cascading::Straight(_)) = cascading {
        targets.drain(..targets.len().saturating_sub(1));
    }
    let policy = config.routes.get(&request.model).map_or(config.cache, |route| route.cache);
    let refused = match policy.mode {
        CacheMode::On => refused(&policy, (dialect, request), whole.as_deref(), &targets),
        // Others are not served what one got: what was recorded is repeated, whatever it is.
        CacheMode::Off | CacheMode::Record | CacheMode::Replay => None,
    };
    let cache = cache_rules(policy, refused, caller.headers);
    let headers = SentHeader::all(config, caller.headers);
    Ok(Plan {
        dialect: dialect.name(),
        targets,
        route,
        cascading,
        credential_for,
        timeouts,
        enrolled,
        served,
        pinned,
        unit,
        conversation,
        outside,
        pair,
        cache,
        prompt,
        reach,
        tenant,
        headers,
        providers: &config.providers,
        request: whole,
    })
}

/// What the query asks that the body does not.
fn beside<'a>(caller: &Caller<'a>) -> Vec<&'a str> {
    let pairs = caller.query.into_iter().flat_map(|query| query.split('&'));
    let counts = |pair: &&str| NOT_IN_KEY_OF_QUERY.iter().all(|(name, _)| name != pair);
    pairs.filter(|pair| !pair.is_empty()).filter(counts).collect()
}

fn not_json(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    // What the dialect read without descending into it can only be too deep, or broken there.
    let is_deep = error.to_string().starts_with("recursion limit");
    let what = if is_deep { "is nested too deeply" } else { "is not valid JSON" };
    let what = format!("the body {what} (line {line}, column {column})");
    Error::new(Kind::BadRequest, what)
}

impl Plan<'_> {
    /// The key of the answer that `target` gives.
    ///
    /// The variant counts, and so does what it changes: two variants never share an answer. So do
    /// the rules of a cascade: what is stored under them is what they accepted.
    pub fn key(&self, target: &Target) -> CacheKey {
        let changes = self.variant(target).map(Variant::changes).unwrap_or_default();
        let rules = self.checks(target).map(Cascade::rules);
        let variant = self.enrolled.zip(self.served);
        let variant = match (variant, &rules) {
            (Some(((experiment, _), served)), _) => {
                vec![experiment.name.as_str(), &served.name, &changes]
            }
            (None, Some(rules)) => vec!["cascade", rules],
            (None, None) => Vec::new(),
        };
        let sent = |is_account: bool| -> Vec<(&str, &[u8])> {
            let sent = self.headers_for(target).filter(|sent| sent.is_account == is_account);
            sent.map(|sent| (sent.name.as_str(), sent.value.as_bytes())).collect()
        };
        CacheKey::of(&Ingredients {
            prompt: &self.prompt,
            target,
            variant: &variant,
            headers: &sent(false),
            tenant: &self.tenant,
            accounts: &sent(true),
        })
    }

    /// The headers that make another answer of `target`'s, because its provider may read them.
    pub fn headers_for(&self, target: &Target) -> impl Iterator<Item = &SentHeader> {
        let provider = self.providers.get(&target.provider);
        let spoken = provider.map_or(&[][..], |provider| provider.dialects.as_slice());
        let is_own = spoken.contains(&self.dialect);
        let reads = move |sent: &&SentHeader| {
            is_own || sent.read_by.is_none_or(|by| by.iter().any(|by| spoken.contains(by)))
        };
        self.headers.iter().filter(reads)
    }

    /// What an answer of `target`'s has to be before anybody gets it; nothing of a last one's.
    pub fn checks(&self, target: &Target) -> Option<&Cascade> {
        match self.cascading? {
            Cascading::Checked(cascade) if self.targets.last() != Some(target) => Some(cascade),
            Cascading::Checked(_) | Cascading::Straight(_) => None,
        }
    }

    /// Whether a stored answer of any target is as good as one of the first: it was accepted, or
    /// what is first changes from one moment to the next, and no experiment has assigned it.
    pub fn takes_any_target(&self) -> bool {
        if self.cascading.is_some() {
            return true;
        }
        let is_fickle = self.route.as_ref().is_some_and(|route| route.policy.is_fickle());
        is_fickle && self.served.is_none()
    }

    /// Whether the wish for a stream's usage is not in the digest, as it is with whole answers.
    pub fn leaves_usage_out(&self, head: &ChatRequest) -> bool {
        self.reach != Reach::SameForm && key::left_out(self.dialect, head).stream_usage
    }

    /// The variant whose changes are made for `target`: its own and no other.
    pub fn variant(&self, target: &Target) -> Option<&Variant> {
        self.served.filter(|served| served.target == *target)
    }

    /// What to remember of the response that the first target gives, if its conversation may go on
    /// from it: only an experiment that has looked at the request wants to know.
    pub fn thread(&self) -> Option<Thread> {
        if self.enrolled.is_none() && self.conversation.is_none() {
            return None;
        }
        let served = self.enrolled.zip(self.served);
        let target = self.targets.first()?.clone();
        Some(Thread {
            conversation: self.conversation.clone(),
            served: served.map(|((of, _), served)| (of.name.clone(), served.name.clone())),
            target,
        })
    }

    /// `experiment=variant`, if the request takes part in one.
    pub fn assigned(&self) -> Option<String> {
        self.enrolled.map(|(experiment, variant)| format!("{}={}", experiment.name, variant.name))
    }
}
