//! One call to a target, which reports how it went.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::experiment::Target;
use crate::health::Health;
use crate::health::breaker::Rules;

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Out of reach, too slow, an error of its own, an answer that makes no sense.
    Broken,
    /// It is well, but has too much to do.
    Overloaded,
}

/// One call to a target; what is never reported says nothing.
#[derive(Debug)]
pub struct Ticket {
    health: Arc<Health>,
    target: Target,
    rules: Rules,
    is_probe: bool,
}

impl Ticket {
    pub(super) fn new(health: Arc<Health>, target: Target, rules: Rules, is_probe: bool) -> Self {
        Self { health, target, rules, is_probe }
    }

    /// The target answers; `first` is how long its first content took, if there is any.
    pub fn began(&mut self, first: Option<Duration>, now: Instant) {
        let mut known = self.health.lock();
        if let Some(pulse) = known.get_mut(&self.target) {
            pulse.breaker.succeeded(std::mem::take(&mut self.is_probe), self.rules, now);
            pulse.began(first, now);
        }
    }

    /// An answer that began has ended well.
    pub fn ended(self, took: Duration) {
        if let Some(pulse) = self.health.lock().get_mut(&self.target) {
            pulse.ended(took);
        }
    }

    /// The call failed, and perhaps the target said for how long it wants to be left alone.
    pub fn failed(mut self, fault: Fault, rest: Option<Duration>, now: Instant) {
        let mut known = self.health.lock();
        let Some(pulse) = known.get_mut(&self.target) else { return };
        let is_probe = std::mem::take(&mut self.is_probe);
        match fault {
            Fault::Broken => pulse.breaker.failed(is_probe, self.rules, now),
            // It answers, which is all that a probe wants to know.
            Fault::Overloaded if is_probe => pulse.breaker.succeeded(true, self.rules, now),
            Fault::Overloaded => {}
        }
        pulse.failed(now);
        if let Some(rest) = rest {
            pulse.rest(rest, now);
        }
        drop(known);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(pulse) = self.health.lock().get_mut(&self.target)
        {
            pulse.breaker.let_go();
        }
    }
}
