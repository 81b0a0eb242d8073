//! A token bucket: how soon the next one may pass, with the time passed in.

use std::time::Duration;
use std::time::Instant;

/// Lets through so many a second, and at most one second's worth at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// What was left, and when.
    left: Option<(f64, Instant)>,
}

impl Bucket {
    /// Takes a place; gives how long to wait before asking again where there is none.
    ///
    /// The rate may differ from call to call; `None` is no limit.
    pub fn take(&mut self, rate: Option<f64>, now: Instant) -> Option<Duration> {
        let rate = rate.filter(|rate| *rate > 0.0)?;
        let room = rate.max(1.0);
        let left = self.left.map_or(room, |(left, at)| {
            let since = now.saturating_duration_since(at).as_secs_f64();
            (left + since * rate).min(room)
        });
        // A wait that was computed and then slept must not fall short of a place by rounding.
        if left >= 1.0 - 1e-6 {
            self.left = Some(((left - 1.0).max(0.0), now));
            return None;
        }
        self.left = Some((left, now));
        Some(Duration::from_secs_f64(((1.0 - left) / rate).min(3600.0)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::Instant;

    use super::Bucket;

    /// Those that pass in `seconds`, when the next is always ready.
    fn passed(rate: f64, seconds: u64) -> u32 {
        let (mut bucket, mut now) = (Bucket::default(), Instant::now());
        let end = now + Duration::from_secs(seconds);
        let mut passed = 0;
        while now < end {
            match bucket.take(Some(rate), now) {
                None => passed += 1,
                Some(wait) => now += wait.max(Duration::from_nanos(1)),
            }
        }
        passed
    }

    #[test]
    fn no_more_pass_than_the_rate_and_one_second_at_once() {
        for (rate, expected) in [(20.0, 220), (1.0, 11), (0.5, 6)] {
            let passed = passed(rate, 10);
            assert!(passed.abs_diff(expected) <= 1, "{rate}: {passed}, not {expected}");
        }
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let mut bucket = Bucket::default();
        let now = Instant::now();
        assert!((0..1000).all(|_| bucket.take(None, now).is_none()));
    }
}
