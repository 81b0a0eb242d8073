//! What a verdict rested on, as the decision log keeps it: enough to compute it again.
//!
//! Whatever holds fractions is kept as the JSON text that was counted, because a number that is
//! read and written again may come out differently, and the log's chain is over every byte.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::definition::Parts;
use crate::experiment::life::By;
use crate::experiment::life::Ruling;
use crate::stats::Verdict;

/// A person's decision in the place of the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overruled {
    /// What the person decided.
    pub verdict: Verdict,
    /// What the evidence said then.
    pub instead_of: Verdict,
    /// Who did it.
    pub by: By,
    /// In their words.
    pub why: String,
}

/// Everything that a verdict rested on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The definition whose results these are.
    pub epoch: u32,
    /// What follows.
    pub verdict: Verdict,
    /// A short stable word for why.
    pub reason: String,
    /// The verdict in one sentence.
    pub summary: String,
    /// A hash of the files in force; empty where they are not known.
    pub config: String,
    /// What the definition said, the salt and the hashes of criteria and templates among it.
    pub parts: Parts,
    /// Dollars per million tokens in, out and cached, of each target whose price is known.
    pub prices: BTreeMap<String, String>,
    /// A hash of each text that the judge was asked with, by its name.
    pub templates: BTreeMap<String, String>,
    /// The verdicts on the candidates, with pairs and intervals.
    pub rulings: BTreeMap<String, Ruling>,
    /// What was counted of each candidate.
    pub counts: BTreeMap<String, Counts>,
    /// From requests to scores, as JSON.
    pub funnel: String,
    /// What guardrails had seen, as JSON.
    pub guardrails: String,
    /// Who met what, as JSON.
    pub exposures: String,
    /// The audit of the judge, as JSON.
    pub audit: String,
    /// What a person decided in the verdict's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overruled: Option<Overruled>,
}

/// What was counted of one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// blake3 of the tally as JSON.
    pub digest: String,
    /// The tally as JSON; absent where it is too long for a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<String>,
}
