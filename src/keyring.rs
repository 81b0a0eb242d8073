//! Which of a provider's keys pays for the next request: a rule, with the time passed in.

pub mod said;

use std::fmt;
use std::time::Duration;
use std::time::Instant;

use secrecy::ExposeSecret;
use secrecy::SecretString;

/// How long a refused key rests at first; each further refusal doubles it.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// How long a key rests at first whose provider is busy and does not say until when.
const LIMITED_PAUSE: Duration = Duration::from_secs(2);

/// The longest a key rests, whatever its provider says.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// How long others leave a key alone that one request is trying again.
const PROBE: Duration = Duration::from_secs(10);

/// How long the key before the present one may still be used when that one is refused.
const OVERLAP: Duration = Duration::from_secs(10 * 60);

/// Former keys of a place that are remembered.
const MOST_FORMER: usize = 2;

/// By what a key is told from others; it does not give the key away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// A key.
#[derive(Clone)]
pub struct Key {
    /// What is sent.
    pub secret: SecretString,
    /// Which one it is.
    pub digest: Digest,
}

impl Key {
    /// The key that is sent so.
    pub fn new(secret: SecretString) -> Self {
        let digest = Digest(*blake3::hash(secret.expose_secret().as_bytes()).as_bytes());
        Self { secret, digest }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// What a provider thought of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Good,
    /// It is wrong, unpaid or not allowed this: 401, 402, 403, and others that say so.
    Refused,
    /// It has been used too often, for so long if the provider said: 429.
    Limited(Option<Duration>),
}

/// The keys of one provider, by the places they come from, with what became of each.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    slots: Vec<Slot>,
}

/// A place where a key comes from, with the keys it has given.
#[derive(Clone, Debug)]
struct Slot {
    weight: u32,
    /// What it is owed: the slot with the most is next (nginx's smooth weighted round robin).
    turn: i64,
    current: Option<Held>,
    /// Those before, the latest first, each until when it may be used.
    former: Vec<(Held, Instant)>,
}

#[derive(Clone, Debug)]
struct Held {
    key: Key,
    bench: Option<Bench>,
}

/// Why a key rests, and until when.
#[derive(Clone, Copy, Debug)]
struct Bench {
    is_refused: bool,
    until: Instant,
    times: u32,
    /// One request is trying it again.
    is_probed: bool,
}

impl Ring {
    /// A ring of empty slots with these weights.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let slot = |weight| Slot { weight, turn: 0, current: None, former: Vec::new() };
        Self { slots: weights.into_iter().map(slot).collect() }
    }

    /// Makes this the key of a slot; the one before may go on for a while if this is refused.
    ///
    /// A key that is known keeps what became of it.
    pub fn fill(&mut self, slot: usize, key: Key, now: Instant) {
        let Some(slot) = self.slots.get_mut(slot) else { return };
        if slot.current.as_ref().is_some_and(|held| held.key.digest == key.digest) {
            return;
        }
        let known = slot.former.iter().position(|(held, _)| held.key.digest == key.digest);
        let next = known.map(|at| slot.former.remove(at).0).unwrap_or(Held { key, bench: None });
        if let Some(before) = slot.current.replace(next) {
            slot.former.insert(0, (before, now + OVERLAP));
        }
        slot.former.retain(|(_, until)| *until > now);
        slot.former.truncate(MOST_FORMER);
    }

    /// Adds the key that a slot had before this process came.
    pub fn recall(&mut self, slot: usize, key: Key, now: Instant) {
        let Some(slot) = self.slots.get_mut(slot) else { return };
        let mut held = slot.former.iter().map(|(held, _)| held).chain(&slot.current);
        let is_known = held.any(|held| held.key.digest == key.digest);
        if !is_known && slot.former.len() < MOST_FORMER {
            slot.former.push((Held { key, bench: None }, now + OVERLAP));
        }
    }

    /// Takes over the keys of a slot of another ring.
    pub fn inherit(&mut self, slot: usize, other: &Self, of: usize) {
        let (Some(slot), Some(of)) = (self.slots.get_mut(slot), other.slots.get(of)) else {
            return;
        };
        slot.current.clone_from(&of.current);
        slot.former.clone_from(&of.former);
    }

    /// Takes over what became of keys that both have.
    pub fn remember(&mut self, other: &Self) {
        for held in self.slots.iter_mut().flat_map(Slot::all) {
            let mut known = other.slots.iter().flat_map(Slot::every);
            let same = known.find(|known| known.key.digest == held.key.digest);
            held.bench = same.map_or(held.bench, |known| known.bench);
        }
    }

    /// The next key that may be used and was not tried, with the slot it is of: by weight, where
    /// several may. `None` when every other one rests.
    pub fn pick(&mut self, tried: &[Digest], now: Instant) -> Option<(usize, Key)> {
        let can = |slot: &mut Slot| slot.offer(tried, now).is_some();
        let mut total = 0;
        let mut next: Option<(usize, i64)> = None;
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if !can(slot) {
                continue;
            }
            total += i64::from(slot.weight);
            slot.turn += i64::from(slot.weight);
            if next.is_none_or(|(_, most)| slot.turn > most) {
                next = Some((at, slot.turn));
            }
        }
        let (at, _) = next?;
        let slot = self.slots.get_mut(at)?;
        slot.turn -= total;
        let held = slot.offer(tried, now)?;
        if let Some(bench) = &mut held.bench {
            // Its pause is over: one request finds out, the others wait for what it finds.
            (bench.until, bench.is_probed) = (now + PROBE, true);
        }
        Some((at, held.key.clone()))
    }

    /// Those that may be used, each the one that its slot offers.
    pub fn ready(&mut self, now: Instant) -> Vec<Digest> {
        let offered = self.slots.iter_mut().filter_map(|slot| slot.offer(&[], now));
        offered.map(|held| held.key.digest).collect()
    }

    /// Of those that rest, the one that comes back first: better than no key at all.
    ///
    /// Once a request has tried others, only those that were refused may surprise it; one whose
    /// provider asked to wait is left in peace.
    pub fn last_resort(&self, tried: &[Digest], now: Instant) -> Option<(usize, Key)> {
        let all = self.slots.iter().enumerate();
        let all = all.flat_map(|(at, slot)| slot.usable(now).map(move |held| (at, held)));
        let may = all.filter(|(_, held)| {
            let is_refused = held.bench.is_none_or(|bench| bench.is_refused);
            !tried.contains(&held.key.digest) && (tried.is_empty() || is_refused)
        });
        let first = may.min_by_key(|(_, held)| held.bench.map(|bench| bench.until));
        first.map(|(at, held)| (at, held.key.clone()))
    }

    /// Notes what a provider thought of a key.
    pub fn report(&mut self, digest: Digest, outcome: Outcome, now: Instant) {
        for held in self.slots.iter_mut().flat_map(Slot::all) {
            if held.key.digest == digest {
                held.bench = bench(held.bench, outcome, now);
            }
        }
    }
}

impl Slot {
    /// The key to use of this slot: its own, or one before while its own is refused.
    fn offer(&mut self, tried: &[Digest], now: Instant) -> Option<&mut Held> {
        let may = |held: &Held| !tried.contains(&held.key.digest) && !held.rests(now);
        let is_refused = self.current.as_ref().is_some_and(Held::is_refused);
        match &mut self.current {
            Some(held) if may(held) => Some(held),
            Some(_) if is_refused => {
                let former = self.former.iter_mut().filter(|(_, until)| *until > now);
                former.map(|(held, _)| held).find(|held| may(held))
            }
            _ => None,
        }
    }

    fn usable(&self, now: Instant) -> impl Iterator<Item = &Held> {
        let former = self.former.iter().filter(move |(_, until)| *until > now);
        self.current.iter().chain(former.map(|(held, _)| held))
    }

    fn every(&self) -> impl Iterator<Item = &Held> {
        self.current.iter().chain(self.former.iter().map(|(held, _)| held))
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Held> {
        self.current.iter_mut().chain(self.former.iter_mut().map(|(held, _)| held))
    }
}

impl Held {
    fn rests(&self, now: Instant) -> bool {
        self.bench.is_some_and(|bench| bench.until > now)
    }

    fn is_refused(&self) -> bool {
        self.bench.is_some_and(|bench| bench.is_refused)
    }
}

/// How a key rests after an answer.
fn bench(before: Option<Bench>, outcome: Outcome, now: Instant) -> Option<Bench> {
    let (is_refused, first, told) = match outcome {
        Outcome::Good => return None,
        Outcome::Refused => (true, REFUSED_PAUSE, None),
        Outcome::Limited(told) => (false, LIMITED_PAUSE, told),
    };
    let resting = before.filter(|bench| bench.until > now && !bench.is_probed);
    // Requests that were under way together are one refusal, however many they are.
    let times = resting.map_or(before.map_or(0, |bench| bench.times) + 1, |bench| bench.times);
    let doubled = first.saturating_mul(1 << times.saturating_sub(1).min(16));
    let pause = told.unwrap_or(doubled).min(LONGEST_PAUSE);
    let until = resting.map_or(now, |bench| bench.until).max(match resting {
        Some(_) if told.is_none() => now,
        _ => now + pause,
    });
    let is_refused = is_refused || resting.is_some_and(|bench| bench.is_refused);
    Some(Bench { is_refused, until, times, is_probed: false })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::Instant;

    use proptest::prelude::any;
    use proptest::prelude::prop;
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;
    use secrecy::ExposeSecret;
    use secrecy::SecretString;

    use super::Key;
    use super::LONGEST_PAUSE;
    use super::Outcome;
    use super::PROBE;
    use super::REFUSED_PAUSE;
    use super::Ring;

    fn key(name: &str) -> Key {
        Key::new(SecretString::from(name))
    }

    fn ring(weights: &[u32], now: Instant) -> Ring {
        let mut ring = Ring::new(weights.iter().copied());
        (0..weights.len()).for_each(|slot| ring.fill(slot, key(&slot.to_string()), now));
        ring
    }

    /// The name of the key that is next.
    fn next(ring: &mut Ring, now: Instant) -> Option<String> {
        Some(ring.pick(&[], now)?.1.secret.expose_secret().to_owned())
    }

    proptest! {
        #[test]
        fn every_key_has_its_share_at_any_time(weights in prop::collection::vec(1_u32..20, 1..6)) {
            let now = Instant::now();
            let (mut ring, mut counts) = (ring(&weights, now), vec![0.0; weights.len()]);
            let total: u32 = weights.iter().sum();
            for n in 1..=3 * total {
                let (slot, _) = ring.pick(&[], now).unwrap();
                counts[slot] += 1.0;
                for (count, weight) in counts.iter().zip(&weights) {
                    let due = f64::from(n) * f64::from(*weight) / f64::from(total);
                    let off = (count - due).abs();
                    prop_assert!(off < weights.len() as f64, "{count} of {due} in {n}");
                }
            }
            for (count, weight) in counts.iter().zip(&weights) {
                prop_assert_eq!(*count, f64::from(3 * weight));
            }
        }

        #[test]
        fn no_key_that_rests_is_used_while_another_may_be_and_all_come_back(
            weights in prop::collection::vec(1_u32..5, 1..5),
            steps in prop::collection::vec((any::<u8>(), 0_u64..40, any::<bool>()), 1..60),
        ) {
            let mut now = Instant::now();
            let mut ring = ring(&weights, now);
            let mut rests_until = vec![now; weights.len()];
            for (what, seconds, is_refused) in steps {
                now += Duration::from_secs(seconds);
                match ring.pick(&[], now) {
                    Some((slot, key)) => {
                        prop_assert!(rests_until[slot] <= now, "a key at rest was used");
                        let (outcome, pause) = match (what % 3, is_refused) {
                            (0, _) => (Outcome::Good, Duration::ZERO),
                            (_, true) => (Outcome::Refused, REFUSED_PAUSE),
                            (_, false) => {
                                let told = Duration::from_secs(u64::from(what));
                                (Outcome::Limited(Some(told)), told)
                            }
                        };
                        ring.report(key.digest, outcome, now);
                        rests_until[slot] = now + pause;
                    }
                    None => {
                        prop_assert!(ring.last_resort(&[], now).is_some());
                    }
                }
            }
            now += LONGEST_PAUSE;
            for _ in 0..weights.len() {
                let (slot, key) = ring.pick(&[], now).unwrap();
                prop_assert!(slot < weights.len());
                ring.report(key.digest, Outcome::Refused, now);
            }
        }
    }

    #[test]
    fn a_refused_key_is_tried_again_by_one_request_after_a_pause_that_grows() {
        let mut now = Instant::now();
        let mut ring = ring(&[1], now);
        let digest = ring.pick(&[], now).unwrap().1.digest;
        for doublings in 0..3 {
            // Those under way together are one refusal.
            (0..50).for_each(|_| ring.report(digest, Outcome::Refused, now));
            let pause = REFUSED_PAUSE * (1 << doublings);
            assert!(next(&mut ring, now + pause - Duration::from_secs(1)).is_none());
            now += pause;
            assert!(next(&mut ring, now).is_some());
            assert!(next(&mut ring, now).is_none(), "only one finds out");
        }
        assert!(next(&mut ring, now + PROBE).is_some(), "the one that went never came back");
        ring.report(digest, Outcome::Good, now);
        assert!(next(&mut ring, now).is_some());
        ring.report(digest, Outcome::Refused, now);
        assert!(next(&mut ring, now + REFUSED_PAUSE).is_some(), "it began anew");
    }

    #[test]
    fn the_key_before_goes_on_while_the_new_one_is_refused() {
        let now = Instant::now();
        let mut ring = ring(&[1], now);
        let old = key("0");
        ring.report(old.digest, Outcome::Limited(Some(Duration::from_secs(60))), now);
        ring.fill(0, key("new"), now);
        assert_eq!(next(&mut ring, now).as_deref(), Some("new"), "what is new is clean");
        ring.report(key("new").digest, Outcome::Refused, now);
        assert_eq!(next(&mut ring, now), None, "the one before has its own rest");
        ring.report(old.digest, Outcome::Good, now);
        assert_eq!(next(&mut ring, now).as_deref(), Some("0"));
        let late = now + super::OVERLAP;
        ring.report(key("new").digest, Outcome::Refused, late);
        assert_eq!(next(&mut ring, late), None, "nobody knows it any more");
        ring.fill(0, old.clone(), late);
        assert_eq!(next(&mut ring, late).as_deref(), Some("0"), "it is in force again");
    }

    #[test]
    fn where_all_rest_the_first_to_come_back_is_used() {
        let now = Instant::now();
        let mut ring = ring(&[1, 1], now);
        for (name, seconds) in [("0", 60), ("1", 20)] {
            let rest = Outcome::Limited(Some(Duration::from_secs(seconds)));
            ring.report(key(name).digest, rest, now);
        }
        assert_eq!(next(&mut ring, now), None);
        let (slot, first) = ring.last_resort(&[], now).unwrap();
        assert_eq!((slot, first.digest), (1, key("1").digest));
        assert!(ring.last_resort(&[first.digest], now).is_none(), "one was asked to wait");
    }

    #[test]
    fn another_ring_knows_what_became_of_the_same_keys() {
        let now = Instant::now();
        let mut old = ring(&[1, 1], now);
        old.report(key("1").digest, Outcome::Refused, now);
        let mut new = Ring::new([1, 1]);
        new.inherit(0, &old, 0);
        new.fill(0, key("2"), now);
        new.fill(1, key("1"), now);
        new.remember(&old);
        assert_eq!(next(&mut new, now).as_deref(), Some("2"));
        assert_eq!(next(&mut new, now).as_deref(), Some("2"), "the other one rests");
        new.report(key("2").digest, Outcome::Refused, now);
        assert_eq!(next(&mut new, now).as_deref(), Some("0"), "the one before");
    }
}
