//! Reads single values: durations, sizes, shares, names, each with what to write instead.

use std::time::Duration;

use http::header::HeaderName;
use http::header::HeaderValue;
use serde_json::Value;

use super::nearest;
use super::read::Wrong;
use super::read::quote;
use super::tree::Key;
use super::tree::Kind;
use super::tree::Node;
use crate::experiment::Share;

/// Units of time with their length in milliseconds.
const TIME_UNITS: &[(&str, f64)] =
    &[("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3_600e3), ("d", 86_400e3)];

/// The longest duration read: ten years. Longer ones overflow clocks.
const MAX_MILLIS: f64 = 10.0 * 365.0 * 86_400e3;

/// Units of size in bytes.
const SIZE_UNITS: &[(&str, f64)] = &[
    ("", 1.0),
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// The largest size read: one pebibyte, which a float still holds exactly.
const MAX_SIZE: f64 = 1_125_899_906_842_624.0;

/// The longest name of an experiment, variant or provider, bytes.
const MAX_NAME: usize = 64;

/// Any single value, as written.
pub fn any_text(node: &Node) -> Result<&str, Wrong> {
    match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => Ok(text),
        _ => {
            let what = format!("has to be text, not {}", node.describe());
            Err(Wrong::new(what, "write one word, or text in quotes"))
        }
    }
}

/// Text that says something.
pub fn text(node: &Node) -> Result<String, Wrong> {
    let text = any_text(node)?.trim();
    if text.is_empty() {
        return Err(Wrong::new("is empty", "write something or remove the key"));
    }
    Ok(text.to_owned())
}

/// `true` or `false`.
pub fn boolean(node: &Node) -> Result<bool, Wrong> {
    node.as_bool().ok_or_else(|| expected("true or false", node, "write true or false"))
}

/// A duration longer than nothing.
pub fn duration(node: &Node) -> Result<Duration, Wrong> {
    match drain(node)? {
        Duration::ZERO => {
            Err(Wrong::new("has to be longer than 0", "write for example 500ms, 5s or 10m"))
        }
        duration => Ok(duration),
    }
}

/// The name of a host, without a port.
pub fn host(node: &Node) -> Result<String, Wrong> {
    let text = any_text(node)?;
    match text.parse::<http::uri::Authority>() {
        Ok(authority) if authority.host() == text => Ok(text.to_owned()),
        _ => Err(Wrong::new("is no name of a host", "write for example llm.internal")),
    }
}

/// A duration that may be 0.
pub fn drain(node: &Node) -> Result<Duration, Wrong> {
    let example = "write a number and a unit: 500ms, 5s, 10m, 24h or 7d";
    let wrong = || expected("a duration", node, example);
    let (number, unit) = quantity(node).ok_or_else(wrong)?;
    if unit.is_empty() && number == 0.0 {
        return Ok(Duration::ZERO);
    }
    let (_, length) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let millis = (number * length).round();
    if millis > MAX_MILLIS {
        return Err(expected("at most 10 years", node, example));
    }
    Ok(Duration::from_millis(millis as u64))
}

/// A size in bytes, at least 1.
pub fn size(node: &Node) -> Result<u64, Wrong> {
    let example = "write bytes or a number and a unit: 1048576, 512MiB, 1GiB or 100MB";
    let wrong = || expected("a size", node, example);
    let (number, unit) = quantity(node).ok_or_else(wrong)?;
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let bytes = (number * factor).round();
    if !(1.0..=MAX_SIZE).contains(&bytes) {
        return Err(expected("between 1 byte and 1024TiB", node, example));
    }
    Ok(bytes as u64)
}

/// A size that memory can hold on this machine.
pub fn memory(node: &Node) -> Result<usize, Wrong> {
    usize::try_from(size(node)?)
        .map_err(|_| expected("a size this machine can address", node, "write a smaller one"))
}

/// A whole number from `least` to `most`.
pub fn count(least: u64, most: u64) -> impl Fn(&Node) -> Result<u64, Wrong> {
    move |node| {
        let number = node.as_number().and_then(|number| number.as_u64());
        number.filter(|n| (least..=most).contains(n)).ok_or_else(|| {
            let what = format!("a whole number from {least} to {most}");
            let help = format!("write for example {}", least.max(1).min(most));
            expected(&what, node, &help)
        })
    }
}

/// How many of something memory has to hold.
pub fn places(node: &Node) -> Result<usize, Wrong> {
    // Far below the most that the runtime's semaphores and channels take before they panic.
    count(1, 1_000_000)(node).map(|n| n as usize)
}

/// A share of traffic: `20%` or a fraction from 0 to 1.
pub fn share(node: &Node) -> Result<Share, Wrong> {
    let example = "write a percentage such as 20% or 0.5%, or a fraction such as 0.2";
    let ppm = fraction(node).ok_or_else(|| expected("a share", node, example))? * 1e6;
    if !(0.0..=1e6).contains(&ppm) {
        return Err(expected("between 0% and 100%", node, example));
    }
    if (ppm - ppm.round()).abs() > 1e-3 {
        return Err(expected("a multiple of 0.0001%", node, "write fewer digits"));
    }
    Share::from_ppm(ppm.round() as u32).ok_or_else(|| expected("a share", node, example))
}

/// A portion strictly between 0 and `end`, written as a share.
pub fn portion(end: f64) -> impl Fn(&Node) -> Result<f64, Wrong> {
    move |node| {
        let portion = fraction(node).filter(|portion| *portion > 0.0 && *portion < end);
        portion.ok_or_else(|| {
            let what = format!("above 0% and below {}%", end * 100.0);
            expected(&what, node, "write a percentage such as 3% or a fraction such as 0.03")
        })
    }
}

/// A finite number above `least`.
pub fn above(least: f64, example: &'static str) -> impl Fn(&Node) -> Result<f64, Wrong> {
    move |node| {
        let number = node.as_number().and_then(|number| number.as_f64());
        number
            .filter(|n| *n > least)
            .ok_or_else(|| expected(&format!("a number above {least}"), node, example))
    }
}

/// A name that is safe in paths, headers and metrics.
pub fn name(node: &Node) -> Result<String, Wrong> {
    let text = any_text(node)?;
    match checked_name(text) {
        Some(help) => Err(Wrong::new(format!("cannot be {}", quote(text)), help)),
        None => Ok(text.to_owned()),
    }
}

/// Why `text` cannot be a name, as what to write instead.
pub fn checked_name(text: &str) -> Option<&'static str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if text.is_empty() || text.len() > MAX_NAME {
        return Some("write 1 to 64 letters, digits, hyphens, underscores or dots");
    }
    let starts_well = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    (!starts_well || !text.bytes().all(is_plain)).then_some(
        "use letters, digits, hyphens, underscores and dots; begin with a letter or digit",
    )
}

/// The name of a header.
pub fn header_name(node: &Node) -> Result<HeaderName, Wrong> {
    let text = any_text(node)?;
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| expected("the name of a header", node, "write for example x-user-id"))
}

/// Text that a header can carry.
pub fn header_value(node: &Node) -> Result<String, Wrong> {
    let text = any_text(node)?;
    match HeaderValue::from_str(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(expected("the value of a header", node, "use printable ASCII on one line")),
    }
}

/// A JSON pointer (RFC 6901) to something inside the body.
pub fn pointer(node: &Node) -> Result<String, Wrong> {
    let text = any_text(node)?;
    match checked_pointer(text) {
        Some(help) => Err(expected("a JSON pointer", node, help)),
        None => Ok(text.to_owned()),
    }
}

/// Why `text` is no JSON pointer to something inside, as what to write instead.
pub fn checked_pointer(text: &str) -> Option<&'static str> {
    // `~` only ever stands before 0 or 1.
    let is_escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    let is_pointer = text.starts_with('/') && is_escaped;
    (!is_pointer).then_some("write for example /user or /metadata/id")
}

/// One of a table's names.
pub fn choice<T: Copy>(table: &[(&'static str, T)]) -> impl Fn(&Node) -> Result<T, Wrong> {
    move |node| {
        let text = any_text(node)?;
        let found = table.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            let help = match nearest::nearest(text, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write one of these names".to_owned(),
            };
            expected(&format!("one of {}", names.join(", ")), node, &help)
        })
    }
}

/// The same value as JSON; `None` where something was already reported.
pub fn json(node: &Node) -> Option<Value> {
    Some(match &node.kind {
        Kind::Skipped => return None,
        Kind::List(nodes) => Value::Array(nodes.iter().map(json).collect::<Option<_>>()?),
        Kind::Map(entries) => {
            let entry = |(key, node): &(Key, Node)| Some((key.name.clone(), json(node)?));
            Value::Object(entries.iter().map(entry).collect::<Option<_>>()?)
        }
        Kind::Scalar { text, .. } => {
            if node.is_null() {
                Value::Null
            } else if let Some(boolean) = node.as_bool() {
                Value::Bool(boolean)
            } else if let Some(number) = node.as_number() {
                Value::Number(number)
            } else {
                Value::String(text.clone())
            }
        }
    })
}

/// A reason that shows what was found.
pub fn expected(what: &str, node: &Node, help: &str) -> Wrong {
    let found = match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => quote(text),
        _ => node.describe().to_owned(),
    };
    Wrong::new(format!("has to be {what}, not {found}"), help)
}

/// A number that is not negative and the unit behind it.
fn quantity(node: &Node) -> Option<(f64, &str)> {
    let text = any_text(node).ok()?;
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// `20%` as 0.2, and 0.2 as itself.
fn fraction(node: &Node) -> Option<f64> {
    match quantity(node)? {
        (number, "%") => Some(number / 100.0),
        (number, "") => Some(number),
        _ => None,
    }
}
