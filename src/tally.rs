//! What is counted of an experiment: the funnel from requests to scores, and the scores themselves.
//!
//! Everything is whole numbers, so that the counts of many sidecars add up to those of one, bit for
//! bit, in whatever order they come.

pub mod answers;
pub mod funnel;
pub mod opinion;
pub mod segment;
pub mod tide;
pub mod units;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::pair::Facts;
use crate::pair::Outcome;
use crate::pair::Scored;
use crate::stats::Agreement;
use crate::stats::Choice;
use crate::stats::Labelled;
use crate::stats::LengthCells;
use crate::stats::Score;
use crate::stats::WinRate;
use crate::tally::answers::Answers;
use crate::tally::answers::Compared;
use crate::tally::answers::Missing;
use crate::tally::segment::Segments;
use crate::tally::units::Units;

pub use crate::tally::funnel::Aside;
pub use crate::tally::funnel::Funnel;
pub use crate::tally::funnel::UnderWay;
pub use crate::tally::opinion::JudgeTally;

/// The name of control when it is asked a second time; no candidate has it.
pub const AGAIN: &str = "again";

/// Everything known about one candidate's pairs; merging and order never matter.
///
/// It stays bounded: histograms and tables have fixed bins, and of units and of segments a fixed
/// number is kept by name, chosen by hash, while the rest is counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Scores in the candidate's view; pairs left out of the sample are in it as ties.
    pub win_rate: WinRate,
    /// Ties found without a judge.
    pub equal: u64,
    /// Pairs that chance left out of the sample that is judged.
    pub unsampled: u64,
    /// Pairs without a usable verdict, by reason.
    pub unjudged: BTreeMap<String, u64>,
    /// The judge, seen through its verdicts.
    pub judge: JudgeTally,
    /// Scores by the difference in length.
    pub length: LengthCells,
    /// Pairs without a verdict by which answer is longer.
    pub missing: Missing,
    /// Scores by unit.
    pub units: Units,
    /// Scores by where the request belongs.
    pub segments: Segments,
    /// Control's answers.
    pub control: Answers,
    /// The candidate's answers.
    pub candidate: Answers,
    /// Cost, length and time of both answers of each pair.
    pub compared: Compared,
    /// What people said (rows) and the judge (columns) of the same pairs.
    pub human: Agreement,
    /// Scored pairs that differ, with and without a label.
    pub labelled: Labelled,
}

impl Tally {
    /// Pairs without a usable verdict.
    pub fn without_verdict(&self) -> u64 {
        self.unjudged.values().sum()
    }

    /// Pairs with a score; those left out of the sample have none.
    pub fn scored(&self) -> u64 {
        self.win_rate.pairs().saturating_sub(self.unsampled)
    }

    /// Takes one pair in, with what a person said of it.
    pub fn add(&mut self, scored: &Scored, label: Option<Score>) {
        let Scored { outcome, facts, .. } = scored;
        self.judge.add(scored);
        self.control.add(&facts.control);
        self.candidate.add(&facts.candidate);
        self.compared.add(facts);
        match outcome {
            Outcome::Equal { .. } => self.equal += 1,
            Outcome::Unsampled {} => self.unsampled += 1,
            Outcome::Unjudged { reason } => *self.unjudged.entry(reason.clone()).or_default() += 1,
            Outcome::Judged { .. } | Outcome::Settled { .. } => {}
        }
        let is_missing = matches!(outcome, Outcome::Unjudged { .. });
        let is_asked = is_missing || matches!(outcome, Outcome::Judged { .. });
        if is_asked && is_known(facts) {
            self.missing.add(&facts.control, &facts.candidate, is_missing);
        }
        let Some(value) = value(outcome) else { return };
        self.win_rate.add(value);
        self.units.add(facts.unit, value);
        self.segments.add(&facts.segments, value);
        if let Some(score) = outcome.score() {
            if is_known(facts) {
                self.length.add(facts.control.chars.into(), facts.candidate.chars.into(), score);
            }
            let is_judged = matches!(outcome, Outcome::Judged { .. });
            match label {
                _ if matches!(outcome, Outcome::Equal { .. }) => {}
                None => self.labelled.add_unlabelled(score),
                Some(label) => {
                    self.labelled.add(label, score);
                    if is_judged {
                        self.human.add(Choice::of(label), Choice::of(score));
                    }
                }
            }
        }
    }

    /// Takes in what another process counted, of pairs that are not in here.
    pub fn merge(&mut self, other: &Self) {
        self.win_rate.merge(&other.win_rate);
        self.equal += other.equal;
        self.unsampled += other.unsampled;
        add_counts(&mut self.unjudged, &other.unjudged);
        self.judge.merge(&other.judge);
        self.length.merge(&other.length);
        self.missing.merge(&other.missing);
        self.units.merge(&other.units);
        self.segments.merge(&other.segments);
        self.control.merge(&other.control);
        self.candidate.merge(&other.candidate);
        self.compared.merge(&other.compared);
        self.human.merge(&other.human);
        self.labelled.merge(&other.labelled);
    }
}

/// What a pair counts as in the win rate: a pair left out of the sample is a tie there, which the
/// map back to the win rate of all pairs allows for.
fn value(outcome: &Outcome) -> Option<Score> {
    match outcome {
        Outcome::Unsampled {} => Some(Score::TIE),
        outcome => outcome.score(),
    }
}

/// Whether anything was noted of the answers: rows of former versions have nothing.
fn is_known(facts: &Facts) -> bool {
    facts.control.digest != 0 || facts.candidate.digest != 0
}

/// Adds counts by name.
fn add_counts(into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (name, count) in from {
        *into.entry(name.clone()).or_default() += count;
    }
}

/// Of a map that has grown beyond `most`, the key that is to be counted with the rest: the one of
/// the highest rank.
///
/// What was put with the rest once is there for good, because the kept keys only ever get lower
/// ranks. So the same keys are kept, with everything that was ever counted of them, in whatever
/// order and grouping they came.
fn highest<K: Clone, V>(map: &BTreeMap<K, V>, most: usize, rank: impl Fn(&K) -> u64) -> Option<K> {
    (map.len() > most).then(|| map.keys().max_by_key(|key| rank(key)).cloned()).flatten()
}
