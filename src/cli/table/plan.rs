//! A plan as text: what is known of the traffic, and what each margin takes.

use crate::cli::table::wrap::item;
use crate::cli::table::wrap::paragraph;
use crate::forecast::Plan;
use crate::forecast::Row;
use crate::forecast::Span;
use crate::forecast::traffic::Known;
use crate::forecast::traffic::Origin;
use crate::report::words;

/// How long the experiment takes, and why.
pub fn plan(plan: &Plan) -> String {
    let mut out = format!("{}\n\n", paragraph(&sentence(plan)));
    out.push_str(&item("goal", &format!("{}: {}", plan.goal, words::goal(plan.goal, plan.margin))));
    let shared = match plan.candidates {
        1 => String::new(),
        several => format!(" (shared by {several} candidates)"),
    };
    let alpha = words::trimmed(plan.alpha * 100.0);
    let (least, most) = (words::grouped(plan.min_pairs), words::grouped(plan.max_pairs));
    out.push_str(&item("held to", &format!("alpha {alpha} %{shared}, {least} to {most} pairs")));
    out.push_str(&traffic(plan));
    let mut case = None;
    for (at, row) in plan.rows.iter().enumerate() {
        let begins = at == 0 || case != Some(self::case(row));
        case = Some(self::case(row));
        if begins {
            out.push_str(&heading(row));
        }
        out.push_str(&line(plan, row));
    }
    let beyond = plan.rows.iter().any(|row| row.pairs.is_some() && !row.within_max);
    let beyond = if beyond { " ! is more than max_pairs." } else { "" };
    let half = "Half of such experiments take the first number or less, four of five the second.";
    out.push_str(&format!("\n{}\n", paragraph(&format!("* is the stated margin.{beyond} {half}"))));
    for note in &plan.notes {
        out.push_str(&item("note", note));
    }
    out.trim_end().to_owned()
}

fn sentence(plan: &Plan) -> String {
    let name = &plan.experiment;
    let margin = words::trimmed(plan.margin * 100.0);
    let Some(row) = plan.rows.iter().find(|row| row.is_stated) else {
        return format!("{name} cannot be planned.");
    };
    match row.pairs {
        Some(pairs) => {
            let (n50, n80) = (words::grouped(pairs.n50), words::grouped(pairs.n80));
            let mut all = vec![format!("{n50} to {n80} pairs")];
            all.extend(row.hours.map(time));
            all.extend(row.usd.map(money));
            format!(
                "If the models are equal, {name} ends with {} at a margin of {margin} points after \
                 {}.",
                row.verdict,
                all.join(", ")
            )
        }
        None => format!("{name} is unlikely to end at a margin of {margin} points."),
    }
}

fn traffic(plan: &Plan) -> String {
    let traffic = &plan.traffic;
    let mut out = String::new();
    let rate = match (traffic.requests_per_hour, traffic.pairs_per_hour()) {
        (Some(rate), pairs) => format!(
            "{} requests an hour{}, {} % of them sampled: {} pairs an hour",
            figure(rate.value),
            source(rate),
            words::trimmed(traffic.shadow * 100.0),
            figure(pairs.unwrap_or(0.0))
        ),
        (None, _) => "unknown".to_owned(),
    };
    out.push_str(&item("traffic", &rate));
    out.push_str(&item("ties", &ties(traffic.tie_rate)));
    let price = |known: Option<Known>| match known {
        Some(known) => format!("${}{}", words::money(known.value), source(known)),
        None => "unknown".to_owned(),
    };
    let costs = match (traffic.given_pair_usd, traffic.pair_usd()) {
        (Some(given), _) => format!("${} (given)", words::money(given)),
        (None, pair) => format!(
            "{}: copy {}, judge {}; control's answer {} is paid anyway",
            pair.map_or("unknown".to_owned(), |usd| format!("${}", words::money(usd))),
            price(traffic.candidate_usd),
            price(traffic.judge_usd),
            price(traffic.control_usd)
        ),
    };
    out.push_str(&item("per pair", &costs));
    out
}

/// Counts where there are some, because a share would need its interval.
fn ties(known: Known) -> String {
    match known.origin {
        Origin::Measured => {
            let tied = words::grouped((known.value * known.of as f64).round() as u64);
            let of = words::grouped(known.of);
            format!("scores vary as if {tied} of {of} pairs were tied")
        }
        Origin::Given => format!("{} % (given)", words::trimmed(known.value * 100.0)),
        Origin::Assumed => "none (assumed, which is cautious: ties shorten the wait)".to_owned(),
    }
}

fn source(known: Known) -> String {
    match known.origin {
        Origin::Measured => format!(" (of {})", words::grouped(known.of)),
        Origin::Given => " (given)".to_owned(),
        Origin::Assumed => " (assumed)".to_owned(),
    }
}

/// What distinguishes the tables: where the true win rate lies, in margins from 1/2.
fn case(row: &Row) -> (i64, String) {
    (((row.win_rate - 0.5) / row.margin).round() as i64, row.verdict.to_string())
}

fn heading(row: &Row) -> String {
    let (margins, verdict) = case(row);
    let truth = match margins {
        0 => "If the models are equal (true win rate 50 %)".to_owned(),
        n => {
            let side = if n > 0 { "better" } else { "worse" };
            let times =
                if n.abs() == 1 { "a margin".to_owned() } else { format!("{} margins", n.abs()) };
            format!("If the candidate is {side} by {times}")
        }
    };
    let head = format!("  {:<8} {:>22} {:>21} {:>17}\n", "margin", "pairs", "time", "dollars");
    format!("\n{}\n{head}", paragraph(&format!("{truth}, the verdict {verdict} takes")))
}

fn line(plan: &Plan, row: &Row) -> String {
    let mark = if row.is_stated { '*' } else { ' ' };
    let margin = format!("{} %", words::trimmed(row.margin * 100.0));
    let Some(pairs) = row.pairs else { return format!("{mark} {margin:<8} out of reach\n") };
    let range = match pairs.n50 == pairs.n80 {
        true => words::grouped(pairs.n50),
        false => format!("{} to {}", words::grouped(pairs.n50), words::grouped(pairs.n80)),
    };
    let hours = row.hours.map_or("?".to_owned(), time);
    let usd = row.usd.map_or("?".to_owned(), money);
    // More than a verdict may take.
    let beyond = if pairs.n50 > plan.max_pairs { " !" } else { "" };
    format!("{mark} {margin:<8} {range:>22} {hours:>21} {usd:>17}{beyond}\n")
}

fn time(hours: Span) -> String {
    let (n50, n80) = (words::spell(hours.n50), words::spell(hours.n80));
    if n50 == n80 {
        return n50;
    }
    // A unit that both have is said once.
    match (n50.split_once(' '), n80.split_once(' ')) {
        (Some((number, a)), Some((_, b))) if a == b => format!("{number} to {n80}"),
        _ => format!("{n50} to {n80}"),
    }
}

fn money(usd: Span) -> String {
    format!("${} to ${}", words::money(usd.n50), words::money(usd.n80))
}

fn figure(value: f64) -> String {
    if value >= 10.0 { words::grouped(value.round() as u64) } else { words::trimmed(value) }
}
