//! Who answers to a model's name.

use crate::config::Config;
use crate::config::Route;
use crate::config::Timeouts;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::experiment::assign::position;
use crate::key::PromptDigest;
use crate::provider;
use crate::wire::Dialect;

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

/// A route of that name, else `provider/model`, else a model of the prefix's or dialect's provider.
pub fn resolve(
    config: &Config,
    dialect: &dyn Dialect,
    model: &str,
    prefix: Option<&str>,
    prompt: &PromptDigest,
) -> Result<(Vec<Target>, Timeouts)> {
    if let Some(route) = config.routes.get(model) {
        return Ok((ordered(route, model, prompt), route.timeouts));
    }
    if let Some(provider) = prefix {
        let target = Target { provider: provider.to_owned(), model: model.to_owned() };
        return Ok((vec![target], config.timeouts));
    }
    if let Some(target) = Target::parse(model) {
        if config.providers.contains_key(&target.provider) {
            return Ok((vec![target], config.timeouts));
        }
        if let Some(what) = nowhere(&target.provider) {
            return Err(Error::new(Kind::NotFound, what));
        }
    }
    let home = provider::native(dialect.name()).home;
    if !config.providers.contains_key(home) {
        let what = format!("no route or provider answers to the model \"{model}\"");
        return Err(Error::new(Kind::NotFound, what));
    }
    let target = Target { provider: home.to_owned(), model: model.to_owned() };
    Ok((vec![target], config.timeouts))
}

/// What is missing of a known provider that is not configured because nobody said where it is.
fn nowhere(name: &str) -> Option<String> {
    let row = provider::find(name).filter(|row| !row.holes.is_empty())?;
    let holes: Vec<&str> = row.holes.iter().map(|hole| hole.name).collect();
    Some(format!("the provider {name} is not configured: it needs its {}", holes.join(" and ")))
}

/// A weighted route begins with a target drawn by the prompt's hash and keeps the rest in order.
fn ordered(route: &Route, name: &str, prompt: &PromptDigest) -> Vec<Target> {
    let mut targets: Vec<Target> = route.targets.iter().map(|t| t.target.clone()).collect();
    let total: u64 = route.targets.iter().map(|t| u64::from(t.weight.unwrap_or(0))).sum();
    if total > 0 {
        let drawn = u64::from(position("route", name, &prompt.0)) * total / 1_000_000;
        let mut end = 0;
        let first = route.targets.iter().position(|target| {
            end += u64::from(target.weight.unwrap_or(0));
            drawn < end
        });
        targets[..=first.unwrap_or(0)].rotate_right(1);
    }
    targets
}
