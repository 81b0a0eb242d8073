//! Writes values as YAML that every reader takes for the same.

use serde_json::Map;
use serde_json::Value;

/// A value as lines, indented by `indent` spaces, with a line break at the end.
pub fn block(value: &Value, indent: usize) -> String {
    let mut out = String::new();
    lines(value, indent, &mut out);
    out
}

fn lines(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => object(members, indent, out, true),
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                out.push_str("- ");
                match item {
                    Value::Object(members) if !members.is_empty() => {
                        object(members, indent + 2, out, false);
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push('\n');
                        lines(item, indent + 2, out);
                    }
                    _ => {
                        out.push_str(&flow(item));
                        out.push('\n');
                    }
                }
            }
        }
        _ => {
            out.push_str(&" ".repeat(indent));
            out.push_str(&flow(value));
            out.push('\n');
        }
    }
}

/// Members one below the other; the first may stand behind the dash of a list.
fn object(members: &Map<String, Value>, indent: usize, out: &mut String, first_indented: bool) {
    for (index, (key, value)) in members.iter().enumerate() {
        if first_indented || index > 0 {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&member(key, value, indent));
    }
}

/// A key with its value, of which the first line is not indented.
pub fn member(key: &str, value: &Value, indent: usize) -> String {
    let is_nested = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    match is_nested {
        true => format!("{}:\n{}", word(key), block(value, indent + 2)),
        false => format!("{}: {}\n", word(key), flow(value)),
    }
}

/// A value on one line.
pub fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members =
                members.iter().map(|(key, value)| format!("{}: {}", word(key), flow(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        _ => value.to_string(),
    }
}

/// Without quotes only what no version of YAML takes for anything but this text.
fn word(text: &str) -> String {
    let name = text.strip_prefix("--").unwrap_or(text);
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-:@".contains(&b));
    // Numbers begin otherwise; what is left are the words for truth and nothing.
    let has_meaning = super::scalar::plain(text) != *text || matches!(text, "y" | "Y" | "n" | "N");
    if begins && is_plain && !has_meaning && !text.ends_with(':') {
        return text.to_owned();
    }
    // JSON leaves some characters bare that YAML calls unprintable.
    let quoted = Value::from(text).to_string();
    quoted.chars().fold(String::with_capacity(quoted.len()), |mut out, c| {
        match c as u32 {
            code @ (0x7f..=0x9f | 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                out.push_str(&format!("\\u{code:04x}"));
            }
            _ => out.push(c),
        }
        out
    })
}
