//! Numbers and events in the words that every report uses.

use crate::experiment::life::By;
use crate::experiment::life::Event;
use crate::guard::Change;
use crate::guard::Health;
use crate::guard::View;
use crate::report::Rate;
use crate::stats::Goal;

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Hours as people say them.
pub fn spell(hours: f64) -> String {
    match hours {
        h if h * 60.0 < 1.0 => "<1 min".to_owned(),
        h if h < 1.0 => format!("{:.0} min", h * 60.0),
        h if h < 48.0 => format!("{h:.1} h"),
        h => format!("{:.1} days", h / 24.0),
    }
}

/// Dollars with as many digits as they deserve.
pub fn money(usd: f64) -> String {
    match usd {
        usd if usd >= 100.0 => grouped(usd.round() as u64),
        usd if usd >= 0.1 || usd == 0.0 => format!("{usd:.2}"),
        usd => format!("{usd:.4}"),
    }
}

/// A share with one digit behind the point, without its sign: `51.2`.
pub fn points(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// A share with its interval: `51.2 % (47.0 to 55.3 %)`; there is none without.
pub fn rate(rate: &Rate) -> String {
    let (lower, upper) = (points(rate.lower), points(rate.upper));
    match rate.estimate {
        Some(estimate) => format!("{} % ({lower} to {upper} %)", points(estimate)),
        None => "unknown (0 to 100 %)".to_owned(),
    }
}

/// A word of an interface as people read it: `order_consistency` is "order consistency".
pub fn plain(word: &str) -> String {
    word.replace('_', " ")
}

/// The goal with its margin.
pub fn goal(goal: Goal, margin: f64) -> String {
    let margin = trimmed(margin * 100.0);
    match goal {
        Goal::NonInferior => format!("not worse by {margin} points or more"),
        Goal::Superior => format!("better; or equal within {margin} points"),
        Goal::Equivalent => format!("the same within {margin} points"),
    }
}

/// A number without zeros at its end.
pub fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number with the digits that a check of the judge needs.
pub fn fine(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The win rates that a goal excludes or includes, besides 1/2.
pub fn edges(goal: Goal, margin: f64) -> Vec<f64> {
    match goal {
        Goal::NonInferior => vec![0.5 - margin],
        Goal::Superior | Goal::Equivalent => vec![0.5 - margin, 0.5 + margin],
    }
}

/// What a guardrail's state means.
pub fn health(health: Health) -> &'static str {
    match health {
        Health::NotEnough => "too few to tell",
        Health::Holds => "holds",
        Health::Breached => "BROKEN",
    }
}

/// What is not excluded of a guardrail's change.
pub fn change_interval(rail: &View) -> String {
    let end = |end: Option<f64>| end.map_or("?".to_owned(), |end| change(rail, end));
    match (rail.bounds.lower, rail.bounds.upper) {
        (None, None) => "not known yet".to_owned(),
        (lower, upper) => format!("{} to {}", end(lower), end(upper)),
    }
}

/// A change in the unit of its guardrail.
pub fn change(rail: &View, value: f64) -> String {
    match rail.change {
        Change::Increase if rail.metric.ends_with("_rate") => {
            format!("{:+.2} points", value * 100.0)
        }
        Change::Increase => format!("{value:+.3}"),
        Change::Ratio => format!("×{value:.2}"),
    }
}

/// What one side of a guardrail has shown: of a share, its counts, because the interval is that of
/// the change.
pub fn seen(metric: &str, value: Option<f64>, of: u64) -> String {
    let Some(value) = value else { return "nothing yet".to_owned() };
    let answers = grouped(of);
    match metric {
        rate if rate.ends_with("_rate") => {
            format!("{} of {answers}", grouped((value * of as f64).round() as u64))
        }
        "cost_per_request" => format!("${value:.6} (of {answers})"),
        "tokens_per_request" => format!("{value:.1} (of {answers})"),
        _ => format!("{value:.3} s (of {answers})"),
    }
}

/// What happened, and who did it.
pub fn told(event: &Event) -> String {
    match event {
        Event::Defined { .. } => "defined".to_owned(),
        Event::Started { epoch, .. } => format!("started, epoch {epoch}"),
        Event::Changed { what, .. } => format!("changed: {}", what.join(", ")),
        Event::NewEpoch { epoch, why, .. } => format!("epoch {epoch} begins: {}", why.join(", ")),
        Event::Paused { by: who, why } => format!("paused {}", by(*who, why)),
        Event::Resumed { by: who } => format!("resumed {}", by(*who, "")),
        Event::Drifted { sentinel, run, why } => {
            format!("drifted, as {sentinel} found in its run {run}: {why}")
        }
        Event::Halted { candidate, by: who, why, .. } => {
            format!("{candidate} halted {}", by(*who, why))
        }
        Event::Stepped { step, share } => {
            format!("step {step} of the ramp: {} %", f64::from(*share) / 1e4)
        }
        Event::Stopped { by: who, why } => format!("stopped {}", by(*who, why)),
        Event::Decided { verdict, verdicts } => {
            let each = verdicts.iter().map(|(name, ruling)| {
                format!("{name} {} after {} pairs", ruling.verdict, ruling.pairs)
            });
            format!("decided: {verdict} ({})", each.collect::<Vec<_>>().join(", "))
        }
        Event::Overruled { overruled, .. } => format!(
            "{} instead of {}, decided {}",
            overruled.verdict,
            overruled.instead_of,
            by(overruled.by, &overruled.why)
        ),
        Event::Recorded { record } => format!(
            "recorded what {} ({}) rests on: {} parts, {} prices, {} counts",
            record.verdict,
            record.reason,
            record.parts.len(),
            record.prices.len(),
            record.counts.len()
        ),
        Event::Removed {} => "no file defines it any more".to_owned(),
    }
}

fn by(who: By, why: &str) -> String {
    let who = match who {
        By::Guardrail => "a guardrail",
        By::Person => "a person",
        By::Budget => "the budget",
        By::File => "its file",
    };
    if why.is_empty() { format!("by {who}") } else { format!("by {who}: {why}") }
}

#[cfg(test)]
mod tests {
    use super::grouped;
    use super::money;
    use super::spell;
    use super::trimmed;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0001, 0.05, 0.5, 5.25, 1234.5].map(money),
            ["0.0001", "0.0500", "0.50", "5.25", "1,235"]
        );
        let hours = [0.01, 0.5, 5.0, 100.0].map(spell);
        assert_eq!(hours, ["<1 min", "30 min", "5.0 h", "4.2 days"]);
        assert_eq!([3.0, 2.5, 0.25].map(trimmed), ["3", "2.5", "0.25"]);
    }
}
