//! Headers of requests and replies: what is read, what is added, what must not travel.

use std::time::Duration;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::header;
use tokio::time::Instant;

use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::exchange::Incoming;
use crate::exchange::lookup::Forward;
use crate::exchange::lookup::Hit;
use crate::experiment::Target;
use crate::key::CacheKey;
use crate::plan::Plan;
use crate::provider::KEY_HEADERS;
use crate::wire::carry::Losses;

const AGE: HeaderName = header::AGE;
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const CASCADE: HeaderName = HeaderName::from_static("x-understudy-cascade");
const COST: HeaderName = HeaderName::from_static("x-understudy-cost-usd");
const EXPERIMENT: HeaderName = HeaderName::from_static("x-understudy-experiment");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const TARGET: HeaderName = HeaderName::from_static("x-understudy-target");
const TOKENIZER: HeaderName = HeaderName::from_static("x-understudy-tokenizer");
const WARNING: HeaderName = header::WARNING;
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");

/// Where providers other than OpenAI and its likes put their id of a request.
const OTHER_REQUEST_IDS: [&str; 2] = ["x-amzn-requestid", "request-id"];

/// The most bytes of field names in a warning.
const MAX_LOSSES: usize = 1024;

/// Headers of an answer that are stored with it.
static KEPT: [HeaderName; 4] = [
    header::RETRY_AFTER,
    HeaderName::from_static("openai-processing-ms"),
    REQUEST_ID,
    HeaderName::from_static("request-id"),
];

/// The headers of an answer that a reader of the stored exchange may want.
pub fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let found = KEPT.iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    found.collect()
}

/// The headers of an answer from the cache.
pub fn of_hit(plan: &Plan<'_>, incoming: &Incoming, hit: &Hit) -> HeaderMap {
    let Hit { key, exchange, now_ms, .. } = hit;
    let head = &exchange.head;
    let mut headers = HeaderMap::with_capacity(8);
    set(&mut headers, header::CONTENT_TYPE, &head.content_type);
    let mut status = format!("understudy; hit; key=\"{key}\"");
    if !head.redacted.is_empty() {
        status.push_str("; detail=redacted");
        let what = head.redacted.join(", ");
        set(&mut headers, WARNING, &format!("199 understudy \"stored without {what}\""));
    }
    set(&mut headers, CACHE_STATUS, &status);
    let age = u64::try_from(now_ms - head.answered_ms).unwrap_or(0) / 1000;
    set(&mut headers, AGE, &age.to_string());
    set(&mut headers, TARGET, &head.target);
    if let Some(assigned) = plan.assigned() {
        set(&mut headers, EXPERIMENT, &assigned);
    }
    set(&mut headers, REQUEST_ID, &incoming.request_id);
    set(&mut headers, COST, "0");
    let own = incoming.arrived.elapsed().as_secs_f64() * 1e3;
    set(&mut headers, SERVER_TIMING, &format!("understudy;dur={own:.3}"));
    headers
}

/// Who answered.
pub fn add_target(headers: &mut HeaderMap, target: &Target) {
    set(headers, TARGET, &target.to_string());
}

/// Whose answers were passed over, and why, as `openai/gpt-4o-mini; refusal`.
pub fn add_passed_over(headers: &mut HeaderMap, all: &[(Target, &str)]) {
    if !all.is_empty() {
        let all: Vec<String> = all.iter().map(|(of, why)| format!("{of}; {why}")).collect();
        set(headers, CASCADE, &all.join(", "));
    }
}

/// The variant that was assigned, as `experiment=variant`.
pub fn add_experiment(headers: &mut HeaderMap, assigned: &str) {
    set(headers, EXPERIMENT, assigned);
}

/// RFC 9211: the request was answered by a call that was made for another; that one has its cost.
pub fn add_collapsed(headers: &mut HeaderMap, key: &CacheKey) {
    set(headers, CACHE_STATUS, &format!("understudy; fwd=miss; collapsed; key=\"{key}\""));
    set(headers, COST, "0");
}

/// RFC 9211: how the cache handled the request.
pub fn add_cache_status(
    headers: &mut HeaderMap,
    key: &CacheKey,
    forward: Forward,
    is_stored: bool,
) {
    let mut status = format!("understudy; fwd={}", forward.why);
    if let Some(detail) = forward.detail {
        status.push_str("; detail=");
        status.push_str(detail);
    }
    if is_stored {
        status.push_str(&format!("; stored; key=\"{key}\""));
    }
    set(headers, CACHE_STATUS, &status);
}

/// What the target was not asked although the application asked it, in the form of RFC 9111's
/// predecessor: `199 understudy "not known to anthropic, left out: seed"`.
pub fn add_losses(headers: &mut HeaderMap, into: DialectName, losses: &Losses) {
    if losses.is_empty() {
        return;
    }
    let mut fields = String::new();
    for (_, field) in losses.fields() {
        let comma = if fields.is_empty() { "" } else { ", " };
        if fields.len() + field.len() > MAX_LOSSES {
            fields.push_str(", ...");
            break;
        }
        // Names of unknown fields are the client's own words.
        fields.push_str(comma);
        fields.extend(field.chars().filter(|c| (' '..='~').contains(c) && !"\"\\".contains(*c)));
    }
    let into = into.as_str();
    set(headers, WARNING, &format!("199 understudy \"not known to {into}, left out: {fields}\""));
}

/// What counted the tokens, and that it was no provider.
pub fn add_tokenizer(headers: &mut HeaderMap, by: &str) {
    set(headers, TOKENIZER, by);
}

/// The request's id and where the time went; the provider's own id moves aside.
pub fn add_common(headers: &mut HeaderMap, request_id: &str, sent: Instant, arrived: Instant) {
    if let Some(theirs) = headers.remove(REQUEST_ID) {
        headers.insert(UPSTREAM_REQUEST_ID, theirs);
    }
    set(headers, REQUEST_ID, request_id);
    let upstream = sent.elapsed().as_secs_f64() * 1e3;
    let own = (arrived.elapsed().as_secs_f64() * 1e3 - upstream).max(0.0);
    let timing = format!("upstream;dur={upstream:.3}, understudy;dur={own:.3}");
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        headers.append(SERVER_TIMING, timing);
    }
}

/// The provider's own id of the request, from wherever its dialect has it, and ours where the
/// application's SDK looks for one.
pub fn translate_ids(headers: &mut HeaderMap, client: DialectName, request_id: &str) {
    let theirs = OTHER_REQUEST_IDS.iter().filter_map(|name| headers.remove(*name)).last();
    if let Some(theirs) = theirs {
        headers.entry(UPSTREAM_REQUEST_ID).or_insert(theirs);
    }
    if client == DialectName::Anthropic {
        set(headers, HeaderName::from_static("request-id"), request_id);
    }
}

/// What the answer cost, in dollars, when its price is known.
pub fn add_cost(headers: &mut HeaderMap, nano_usd: Option<u64>) {
    if let Some(nano_usd) = nano_usd {
        let (dollars, rest) = (nano_usd / 1_000_000_000, nano_usd % 1_000_000_000);
        set(headers, COST, &format!("{dollars}.{rest:09}"));
    }
}

/// When a failure of our own may be over, if that is known: whole seconds, and not a moment too
/// early; for a limit, in the finer form that SDKs prefer as well.
pub fn add_wait(headers: &mut HeaderMap, error: &Error) {
    let usual = (error.kind == Kind::Overloaded).then_some(Duration::from_secs(1));
    let Some(wait) = error.retry_after.or(usual) else { return };
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    headers.insert(header::RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000).max(1)));
    if matches!(error.kind, Kind::Limited | Kind::Busy) {
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis));
    }
}

/// The client's headers for a provider that its credential is not meant for.
pub fn without_credential(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in KEY_HEADERS.iter().chain(&[header::COOKIE]) {
        headers.remove(name);
    }
    headers
}

/// The `content-type`, or nothing.
pub fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// A value that no header can hold is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
