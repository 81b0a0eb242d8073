//! The lines of a report about the judge, and what else is known of a candidate.

use crate::cli::table::Ink;
use crate::cli::table::wrap::item;
use crate::evidence::Check;
use crate::evidence::Evidence;
use crate::evidence::More;
use crate::evidence::Paired;
use crate::report::Report;
use crate::report::words;

/// Who judges, at what cost, and how it stood its audit.
pub fn judge(report: &Report, evidence: &Evidence, ink: Ink) -> String {
    let Some(judge) = &report.judge else {
        return format!("\n{}", item("judge", "none: comparators alone score"));
    };
    let cost = report
        .cost_usd
        .map_or("at an unknown price".to_owned(), |usd| format!("${} so far", words::money(usd)));
    let calls: u64 = judge.by_candidate.values().map(|tally| tally.calls).sum();
    let calls = words::grouped(calls);
    let mut out =
        format!("\n{}", item("judge", &format!("{}, {calls} calls, {cost}", judge.target)));
    for check in &evidence.audit {
        out.push_str(&one(check, ink));
    }
    out
}

fn one(check: &Check, ink: Ink) -> String {
    let state = check.state.as_str();
    let mut says = format!("{state}: {}", words::plain(&check.check));
    if let Some(value) = check.value {
        let number = words::fine;
        says.push_str(&format!(" {}", number(value)));
        if let (Some(lower), Some(upper)) = (check.lower, check.upper) {
            says.push_str(&format!(" ({} to {})", number(lower), number(upper)));
        }
    }
    if let Some(limit) = check.limit {
        says.push_str(&format!(", limit {}", words::fine(limit)));
    }
    says.push_str(&format!(", n\u{a0}{}", words::grouped(check.n)));
    if !check.why.is_empty() {
        says.push_str(&format!("; {}", check.why));
    }
    let lines = item("", &says);
    let colour = match state {
        "fail" => 31,
        "warn" => 33,
        _ => return lines,
    };
    lines.replacen(state, &ink.paint(colour, state), 1)
}

/// What is known of a candidate besides its win rate.
pub fn more(more: &More) -> String {
    let mut out = String::new();
    if more.unsampled > 0 {
        let left = words::grouped(more.unsampled);
        out.push_str(&item("not sampled", &format!("{left} pairs that chance left out")));
    }
    if let Some(corrected) = &more.corrected {
        let (lower, upper) = (words::points(corrected.lower), words::points(corrected.upper));
        out.push_str(&item(
            "by labels",
            &format!(
                "{} % ({lower} to {upper} %), corrected by {} labels of people",
                words::points(corrected.estimate),
                words::grouped(corrected.labels)
            ),
        ));
    }
    if let Some((ends, estimate)) = more.length_controlled.and_then(|e| Some((e, e.estimate?))) {
        let (lower, upper) = (words::points(ends.lower), words::points(ends.upper));
        let rate = words::points(estimate);
        out.push_str(&item(
            "same length",
            &format!("{rate} % ({lower} to {upper} %), if answers were equally long"),
        ));
    }
    if let (Some(units), Some(effect)) = (more.units, more.design_effect) {
        let units = words::grouped(units);
        let effect = words::trimmed(effect);
        out.push_str(&item("units", &format!("{units}, design effect {effect}")));
    }
    let mut label = "pair by pair";
    for (what, paired) in &more.paired {
        if let Some(says) = compared(what, paired) {
            out.push_str(&item(label, &says));
            label = "";
        }
    }
    let mut label = "segments";
    for segment in &more.segments {
        let Some(estimate) = segment.win_rate.estimate else { continue };
        let word = match (segment.better, segment.worse) {
            (true, _) => ": better",
            (_, true) => ": worse",
            _ => "",
        };
        let says = format!(
            "{}\u{a0}{}: {} % ({} to {} %) of {} pairs{word}",
            words::plain(&segment.dimension),
            segment.value,
            words::points(estimate),
            words::points(segment.win_rate.lower),
            words::points(segment.win_rate.upper),
            words::grouped(segment.pairs)
        );
        out.push_str(&item(label, &says));
        label = "";
    }
    out
}

fn compared(what: &str, paired: &Paired) -> Option<String> {
    let (control, candidate) = (paired.control?, paired.candidate?);
    let difference = paired.difference?;
    let end = |end: Option<f64>| end.map_or("?".to_owned(), figure);
    Some(format!(
        "{}: candidate {}, control {}, difference {} to {}",
        words::plain(what),
        figure(candidate),
        figure(control),
        end(difference.lower),
        end(difference.upper)
    ))
}

/// With four digits that count.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 1.0 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.6}"),
    }
}
