//! Finds experiments that could take each other's requests.

use serde_json::Value;

use super::Known;
use super::read::Reader;
use super::tree::Node;
use crate::experiment::Experiment;
use crate::experiment::Match;
use crate::experiment::Status;

/// Warns of running experiments read before that could take the same units, and remembers this
/// one.
///
/// A request takes part in one experiment at most, and the first that accepts it has it: what
/// another one leaves is a smaller and a chosen sample.
pub fn check(reader: &mut Reader<'_>, root: &Node, found: &Experiment, known: &mut Known) {
    if found.intent != Status::Running {
        return;
    }
    let here = format!("{}:{}", reader.file(), root.start.line);
    for (other, there) in &known.running {
        if other.name == found.name || !may_share(&other.matches, &found.matches) {
            continue;
        }
        let (name, rival) = (&found.name, &other.name);
        match (&other.layer, &found.layer) {
            // Different layers cut the units independently.
            (Some(a), Some(b)) if a.name != b.name => {}
            (Some(a), Some(b)) if a.to <= b.from || b.to <= a.from => {}
            (Some(_), Some(layer)) => {
                let at = root.get("layer").map_or(root.start, |node| node.start);
                let layer = &layer.name;
                let what = format!("`{name}` and `{rival}` share a part of the layer `{layer}`");
                let help = format!("`{rival}` is in {there}; give them slices apart");
                reader.warn(at, what, help);
            }
            _ => {
                let at = root.get("match").map_or(root.start, |node| node.start);
                let what = format!("`{name}` and `{rival}` could take the same requests");
                let help = format!(
                    "`{rival}` is in {there}; match others, or give both a slice of one layer"
                );
                reader.warn(at, what, help);
            }
        }
    }
    known.running.push((found.clone(), here));
}

/// Whether a request could fulfil both conditions.
fn may_share(a: &Match, b: &Match) -> bool {
    let is_same_route = match (&a.route, &b.route) {
        (Some(a), Some(b)) => a == b || is_bare(a, b) || is_bare(b, a),
        _ => true,
    };
    let has_common_tenant = a.tenants.is_empty()
        || b.tenants.is_empty()
        || a.tenants.iter().any(|tenant| b.tenants.contains(tenant));
    let differs = |(name, value): &(String, Value)| {
        b.fields.iter().any(|(other, another)| other == name && another != value)
    };
    is_same_route
        && has_common_tenant
        && !a.fields.iter().any(differs)
        && !a.headers.iter().any(|(name, value)| {
            b.headers.iter().any(|(other, another)| other == name && another != value)
        })
}

/// Whether `bare` may be a name for the model of `target`, at the provider whose SDK sends it.
fn is_bare(bare: &str, target: &str) -> bool {
    target.split_once('/').is_some_and(|(_, model)| model == bare)
}
