//! What there is to tell about a planned request, with the reason of each decision.

use http::HeaderMap;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

use crate::choice::Policy;
use crate::choice::Weights;
use crate::cli::explain::failing::Failing;
use crate::cli::explain::guess::Endpoint;
use crate::config::Config;
use crate::experiment::Experiment;
use crate::experiment::Target;
use crate::experiment::Unit;
use crate::experiment::assign::Outside;
use crate::experiment::assign::position;
use crate::key::NOT_IN_KEY;
use crate::key::Reach;
use crate::plan;
use crate::plan::CacheRules;
use crate::plan::Caller;
use crate::plan::Cascading;
use crate::plan::Plan;
use crate::upstream::outgoing::Outgoing;
use crate::wire::ChatRequest;

/// Everything that `explain` says; for scripts as it is.
#[derive(Debug, Serialize)]
pub struct Account {
    pub dialect: &'static str,
    /// What the dialect was guessed by; null when the path says it.
    pub guessed_by: Option<String>,
    pub model: String,
    pub stream: bool,
    /// How the model's name leads to the targets.
    pub route: String,
    /// How the first of the targets is chosen, and what speaks for and against each.
    pub chosen: Vec<String>,
    /// What has to hold of the answers of all targets but the last, or why only that one is asked.
    pub cascade: Option<String>,
    pub targets: Vec<Asked>,
    /// What would be done if a call failed.
    pub failing: Failing,
    /// The only provider that gets the caller's own credential.
    pub credential_for: String,
    /// Who asks, where callers have keys of ours.
    pub caller: Option<String>,
    /// Whose answers it may share, as `match.tenants` of an experiment names them.
    pub tenant: String,
    pub experiment: Option<Enrolled>,
    /// Experiments that the request matches but its unit has no part in, and why.
    pub outside: Vec<(String, &'static str)>,
    pub cache: Cache,
    pub prompt: Prompt,
    pub fields: Vec<Counted>,
    pub headers: Vec<Counted>,
}

/// One target, in the order of asking.
#[derive(Debug, Serialize)]
pub struct Asked {
    pub target: String,
    /// The dialect it is asked in.
    pub dialect: Option<&'static str>,
    pub is_translated: bool,
    /// Fields that its dialect has no place for.
    pub left_out: Vec<String>,
    /// Why it cannot be asked.
    pub refused: Option<String>,
    pub cache_key: String,
}

/// A place in an experiment.
#[derive(Debug, Serialize)]
pub struct Enrolled {
    pub name: String,
    /// The variant that the unit is assigned to.
    pub variant: String,
    /// The variant that is asked; another one only if `pinned`.
    pub served: String,
    /// Why another variant than the assigned one is asked.
    pub pinned: Option<&'static str>,
    /// Where the unit comes from.
    pub unit: String,
    /// Where the unit stands, 0 to 100.
    pub position_percent: f64,
    /// Each candidate's place on that scale, from and to; control has what is left.
    pub shares: Vec<(String, f64, f64)>,
    pub is_pair: bool,
    pub shadow_position_percent: f64,
    pub shadow_percent: f64,
}

/// What the cache may do.
#[derive(Debug, Serialize)]
pub struct Cache {
    pub read: bool,
    pub write: bool,
    pub only_if_cached: bool,
    pub max_age_s: Option<u64>,
    pub ttl_s: u64,
    pub error_ttl_s: u64,
    pub samples: u32,
    pub coalesce: bool,
    pub any_tenant: bool,
    /// Why a stored answer is served to nobody.
    pub not_served: Option<&'static str>,
}

/// What is asked, as a digest.
#[derive(Debug, Serialize)]
pub struct Prompt {
    pub digest: String,
    pub shared_with: &'static str,
    pub why: &'static str,
}

/// A field or header, and whether it is in the key.
#[derive(Debug, Serialize)]
pub struct Counted {
    pub name: String,
    pub counts: bool,
    pub why: String,
}

impl Account {
    /// Of a plan and what it was made from.
    pub fn of(
        config: &Config,
        endpoint: &Endpoint,
        request: &ChatRequest,
        caller: &Caller<'_>,
        plan: &Plan<'_>,
    ) -> Self {
        let targets = plan.targets.iter().map(|target| asked(config, request, plan, target));
        Self {
            dialect: plan.dialect.as_str(),
            guessed_by: endpoint.guessed_by.clone(),
            model: request.model.clone(),
            stream: request.stream,
            route: route(config, request, caller, plan),
            chosen: chosen(config, request, plan),
            cascade: plan.cascading.map(cascade),
            targets: targets.collect(),
            failing: Failing::of(config, request, caller, plan),
            credential_for: plan.credential_for.clone(),
            caller: caller.patron.map(|patron| patron.name.clone()),
            tenant: plan.tenant.short(),
            experiment: plan
                .enrolled
                .map(|(experiment, variant)| enrolled(experiment, &variant.name, plan, caller)),
            outside: plan
                .outside
                .iter()
                .map(|(of, why)| (of.name.clone(), outside(*why)))
                .collect(),
            cache: cache(&plan.cache),
            prompt: Prompt {
                digest: plan.prompt.to_string(),
                shared_with: plan.reach.as_str(),
                why: reach(plan.reach),
            },
            fields: fields(request, plan),
            headers: headers(config, caller.headers, plan),
        }
    }
}

fn asked(config: &Config, request: &ChatRequest, plan: &Plan<'_>, target: &Target) -> Asked {
    let from = plan.dialect.dialect();
    let provider = config.providers.get(&target.provider);
    let (variant, in_experiment) = (plan.variant(target), plan.enrolled.is_some());
    let written = provider.map(|provider| {
        Outgoing::write(request, from, provider, &target.model, variant, in_experiment)
    });
    let (outgoing, refused) = match written {
        Some(Ok(outgoing)) => (Some(outgoing), None),
        Some(Err(error)) => (None, Some(error.detail)),
        None => (None, Some(format!("there is no provider \"{}\"", target.provider))),
    };
    let left_out = outgoing.iter().flat_map(|outgoing| outgoing.losses.fields());
    Asked {
        target: target.to_string(),
        dialect: outgoing.as_ref().map(|outgoing| outgoing.dialect.as_str()),
        is_translated: outgoing.as_ref().is_some_and(|outgoing| outgoing.dialect != plan.dialect),
        left_out: left_out.map(|(_, field)| field.to_owned()).collect(),
        refused,
        cache_key: plan.key(target).to_string(),
    }
}

fn route(config: &Config, request: &ChatRequest, caller: &Caller<'_>, plan: &Plan<'_>) -> String {
    let model = &request.model;
    if let (Some(route), Some(routed)) = (config.routes.get(model), &plan.route) {
        let which = routed.clause.map_or(String::new(), |at| format!(", when[{at}] holds"));
        let targets = route.targets(routed.clause).iter().map(|weighted| match weighted.weight {
            Some(weight) => format!("{} (weight {weight})", weighted.target),
            None => weighted.target.to_string(),
        });
        let targets = targets.collect::<Vec<_>>().join(", ");
        return format!("the route {model}{which}: {targets}");
    }
    match (caller.provider, Target::parse(model)) {
        (Some(provider), _) => format!("no route; the path says {provider}"),
        (None, Some(target)) if config.providers.contains_key(&target.provider) => {
            format!("no route; the model's name says {}", target.provider)
        }
        _ => "no route; a bare name goes to the dialect's own provider".to_owned(),
    }
}

/// A sidecar that runs also knows how long each target takes.
fn chosen(config: &Config, request: &ChatRequest, plan: &Plan<'_>) -> Vec<String> {
    let routed = plan.route.as_ref().filter(|routed| !routed.merits.is_empty());
    let Some((route, routed)) = config.routes.get(&request.model).zip(routed) else {
        return Vec::new();
    };
    let targets = route.targets(routed.clause);
    let mut lines = vec![match (routed.policy, routed.explores) {
        (Policy::Score(Weights { cost, latency, quality }), _) => {
            format!("by score: cost counts {cost}, latency {latency}, quality {quality}")
        }
        (policy, false) => format!("by {}", policy.as_str()),
        (policy, true) => format!("by {}, but this prompt tries out another", policy.as_str()),
    }];
    lines.extend(routed.merits.iter().map(|(at, merit)| {
        let price = merit.usd_per_million.map(|usd| format!("{usd:.3} USD per million tokens"));
        let took = merit.latency_us.map(|us| format!("{:.0} ms", us / 1e3));
        format!(
            "{}: {}, {}, quality {:.2}",
            targets[*at].target,
            price.unwrap_or_else(|| "price unknown".to_owned()),
            took.unwrap_or_else(|| "pace known to a running sidecar only".to_owned()),
            merit.quality
        )
    }));
    lines
}

fn cascade(cascading: Cascading<'_>) -> String {
    let cascade = match cascading {
        Cascading::Checked(cascade) => cascade,
        Cascading::Straight(why) => {
            return format!("only the last target is asked: {why}");
        }
    };
    let mut checks: Vec<String> = cascade.checks.iter().map(|c| c.name().to_owned()).collect();
    checks.extend(cascade.judge.as_ref().map(|judge| format!("the word of {}", judge.target)));
    format!("all but the last are held back for {}", checks.join(", "))
}

fn percent(ppm: u32) -> f64 {
    f64::from(ppm) / 10_000.0
}

fn enrolled(
    experiment: &Experiment,
    variant: &str,
    plan: &Plan<'_>,
    caller: &Caller<'_>,
) -> Enrolled {
    let unit = plan.unit.as_deref().unwrap_or_default();
    let active = experiment.places().filter(|(candidate, _)| !experiment.is_halted(candidate));
    let shares = active.map(|(candidate, place)| {
        (candidate.variant.name.clone(), percent(place.start), percent(place.end))
    });
    Enrolled {
        name: experiment.name.clone(),
        variant: variant.to_owned(),
        served: plan.served.map_or(variant, |served| &served.name).to_owned(),
        pinned: plan.pinned,
        unit: match &experiment.unit {
            Unit::Conversation => "the conversation".to_owned(),
            Unit::Header(name) if caller.headers.contains_key(name) => format!("the header {name}"),
            Unit::Header(name) => format!("the conversation, because the header {name} is missing"),
            Unit::Field(field) => {
                format!("the field {field}, or the conversation if it is missing")
            }
        },
        position_percent: percent(experiment.position(unit.as_bytes())),
        shares: shares.collect(),
        is_pair: plan.pair.is_some(),
        shadow_position_percent: percent(position("shadow", &experiment.salt, &plan.prompt.0)),
        shadow_percent: percent(experiment.shadow.ppm()),
    }
}

fn outside(why: Outside) -> &'static str {
    match why {
        Outside::Holdout => "its unit is held out of all experiments",
        Outside::Layer => "its unit is in another slice of the layer",
        Outside::Share => "its unit is not in the share that takes part",
    }
}

fn cache(rules: &CacheRules) -> Cache {
    Cache {
        read: rules.read,
        write: rules.write,
        only_if_cached: rules.only_if_cached,
        max_age_s: rules.max_age.map(|age| age.as_secs()),
        ttl_s: rules.ttl.as_secs(),
        error_ttl_s: rules.error_ttl.as_secs(),
        samples: rules.samples,
        coalesce: rules.coalesce,
        any_tenant: rules.any_tenant,
        not_served: rules.not_served,
    }
}

fn reach(reach: Reach) -> &'static str {
    match reach {
        Reach::AnyDialect => "requests of any dialect that ask exactly the same, streamed or whole",
        Reach::OwnDialect => {
            "requests of this dialect, streamed or whole: it is long, has a query, or says something \
             in words or a spelling of this dialect alone"
        }
        Reach::SameForm => {
            "requests of this dialect that stream as it does: only a provider can read it"
        }
    }
}

/// The body's members, and what of them does not count.
fn fields(request: &ChatRequest, plan: &Plan<'_>) -> Vec<Counted> {
    let body: Map<String, Value> = serde_json::from_slice(&request.body).unwrap_or_default();
    let left_out = |name: &str| match name {
        "model" => true,
        "stream" => request.model_at.is_some() && plan.reach != Reach::SameForm,
        "stream_options.include_usage" => plan.leaves_usage_out(request),
        _ => false,
    };
    let mut rows = Vec::new();
    for name in body.keys() {
        let inner = NOT_IN_KEY.iter().filter(|(path, _)| {
            path.split_once('.').is_some_and(|(outer, _)| outer == name) && left_out(path)
        });
        let whole = NOT_IN_KEY.iter().find(|(path, _)| path == name && left_out(path));
        let why = match whole {
            Some((_, reason)) => (*reason).to_owned(),
            None => "everything counts that is not on the list of what does not".to_owned(),
        };
        rows.push(Counted { name: name.clone(), counts: whole.is_none(), why });
        rows.extend(inner.map(|(path, reason)| Counted {
            name: (*path).to_owned(),
            counts: false,
            why: (*reason).to_owned(),
        }));
    }
    rows
}

/// The headers that count, by name only: their values may be credentials.
fn headers(config: &Config, sent: &HeaderMap, plan: &Plan<'_>) -> Vec<Counted> {
    let row = |name: &str, counts: bool, why: &str| Counted {
        name: name.to_owned(),
        counts,
        why: why.to_owned(),
    };
    let tenant = plan::tenant_headers(config).filter(|name| sent.contains_key(*name));
    let mut rows: Vec<Counted> =
        tenant.map(|name| row(name, true, "tells whose request it is")).collect();
    let first = plan.targets.first();
    let counting: Vec<_> = first.into_iter().flat_map(|first| plan.headers_for(first)).collect();
    for header in &plan.headers {
        let counts = counting.iter().any(|counting| counting.name == header.name);
        let why =
            if counts { header.reason } else { "the first target's provider does not read it" };
        rows.push(row(header.name.as_str(), counts, why));
    }
    for name in sent.keys() {
        if rows.iter().all(|row| row.name != name.as_str()) {
            rows.push(row(name.as_str(), false, "makes no other answer; cache.vary can name it"));
        }
    }
    rows
}
