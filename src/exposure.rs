//! Which units met which variants: what the split is checked by, and whose results are mixed.
//!
//! Everything here follows from one row a unit, so counting again what is stored gives the same.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::key::Parts;
use crate::stats::srm;
use crate::stats::srm::SampleRatio;

/// Units tracked of one experiment; later ones only count as not tracked.
pub const MAX_UNITS: u64 = 1_000_000;

/// Splits under which units were first met; those of more are not checked.
const MAX_SPLITS: usize = 64;

/// Names a unit without telling who it is.
pub type UnitDigest = [u8; 16];

/// One request of a unit that took part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// In which experiment.
    pub experiment: String,
    /// Of which definition.
    pub epoch: u32,
    /// The unit.
    pub unit: UnitDigest,
    /// The request, to which feedback may come.
    pub request_id: String,
    /// The variant it was assigned.
    pub assigned: String,
    /// The variant that answered, or the target where it is no variant's; `None`: nobody did.
    pub served: Option<String>,
    /// How.
    pub origin: Origin,
    /// The split in force: candidates' shares in parts per million, in their order.
    pub split: Vec<u32>,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A call of its own.
    Live,
    /// From the cache.
    Cached,
    /// It shared the call of another request.
    Collapsed,
}

/// What is known of one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRow {
    /// The variant it met first.
    pub first: String,
    /// The split in force then.
    pub split: Vec<u32>,
    /// By the variant assigned.
    pub by: BTreeMap<String, Met>,
    /// It was answered by somebody else than assigned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed_over: bool,
}

/// Requests of a unit under one variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Met {
    /// All of them.
    pub requests: u64,
    /// Of those, answered from the cache.
    pub cached: u64,
    /// Of those, answered by a call of another request.
    pub collapsed: u64,
}

/// What is counted of all units of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exposures {
    /// Of which definition.
    pub epoch: u32,
    /// By variant.
    pub variants: BTreeMap<String, Exposed>,
    /// Units that met several variants, because the split changed.
    pub reassigned: u64,
    /// Units that were answered by somebody else than assigned.
    pub failed_over: u64,
    /// All units.
    pub units: u64,
    /// Units by the split they were first met under, then by variant.
    #[serde(with = "pairs")]
    splits: BTreeMap<Vec<u32>, BTreeMap<String, u64>>,
}

/// What is counted of one variant; a unit belongs to the variant that it was assigned first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exposed {
    /// Units.
    pub units: u64,
    /// Their requests.
    pub requests: u64,
    /// Of those, answered from the cache: exposures, but no samples.
    pub cached: u64,
    /// Of those, answered by a call of another request: exposures, but no samples.
    pub collapsed: u64,
}

/// The digest of a unit of an experiment.
pub fn digest(experiment: &str, unit: &str) -> UnitDigest {
    let mut parts = Parts::new("unit");
    parts.part(experiment.as_bytes());
    parts.part(unit.as_bytes());
    parts.finish().first_chunk().copied().unwrap_or_default()
}

/// The beginning of a unit's digest, for what is kept of each of its pairs.
pub fn unit_number(experiment: &str, unit: &str) -> u64 {
    let digest = digest(experiment, unit);
    u64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default())
}

impl UnitRow {
    /// Takes one request in.
    pub fn meet(&mut self, exposure: &Exposure) {
        if self.by.is_empty() {
            self.first.clone_from(&exposure.assigned);
            self.split.clone_from(&exposure.split);
        }
        let met = self.by.entry(exposure.assigned.clone()).or_default();
        met.requests += 1;
        met.cached += u64::from(exposure.origin == Origin::Cached);
        met.collapsed += u64::from(exposure.origin == Origin::Collapsed);
        self.failed_over |= exposure.served.as_ref().is_some_and(|by| *by != exposure.assigned);
    }
}

impl Exposures {
    /// Nothing yet, of a definition.
    pub fn of_epoch(epoch: u32) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Replaces what was counted of a unit by what is known now; `before` is none for a new one.
    pub fn renew(&mut self, before: Option<&UnitRow>, now: &UnitRow) {
        if let Some(before) = before {
            self.add(before, false);
        }
        self.add(now, true);
    }

    /// Takes in what another process counted, of other units.
    pub fn merge(&mut self, other: &Self) {
        self.epoch = self.epoch.max(other.epoch);
        self.reassigned += other.reassigned;
        self.failed_over += other.failed_over;
        self.units += other.units;
        for (variant, theirs) in &other.variants {
            let exposed = self.variants.entry(variant.clone()).or_default();
            exposed.units += theirs.units;
            exposed.requests += theirs.requests;
            exposed.cached += theirs.cached;
            exposed.collapsed += theirs.collapsed;
        }
        for (split, theirs) in &other.splits {
            let counts = self.splits.entry(split.clone()).or_default();
            theirs.iter().for_each(|(name, n)| *counts.entry(name.clone()).or_default() += n);
        }
    }

    /// Whether the split is as configured, tested at every look.
    ///
    /// Units first met under each split are new to the experiment, so the e-values of the splits
    /// multiply.
    pub fn sample_ratio(&self, experiment: &Experiment) -> Option<SampleRatio> {
        let mut all: Option<SampleRatio> = None;
        for (split, counts) in &self.splits {
            if split.len() != experiment.candidates.len() {
                continue;
            }
            let left = 1_000_000_u32.saturating_sub(split.iter().sum());
            let weights: Vec<f64> = [left].iter().chain(split).map(|ppm| f64::from(*ppm)).collect();
            let count = |name: &str| counts.get(name).copied().unwrap_or(0);
            let counts: Vec<u64> = experiment.variants().map(|v| count(&v.name)).collect();
            let found = srm::sample_ratio(&counts, &weights, srm::CONCENTRATION)?;
            let ln_e = all.map_or(0.0, |all| all.ln_e) + found.ln_e;
            let worst = all.filter(|all| all.chi_square_p <= found.chi_square_p).unwrap_or(found);
            all = Some(SampleRatio { ln_e, p: (-ln_e).exp().min(1.0), ..worst });
        }
        all
    }

    fn add(&mut self, row: &UnitRow, is_more: bool) {
        let step = |count: &mut u64, by: u64| {
            *count = if is_more { *count + by } else { count.saturating_sub(by) };
        };
        step(&mut self.units, 1);
        step(&mut self.variants.entry(row.first.clone()).or_default().units, 1);
        for (variant, met) in &row.by {
            let exposed = self.variants.entry(variant.clone()).or_default();
            step(&mut exposed.requests, met.requests);
            step(&mut exposed.cached, met.cached);
            step(&mut exposed.collapsed, met.collapsed);
        }
        step(&mut self.reassigned, u64::from(row.by.len() > 1));
        step(&mut self.failed_over, u64::from(row.failed_over));
        if self.splits.len() < MAX_SPLITS || self.splits.contains_key(&row.split) {
            let counts = self.splits.entry(row.split.clone()).or_default();
            step(counts.entry(row.first.clone()).or_default(), 1);
        }
    }
}

/// A map as a list of pairs, because JSON has only texts for keys.
mod pairs {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serializer;

    type Splits = BTreeMap<Vec<u32>, BTreeMap<String, u64>>;

    pub fn serialize<S: Serializer>(splits: &Splits, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(splits)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Splits, D::Error> {
        Ok(Vec::<(Vec<u32>, BTreeMap<String, u64>)>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Exposure;
    use super::Exposures;
    use super::Origin;
    use super::UnitRow;
    use super::digest;

    fn exposure(assigned: &str, served: Option<&str>, origin: Origin, split: u32) -> Exposure {
        Exposure {
            experiment: "e".into(),
            epoch: 1,
            unit: digest("e", "u"),
            request_id: "r".into(),
            assigned: assigned.into(),
            served: served.map(str::to_owned),
            origin,
            split: vec![split],
            at_ms: 0,
        }
    }

    #[test]
    fn a_unit_counts_once_and_its_requests_by_what_was_assigned() {
        let (mut all, mut row) = (Exposures::of_epoch(1), UnitRow::default());
        for (assigned, served, origin) in [
            ("control", Some("control"), Origin::Live),
            ("control", Some("control"), Origin::Cached),
            ("control", Some("next"), Origin::Live),
            ("next", Some("next"), Origin::Collapsed),
            ("next", None, Origin::Live),
        ] {
            let before = row.clone();
            row.meet(&exposure(assigned, served, origin, 500_000));
            all.renew(Some(&before).filter(|row| !row.by.is_empty()), &row);
        }
        let (control, next) = (all.variants["control"], all.variants["next"]);
        assert_eq!(
            (control.units, control.requests, control.cached, control.collapsed),
            (1, 3, 1, 0)
        );
        assert_eq!((next.units, next.requests, next.cached, next.collapsed), (0, 2, 0, 1));
        assert_eq!((all.units, all.reassigned, all.failed_over), (1, 1, 1));
        let mut again = Exposures::of_epoch(1);
        again.renew(None, &row);
        assert_eq!(all.variants, again.variants, "what is stored counts the same");
    }

    #[test]
    fn digests_of_a_unit_never_change_and_do_not_join_experiments() {
        let hex: String = digest("e", "user-1").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, UNIT);
        assert_ne!(digest("e", "user-1"), digest("f", "user-1"));
    }

    const UNIT: &str = "e256a1046b75a82f3d9fcb259e75bf9a";
}
