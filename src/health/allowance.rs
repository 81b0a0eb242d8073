//! How many further calls a target may get: a share of the first ones, saved up to a small reserve.
//!
//! The shape is that of Finagle's `RetryBudget` and linkerd2-proxy's `budget`: each first call puts
//! a share of a token in, each further call takes one out, and a small steady inflow lets those
//! retry who call seldom. Theirs let tokens expire; a fixed reserve, as in gRPC's retry throttling
//! (proposal A6), bounds the burst as well and needs no window.

use std::time::Instant;

/// The most that is saved, calls; also what there is at first.
pub const RESERVE: f64 = 10.0;

/// What comes in whatever the traffic, calls a second.
pub const TRICKLE: f64 = 0.1;

/// What is left for further calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance {
    left: Option<(f64, Instant)>,
}

impl Allowance {
    /// A first call, which earns `share` of a further one.
    pub fn earn(&mut self, share: f64, now: Instant) {
        self.left = Some(((self.left(now) + share).min(RESERVE), now));
    }

    /// Takes what one further call costs, if it is there; where the share is nothing, it never is.
    pub fn spend(&mut self, share: f64, now: Instant) -> bool {
        let left = self.left(now);
        let is_there = share > 0.0 && left >= 1.0;
        self.left = Some((left - f64::from(u8::from(is_there)), now));
        is_there
    }

    fn left(&self, now: Instant) -> f64 {
        self.left.map_or(RESERVE, |(left, at)| {
            let since = now.saturating_duration_since(at).as_secs_f64();
            (left + since * TRICKLE).min(RESERVE)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::Instant;

    use super::Allowance;
    use super::RESERVE;
    use super::TRICKLE;

    #[test]
    fn further_calls_stay_within_their_share_and_the_reserve() {
        for (share, pause_ms) in [(0.2, 10), (0.2, 50), (0.05, 20), (1.0, 10)] {
            let (mut allowance, begin) = (Allowance::default(), Instant::now());
            let (mut first, mut further) = (0.0, 0.0);
            for number in 0..6_000 {
                let now = begin + Duration::from_millis(number * pause_ms);
                allowance.earn(share, now);
                first += 1.0;
                // Every call fails and would be made twice more.
                further += (0..2).filter(|_| allowance.spend(share, now)).count() as f64;
            }
            let seconds = 6.0 * pause_ms as f64;
            let most = share * first + RESERVE + TRICKLE * seconds;
            assert!(further <= most + 1.0, "{share} {pause_ms}: {further} of {most}");
            assert!(further >= share * first - 1.0, "{share} {pause_ms}: {further}");
        }
    }

    #[test]
    fn without_a_share_there_is_nothing_to_spend() {
        assert!(!Allowance::default().spend(0.0, Instant::now()));
    }
}
