//! Checks of what the judge was shown: answers that work on it instead of on the question.

use crate::audit::Evidence;
use crate::audit::Finding;
use crate::audit::State;
use crate::audit::percent;
use crate::stats::Bounds;
use crate::stats::Interval;
use crate::stats::Rate;
use crate::stats::betting;
use crate::stats::betting::Level;
use crate::stats::grid::Grid;
use crate::stats::length;
use crate::stats::rate;
use crate::tally::answers::Answers;
use crate::tally::answers::BUCKETS;

/// Pairs below which nothing is said.
const FEW: u64 = 20;

/// Buckets that are looked at for answers that come again and again.
const COMMON: usize = 16;

/// Verdicts that are missing more often by this share where one side's answer is longer are worth a
/// warning.
const UNEVEN: f64 = 0.02;

/// Answers should depend on the prompt.
///
/// The bound is exact: each bucket's share `p_b` has its confidence sequence at `alpha / B`, so all
/// of them hold together, and two answers are the same with probability `sum p_b^2` at least, less
/// what different answers share by chance.
pub fn prompt_independence(evidence: &Evidence<'_>) -> Finding {
    let (a, b) = (&evidence.tally.control, &evidence.tally.candidate);
    let n = a.n.min(b.n);
    let limit = evidence.limits.prompt_independence;
    let (Some(of_a), Some(of_b)) = (a.repetition(), b.repetition()) else {
        return Finding::unknown(n, "too few answers were compared");
    };
    if n < FEW {
        return Finding::unknown(n, "too few answers were compared");
    }
    let (who, side, value, other) = match of_a > of_b {
        true => ("control", a, of_a, of_b),
        false => ("the candidate", b, of_b, of_a),
    };
    let bounds = Interval { lower: least_repetition(side, evidence.alpha), upper: 1.0 };
    let found = format!(
        "two different prompts get the same answer from {who} in {} of cases, from the other in {}",
        percent(value),
        percent(other)
    );
    let is_over = bounds.lower - other > limit;
    let (state, why) = attack(evidence, is_over, who == "control", &found);
    Finding { state, value: Some(value), bounds: Some(bounds), limit: Some(limit), n, why }
}

/// Answers should speak to the user and not to the judge.
///
/// Of each pair, 1 if only the candidate's answer does, 0 if only control's does, and 1/2
/// otherwise: the difference of the two shares is twice what the mean of that is above 1/2, and its
/// confidence sequence is exact (the sequential form of McNemar's test).
pub fn injection(evidence: &Evidence<'_>) -> Finding {
    let counts = evidence.tally.compared.suspicious;
    let (n, limit) = (counts.pairs(), evidence.limits.injection);
    if n < FEW {
        return Finding::unknown(n, "too few answers were compared");
    }
    let levels = [
        Level { value: 0.0, count: counts.control },
        Level { value: 0.5, count: counts.neither + counts.both },
        Level { value: 1.0, count: counts.candidate },
    ];
    let seen = betting::interval(&Grid::default(), &levels, &levels, evidence.alpha);
    let bounds = Interval { lower: 2.0 * seen.lower - 1.0, upper: 2.0 * seen.upper - 1.0 };
    let of = |alone: u64| (alone + counts.both) as f64 / n as f64;
    let value = of(counts.candidate) - of(counts.control);
    let found = format!(
        "{} of the candidate's answers and {} of control's speak to the judge",
        percent(of(counts.candidate)),
        percent(of(counts.control))
    );
    let is_over = bounds.lower > limit || bounds.upper < -limit;
    let (state, why) = attack(evidence, is_over, value < 0.0, &found);
    Finding { state, value: Some(value), bounds: Some(bounds), limit: Some(limit), n, why }
}

/// What a side's attack on the judge means: one that loses nevertheless shows a judge that resists.
fn attack(
    evidence: &Evidence<'_>,
    is_over: bool,
    is_control: bool,
    found: &str,
) -> (State, String) {
    let loses = match is_control {
        true => evidence.win_rate.lower > 0.5,
        false => evidence.win_rate.upper < 0.5,
    };
    match (is_over, loses) {
        (false, _) => (State::Pass, found.to_owned()),
        (true, true) => (State::Warn, format!("{found}; the judge finds them worse nevertheless")),
        (true, false) => {
            let so = "and the judge does not mind: read some of them before you believe any score";
            (State::Fail, format!("{found}, {so}"))
        }
    }
}

/// A lower bound on how often two answers are the same.
fn least_repetition(answers: &Answers, alpha: f64) -> f64 {
    let mut counts: Vec<u64> = answers.buckets.values().copied().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let alpha = alpha / BUCKETS as f64;
    let shares = counts
        .iter()
        .take(COMMON)
        .map(|count| Rate { hits: *count, of: answers.n }.interval(alpha).lower);
    (shares.map(|lower| lower * lower).sum::<f64>() - 1.0 / BUCKETS as f64).max(0.0)
}

/// The win rate should be on the same side of 1/2 when both answers are equally long.
pub fn length_effect(evidence: &Evidence<'_>) -> Finding {
    let tally = evidence.tally;
    let n = tally.length.pairs();
    let controlled = tally.length.controlled().filter(|_| n >= length::LEAST_PAIRS);
    let Some((controlled, raw)) = controlled.zip(tally.win_rate.estimate()) else {
        return Finding::unknown(n, format!("it takes {} scored pairs", length::LEAST_PAIRS));
    };
    let Bounds { lower, upper } = controlled.interval(evidence.alpha);
    let bounds = Interval { lower: lower.unwrap_or(0.0), upper: upper.unwrap_or(1.0) };
    let value = controlled.estimate;
    let found = format!("with answers of equal length it would win {} of pairs", percent(value));
    let is_sure = |seen: Interval| seen.lower > 0.5 || seen.upper < 0.5;
    let differs = (value - 0.5) * (raw - 0.5) < 0.0;
    let (state, why) = match differs && (is_sure(evidence.win_rate) || is_sure(bounds)) {
        true => {
            let so = "the judge may take length for merit: tell it in `criteria` how long an answer \
                      should be";
            (State::Warn, format!("{found}, on the other side of even: {so}"))
        }
        false => (State::Pass, found),
    };
    Finding { state, value: Some(value), bounds: Some(bounds), limit: None, n, why }
}

/// Nearly every pair should get a verdict, whichever answer is longer.
pub fn missing_verdicts(evidence: &Evidence<'_>) -> Finding {
    let missing = evidence.tally.missing;
    let (all, limit) = (missing.all(), evidence.limits.missing_verdicts);
    let n = all.of;
    let Some(value) = all.share().filter(|_| n >= FEW) else {
        return Finding::unknown(n, "too few pairs went to the judge");
    };
    let bounds = all.interval(evidence.alpha);
    let found = format!("the judge gave no usable verdict on {} of {n} pairs", percent(value));
    let (a, b) = (missing.control_longer, missing.candidate_longer);
    let grid = Grid::default();
    let is_more = |a, b| rate::exceeds_by(&grid, a, b, UNEVEN, evidence.alpha / 2.0);
    let (state, why) = if bounds.lower > limit {
        (State::Fail, format!("{found}: those that are left may not speak for all"))
    } else if is_more(a, b) || is_more(b, a) {
        let of = |rate: Rate| percent(rate.share().unwrap_or(0.0));
        let (a, b) = (of(a), of(b));
        (State::Warn, format!("{found}: {a} where control's answer is longer, {b} where it is not"))
    } else {
        (State::Pass, found)
    };
    Finding { state, value: Some(value), bounds: Some(bounds), limit: Some(limit), n, why }
}
