//! How often each rule and measure is fooled while somebody watches, and how many pairs a verdict
//! takes, beside other tests.
//!
//! `cargo bench --bench power [-- --quick]`
//!
//! Seeds are fixed, so the same program prints the same figures. False positives may exceed alpha
//! by three standard errors of the simulation; anything more ends the bench with an error.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

mod arms;
mod cluster;
mod draw;
mod engine;
mod peer;
mod plans;
mod race;
mod runs;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use understudy::stats::rule::RULES;

use crate::arms::Measure;
use crate::cluster::Sessions;
use crate::draw::Kind;
use crate::engine::ALPHA;
use crate::runs::Size;
use crate::runs::most;
use crate::runs::share;
use crate::runs::spread;
use crate::table::Table;

fn main() -> ExitCode {
    let is_quick = std::env::args().any(|arg| arg == "--quick");
    let size = match is_quick {
        true => Size { runs: 200, horizon: 3000 },
        false => Size { runs: 2000, horizon: 10_000 },
    };
    let begin = Instant::now();
    println!("alpha {ALPHA}, {} runs to {} pairs", size.runs, size.horizon);
    let held = [rules(size), measures(size), sessions(size), race::print(size), plans::print(size)];
    println!("\n{:.0} s", begin.elapsed().as_secs_f64());
    if held.iter().all(|held| *held) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything that scores of pairs may look like.
fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for ties in [0.0, 0.2, 0.4] {
        kinds.extend([0.0, 0.2].map(|noise| Kind::Verdict { ties, noise }));
        kinds.extend([0.1, 0.3].map(|noise| Kind::Rubric { ties, noise }));
        kinds.extend([0.0, 0.2].map(|noise| Kind::Sampled { ties, noise, share: 0.3 }));
    }
    kinds.extend([0.02, 0.1, 0.3].map(|discordant| Kind::Failure { discordant }));
    kinds.sort_by_key(|kind| kind.label());
    kinds
}

/// False verdicts of each rule for each kind of score, at the truth where that is easiest.
fn rules(size: Size) -> bool {
    let mut table = Table::new("false verdicts, looked at after every pair", &["score of a pair"]);
    table.columns(RULES.iter().map(|rule| rule.name().to_owned()));
    let mut held = true;
    for kind in kinds() {
        let fooled = engine::fooled(kind, size.horizon, size.runs);
        held &= fooled.iter().all(|share| *share <= most(ALPHA, size.runs));
        table.row(kind.label(), fooled.iter().map(|share| format!("{share:.3}")));
    }
    table.print(held);
    held
}

/// False alarms of everything that compares two arms.
fn measures(size: Size) -> bool {
    let title = "false alarms between identical arms";
    let mut table = Table::new(title, &["measure", "50/50", "90/10"]);
    let mut held = true;
    let measures = [
        Measure::Errors(0.01),
        Measure::Errors(0.05),
        Measure::Errors(0.2),
        Measure::Cost(1.0),
        Measure::Cost(1.5),
        Measure::CostRatio(1.0),
        Measure::CostRatio(1.5),
        Measure::PairedCost(1.0),
        Measure::PairedCost(1.5),
        Measure::Time(0.5),
        Measure::Time(0.95),
        Measure::Labels(0.1),
        Measure::Labels(0.4),
        Measure::Split,
    ];
    for measure in measures {
        let is_split = !matches!(measure, Measure::PairedCost(_) | Measure::Labels(_));
        let splits: &[f64] = if is_split { &[0.5, 0.1] } else { &[0.5] };
        let fooled = splits.iter().map(|split| {
            share(size.runs, |seed| arms::is_fooled(measure, *split, size.horizon, seed))
        });
        let fooled: Vec<f64> = fooled.collect();
        held &= fooled.iter().all(|share| *share <= most(measure.allowed(), size.runs));
        table.row(measure.label(), fooled.iter().map(|share| format!("{share:.3}")));
    }
    table.print(held);
    held
}

/// False verdicts and pairs needed when sessions make several pairs.
fn sessions(size: Size) -> bool {
    let title = "sessions of pairs that are alike: 1/2 excluded though true, and pairs at 0.55";
    let head = ["pairs a session", "correlation", "at a time", "naive", "discounted", "pairs"];
    let mut table = Table::new(title, &head);
    let mut held = true;
    let mut all = vec![(1, false, 0.0, 1)];
    for size in [5, 10] {
        all.extend([0.0, 0.1, 0.3].map(|icc| (size, false, icc, 1)));
        all.extend([(size, true, 0.3, 1), (size, false, 0.3, 100)]);
    }
    all.extend([(50, false, 0.3, 1), (10, false, 0.9, 1)]);
    for (pairs, spread_out, icc, open) in all {
        let sessions = Sessions { size: pairs, spread: spread_out, icc, open };
        let null = spread(size.runs, |seed| cluster::stops(sessions, 0.5, size.horizon, seed));
        let rate = |which: usize| {
            null.iter().filter(|stops| stops[which].is_some()).count() as f64 / size.runs as f64
        };
        let found = spread(size.runs / 4, |seed| {
            let [_, stop] = cluster::stops(sessions, 0.55, size.horizon, seed);
            stop.unwrap_or(size.horizon) as f64
        });
        held &= rate(1) <= most(ALPHA, size.runs);
        let about = if spread_out { "about " } else { "" };
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        let cells = [
            icc.to_string(),
            open.to_string(),
            format!("{:.3}", rate(0)),
            format!("{:.3}", rate(1)),
            format!("{mean:.0}"),
        ];
        table.row(format!("{about}{pairs}"), cells);
    }
    table.print(held);
    held
}
