//! A token bucket: how soon so much may pass, with the time passed in.
//!
//! A bucket knows only what is left of it and when that was so. How much it holds and how fast it
//! fills is passed in with every call, so that a limit may change while it is in use. Several
//! buckets are taken from together by asking each for its [`Bucket::wait`] first and taking from
//! all of them only when none has to wait.

use std::time::Duration;
use std::time::Instant;

/// The longest wait that is told; what would take longer is asked again after it.
const LONGEST: Duration = Duration::from_secs(3600);

/// How much a bucket holds, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// The most that may pass at once after a pause; above 0.
    pub burst: f64,
    /// What it gains in a second; above 0.
    pub per_second: f64,
}

impl Size {
    /// So many in a minute, all of which may come at once.
    pub fn per_minute(most: u64) -> Self {
        let burst = most.max(1) as f64;
        Self { burst, per_second: burst / 60.0 }
    }

    /// So many in a second, and at most one second's worth at once; `None` unless above 0.
    pub fn per_second(rate: f64) -> Option<Self> {
        (rate > 0.0).then(|| Self { burst: rate.max(1.0), per_second: rate })
    }
}

/// What is left of a limit; full at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// What was left, below 0 when more was used than was there, and when.
    left: Option<(f64, Instant)>,
}

impl Bucket {
    /// What is left now; below 0 when more was used than was there.
    pub fn left(&self, size: Size, now: Instant) -> f64 {
        self.left.map_or(size.burst, |(left, at)| {
            let since = now.saturating_duration_since(at).as_secs_f64();
            (left + since * size.per_second).min(size.burst)
        })
    }

    /// How long until `amount` may pass; zero: now.
    ///
    /// What is larger than the whole bucket passes when it is full, and is made up for afterwards.
    pub fn wait(&self, amount: f64, size: Size, now: Instant) -> Duration {
        let missing = amount.min(size.burst) - self.left(size, now);
        // A wait that was computed and then slept must not fall short by rounding.
        if missing <= size.burst * 1e-9 + 1e-6 {
            return Duration::ZERO;
        }
        let wait = Duration::try_from_secs_f64(missing / size.per_second);
        wait.unwrap_or(LONGEST).clamp(Duration::from_nanos(1), LONGEST)
    }

    /// Takes `amount`; gives how long to wait before asking again where there is too little.
    pub fn take(&mut self, amount: f64, size: Size, now: Instant) -> Option<Duration> {
        let wait = self.wait(amount, size, now);
        if wait > Duration::ZERO {
            return Some(wait);
        }
        self.spend(amount, size, now);
        None
    }

    /// Corrects an estimate that was taken to what was really used: gives back what was too much,
    /// or takes what was too little, even if that is not there.
    pub fn settle(&mut self, taken: f64, used: f64, size: Size, now: Instant) {
        self.spend(used - taken, size, now);
    }

    /// No more is left than `left`, as somebody says who counts the same and others besides.
    pub fn at_most(&mut self, left: f64, size: Size, now: Instant) {
        self.left = Some((self.left(size, now).min(left), now));
    }

    fn spend(&mut self, amount: f64, size: Size, now: Instant) {
        self.left = Some(((self.left(size, now) - amount).min(size.burst), now));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::Instant;

    use super::Bucket;
    use super::Size;

    /// Those that pass in `seconds`, when the next is always ready.
    fn passed(size: Size, seconds: u64) -> u32 {
        let (mut bucket, mut now) = (Bucket::default(), Instant::now());
        let end = now + Duration::from_secs(seconds);
        let mut passed = 0;
        while now < end {
            match bucket.take(1.0, size, now) {
                None => passed += 1,
                Some(wait) => now += wait,
            }
        }
        passed
    }

    #[test]
    fn no_more_pass_than_the_rate_and_one_burst() {
        for (rate, expected) in [(20.0, 220), (1.0, 11), (0.5, 6)] {
            let passed = passed(Size::per_second(rate).unwrap(), 10);
            assert!(passed.abs_diff(expected) <= 1, "{rate}: {passed}, not {expected}");
        }
        for (most, seconds, expected) in [(60, 60, 120), (500, 30, 750), (1, 120, 3)] {
            let passed = passed(Size::per_minute(most), seconds);
            assert!(passed.abs_diff(expected) <= 1, "{most}: {passed}, not {expected}");
        }
        assert_eq!(Size::per_second(0.0), None);
    }

    #[test]
    fn a_wait_is_as_long_as_what_is_missing_takes_to_come() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        let size = Size::per_minute(600);
        assert_eq!(bucket.take(590.0, size, now), None);
        assert_eq!(bucket.take(30.0, size, now), Some(Duration::from_secs(2)));
        assert_eq!(bucket.take(30.0, size, now + Duration::from_secs(2)), None);
        assert_eq!(bucket.left(size, now + Duration::from_secs(3600)), 600.0, "and never fuller");
    }

    #[test]
    fn an_estimate_is_settled_with_what_was_used_into_debt_if_need_be() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        let size = Size::per_minute(600);
        assert_eq!(bucket.take(100.0, size, now), None);
        bucket.settle(100.0, 40.0, size, now);
        assert_eq!(bucket.left(size, now), 560.0);
        bucket.settle(0.0, 700.0, size, now);
        assert_eq!(bucket.left(size, now), -140.0);
        assert_eq!(bucket.wait(1.0, size, now), Duration::from_millis(14_100));
        bucket.settle(9_999.0, 0.0, size, now);
        assert_eq!(bucket.left(size, now), 600.0);
    }

    #[test]
    fn what_is_larger_than_the_bucket_passes_when_it_is_full() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        let size = Size::per_minute(60);
        assert_eq!(bucket.take(1.0, size, now), None);
        assert_eq!(bucket.take(600.0, size, now), Some(Duration::from_secs(1)));
        let now = now + Duration::from_secs(1);
        assert_eq!(bucket.take(600.0, size, now), None);
        assert_eq!(bucket.wait(1.0, size, now), Duration::from_secs(541));
    }

    #[test]
    fn what_others_took_is_believed_and_a_limit_may_change() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        bucket.at_most(3.0, Size::per_minute(60), now);
        bucket.at_most(50.0, Size::per_minute(60), now);
        assert_eq!(bucket.left(Size::per_minute(60), now), 3.0);
        assert_eq!(bucket.left(Size::per_minute(2), now), 2.0);
    }
}
