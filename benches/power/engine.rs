//! The product's evidence and rules, evaluated after every pair: the wealth of each bet is kept as
//! a running product, so a look costs a few multiplications.

use fastrand::Rng;
use understudy::stats::Decision;
use understudy::stats::Goal;
use understudy::stats::Interval;
use understudy::stats::Reason;
use understudy::stats::Spec;
use understudy::stats::Verdict;
use understudy::stats::betting::CAP;
use understudy::stats::grid::Grid;
use understudy::stats::grid::NODES;
use understudy::stats::rule::RULES;
use understudy::stats::rule::Rule;

use super::draw::Kind;

/// The chance of a false verdict that is allowed.
pub const ALPHA: f64 = 0.05;

/// The capital of betting that the mean is on one side of a null.
#[derive(Clone, Debug)]
pub struct Side {
    null: f64,
    bets: [f64; NODES],
    wealth: [f64; NODES],
}

impl Side {
    /// Betting that the mean is above `null`, or else below.
    pub fn new(grid: &Grid, null: f64, is_above: bool) -> Side {
        let sd = (null * (1.0 - null)).sqrt();
        let (sign, room) = if is_above { (1.0, null) } else { (-1.0, 1.0 - null) };
        let mut side = Side { null, bets: [0.0; NODES], wealth: [0.0; NODES] };
        let nodes = grid.effects().iter().zip(grid.weights());
        for ((bet, wealth), (effect, weight)) in
            side.bets.iter_mut().zip(&mut side.wealth).zip(nodes)
        {
            *bet = sign * (effect / sd).min(CAP / room);
            *wealth = weight;
        }
        side
    }

    /// Takes a score in and says whether the evidence is enough at two-sided [`ALPHA`].
    pub fn add(&mut self, score: f64) -> bool {
        let gap = score - self.null;
        for (wealth, bet) in self.wealth.iter_mut().zip(&self.bets) {
            *wealth *= 1.0 + bet * gap;
        }
        self.wealth.iter().sum::<f64>() >= 2.0 / ALPHA
    }
}

/// What is not excluded of a mean, as far as a rule with this margin can tell.
pub struct Seen {
    /// Each null with the bets on both sides of it, ascending.
    nulls: Vec<(f64, Side, Side)>,
}

impl Seen {
    /// Nothing yet.
    pub fn new(margin: f64) -> Seen {
        let grid = Grid::default();
        let null = |null| (null, Side::new(&grid, null, true), Side::new(&grid, null, false));
        Seen { nulls: [0.5 - margin, 0.5, 0.5 + margin].map(null).into() }
    }

    /// Takes a score in and gives an interval that is on the same side of each null as the true
    /// one.
    pub fn add(&mut self, score: f64) -> Interval {
        let mut interval = Interval::ALL;
        for (null, above, below) in &mut self.nulls {
            if above.add(score) {
                interval.lower = *null + 1e-9;
            }
            if below.add(score) && interval.upper == 1.0 {
                interval.upper = *null - 1e-9;
            }
        }
        interval
    }
}

/// The truths at which each rule is easiest to fool, and what must not be said there.
pub fn hardest(rule: &dyn Rule, margin: f64) -> Vec<(f64, &'static [Reason])> {
    use Reason::{CandidateBetter, CandidateWorse, NotWorse, WithinMargin};
    match rule.name() {
        "superior" => vec![
            (0.5, &[CandidateBetter, CandidateWorse]),
            (0.5 - margin, &[CandidateBetter, WithinMargin]),
            (0.5 + margin, &[CandidateWorse, WithinMargin]),
        ],
        "non_inferior" => vec![
            (0.5, &[CandidateWorse]),
            (0.5 - margin, &[NotWorse, CandidateWorse]),
            (0.5 + margin, &[CandidateWorse]),
        ],
        _ => vec![
            (0.5, &[CandidateBetter, CandidateWorse]),
            (0.5 - margin, &[CandidateBetter, CandidateWorse, WithinMargin]),
            (0.5 + margin, &[CandidateBetter, CandidateWorse, WithinMargin]),
        ],
    }
}

/// The final verdict of each rule, in the order of [`RULES`], and after how many pairs; looked at
/// after every pair.
pub fn verdicts(kind: Kind, mean: f64, horizon: u64, seed: u64) -> Vec<(Decision, u64)> {
    verdicts_of(kind, mean, horizon, seed, |_| true)
}

/// The same, going on only until the rules of these indices have a verdict.
pub fn verdicts_of(
    kind: Kind,
    mean: f64,
    horizon: u64,
    seed: u64,
    is_wanted: impl Fn(usize) -> bool,
) -> Vec<(Decision, u64)> {
    let mut random = Rng::with_seed(seed);
    let mut seen = Seen::new(kind.margin());
    let spec = Spec { margin: kind.margin(), max_pairs: horizon, ..Spec::new(Goal::Superior) };
    let mut open: Vec<(Option<Decision>, u64)> = vec![(None, horizon); RULES.len()];
    for pairs in 1..=horizon {
        let interval = seen.add(kind.draw(mean, &mut random));
        for (rule, (made, at)) in
            RULES.iter().zip(&mut open).filter(|(_, (made, _))| made.is_none())
        {
            let decision = rule.decide_on(pairs, interval, &spec);
            if decision.verdict != Verdict::KeepRunning {
                (*made, *at) = (Some(decision), pairs);
            }
        }
        if open.iter().enumerate().all(|(at, (made, _))| made.is_some() || !is_wanted(at)) {
            break;
        }
    }
    let end = Decision { verdict: Verdict::KeepRunning, reason: Reason::Collecting };
    open.into_iter().map(|(made, at)| (made.unwrap_or(end), at)).collect()
}

/// How often each rule is fooled where that is easiest, in the order of [`RULES`]: the worst of
/// the three truths.
pub fn fooled(kind: Kind, horizon: u64, runs: u64) -> Vec<f64> {
    let margin = kind.margin();
    let mut worst = vec![0.0_f64; RULES.len()];
    for (index, mean) in [0.5, 0.5 - margin, 0.5 + margin].into_iter().enumerate() {
        let all = super::runs::spread(runs, |seed| verdicts(kind, mean, horizon, seed));
        for (at, (rule, worst)) in RULES.iter().zip(&mut worst).enumerate() {
            let Some((_, wrong)) = hardest(*rule, margin).get(index).copied() else { continue };
            let fooled = all.iter().filter(|run| wrong.contains(&run[at].0.reason)).count();
            *worst = worst.max(fooled as f64 / runs as f64);
        }
    }
    worst
}
