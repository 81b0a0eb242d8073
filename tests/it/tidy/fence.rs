//! Fences: which modules may touch a crate, the clock, the environment or the terminal.

use super::{
    File, Finding,
    layer::{declared, module_of},
    lines, over,
    scan::{Token, begins, outside_tests, tokens},
    settle, text_of,
};

/// Who may use what stands behind a fence.
enum Reach {
    /// These modules and no other; `main` is the command line's root.
    Only(&'static [&'static str]),
    /// Every module but the words and rules, which stand above `FIRST_RESOURCE`.
    Impure,
    /// As `Impure`, and these words or rules.
    ImpureAnd(&'static [&'static str]),
}

struct Fence {
    /// What is looked for: a crate's name, or the tokens of a path or macro.
    what: What,
    reach: Reach,
    remedy: &'static str,
}

enum What {
    Crate(&'static str),
    Path(&'static [&'static str]),
}

/// Modules declared above this one in `src/lib.rs` are words and rules: no IO, clock or chance.
const FIRST_RESOURCE: &str = "metrics";

const TERMINAL: Reach = Reach::Only(&["cli", "main"]);
const ENVIRONMENT: Reach = Reach::Only(&["secrets", "app", "cli", "main"]);
const PRINT: &str = "return the text, or log it with `tracing`";
const SETTING: &str = "take the value as a parameter or from the configuration";
const CLOCK: &str = "take the time as a parameter";
const CHANCE: &str = "take the random number or the id as a parameter";

const FENCES: &[Fence] = &[
    Fence {
        what: What::Crate("axum"),
        reach: Reach::Only(&["http", "app", "simulate", "webhook"]),
        remedy: "use the types of the `http` crate, and leave routing to the edge",
    },
    Fence {
        what: What::Crate("reqwest"),
        reach: Reach::Only(&["upstream", "secrets"]),
        remedy: "call through `upstream`",
    },
    Fence {
        what: What::Crate("sled"),
        reach: Reach::Only(&["store"]),
        remedy: "add a method to `store`",
    },
    Fence {
        what: What::Crate("moka"),
        reach: Reach::Only(&["cache"]),
        remedy: "go through `cache`",
    },
    Fence {
        what: What::Crate("statrs"),
        reach: Reach::Only(&["stats"]),
        remedy: "add a function to `stats`",
    },
    Fence {
        what: What::Crate("tokio"),
        reach: Reach::Impure,
        remedy: "words and rules are plain functions: await and spawn in a resource",
    },
    Fence { what: What::Crate("fastrand"), reach: Reach::Impure, remedy: CHANCE },
    Fence { what: What::Crate("uuid"), reach: Reach::Impure, remedy: CHANCE },
    Fence { what: What::Path(&["SystemTime", "::", "now"]), reach: Reach::Impure, remedy: CLOCK },
    Fence { what: What::Path(&["Instant", "::", "now"]), reach: Reach::Impure, remedy: CLOCK },
    Fence { what: What::Path(&["Timestamp", "::", "now"]), reach: Reach::Impure, remedy: CLOCK },
    Fence { what: What::Path(&["Zoned", "::", "now"]), reach: Reach::Impure, remedy: CLOCK },
    Fence {
        what: What::Path(&["fs", "::"]),
        reach: Reach::ImpureAnd(&["config"]),
        remedy: "take the bytes as a parameter: words and rules read no file",
    },
    Fence { what: What::Path(&["env", "::", "var"]), reach: ENVIRONMENT, remedy: SETTING },
    Fence { what: What::Path(&["env", "::", "vars"]), reach: ENVIRONMENT, remedy: SETTING },
    Fence { what: What::Path(&["env", "::", "var_os"]), reach: ENVIRONMENT, remedy: SETTING },
    Fence { what: What::Path(&["print", "!"]), reach: TERMINAL, remedy: PRINT },
    Fence { what: What::Path(&["println", "!"]), reach: TERMINAL, remedy: PRINT },
    Fence { what: What::Path(&["eprint", "!"]), reach: TERMINAL, remedy: PRINT },
    Fence { what: What::Path(&["eprintln", "!"]), reach: TERMINAL, remedy: PRINT },
];

#[test]
fn nobody_reaches_over_a_fence() {
    let root = text_of("src/lib.rs");
    let order = declared(&root);
    assert!(
        order.contains(&FIRST_RESOURCE),
        "src/lib.rs no longer declares `{FIRST_RESOURCE}`: say in fence.rs where the rules end"
    );
    settle(&over(File::is_source, |path, text| check(&order, path, text)));
}

fn check(order: &[&str], path: &str, text: &str) -> Vec<Finding> {
    let own = module_of(path).unwrap_or(if path == "src/main.rs" { "main" } else { "lib" });
    let pure = order.iter().take_while(|m| **m != FIRST_RESOURCE).any(|m| *m == own);
    let all = tokens(text);
    let code = outside_tests(&all).code;
    let closed = FENCES.iter().filter(|f| !f.reach.admits(own, pure));
    closed.flat_map(|f| f.crossings(&code).map(|line| f.finding(path, own, line))).collect()
}

impl Reach {
    fn admits(&self, own: &str, pure: bool) -> bool {
        match self {
            Self::Only(modules) => modules.contains(&own),
            Self::Impure => !pure,
            Self::ImpureAnd(modules) => !pure || modules.contains(&own),
        }
    }
}

impl Fence {
    fn crossings(&self, code: &[Token<'_>]) -> impl Iterator<Item = usize> {
        let hit = |at: &usize| match self.what {
            What::Crate(name) => code[*at].text == name && names_a_crate(code, *at),
            What::Path(path) => begins(&code[*at..], path),
        };
        (0..code.len()).filter(hit).map(|at| code[at].line)
    }

    fn finding(&self, path: &str, own: &str, line: usize) -> Finding {
        let what = match self.what {
            What::Crate(name) => name.to_owned(),
            What::Path(path) => path.concat(),
        };
        Finding::new(path, line, format!("`{what}` is fenced off from `{own}`: {}", self.remedy))
    }
}

/// A name is a crate's when a path starts with it, or when it is imported whole.
pub fn names_a_crate(code: &[Token<'_>], at: usize) -> bool {
    let text = |i: usize| code.get(i).map_or("", |t| t.text);
    let is_word = |s: &str| s.starts_with(|c: char| c == '_' || c.is_alphanumeric());
    if !is_word(text(at)) {
        return false;
    }
    let before = if at == 0 { "" } else { text(at - 1) };
    match before {
        "use" | "crate" => true,
        "." => false,
        // `::name` from the root, or the middle of another path.
        "::" if at >= 2 && text(at - 2) != "use" => {
            !is_word(text(at - 2)) && text(at - 2) != ">" && text(at + 1) == "::"
        }
        _ => text(at + 1) == "::",
    }
}

#[cfg(test)]
mod tests {
    use super::{check, lines};

    const ORDER: [&str; 6] = ["error", "config", "stats", "metrics", "store", "http"];

    fn bad_lines(path: &str, text: &str) -> Vec<usize> {
        lines(&check(&ORDER, path, text))
    }

    #[test]
    fn what_is_allowed_passes() {
        for (path, text) in [
            ("src/store.rs", "use sled::Db;\nlet t = std::time::SystemTime::now();"),
            ("src/store/sweep.rs", "fn f(d: &sled::Db) {} use std::fs; fn g() { fs::read(x) }"),
            ("src/http/admin.rs", "use axum::{Router, routing};\nuse tokio::sync::watch;"),
            ("src/stats/normal.rs", "use statrs::distribution::Normal;"),
            ("src/config.rs", "use std::fs; fn f() { fs::read(p) }"),
            ("src/main.rs", "fn main() { println!(\"x\"); std::env::var(\"A\"); }"),
            ("src/error.rs", "// sled::Db\nlet a = \"tokio::spawn\"; /* println!() */"),
            ("src/error.rs", "fn f(tokio: u8, now: Instant) { x.uuid; a::uuid::b; tokio + 1 }"),
            ("src/stats.rs", "#[cfg(test)]\nmod tests { use fastrand::Rng; }"),
        ] {
            assert_eq!(bad_lines(path, text), [0_usize; 0], "{path}: {text}");
        }
    }

    #[test]
    fn what_crosses_a_fence_is_found_with_its_line() {
        for (path, text, wanted) in [
            ("src/http.rs", "\nuse sled::Db;", 2),
            ("src/store.rs", "use axum;", 1),
            ("src/store.rs", "use {bytes::Bytes,\n reqwest::Client};", 2),
            ("src/http.rs", "fn f() -> moka::future::Cache {}", 1),
            ("src/http.rs", "use ::statrs::function;", 1),
            ("src/http.rs", "let a = ::sled::open(p);", 1),
            ("src/error.rs", "fn a() {}\n#[tokio::main]\nasync fn b() {}", 2),
            ("src/error.rs", "fn a() { uuid::Uuid::now_v7() }", 1),
            ("src/stats.rs", "use std::time;\nfn a() { time::Instant::now() }", 2),
            ("src/stats.rs", "let t = jiff::Timestamp::now();", 1),
            ("src/error.rs", "fn a() { std::fs::read(p) }", 1),
            ("src/config.rs", "fn a() { std::env::var(\"A\") }", 1),
            ("src/http.rs", "fn a() { eprintln!(\"x\") }", 1),
            ("src/lib.rs", "fn a() { print!(\"x\") }", 1),
        ] {
            assert_eq!(bad_lines(path, text), [wanted], "{path}: {text}");
        }
    }
}
