//! Reads what must not get worse.

use super::nearest;
use super::read::Section;
use super::read::join;
use super::read::quote;
use super::traffic::Traffic;
use super::value;
use crate::experiment::Guardrail;
use crate::experiment::Limit;
use crate::experiment::METRICS;
use crate::experiment::Metric;

/// Reads `guardrails`, in the order of the file.
pub fn guardrails(s: &mut Section<'_, '_, '_>, traffic: &Traffic) -> Vec<Guardrail> {
    let mut found = Vec::new();
    if let Some(node) = s.find("guardrails") {
        for (key, node) in s.reader.entries(node, "guardrails").unwrap_or_default() {
            let Some((name, metric)) = METRICS.iter().find(|(name, _)| *name == key.name) else {
                let what = format!("{} is not a metric that guardrails watch", quote(&key.name));
                let names = METRICS.iter().map(|(name, _)| *name);
                s.reader.problem(key.start, what, nearest::suggest(&key.name, names));
                continue;
            };
            let path = join("guardrails", name);
            let limit = s.reader.section(node, &path, |s| limit(s, name, *metric)).flatten();
            found.extend(limit.map(|limit| Guardrail { metric: *metric, limit }));
        }
    }
    match s.key_at("guardrails") {
        Some(at) if !traffic.is_live() => {
            let what = "`guardrails` watch nothing because no user gets a candidate's answer";
            s.reader.warn(at, what, "give a candidate a split or a ramp, or remove them");
        }
        None if !traffic.ramp.is_empty() => {
            let at = s.key_at("traffic").unwrap_or(s.at);
            let what = "nothing stops the ramp, because there are no guardrails";
            s.reader.warn(
                at,
                what,
                "write for example guardrails: { error_rate: { max_increase: 1% } }",
            );
        }
        _ => {}
    }
    found
}

fn limit(s: &mut Section<'_, '_, '_>, name: &str, metric: Metric) -> Option<Limit> {
    let increase = s.take("max_increase", value::portion(1.0)).map(Limit::MaxIncrease);
    let example = "write for example 1.25, a quarter more";
    let ratio = s.take("max_ratio", value::above(1.0, example)).map(Limit::MaxRatio);
    let at = s.key_at("max_increase");
    if let (Some(at), false) = (at, metric.is_rate()) {
        let what = format!("`guardrails.{name}` is not a rate, so it has no `max_increase`");
        s.reader.problem(at, what, "write for example max_ratio: 1.25");
        return None;
    }
    let given = usize::from(at.is_some()) + usize::from(s.key_at("max_ratio").is_some());
    if given != 1 {
        let what = format!("`guardrails.{name}` needs one limit and has {given}");
        let help = match metric.is_rate() {
            true => "write max_increase: 1% or max_ratio: 1.25",
            false => "write for example max_ratio: 1.25",
        };
        s.reader.problem(s.at, what, help);
        return None;
    }
    increase.or(ratio)
}
