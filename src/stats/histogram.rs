//! The summary of a measure that spans orders of magnitude, such as a time: a histogram of
//! logarithms, so that merging is exact and every quantile is known to one per cent.
//!
//! The mapping is that of DDSketch (Masson, Rim and Lee, VLDB 2019), without its collapsing.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The relative error of a value read back.
const ACCURACY: f64 = 0.01;

/// The ratio of one bucket's bound to the last: `(1 + a) / (1 - a)`.
pub const GAMMA: f64 = (1.0 + ACCURACY) / (1.0 - ACCURACY);

/// Whole numbers of 64 bits fall into fewer buckets than this.
const LAST_BUCKET: i32 = 2300;

/// Counts of values by their logarithm: bucket `i` holds those in `(GAMMA^(i-1), GAMMA^i]`.
///
/// Values are whole, for example microseconds. Merging adds integers, so any order and grouping
/// gives the same histogram, bit for bit. From a millisecond to ten minutes there are 660 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(i32, u64)>", into = "Vec<(i32, u64)>")]
pub struct Histogram {
    buckets: BTreeMap<i32, u64>,
    n: u64,
}

/// The bucket of a value above zero.
pub fn bucket(value: f64) -> i32 {
    (value.ln() / GAMMA.ln()).ceil() as i32
}

/// The value that stands for a bucket: no value in it is further away than one per cent.
pub fn value(bucket: i32) -> f64 {
    2.0 * bound(bucket) / (GAMMA + 1.0)
}

/// The largest value of a bucket.
pub fn bound(bucket: i32) -> f64 {
    GAMMA.powi(bucket)
}

impl Histogram {
    /// Takes one value in; zero counts as one, the least that is measured.
    pub fn add(&mut self, value: u64) {
        self.count(bucket(value.max(1) as f64), 1);
    }

    /// Takes in every value of `other`, which must be values that `self` has not seen.
    pub fn merge(&mut self, other: &Histogram) {
        for (&bucket, &count) in &other.buckets {
            self.count(bucket, count);
        }
    }

    /// How many values were taken in.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The value of rank `p (n - 1)`, to one per cent; `None` without values.
    pub fn quantile(&self, p: f64) -> Option<f64> {
        let rank = p * (self.n.checked_sub(1)? as f64);
        let found = self.cumulative().into_iter().find(|(_, count)| *count as f64 > rank);
        found.map(|(bucket, _)| value(bucket))
    }

    /// Each bucket that holds a value, with the number of values up to its bound.
    pub fn cumulative(&self) -> Vec<(i32, u64)> {
        let mut sum = 0_u64;
        self.buckets
            .iter()
            .map(|(bucket, count)| {
                sum = sum.saturating_add(*count);
                (*bucket, sum)
            })
            .collect()
    }

    fn count(&mut self, bucket: i32, more: u64) {
        let count = self.buckets.entry(bucket).or_insert(0);
        *count = count.saturating_add(more);
        self.n = self.n.saturating_add(more);
    }
}

impl From<Histogram> for Vec<(i32, u64)> {
    fn from(histogram: Histogram) -> Self {
        histogram.buckets.into_iter().collect()
    }
}

impl TryFrom<Vec<(i32, u64)>> for Histogram {
    type Error = String;

    fn try_from(written: Vec<(i32, u64)>) -> Result<Histogram, String> {
        let mut histogram = Histogram::default();
        for (bucket, count) in written {
            let known = (-LAST_BUCKET..=LAST_BUCKET).contains(&bucket);
            if !known || count == 0 || histogram.buckets.contains_key(&bucket) {
                return Err(format!("bucket {bucket} is out of range, empty or repeated"));
            }
            histogram.count(bucket, count);
        }
        Ok(histogram)
    }
}
