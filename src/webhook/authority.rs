//! The webhook's own certificate authority, and the certificates that it gives.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use secrecy::SecretString;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::webhook::certificate::Certificate;
use crate::webhook::certificate::pem;

/// How long an authority is good.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// How long a certificate is good.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// How far back a life begins, for whoever's clock is late.
const BACKDATE: Duration = Duration::from_secs(3600);

/// Its name; authorities are told apart by their keys.
const NAME: &str = "understudy webhook";

/// Gives certificates.
pub struct Authority {
    /// Whom to trust.
    pub certificate: Certificate,
    key: KeyPair,
}

/// A certificate with its key.
pub struct Pair {
    /// What is shown.
    pub certificate: Certificate,
    /// Its key, PEM.
    pub key: SecretString,
}

impl Authority {
    /// A new one, from now on.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn found(now: Timestamp) -> Result<Self> {
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let signed =
            params(now, AUTHORITY_LIFE).self_signed(&key).map_err(|error| failed(&error))?;
        Ok(Self { certificate: certificate(signed)?, key })
    }

    /// One that was written down; none if nobody would believe what it gives.
    pub fn read(certificate: &str, key: &SecretString) -> Option<Self> {
        let mut certificates = Certificate::read_all(certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).ok()?;
        let key = KeyPair::try_from(&key).ok()?;
        let certificate = certificates.pop().filter(|_| certificates.is_empty())?;
        let authority = Self { certificate, key };
        // Tried at the last moment of its life, which needs no clock.
        let last = authority.certificate.ends.checked_sub(SignedDuration::from_secs(1)).ok()?;
        let names = [NAME.replace(' ', ".")];
        let pair = authority.issue(&names, last).ok()?;
        authority.vouches(&pair.certificate, &names, last).then_some(authority)
    }

    /// Its key, PEM.
    pub fn key(&self) -> SecretString {
        private(&self.key)
    }

    /// A certificate for these names, from now on and not beyond the authority's own life.
    ///
    /// # Errors
    /// A name is none, or the system has no randomness.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<Pair> {
        let left = self.certificate.ends.duration_since(now);
        let left = Duration::try_from(left).unwrap_or_default();
        let mut wanted = CertificateParams::new(names).map_err(|error| failed(&error))?;
        let lived = params(now, CERTIFICATE_LIFE.min(left));
        (wanted.not_before, wanted.not_after) = (lived.not_before, lived.not_after);
        wanted.distinguished_name = named(names.first().map_or(NAME, String::as_str));
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        wanted.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let issuer = Issuer::new(lived, &self.key);
        let signed = wanted.signed_by(&key, &issuer).map_err(|error| failed(&error))?;
        Ok(Pair { certificate: certificate(signed)?, key: private(&key) })
    }

    /// Whether who trusts this authority believes that the certificate is for all of these names.
    pub fn vouches(&self, shown: &Certificate, names: &[String], now: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        let added = roots.add(self.certificate.der.clone());
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let (Ok(()), Ok(verifier)) = (added, verifier) else { return false };
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        names.iter().all(|name| {
            let Ok(name) = ServerName::try_from(name.as_str()) else { return false };
            verifier.verify_server_cert(&shown.der, &[], &name, &[], now).is_ok()
        })
    }
}

/// Those of an authority whose life begins now.
fn params(now: Timestamp, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    (params.not_before, params.not_after) = (now - BACKDATE, now + life);
    params.distinguished_name = named(NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A subject; what is longer than X.509 allows is cut.
fn named(name: &str) -> DistinguishedName {
    const MOST: usize = 64;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name.get(..MOST).unwrap_or(name));
    subject
}

fn certificate(signed: rcgen::Certificate) -> Result<Certificate> {
    let unread = || Error::new(Kind::Internal, "a certificate just made cannot be read");
    Certificate::new(signed.into()).ok_or_else(unread)
}

fn private(key: &KeyPair) -> SecretString {
    SecretString::from(pem("PRIVATE KEY", key.serialized_der()))
}

fn failed(error: &rcgen::Error) -> Error {
    Error::new(Kind::Internal, format!("making a certificate: {error}"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use jiff::Timestamp;

    use super::Authority;

    fn names() -> Vec<String> {
        ["hook.apps.svc", "hook.apps.svc.cluster.local"].map(str::to_owned).to_vec()
    }

    fn at(days: i64) -> Timestamp {
        let first: Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
        first + SignedDuration::from_hours(24 * days)
    }

    #[test]
    fn a_certificate_is_believed_for_its_names_and_its_time_by_who_trusts_its_authority() {
        let (authority, other) =
            (Authority::found(at(0)).unwrap(), Authority::found(at(0)).unwrap());
        let shown = authority.issue(&names(), at(1)).unwrap().certificate;
        assert!(authority.vouches(&shown, &names(), at(1)));
        assert!(!other.vouches(&shown, &names(), at(1)));
        assert!(!authority.vouches(&shown, &["hook.other.svc".to_owned()], at(1)));
        assert!(!authority.vouches(&shown, &names(), at(0)));
        assert!(!authority.vouches(&shown, &names(), at(9)));
    }

    #[test]
    fn an_authority_that_was_written_down_goes_on() {
        let authority = Authority::found(at(0)).unwrap();
        let pem = authority.certificate.pem();
        let again = Authority::read(&pem, &authority.key()).unwrap();
        assert_eq!(again.certificate, authority.certificate);
        assert_eq!(again.certificate.ends, at(365));
        let shown = again.issue(&names(), at(1)).unwrap().certificate;
        assert!(authority.vouches(&shown, &names(), at(1)));
        assert!(Authority::read(&pem, &"nothing".to_owned().into()).is_none());
        assert!(Authority::read(&(pem.clone() + &pem), &authority.key()).is_none());
        assert!(Authority::read("", &authority.key()).is_none());
        let other = Authority::found(at(0)).unwrap();
        assert!(Authority::read(&pem, &other.key()).is_none());
        let shown = authority.issue(&names(), at(1)).unwrap();
        assert!(Authority::read(&shown.certificate.pem(), &shown.key).is_none());
    }

    #[test]
    fn a_certificate_does_not_outlive_its_authority() {
        let authority = Authority::found(at(0)).unwrap();
        assert_eq!(authority.issue(&names(), at(1)).unwrap().certificate.ends, at(8));
        assert_eq!(authority.issue(&names(), at(362)).unwrap().certificate.ends, at(365));
    }
}
