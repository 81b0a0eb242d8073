//! What the headers of an answer say of its provider's limits.

use std::time::Duration;

use http::HeaderMap;
use http::StatusCode;
use jiff::Timestamp;

use crate::retry;

/// The longest that a provider is left alone because it said so.
const LONGEST_CLOSED: Duration = Duration::from_secs(300);

/// Headers that count one thing, in OpenAI's form and in Anthropic's.
struct Names {
    limit: [&'static str; 2],
    left: [&'static str; 2],
    reset: [&'static str; 2],
}

const REQUESTS: Names = Names {
    limit: ["x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit"],
    left: ["x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining"],
    reset: ["x-ratelimit-reset-requests", "anthropic-ratelimit-requests-reset"],
};

/// Anthropic's are those of the narrowest of its limits of tokens.
const TOKENS: Names = Names {
    limit: ["x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit"],
    left: ["x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining"],
    reset: ["x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset"],
};

/// What an answer says of its provider's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Said {
    /// Of calls.
    pub requests: Option<Window>,
    /// Of tokens.
    pub tokens: Option<Window>,
    /// For how long nothing more is wanted.
    pub closed_for: Option<Duration>,
}

/// How much of a limit is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// All of it.
    pub limit: f64,
    /// What is left.
    pub left: f64,
    /// Until all of it is there again.
    pub reset: Option<Duration>,
}

impl Said {
    /// Reads an answer's status and headers, at a time of the wall's clock, Unix milliseconds.
    pub fn read(status: StatusCode, headers: &HeaderMap, now_ms: i64) -> Self {
        let is_too_much = status == StatusCode::TOO_MANY_REQUESTS;
        let closed_for = is_too_much.then(|| retry::wait_in(headers, now_ms)).flatten();
        Self {
            requests: window(headers, &REQUESTS, now_ms),
            tokens: window(headers, &TOKENS, now_ms),
            closed_for: closed_for.map(|asked| asked.min(LONGEST_CLOSED)),
        }
    }
}

fn window(headers: &HeaderMap, names: &Names, now_ms: i64) -> Option<Window> {
    let either = |of: &[&str; 2]| of.iter().find_map(|name| retry::text(headers, name));
    let number = |of| either(of)?.parse().ok().filter(|n: &f64| n.is_finite());
    let limit = number(&names.limit).filter(|limit| *limit > 0.0)?;
    let left = number(&names.left)?.clamp(0.0, limit);
    Some(Window { limit, left, reset: either(&names.reset).and_then(|at| until(at, now_ms)) })
}

/// A number of seconds, Go's form of a duration such as `6m0s` or `20ms`, or a moment of RFC 3339.
fn until(text: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        let ms = moment.as_millisecond().saturating_sub(now_ms);
        return Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    }
    let (mut total, mut rest) = (0.0, text);
    loop {
        let (number, behind) = rest.split_at(rest.find(|c: char| c.is_alphabetic())?);
        let end = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        total += number.parse::<f64>().ok()? * seconds_of(unit)?;
        rest = behind;
        if rest.is_empty() {
            return Duration::try_from_secs_f64(total).ok();
        }
    }
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "d" => 86_400.0,
        "h" => 3_600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use http::StatusCode;

    use super::Said;
    use super::Window;
    use super::until;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = all.iter();
        pairs.map(|(name, value)| ((*name).try_into().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_reset_is_read_in_every_form() {
        for (text, expected) in [
            ("6m0s", Some(360_000)),
            ("20ms", Some(20)),
            ("1.5s", Some(1_500)),
            ("2m59.56s", Some(179_560)),
            ("1h2m3s", Some(3_723_000)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("12", Some(12_000)),
            ("0.25", Some(250)),
            ("1970-01-01T00:00:04Z", Some(3_000)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T01:00:02.5+01:00", Some(1_500)),
            ("soon", None),
            ("5 parsecs", None),
            ("-1", None),
            ("1e300", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(until(text, 1_000), expected, "{text}");
        }
    }

    #[test]
    fn limits_are_read_of_openais_headers_and_of_anthropics() {
        let window =
            |limit, left, ms| Some(Window { limit, left, reset: Some(Duration::from_millis(ms)) });
        for (sent, requests, tokens) in [
            (
                headers(&[
                    ("x-ratelimit-limit-requests", "60"),
                    ("x-ratelimit-remaining-requests", "59"),
                    ("x-ratelimit-reset-requests", "1s"),
                    ("x-ratelimit-limit-tokens", "150000"),
                    ("x-ratelimit-remaining-tokens", "149984"),
                    ("x-ratelimit-reset-tokens", "6m0s"),
                ]),
                window(60.0, 59.0, 1_000),
                window(150_000.0, 149_984.0, 360_000),
            ),
            (
                headers(&[
                    ("anthropic-ratelimit-requests-limit", "50"),
                    ("anthropic-ratelimit-requests-remaining", "0"),
                    ("anthropic-ratelimit-requests-reset", "1970-01-01T00:00:31Z"),
                    ("anthropic-ratelimit-tokens-limit", "80000"),
                    ("anthropic-ratelimit-tokens-remaining", "70000"),
                ]),
                window(50.0, 0.0, 30_000),
                Some(Window { limit: 80_000.0, left: 70_000.0, reset: None }),
            ),
            (headers(&[("x-ratelimit-remaining-requests", "3")]), None, None),
            (
                headers(&[
                    ("x-ratelimit-limit-requests", "0"),
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-limit-tokens", "many"),
                ]),
                None,
                None,
            ),
        ] {
            let said = Said::read(StatusCode::OK, &sent, 1_000);
            assert_eq!(said, Said { requests, tokens, closed_for: None }, "{sent:?}");
        }
    }

    #[test]
    fn only_a_429_closes_and_not_for_ever() {
        let sent = headers(&[("retry-after", "86400")]);
        let closed_for = |status| Said::read(status, &sent, 0).closed_for;
        assert_eq!(closed_for(StatusCode::TOO_MANY_REQUESTS), Some(Duration::from_secs(300)));
        assert_eq!(closed_for(StatusCode::SERVICE_UNAVAILABLE), None);
    }
}
