//! Which targets are left alone for a while, because they said so or only fail; time is passed in.

use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use crate::experiment::Target;

/// Failures in a row before a target is left alone.
const RUN: u32 = 5;

/// The first and the longest pause after a run of failures.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// The longest that a provider's own word is believed.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The targets that fail, by name.
#[derive(Debug, Default)]
pub struct Pauses {
    failing: HashMap<Target, Failing>,
}

#[derive(Debug, Default)]
struct Failing {
    run: u32,
    pauses: u32,
    until: Option<Instant>,
}

impl Pauses {
    /// Whether a target is left alone now.
    pub fn is_paused(&self, target: &Target, now: Instant) -> bool {
        self.left(target, now).is_some()
    }

    /// For how long a target is still left alone.
    pub fn left(&self, target: &Target, now: Instant) -> Option<Duration> {
        let until = self.failing.get(target)?.until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// It answered.
    pub fn succeeded(&mut self, target: &Target) {
        self.failing.remove(target);
    }

    /// It failed, and perhaps said for how long; gives the pause that begins.
    ///
    /// After a pause one more failure is enough for the next, which is twice as long.
    pub fn failed(
        &mut self,
        target: &Target,
        asked: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        let failing = self.failing.entry(target.clone()).or_default();
        failing.run += 1;
        if failing.until.is_some_and(|until| now < until) {
            // Copies that were under way when the pause began.
            return None;
        }
        let is_run = failing.run >= RUN || failing.pauses > 0;
        let own = is_run.then(|| PAUSES.1.min(PAUSES.0 * 2_u32.pow(failing.pauses.min(8))));
        let pause = asked.map(|asked| asked.min(LONGEST_ASKED)).max(own)?;
        failing.pauses += u32::from(is_run);
        failing.until = Some(now + pause);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::Instant;

    use super::Pauses;
    use super::RUN;
    use crate::experiment::Target;

    #[test]
    fn a_run_of_failures_pauses_and_each_pause_is_longer_until_an_answer_comes() {
        let (mut pauses, mut now) = (Pauses::default(), Instant::now());
        let target = Target { provider: "p".into(), model: "m".into() };
        for _ in 1..RUN {
            assert_eq!(pauses.failed(&target, None, now), None);
            assert!(!pauses.is_paused(&target, now));
        }
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            let pause = Duration::from_secs(seconds);
            assert_eq!(pauses.failed(&target, None, now), Some(pause));
            assert_eq!(pauses.failed(&target, None, now), None, "it was under way");
            assert!(pauses.is_paused(&target, now + pause - Duration::from_millis(1)));
            now += pause;
            assert!(!pauses.is_paused(&target, now));
        }
        pauses.succeeded(&target);
        assert_eq!(pauses.failed(&target, None, now), None);
    }

    #[test]
    fn what_the_provider_asks_for_counts_at_once() {
        let (mut pauses, now) = (Pauses::default(), Instant::now());
        let target = Target { provider: "p".into(), model: "m".into() };
        let other = Target { provider: "p".into(), model: "n".into() };
        let asked = Some(Duration::from_secs(7));
        assert_eq!(pauses.failed(&target, asked, now), asked);
        assert!(pauses.is_paused(&target, now) && !pauses.is_paused(&other, now));
    }
}
