//! The number that an answer comes to.

use crate::chat::Answer;

/// Words before which a reasoning ends.
const MARKS: [&str; 5] = ["####", "answer is", "answer:", "result is", "result:"];

/// Of two numbers that were computed, the last digits may differ.
const TOLERANCE: f64 = 1e-9;

/// A number, and what it counts.
#[derive(Clone, Copy, Debug)]
struct Amount {
    value: f64,
    is_percent: bool,
}

/// Whether both come to a number, and to the same one.
pub fn is_same(a: &Answer, b: &Answer) -> bool {
    let amount = |answer: &Answer| match answer.choices.as_slice() {
        [choice] if choice.tool_calls.is_empty() => amount(&choice.text),
        _ => None,
    };
    let Some((a, b)) = amount(a).zip(amount(b)) else { return false };
    let near = TOLERANCE * a.value.abs().max(b.value.abs());
    a.is_percent == b.is_percent && (a.value - b.value).abs() <= near
}

/// What stands in the last box, else the first number after the last mark, else the last number
/// of the last line. Numbers elsewhere are on the way to something.
fn amount(text: &str) -> Option<Amount> {
    if let Some((_, boxed)) = text.rsplit_once("\\boxed{") {
        return fraction(boxed).or_else(|| amounts(braced(boxed)).next());
    }
    let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let lower = text.to_lowercase();
    let after = MARKS.iter().filter_map(|mark| Some(lower.rfind(mark)? + mark.len())).max();
    let marked = after.and_then(|at| lower.get(at..)).and_then(|rest| rest.lines().next());
    marked.and_then(|rest| amounts(rest).next()).or_else(|| amounts(last).last())
}

/// The text up to the brace that closes what is open.
fn braced(text: &str) -> &str {
    let mut depth = 1;
    let end = text.char_indices().find(|(_, c)| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// `\frac{3}{4}` and `\dfrac{3}{4}`.
fn fraction(text: &str) -> Option<Amount> {
    let text = braced(text);
    let (sign, text) = match text.trim().strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.trim()),
    };
    let rest = text.strip_prefix("\\frac{").or_else(|| text.strip_prefix("\\dfrac{"))?;
    let (over, rest) = rest.split_once('}')?;
    let under = rest.trim().strip_prefix('{')?.strip_suffix('}')?;
    let value = sign * over.trim().parse::<f64>().ok()? / under.trim().parse::<f64>().ok()?;
    value.is_finite().then_some(Amount { value, is_percent: false })
}

/// The numbers of a line in their order.
fn amounts(line: &str) -> impl Iterator<Item = Amount> {
    // A sign belongs to a number when nothing stands before it that it could take from.
    let line = line.replace(['−', '–'], "-");
    let mut found = Vec::new();
    let chars: Vec<char> = line.chars().collect();
    let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let mut at = 0;
    while at < chars.len() {
        let glued = at > 0 && chars.get(at - 1).is_some_and(|c| c.is_alphanumeric() || *c == '_');
        if !digit(at) || glued {
            at += 1;
            continue;
        }
        let before = |back: usize| at.checked_sub(back).and_then(|at| chars.get(at)).copied();
        let signed = before(1) == Some('-')
            && before(2).is_none_or(|c| !c.is_alphanumeric() && c != ')' && c != ']');
        let (digits, end) = digits(&chars, at);
        if let Ok(value) = digits.parse::<f64>() {
            let value = if signed { -value } else { value };
            let rest: String = chars.iter().skip(end).take(3).collect();
            let is_percent = rest.trim_start().starts_with('%') || rest.starts_with("\\%");
            found.push(Amount { value, is_percent });
        }
        at = end;
    }
    found.into_iter()
}

/// The digits of the number that begins there, without what groups them, and where it ends.
fn digits(chars: &[char], from: usize) -> (String, usize) {
    let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let mut digits = String::new();
    let mut at = from;
    let mut is_fraction = false;
    while let Some(c) = chars.get(at) {
        match c {
            c if c.is_ascii_digit() => digits.push(*c),
            // Three digits and no fourth: 1,234 is one number, 1,23 are two.
            ',' if !is_fraction && (1..=3).all(|n| digit(at + n)) && !digit(at + 4) => {}
            '.' if !is_fraction && digit(at + 1) => {
                is_fraction = true;
                digits.push('.');
            }
            'e' | 'E' if digit(at + 1) || (chars.get(at + 1) == Some(&'-') && digit(at + 2)) => {
                digits.push('e');
                digits.extend(chars.get(at + 1));
                at += 1;
                is_fraction = true;
            }
            _ => break,
        }
        at += 1;
    }
    (digits, at)
}
