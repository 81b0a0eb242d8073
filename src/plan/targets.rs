//! Who answers to a model's name.

use crate::chat::request::Request;
use crate::choice::Merit;
use crate::choice::Policy;
use crate::config::Condition;
use crate::config::Config;
use crate::config::Route;
use crate::config::Timeouts;
use crate::config::Weighted;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::experiment::assign::Asking;
use crate::experiment::assign::Body;
use crate::experiment::assign::position;
use crate::key::PromptDigest;
use crate::key::Reading;
use crate::key::Tenant;
use crate::plan::Caller;
use crate::provider;
use crate::tokens;
use crate::wire::ChatRequest;
use crate::wire::Dialect;

/// A request that is on its way to somebody.
pub struct Sought<'c, 'r> {
    /// Who can be asked.
    pub config: &'c Config,
    /// The request's dialect.
    pub dialect: &'r dyn Dialect,
    /// The request.
    pub request: &'r ChatRequest,
    /// Who sent it.
    pub caller: &'r Caller<'r>,
    /// Whose it is.
    pub tenant: &'r Tenant,
    /// All that was read of it.
    pub reading: &'r Reading,
}

/// Who is asked, and how that came about.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// In the order of asking.
    pub targets: Vec<Target>,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// What a route decided; `None` where no route answers to the model.
    pub route: Option<Routed>,
}

/// What a route decided of a request.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The clause of `when` whose condition holds, from 0.
    pub clause: Option<usize>,
    /// How the first is chosen.
    pub policy: Policy,
    /// The places of targets in the file and what speaks for and against each, in the order of
    /// asking; empty where the order of the file or weights decide.
    pub merits: Vec<(usize, Merit)>,
    /// Whether this prompt tries out a target that is not the best.
    pub explores: bool,
}

/// The provider of the path, or the one that the route names first, whoever a weight draws.
pub fn credential_for(
    config: &Config,
    model: &str,
    prefix: Option<&str>,
    first: &Target,
) -> String {
    let routed = config.routes.get(model).and_then(|route| route.targets.first());
    let named = routed.map_or(first, |routed| &routed.target);
    prefix.unwrap_or(&named.provider).to_owned()
}

impl Sought<'_, '_> {
    /// A route of that name, else `provider/model`, else a model of the prefix's or dialect's
    /// provider.
    pub fn resolve(&self) -> Result<Chosen> {
        let (config, model) = (self.config, self.request.model.as_str());
        if let Some(route) = config.routes.get(model) {
            return Ok(self.routed(route));
        }
        let to = |provider: &str, model: &str| Chosen {
            targets: vec![Target { provider: provider.to_owned(), model: model.to_owned() }],
            timeouts: config.timeouts,
            route: None,
        };
        if let Some(provider) = self.caller.provider {
            return Ok(to(provider, model));
        }
        if let Some(target) = Target::parse(model) {
            if config.providers.contains_key(&target.provider) {
                return Ok(to(&target.provider, &target.model));
            }
            if let Some(what) = nowhere(&target.provider) {
                return Err(Error::new(Kind::NotFound, what));
            }
        }
        let home = provider::native(self.dialect.name()).home;
        if !config.providers.contains_key(home) {
            let what = format!("no route or provider answers to the model \"{model}\"");
            return Err(Error::new(Kind::NotFound, what));
        }
        Ok(to(home, model))
    }

    fn routed(&self, route: &Route) -> Chosen {
        let (config, policy) = (self.config, route.choose);
        let (name, prompt) = (self.request.model.as_str(), &self.reading.digest);
        let clause = route.when.iter().position(|clause| self.meets(&clause.condition, route));
        let weighted = route.targets(clause);
        if policy == Policy::Order {
            let targets = ordered(weighted, name, prompt);
            let routed = Routed { clause, policy, merits: Vec::new(), explores: false };
            return Chosen { targets, timeouts: route.timeouts, route: Some(routed) };
        }
        let merit = |weighted: &Weighted| {
            let target = &weighted.target;
            let prices = config.prices.of(target).map(|[input, output, _]| (input, output));
            Merit::of(target, prices, self.caller.paces, &config.experiments)
        };
        let merits: Vec<Merit> = weighted.iter().map(merit).collect();
        let order = policy.order(&merits, prompt);
        let places = order.places.iter();
        let targets = places.clone().map(|at| weighted[*at].target.clone()).collect();
        let merits = places.map(|at| (*at, merits[*at])).collect();
        let routed = Routed { clause, policy, merits, explores: order.explores };
        Chosen { targets, timeouts: route.timeouts, route: Some(routed) }
    }

    /// Whether a condition of a route holds.
    fn meets(&self, condition: &Condition, route: &Route) -> bool {
        let Condition { matches, min_tokens, max_tokens, tools, stream } = condition;
        if stream.is_some_and(|wanted| wanted != self.request.stream) {
            return false;
        }
        let Some(first) = route.targets.first() else { return false };
        let asking = Asking {
            model: &self.request.model,
            target: &first.target,
            headers: self.caller.headers,
            tenant: &self.tenant.0,
            body: Body::new(&self.request.body),
        };
        let read = self.reading.request.as_deref();
        if tools.is_some_and(|wanted| wanted != offers_tools(read, &asking)) {
            return false;
        }
        if min_tokens.is_some() || max_tokens.is_some() {
            let tokens = tokens::of_prompt(read, &self.request.body);
            let is_within = min_tokens.is_none_or(|least| tokens >= least)
                && max_tokens.is_none_or(|most| tokens <= most);
            if !is_within {
                return false;
            }
        }
        matches.accepts(&asking)
    }
}

fn offers_tools(read: Option<&Request>, asking: &Asking<'_>) -> bool {
    match read {
        Some(request) => !request.tools.is_empty(),
        None => asking.body.at("/tools").is_some_and(|tools| *tools != serde_json::json!([])),
    }
}

/// What is missing of a known provider that is not configured because nobody said where it is.
fn nowhere(name: &str) -> Option<String> {
    let row = provider::find(name).filter(|row| !row.holes.is_empty())?;
    let holes: Vec<&str> = row.holes.iter().map(|hole| hole.name).collect();
    Some(format!("the provider {name} is not configured: it needs its {}", holes.join(" and ")))
}

/// A weighted route begins with a target drawn by the prompt's hash and keeps the rest in order.
fn ordered(all: &[Weighted], name: &str, prompt: &PromptDigest) -> Vec<Target> {
    let mut targets: Vec<Target> = all.iter().map(|t| t.target.clone()).collect();
    let total: u64 = all.iter().map(|t| u64::from(t.weight.unwrap_or(0))).sum();
    if total > 0 {
        let drawn = u64::from(position("route", name, &prompt.0)) * total / 1_000_000;
        let mut end = 0;
        let first = all.iter().position(|target| {
            end += u64::from(target.weight.unwrap_or(0));
            drawn < end
        });
        targets[..=first.unwrap_or(0)].rotate_right(1);
    }
    targets
}
