//! The lines of a report about the judge, and what else is known of a candidate.

use crate::audit::Row;
use crate::audit::State;
use crate::cli::table::Ink;
use crate::cli::table::wrap::item;
use crate::report::CandidateView;
use crate::report::Report;
use crate::report::words;

/// Who judges, at what cost, and how it stood its audit.
pub fn judge(report: &Report, ink: Ink) -> String {
    let Some(judge) = &report.judge else {
        return format!("\n{}", item("judge", "none: comparators alone score"));
    };
    let cost = report
        .cost_usd
        .map_or("at an unknown price".to_owned(), |usd| format!("${} so far", words::money(usd)));
    let calls: u64 = judge.by_candidate.values().map(|tally| tally.calls).sum();
    let says = format!("{}, {} calls, {cost}", judge.target, words::grouped(calls));
    let mut out = format!("\n{}", item("judge", &says));
    judge.audit.iter().for_each(|row| out.push_str(&check(row, ink)));
    out
}

fn check(row: &Row, ink: Ink) -> String {
    let state = words::state(row.state);
    let mut says = format!("{state}: {}", words::check(row));
    if let Some(found) = words::found(row) {
        says.push_str(&format!(" {found}"));
    }
    if let Some(limit) = row.limit {
        says.push_str(&format!(", limit {}", words::fine(limit)));
    }
    says.push_str(&format!(", n\u{a0}{}", words::grouped(row.n)));
    if !row.why.is_empty() {
        says.push_str(&format!("; {}", row.why));
    }
    let lines = item("", &says);
    let colour = match row.state {
        State::Fail => 31,
        State::Warn => 33,
        State::Pass | State::Unknown => return lines,
    };
    lines.replacen(state, &ink.paint(colour, state), 1)
}

/// What is known of a candidate besides its win rate.
pub fn more(view: &CandidateView) -> String {
    let mut out = String::new();
    if view.unsampled > 0 {
        let left = words::grouped(view.unsampled);
        out.push_str(&item("not sampled", &format!("{left} pairs that chance left out")));
    }
    if let Some(people) = &view.corrected {
        let rate = words::ends(people.estimate, people.lower, people.upper);
        let labels = words::grouped(people.labels);
        out.push_str(&item(
            "by people",
            &format!("{rate}, the judge corrected by {labels} labels"),
        ));
    } else if view.labels > 0 {
        let labels = words::grouped(view.labels);
        out.push_str(&item(
            "labels",
            &format!("{labels} of people; from 100 on they correct the judge"),
        ));
    }
    if let Some(rate) = &view.length_controlled {
        let says = format!("{}, if answers were equally long", words::rate(rate));
        out.push_str(&item("same length", &says));
    }
    // Pairs that are all of different units have nothing to say of them.
    if view.units > 0 && view.units != view.pairs + view.unsampled {
        let effect = words::trimmed(view.design_effect);
        let units = words::grouped(view.units);
        out.push_str(&item("units", &format!("{units}, design effect {effect}")));
    }
    let mut label = "paired";
    for (what, says) in words::paired(view) {
        out.push_str(&item(label, &format!("{what} {says}")));
        label = "";
    }
    let mut label = "segments";
    for segment in words::telling(&view.segments) {
        let word = match (segment.better, segment.worse) {
            (true, _) => ": better",
            (_, true) => ": worse",
            _ => "",
        };
        let says = format!(
            "{}\u{a0}{}: {} of {} pairs{word}",
            words::plain(&segment.dimension),
            segment.value,
            words::rate(&segment.win_rate),
            words::grouped(segment.pairs)
        );
        out.push_str(&item(label, &says));
        label = "";
    }
    out
}
