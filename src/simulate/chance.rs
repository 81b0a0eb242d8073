//! Seeded draws: everything random in the simulator comes from a hash, so that a run repeats.

use fastrand::Rng;

/// What makes one request's draws its own: the simulator's seed, the request's body, and how many
/// times this very body came before (so that a retry is a fresh draw, yet a second run repeats).
#[derive(Clone, Copy)]
pub(super) struct Draw {
    pub(super) seed: u64,
    pub(super) body: u64,
    pub(super) nth: u32,
}

impl Draw {
    /// A generator for one purpose; different labels never share their numbers.
    pub(super) fn rng(&self, label: &str) -> Rng {
        let nth = u64::from(self.nth);
        rng(self.seed, &[label.as_bytes(), &self.body.to_le_bytes(), &nth.to_le_bytes()])
    }
}

/// A 64-bit hash of the seed and the parts; lengths are hashed too, so parts cannot run together.
pub(super) fn hash(seed: u64, parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(hasher.finalize().as_bytes()) {
        *to = *from;
    }
    u64::from_le_bytes(first)
}

/// A generator seeded by [`hash`].
pub(super) fn rng(seed: u64, parts: &[&[u8]]) -> Rng {
    Rng::with_seed(hash(seed, parts))
}

/// One of the rows, or nothing when there are none.
pub(super) fn pick<'a, T>(rng: &mut Rng, rows: &'a [T]) -> Option<&'a T> {
    if rows.is_empty() { None } else { rows.get(rng.usize(..rows.len())) }
}

/// A standard normal number by the Box–Muller transform (Box and Muller, 1958).
pub(super) fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}
