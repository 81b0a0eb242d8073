//! Shape: first lines, lengths of files and functions, and what may not stand in shipped code.

use super::{
    File, Finding, files, lines, over, paths,
    scan::{Token, begins, outside_tests, past_close, test_modules, tokens},
    settle,
};

/// Lines a source file may have, tests aside.
const FILE_LINES: usize = 400;
/// Lines a function may have, from `fn` to its closing brace.
const FUNCTION_LINES: usize = 80;

/// Ways to end the process or leave work undone, as tokens.
const BANNED: &[&[&str]] = &[
    &[".", "unwrap", "("],
    &[".", "expect", "("],
    &[".", "unwrap_err", "("],
    &[".", "expect_err", "("],
    &["::", "unwrap"],
    &["::", "expect"],
    &["panic", "!"],
    &["todo", "!"],
    &["unimplemented", "!"],
    &["dbg", "!"],
    &["unsafe"],
];

#[test]
fn every_rust_file_begins_by_saying_what_it_is_for() {
    settle(&over(File::is_rust, first_line));
}

#[test]
fn source_files_and_functions_stay_short() {
    settle(&outside_test_files(sizes));
}

#[test]
fn shipped_code_neither_panics_nor_is_unfinished() {
    settle(&outside_test_files(banned));
}

#[test]
fn an_ignored_test_says_why() {
    settle(&over(File::is_rust, ignored));
}

#[test]
fn no_file_is_a_mod_rs() {
    let bad = |p: &String| p.rsplit('/').next() == Some("mod.rs");
    let say = "put `x/mod.rs` beside its folder, as `x.rs`";
    let found: Vec<Finding> =
        paths().iter().filter(|p| bad(p)).map(|p| Finding::new(p, 1, say)).collect();
    settle(&found);
}

/// Findings in source files, those that hold only tests left out.
fn outside_test_files(check: fn(&str, &str) -> Vec<Finding>) -> Vec<Finding> {
    let all: Vec<File> = files().into_iter().filter(File::is_source).collect();
    let tests: Vec<String> = all.iter().flat_map(|f| test_stems(&f.path, &f.text)).collect();
    let only_tests = |path: &str| {
        let stems = tests.iter().filter_map(|stem| path.strip_prefix(stem.as_str()));
        stems.into_iter().any(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    let shipped = all.iter().filter(|f| !only_tests(&f.path));
    shipped.flat_map(|f| check(&f.path, &f.text)).collect()
}

/// Where the modules that a file declares by `#[cfg(test)] mod NAME;` live, without the ending.
fn test_stems(path: &str, text: &str) -> Vec<String> {
    let folder = match path.trim_end_matches(".rs") {
        "src/lib" | "src/main" => "src",
        other => other,
    };
    test_modules(&tokens(text)).into_iter().map(|name| format!("{folder}/{name}")).collect()
}

fn first_line(path: &str, text: &str) -> Vec<Finding> {
    let first = text.lines().next().unwrap_or("");
    let good = first.strip_prefix("//! ").is_some_and(|said| said.trim().len() > 3);
    let say = "begin the file with one `//!` sentence that says what it is for";
    if good { Vec::new() } else { vec![Finding::new(path, 1, say)] }
}

fn sizes(path: &str, text: &str) -> Vec<Finding> {
    let all = tokens(text);
    let split = outside_tests(&all);
    let mut found = Vec::new();
    let long = text.lines().count() - split.test_lines.len();
    if long > FILE_LINES {
        let say = format!("{long} lines before tests, {FILE_LINES} allowed: split the file");
        found.push(Finding::new(path, FILE_LINES, say));
    }
    for (name, first, last) in functions(&split.code) {
        let long = last - first + 1;
        if long > FUNCTION_LINES {
            let say = format!("`{name}` has {long} lines, {FUNCTION_LINES} allowed: divide it");
            found.push(Finding::new(path, first, say));
        }
    }
    found
}

/// Name, first and last line of each function that has a body.
fn functions<'a>(code: &[Token<'a>]) -> Vec<(&'a str, usize, usize)> {
    let mut found = Vec::new();
    for at in (0..code.len()).filter(|at| code[*at].text == "fn") {
        let Some(name) = code.get(at + 1).filter(|t| t.text != "(") else { continue };
        let mut end = at + 2;
        while code.get(end).is_some_and(|t| !["{", ";"].contains(&t.text)) {
            end = past_close(code, end);
        }
        if code.get(end).is_some_and(|t| t.text == "{") {
            let last = code[past_close(code, end) - 1].line;
            found.push((name.text, code[at].line, last));
        }
    }
    found
}

fn banned(path: &str, text: &str) -> Vec<Finding> {
    let all = tokens(text);
    let code = outside_tests(&all).code;
    let hit = |at: usize| BANNED.iter().find(|b| begins(&code[at..], b)).map(|b| (at, b.concat()));
    let say = |what: String| format!("`{what}` outside tests: return an error, or match the case");
    (0..code.len())
        .filter_map(hit)
        .map(|(at, what)| Finding::new(path, code[at].line, say(what)))
        .collect()
}

fn ignored(path: &str, text: &str) -> Vec<Finding> {
    let all = tokens(text);
    let bare = |at: &usize| begins(&all[*at..], &["#", "[", "ignore", "]"]);
    let say = "say why the test does not run: `#[ignore = \"…\"]`";
    (0..all.len()).filter(bare).map(|at| Finding::new(path, all[at].line, say)).collect()
}

#[cfg(test)]
mod tests {
    use super::{banned, first_line, functions, ignored, lines, sizes, test_stems, tokens};

    const NONE: [usize; 0] = [];

    #[test]
    fn a_file_without_a_purpose_is_found() {
        for good in ["//! What it is for.\n", "//! What it is for.\n//! More."] {
            assert_eq!(lines(&first_line("src/a.rs", good)), NONE, "{good}");
        }
        for bad in ["", "\n//! Late.", "// Plain.", "//!", "//! ", "use a;"] {
            assert_eq!(lines(&first_line("src/a.rs", bad)), [1], "{bad}");
        }
    }

    #[test]
    fn a_file_may_be_as_long_as_the_limit_and_its_tests_do_not_count() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\nfn a() {}\n".repeat(300));
        let text = |n: usize| format!("{}{tests}", "const A: u8 = 1;\n".repeat(n));
        assert_eq!(lines(&sizes("src/a.rs", &text(400))), NONE);
        assert_eq!(lines(&sizes("src/a.rs", &text(401))), [400]);
    }

    #[test]
    fn a_function_may_be_as_long_as_the_limit() {
        let text =
            |n: usize| format!("\npub fn a(x: [u8; 2]) -> u8 {{\n{}}}\n", "x; // }\n".repeat(n));
        assert_eq!(lines(&sizes("src/a.rs", &text(78))), NONE);
        assert_eq!(lines(&sizes("src/a.rs", &text(79))), [2]);
    }

    #[test]
    fn functions_are_found_with_their_lines() {
        let text = "fn a() {}\ntrait T { fn b(&self);\n fn c<const N: usize>(f: fn(u8)) where X: Y {\n \
                    let d = \"}\"; fn e() { '}' }\n }\n}";
        assert_eq!(functions(&tokens(text)), [("a", 1, 1), ("c", 3, 5), ("e", 4, 4)]);
    }

    #[test]
    fn what_may_panic_is_found_outside_tests_only() {
        for good in [
            "a.unwrap_or(b); a.unwrap_or_default(); fn expect(x: u8) {} #![forbid(unsafe_code)]",
            "// .unwrap() unsafe\nlet a = \"panic!\"; use std::panic::catch_unwind;",
            "#[cfg(test)]\nmod tests { fn a() { b.unwrap(); panic!() } }",
        ] {
            assert_eq!(lines(&banned("src/a.rs", good)), NONE, "{good}");
        }
        for bad in [
            "\na.unwrap()",
            "a\n.expect(\"x\")",
            "b;\nunsafe { a() }",
            "\npanic!(\"x\")",
            "\ntodo!()",
            "\nunimplemented!()",
            "\ndbg!(a)",
            "\na.map(Option::unwrap)",
            "#[cfg(test)] mod t {}\nfn a() { b.unwrap_err() }",
        ] {
            assert_eq!(lines(&banned("src/a.rs", bad)), [2], "{bad}");
        }
    }

    #[test]
    fn modules_of_tests_are_found_where_they_live() {
        let text = "mod a; #[cfg(test)] mod tests;";
        assert_eq!(test_stems("src/stats/rule.rs", text), ["src/stats/rule/tests"]);
        assert_eq!(test_stems("src/lib.rs", text), ["src/tests"]);
    }

    #[test]
    fn a_test_ignored_without_a_reason_is_found() {
        assert_eq!(lines(&ignored("a.rs", "#[test]\n#[ignore]\nfn a() {}")), [2]);
        assert_eq!(lines(&ignored("a.rs", "#[ignore = \"takes minutes\"]\nfn a() {}")), NONE);
    }
}
