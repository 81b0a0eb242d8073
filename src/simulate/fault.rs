//! Faults: what goes wrong with an answer, and for which requests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::chance::Draw;
use super::delay;

/// Chunks of a stream that still arrive before it breaks, unless the fault says otherwise.
const DEFAULT_AFTER: usize = 3;
const DEFAULT_STALL: Duration = Duration::from_secs(30);
const DEFAULT_HANG: Duration = Duration::from_secs(600);
const DEFAULT_FLOOD_BYTES: u64 = 64 << 20;

/// A fault and the requests it strikes.
///
/// Written as `status=429,retry_after=2,share=5%` or `cut=3,every=10,model=gpt-4o`; the same
/// grammar serves the command line, the configuration and the `x-simulate-fault` header.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// For which requests.
    pub when: When,
}

/// What goes wrong. `after` counts chunks of a stream that arrive before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// An error status with an error body.
    Status {
        /// HTTP status from 400 to 599.
        code: u16,
        /// Value of `Retry-After`, in seconds.
        retry_after_s: Option<u64>,
    },
    /// The connection closes in the middle of the answer, without its terminator.
    Cut {
        /// Chunks before the cut.
        after: usize,
    },
    /// The answer pauses in the middle and then goes on.
    Stall {
        /// Chunks before the pause.
        after: usize,
        /// Length of the pause.
        pause: Duration,
    },
    /// A chunk (or the body) is broken JSON under status 200.
    Malformed {
        /// Good chunks before the broken one.
        after: usize,
    },
    /// The stream ends cleanly, but without a finish reason, usage or `[DONE]`.
    NoDone,
    /// Nothing is answered; after this long the connection closes.
    Hang {
        /// Time until the connection closes.
        limit: Duration,
    },
    /// An error object inside a stream of status 200; a whole answer becomes status 500.
    ErrorInStream {
        /// Good chunks before the error.
        after: usize,
    },
    /// An answer of this many bytes.
    Huge {
        /// Bytes of filler text.
        bytes: u64,
    },
    /// The connection closes before anything is answered.
    Drop,
}

/// Which requests a fault strikes; all conditions must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct When {
    /// Share of requests, drawn by hash; 1 is all.
    pub share: f64,
    /// Each n-th request only.
    pub every: Option<u64>,
    /// The first n requests only.
    pub first: Option<u64>,
    /// Requests for this model only.
    pub model: Option<String>,
}

impl Default for When {
    fn default() -> Self {
        Self { share: 1.0, every: None, first: None, model: None }
    }
}

impl When {
    /// `count` is the number of this request among those for the model, from 1; `fault` tells
    /// faults with equal shares apart.
    pub(super) fn strikes(&self, count: u64, draw: &Draw, fault: usize) -> bool {
        self.every.is_none_or(|n| count.is_multiple_of(n))
            && self.first.is_none_or(|n| count <= n)
            && (self.share >= 1.0 || draw.rng(&format!("fault {fault}")).f64() < self.share)
    }

    pub(super) fn concerns(&self, model: &str) -> bool {
        self.model.as_deref().is_none_or(|wanted| wanted == model)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').map(|part| match part.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim())),
            None => (part.trim(), None),
        });
        Self::from_pairs(pairs)
    }
}

impl Fault {
    /// Builds a fault from its parts, such as `("status", Some("429"))`.
    ///
    /// # Errors
    /// Names the first part that is unknown, doubled or has a bad value.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, String> {
        let mut kind = None;
        let (mut when, mut retry_after_s, mut pause) = (When::default(), None, None);
        for (key, value) in pairs {
            let key = key.replace('-', "_");
            match (key.as_str(), value) {
                ("share", Some(value)) => when.share = delay::share(value)?,
                ("every", Some(value)) => when.every = Some(positive("every", value)?),
                ("first", Some(value)) => when.first = Some(positive("first", value)?),
                ("model", Some(value)) => when.model = Some(value.to_owned()),
                ("for", Some(value)) => pause = Some(delay::duration(value)?),
                ("retry_after", Some(value)) => {
                    retry_after_s = Some(number::<u64>("retry_after", value)?);
                }
                _ => {
                    let read = read_kind(&key, value)?;
                    if kind.replace(read).is_some() {
                        return Err(format!("{key:?} is a second kind of fault in one entry"));
                    }
                }
            }
        }
        let mut kind = kind.ok_or_else(|| format!("no kind of fault is named, use {Kinds}"))?;
        match (&mut kind, retry_after_s) {
            (_, None) => {}
            (FaultKind::Status { retry_after_s: wait, .. }, given) => *wait = given,
            _ => return Err("\"retry_after\" belongs to \"status\" only".to_owned()),
        }
        match (&mut kind, pause) {
            (_, None) => {}
            (FaultKind::Stall { pause, .. }, Some(given)) => *pause = given,
            _ => return Err("\"for\" belongs to \"stall\" only".to_owned()),
        }
        Ok(Self { kind, when })
    }
}

struct Kinds;

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "status=CODE, cut, stall, malformed, no_done, hang, error_in_stream, huge or drop",
        )
    }
}

fn read_kind(key: &str, value: Option<&str>) -> Result<FaultKind, String> {
    let after = || value.map_or(Ok(DEFAULT_AFTER), |value| number(key, value));
    Ok(match key {
        "status" => FaultKind::Status { code: status(value)?, retry_after_s: None },
        "cut" => FaultKind::Cut { after: after()? },
        "stall" => FaultKind::Stall { after: after()?, pause: DEFAULT_STALL },
        "malformed" => FaultKind::Malformed { after: after()? },
        "error_in_stream" => FaultKind::ErrorInStream { after: after()? },
        "hang" => FaultKind::Hang { limit: value.map_or(Ok(DEFAULT_HANG), delay::duration)? },
        "huge" => FaultKind::Huge { bytes: value.map_or(Ok(DEFAULT_FLOOD_BYTES), delay::size)? },
        "no_done" | "drop" if value.is_some() => return Err(format!("{key:?} takes no value")),
        "no_done" => FaultKind::NoDone,
        "drop" => FaultKind::Drop,
        _ => return Err(format!("{key:?} is not a part of a fault, use {Kinds}")),
    })
}

fn status(value: Option<&str>) -> Result<u16, String> {
    let value = value.ok_or_else(|| "\"status\" needs a code, such as status=429".to_owned())?;
    match number("status", value)? {
        code @ 400..=599 => Ok(code),
        other => Err(format!("status {other} is not an error from 400 to 599")),
    }
}

fn positive(key: &str, value: &str) -> Result<u64, String> {
    match number(key, value)? {
        0 => Err(format!("\"{key}\" must be at least 1")),
        n => Ok(n),
    }
}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{value:?} is not a number for \"{key}\""))
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultKind, When};
    use crate::simulate::chance::Draw;
    use std::time::Duration;

    #[test]
    fn faults_are_read_from_text() {
        let fault: Fault = "status=429, retry-after=2, share=5%, model=gpt-4o".parse().unwrap();
        assert_eq!(fault.kind, FaultKind::Status { code: 429, retry_after_s: Some(2) });
        assert_eq!((fault.when.share, fault.when.model.as_deref()), (0.05, Some("gpt-4o")));
        let stall: Fault = "stall=2,for=5s,every=10".parse().unwrap();
        assert_eq!(stall.kind, FaultKind::Stall { after: 2, pause: Duration::from_secs(5) });
        assert_eq!(stall.when, When { every: Some(10), ..When::default() });
    }

    #[test]
    fn a_bad_fault_is_refused_with_the_reason() {
        for (text, reason) in [
            ("share=5%", "no kind"),
            ("status", "needs a code"),
            ("status=200", "not an error"),
            ("cut,hang", "second kind"),
            ("cut=many", "not a number"),
            ("explode", "not a part"),
            ("cut,every=0", "at least 1"),
            ("cut,retry_after=1", "belongs to"),
            ("no_done=4", "takes no value"),
            ("hang=soon", "not a duration"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_share_strikes_about_that_share_and_every_and_first_strike_exactly() {
        let count = |when: When| {
            let draw = |nth: u32| Draw { seed: 3, body: 9, nth };
            (1..=2000).filter(|n| when.strikes(u64::from(*n), &draw(*n), 0)).count()
        };
        let share = count(When { share: 0.1, ..When::default() });
        assert!((150..=250).contains(&share), "{share}");
        assert_eq!(count(When { every: Some(10), ..When::default() }), 200);
        assert_eq!(count(When { first: Some(7), ..When::default() }), 7);
    }
}
