//! Layers: a module of the library uses only modules declared above it in `src/lib.rs`.

use super::{
    Finding, files, lines,
    scan::{Token, begins, past_close, tokens},
    settle, text_of,
};

#[test]
fn a_module_uses_only_those_above_it() {
    let order = text_of("src/lib.rs");
    let order = declared(&order);
    assert!(!order.is_empty(), "src/lib.rs declares no module");
    let all = files();
    let sources = all.iter().filter(|f| f.is_source());
    let found: Vec<Finding> = sources.flat_map(|f| check(&order, &f.path, &f.text)).collect();
    settle(&found);
}

#[test]
fn every_source_file_is_part_of_the_build() {
    let all = files();
    let sources: Vec<(&str, &str)> =
        all.iter().filter(|f| f.is_source()).map(|f| (f.path.as_str(), f.text.as_str())).collect();
    settle(&orphans(&sources));
}

/// The modules a file declares, in its order: `mod x;`, public or not.
pub fn declared(text: &str) -> Vec<&str> {
    let all = tokens(text);
    let is_mod = |w: &&[Token<'_>]| w[0].text == "mod" && w[2].text == ";";
    all.windows(3).filter(is_mod).map(|w| w[1].text).collect()
}

/// The top-level module that a source file belongs to; none for the two roots.
pub fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let first = inside.split('/').next()?;
    (!["lib", "main"].contains(&inside)).then_some(first)
}

fn check(order: &[&str], path: &str, text: &str) -> Vec<Finding> {
    let Some(own) = module_of(path) else { return Vec::new() };
    let rank = |name: &str| order.iter().position(|m| *m == name);
    let Some(own_rank) = rank(own) else {
        return vec![Finding::new(path, 1, format!("`{own}` is not declared in src/lib.rs"))];
    };
    let all = tokens(text);
    let depth = path.matches('/').count();
    let mut found = Vec::new();
    for (name, line) in uses(&all, depth) {
        match rank(name) {
            Some(theirs) if theirs <= own_rank => {}
            Some(_) => found.push(Finding::new(
                path,
                line,
                format!(
                    "`{own}` uses `{name}`, which stands below it in src/lib.rs: \
                     pass the value in, or move the shared part up"
                ),
            )),
            None => found.push(Finding::new(
                path,
                line,
                format!("`crate::{name}` is no module of src/lib.rs: name the module it lives in"),
            )),
        }
    }
    found
}

/// What is named at the root of the crate, by `crate::` or by enough `super::`.
fn uses<'a>(all: &[Token<'a>], file_depth: usize) -> Vec<(&'a str, usize)> {
    let mut found = Vec::new();
    let mut inline_ends: Vec<usize> = Vec::new();
    for at in 0..all.len() {
        inline_ends.retain(|end| at < *end);
        if all[at].text == "mod" && all.get(at + 2).is_some_and(|t| t.text == "{") {
            inline_ends.push(past_close(all, at + 2));
        }
        let ups = supers(all, at);
        if begins(&all[at..], &["crate", "::"]) {
            heads(&all[at + 2..], &mut found);
        } else if ups > 0 && ups == file_depth + inline_ends.len() {
            heads(&all[at + 2 * ups..], &mut found);
        }
    }
    found
}

/// How many `super::` start at `at`; none when `at` is inside such a chain.
fn supers(all: &[Token<'_>], at: usize) -> usize {
    if at >= 2 && begins(&all[at - 2..], &["super", "::"]) {
        return 0;
    }
    (at..all.len()).step_by(2).take_while(|i| begins(&all[*i..], &["super", "::"])).count()
}

/// The first names of a use tree: `a::b` gives `a`, `{a, b::{c}, self}` gives `a` and `b`.
fn heads<'a>(rest: &[Token<'a>], found: &mut Vec<(&'a str, usize)>) {
    let Some(first) = rest.first() else { return };
    if first.text != "{" {
        found.push((first.text, first.line));
        return;
    }
    let inside = &rest[1..past_close(rest, 0) - 1];
    let mut at = 0;
    while at < inside.len() {
        if inside[at].text != "self" {
            heads(&inside[at..], found);
        }
        while inside.get(at).is_some_and(|t| t.text != ",") {
            at = past_close(inside, at);
        }
        at += 1;
    }
}

/// Files that no `mod` line of their parent names: they are never compiled.
fn orphans(sources: &[(&str, &str)]) -> Vec<Finding> {
    let named = |path: &str| {
        let inside = path.strip_prefix("src/").and_then(|p| p.strip_suffix(".rs")).unwrap_or(path);
        let (parents, name) = match inside.rsplit_once('/') {
            Some((folder, name)) => (vec![format!("src/{folder}.rs")], name),
            None => (vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()], inside),
        };
        ["lib", "main"].contains(&inside)
            || sources.iter().any(|(p, text)| {
                parents.iter().any(|parent| parent == p) && declared(text).contains(&name)
            })
    };
    let lost = sources.iter().filter(|(path, _)| !named(path));
    lost.map(|(path, _)| {
        Finding::new(path, 1, "no `mod` line names this file: declare or delete it")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{check, declared, lines, orphans};

    const ORDER: [&str; 4] = ["error", "chat", "plan", "store"];

    fn bad_lines(path: &str, text: &str) -> Vec<usize> {
        lines(&check(&ORDER, path, text))
    }

    #[test]
    fn the_order_is_that_of_the_mod_lines() {
        let text =
            "//! Doc.\npub mod error;\n// pub mod gone;\n#[doc(hidden)]\npub mod chat;\nmod x { }";
        assert_eq!(declared(text), ["error", "chat"]);
    }

    #[test]
    fn what_stands_above_may_be_used() {
        for text in [
            "use crate::error::Error;",
            "use crate::{chat::{self, Fold}, error, plan::x};",
            "pub(crate) fn f() -> crate::chat::Fold { crate::plan::g() }",
            "// use crate::store\nlet a = \"crate::store::x\";",
            "mod tests { use super::store_of; }",
            "use self::a; use super::chat::Fold;",
        ] {
            assert_eq!(bad_lines("src/plan.rs", text), [0_usize; 0], "{text}");
        }
    }

    #[test]
    fn what_stands_below_or_nowhere_is_found_with_its_line() {
        for (path, text, wanted) in [
            ("src/chat.rs", "\nuse crate::plan::Plan;", 2),
            ("src/chat.rs", "use crate::{error,\n chat::{A, B}, store};", 2),
            ("src/chat.rs", "use crate::{{error, plan}, chat};", 1),
            ("src/chat/fold.rs", "fn a() {\n let b = crate::store::open(); }", 2),
            ("src/chat.rs", "use super::plan;", 1),
            ("src/chat/fold.rs", "use super::super::plan::Plan;", 1),
            ("src/chat.rs", "mod inner {\n use super::super::{error, plan};\n}", 2),
            ("src/chat.rs", "use crate::Error;", 1),
            ("src/chat.rs", "use crate::*;", 1),
            ("src/lost.rs", "", 1),
        ] {
            assert_eq!(bad_lines(path, text), [wanted], "{text}");
        }
    }

    #[test]
    fn the_roots_may_use_anything() {
        assert_eq!(bad_lines("src/main.rs", "use crate::nothing;"), [0_usize; 0]);
    }

    #[test]
    fn a_file_without_a_mod_line_is_lost() {
        let sources = [
            ("src/lib.rs", "pub mod a;"),
            ("src/main.rs", "mod c;"),
            ("src/a.rs", "mod b;"),
            ("src/a/b.rs", ""),
            ("src/a/d.rs", ""),
            ("src/c.rs", ""),
            ("src/e.rs", ""),
        ];
        let lost: Vec<String> = orphans(&sources).into_iter().map(|f| f.path).collect();
        assert_eq!(lost, ["src/a/d.rs", "src/e.rs"]);
    }
}
