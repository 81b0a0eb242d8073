//! An interval drawn to scale, with even and the margin marked.

use crate::cli::table::wrap::INDENT;
use crate::report::CandidateView;
use crate::report::Report;
use crate::report::words;

/// Characters from the left end of the scale to the right, both included; four parts of equal width.
const CELLS: usize = 61;

/// Half the width of a scale, in win rate.
const SCALES: [f64; 4] = [0.1, 0.2, 0.3, 0.5];

/// The interval with its scale below.
pub fn bar(report: &Report, view: &CandidateView) -> String {
    let rate = &view.win_rate;
    let edges = words::edges(report.goal.goal, report.goal.margin);
    let far = |at: f64| (at - 0.5).abs();
    let farthest = edges.iter().map(|edge| far(*edge)).fold(far(rate.lower), f64::max);
    let farthest = farthest.max(far(rate.upper));
    let half = SCALES.into_iter().find(|half| *half >= farthest).unwrap_or(0.5);
    let cell = |at: f64| {
        let share = (at - 0.5 + half) / (2.0 * half);
        ((share.clamp(0.0, 1.0) * (CELLS - 1) as f64).round() as usize).min(CELLS - 1)
    };
    let (lower, upper) = (cell(rate.lower), cell(rate.upper));
    let estimate = rate.estimate.map(cell);
    let edges: Vec<usize> = edges.into_iter().map(cell).collect();
    let mark = |at: usize| match at {
        at if Some(at) == estimate => '●',
        at if at == lower => '├',
        at if at == upper => '┤',
        at if at == CELLS / 2 => '│',
        at if edges.contains(&at) => '┊',
        at if (lower..upper).contains(&at) => '─',
        _ => ' ',
    };
    let drawn: String = (0..CELLS).map(mark).collect();
    let indent = " ".repeat(INDENT);
    let even = format!("│ even, ┊ margin: {}", margin(report));
    format!("{indent}{}\n{indent}{}\n{indent}{even}\n", drawn.trim_end(), scale(half))
}

fn margin(report: &Report) -> String {
    let edges = words::edges(report.goal.goal, report.goal.margin);
    let edges: Vec<String> =
        edges.iter().map(|edge| format!("{} %", words::trimmed(edge * 100.0))).collect();
    edges.join(" and ")
}

/// Five numbers, each below its place.
fn scale(half: f64) -> String {
    let mut line = String::new();
    for part in 0..5_usize {
        let at = 50.0 - half * 100.0 + half * 50.0 * part as f64;
        let text = words::trimmed(at);
        // The middle of the number stands below its place, but for the first.
        let place = (part * (CELLS - 1) / 4).saturating_sub(text.len() / 2);
        while line.len() < place {
            line.push(' ');
        }
        line.push_str(&text);
    }
    format!("{line} %")
}
