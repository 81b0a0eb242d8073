//! The lines of a report that say who met what, what copies cost, and what people said.

use crate::report::Report;

/// One line for each that there is something to say of; warnings last.
pub fn lines(report: &Report) -> String {
    let mut out = exposures(report);
    if let Some(noise) = &report.noise {
        let rate = noise.win_rate.estimate.map_or("-".to_owned(), percent);
        let (lower, upper) = (percent(noise.win_rate.lower), percent(noise.win_rate.upper));
        out.push_str(&format!(
            "noise       control against itself: {rate} of {} pairs won ({lower} to {upper}), {} \
             ties\n",
            noise.pairs, noise.ties
        ));
    }
    let copies = &report.copies;
    if copies.total_usd > 0.0 || copies.daily_usd.is_some() {
        let most = copies.daily_usd.map_or(String::new(), |usd| format!(" of ${usd:.2}"));
        let (today, total) = (copies.today_usd, copies.total_usd);
        out.push_str(&format!("copies      ${today:.4}{most} today, ${total:.4} in all\n"));
    }
    for (name, said) in &report.feedback {
        let score = said.score.map_or(String::new(), |score| format!(", mean score {score:.3}"));
        out.push_str(&format!(
            "feedback    {name}: {} up, {} down{score}\n",
            said.thumbs_up, said.thumbs_down
        ));
    }
    for warning in &report.warnings {
        out.push_str(&format!("warning     {warning}\n"));
    }
    out
}

fn exposures(report: &Report) -> String {
    let exposures = &report.exposures;
    let mut out = String::new();
    for (name, met) in &exposures.variants {
        out.push_str(&format!(
            "exposures   {name}: {} units, {} requests, {} cached, {} collapsed\n",
            met.units, met.requests, met.cached, met.collapsed
        ));
    }
    let mixed = exposures.contaminated;
    if mixed.reconfiguration + mixed.failover > 0 {
        out.push_str(&format!(
            "            units that met two variants: {} by reconfiguration, {} by failover\n",
            mixed.reconfiguration, mixed.failover
        ));
    }
    out
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
