//! Certificates as text, and how long they are good.
//!
//! Sources: RFC 5280 §4.1 (where the times stand), RFC 7468 (the text).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Characters on a line of the text.
const WIDTH: usize = 64;

/// A certificate and how long it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// As it is sent.
    pub der: CertificateDer<'static>,
    /// The first moment after its life.
    pub ends: Timestamp,
}

impl Certificate {
    /// Reads one; none if it is no certificate.
    pub fn new(der: CertificateDer<'static>) -> Option<Self> {
        let ends = ends(&der)?;
        Some(Self { der, ends })
    }

    /// Reads all of a text; none if one of them is no certificate.
    pub fn read_all(pem: &[u8]) -> Option<Vec<Self>> {
        let all = CertificateDer::pem_slice_iter(pem);
        all.map(|der| Self::new(der.ok()?)).collect()
    }

    /// As text.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }
}

/// Bytes as text, under a label.
pub fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while let Some((line, after)) = rest.split_at_checked(WIDTH.min(rest.len())) {
        if line.is_empty() {
            break;
        }
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + &format!("-----END {label}-----\n")
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notAfter` of a certificate.
fn ends(der: &[u8]) -> Option<Timestamp> {
    let (whole, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(whole, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = any(rest)?;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, _, not_after) = any(validity)?;
    let (tag, text, _) = any(not_after)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// `YYMMDDHHMMSSZ` or, of another tag, with four digits of the year.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let century = if year.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            (format!("{century}{year}"), rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.to_owned(), rest)
        }
        _ => return None,
    };
    let digits = rest.strip_suffix('Z').filter(|d| d.len() == 10)?;
    let part = |at: usize| digits.get(at..at + 2);
    let (month, day, hour) = (part(0)?, part(2)?, part(4)?);
    let (minute, second) = (part(6)?, part(8)?);
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()
}

/// Contents of the element that begins here, if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, inside, after) = any(der)?;
    (found == tag).then_some((inside, after))
}

/// Tag and contents of the element that begins here, and what follows it.
fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (inside, after) = rest.split_at_checked(len)?;
    Some((*tag, inside, after))
}

#[cfg(test)]
mod tests {
    use super::GENERALIZED_TIME;
    use super::UTC_TIME;
    use super::ends;
    use super::pem;
    use super::time;

    #[test]
    fn both_ways_to_write_a_time_are_read() {
        for (tag, text, wanted) in [
            (UTC_TIME, "261129203015Z", Some("2026-11-29T20:30:15Z")),
            (UTC_TIME, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "20500101000000Z", Some("2050-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "20501301000000Z", None),
            (UTC_TIME, "2611292030Z", None),
            (UTC_TIME, "2611é9203015Z", None),
            (2, "261129203015Z", None),
        ] {
            assert_eq!(time(tag, text), wanted.map(|t| t.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for der in
            [&b""[..], b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00", b"x"]
        {
            assert_eq!(ends(der), None);
        }
    }

    #[test]
    fn text_has_lines_of_64_characters() {
        let text = pem("X", &[0; 96]);
        let lines: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lines, [17, 64, 64, 15]);
    }
}
