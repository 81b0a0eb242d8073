//! The lines of a report that say what guardrails have seen.

use comfy_table::CellAlignment;

use crate::cli::table::table;
use crate::guard::Change;
use crate::guard::Health;
use crate::guard::View;
use crate::report::Report;

/// One line for each guardrail of each candidate; nothing where there are none.
pub fn rails(report: &Report) -> String {
    let rails =
        report.guardrails.iter().flat_map(|(name, rails)| rails.iter().map(move |r| (name, r)));
    let rails: Vec<(&String, &View)> = rails.collect();
    if rails.is_empty() {
        return String::new();
    }
    let header = [
        "candidate",
        "guardrail",
        "control",
        "answers",
        "candidate",
        "answers",
        "change",
        "limit",
        "",
    ];
    let mut table = table(&header);
    for column in table.column_iter_mut().skip(2).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (name, rail) in rails {
        let estimate =
            |value: Option<f64>| value.map_or("-".to_owned(), |it| quantity(&rail.metric, it));
        table.add_row(vec![
            name.clone(),
            rail.metric.clone(),
            estimate(rail.control),
            rail.control_n.to_string(),
            estimate(rail.candidate),
            rail.candidate_n.to_string(),
            interval(rail),
            change(rail, rail.limit),
            word(rail.health).to_owned(),
        ]);
    }
    format!("\n{table}\n")
}

fn word(health: Health) -> &'static str {
    match health {
        Health::NotEnough => "too few to tell",
        Health::Holds => "holds",
        Health::Breached => "BREACHED",
    }
}

fn interval(rail: &View) -> String {
    let end = |end: Option<f64>| end.map_or("?".to_owned(), |end| change(rail, end));
    match (rail.bounds.lower, rail.bounds.upper) {
        (None, None) => "-".to_owned(),
        (lower, upper) => format!("{} to {}", end(lower), end(upper)),
    }
}

fn change(rail: &View, value: f64) -> String {
    match rail.change {
        Change::Increase if rail.metric.ends_with("_rate") => {
            format!("{:+.2} points", value * 100.0)
        }
        Change::Increase => format!("{value:+.3}"),
        Change::Ratio => format!("×{value:.2}"),
    }
}

/// In the unit of its metric: a share, dollars, seconds or tokens.
fn quantity(metric: &str, value: f64) -> String {
    match metric {
        rate if rate.ends_with("_rate") => format!("{:.2} %", value * 100.0),
        "cost_per_request" => format!("${value:.6}"),
        "tokens_per_request" => format!("{value:.1}"),
        _ => format!("{value:.3} s"),
    }
}
