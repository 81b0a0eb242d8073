//! How well each target answers, and who is left alone for a while; time is passed in.
//!
//! What is known of a target outlives a configuration, so one registry is shared by every scene.

pub mod allowance;
pub mod breaker;
mod mean;
mod pulse;
mod ticket;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::experiment::Target;
use crate::health::breaker::Rules;
use crate::health::breaker::Standing;
use crate::health::pulse::Pulse;

pub use ticket::Fault;
pub use ticket::Ticket;

/// Targets that are known at once; those nobody has asked for long make room for others.
const MOST: usize = 4096;

/// What nobody has asked for so long may be forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// A target this much less successful than one behind it moves behind it.
const FAR_WORSE: f64 = 0.3;

/// What is known of every target.
#[derive(Debug, Default)]
pub struct Health {
    known: Mutex<HashMap<Target, Pulse>>,
}

/// What is known of one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// Its breaker lets nobody through but probes.
    pub is_open: bool,
    /// Share of its calls that were answered, the newest weighing most; 1 when nothing is known.
    pub success: f64,
    /// Until an answer's first content, microseconds, the newest weighing most.
    pub first_us: Option<f64>,
    /// Until an answer's end, microseconds, the newest weighing most.
    pub took_us: Option<f64>,
}

/// Who is asked next.
#[derive(Debug)]
pub enum Choice {
    /// This one, by its place among the targets.
    Ask(usize, Ticket),
    /// Nobody: the only one is left alone for so long.
    Later(Duration),
    /// Everyone has been asked, or is left alone while others were asked.
    Nobody,
}

/// How a request wants its targets chosen.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Who may be asked, in order.
    pub targets: &'a [Target],
    /// Places of those who were asked already.
    pub asked: &'a [usize],
    /// The first is asked before others unless its breaker is open: an experiment assigned it.
    pub keeps_first: bool,
    /// When breakers open.
    pub rules: Rules,
}

/// How willingly a target is asked; the least is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Ready,
    FarWorse,
    Aside,
    Shut(Duration),
}

impl Health {
    /// What is known of a target now.
    pub fn condition(&self, target: &Target, now: Instant) -> Condition {
        let known = self.lock();
        known.get(target).map_or(Condition::unknown(), |pulse| pulse.condition(now))
    }

    /// Where a target's breaker stands.
    pub fn standing(&self, target: &Target, now: Instant) -> Standing {
        self.lock().get(target).map_or(Standing::Closed, |pulse| pulse.breaker.standing(now))
    }

    /// For how long a target's breaker still lets nobody through.
    pub fn shut_for(&self, target: &Target, now: Instant) -> Option<Duration> {
        match self.standing(target, now) {
            Standing::Open { left } => Some(left),
            _ => None,
        }
    }

    /// Chooses whom to ask, and notes that it is asked.
    ///
    /// Open breakers are passed over while there is anyone else. When all are open, the one that
    /// is to be probed next is asked all the same, because our own opinion alone must not make a
    /// request fail; but who stands alone is asked by one probe at a time.
    pub fn choose(self: &Arc<Self>, wish: &Wish<'_>, now: Instant) -> Choice {
        let mut known = self.lock();
        let Wish { targets, asked, rules, .. } = *wish;
        let open: Vec<usize> = (0..targets.len()).filter(|at| !asked.contains(at)).collect();
        let ranked = open.iter().map(|at| (rank(&mut known, wish, *at, now), *at));
        let Some((rank, at)) = ranked.min() else { return Choice::Nobody };
        if let Rank::Shut(left) = rank {
            if targets.len() == 1 {
                return Choice::Later(left);
            }
            if !asked.is_empty() {
                return Choice::Nobody;
            }
        }
        let is_probe = pulse(&mut known, &targets[at], now).is_some_and(|p| p.enter(rules, now));
        drop(known);
        Choice::Ask(at, Ticket::new(self.clone(), targets[at].clone(), rules, is_probe))
    }

    /// Whether a target of a provider is left alone.
    pub fn leaves_alone(&self, provider: &str, now: Instant) -> bool {
        let known = self.lock();
        let mut of_it = known.iter().filter(|(target, _)| target.provider == provider);
        of_it.any(|(_, pulse)| {
            matches!(pulse.breaker.standing(now), Standing::Open { .. } | Standing::Due)
        })
    }

    /// A provider was asked whether it is well: its open breakers close by degrees, or stay open.
    pub fn pinged(&self, provider: &str, is_well: bool, rules: Rules, now: Instant) {
        let mut known = self.lock();
        let of_it = known.iter_mut().filter(|(target, _)| target.provider == provider);
        of_it.for_each(|(_, pulse)| pulse.breaker.pinged(is_well, rules, now));
    }

    /// A further call to a target, if its breaker lets it through.
    pub fn again(self: &Arc<Self>, target: &Target, rules: Rules, now: Instant) -> Option<Ticket> {
        if self.shut_for(target, now).is_some() {
            return None;
        }
        let is_probe =
            pulse(&mut self.lock(), target, now).is_some_and(|pulse| pulse.enter(rules, now));
        Some(Ticket::new(self.clone(), target.clone(), rules, is_probe))
    }

    /// Notes a first call, which earns a share of a further one.
    pub fn earn(&self, target: &Target, retries: f64, hedges: f64, now: Instant) {
        if let Some(pulse) = pulse(&mut self.lock(), target, now) {
            pulse.retries.earn(retries, now);
            pulse.hedges.earn(hedges, now);
        }
    }

    /// Takes what a retry costs; false when too many were made of late.
    pub fn spend_retry(&self, target: &Target, share: f64, now: Instant) -> bool {
        pulse(&mut self.lock(), target, now).is_some_and(|pulse| pulse.retries.spend(share, now))
    }

    /// Takes what a hedge costs; false when too many were made of late.
    pub fn spend_hedge(&self, target: &Target, share: f64, now: Instant) -> bool {
        pulse(&mut self.lock(), target, now).is_some_and(|pulse| pulse.hedges.spend(share, now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Pulse>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    fn unknown() -> Self {
        Self { is_open: false, success: 1.0, first_us: None, took_us: None }
    }
}

fn rank(known: &mut HashMap<Target, Pulse>, wish: &Wish<'_>, at: usize, now: Instant) -> Rank {
    let target = &wish.targets[at];
    let Some(pulse) = known.get_mut(target) else { return Rank::Ready };
    match pulse.breaker.standing(now) {
        Standing::Open { left } => return Rank::Shut(left),
        // Somebody has to find out whether it is well again.
        Standing::Due => return Rank::Ready,
        Standing::Closed | Standing::Returning => {}
    }
    if wish.keeps_first && at == 0 {
        return Rank::Ready;
    }
    if pulse.wants_rest(now) || !pulse.breaker.has_turn(wish.rules, now) {
        return Rank::Aside;
    }
    let own = pulse.condition(now).success;
    let behind = (at + 1..wish.targets.len()).filter(|at| !wish.asked.contains(at));
    let is_better = |at: usize| {
        let other = known.get(&wish.targets[at]);
        other.is_none_or(|other| {
            let is_ready =
                other.breaker.standing(now) == Standing::Closed && !other.wants_rest(now);
            is_ready && other.condition(now).success > own + FAR_WORSE
        }) && own + FAR_WORSE < 1.0
    };
    match behind.into_iter().any(is_better) {
        true => Rank::FarWorse,
        false => Rank::Ready,
    }
}

/// The pulse of a target; `None` when too many others are known.
fn pulse<'k>(
    known: &'k mut HashMap<Target, Pulse>,
    target: &Target,
    now: Instant,
) -> Option<&'k mut Pulse> {
    if !known.contains_key(target) {
        if known.len() >= MOST {
            known.retain(|_, pulse| now.saturating_duration_since(pulse.seen) < FORGOTTEN);
        }
        if known.len() >= MOST {
            return None;
        }
        known.insert(target.clone(), Pulse::new(now));
    }
    let pulse = known.get_mut(target)?;
    pulse.seen = now;
    Some(pulse)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;
    use std::time::Instant;

    use super::Choice;
    use super::Fault;
    use super::Health;
    use super::Wish;
    use crate::experiment::Target;
    use crate::health::breaker::Rules;
    use crate::health::breaker::Standing;

    fn targets(names: &[&str]) -> Vec<Target> {
        names.iter().map(|name| Target::parse(name).unwrap()).collect()
    }

    fn wish(targets: &[Target]) -> Wish<'_> {
        Wish { targets, asked: &[], keeps_first: false, rules: Rules::default() }
    }

    /// Who is asked next, by place; the call is then let go without a word.
    fn next(health: &Arc<Health>, wish: &Wish<'_>, now: Instant) -> Option<usize> {
        match health.choose(wish, now) {
            Choice::Ask(at, _) => Some(at),
            Choice::Later(_) | Choice::Nobody => None,
        }
    }

    fn fail(health: &Arc<Health>, target: &Target, times: usize, now: Instant) {
        for _ in 0..times {
            let only = [target.clone()];
            let Choice::Ask(_, ticket) = health.choose(&wish(&only), now) else { return };
            ticket.failed(Fault::Broken, None, now);
        }
    }

    #[test]
    fn an_open_breaker_is_passed_over_until_its_probe_is_due() {
        let (health, now) = (Arc::new(Health::default()), Instant::now());
        let both = targets(&["a/m", "b/m"]);
        assert_eq!(next(&health, &wish(&both), now), Some(0));
        fail(&health, &both[0], 5, now);
        assert!(health.condition(&both[0], now).is_open);
        assert_eq!(next(&health, &wish(&both), now), Some(1));
        let later = now + Duration::from_secs(10);
        let Choice::Ask(0, probe) = health.choose(&wish(&both), later) else { panic!("no probe") };
        assert_eq!(next(&health, &wish(&both), later), Some(1), "a second probe");
        drop(probe);
        assert_eq!(next(&health, &wish(&both), later), Some(0));
    }

    #[test]
    fn who_stands_alone_is_probed_one_at_a_time_and_of_two_the_first_to_be_due_is_asked() {
        let (health, now) = (Arc::new(Health::default()), Instant::now());
        let both = targets(&["a/m", "b/m"]);
        fail(&health, &both[0], 5, now);
        let second = now + Duration::from_secs(3);
        fail(&health, &both[1], 5, second);
        assert_eq!(next(&health, &wish(&both), second), Some(0));
        assert_eq!(next(&health, &Wish { asked: &[0], ..wish(&both) }, second), None);
        let alone = targets(&["b/m"]);
        let Choice::Later(left) = health.choose(&wish(&alone), second) else { panic!("asked") };
        assert_eq!(left, Duration::from_secs(10));
    }

    #[test]
    fn a_target_that_fails_often_moves_behind_before_it_is_down_and_comes_back_with_time() {
        let (health, now) = (Arc::new(Health::default()), Instant::now());
        let both = targets(&["a/m", "b/m"]);
        fail(&health, &both[0], 4, now);
        assert!(!health.condition(&both[0], now).is_open);
        assert_eq!(next(&health, &wish(&both), now), Some(1));
        let fixed = Wish { keeps_first: true, ..wish(&both) };
        assert_eq!(next(&health, &fixed, now), Some(0), "an experiment assigned it");
        assert_eq!(next(&health, &wish(&both), now + Duration::from_secs(60)), Some(0));
    }

    #[test]
    fn a_ping_closes_what_is_open_or_keeps_it_from_being_probed_and_opens_nothing() {
        let (health, now) = (Arc::new(Health::default()), Instant::now());
        let both = targets(&["a/m", "b/m"]);
        assert!(!health.leaves_alone("a", now));
        fail(&health, &both[0], 5, now);
        assert!(health.leaves_alone("a", now) && !health.leaves_alone("b", now));
        let due = now + Duration::from_secs(10);
        health.pinged("a", false, Rules::default(), due);
        health.pinged("b", false, Rules::default(), due);
        assert_eq!(next(&health, &wish(&both), due), Some(1), "not even a probe");
        assert_eq!(health.standing(&both[1], due), Standing::Closed);
        health.pinged("a", true, Rules::default(), due);
        assert_eq!(health.standing(&both[0], due), Standing::Returning);
        assert_eq!(next(&health, &wish(&both[..1]), due), Some(0));
    }

    #[test]
    fn who_asks_for_rest_is_asked_after_the_others_but_is_asked() {
        let (health, now) = (Arc::new(Health::default()), Instant::now());
        let both = targets(&["a/m", "b/m"]);
        let Choice::Ask(0, ticket) = health.choose(&wish(&both), now) else { panic!("not a") };
        ticket.failed(Fault::Overloaded, Some(Duration::from_secs(7)), now);
        assert_eq!(next(&health, &wish(&both), now), Some(1));
        assert_eq!(next(&health, &wish(&both[..1]), now), Some(0));
        assert_eq!(next(&health, &wish(&both), now + Duration::from_secs(8)), Some(0));
    }
}
