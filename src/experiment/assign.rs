//! Which variant a unit gets, and which requests make a pair: pure functions of names and hashes.
//!
//! Every pod and every release must agree, so the hash input is fixed: blake3 over the purpose, the
//! salt and the subject, each preceded by its length as 8 little-endian bytes. The first 8 bytes of
//! the digest, read little-endian and scaled to 0..1,000,000, are the position. Vectors and the same
//! in words for other programs are in experiments/README.md.

use std::cell::OnceCell;
use std::ops::Range;

use http::HeaderMap;
use serde_json::Value;

use crate::experiment::Candidate;
use crate::experiment::Experiment;
use crate::experiment::Layer;
use crate::experiment::Match;
use crate::experiment::Share;
use crate::experiment::Target;
use crate::experiment::Variant;

/// Where a subject stands between 0 and 999,999 for one purpose, hashed with a salt.
pub fn position(purpose: &str, salt: &str, subject: &[u8]) -> u32 {
    let mut hasher = blake3::Hasher::new();
    for part in [purpose.as_bytes(), salt.as_bytes(), subject] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let first = hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default();
    let scaled = (u128::from(u64::from_le_bytes(first)) * u128::from(Share::WHOLE)) >> 64;
    u32::try_from(scaled).unwrap_or(Share::WHOLE - 1)
}

/// Whether a unit takes part in no experiment at all, whichever asks.
pub fn is_held_out(holdout: Share, unit: &[u8]) -> bool {
    holdout > Share::NONE && position("holdout", "", unit) < holdout.ppm()
}

/// Why a unit takes no part in an experiment whose conditions its request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// It is held out of all experiments.
    Holdout,
    /// The slice of the layer is another experiment's.
    Layer,
    /// It is not in the share of units that take part.
    Share,
}

impl Experiment {
    /// The variant whose answer this unit sees.
    pub fn assign(&self, unit: &[u8]) -> &Variant {
        self.at(self.position(unit))
    }

    /// Where this unit stands on the line on which the candidates have their places.
    pub fn position(&self, unit: &[u8]) -> u32 {
        position("assign", &self.salt, unit)
    }

    /// The variant of the units that stand there; control's where no candidate has its place, and
    /// where a candidate has been halted.
    pub fn at(&self, position: u32) -> &Variant {
        let mut places = self.places();
        let found = places.find(|(_, place)| place.contains(&position)).map(|(found, _)| found);
        let found = found.filter(|candidate| !self.is_halted(candidate));
        found.map_or(&self.control, |candidate| &candidate.variant)
    }

    /// Each candidate and its place on the line; a halted one keeps its place, so that halting it
    /// moves no unit between the others.
    pub fn places(&self) -> impl Iterator<Item = (&Candidate, Range<u32>)> {
        let shares: Vec<u32> =
            self.candidates.iter().map(|candidate| self.planned(candidate).ppm()).collect();
        self.candidates.iter().zip(places(&shares))
    }

    /// Why this unit takes no part, if it does not.
    pub fn excludes(&self, unit: &[u8], holdout: Share) -> Option<Outside> {
        if is_held_out(holdout, unit) {
            return Some(Outside::Holdout);
        }
        if self.layer.as_ref().is_some_and(|layer| !layer.holds(unit)) {
            return Some(Outside::Layer);
        }
        let share = self.matches.share;
        let takes_part = share == Share::ALL || position("share", &self.salt, unit) < share.ppm();
        (!takes_part).then_some(Outside::Share)
    }

    /// Whether this prompt makes a pair; the same prompt always or never does.
    pub fn is_shadowed(&self, prompt: &[u8]) -> bool {
        position("shadow", &self.salt, prompt) < self.shadow.ppm()
    }
}

impl Layer {
    /// Whether a unit is in the slice.
    pub fn holds(&self, unit: &[u8]) -> bool {
        let position = position("layer", &self.name, unit);
        (self.from.ppm()..self.to.ppm()).contains(&position)
    }
}

/// A request as far as conditions speak of it.
pub struct Asking<'a> {
    /// The model name that the application asked for.
    pub model: &'a str,
    /// Who would answer it outside experiments.
    pub target: &'a Target,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Whose it is.
    pub tenant: &'a [u8; 32],
    /// What it says.
    pub body: Body<'a>,
}

/// A body that is read as JSON when somebody first looks into it, and only then.
pub struct Body<'a> {
    bytes: &'a [u8],
    read: OnceCell<Option<Value>>,
}

impl<'a> Body<'a> {
    /// Not looked into yet.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, read: OnceCell::new() }
    }

    /// What is at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        let read = self.read.get_or_init(|| serde_json::from_slice(self.bytes).ok());
        read.as_ref()?.pointer(pointer)
    }
}

impl Match {
    /// Whether a request meets every condition that does not depend on its unit.
    pub fn accepts(&self, asking: &Asking<'_>) -> bool {
        self.accepts_model(asking)
            && self.headers.iter().all(|(name, value)| {
                let mut sent = asking.headers.get_all(name).iter();
                sent.any(|sent| sent.as_bytes() == value.as_bytes())
            })
            && (self.tenants.is_empty() || self.accepts_tenant(asking.tenant))
            && self.fields.iter().all(|(at, value)| asking.body.at(at) == Some(value))
    }

    fn accepts_model(&self, asking: &Asking<'_>) -> bool {
        self.route.as_deref().is_none_or(|route| {
            let named = || Target::parse(route).is_some_and(|named| named == *asking.target);
            route == asking.model || named()
        })
    }

    fn accepts_tenant(&self, tenant: &[u8; 32]) -> bool {
        let hex = blake3::Hash::from_bytes(*tenant).to_hex();
        let (short, _) = hex.split_at(16);
        self.tenants.iter().any(|named| named.eq_ignore_ascii_case(short))
    }
}

/// The places of candidates with these shares (parts per million) on the line of units.
///
/// The first begins at 0 and grows upward, the last ends at the end and grows downward, and those
/// between them grow around points of their own, so that growth takes units from control alone as
/// long as nobody's neighbour is in the way. Who would overlap is moved as far as needed: upward
/// from the left, then downward from the right. Shares of more than everything are scaled down.
fn places(shares: &[u32]) -> Vec<Range<u32>> {
    let whole = Share::WHOLE;
    let total: u64 = shares.iter().map(|share| u64::from(*share)).sum();
    let fit = |share: u32| match total > u64::from(whole) {
        true => u32::try_from(u64::from(share) * u64::from(whole) / total).unwrap_or(0),
        false => share,
    };
    let count = u32::try_from(shares.len()).unwrap_or(u32::MAX);
    let mut end = 0;
    let place = |(at, share): (u32, &u32)| {
        let share = fit(*share);
        let centre = || u64::from(whole) * (2 * u64::from(at) + 1) / (2 * u64::from(count));
        let wished = match at {
            0 => 0,
            at if at + 1 == count => whole - share,
            _ => u32::try_from(centre()).unwrap_or(0).saturating_sub(share / 2),
        };
        let start = wished.max(end);
        end = start + share;
        start..end
    };
    let mut places: Vec<Range<u32>> = (0..).zip(shares).map(place).collect();
    let mut limit = whole;
    for place in places.iter_mut().rev() {
        let over = place.end.saturating_sub(limit);
        *place = place.start.saturating_sub(over)..place.end - over;
        limit = place.start;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::places;
    use super::position;

    #[test]
    fn candidates_grow_into_what_is_controls_and_give_way_only_when_they_must() {
        let check = |shares: &[u32], expected: &[(u32, u32)]| {
            let found: Vec<(u32, u32)> =
                places(shares).iter().map(|place| (place.start, place.end)).collect();
            assert_eq!(found, expected, "{shares:?}");
        };
        check(&[], &[]);
        check(&[10_000], &[(0, 10_000)]);
        check(&[1_000_000], &[(0, 1_000_000)]);
        check(&[10_000, 20_000], &[(0, 10_000), (980_000, 1_000_000)]);
        check(&[600_000, 400_000], &[(0, 600_000), (600_000, 1_000_000)]);
        check(&[1, 3, 1], &[(0, 1), (499_999, 500_002), (999_999, 1_000_000)]);
        check(
            &[2, 2, 2, 2],
            &[(0, 2), (374_999, 375_001), (624_999, 625_001), (999_998, 1_000_000)],
        );
        // Pushed upward by the first, and downward by the last.
        check(&[500_000, 100_000, 0], &[(0, 500_000), (500_000, 600_000), (1_000_000, 1_000_000)]);
        check(&[0, 100_000, 500_000], &[(0, 0), (400_000, 500_000), (500_000, 1_000_000)]);
        check(&[0, 0, 900_000, 100_000], &[(0, 0), (0, 0), (0, 900_000), (900_000, 1_000_000)]);
        // A ramp's step counts for each of them, and three halves are more than everything.
        check(&[500_000; 3], &[(0, 333_333), (333_334, 666_667), (666_667, 1_000_000)]);
    }

    #[test]
    fn places_never_overlap_and_have_the_size_that_was_asked_for() {
        let mut drawn = 1_u64;
        let mut draw = |below: u32| {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u32::try_from((drawn >> 33) % u64::from(below + 1)).unwrap()
        };
        for round in 0..20_000 {
            let mut left = 1_000_000;
            let mut shares = Vec::new();
            for _ in 0..1 + round % 4 {
                let share = draw(left);
                left -= share;
                shares.push(share);
            }
            let mut end = 0;
            for (place, share) in places(&shares).iter().zip(&shares) {
                assert!(place.start >= end && place.end <= 1_000_000, "{shares:?}");
                assert_eq!(place.end - place.start, *share, "{shares:?}");
                end = place.end;
            }
        }
    }

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
