//! What the answers of both sides look like, whoever wins: how often they repeat, how often they
//! speak to the judge, how long and how dear they are.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::pair::Facts;
use crate::pair::Look;
use crate::stats::Joint;
use crate::stats::Rate;

/// Buckets of digests: two different answers share one in this many cases.
pub const BUCKETS: u64 = 4096;

/// One side's answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answers {
    /// How many there are.
    pub n: u64,
    /// By the bucket of their digest; only those that have any.
    pub buckets: BTreeMap<u16, u64>,
}

/// Both answers of the same pairs: control's is the first measure, the candidate's the second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compared {
    /// Price, billionths of a dollar.
    pub cost_nano_usd: Joint,
    /// Characters.
    pub output_chars: Joint,
    /// Until the end, microseconds.
    pub took_us: Joint,
    /// Pairs of which both answers, only control's, or only the candidate's speak to the judge,
    /// and of which neither does.
    pub suspicious: Suspicious,
}

/// Pairs by which of the answers speak to the judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Suspicious {
    /// Neither.
    pub neither: u64,
    /// Control's alone.
    pub control: u64,
    /// The candidate's alone.
    pub candidate: u64,
    /// Both.
    pub both: u64,
}

/// Pairs that a judge was asked about, by which answer is longer, and how many of them got no
/// verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Missing {
    /// Control's is longer.
    pub control_longer: Rate,
    /// Both are as long.
    pub even: Rate,
    /// The candidate's is longer.
    pub candidate_longer: Rate,
}

impl Answers {
    /// Takes one answer in; one of which nothing is known is left out.
    pub fn add(&mut self, look: &Look) {
        if look.digest == 0 {
            return;
        }
        self.n += 1;
        let bucket = u16::try_from(look.digest % BUCKETS).unwrap_or(0);
        *self.buckets.entry(bucket).or_default() += 1;
    }

    /// Takes in what another process counted.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
    }

    /// How often two different prompts get the same answer; `None` below two answers.
    ///
    /// Of all pairs of answers the share in one bucket, `u = sum c (c-1) / (n (n-1))`, is an
    /// unbiased estimate (a U-statistic; Hoeffding, 1948); different answers share a bucket by
    /// chance with `1/B`, so it is `(u - 1/B) / (1 - 1/B)`.
    pub fn repetition(&self) -> Option<f64> {
        let n = self.n as f64;
        let same: f64 = self.buckets.values().map(|c| *c as f64 * (*c as f64 - 1.0)).sum();
        let chance = 1.0 / BUCKETS as f64;
        let shared = same / (n * (n - 1.0));
        (self.n > 1).then(|| ((shared - chance) / (1.0 - chance)).max(0.0))
    }

    /// How often the commonest answer was given.
    pub fn commonest(&self) -> u64 {
        self.buckets.values().copied().max().unwrap_or(0)
    }
}

impl Compared {
    /// Takes one pair in.
    pub fn add(&mut self, facts: &Facts) {
        let (a, b) = (&facts.control, &facts.candidate);
        if a.digest == 0 && b.digest == 0 {
            return;
        }
        self.output_chars.add(a.chars.into(), b.chars.into());
        // Of a recorded answer it may be that nobody took the time.
        if a.took_us > 0 && b.took_us > 0 {
            self.took_us.add(a.took_us, b.took_us);
        }
        if let (Some(a), Some(b)) = (a.cost_nano_usd, b.cost_nano_usd) {
            self.cost_nano_usd.add(a, b);
        }
        *(match (a.suspicious, b.suspicious) {
            (false, false) => &mut self.suspicious.neither,
            (true, false) => &mut self.suspicious.control,
            (false, true) => &mut self.suspicious.candidate,
            (true, true) => &mut self.suspicious.both,
        }) += 1;
    }

    /// Takes in what another process counted.
    pub fn merge(&mut self, other: &Self) {
        self.cost_nano_usd.merge(&other.cost_nano_usd);
        self.output_chars.merge(&other.output_chars);
        self.took_us.merge(&other.took_us);
        self.suspicious.neither += other.suspicious.neither;
        self.suspicious.control += other.suspicious.control;
        self.suspicious.candidate += other.suspicious.candidate;
        self.suspicious.both += other.suspicious.both;
    }
}

impl Suspicious {
    /// All pairs.
    pub fn pairs(&self) -> u64 {
        self.neither + self.control + self.candidate + self.both
    }
}

impl Missing {
    /// Takes in a pair that the judge was asked about.
    pub fn add(&mut self, control: &Look, candidate: &Look, is_missing: bool) {
        let rate = match control.chars.cmp(&candidate.chars) {
            std::cmp::Ordering::Greater => &mut self.control_longer,
            std::cmp::Ordering::Equal => &mut self.even,
            std::cmp::Ordering::Less => &mut self.candidate_longer,
        };
        rate.add(is_missing);
    }

    /// Takes in what another process counted.
    pub fn merge(&mut self, other: &Self) {
        self.control_longer.merge(&other.control_longer);
        self.even.merge(&other.even);
        self.candidate_longer.merge(&other.candidate_longer);
    }

    /// Of all pairs.
    pub fn all(&self) -> Rate {
        let mut all = self.control_longer;
        all.merge(&self.even);
        all.merge(&self.candidate_longer);
        all
    }
}
