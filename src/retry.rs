//! When a call is made again, after how long, and when another target is asked instead.

pub mod said;

use std::time::Duration;
use std::time::Instant;

use http::HeaderMap;
use http::StatusCode;
use http::header;

use crate::error::Error;
use crate::error::Kind;
use crate::experiment::Target;
use crate::health::Health;

/// Says that a request may be sent again, because its receiver knows it by this.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How calls that fail are made again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Further calls to the same target after the first.
    pub attempts: u32,
    /// The longest that is waited before the first of them; it doubles each time.
    pub backoff: Duration,
    /// The longest that is waited where the provider does not say how long.
    pub max_backoff: Duration,
    /// The longest wait a provider may ask for; a longer one is not waited.
    pub max_wait: Duration,
    /// Further calls as a share of a target's first ones, from 0 to 1.
    pub budget: f64,
    /// Whether an answer with nothing in it is a failure.
    pub empty: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(8),
            max_wait: Duration::from_secs(20),
            budget: 0.2,
            empty: true,
        }
    }
}

/// When a second call is made beside one that does not begin to answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hedge {
    /// How long the first call has to begin.
    pub after: Duration,
    /// Second calls as a share of a target's first ones, from 0 to 1.
    pub budget: f64,
}

impl Hedge {
    /// The share where none is said.
    pub const BUDGET: f64 = 0.05;
}

/// Why a call has to be made again, in a few words that metrics count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The provider could not be reached.
    Connect,
    /// It has too much to do: 429.
    Overloaded,
    /// It answered with another status that says no lasting thing.
    Status,
    /// A time limit passed.
    Timeout,
    /// The answer broke off, or made no sense.
    Broken,
    /// The answer is an error inside a success.
    Error,
    /// There is nothing in the answer.
    Empty,
    /// Its breaker is open.
    Shut,
    /// The limits of its provider are used up.
    Limited,
}

impl Reason {
    /// Why an error of this kind is no answer; `None` if nobody else would do better.
    pub fn of(error: &Error) -> Option<Self> {
        match error.kind {
            Kind::Connect => Some(Self::Connect),
            Kind::Timeout => Some(Self::Timeout),
            Kind::Broken => Some(Self::Broken),
            Kind::Overloaded => Some(Self::Shut),
            Kind::Busy => Some(Self::Limited),
            Kind::Status(429) => Some(Self::Overloaded),
            Kind::Status(_) if error.may_retry() => Some(Self::Status),
            _ => None,
        }
    }

    /// Why an answer with this status is none.
    pub fn of_status(status: StatusCode) -> Option<Self> {
        Self::of(&Error::new(Kind::Status(status.as_u16()), ""))
    }

    /// Whether the provider has surely done nothing, so that even what acts may be asked again.
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Connect | Self::Overloaded | Self::Shut | Self::Limited)
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Overloaded => "overloaded",
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Error => "error",
            Self::Empty => "empty",
            Self::Shut => "breaker",
            Self::Limited => "limited",
        }
    }
}

impl Retry {
    /// How long to wait before the further call of this number, from 0; `None`: it is not made.
    ///
    /// Without a word of the provider's it is a random part of a time that doubles ("full jitter":
    /// Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015), so that those who
    /// failed together do not come back together. `part` is that random part, from 0 to 1. What
    /// the provider asks for is waited in full, unless others can be asked in the meantime.
    pub fn wait(
        &self,
        number: u32,
        asked: Option<Duration>,
        has_others: bool,
        part: f64,
    ) -> Option<Duration> {
        if number >= self.attempts {
            return None;
        }
        let longest = self.backoff.saturating_mul(2_u32.saturating_pow(number));
        let longest = longest.min(self.max_backoff);
        let own = longest.mul_f64(part.clamp(0.0, 1.0));
        let Some(asked) = asked else { return Some(own) };
        let most = if has_others { longest.min(self.max_wait) } else { self.max_wait };
        (asked <= most).then(|| asked.max(own))
    }
}

/// A call that failed and might be made again.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// How often it was made again before.
    pub number: u32,
    /// How long the provider wants to be left alone.
    pub asked: Option<Duration>,
    /// Whether others can be asked in the meantime.
    pub has_others: bool,
    /// A random number from 0 to 1, for the wait.
    pub part: f64,
    /// How long the whole request may still take.
    pub left: Duration,
}

impl Again {
    /// How long to wait before the target is asked again; `None`: it is not.
    ///
    /// What is allowed is taken out of the target's allowance.
    pub fn wait(
        &self,
        retry: &Retry,
        health: &Health,
        target: &Target,
        now: Instant,
    ) -> Option<Duration> {
        let Self { number, asked, has_others, part, left } = *self;
        let wait = retry.wait(number, asked, has_others, part)?;
        let may = wait < left && health.shut_for(target, now).is_none();
        (may && health.spend_retry(target, retry.budget, now)).then_some(wait)
    }
}

/// Whether a provider says that asking again is of no use, as OpenAI and Anthropic do.
pub fn is_final(headers: &HeaderMap) -> bool {
    text(headers, "x-should-retry") == Some("false")
}

/// How long a provider wants to be left alone, in seconds or as a date (RFC 9110, section 10.2.3).
pub fn wait_in(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    if let Some(ms) = text(headers, "retry-after-ms").and_then(|ms| ms.parse().ok()) {
        return Some(Duration::from_millis(ms));
    }
    let after = text(headers, header::RETRY_AFTER.as_str())?;
    if let Ok(seconds) = after.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::parse(after).ok()?;
    let ms = date.timestamp().as_millisecond().saturating_sub(now_ms);
    Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// A header's text, without the space around it.
pub fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::Retry;
    use super::wait_in;

    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn waits_double_up_to_their_limit_and_are_a_random_part_of_it() {
        let retry = Retry { attempts: 9, ..Retry::default() };
        let longest = [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000];
        for (number, longest) in (0..).zip(longest) {
            assert_eq!(retry.wait(number, None, false, 1.0), ms(longest));
            assert_eq!(retry.wait(number, None, true, 0.5), ms(longest / 2));
            assert_eq!(retry.wait(number, None, false, 0.0), ms(0));
        }
        assert_eq!(Retry::default().wait(2, None, false, 0.5), None);
    }

    #[test]
    fn what_a_provider_asks_for_is_waited_in_full_or_not_at_all() {
        let retry = Retry::default();
        for (asked, has_others, wait) in [
            (1_000, false, ms(1_000)),
            (20_000, false, ms(20_000)),
            (20_001, false, None),
            (0, false, ms(250)),
            (200, true, ms(250)),
            (1_000, true, None),
        ] {
            assert_eq!(retry.wait(0, ms(asked), has_others, 1.0), wait, "{asked} {has_others}");
        }
    }

    #[test]
    fn a_wait_is_read_in_every_form() {
        for (name, value, expected) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "Thu, 01 Jan 1970 00:00:09 GMT", Some(8_000)),
            ("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after", "soon", None),
            ("other", "7", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let expected = expected.map(Duration::from_millis);
            assert_eq!(wait_in(&headers, 1_000), expected, "{name}: {value}");
        }
    }
}
