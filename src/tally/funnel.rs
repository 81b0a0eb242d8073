//! The funnel from requests to scores: how many come to which step, and what is lost on the way.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::pair::Outcome;
use crate::tally::AGAIN;
use crate::tally::add_counts;
use crate::tally::tide::Tide;

/// Reasons for which pairs end because no more are wanted, whatever the time.
const ENDS: [&str; 3] = ["budget_usd", "candidate_halted", "max_pairs"];

/// From matched requests to judged pairs; what is lost on the way is counted by reason.
///
/// Up to `sampled` it counts requests, from `promised` on pairs, of which a request makes one for
/// each candidate. Once nothing is under way, `promised` is `whole` and everything `lost`, and
/// `whole` is `scored`, `unsampled` and `unjudged`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Funnel {
    /// Requests that took part.
    pub matched: u64,
    /// Requests that were to make a pair.
    pub sampled: u64,
    /// Of those, prompts that had made one before.
    pub repeated: u64,
    /// Pairs that the others were to make.
    pub promised: u64,
    /// Copies sent to other variants.
    pub sent: u64,
    /// Pairs of which both answers are whole, one for each candidate.
    pub whole: u64,
    /// Pairs scored, ties without a judge included.
    pub scored: u64,
    /// Whole pairs that the judge gave no usable verdict on.
    pub unjudged: u64,
    /// Whole pairs that chance left out of the sample that is judged.
    pub unsampled: u64,
    /// Pairs given up, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Requests that only another variant than the assigned one could answer, by reason.
    pub pinned: BTreeMap<String, u64>,
    /// Requests of units beyond those that are tracked.
    pub untracked: u64,
    /// Pairs of control with itself.
    pub noise: Aside,
    /// Pairs promised and lost, by time.
    pub tide: Tide,
}

/// Pairs of control with itself, which take no part in the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aside {
    /// Pairs that were to be.
    pub promised: u64,
    /// Pairs of which both answers are whole.
    pub whole: u64,
    /// Pairs scored.
    pub scored: u64,
    /// Whole pairs without a usable verdict.
    pub unjudged: u64,
    /// Pairs given up, by reason.
    pub lost: BTreeMap<String, u64>,
}

/// Pairs that are promised and not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Those of which both answers are there.
    pub whole: u64,
    /// Those that wait for an answer.
    pub waiting: u64,
}

impl Funnel {
    /// Counts as many pairs as are stored, `noise` being those of control with itself: counters are
    /// stored less often than pairs, so after a crash they lag behind.
    pub fn catch_up(&mut self, pairs: UnderWay, noise: UnderWay) {
        let settled = self.scored + self.unsampled + self.unjudged;
        self.whole = self.whole.max(settled + pairs.whole);
        let lost: u64 = self.lost.values().sum();
        self.promised = self.promised.max(self.whole + lost + pairs.waiting);
        self.noise.catch_up(noise);
    }

    /// Pairs were promised at a moment in Unix milliseconds.
    pub fn promise(&mut self, variants: &[String], at_ms: i64) {
        let again = variants.iter().skip(1).filter(|name| *name == AGAIN).count() as u64;
        let pairs = (variants.len() as u64).saturating_sub(1 + again);
        self.promised += pairs;
        self.noise.promised += again;
        self.tide.promised(at_ms, pairs);
    }

    /// The pair of `variant`, promised then, came to nothing.
    pub fn lose(&mut self, variant: &str, reason: &str, promised_ms: i64) {
        let is_again = variant == AGAIN;
        let lost = if is_again { &mut self.noise.lost } else { &mut self.lost };
        *lost.entry(reason.to_owned()).or_default() += 1;
        if !is_again && !ENDS.contains(&reason) {
            self.tide.lost(promised_ms, 1);
        }
    }

    /// The pair of `variant` is whole.
    pub fn complete(&mut self, variant: &str) {
        *(if variant == AGAIN { &mut self.noise.whole } else { &mut self.whole }) += 1;
    }

    /// A whole pair of `variant` has its outcome.
    pub fn settle(&mut self, variant: &str, outcome: &Outcome) {
        let count = match (variant == AGAIN, outcome) {
            (false, Outcome::Unsampled {}) => &mut self.unsampled,
            (false, Outcome::Unjudged { .. }) => &mut self.unjudged,
            (false, _) => &mut self.scored,
            (true, Outcome::Unsampled {} | Outcome::Unjudged { .. }) => &mut self.noise.unjudged,
            (true, _) => &mut self.noise.scored,
        };
        *count += 1;
    }

    /// Takes in what another process counted.
    pub fn merge(&mut self, other: &Self) {
        let Self { matched, sampled, repeated, promised, sent, whole, .. } = self;
        *matched += other.matched;
        *sampled += other.sampled;
        *repeated += other.repeated;
        *promised += other.promised;
        *sent += other.sent;
        *whole += other.whole;
        self.scored += other.scored;
        self.unjudged += other.unjudged;
        self.unsampled += other.unsampled;
        self.untracked += other.untracked;
        add_counts(&mut self.lost, &other.lost);
        add_counts(&mut self.pinned, &other.pinned);
        self.noise.merge(&other.noise);
        self.tide.merge(&other.tide);
    }
}

impl Aside {
    fn catch_up(&mut self, pairs: UnderWay) {
        self.whole = self.whole.max(self.scored + self.unjudged + pairs.whole);
        let lost: u64 = self.lost.values().sum();
        self.promised = self.promised.max(self.whole + lost + pairs.waiting);
    }

    fn merge(&mut self, other: &Self) {
        self.promised += other.promised;
        self.whole += other.whole;
        self.scored += other.scored;
        self.unjudged += other.unjudged;
        add_counts(&mut self.lost, &other.lost);
    }
}
