//! How many pairs, hours and dollars a verdict will take, from what is known of the traffic.

pub mod outlook;
pub mod traffic;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::forecast::traffic::Traffic;
use crate::stats::Goal;
use crate::stats::Spec;
use crate::stats::Verdict;
use crate::stats::plan;
use crate::stats::plan::Pairs;

/// Margins that every plan shows besides the stated one.
const MARGINS: [f64; 5] = [0.01, 0.02, 0.03, 0.05, 0.10];

/// What is planned for has no end, so that the table also shows what is out of reach.
const NO_END: u64 = u64::MAX;

/// What an experiment will take.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub experiment: String,
    /// What the candidate must achieve.
    pub goal: Goal,
    /// The stated margin, a difference of win rates.
    pub margin: f64,
    /// Two-sided, of one candidate: alpha is shared among them.
    pub alpha: f64,
    /// How many candidates each sampled request makes a pair for.
    pub candidates: u64,
    /// No verdict before so many pairs.
    pub min_pairs: u64,
    /// A verdict at the latest after so many.
    pub max_pairs: u64,
    /// What it is computed from.
    pub traffic: Traffic,
    /// By the true win rate, then by margin.
    pub rows: Vec<Row>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// What one margin takes where the candidate truly wins at this rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// A difference of win rates.
    pub margin: f64,
    /// The true one.
    pub win_rate: f64,
    /// What it leads to.
    pub verdict: Verdict,
    /// Whether the margin is the one that the experiment states.
    pub is_stated: bool,
    /// Pairs in all: half of such experiments end by `n50`, four fifths by `n80`.
    pub pairs: Option<Pairs>,
    /// Whether half of them end within `max_pairs`.
    pub within_max: bool,
    /// Hours at the rate of the traffic.
    pub hours: Option<Span>,
    /// Dollars for copies and the judge, all candidates together.
    pub usd: Option<Span>,
}

/// The same quantity at the median and at the 80 % point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Half of such experiments take no more.
    pub n50: f64,
    /// Four fifths of them take no more.
    pub n80: f64,
}

impl Span {
    /// So much for each pair.
    pub fn of(pairs: Pairs, each: f64) -> Self {
        Self { n50: pairs.n50 as f64 * each, n80: pairs.n80 as f64 * each }
    }
}

/// A plan for an experiment on this traffic.
pub fn plan(experiment: &Experiment, traffic: Traffic) -> Plan {
    let decide = &experiment.decide;
    let candidates = experiment.candidates.len().max(1);
    let alpha = decide.alpha / candidates as f64;
    let mut margins = MARGINS.to_vec();
    if !margins.iter().any(|margin| (margin - decide.margin).abs() < 1e-9) {
        margins.push(decide.margin);
        margins.sort_by(f64::total_cmp);
    }
    let mut plan = Plan {
        experiment: experiment.name.clone(),
        goal: decide.goal,
        margin: decide.margin,
        alpha,
        candidates: candidates as u64,
        min_pairs: decide.min_pairs,
        max_pairs: decide.max_pairs,
        traffic,
        rows: Vec::new(),
        notes: Vec::new(),
    };
    for case in 0..cases(decide.goal, decide.margin).len() {
        let rows: Vec<Row> = margins.iter().filter_map(|margin| plan.row(*margin, case)).collect();
        plan.rows.extend(rows);
    }
    plan.notes = plan.notes(experiment);
    plan
}

/// True win rates worth planning for, and the verdict that each leads to.
pub fn cases(goal: Goal, margin: f64) -> Vec<(f64, Verdict)> {
    match goal {
        Goal::NonInferior => vec![
            (0.5, Verdict::Ship),
            (0.5 + margin, Verdict::Ship),
            (0.5 - 2.0 * margin, Verdict::DoNotShip),
        ],
        Goal::Superior => vec![(0.5, Verdict::Equivalent), (0.5 + margin, Verdict::Ship)],
        Goal::Equivalent => vec![
            (0.5, Verdict::Equivalent),
            (0.5 + 2.0 * margin, Verdict::Ship),
            (0.5 - 2.0 * margin, Verdict::DoNotShip),
        ],
    }
}

impl Plan {
    fn row(&self, margin: f64, case: usize) -> Option<Row> {
        let (win_rate, verdict) = cases(self.goal, margin).get(case).copied()?;
        let pairs = (win_rate > 0.0).then(|| self.pairs(margin, win_rate)).flatten();
        let traffic = &self.traffic;
        let hours = traffic.pairs_per_hour().and_then(|rate| {
            let hours = Span::of(pairs?, 1.0 / rate);
            Some(self.at_most_a_day(hours, pairs?))
        });
        let each = traffic.pair_usd().map(|usd| usd * self.candidates as f64);
        Some(Row {
            margin,
            win_rate,
            verdict,
            is_stated: (margin - self.margin).abs() < 1e-9,
            pairs,
            within_max: pairs.is_some_and(|pairs| pairs.n50 <= self.max_pairs),
            hours,
            usd: pairs.zip(each).map(|(pairs, each)| Span::of(pairs, each)),
        })
    }

    /// Pairs in the units of the interval: of the pairs that no comparator settles, a share is
    /// judged and the rest are ties, which draws the mean and the margin towards 1/2 alike.
    fn pairs(&self, margin: f64, win_rate: f64) -> Option<Pairs> {
        let share = self.traffic.judged_share;
        let spec = Spec {
            goal: self.goal,
            margin: margin * share,
            alpha: self.alpha,
            min_pairs: self.min_pairs,
            max_pairs: NO_END,
        };
        let lead = (win_rate - 0.5) * share;
        let square = (1.0 - self.traffic.tie_rate.value) / 4.0 * share;
        let sd = (square - lead * lead).max(0.0).sqrt();
        plan::expected(0.5 + lead, sd, &spec)
    }

    /// Copies may cost no more than a sum in a day.
    fn at_most_a_day(&self, hours: Span, pairs: Pairs) -> Span {
        let copies = self.traffic.candidate_usd.map(|copy| copy.value * self.candidates as f64);
        let Some((each, most)) = copies.zip(self.traffic.shadow_daily_usd) else { return hours };
        let least = Span::of(pairs, each / most * 24.0);
        Span { n50: hours.n50.max(least.n50), n80: hours.n80.max(least.n80) }
    }

    fn notes(&self, experiment: &Experiment) -> Vec<String> {
        let traffic = &self.traffic;
        let mut notes = Vec::new();
        if experiment.shadow.ppm() == 0 {
            notes.push("`traffic.shadow` is 0 %, so no pairs will be made".to_owned());
        } else if traffic.requests_per_hour.is_none() {
            notes.push("the rate of requests is unknown: say it with --requests-per-hour".into());
        }
        if traffic.pair_usd().is_none() {
            notes.push(
                "what a pair costs is unknown, because a price is: say it with --cost-per-pair"
                    .to_owned(),
            );
        }
        let stated = self.rows.iter().find(|row| row.is_stated);
        if stated.is_some_and(|row| !row.within_max) {
            notes.push(format!(
                "with equal models it would likely not end within max_pairs ({}): raise it, or \
                 state a larger margin",
                self.max_pairs
            ));
        }
        let judge = traffic.judge_usd.map(|usd| usd.value * self.candidates as f64);
        if let (Some(budget), Some(each)) = (experiment.evaluate.budget_usd, judge)
            && let Some(pairs) = stated.and_then(|row| row.pairs)
            && pairs.n80 as f64 * each > budget
        {
            notes.push(format!(
                "the judge's budget of ${budget} ends after some {:.0} pairs",
                budget / each
            ));
        }
        notes.extend(traffic.notes.iter().cloned());
        notes
    }
}
