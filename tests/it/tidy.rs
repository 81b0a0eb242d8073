//! The house rules as tests: layers, fences, sizes, names, examples and dependencies.

use std::{fmt, fs, path::PathBuf, process::Command};

mod examples;
mod fence;
mod layer;
mod manifest;
mod naming;
mod scan;
mod shape;
mod wording;

/// A place that breaks a rule, and what to do about it.
#[derive(Debug, PartialEq)]
struct Finding {
    path: String,
    line: usize,
    say: String,
}

impl Finding {
    fn new(path: &str, line: usize, say: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, say: say.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.say)
    }
}

/// A text file of the project, by its path from the top.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_source(&self) -> bool {
        self.is_rust() && self.path.starts_with("src/")
    }
}

/// Fails with every finding, one a line.
fn settle(found: &[Finding]) {
    let list: Vec<String> = found.iter().map(Finding::to_string).collect();
    assert!(list.is_empty(), "{} to mend:\n{}", list.len(), list.join("\n"));
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Paths that git tracks or would add: what a commit made now could hold.
fn paths() -> Vec<String> {
    let out = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .args(["--cached", "--others", "--exclude-standard"])
        .current_dir(top())
        .output()
        .expect("git lists the project's files");
    assert!(out.status.success(), "git ls-files: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("paths are UTF-8");
    let mut all: Vec<String> =
        text.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

/// Every text file among `paths`; binary ones and files just deleted are left out.
fn files() -> Vec<File> {
    let read =
        |path: String| Some(File { text: fs::read_to_string(top().join(&path)).ok()?, path });
    let all: Vec<File> = paths().into_iter().filter_map(read).collect();
    assert!(
        all.iter().any(File::is_source),
        "no source file found: the checks would check nothing"
    );
    all
}

fn text_of(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Every finding of `check` over the files that `wanted` picks.
fn over(wanted: fn(&File) -> bool, check: impl Fn(&str, &str) -> Vec<Finding>) -> Vec<Finding> {
    files().iter().filter(|f| wanted(f)).flat_map(|f| check(&f.path, &f.text)).collect()
}

/// Lines of the findings, for the checkers' own tests.
fn lines(found: &[Finding]) -> Vec<usize> {
    found.iter().map(|f| f.line).collect()
}
