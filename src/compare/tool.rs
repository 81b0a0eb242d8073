//! Tool calls by what they do: names and arguments.

use serde_json::Number;
use serde_json::Value;

use crate::chat::Answer;

/// More calls than this are compared in their order, because trying every order takes their square.
const MOST: usize = 256;

/// Whether both only call tools, and the same ones. The calls of one answer are made side by side,
/// so their order says nothing.
pub fn is_same(a: &Answer, b: &Answer) -> bool {
    match (calls(a), calls(b)) {
        (Some(a), Some(b)) => a.len() == b.len() && pair_up(&a, b),
        _ => false,
    }
}

/// Names and arguments of an answer that only calls tools.
fn calls(answer: &Answer) -> Option<Vec<(&str, Value)>> {
    let [choice] = answer.choices.as_slice() else { return None };
    if choice.tool_calls.is_empty() || !choice.text.trim().is_empty() {
        return None;
    }
    choice
        .tool_calls
        .iter()
        .map(|call| Some((call.name.as_str(), call.arguments_json()?)))
        .collect()
}

fn pair_up(a: &[(&str, Value)], mut b: Vec<(&str, Value)>) -> bool {
    let is_one = |x: &(&str, Value), y: &(&str, Value)| x.0 == y.0 && same(&x.1, &y.1);
    if a.len() > MOST {
        return a.iter().zip(&b).all(|(x, y)| is_one(x, y));
    }
    a.iter().all(|x| match b.iter().position(|y| is_one(x, y)) {
        Some(at) => {
            b.swap_remove(at);
            true
        }
        None => false,
    })
}

/// Equal values: keys in any order, numbers by what they are worth.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => is_worth(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Whole numbers are compared as such: beyond 2^53 different ones are the same as floats.
fn is_worth(a: &Number, b: &Number) -> bool {
    let whole = |n: &Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_f64() == b.as_f64(),
    }
}
