//! Redaction: what rules find, that what is left is still what it was, and that nothing else is
//! stored or judged.

mod disk;
mod stream;
mod text;

use understudy::redact::Found;
use understudy::redact::Redactor;
use understudy::redact::Rule;

/// Rules that come with the program, by their names.
pub fn built_in(names: &[&str]) -> Redactor {
    Redactor::new(names.iter().map(|name| Rule::built_in(name).unwrap()).collect())
}

/// One rule of one's own.
pub fn own(name: &str, pattern: &str) -> Redactor {
    Redactor::new(vec![Rule::own(name, pattern).unwrap()])
}

/// A text as it is stored.
pub fn redacted(rules: &Redactor, text: &str) -> String {
    rules.text(text, &mut Found::new()).unwrap_or_else(|| text.to_owned())
}
