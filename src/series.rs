//! How a candidate's interval narrowed, pair by pair.

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::pair::Outcome;
use crate::pair::Scored;
use crate::report::reading::Reading;
use crate::stats::Interval;
use crate::tally::Tally;

/// The most points of one candidate.
const MOST: u64 = 200;

/// Bins of a histogram times points: more would take seconds.
const MOST_WORK: u64 = 20_000;

/// What the evidence was after so many pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Scored pairs.
    pub pairs: u64,
    /// The share that the candidate won, a tie being half.
    pub estimate: f64,
    /// Where its interval began.
    pub lower: f64,
    /// Where its interval ended.
    pub upper: f64,
    /// When the last of these pairs was scored, Unix milliseconds.
    pub at_ms: i64,
}

/// The points of one candidate, of its pairs in the order in which they were scored.
pub fn series(experiment: &Experiment, scored: &[Scored]) -> Vec<Point> {
    let counts = |scored: &&Scored| !matches!(scored.outcome, Outcome::Unjudged { .. });
    let all: Vec<&Scored> = scored.iter().filter(counts).collect();
    let mut tally = Tally::default();
    all.iter().for_each(|scored| tally.add(scored, None));
    let bins = (tally.win_rate.levels().0.len() as u64).max(1);
    let looks = looks(all.len() as u64, MOST.min(MOST_WORK / bins).max(20));
    let mut looks = looks.into_iter().peekable();
    let (mut tally, mut points) = (Tally::default(), Vec::new());
    for (at, scored) in all.iter().enumerate() {
        tally.add(scored, None);
        if looks.next_if_eq(&(at as u64 + 1)).is_none() {
            continue;
        }
        let reading = Reading::of(experiment, &tally);
        let Interval { lower, upper } = reading.judged;
        points.push(Point {
            pairs: tally.scored(),
            estimate: reading.estimate.unwrap_or(0.5),
            lower,
            upper,
            at_ms: scored.scored_ms,
        });
    }
    points
}

/// At most so many numbers up to `pairs`, closer at the beginning, where the interval moves most.
fn looks(pairs: u64, most: u64) -> Vec<u64> {
    let at = |step: u64| {
        let share = (step as f64 / most as f64).powf(1.5);
        ((pairs as f64 * share).ceil() as u64).min(pairs)
    };
    let mut looks: Vec<u64> = (1..=most).map(at).filter(|look| *look > 0).collect();
    looks.dedup();
    looks
}

#[cfg(test)]
mod tests {
    use super::looks;

    #[test]
    fn the_last_pair_is_always_looked_at_and_none_twice() {
        for pairs in [0, 1, 2, 17, 200, 5000, 123_456] {
            let looks = looks(pairs, 200);
            assert_eq!(looks.last().copied().unwrap_or(0), pairs);
            assert!(looks.len() <= 200 && looks.windows(2).all(|two| two[0] < two[1]));
        }
    }
}
