//! Reads how calls that fail are made again, beside one another, or not for a while.

use super::read::Section;
use super::read::Wrong;
use super::tree::Node;
use super::value;
use crate::health::breaker::Rules;
use crate::retry::Hedge;
use crate::retry::Retry;

/// The most further calls to one target.
pub const MOST_ATTEMPTS: u64 = 10;

/// The most calls that a share of failures is taken of.
pub const MOST_REQUESTS: u64 = 1_000;

/// Reads `retry`, over what is inherited.
pub fn retry(s: &mut Section<'_, '_, '_>, into: &mut Retry) {
    s.section("retry", |s| {
        let attempts = s.take("attempts", value::count(0, MOST_ATTEMPTS));
        into.attempts = attempts.map_or(into.attempts, |n| n as u32);
        s.set("backoff", &mut into.backoff, value::duration);
        s.set("max_backoff", &mut into.max_backoff, value::duration);
        s.set("max_wait", &mut into.max_wait, value::drain);
        s.set("budget", &mut into.budget, part);
        s.set("empty", &mut into.empty, value::boolean);
    });
}

/// Reads `hedge`, which a route has or has not.
pub fn hedge(s: &mut Section<'_, '_, '_>, into: &mut Option<Hedge>) {
    s.section("hedge", |s| {
        let mut budget = Hedge::BUDGET;
        let node = s.need("after", "write for example after: 2s");
        let path = s.path("after");
        let after = node.and_then(|node| s.reader.value(node, &path, value::duration));
        s.set("budget", &mut budget, part);
        *into = after.map(|after| Hedge { after, budget });
    });
}

/// Reads `breaker`.
pub fn breaker(s: &mut Section<'_, '_, '_>, into: &mut Rules) {
    s.section("breaker", |s| {
        let failures = s.take("failures", value::count(1, 1_000_000));
        into.failures = failures.map_or(into.failures, |n| n as u32);
        s.set("rate", &mut into.rate, above_nothing);
        let requests = s.take("requests", value::count(1, MOST_REQUESTS));
        into.requests = requests.map_or(into.requests, |n| n as usize);
        s.set("open", &mut into.open, value::duration);
    });
}

fn part(node: &Node) -> Result<f64, Wrong> {
    value::share(node).map(|share| f64::from(share.ppm()) / 1e6)
}

/// A breaker that opened at 0 % would never close.
fn above_nothing(node: &Node) -> Result<f64, Wrong> {
    match part(node)? {
        rate if rate > 0.0 => Ok(rate),
        _ => Err(value::expected("above 0%", node, "write for example 50%")),
    }
}
