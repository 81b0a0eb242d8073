//! What the Secret keeps, and what has to change in it as time goes by.
//!
//! An authority is trusted before it gives certificates, and as long afterwards as one of them may
//! still be shown: so nobody who reads the configuration late refuses what is shown.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde_json::Map;
use serde_json::Value;

use crate::error::Result;
use crate::webhook::authority::Authority;
use crate::webhook::authority::CERTIFICATE_LIFE;
use crate::webhook::authority::Pair;
use crate::webhook::certificate::Certificate;
use crate::webhook::presented::certified;

/// How long before its end an authority gets a successor.
pub const AHEAD: Duration = Duration::from_secs(60 * 86_400);

/// How long a successor is trusted before it gives certificates: for API servers to hear of it.
pub const SPREAD: Duration = Duration::from_secs(600);

/// How long before its end a certificate is replaced.
pub const RENEWAL: Duration = Duration::from_secs(CERTIFICATE_LIFE.as_secs() / 3);

/// Authority, certificate, and whoever else is trusted.
pub struct Kept {
    /// Gives the certificate.
    pub authority: Authority,
    /// What is shown.
    pub pair: Pair,
    /// Will give certificates, and is trusted already.
    pub successor: Option<Authority>,
    /// Gave certificates, and is trusted until its end.
    pub former: Vec<Certificate>,
}

/// What has to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The authority has ended, or is none.
    Beginning,
    /// There has to be a successor.
    Successor,
    /// The successor takes over.
    Succession,
    /// The certificate is replaced.
    Certificate,
    /// Somebody who has ended need not be trusted any more.
    Forgetting,
}

impl Due {
    /// The word used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Beginning => "beginning",
            Self::Successor => "successor",
            Self::Succession => "succession",
            Self::Certificate => "certificate",
            Self::Forgetting => "forgetting",
        }
    }
}

impl Kept {
    /// A new authority and its first certificate.
    ///
    /// # Errors
    /// A name is none, or the system has no randomness.
    pub fn begin(names: &[String], now: Timestamp) -> Result<Self> {
        let authority = Authority::found(now)?;
        let pair = authority.issue(names, now)?;
        Ok(Self { authority, pair, successor: None, former: Vec::new() })
    }

    /// What `data` of a Secret says; none if that makes no sense.
    pub fn read(data: &Value) -> Option<Self> {
        let text =
            |key: &str| String::from_utf8(STANDARD.decode(data.get(key)?.as_str()?).ok()?).ok();
        let secret = |key: &str| text(key).map(SecretString::from);
        let authority = Authority::read(&text("ca.crt")?, &secret("ca.key")?)?;
        let certificate = Certificate::read_all(text("tls.crt")?.as_bytes())?.pop()?;
        let pair = Pair { certificate, key: secret("tls.key")? };
        certified(pair.certificate.pem().as_bytes(), &pair.key).ok()?;
        // Without these two nothing is refused today.
        let successor = text("next-ca.crt").zip(secret("next-ca.key"));
        let successor = successor.and_then(|(pem, key)| Authority::read(&pem, &key));
        let former = text("former-ca.crt").and_then(|pem| Certificate::read_all(pem.as_bytes()));
        Some(Self { authority, pair, successor, former: former.unwrap_or_default() })
    }

    /// As `data` of a Secret; [`Self::read`] understands it.
    pub fn data(&self) -> Value {
        let mut data = Map::new();
        let mut put = |key: &str, text: &str| {
            data.insert(key.to_owned(), STANDARD.encode(text).into());
        };
        put("ca.crt", &self.authority.certificate.pem());
        put("ca.key", self.authority.key().expose_secret());
        put("tls.crt", &self.pair.certificate.pem());
        put("tls.key", self.pair.key.expose_secret());
        if let Some(successor) = &self.successor {
            put("next-ca.crt", &successor.certificate.pem());
            put("next-ca.key", successor.key().expose_secret());
        }
        if !self.former.is_empty() {
            put("former-ca.crt", &self.former.iter().map(Certificate::pem).collect::<String>());
        }
        Value::Object(data)
    }

    /// Everybody who is trusted, PEM.
    pub fn bundle(&self) -> String {
        let successor = self.successor.as_ref().map(|successor| &successor.certificate);
        let all = self.former.iter().chain([&self.authority.certificate]).chain(successor);
        all.map(Certificate::pem).collect()
    }

    /// The most urgent change at `now`; `trusted` is since when the configuration has been seen to
    /// trust the successor.
    pub fn due(&self, names: &[String], trusted: Option<Timestamp>, now: Timestamp) -> Option<Due> {
        let within = |ends: Timestamp, left: Duration| ends.duration_since(now) < signed(left);
        let (ends, shown) = (self.authority.certificate.ends, &self.pair.certificate);
        let successor = self.successor.as_ref().map(|successor| successor.certificate.ends);
        let has_spread = trusted.is_some_and(|since| now.duration_since(since) >= signed(SPREAD));
        match successor {
            Some(theirs) if theirs <= now && ends <= now => return Some(Due::Beginning),
            Some(_) if has_spread || ends <= now => return Some(Due::Succession),
            None if ends <= now => return Some(Due::Beginning),
            _ => {}
        }
        // What ends with its authority cannot be prolonged.
        let is_short = within(shown.ends, RENEWAL) && shown.ends < ends;
        if is_short || !self.authority.vouches(shown, names, now) {
            return Some(Due::Certificate);
        }
        if successor.is_none() && within(ends, AHEAD) {
            return Some(Due::Successor);
        }
        let ended = self.former.iter().any(|former| former.ends <= now);
        ended.then_some(Due::Forgetting)
    }

    /// The same with that change made.
    ///
    /// # Errors
    /// A name is none, or the system has no randomness.
    pub fn change(mut self, due: Due, names: &[String], now: Timestamp) -> Result<Self> {
        match due {
            Due::Beginning => return Self::begin(names, now),
            Due::Certificate => self.pair = self.authority.issue(names, now)?,
            Due::Successor => self.successor = Some(Authority::found(now)?),
            Due::Succession => {
                if let Some(successor) = self.successor.take() {
                    self.pair = successor.issue(names, now)?;
                    let former = std::mem::replace(&mut self.authority, successor);
                    self.former.push(former.certificate);
                }
            }
            Due::Forgetting => {}
        }
        self.former.retain(|former| former.ends > now);
        Ok(self)
    }
}

fn signed(span: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(span).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use jiff::Timestamp;

    use super::Due;
    use super::Kept;

    fn names() -> Vec<String> {
        vec!["hook.apps.svc".to_owned()]
    }

    fn day(number: i64) -> Timestamp {
        let first: Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
        first + SignedDuration::from_hours(24 * number)
    }

    /// With the certificate as fresh as on that day.
    fn on(number: i64) -> Kept {
        let kept = Kept::begin(&names(), day(0)).unwrap();
        kept.change(Due::Certificate, &names(), day(number)).unwrap()
    }

    #[test]
    fn a_certificate_is_replaced_in_the_last_third_of_its_life() {
        let kept = on(0);
        assert_eq!(kept.due(&names(), None, day(4)), None);
        assert_eq!(kept.due(&names(), None, day(5)), Some(Due::Certificate));
        let kept = kept.change(Due::Certificate, &names(), day(5)).unwrap();
        assert_eq!(kept.due(&names(), None, day(9)), None);
        assert!(kept.bundle().matches("BEGIN").count() == 1);
    }

    #[test]
    fn a_certificate_for_other_names_is_replaced() {
        let other = ["other.apps.svc".to_owned()];
        assert_eq!(on(0).due(&other, None, day(1)), Some(Due::Certificate));
        let kept = on(0).change(Due::Certificate, &other, day(1)).unwrap();
        assert_eq!(kept.due(&other, None, day(1)), None);
    }

    #[test]
    fn a_successor_is_trusted_for_a_while_before_it_takes_over() {
        let kept = on(305);
        assert_eq!(kept.due(&names(), None, day(305)), None);
        let kept = on(306);
        assert_eq!(kept.due(&names(), None, day(306)), Some(Due::Successor));
        let kept = kept.change(Due::Successor, &names(), day(306)).unwrap();
        assert_eq!(kept.bundle().matches("BEGIN").count(), 2);
        assert!(kept.authority.vouches(&kept.pair.certificate, &names(), day(306)));
        assert_eq!(kept.due(&names(), None, day(307)), None);
        let soon = |minutes| Some(day(307) - SignedDuration::from_mins(minutes));
        assert_eq!(kept.due(&names(), soon(9), day(307)), None);
        assert_eq!(kept.due(&names(), soon(10), day(307)), Some(Due::Succession));
        let before = kept.bundle();
        let kept = kept.change(Due::Succession, &names(), day(307)).unwrap();
        assert_eq!(kept.bundle(), before, "everybody goes on being trusted");
        assert!(kept.authority.vouches(&kept.pair.certificate, &names(), day(307)));
        assert_eq!(kept.due(&names(), None, day(307)), None);
    }

    #[test]
    fn a_former_authority_is_forgotten_at_its_end() {
        let kept = on(306).change(Due::Successor, &names(), day(306)).unwrap();
        let kept = kept.change(Due::Succession, &names(), day(307)).unwrap();
        let kept = kept.change(Due::Certificate, &names(), day(364)).unwrap();
        assert_eq!(kept.due(&names(), None, day(364)), None);
        assert_eq!(kept.due(&names(), None, day(365)), Some(Due::Forgetting));
        let kept = kept.change(Due::Forgetting, &names(), day(365)).unwrap();
        assert_eq!(kept.bundle().matches("BEGIN").count(), 1);
        assert_eq!(kept.due(&names(), None, day(365)), None);
    }

    #[test]
    fn a_successor_nobody_has_been_told_of_takes_over_at_the_end() {
        let kept = on(306).change(Due::Successor, &names(), day(306)).unwrap();
        let kept = kept.change(Due::Certificate, &names(), day(363)).unwrap();
        assert_eq!(kept.due(&names(), None, day(364)), None);
        assert_eq!(kept.due(&names(), None, day(365)), Some(Due::Succession));
        assert_eq!(kept.due(&names(), None, day(700)), Some(Due::Beginning));
        assert_eq!(on(0).due(&names(), None, day(365)), Some(Due::Beginning));
    }

    #[test]
    fn what_was_written_is_read() {
        let kept = on(306).change(Due::Successor, &names(), day(306)).unwrap();
        let kept = kept.change(Due::Succession, &names(), day(307)).unwrap();
        let kept = kept.change(Due::Successor, &names(), day(308)).unwrap();
        let again = Kept::read(&kept.data()).unwrap();
        assert_eq!(again.bundle(), kept.bundle());
        assert_eq!(again.pair.certificate, kept.pair.certificate);
        assert_eq!(again.data(), kept.data());
    }

    #[test]
    fn a_secret_without_the_authority_or_the_certificate_makes_no_sense() {
        let whole = on(0).data();
        for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
            let mut less = whole.clone();
            less.as_object_mut().unwrap().remove(key);
            assert!(Kept::read(&less).is_none(), "{key}");
            less[key] = "bm90aGluZw==".into();
            assert!(Kept::read(&less).is_none(), "{key}");
        }
    }
}
