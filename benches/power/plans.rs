//! Plans against what happens: pairs by which half and four fifths of all experiments end.

use understudy::stats::Goal;
use understudy::stats::Spec;
use understudy::stats::plan;
use understudy::stats::plan::Prospect;
use understudy::stats::rule::RULES;
use understudy::stats::rule::rule_for;

use super::draw::Kind;
use super::engine;
use super::runs::Size;
use super::runs::spread;
use super::table::Table;

/// How far a plan may be off, as a factor; experiments themselves spread much more.
const OFF: f64 = 1.4;

/// What is planned for, and the true win rate.
const CASES: [(Goal, f64); 6] = [
    (Goal::Superior, 0.55),
    (Goal::Superior, 0.60),
    (Goal::NonInferior, 0.50),
    (Goal::NonInferior, 0.53),
    (Goal::Equivalent, 0.50),
    (Goal::Superior, 0.40),
];

/// Prints planned and simulated numbers of pairs, and whether they agree.
pub fn print(size: Size) -> bool {
    let horizon = 100_000;
    let head = ["goal", "win rate", "ties", "judged", "half, plan", "true", "4/5, plan", "true"];
    let mut table = Table::new("plans, margin 0.03: pairs by which so many experiments end", &head);
    let mut held = true;
    for (goal, win_rate) in CASES {
        for (ties, share) in [(0.0, 1.0), (0.4, 1.0), (0.2, 0.3)] {
            let kind = Kind::Sampled { ties, noise: 0.0, share };
            let spec = Spec { max_pairs: horizon, ..Spec::new(goal) };
            let prospect = Prospect { win_rate, ties, judged_share: share };
            let Some(plan) = plan::planned(&prospect, &spec) else { continue };
            let name = rule_for(goal).name();
            let Some(at) = RULES.iter().position(|rule| rule.name() == name) else { continue };
            let mean = 0.5 + share * (win_rate - 0.5);
            let mut ends: Vec<u64> = spread(size.runs / 5, |seed| {
                let only = |index: usize| index == at;
                engine::verdicts_of(kind, mean, horizon, seed, only)[at].1
            });
            ends.sort_unstable();
            let by = |part: f64| ends[(part * (ends.len() - 1) as f64) as usize];
            let (half, most) = (by(0.5), by(0.8));
            let is_near = |plan: u64, found: u64| {
                let factor = plan as f64 / found as f64;
                (1.0 / OFF..=OFF).contains(&factor)
            };
            held &= is_near(plan.n50, half) && is_near(plan.n80, most);
            let cells = [win_rate, ties, share].map(|number| number.to_string());
            let pairs = [plan.n50, half, plan.n80, most].map(|number| number.to_string());
            table.row(name.to_owned(), cells.into_iter().chain(pairs));
        }
    }
    table.print(held);
    held
}
