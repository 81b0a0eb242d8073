//! What a word without quotes means, by the rules of YAML 1.1 that Kubernetes' own reader follows.

use serde_json::Number;
use serde_json::Value;

/// Nothing, truth, a number, or else the text itself.
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        _ => number(text).map_or_else(|| Value::from(text), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let digits = digits.replace('_', "");
    if let Some(whole) = whole(&digits) {
        let signed = i128::from(whole) * sign;
        let small = i64::try_from(signed).ok().map(Number::from);
        return small.or_else(|| u64::try_from(signed).ok().map(Number::from));
    }
    let is_decimal = digits.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let decimal: f64 = digits.parse().ok().filter(|_| is_decimal)?;
    Number::from_f64(decimal * sign as f64)
}

/// With a zero in front it is octal, as in the mode of a file.
fn whole(digits: &str) -> Option<u64> {
    for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            return u64::from_str_radix(digits, radix).ok();
        }
    }
    match digits.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        Some(octal) => u64::from_str_radix(octal, 8).ok(),
        None => digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::plain;

    #[test]
    fn words_mean_what_kubernetes_takes_them_for() {
        for (text, wanted) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!("y")),
            ("0644", json!(420)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("1e3", json!(1000.0)),
            ("1.5", json!(1.5)),
            ("089", json!(89.0)),
            ("1.2.3", json!("1.2.3")),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("-", json!("-")),
            (".", json!(".")),
            (".inf", json!(".inf")),
            ("500m", json!("500m")),
            ("2026-01-01", json!("2026-01-01")),
        ] {
            assert_eq!(plain(text), wanted, "{text}");
        }
    }
}
