//! Text with everything evened out that does not change what it says.

use crate::chat::Answer;

/// What an answer says and calls: case, typography, markup at the edges of words, punctuation at
/// their ends and white space evened out. What could change the meaning inside a word stays, such
/// as the sign of a number.
pub fn even(answer: &Answer) -> Vec<(String, Vec<(&str, &str)>)> {
    let choices = answer.choices.iter().map(|choice| {
        let calls = choice.tool_calls.iter();
        let calls = calls.map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
        (evened(choice.said()), calls)
    });
    choices.collect()
}

/// As [`even`], of plain text.
pub fn evened(text: &str) -> String {
    let lower: String = text.chars().map(plain).flat_map(char::to_lowercase).collect();
    let words = lower.split_whitespace().map(bare).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Nothing but its letters and digits, lower case: what is left when only the words count.
pub fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

fn plain(c: char) -> char {
    match c {
        '‘' | '’' | '‚' | '‛' | '`' | '´' => '\'',
        '“' | '”' | '„' | '«' | '»' => '"',
        '‐' | '‑' | '‒' | '–' | '—' | '−' => '-',
        '\u{a0}' | '\u{202f}' | '\u{2007}' => ' ',
        '…' => '.',
        other => other,
    }
}

/// A word without markup around it and punctuation behind it.
fn bare(word: &str) -> &str {
    let is_markup = |c: char| matches!(c, '*' | '_' | '"' | '\'' | '#');
    let is_end = |c: char| is_markup(c) || matches!(c, '.' | ',' | ';' | ':' | '!' | '?');
    word.trim_start_matches(is_markup).trim_end_matches(is_end)
}
