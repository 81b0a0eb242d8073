//! Dependencies: each one is used, and stands in its alphabetical place within its group.

use std::collections::BTreeSet;

use super::{Finding, fence::names_a_crate, files, lines, scan::tokens, settle, text_of};

const PATH: &str = "Cargo.toml";

/// A dependency as written: which table and which run of lines without a gap it stands in.
#[derive(Debug, PartialEq)]
struct Entry<'a> {
    name: &'a str,
    line: usize,
    table: &'a str,
    group: usize,
}

#[test]
fn every_dependency_is_used() {
    let all = files();
    let rust = all.iter().filter(|f| f.is_rust());
    let used: BTreeSet<&str> = rust.flat_map(|f| crates_named(&f.text)).collect();
    settle(&unused(&text_of(PATH), &used));
}

#[test]
fn dependencies_are_sorted_within_their_group() {
    settle(&unsorted(&text_of(PATH)));
}

/// Names that stand where a crate's name stands: at the head of a path, or imported whole.
fn crates_named(text: &str) -> Vec<&str> {
    let all = tokens(text);
    (0..all.len()).filter(|at| names_a_crate(&all, *at)).map(|at| all[at].text).collect()
}

/// The dependencies of a manifest; a comment or an empty line begins a new group.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let (mut table, mut group, mut found) = ("", 0, Vec::new());
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix('[') {
            table = name.trim_end_matches(']');
        }
        if trimmed.is_empty() || trimmed.starts_with(['#', '[']) {
            group += 1;
        } else if table.ends_with("dependencies")
            && let Some((name, _)) = line.split_once([' ', '=', '.'])
            && name.starts_with(|c: char| c.is_alphabetic())
        {
            found.push(Entry { name, line: at + 1, table, group });
        }
    }
    found
}

fn unused(text: &str, used: &BTreeSet<&str>) -> Vec<Finding> {
    let idle = |e: &Entry<'_>| !used.contains(e.name.replace('-', "_").as_str());
    let say = |e: &Entry<'_>| format!("`{}` in [{}] is used nowhere: remove it", e.name, e.table);
    entries(text).iter().filter(|e| idle(e)).map(|e| Finding::new(PATH, e.line, say(e))).collect()
}

fn unsorted(text: &str) -> Vec<Finding> {
    let all = entries(text);
    let wrong = |w: &&[Entry<'_>]| w[0].group == w[1].group && w[1].name < w[0].name;
    let say = |w: &[Entry<'_>]| format!("`{}` belongs above `{}`", w[1].name, w[0].name);
    all.windows(2).filter(wrong).map(|w| Finding::new(PATH, w[1].line, say(w))).collect()
}

#[cfg(test)]
mod tests {
    use super::{crates_named, entries, lines, unsorted, unused};

    const TEXT: &str = "[package]\nname = \"x\"\n\n[dependencies]\n# one\naxum = \"1\"\nhttp-body = { version = \"1\", features = [\n    \"a\",\n] }\n\n# two\nbytes.version = \"1\"\nahash = \"1\"\n\n[dev-dependencies]\nzstd=\"1\"\n[lints.rust]\nunused = \"warn\"\n";

    #[test]
    fn entries_are_read_with_their_table_and_group() {
        let all = entries(TEXT);
        let read: Vec<(&str, usize, &str)> =
            all.iter().map(|e| (e.name, e.line, e.table)).collect();
        assert_eq!(
            read,
            [
                ("axum", 6, "dependencies"),
                ("http-body", 7, "dependencies"),
                ("bytes", 12, "dependencies"),
                ("ahash", 13, "dependencies"),
                ("zstd", 16, "dev-dependencies"),
            ]
        );
    }

    #[test]
    fn only_a_name_out_of_order_within_its_group_is_found() {
        assert_eq!(lines(&unsorted(TEXT)), [13]);
    }

    #[test]
    fn a_variable_or_module_of_the_same_name_is_no_use_of_a_crate() {
        let text =
            "use {bytes::Bytes, x}; use anyhow; fn a(http: u8) { crate::sled::b(http.moka) }";
        assert_eq!(crates_named(text), ["bytes", "anyhow", "crate"]);
    }

    #[test]
    fn a_dependency_that_no_file_names_is_found() {
        let used = ["axum", "http_body", "bytes", "zstd"].into();
        assert_eq!(lines(&unused(TEXT, &used)), [13]);
    }
}
