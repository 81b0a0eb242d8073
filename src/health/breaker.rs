//! The breaker of one target: closed, open, probed, and closed again by degrees.
//!
//! It opens after so many failures in a row, or when too large a share of the last calls failed.
//! When it has been open long enough, one call at a time is let through; the first that is answered
//! closes it, but at first only a part of the traffic returns, where others can take the rest.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

/// How often in a row the time it stays open doubles.
const MOST_DOUBLINGS: u32 = 3;

/// The share of traffic that returns at once.
const FIRST_SHARE: f64 = 0.1;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Failures in a row.
    pub failures: u32,
    /// Share of the last `requests` that failed, from 0 to 1.
    pub rate: f64,
    /// How many calls the share is taken of.
    pub requests: usize,
    /// How long it stays open the first time, and how long the return of all traffic takes.
    pub open: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { failures: 5, rate: 0.5, requests: 20, open: Duration::from_secs(10) }
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything passes.
    Closed,
    /// Nothing passes for so long, or a probe is under way.
    Open {
        /// How long to wait before asking again.
        left: Duration,
    },
    /// The next call is a probe.
    Due,
    /// It has closed, and traffic returns by degrees.
    Returning,
}

/// The breaker of one target.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    /// Failures in a row.
    run: u32,
    /// Whether each of the last calls failed.
    recent: VecDeque<bool>,
    /// How often it has opened without closing for good.
    trips: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// The next call is a probe.
    Due,
    /// A probe is under way; one that is never heard of again is given up at `until`.
    Probing {
        until: Instant,
    },
    Returning {
        since: Instant,
        until: Instant,
        /// Adds up to one for each call that may pass.
        credit: f64,
    },
}

impl Breaker {
    /// Where it stands now.
    pub fn standing(&self, now: Instant) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Returning { until, .. } if now < until => Standing::Returning,
            State::Returning { .. } => Standing::Closed,
            State::Open { until } | State::Probing { until } if now < until => {
                Standing::Open { left: until - now }
            }
            State::Due | State::Open { .. } | State::Probing { .. } => Standing::Due,
        }
    }

    /// Whether a call may pass as far as the return of traffic goes, which counts it.
    pub fn has_turn(&mut self, rules: Rules, now: Instant) -> bool {
        let State::Returning { since, until, credit } = &mut self.state else { return true };
        if now >= *until {
            return true;
        }
        let gone = now.saturating_duration_since(*since).as_secs_f64();
        let whole = rules.open.as_secs_f64().max(f64::MIN_POSITIVE);
        *credit += (FIRST_SHARE + (1.0 - FIRST_SHARE) * gone / whole).min(1.0);
        let has_turn = *credit >= 1.0;
        *credit -= f64::from(u8::from(has_turn));
        has_turn
    }

    /// Lets a call through; true when it is a probe, as every call through an open one is.
    pub fn enter(&mut self, rules: Rules, now: Instant) -> bool {
        match self.state {
            State::Due | State::Open { .. } | State::Probing { .. } => {
                self.state = State::Probing { until: now + rules.open };
                true
            }
            State::Closed | State::Returning { .. } => false,
        }
    }

    /// A call was answered.
    pub fn succeeded(&mut self, is_probe: bool, rules: Rules, now: Instant) {
        match self.state {
            State::Due | State::Open { .. } | State::Probing { .. } if is_probe => {
                self.run = 0;
                self.recent.clear();
                self.state = State::Returning { since: now, until: now + rules.open, credit: 0.0 };
            }
            // Calls that were under way when it opened.
            State::Due | State::Open { .. } | State::Probing { .. } => {}
            State::Closed | State::Returning { .. } => {
                if self.standing(now) == Standing::Closed {
                    (self.trips, self.state) = (0, State::Closed);
                }
                self.run = 0;
                self.note(false, rules);
            }
        }
    }

    /// A call failed.
    pub fn failed(&mut self, is_probe: bool, rules: Rules, now: Instant) {
        match self.state {
            State::Probing { .. } if is_probe => self.open(rules, now),
            State::Due | State::Open { .. } | State::Probing { .. } => {}
            State::Closed | State::Returning { .. } => {
                self.run += 1;
                self.note(true, rules);
                if self.run >= rules.failures || self.is_rate_met(rules) {
                    self.open(rules, now);
                }
            }
        }
    }

    /// Its target was asked in another way than by a call; a probe under way finds out by itself.
    pub fn pinged(&mut self, is_well: bool, rules: Rules, now: Instant) {
        let until = match self.state {
            State::Due => now,
            State::Open { until } => until,
            State::Closed | State::Probing { .. } | State::Returning { .. } => return,
        };
        match is_well {
            true => self.succeeded(true, rules, now),
            false => self.state = State::Open { until: until.max(now + rules.open) },
        }
    }

    /// A probe ended without saying anything; the next call is one.
    pub fn let_go(&mut self) {
        if let State::Probing { .. } = self.state {
            self.state = State::Due;
        }
    }

    fn open(&mut self, rules: Rules, now: Instant) {
        let pause = rules.open * 2_u32.pow(self.trips.min(MOST_DOUBLINGS));
        self.trips += 1;
        self.run = 0;
        self.recent.clear();
        self.state = State::Open { until: now + pause };
    }

    fn note(&mut self, has_failed: bool, rules: Rules) {
        while self.recent.len() >= rules.requests.max(1) {
            self.recent.pop_front();
        }
        self.recent.push_back(has_failed);
    }

    fn is_rate_met(&self, rules: Rules) -> bool {
        let all = self.recent.len();
        let failed = || self.recent.iter().filter(|failed| **failed).count();
        all >= rules.requests && failed() as f64 >= rules.rate * all as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::Instant;

    use super::Breaker;
    use super::Rules;
    use super::Standing;

    const OPEN: Duration = Duration::from_secs(10);

    fn rules() -> Rules {
        Rules { failures: 3, rate: 0.5, requests: 10, open: OPEN }
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| breaker.failed(false, rules(), now));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for failed in [true, true, false, true, true] {
            match failed {
                true => breaker.failed(false, rules(), now),
                false => breaker.succeeded(false, rules(), now),
            }
        }
        assert_eq!(breaker.standing(now), Standing::Closed);
        breaker.failed(false, rules(), now);
        assert_eq!(breaker.standing(now), Standing::Open { left: OPEN });
    }

    #[test]
    fn a_share_of_failures_opens_it_once_there_are_enough_calls() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for number in 0..9 {
            match number % 2 {
                0 => breaker.succeeded(false, rules(), now),
                _ => breaker.failed(false, rules(), now),
            }
            assert_eq!(breaker.standing(now), Standing::Closed, "{number}");
        }
        breaker.failed(false, rules(), now);
        assert!(matches!(breaker.standing(now), Standing::Open { .. }));
    }

    #[test]
    fn one_probe_at_a_time_passes_and_each_that_fails_doubles_the_wait() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [10, 20, 40, 80, 80] {
            let left = Duration::from_secs(seconds);
            assert_eq!(breaker.standing(now), Standing::Open { left });
            now += left;
            assert_eq!(breaker.standing(now), Standing::Due);
            assert!(breaker.enter(rules(), now));
            assert!(matches!(breaker.standing(now), Standing::Open { .. }), "a second probe");
            breaker.failed(true, rules(), now);
        }
    }

    #[test]
    fn a_probe_that_is_never_heard_of_does_not_keep_it_open() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + OPEN;
        assert!(breaker.enter(rules(), later));
        assert_eq!(breaker.standing(later + OPEN), Standing::Due);
        breaker.let_go();
        assert_eq!(breaker.standing(later), Standing::Due);
    }

    #[test]
    fn traffic_returns_by_degrees_and_late_answers_of_before_change_nothing() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.succeeded(false, rules(), now);
        assert!(matches!(breaker.standing(now), Standing::Open { .. }));
        let mut now = now + OPEN;
        assert!(breaker.enter(rules(), now));
        breaker.succeeded(true, rules(), now);
        let mut passed = Vec::new();
        for _ in 0..10 {
            let turns = (0..100).filter(|_| breaker.has_turn(rules(), now)).count();
            passed.push(turns);
            now += Duration::from_secs(1);
        }
        assert!((9..=11).contains(&passed[0]) && passed.is_sorted(), "{passed:?}");
        assert!((85..=95).contains(&passed[9]), "{passed:?}");
        assert_eq!(breaker.standing(now), Standing::Closed);
    }
}
