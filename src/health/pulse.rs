//! What is known of one target.

use std::time::Duration;
use std::time::Instant;

use crate::health::Condition;
use crate::health::allowance::Allowance;
use crate::health::breaker::Breaker;
use crate::health::breaker::Rules;
use crate::health::breaker::Standing;
use crate::health::mean::Mean;

/// After so long a failure counts half: who is passed over cannot show that it is well again.
const HALF_LIFE_S: f64 = 30.0;

/// The weight of the newest call in the share of successes.
const NEWEST: f64 = 0.1;

/// The longest that a provider's own word is believed.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// What is known of one target.
#[derive(Debug)]
pub struct Pulse {
    /// Whether it is called at all.
    pub breaker: Breaker,
    /// What further calls it may get.
    pub retries: Allowance,
    /// What calls beside others it may get.
    pub hedges: Allowance,
    /// When it was last asked.
    pub seen: Instant,
    /// Share of failures, and when.
    failures: (f64, Instant),
    first_us: Mean,
    took_us: Mean,
    not_before: Option<Instant>,
}

impl Pulse {
    /// Nothing known.
    pub fn new(now: Instant) -> Self {
        Self {
            breaker: Breaker::default(),
            retries: Allowance::default(),
            hedges: Allowance::default(),
            seen: now,
            failures: (0.0, now),
            first_us: Mean::default(),
            took_us: Mean::default(),
            not_before: None,
        }
    }

    /// What is known of it now.
    pub fn condition(&self, now: Instant) -> Condition {
        Condition {
            is_open: matches!(self.breaker.standing(now), Standing::Open { .. }),
            success: 1.0 - self.failing(now),
            first_us: self.first_us.get(),
            took_us: self.took_us.get(),
        }
    }

    /// Whether it asked to be left alone.
    pub fn wants_rest(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|until| now < until)
    }

    /// Lets a call through its breaker; true when it is a probe.
    pub fn enter(&mut self, rules: Rules, now: Instant) -> bool {
        self.breaker.enter(rules, now)
    }

    /// An answer began, after so long.
    pub fn began(&mut self, first: Option<Duration>, now: Instant) {
        self.note(0.0, now);
        if let Some(first) = first {
            self.first_us.push(first.as_secs_f64() * 1e6);
        }
    }

    /// An answer ended, after so long.
    pub fn ended(&mut self, took: Duration) {
        self.took_us.push(took.as_secs_f64() * 1e6);
    }

    /// A call was not answered.
    pub fn failed(&mut self, now: Instant) {
        self.note(1.0, now);
    }

    /// It said for how long it wants to be left alone.
    pub fn rest(&mut self, asked: Duration, now: Instant) {
        let until = now + asked.min(LONGEST_REST);
        self.not_before = Some(self.not_before.map_or(until, |known| known.max(until)));
    }

    fn note(&mut self, failure: f64, now: Instant) {
        let known = self.failing(now);
        self.failures = (known + (failure - known) * NEWEST, now);
    }

    fn failing(&self, now: Instant) -> f64 {
        let (share, at) = self.failures;
        share * 0.5_f64.powf(now.saturating_duration_since(at).as_secs_f64() / HALF_LIFE_S)
    }
}
