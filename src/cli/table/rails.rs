//! The lines of a report that say what guardrails have seen.

use crate::cli::table::Ink;
use crate::cli::table::wrap::item;
use crate::guard::Health;
use crate::guard::View;
use crate::report::Report;
use crate::report::words;

/// Two lines for each guardrail of each candidate; nothing where there are none.
pub fn rails(report: &Report, ink: Ink) -> String {
    let mut out = String::new();
    for (name, rails) in report.guardrails.iter().filter(|(_, rails)| !rails.is_empty()) {
        out.push_str(&format!(
            "\n{}",
            item("guardrails", &format!("of {name}, on users' answers"))
        ));
        rails.iter().for_each(|rail| out.push_str(&one(rail, ink)));
    }
    out
}

fn one(rail: &View, ink: Ink) -> String {
    let word = words::health(rail.health);
    let says = format!(
        "{}: change {}, at most {}: {word}",
        rail.metric,
        words::change_interval(rail),
        words::change(rail, rail.limit)
    );
    let seen = format!(
        "\u{a0}\u{a0}candidate {}, control {}",
        words::seen(&rail.metric, rail.candidate, rail.candidate_n),
        words::seen(&rail.metric, rail.control, rail.control_n)
    );
    let says = item("", &says);
    let says = match rail.health {
        Health::Breached => says.replace(word, &ink.paint(31, word)),
        Health::NotEnough | Health::Holds => says,
    };
    format!("{says}{}", item("", &seen))
}
