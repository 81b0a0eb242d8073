//! How much of a provider's limits is in use, and how soon the next call may be made.

use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use crate::bucket::Bucket;
use crate::bucket::Size;
use crate::quota::Limit;
use crate::quota::Quota;
use crate::quota::said::Said;
use crate::quota::said::Window;

/// Accounts and models of one provider that are known at once.
const MOST_LINES: usize = 1024;

/// After so long everything that a provider said has filled up again.
const FULL_AGAIN: Duration = Duration::from_secs(60);

/// An account and a model, hashed: what providers count apart.
pub type Line = u64;

/// What is in use of one provider's limits.
#[derive(Debug, Default)]
pub struct Meter {
    requests: Bucket,
    tokens: Bucket,
    lines: HashMap<Line, Told>,
}

/// A call as far as limits count it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// Whose call it is, and for which model.
    pub line: Line,
    /// The tokens it will take, as far as can be told before; 0 when nothing counts them.
    pub tokens: f64,
    /// Share of each configured limit that it has to leave to others.
    pub leaves: f64,
}

/// Why a call cannot be made yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it has to wait for.
    pub limit: Limit,
    /// How long.
    pub wait: Duration,
}

/// What a provider told of one line.
#[derive(Debug, Default)]
struct Told {
    requests: Option<(Bucket, Size)>,
    tokens: Option<(Bucket, Size)>,
    closed_until: Option<Instant>,
    /// Calls and tokens under way that the provider's next word may not count yet.
    unanswered: (f64, f64),
    seen: Option<Instant>,
}

impl Meter {
    /// Makes a place for a call, if there is one within `most`; gives how long to wait for it.
    ///
    /// A place that is to be waited for is taken at once, so that calls are made in the order in
    /// which they came.
    ///
    /// # Errors
    /// There is none: what it would have to wait for longest.
    pub fn enter(
        &mut self,
        quota: &Quota,
        need: Need,
        most: Duration,
        now: Instant,
    ) -> Result<Duration, Held> {
        let wait = match self.holds(quota, need, now) {
            Some(held) if held.wait > most => return Err(held),
            held => held.map_or(Duration::ZERO, |held| held.wait),
        };
        if let Some(size) = quota.requests_per_minute.map(Size::per_minute) {
            self.requests.spend(1.0, size, now);
        }
        if let Some(size) = quota.tokens_per_minute.map(Size::per_minute) {
            self.tokens.spend(need.tokens, size, now);
        }
        if let Some(told) = self.told(need.line, now).filter(|_| quota.learn) {
            told.unanswered.0 += 1.0;
            told.unanswered.1 += need.tokens;
            told.spend(need, 1.0, now);
        }
        Ok(wait)
    }

    /// For how long a line is still closed.
    pub fn closed_for(&self, line: Line, now: Instant) -> Duration {
        let until = self.lines.get(&line).and_then(|told| told.closed_until);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// How long a line has to wait by the provider's own word.
    pub fn asked_to_wait(&self, line: Line, now: Instant) -> Duration {
        self.asked(line, now).map(|held| held.wait).max().unwrap_or_default()
    }

    /// Gives back the place of a call that was not made, or was not answered at all.
    pub fn leave(&mut self, quota: &Quota, need: Need, was_made: bool, now: Instant) {
        if let Some(size) = quota.requests_per_minute.map(Size::per_minute).filter(|_| !was_made) {
            self.requests.settle(1.0, 0.0, size, now);
        }
        self.settle(quota, need, 0.0, now);
        if let Some(told) = self.lines.get_mut(&need.line).filter(|_| quota.learn) {
            told.answered(need);
            if !was_made {
                told.spend(Need { tokens: -need.tokens, ..need }, -1.0, now);
            }
        }
    }

    /// Takes the provider's word when the head of a call's answer has come.
    ///
    /// It is about `line`: another one than the call's, if another key was taken in the end.
    pub fn answered(&mut self, quota: &Quota, need: Need, line: Line, said: &Said, now: Instant) {
        if let Some(told) = self.lines.get_mut(&need.line).filter(|_| quota.learn) {
            told.answered(need);
        }
        let Some(told) = self.told(line, now).filter(|_| quota.learn) else { return };
        let (calls, tokens) = told.unanswered;
        if let Some(window) = &said.requests {
            told.requests = Some(filled(window, calls, now));
        }
        if let Some(window) = &said.tokens {
            told.tokens = Some(filled(window, tokens, now));
        }
        if let Some(until) = said.closed_for.map(|closed| now + closed) {
            told.closed_until = Some(told.closed_until.map_or(until, |closed| closed.max(until)));
        }
    }

    /// Corrects the estimate of a call's tokens to what it used.
    pub fn settle(&mut self, quota: &Quota, need: Need, used: f64, now: Instant) {
        if let Some(size) = quota.tokens_per_minute.map(Size::per_minute) {
            self.tokens.settle(need.tokens, used, size, now);
        }
    }

    /// What a call has to wait for longest.
    fn holds(&self, quota: &Quota, need: Need, now: Instant) -> Option<Held> {
        let own = |bucket: &Bucket, most: Option<u64>, amount| {
            most.map(Size::per_minute)
                .map(|size| bucket.wait(amount + need.leaves * size.burst, size, now))
        };
        let waits = [
            (Limit::Requests, own(&self.requests, quota.requests_per_minute, 1.0)),
            (Limit::Tokens, own(&self.tokens, quota.tokens_per_minute, need.tokens)),
        ];
        let waits = waits.into_iter().filter_map(|(limit, wait)| Some(Held { limit, wait: wait? }));
        let told = quota.learn.then(|| self.asked(need.line, now));
        let waits = waits.chain(told.into_iter().flatten());
        waits.filter(|held| held.wait > Duration::ZERO).max_by_key(|held| held.wait)
    }

    /// What a line has to wait for by the provider's own word.
    ///
    /// How a provider counts the tokens of a prompt is its own affair: as long as any are left, it
    /// is asked.
    fn asked(&self, line: Line, now: Instant) -> impl Iterator<Item = Held> {
        let told = self.lines.get(&line);
        let said =
            |of: Option<&(Bucket, Size)>| of.map(|(bucket, size)| bucket.wait(1.0, *size, now));
        let waits = [
            (Limit::SaidRequests, said(told.and_then(|told| told.requests.as_ref()))),
            (Limit::SaidTokens, said(told.and_then(|told| told.tokens.as_ref()))),
            (Limit::RetryAfter, told.map(|_| self.closed_for(line, now))),
        ];
        waits.into_iter().filter_map(|(limit, wait)| Some(Held { limit, wait: wait? }))
    }

    /// What was told of a line; `None` when too many others are known.
    fn told(&mut self, line: Line, now: Instant) -> Option<&mut Told> {
        if !self.lines.contains_key(&line) && self.lines.len() >= MOST_LINES {
            self.lines.retain(|_, told| !told.is_forgotten(now));
            if self.lines.len() >= MOST_LINES {
                return None;
            }
        }
        let told = self.lines.entry(line).or_default();
        told.seen = Some(now);
        Some(told)
    }
}

impl Told {
    fn answered(&mut self, need: Need) {
        self.unanswered.0 = (self.unanswered.0 - 1.0).max(0.0);
        self.unanswered.1 = (self.unanswered.1 - need.tokens).max(0.0);
    }

    fn spend(&mut self, need: Need, calls: f64, now: Instant) {
        if let Some((bucket, size)) = &mut self.requests {
            bucket.spend(calls, *size, now);
        }
        if let Some((bucket, size)) = &mut self.tokens {
            bucket.spend(need.tokens, *size, now);
        }
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        let is_open = self.closed_until.is_none_or(|until| until <= now);
        let is_old = self.seen.is_none_or(|at| now.saturating_duration_since(at) > FULL_AGAIN);
        is_open && is_old && self.unanswered.0 < 0.5
    }
}

/// What is left as the provider says, less what it cannot have counted yet.
///
/// It fills up again by the time the provider says, and at the latest in a minute: a limit of a
/// day or a reset that is far off must not shut out what the provider would answer.
fn filled(window: &Window, uncounted: f64, now: Instant) -> (Bucket, Size) {
    let slowest = window.limit / FULL_AGAIN.as_secs_f64();
    let told = window.reset.map(|reset| reset.as_secs_f64()).filter(|seconds| *seconds > 0.0);
    let told = told.map_or(slowest, |seconds| (window.limit - window.left) / seconds);
    let size = Size { burst: window.limit, per_second: told.max(slowest) };
    let mut bucket = Bucket::default();
    bucket.set(window.left - uncounted, size, now);
    (bucket, size)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::Instant;

    use super::Held;
    use super::Meter;
    use super::Need;
    use crate::quota::Limit;
    use crate::quota::Quota;
    use crate::quota::said::Said;
    use crate::quota::said::Window;

    const NONE: Duration = Duration::ZERO;

    fn need(line: u64, tokens: f64) -> Need {
        Need { line, tokens, leaves: 0.0 }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn window(limit: f64, left: f64, reset: f64) -> Option<Window> {
        Some(Window { limit, left, reset: Some(seconds(reset)) })
    }

    #[test]
    fn configured_limits_hold_whatever_the_model_and_the_longest_wait_is_told() {
        let (mut meter, now) = (Meter::default(), Instant::now());
        let quota = Quota {
            requests_per_minute: Some(2),
            tokens_per_minute: Some(600),
            ..Quota::default()
        };
        assert_eq!(meter.enter(&quota, need(1, 500.0), NONE, now), Ok(NONE));
        let held = Held { limit: Limit::Tokens, wait: seconds(10.0) };
        assert_eq!(meter.enter(&quota, need(2, 200.0), NONE, now), Err(held));
        assert_eq!(meter.enter(&quota, need(2, 100.0), NONE, now), Ok(NONE));
        let held = Held { limit: Limit::Requests, wait: seconds(30.0) };
        assert_eq!(meter.enter(&quota, need(3, 0.0), NONE, now), Err(held));
        // The first used less than was thought, the second was never made.
        meter.settle(&quota, need(1, 500.0), 50.0, now);
        meter.leave(&quota, need(2, 100.0), false, now);
        assert_eq!(meter.enter(&quota, need(3, 550.0), NONE, now), Ok(NONE));
    }

    #[test]
    fn what_has_to_leave_some_to_others_is_held_while_that_is_all_there_is() {
        let (mut meter, now) = (Meter::default(), Instant::now());
        let quota = Quota { requests_per_minute: Some(4), ..Quota::default() };
        let spare = Need { leaves: 0.5, ..need(1, 0.0) };
        assert_eq!(meter.enter(&quota, spare, NONE, now), Ok(NONE));
        assert_eq!(meter.enter(&quota, spare, NONE, now), Ok(NONE));
        let held = Held { limit: Limit::Requests, wait: seconds(15.0) };
        assert_eq!(meter.enter(&quota, spare, NONE, now), Err(held));
        assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now), Ok(NONE));
    }

    #[test]
    fn a_place_that_is_waited_for_is_taken_in_the_order_of_coming() {
        let (mut meter, now) = (Meter::default(), Instant::now());
        let quota = Quota { requests_per_minute: Some(60), ..Quota::default() };
        let most = seconds(2.5);
        for _ in 0..60 {
            assert_eq!(meter.enter(&quota, need(1, 0.0), most, now), Ok(NONE));
        }
        assert_eq!(meter.enter(&quota, need(1, 0.0), most, now), Ok(seconds(1.0)));
        assert_eq!(meter.enter(&quota, need(1, 0.0), most, now), Ok(seconds(2.0)));
        let held = Held { limit: Limit::Requests, wait: seconds(3.0) };
        assert_eq!(meter.enter(&quota, need(1, 0.0), most, now), Err(held));
        // One that waits gives up.
        meter.leave(&quota, need(1, 0.0), false, now);
        assert_eq!(meter.enter(&quota, need(1, 0.0), most, now), Ok(seconds(2.0)));
    }

    #[test]
    fn what_a_provider_says_holds_for_its_line_and_counts_what_it_cannot_know_yet() {
        let (mut meter, now, quota) = (Meter::default(), Instant::now(), Quota::default());
        for _ in 0..3 {
            assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now), Ok(NONE));
        }
        let said = Said { requests: window(60.0, 3.0, 57.0), ..Said::default() };
        meter.answered(&quota, need(1, 0.0), 1, &said, now);
        // Three are left, and two calls under way may not be counted in that.
        assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now), Ok(NONE));
        let held = Held { limit: Limit::SaidRequests, wait: seconds(1.0) };
        assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now), Err(held));
        assert_eq!(meter.enter(&quota, need(2, 0.0), NONE, now), Ok(NONE), "another line");
        let deaf = Quota { learn: false, ..quota };
        assert_eq!(meter.enter(&deaf, need(1, 0.0), NONE, now), Ok(NONE));
    }

    #[test]
    fn a_reset_that_is_far_off_shuts_nobody_out_for_longer_than_a_minute() {
        let (mut meter, now, quota) = (Meter::default(), Instant::now(), Quota::default());
        assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now), Ok(NONE));
        let tokens = window(60_000.0, 0.0, 360.0);
        let said = Said { tokens, requests: window(10.0, 0.0, 86_400.0), closed_for: None };
        meter.answered(&quota, need(1, 0.0), 1, &said, now);
        let held = Held { limit: Limit::SaidRequests, wait: seconds(6.0) };
        assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now), Err(held));
    }

    #[test]
    fn a_line_that_was_closed_opens_when_its_time_has_passed() {
        let (mut meter, now, quota) = (Meter::default(), Instant::now(), Quota::default());
        assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now), Ok(NONE));
        let said = Said { closed_for: Some(seconds(7.0)), ..Said::default() };
        meter.answered(&quota, need(1, 0.0), 1, &said, now);
        let held = Held { limit: Limit::RetryAfter, wait: seconds(7.0) };
        assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now), Err(held));
        assert_eq!(meter.closed_for(1, now), seconds(7.0));
        assert_eq!(meter.enter(&quota, need(2, 0.0), NONE, now), Ok(NONE), "another line");
        assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now + seconds(7.0)), Ok(NONE));
    }

    #[test]
    fn what_is_said_of_another_key_than_the_first_is_kept_for_that_one() {
        let (mut meter, now, quota) = (Meter::default(), Instant::now(), Quota::default());
        assert_eq!(meter.enter(&quota, need(1, 0.0), NONE, now), Ok(NONE));
        let said = Said { requests: window(60.0, 0.0, 60.0), ..Said::default() };
        meter.answered(&quota, need(1, 0.0), 2, &said, now);
        assert_eq!(meter.asked_to_wait(1, now), NONE);
        assert_eq!(meter.asked_to_wait(2, now), seconds(1.0));
        assert_eq!(meter.lines[&1].unanswered.0, 0.0, "the call is answered");
    }

    #[test]
    fn lines_are_bounded_and_those_in_use_are_kept() {
        let (mut meter, now, quota) = (Meter::default(), Instant::now(), Quota::default());
        for line in 0..5_000 {
            assert_eq!(meter.enter(&quota, need(line, 0.0), NONE, now), Ok(NONE));
        }
        assert_eq!(meter.lines.len(), super::MOST_LINES);
        for line in 0..super::MOST_LINES as u64 {
            meter.leave(&quota, need(line, 0.0), true, now);
        }
        let later = now + seconds(100.0);
        assert_eq!(meter.enter(&quota, need(9_999, 0.0), NONE, later), Ok(NONE));
        assert_eq!(meter.lines.len(), 1);
    }
}
