//! The rules that come with the program: a pattern each, and what a match has to be besides.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::ops::Range;

use crate::redact::iban;

/// Says of a match what of it counts, or where to go on looking.
pub type Check = fn(&str, Range<usize>) -> Result<Range<usize>, usize>;

/// A rule that comes with the program.
#[derive(Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// What to look at.
    pub(super) pattern: &'static str,
    /// What a match has to be besides.
    pub(super) check: Check,
}

/// Every rule that comes with the program, by name.
pub static BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: "card",
        what: "numbers of payment cards: a known issuer, its length, and the Luhn checksum",
        pattern: r"[0-9](?:[ -]?[0-9]){12,18}",
        check: card,
    },
    BuiltIn {
        name: "email",
        what: "e-mail addresses",
        pattern: r"[\pL\pN_%+'.-]+@(?:[\pL\pN](?:[\pL\pN-]*[\pL\pN])?\.)+\pL{2,}",
        check: any,
    },
    BuiltIn {
        name: "iban",
        what: "international bank account numbers: a country, its length, and the checksum",
        pattern: r"[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,28}",
        check: account,
    },
    BuiltIn {
        name: "ip",
        what: "IP addresses, of version 4 and 6",
        pattern: r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?:\.[0-9]{1,3}){3})?",
        check: address,
    },
    BuiltIn {
        name: "phone",
        what: "telephone numbers with + and a country, and those of North America",
        pattern: r"\+[1-9](?:[ .()/-]{0,2}[0-9]){7,14}|(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}",
        check: alone,
    },
    BuiltIn {
        name: "secret",
        what: "keys of APIs with a known beginning, signed tokens (JWT), and private keys (PEM)",
        pattern: SECRETS,
        check: any,
    },
    BuiltIn {
        name: "ssn",
        what: "social security numbers of the United States, with hyphens",
        pattern: r"[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}",
        check: social,
    },
];

/// Beginnings that nothing but a key has, as those who issue them document them.
///
/// Where a key may begin is a part of the pattern: what is as long as it likes is read once.
const SECRETS: &str = concat!(
    r"(?-u:\b)(?:sk-[A-Za-z0-9_-]{20,}",
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}",
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?-u:\b)",
    r"|AIza[A-Za-z0-9_-]{35}",
    r"|gh[opsur]_[A-Za-z0-9]{36,}",
    r"|github_pat_[A-Za-z0-9_]{22,}",
    r"|glpat-[A-Za-z0-9_-]{20,}",
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"|(?:gsk|hf|npm|r8)_[A-Za-z0-9]{32,}",
    r"|xai-[A-Za-z0-9]{32,}",
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,})",
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
);

fn any(_: &str, found: Range<usize>) -> Result<Range<usize>, usize> {
    Ok(found)
}

fn before(text: &str, at: usize) -> Option<char> {
    text.get(..at).and_then(|head| head.chars().next_back())
}

fn after(text: &str, at: usize) -> Option<char> {
    text.get(at..).and_then(|tail| tail.chars().next())
}

/// A letter or digit beside one of its own makes something else of it.
fn alone(text: &str, found: Range<usize>) -> Result<Range<usize>, usize> {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let joins = |at: usize| is_part(before(text, at)) && is_part(after(text, at));
    match joins(found.start) || joins(found.end) {
        true => Err(found.start + 1),
        false => Ok(found),
    }
}

fn social(text: &str, found: Range<usize>) -> Result<Range<usize>, usize> {
    let found = alone(text, found)?;
    let is_joined = before(text, found.start) == Some('-') || after(text, found.end) == Some('-');
    let number = text.get(found.clone()).unwrap_or_default();
    let is_unused =
        ["000", "666"].iter().any(|area| number.starts_with(area)) || number.contains("-00-");
    match is_joined || is_unused || number.ends_with("-0000") {
        true => Err(found.start + 1),
        false => Ok(found),
    }
}

fn address(text: &str, found: Range<usize>) -> Result<Range<usize>, usize> {
    let next = found.start + 1;
    let found = alone(text, found)?;
    let shown = text.get(found.clone()).unwrap_or_default();
    let is_v6 = shown.contains(':');
    let joint = if is_v6 { ':' } else { '.' };
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit() || c == joint);
    // A part of a longer row of numbers, such as a version's.
    let came = before(text, found.start) == Some(joint) && is_part(before(text, found.start - 1));
    let goes_on = after(text, found.end) == Some(joint) && is_part(after(text, found.end + 1));
    // `a::b` is a path in many languages.
    let is_long = shown.split([':', '.']).filter(|group| !group.is_empty()).count() > 2;
    let is_valid = match is_v6 {
        true => is_long && shown.parse::<Ipv6Addr>().is_ok(),
        false => shown.parse::<Ipv4Addr>().is_ok(),
    };
    if came || goes_on || !is_valid { Err(next) } else { Ok(found) }
}

fn account(text: &str, found: Range<usize>) -> Result<Range<usize>, usize> {
    let next = found.start + 1;
    if before(text, found.start).is_some_and(char::is_alphanumeric) {
        return Err(next);
    }
    let country = text.get(found.start..found.start + 2).unwrap_or_default();
    let length = iban::length(country).ok_or(next)?;
    // The pattern goes on into the words behind the number.
    let tail = text.get(found.start..).unwrap_or_default().bytes().enumerate();
    let number: Vec<(usize, u8)> = tail.filter(|(_, byte)| *byte != b' ').take(length).collect();
    let end = number.last().map_or(0, |(at, _)| found.start + at + 1);
    let digits: Vec<u8> = number.into_iter().map(|(_, byte)| byte).collect();
    let is_whole = digits.len() == length && !after(text, end).is_some_and(char::is_alphanumeric);
    if is_whole && iban::is_valid(&digits) { Ok(found.start..end) } else { Err(next) }
}

/// The longest number of a card at the beginning of a row of digits; it ends where a group does.
fn card(text: &str, found: Range<usize>) -> Result<Range<usize>, usize> {
    let bytes = text.get(found.clone()).unwrap_or_default().bytes().enumerate();
    let digits = bytes.filter(|(_, byte)| byte.is_ascii_digit());
    let (ends, digits): (Vec<usize>, Vec<u8>) =
        digits.map(|(at, byte)| (found.start + at + 1, byte - b'0')).unzip();
    for (at, end) in ends.iter().enumerate().skip(12).rev() {
        let number = digits.get(..=at).unwrap_or_default();
        let range = found.start..*end;
        if is_issued(number) && luhn(number) && alone(text, range.clone()).is_ok() {
            return Ok(range);
        }
    }
    Err(found.start + 1)
}

/// Whether an issuer gives out numbers that begin so and are so long (ISO/IEC 7812).
fn is_issued(number: &[u8]) -> bool {
    let [a, b, ..] = number else { return false };
    let length = number.len();
    match (a, b) {
        (4, _) => matches!(length, 13 | 16 | 19),
        (5, 1..=5) | (2, 2..=7) => length == 16,
        (3, 4 | 7) => length == 15,
        (3, 0 | 6 | 8 | 9) => (14..=19).contains(&length),
        (3, 5) | (6, _) => (16..=19).contains(&length),
        _ => false,
    }
}

/// Every second digit from the right counts twice, with its own digits summed; the sum ends in 0.
fn luhn(number: &[u8]) -> bool {
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(*digit);
            let twice = digit * 2;
            if at % 2 == 0 { digit } else { twice / 10 + twice % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}
