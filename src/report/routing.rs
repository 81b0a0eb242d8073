//! Definitions to paste when a candidate is better for some requests only.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::experiment::Candidate;
use crate::experiment::Experiment;
use crate::report::CandidateView;
use crate::report::SegmentView;
use crate::stats::Verdict;

/// YAML that gives the requests of each better segment to its candidate; `None` when there is no
/// such segment, or the candidate ships for all requests.
///
/// A route can be given away in `understudy.yaml`, and tenants in an experiment that everybody is
/// assigned to. What else a segment is made of the sidecar cannot route by, so it is a comment.
pub fn routing(
    experiment: &Experiment,
    candidates: &BTreeMap<String, CandidateView>,
) -> Option<String> {
    let mut out = String::new();
    for candidate in &experiment.candidates {
        let name = &candidate.variant.name;
        let Some(view) = candidates.get(name) else { continue };
        // Better everywhere is no reason to divide, and a review says nothing yet.
        if matches!(view.verdict, Verdict::Ship | Verdict::Review) {
            continue;
        }
        let better: Vec<&SegmentView> = view.segments.iter().filter(|s| s.better).collect();
        write(&mut out, experiment, candidate, &better);
    }
    (!out.is_empty()).then_some(out)
}

fn write(
    out: &mut String,
    experiment: &Experiment,
    candidate: &Candidate,
    better: &[&SegmentView],
) {
    let of = |dimension: &str| {
        better.iter().copied().filter(move |s| s.dimension == dimension).collect::<Vec<_>>()
    };
    let (routes, tenants) = (of("route"), of("tenant"));
    let name = &candidate.variant.name;
    let target = text(&candidate.variant.target.to_string());
    let control = text(&experiment.control.target.to_string());
    // Writing to a String cannot fail.
    if !routes.is_empty() && candidate.variant.is_plain() {
        let _ = writeln!(out, "# In understudy.yaml: {name} is better on these routes.\nroutes:");
        for segment in routes {
            let _ = writeln!(out, "  {}: # {}", text(&segment.value), rate(segment));
            let _ = writeln!(out, "    targets: [{target}, {control}]");
        }
    }
    if !tenants.is_empty() {
        let _ = writeln!(out, "# In a file of its own: {name} is better for these tenants.");
        let _ = writeln!(out, "experiment: {}", text(&format!("{}-{name}", experiment.name)));
        for segment in &tenants {
            let _ = writeln!(out, "# {}: {}", text(&segment.value), rate(segment));
        }
        let values: Vec<String> = tenants.iter().map(|segment| text(&segment.value)).collect();
        let _ = writeln!(out, "match: {{ tenants: [{}] }}", values.join(", "));
        let _ = writeln!(out, "control: {{ target: {control} }}");
        let _ = writeln!(out, "candidates: {{ {}: {{ target: {target} }} }}", text(name));
        let _ = writeln!(out, "traffic: {{ split: {{ {}: 100% }} }}", text(name));
        if !candidate.variant.is_plain() {
            let _ = writeln!(out, "# Copy what {name} changes of a request from the definition.");
        }
    }
    let is_other = |s: &&&SegmentView| s.dimension != "route" && s.dimension != "tenant";
    for segment in better.iter().filter(is_other) {
        let _ = writeln!(
            out,
            "# {name} is better where {} is {}, {}: choose the route in your application.",
            segment.dimension,
            text(&segment.value),
            rate(segment)
        );
    }
}

fn rate(segment: &SegmentView) -> String {
    let rate = segment.win_rate;
    let estimate = rate.estimate.unwrap_or(0.5) * 100.0;
    format!(
        "wins {estimate:.1} % of {} pairs ({:.1} to {:.1} %)",
        segment.pairs,
        rate.lower * 100.0,
        rate.upper * 100.0
    )
}

/// Text as JSON writes it, which YAML reads whatever is in it.
fn text(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
