//! Which variant a unit gets, and which requests make a pair: pure functions of names and hashes.
//!
//! Every pod and every release must agree, so the hash input is fixed: blake3 over the purpose, the
//! experiment's name and the subject, each preceded by its length as 8 little-endian bytes. The
//! first 8 bytes of the digest, read little-endian and scaled to 0..1,000,000, are the position.

use http::HeaderMap;

use crate::experiment::Experiment;
use crate::experiment::Match;
use crate::experiment::Share;
use crate::experiment::Target;
use crate::experiment::Variant;

/// Where a subject stands between 0 and 999,999 for one purpose of one experiment.
pub fn position(purpose: &str, experiment: &str, subject: &[u8]) -> u32 {
    let mut hasher = blake3::Hasher::new();
    for part in [purpose.as_bytes(), experiment.as_bytes(), subject] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    let scaled = (u128::from(u64::from_le_bytes(first)) * u128::from(Share::WHOLE)) >> 64;
    u32::try_from(scaled).unwrap_or(Share::WHOLE - 1)
}

impl Experiment {
    /// The variant whose answer this unit sees.
    ///
    /// Candidates lie one after the other from position 0 and control takes what is left, so
    /// raising the share of the last candidate moves units only from control to it.
    pub fn assign(&self, unit: &[u8]) -> &Variant {
        let position = position("assign", &self.name, unit);
        let mut end = 0;
        for candidate in &self.candidates {
            end += self.split(candidate).ppm();
            if position < end {
                return &candidate.variant;
            }
        }
        &self.control
    }

    /// Whether this prompt makes a pair; the same prompt always or never does.
    pub fn is_shadowed(&self, prompt: &[u8]) -> bool {
        position("shadow", &self.name, prompt) < self.shadow.ppm()
    }
}

impl Match {
    /// Whether a request takes part that asks for the model name `asked`, which means `target`.
    pub fn accepts(&self, asked: &str, target: &Target, headers: &HeaderMap) -> bool {
        self.route.as_deref().is_none_or(|route| {
            route == asked || Target::parse(route).is_some_and(|named| named == *target)
        }) && self.headers.iter().all(|(name, value)| {
            headers.get_all(name).iter().any(|sent| sent.as_bytes() == value.as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::position;

    /// Published vectors: a change here moves every running experiment's units.
    #[test]
    fn positions_never_change() {
        let unit = |unit: &str| position("assign", "support-upgrade", unit.as_bytes());
        assert_eq!([unit(""), unit("user-1"), unit("user-2")], VECTORS);
    }

    const VECTORS: [u32; 3] = [553_987, 188_995, 461_309];

    #[test]
    fn purposes_and_experiments_are_independent() {
        let (n, half) = (10_000, 500_000);
        let both = (0..n).filter(|i: &u32| {
            let unit = i.to_le_bytes();
            position("assign", "a", &unit) < half && position("shadow", "a", &unit) < half
        });
        let share = both.count() as f64 / f64::from(n);
        assert!((share - 0.25).abs() < 0.02, "{share}");
    }
}
