//! Makes inputs nobody would send out of inputs that somebody sent.

use fastrand::Rng;
use serde_json::Value;
use serde_json::json;

/// The longest input made.
const MAX_BYTES: usize = 200_000;

/// One of the seeds, changed a few times over.
pub fn mutated(seeds: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..6) {
        input = match random.u8(..10) {
            0 => flipped(input, random),
            1 => cut(input, random),
            2 => doubled(input, random),
            3 => spliced(&input, &seeds[random.usize(..seeds.len())], random),
            4 => events_shuffled(&input, random),
            _ => with_other_json(&input, random),
        };
        input.truncate(MAX_BYTES);
    }
    input
}

fn range(length: usize, random: &mut Rng) -> std::ops::Range<usize> {
    let start = random.usize(..=length);
    start..(start + random.usize(..64)).min(length)
}

fn flipped(mut input: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    for _ in 0..random.usize(1..8) {
        if input.is_empty() {
            break;
        }
        let at = random.usize(..input.len());
        input[at] = *random.choice(b"\"{}[]:,\\\n\r\0 0129eE-+.u\xFF\xC3x").unwrap();
    }
    input
}

fn cut(mut input: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    if random.bool() {
        let at = random.usize(..=input.len());
        input.truncate(at);
    } else {
        let range = range(input.len(), random);
        input.drain(range);
    }
    input
}

fn doubled(mut input: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    let piece = input[range(input.len(), random)].to_vec();
    let at = random.usize(..=input.len());
    input.splice(at..at, piece);
    input
}

fn spliced(one: &[u8], other: &[u8], random: &mut Rng) -> Vec<u8> {
    let (head, tail) = (random.usize(..=one.len()), random.usize(..=other.len()));
    [&one[..head], &other[tail..]].concat()
}

/// Blank-line separated events, some left out, some twice, some moved.
fn events_shuffled(input: &[u8], random: &mut Rng) -> Vec<u8> {
    let text = String::from_utf8_lossy(input);
    let mut events: Vec<&str> = text.split_inclusive("\n\n").collect();
    for _ in 0..random.usize(1..4) {
        if events.is_empty() {
            break;
        }
        let at = random.usize(..events.len());
        match random.u8(..3) {
            0 => drop(events.remove(at)),
            1 => events.insert(random.usize(..events.len()), events[at]),
            _ => {
                let other = random.usize(..events.len());
                events.swap(at, other);
            }
        }
    }
    events.concat().into_bytes()
}

/// One of the JSON values in it, with a node changed for something of another kind.
fn with_other_json(input: &[u8], random: &mut Rng) -> Vec<u8> {
    let text = String::from_utf8_lossy(input);
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let is_one = serde_json::from_str::<Value>(&text).is_ok();
    if is_one {
        lines = vec![text.into_owned()];
    }
    for _ in 0..4 {
        let at = random.usize(..lines.len());
        let json_at = lines[at].find(['{', '[']).unwrap_or(0);
        let (head, json) = lines[at].split_at(json_at);
        let Ok(mut value) = serde_json::from_str::<Value>(json.trim_end()) else { continue };
        let pool = value.clone();
        for _ in 0..random.usize(1..4) {
            let other = other(&pool, random);
            change(&mut value, other, random);
        }
        lines[at] = format!("{head}{value}");
        break;
    }
    lines.join("\n").into_bytes()
}

/// Walks down at random and puts `other` where it ends up.
fn change(value: &mut Value, other: Value, random: &mut Rng) {
    let goes_on = random.u8(..5) > 0;
    match value {
        Value::Object(fields) if goes_on && !fields.is_empty() => {
            let at = random.usize(..fields.len());
            let key = fields.keys().nth(at).unwrap().clone();
            match random.u8(..12) {
                0 => drop(fields.shift_remove(&key)),
                _ => change(&mut fields[&key], other, random),
            }
        }
        Value::Array(items) if goes_on && !items.is_empty() => {
            let at = random.usize(..items.len());
            match random.u8(..12) {
                0 => drop(items.remove(at)),
                1 => items.insert(at, items[at].clone()),
                _ => change(&mut items[at], other, random),
            }
        }
        _ => *value = other,
    }
}

fn other(pool: &Value, random: &mut Rng) -> Value {
    match random.u8(..16) {
        0 => Value::Null,
        1 => json!(""),
        2 => json!([]),
        3 => json!({}),
        4 => json!(-1),
        5 => json!(u64::MAX),
        6 => json!(1e300),
        7 => json!(true),
        8 => json!("\u{0}\u{1F600}\u{FFFF}"),
        9 => json!([[[[[[[[{"a": [{}]}]]]]]]]]),
        10 => json!(u32::MAX),
        11 => json!("data:image/png;base64,"),
        12 => json!(0.5),
        _ => node(pool, random).clone(),
    }
}

fn node<'v>(value: &'v Value, random: &mut Rng) -> &'v Value {
    let inner: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    match inner.is_empty() || random.u8(..4) == 0 {
        true => value,
        false => node(inner[random.usize(..inner.len())], random),
    }
}
