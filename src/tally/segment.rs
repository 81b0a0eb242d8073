//! Scores by where the request belongs: route, tools, length of the prompt, language, tenant.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::stats::Score;
use crate::stats::WinRate;
use crate::tally::highest;

/// Dimensions, and values of one, that are counted by name.
const MOST_DIMENSIONS: usize = 8;
const MOST_VALUES: usize = 24;

/// Scores by dimension and value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Segments {
    dimensions: BTreeMap<String, Dimension>,
}

/// Scores by the value of one dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dimension {
    /// By value; of too many, those with the lowest hashes.
    pub values: BTreeMap<String, WinRate>,
    /// All others together.
    pub other: WinRate,
}

impl Segments {
    /// Takes one pair in.
    pub fn add(&mut self, of: &BTreeMap<String, String>, score: Score) {
        for (dimension, value) in of {
            let mut one = WinRate::new();
            one.add(score);
            self.put(dimension, |into| into.put(value, &one));
        }
    }

    /// Takes in what another process counted.
    pub fn merge(&mut self, other: &Self) {
        for (name, dimension) in &other.dimensions {
            self.put(name, |into| {
                into.other.merge(&dimension.other);
                dimension.values.iter().for_each(|(value, scores)| into.put(value, scores));
            });
        }
    }

    /// Every dimension with every value that is counted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &WinRate)> {
        self.dimensions.iter().flat_map(|(name, dimension)| {
            let values = dimension.values.iter();
            values.map(|(value, scores)| (name.as_str(), value.as_str(), scores))
        })
    }

    fn put(&mut self, dimension: &str, change: impl FnOnce(&mut Dimension)) {
        change(self.dimensions.entry(dimension.to_owned()).or_default());
        if let Some(out) = highest(&self.dimensions, MOST_DIMENSIONS, rank) {
            self.dimensions.remove(&out);
        }
    }
}

impl Dimension {
    fn put(&mut self, value: &str, scores: &WinRate) {
        self.values.entry(value.to_owned()).or_default().merge(scores);
        let out = highest(&self.values, MOST_VALUES, rank);
        if let Some(scores) = out.and_then(|value| self.values.remove(&value)) {
            self.other.merge(&scores);
        }
    }
}

/// The same in every process, and nothing that a value could be chosen for.
fn rank(name: &String) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    u64::from_be_bytes(hash.as_bytes().first_chunk().copied().unwrap_or_default())
}
