//! The stored request nearest to one that is not stored, and where the two part.

use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;

use crate::diff;
use crate::diff::Difference;
use crate::key::CacheKey;
use crate::key::ExchangeId;
use crate::library::view;
use crate::store::Store;
use crate::store::exchange::Asked;
use crate::store::exchange::Exchange;

/// How many of the newest exchanges are looked at.
const NEWEST: usize = 2_000;

/// Differences beyond this make nobody's request the nearest.
const MOST_LEAVES: usize = 10_000;

/// A request that is not stored.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The key of the answer that was looked for.
    pub key: CacheKey,
    /// What was asked beside the body.
    pub asked: Asked,
    /// Who would have been asked.
    pub target: String,
    /// `experiment=variant`.
    pub assigned: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// A stored request near to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Near {
    /// Its exchange.
    pub id: ExchangeId,
    /// When it was answered, Unix milliseconds.
    pub answered_ms: i64,
    /// Who answered.
    pub target: String,
    /// How many leaves of the two bodies differ.
    pub leaves: usize,
    /// Where they part first, in words.
    pub place: String,
}

/// The stored request nearest to `wanted`; looks no longer than until `deadline`.
pub fn nearest(store: &Store, wanted: &Wanted, deadline: Instant) -> Option<Near> {
    let body = counting(&wanted.body)?;
    let mut best: Option<(Rank, Exchange, Value)> = None;
    let mut left = NEWEST;
    store.scan(None, &mut |exchange| {
        left -= 1;
        if let Some(stored) = counting(&exchange.request) {
            let most = best.as_ref().map_or(MOST_LEAVES, |(rank, ..)| rank.leaves + 1);
            let rank = Rank::of(&exchange, &stored, wanted, &body, most);
            if best.as_ref().is_none_or(|(best, ..)| rank < *best) {
                best = Some((rank, exchange, stored));
            }
        }
        let is_there = best.as_ref().is_some_and(|(rank, ..)| *rank == Rank::default());
        left > 0 && !is_there && Instant::now() < deadline
    });
    let (rank, exchange, stored) = best?;
    let head = &exchange.head;
    Some(Near {
        id: head.id,
        answered_ms: head.answered_ms,
        target: head.target.clone(),
        leaves: rank.leaves,
        place: place(&exchange, &stored, wanted, &body),
    })
}

/// The smaller, the nearer; of two alike the newer one is met first and stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_other_dialect: bool,
    leaves: usize,
    is_other_target: bool,
    is_other_beside: bool,
}

impl Rank {
    fn of(stored: &Exchange, body: &Value, wanted: &Wanted, asked: &Value, most: usize) -> Self {
        let head = &stored.head;
        let is_other_beside =
            head.assigned != wanted.assigned || head.asked.query != wanted.asked.query;
        Self {
            is_other_dialect: head.asked.dialect != wanted.asked.dialect,
            leaves: diff::distance(body, asked, most),
            is_other_target: head.target != wanted.target,
            is_other_beside,
        }
    }
}

/// What counts of a body.
fn counting(body: &[u8]) -> Option<Value> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    if let Value::Object(members) = &mut body {
        for name in view::uncounted_fields() {
            match name.split_once('.') {
                None => drop(members.shift_remove(name)),
                Some((outer, inner)) => {
                    let Some(Value::Object(inside)) = members.get_mut(outer) else { continue };
                    if inside.shift_remove(inner).is_some() && inside.is_empty() {
                        members.shift_remove(outer);
                    }
                }
            }
        }
    }
    Some(body)
}

/// The first thing that is not the same, from the largest to the smallest.
fn place(stored: &Exchange, before: &Value, wanted: &Wanted, after: &Value) -> String {
    let (head, asked) = (&stored.head, &wanted.asked);
    let two = |what: &str, stored: &str, asked: &str| {
        format!("it differs in {what}: stored {stored}, asked {asked}")
    };
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    if head.asked.dialect != asked.dialect {
        return two("its dialect", &head.asked.dialect, &asked.dialect);
    }
    let places = diff::differences(before, after, MOST_LEAVES);
    if let Some(first) = places.first() {
        return in_body(first, places.len() - 1);
    }
    if head.target != wanted.target {
        return two("the target only", &head.target, &wanted.target);
    }
    if head.assigned != wanted.assigned {
        let (stored, asked) = (or_none(&head.assigned), or_none(&wanted.assigned));
        return two("the variant of the experiment only", &stored, &asked);
    }
    if head.asked.query != asked.query {
        let (stored, asked) = (or_none(&head.asked.query), or_none(&asked.query));
        return two("the URL's query only", &diff::shortened(&stored), &diff::shortened(&asked));
    }
    if head.key == wanted.key {
        let why = head.not_served.as_deref().unwrap_or("it is too old for this request");
        return format!("it is the same request, but its answer is not served: {why}");
    }
    if head.asked.stream != asked.stream {
        let form = |stream| if stream { "a stream" } else { "a whole answer" };
        return two("its form only", form(head.asked.stream), form(asked.stream));
    }
    match shared(&head.key) == shared(&wanted.key) {
        true => "it differs in the credential only (the tenant)".to_owned(),
        false => "its body is the same: a header that counts differs, such as a beta header, or \
                  what the experiment's variant changes"
            .to_owned(),
    }
}

fn in_body(first: &Difference, more: usize) -> String {
    let (stored, asked) = first.shown();
    let at = if first.path.is_empty() { "the whole body" } else { &first.path };
    let more = match more {
        0 => String::new(),
        1 => " (and 1 more place)".to_owned(),
        more => format!(" (and {more} more places)"),
    };
    format!("it differs at {at}: stored {stored}, asked {asked}{more}")
}

/// The half of a key that is the same for every credential.
fn shared(key: &CacheKey) -> &[u8] {
    let (shared, _) = key.0.split_at(key.0.len() / 2);
    shared
}
