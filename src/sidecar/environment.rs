//! The variables that lead an application's SDKs to the sidecar, and the sidecar out.

use serde_json::Value;

use crate::sidecar::container::variable;
use crate::sidecar::patch::Additions;
use crate::sidecar::pod::Chosen;
use crate::sidecar::sdk;
use crate::sidecar::sdk::Sdk;
use crate::sidecar::wish::KeyMode;
use crate::sidecar::wish::Wish;

/// Variables that name a proxy, in both ways that programs read them.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Variables that name what goes to none. Some programs read the one, some the other.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Where the sidecar is, as those name it.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "localhost"];

/// What stands for a key that the sidecar has and the application does not.
const NO_KEY: &str = "kept-by-understudy";

/// Tells the containers, and says which variables the sidecar itself needs of them.
pub fn add(
    chosen: &[Chosen<'_>],
    wish: &Wish,
    additions: &mut Additions,
    warnings: &mut Vec<String>,
) -> Vec<Value> {
    for container in chosen {
        let mut env = missing(container, [(sdk::URL_VARIABLE, sdk::URL.to_owned())]);
        for sdk in &wish.providers {
            env.extend(of_provider(container, sdk, wish.key_mode, warnings));
        }
        env.extend(exceptions(container, additions, warnings));
        additions.append(&format!("{}/env", container.path), container.env, env);
    }
    way_out(chosen)
}

/// The variables of a provider's SDKs, none where one of them is set: they mean the same place.
fn of_provider(
    container: &Chosen<'_>,
    sdk: &Sdk,
    key_mode: KeyMode,
    warnings: &mut Vec<String>,
) -> Vec<Value> {
    if let Some(own) = sdk.variables.iter().find(|name| entry(container, name).is_some()) {
        let goes_elsewhere = text(container, own).is_none_or(|url| !url.starts_with(sdk::URL));
        if goes_elsewhere {
            let (name, provider) = (container.name, sdk.provider);
            let what = format!("container {name} sets {own} itself");
            warnings.push(format!("{what}: its calls to {provider} do not meet the sidecar"));
        }
        return Vec::new();
    }
    let mut env = missing(container, sdk.variables.iter().map(|name| (*name, sdk.url())));
    if key_mode == KeyMode::Managed {
        env.extend(missing(container, sdk.keys.iter().map(|name| (*name, NO_KEY.to_owned()))));
    }
    env
}

/// Those that the container does not have.
fn missing<'a>(
    container: &Chosen<'_>,
    wanted: impl IntoIterator<Item = (&'a str, String)>,
) -> Vec<Value> {
    let wanted = wanted.into_iter().filter(|(name, _)| entry(container, name).is_none());
    wanted.map(|(name, value)| variable(name, &value)).collect()
}

/// Keeps calls to the sidecar off a proxy, which would look for it in its own machine.
fn exceptions(
    container: &Chosen<'_>,
    additions: &mut Additions,
    warnings: &mut Vec<String>,
) -> Vec<Value> {
    if !PROXIES.iter().any(|name| entry(container, name).is_some()) {
        return Vec::new();
    }
    let known = EXCEPTIONS.map(|name| (name, entry(container, name), text(container, name)));
    if let Some((name, ..)) = known.iter().find(|(_, at, text)| at.is_some() && text.is_none()) {
        let what = format!("container {} takes {name} from elsewhere", container.name);
        warnings.push(format!("{what}: see to it that it has {}", LOOPBACK.join(",")));
        return Vec::new();
    }
    // A program that reads only the name that is added must find there what the other one says.
    let theirs = known.iter().find_map(|(.., text)| *text).unwrap_or_default();
    let mut env = Vec::new();
    for (name, at, list) in known {
        let Some((index, _)) = at else {
            env.push(variable(name, &with_loopback(theirs)));
            continue;
        };
        let list = list.unwrap_or_default();
        if with_loopback(list) != list {
            let path = format!("{}/env/{index}/value", container.path);
            additions.add(&path, Value::from(with_loopback(list)));
        }
    }
    env
}

/// A list of exceptions with the sidecar in it.
fn with_loopback(list: &str) -> String {
    let has = |host: &str| list.split([',', ' ']).any(|one| one == host || one == "*");
    let lacking: Vec<&str> = LOOPBACK.into_iter().filter(|host| !has(host)).collect();
    match list.trim_end_matches(',') {
        _ if lacking.is_empty() => list.to_owned(),
        "" => lacking.join(","),
        list => format!("{list},{}", lacking.join(",")),
    }
}

/// The proxies by which the first container with one leaves the pod: now the sidecar calls.
fn way_out(chosen: &[Chosen<'_>]) -> Vec<Value> {
    let proxied =
        chosen.iter().find(|container| PROXIES.iter().any(|name| entry(container, name).is_some()));
    let Some(container) = proxied else { return Vec::new() };
    let names = PROXIES.into_iter().chain(EXCEPTIONS);
    let found = names.filter_map(|name| entry(container, name)).map(|(_, variable)| variable);
    // What refers to other variables of that container would mean nothing in this one.
    let is_whole = |variable: &&Value| {
        let value = variable.get("value").and_then(Value::as_str);
        value.is_none_or(|value| !value.contains("$("))
    };
    found.filter(is_whole).cloned().collect()
}

/// A variable with its place; of two with one name the last is what the container sees.
fn entry<'p>(container: &Chosen<'p>, name: &str) -> Option<(usize, &'p Value)> {
    let env = container.env?.iter().enumerate();
    env.rev().find(|(_, variable)| variable.get("name").and_then(Value::as_str) == Some(name))
}

/// Its value; one without is empty, and one from elsewhere is nobody's to know.
fn text<'p>(container: &Chosen<'p>, name: &str) -> Option<&'p str> {
    let (_, variable) = entry(container, name)?;
    match (variable.get("value"), variable.get("valueFrom")) {
        (Some(value), _) => value.as_str(),
        (None, None | Some(Value::Null)) => Some(""),
        (None, Some(_)) => None,
    }
}
