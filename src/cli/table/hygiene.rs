//! The lines of a report that say who met what, what copies cost, and what people said.

use crate::cli::table::wrap::item;
use crate::report::Report;
use crate::report::words;

/// One item for each that there is something to say of; warnings last.
pub fn lines(report: &Report) -> String {
    let mut out = String::from("\n");
    let mut label = "exposures";
    for (name, met) in &report.exposures.variants {
        let says = format!(
            "{name}: {} units, {} requests, {} cached, {} collapsed",
            words::grouped(met.units),
            words::grouped(met.requests),
            words::grouped(met.cached),
            words::grouped(met.collapsed)
        );
        out.push_str(&item(label, &says));
        label = "";
    }
    let mixed = report.exposures.contaminated;
    if mixed.reconfiguration + mixed.failover > 0 {
        let says = format!(
            "units that met two variants: {} by reconfiguration, {} by failover",
            words::grouped(mixed.reconfiguration),
            words::grouped(mixed.failover)
        );
        out.push_str(&item("", &says));
    }
    if let Some(noise) = &report.noise {
        let says = format!(
            "control against itself: {} of {} pairs, {} of them tied",
            words::rate(&noise.win_rate),
            words::grouped(noise.pairs),
            words::grouped(noise.ties)
        );
        out.push_str(&item("noise", &says));
    }
    out.push_str(&costs(report));
    for (name, said) in &report.feedback {
        let score = said.score.map_or(String::new(), |score| {
            format!(", mean score {score:.3} of {}", words::grouped(said.scored))
        });
        let difference = said.thumbs_difference.map_or(String::new(), |rate| {
            let (lower, upper) = (rate.lower * 100.0, rate.upper * 100.0);
            format!("; against control {lower:+.1} to {upper:+.1} points of thumbs up")
        });
        let says =
            format!("{name}: {} up, {} down{score}{difference}", said.thumbs_up, said.thumbs_down);
        out.push_str(&item("feedback", &says));
    }
    for warning in &report.warnings {
        out.push_str(&item("warning", warning));
    }
    out
}

fn costs(report: &Report) -> String {
    let copies = &report.copies;
    if copies.total_usd <= 0.0 && copies.daily_usd.is_none() {
        return String::new();
    }
    let most = copies.daily_usd.map_or(String::new(), |usd| format!(" of ${usd:.2}"));
    let (today, total) = (words::money(copies.today_usd), words::money(copies.total_usd));
    item("copies", &format!("${today}{most} today, ${total} in all"))
}
