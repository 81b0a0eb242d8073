//! Names that say nothing: of files, modules and types.

use super::{File, Finding, lines, over, scan::tokens, settle};

const MODULES: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];
const SUFFIXES: [&str; 6] = ["Manager", "Service", "Helper", "Context", "Data", "Info"];

#[test]
fn names_say_what_a_thing_is() {
    settle(&over(File::is_rust, check));
}

fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(part) = path.split(['/', '.']).find(|part| MODULES.contains(part)) {
        found.push(Finding::new(path, 1, format!("`{part}` says nothing: name what it holds")));
    }
    for pair in tokens(text).windows(2) {
        let (kind, name, line) = (pair[0].text, pair[1].text, pair[1].line);
        let bad = match kind {
            "mod" => MODULES.contains(&name),
            // `http_body::Body` has an associated type of this name, which every body must give.
            "type" if name == "Data" => false,
            "struct" | "enum" | "trait" | "type" | "union" => {
                SUFFIXES.iter().any(|s| name.ends_with(s))
            }
            _ => false,
        };
        if bad {
            found.push(Finding::new(
                path,
                line,
                format!("`{name}` says nothing: use a domain noun"),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{check, lines};

    #[test]
    fn domain_nouns_pass() {
        for text in [
            "pub struct Plan; enum Verdict {} type Row = u8; trait Dialect {}",
            "use tower::Service; impl Service<R> for Edge {}",
            "// struct KeyManager\nlet a = \"struct Info\"; struct Informed; struct Database;",
        ] {
            assert_eq!(lines(&check("src/plan.rs", text)), [0_usize; 0], "{text}");
        }
    }

    #[test]
    fn empty_names_are_found() {
        for (path, text, wanted) in [
            ("src/utils.rs", "", 1),
            ("src/wire/helpers.rs", "", 1),
            ("tests/it/common/a.rs", "", 1),
            ("src/a.rs", "\nmod util { }", 2),
            ("src/a.rs", "\npub struct KeyManager<T>(T);", 2),
            ("src/a.rs", "\n\nenum Info { A }", 3),
            ("src/a.rs", "trait JudgeService {}", 1),
        ] {
            assert_eq!(lines(&check(path, text)), [wanted], "{path}: {text}");
        }
    }
}
