//! Rust source as tokens with line numbers, so that comments and literals trip no check.

use std::collections::BTreeSet;

/// One word or mark; `::` is one mark, and a literal of any kind is `""`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token<'a> {
    pub text: &'a str,
    pub line: usize,
}

/// The tokens outside test-only items, and the lines those items take up.
pub struct Split<'a> {
    pub code: Vec<Token<'a>>,
    pub test_lines: BTreeSet<usize>,
}

const LITERAL: &str = "\"\"";

pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (len, kept) = next(rest, first);
        let (eaten, after) = rest.split_at(len);
        if let Some(text) = kept {
            found.push(Token { text, line });
        }
        line += eaten.matches('\n').count();
        rest = after;
    }
    found
}

/// Takes apart the items marked `#[cfg(test)]` (or `cfg(all(test, …))`) and the rest.
pub fn outside_tests<'a>(all: &[Token<'a>]) -> Split<'a> {
    let mut split = Split { code: Vec::new(), test_lines: BTreeSet::new() };
    let mut at = 0;
    while let Some(token) = all.get(at) {
        if is_test_mark(&all[at..]) {
            let end = item_end(all, at);
            let last = all.get(end - 1).map_or(token.line, |t| t.line);
            split.test_lines.extend(token.line..=last);
            at = end;
        } else {
            split.code.push(*token);
            at += 1;
        }
    }
    split
}

/// Names in `#[cfg(test)] mod NAME;`: modules whose files hold only tests.
pub fn test_modules<'a>(all: &[Token<'a>]) -> Vec<&'a str> {
    let starts = (0..all.len()).filter(|at| is_test_mark(&all[*at..]));
    let items = starts.map(|at| &all[at..item_end(all, at)]);
    let outline = |item: &[Token<'a>]| match item {
        [.., word, name, end] if word.text == "mod" && end.text == ";" => Some(name.text),
        _ => None,
    };
    items.filter_map(outline).collect()
}

/// Whether the texts of the first tokens are `wanted`.
pub fn begins(tokens: &[Token<'_>], wanted: &[&str]) -> bool {
    tokens.len() >= wanted.len() && tokens.iter().zip(wanted).all(|(t, w)| t.text == *w)
}

/// Index just past the bracket that closes the one at `open`.
pub fn past_close(all: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in all.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    all.len()
}

fn is_test_mark(rest: &[Token<'_>]) -> bool {
    begins(rest, &["#", "[", "cfg", "(", "test", ")"])
        || begins(rest, &["#", "[", "cfg", "(", "all", "(", "test"])
}

/// Index just past the item whose first attribute starts at `at`.
fn item_end(all: &[Token<'_>], mut at: usize) -> usize {
    while begins(&all[at..], &["#", "["]) {
        at = past_close(all, at + 1);
    }
    let import = begins(&all[at..], &["use"]);
    while let Some(token) = all.get(at) {
        match token.text {
            ";" => return at + 1,
            ")" | "]" | "}" => return at,
            "{" if !import => return past_close(all, at),
            "(" | "[" | "{" => at = past_close(all, at),
            _ => at += 1,
        }
    }
    all.len()
}

/// Length of what starts `rest`, and its token unless it is a comment or a blank.
fn next(rest: &str, first: char) -> (usize, Option<&str>) {
    if let Some(len) = comment(rest) {
        return (len, None);
    }
    if let Some(len) = literal(rest) {
        return (len, Some(LITERAL));
    }
    let word = |text: &str| text.find(|c: char| !in_word(c)).unwrap_or(text.len());
    match first {
        _ if first.is_whitespace() => (first.len_utf8(), None),
        _ if in_word(first) => (word(rest), Some(&rest[..word(rest)])),
        // What is no literal is a lifetime or a label.
        '\'' => (1 + word(&rest[1..]), Some(&rest[..1 + word(&rest[1..])])),
        ':' if rest.starts_with("::") => (2, Some("::")),
        _ => (first.len_utf8(), Some(&rest[..first.len_utf8()])),
    }
}

fn in_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let step = &rest.as_bytes()[at..];
        if step.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if step.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(rest.len())
}

/// Length of the string, byte string or character that starts `rest`.
fn literal(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|p| {
        let after = rest.strip_prefix(p).unwrap_or("");
        let hashes = after.trim_start_matches('#');
        hashes.starts_with('"') && (p.ends_with('r') || hashes.len() == after.len())
    });
    match prefix {
        Some(p) if p.ends_with('r') => Some(p.len() + raw(&rest[p.len()..])),
        Some(p) => Some(p.len() + quoted(&rest[p.len()..], '"')),
        None if rest.starts_with("b'") => Some(1 + quoted(&rest[1..], '\'')),
        None => character(rest),
    }
}

/// `r#"…"#` after its letter: ends at a quote with as many hashes as it began with.
fn raw(rest: &str) -> usize {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let close = format!("\"{}", "#".repeat(hashes));
    let body = &rest[hashes + 1..];
    hashes + 1 + body.find(&close).map_or(body.len(), |at| at + close.len())
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// A quote opens a character when it is escaped or closed right after one; else a lifetime.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let first = body.chars().next()?;
    let closed = body[first.len_utf8()..].starts_with('\'');
    (first == '\\' || closed).then(|| quoted(rest, '\''))
}

#[cfg(test)]
mod tests {
    use super::{outside_tests, test_modules, tokens};

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|t| t.text).collect()
    }

    #[test]
    fn comments_and_literals_hide_what_they_hold() {
        let cases: [(&str, &[&str]); 12] = [
            ("a // b", &["a"]),
            ("a /* b /* c */ d */ e", &["a", "e"]),
            (r#"a("b \" c", d)"#, &["a", "(", "\"\"", ",", "d", ")"]),
            (r###"a r#"b " c"# d"###, &["a", "\"\"", "d"]),
            (r#"b"x" c"y" br"\" z"#, &["\"\"", "\"\"", "\"\"", "z"]),
            (r"'x' '\'' '\u{1F600}' b'\'' y", &["\"\"", "\"\"", "\"\"", "\"\"", "y"]),
            ("&'a str; 'l: loop", &["&", "'a", "str", ";", "'l", ":", "loop"]),
            ("'{' '\"' x", &["\"\"", "\"\"", "x"]),
            ("a::b", &["a", "::", "b"]),
            ("r#type bread", &["r", "#", "type", "bread"]),
            ("\"// no\" x", &["\"\"", "x"]),
            ("é – ü", &["é", "–", "ü"]),
        ];
        for (source, wanted) in cases {
            assert_eq!(texts(source), wanted, "{source}");
        }
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let source = "a\n/* \n */ \"x\ny\" b\nr\"\n\" c";
        let at: Vec<(&str, usize)> = tokens(source).iter().map(|t| (t.text, t.line)).collect();
        assert_eq!(at, [("a", 1), ("\"\"", 3), ("b", 4), ("\"\"", 5), ("c", 6)]);
    }

    #[test]
    fn test_only_items_are_taken_out_whole() {
        let source = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod t {\n fn b() { c } \n}\nfn d() {}\n\
                      #[cfg(test)]\nuse a::{b, c};\n#[cfg(all(test, unix))]\nfn e() -> [u8; 2] { f }\ng\n\
                      struct S { x: u8, #[cfg(test)] y: u8 }\n#[cfg(not(test))]\nh";
        let all = tokens(source);
        let split = outside_tests(&all);
        let kept: Vec<&str> = split.code.iter().map(|t| t.text).collect();
        assert_eq!(
            kept.join(" "),
            "fn a ( ) { } fn d ( ) { } g struct S { x : u8 , } # [ cfg ( not ( test ) ) ] h"
        );
        let lines: Vec<usize> = split.test_lines.into_iter().collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 8, 9, 10, 11, 13]);
    }

    #[test]
    fn modules_of_tests_in_their_own_file_are_named() {
        let source = "mod a; #[cfg(test)] mod tests; #[cfg(test)] #[path = \"x\"] pub(crate) mod b; #[cfg(test)] mod c {}";
        assert_eq!(test_modules(&tokens(source)), ["tests", "b"]);
    }
}
