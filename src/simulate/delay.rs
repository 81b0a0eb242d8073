//! How long the simulated provider takes, and how people write a duration, a share or a size.

use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;

use super::chance;

/// No simulated wait is longer than this, whatever a distribution draws.
const LONGEST: Duration = Duration::from_secs(3600);

/// A length of time: always the same, or drawn once per request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// Always this long; zero sets no timer at all.
    Fixed(Duration),
    /// Any length between the two, each as likely.
    Uniform {
        /// Shortest.
        from: Duration,
        /// Longest.
        to: Duration,
    },
    /// Log-normal, as latencies of real providers nearly are: half of the draws are below the
    /// median, and `sigma` is the standard deviation of the logarithm.
    LogNormal {
        /// Half of the draws are shorter.
        median: Duration,
        /// Standard deviation of the natural logarithm; 0.5 puts p95 at 2.3 medians.
        sigma: f64,
    },
}

impl Default for Span {
    fn default() -> Self {
        Self::Fixed(Duration::ZERO)
    }
}

impl Span {
    /// True when this span never waits.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> Duration {
        let drawn = match self {
            Self::Fixed(length) => *length,
            Self::Uniform { from, to } => *from + to.saturating_sub(*from).mul_f64(rng.f64()),
            Self::LogNormal { median, sigma } => {
                let factor = (sigma * chance::normal(rng)).exp();
                Duration::try_from_secs_f64(median.as_secs_f64() * factor).unwrap_or(LONGEST)
            }
        };
        drawn.min(LONGEST)
    }
}

impl FromStr for Span {
    type Err = String;

    /// Reads `50ms`, `50ms..200ms` or `lognormal:120ms:0.5` (median, sigma).
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("lognormal:") {
            let (median, sigma) = rest.split_once(':').unwrap_or((rest, "0.5"));
            return match sigma.parse::<f64>() {
                Ok(sigma) if (0.0..=4.0).contains(&sigma) => {
                    Ok(Self::LogNormal { median: duration(median)?, sigma })
                }
                _ => Err(format!("sigma {sigma:?} is not a number from 0 to 4")),
            };
        }
        let Some((from, to)) = text.split_once("..") else {
            return duration(text).map(Self::Fixed);
        };
        let (from, to) = (duration(from)?, duration(to)?);
        if from > to {
            return Err(format!("{text:?} runs backwards"));
        }
        Ok(Self::Uniform { from, to })
    }
}

/// The timing of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// Time of a whole (not streamed) answer. When zero, it follows from the other two.
    pub total: Span,
    /// Time to the first token of a stream. When zero, `total` stands in for it.
    pub first_token: Span,
    /// Tokens per second after the first; `None` sends them all at once.
    pub token_rate: Option<f64>,
}

impl Latency {
    /// True when answers are instant.
    pub fn is_zero(&self) -> bool {
        self.total.is_zero() && self.first_token.is_zero() && self.token_rate.is_none()
    }

    /// Draws the timing of one request.
    pub(super) fn draw(&self, rng: &mut Rng) -> Pace {
        if self.is_zero() {
            return Pace::default();
        }
        let total = self.total.draw(rng);
        let first = self.first_token.draw(rng);
        Pace {
            total: (!self.total.is_zero()).then_some(total),
            first: if self.first_token.is_zero() { total } else { first },
            token_s: self.token_rate.map_or(0.0, |rate| 1.0 / rate),
        }
    }
}

/// The timing of one request, drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    total: Option<Duration>,
    first: Duration,
    token_s: f64,
}

impl Pace {
    /// When the token with this number leaves, counted from the request's arrival.
    pub(super) fn token(&self, number: usize) -> Duration {
        let rest = Duration::try_from_secs_f64(number as f64 * self.token_s).unwrap_or(LONGEST);
        (self.first + rest).min(LONGEST)
    }

    /// When a whole answer of so many tokens leaves.
    pub(super) fn whole(&self, tokens: usize) -> Duration {
        self.total.unwrap_or_else(|| self.token(tokens.saturating_sub(1)))
    }
}

/// Reads a duration such as `250ms`, `1.5s` or `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 50ms, 1.5s or 2m");
    let read: jiff::SignedDuration = text.trim().parse().map_err(|_| wrong())?;
    let length = Duration::try_from(read).map_err(|_| wrong())?;
    if length > LONGEST {
        return Err(format!("{text:?} is longer than an hour"));
    }
    Ok(length)
}

/// Reads a share such as `5%` or `0.05`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.trim().strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (text.trim(), 1.0),
    };
    match number.parse::<f64>() {
        Ok(read) if (0.0..=1.0).contains(&(read / scale)) => Ok(read / scale),
        _ => Err(format!("{text:?} is not a share such as 5% or 0.05")),
    }
}

/// Reads a size such as `64MiB`, `10KB` or a plain number of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match text.get(digits.len()..).map(str::trim) {
        Some("" | "B") => 1,
        Some("KB") => 1_000,
        Some("KiB") => 1 << 10,
        Some("MB") => 1_000_000,
        Some("MiB") => 1 << 20,
        Some("GB") => 1_000_000_000,
        Some("GiB") => 1 << 30,
        _ => 0,
    };
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n > 0);
    bytes.ok_or_else(|| format!("{text:?} is not a size such as 64MiB"))
}

#[cfg(test)]
mod tests {
    use super::{Latency, Span, share, size};
    use std::time::Duration;

    #[test]
    fn spans_are_read_and_bad_ones_refused() {
        let ms = Duration::from_millis;
        assert_eq!("50ms".parse(), Ok(Span::Fixed(ms(50))));
        assert_eq!("1ms..2s".parse(), Ok(Span::Uniform { from: ms(1), to: ms(2000) }));
        assert_eq!(
            "lognormal:120ms:0.5".parse(),
            Ok(Span::LogNormal { median: ms(120), sigma: 0.5 })
        );
        for bad in ["", "50", "-5ms", "2s..1s", "lognormal:1s:x", "2h", "fast"] {
            assert!(bad.parse::<Span>().is_err(), "{bad} was read");
        }
    }

    #[test]
    fn shares_and_sizes_are_read_and_bad_ones_refused() {
        assert_eq!((share("5%"), share("0.25")), (Ok(0.05), Ok(0.25)));
        assert_eq!((size("64MiB"), size("12")), (Ok(64 << 20), Ok(12)));
        assert!(share("120%").is_err() && share("-0.1").is_err() && share("NaN").is_err());
        assert!(size("0").is_err() && size("3 bags").is_err() && size("99999999999GiB").is_err());
    }

    #[test]
    fn half_of_log_normal_draws_are_below_the_median() {
        let span = Span::LogNormal { median: Duration::from_millis(100), sigma: 0.8 };
        let mut rng = fastrand::Rng::with_seed(7);
        let below = (0..4000).filter(|_| span.draw(&mut rng) < Duration::from_millis(100)).count();
        assert!((1870..=2130).contains(&below), "{below} of 4000");
    }

    #[test]
    fn a_token_rate_spaces_the_tokens_and_lengthens_whole_answers() {
        let first_token = Span::Fixed(Duration::from_millis(100));
        let latency = Latency { first_token, token_rate: Some(50.0), ..Latency::default() };
        let pace = latency.draw(&mut fastrand::Rng::with_seed(1));
        assert_eq!(pace.token(0), Duration::from_millis(100));
        assert_eq!(pace.token(5), Duration::from_millis(200));
        assert_eq!(pace.whole(6), Duration::from_millis(200));
    }
}
