//! Every small change of a JSON value, and other spellings of the same value.

use std::fmt::Write;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// Of the elements of a longer list, or the members of a longer object, only so many are changed.
const MOST: usize = 8;

/// The value with one change each, and the JSON pointer of what was changed; an even choice of all
/// changes where together they have more bytes than `most_bytes`.
pub fn all(value: &Value, most_bytes: usize) -> Vec<(String, Value)> {
    let mut count = 0;
    visit(value, String::new(), &mut |_, _, _| count += 1);
    let every = (count * value.to_string().len()).div_ceil(most_bytes).max(1);
    let (mut changes, mut number) = (Vec::new(), 0);
    visit(value, String::new(), &mut |of, at, changed| {
        number += 1;
        if number % every == 0 {
            let mut whole = value.clone();
            *whole.pointer_mut(at).unwrap() = changed;
            changes.push((of.to_owned(), whole));
        }
    });
    changes
}

/// Calls `change` with the path of what is changed, the path of what is replaced for that, and what
/// stands there then: a member is removed by another object in place of its own.
fn visit(value: &Value, path: String, change: &mut dyn FnMut(&str, &str, Value)) {
    for other in others(value) {
        change(&path, &path, other);
    }
    match value {
        Value::Object(fields) => {
            for key in sample(fields.len()).filter_map(|at| fields.keys().nth(at)) {
                let below = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                let mut fewer = fields.clone();
                fewer.shift_remove(key);
                change(&below, &path, Value::Object(fewer));
                visit(&fields[key], below, change);
            }
        }
        Value::Array(items) => {
            for at in sample(items.len()) {
                visit(&items[at], format!("{path}/{at}"), change);
            }
        }
        _ => {}
    }
}

/// Another value of the same type, values of other types, and of containers what has one element
/// or member more, and of lists what has one less or two swapped.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![json!(0), json!("null"), json!({})],
        Value::Bool(flag) => vec![json!(!flag), json!(flag.to_string()), Value::Null],
        Value::Number(number) => {
            let next = number.as_f64().unwrap() + 0.5;
            vec![json!(next), json!(next + 0.5), json!(number.to_string()), Value::Null]
        }
        Value::String(text) => {
            let wrapped = json!([{"type": "text", "text": text}]);
            vec![
                json!(format!("{text}x")),
                json!(""),
                json!(7),
                json!([text]),
                wrapped,
                Value::Null,
            ]
            .into_iter()
            .filter(|other| other != value)
            .collect()
        }
        Value::Array(items) => of_list(items),
        Value::Object(fields) => of_object(fields),
    }
}

fn of_list(items: &[Value]) -> Vec<Value> {
    let mut out = vec![json!({}), json!("x"), Value::Null];
    for at in sample(items.len()) {
        let mut shorter = items.to_vec();
        shorter.remove(at);
        out.push(Value::Array(shorter));
        let mut longer = items.to_vec();
        longer.insert(at, items[at].clone());
        out.push(Value::Array(longer));
        let other = items.iter().position(|item| *item != items[at]);
        if let Some(other) = other {
            let mut swapped = items.to_vec();
            swapped.swap(at, other);
            out.push(Value::Array(swapped));
        }
    }
    for added in [Value::Null, json!("x"), json!({})] {
        let mut longer = items.to_vec();
        longer.push(added);
        out.push(Value::Array(longer));
    }
    if let [one] = items {
        out.push(one.clone());
    }
    out
}

fn of_object(fields: &Map<String, Value>) -> Vec<Value> {
    let mut out = vec![json!([]), json!([fields]), json!("x")];
    for added in [Value::Null, json!(1), json!({}), json!([])] {
        let mut more = fields.clone();
        more.insert("x_added".to_owned(), added);
        out.push(Value::Object(more));
    }
    out
}

/// Indices of a list, all of a short one.
fn sample(len: usize) -> Box<dyn Iterator<Item = usize>> {
    match len {
        0..=MOST => Box::new(0..len),
        _ => Box::new((0..MOST).map(move |n| n * (len - 1) / (MOST - 1))),
    }
}

/// The same value: keys in another order, white space everywhere, numbers written otherwise.
pub fn respelled(value: &Value, order: usize) -> String {
    let mut out = String::new();
    write(value, order, &mut out);
    out
}

fn write(value: &Value, order: usize, out: &mut String) {
    let space = [" ", "\n", "\t "][order % 3];
    match value {
        Value::Object(fields) => {
            let mut members: Vec<_> = fields.iter().collect();
            match order % 3 {
                0 => members.reverse(),
                1 => members.sort_by_key(|(key, _)| key.len()),
                _ => members.rotate_left(fields.len() / 2),
            }
            out.push('{');
            for (at, (key, value)) in members.into_iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                write!(out, "{comma}{space}{}{space}:", json!(key)).unwrap();
                write(value, order, out);
            }
            out.push_str(space);
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(space);
                write(item, order, out);
            }
            out.push_str(space);
            out.push(']');
        }
        Value::Number(number) => {
            let is_small = number.as_i64().is_some_and(|n| n.abs() < 1 << 50);
            let suffix = if is_small { ["", ".0", "e0"][order % 3] } else { "" };
            write!(out, "{number}{suffix}").unwrap();
        }
        other => write!(out, "{other}").unwrap(),
    }
}
