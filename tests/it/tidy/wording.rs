//! Words and paths that may stand in no file, and what may stand at the top of the project.

use super::{File, Finding, lines, over, paths, settle};

/// Visible entries at the top; those that begin with a dot hold tool settings.
const TOP: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "experiments",
    "tests",
    "benches",
    "k8s",
    "README.md",
    "LICENSE",
];
/// Folders that exist on somebody's machine: a path into one works nowhere else.
const MACHINE: [&str; 5] = ["work", "farm", "tmp", "home", "root"];
/// Marks of unfinished work, in two parts so that this file holds none.
const MARKS: [(&str, &str); 3] = [("FIX", "ME"), ("XX", "X"), ("TO", "DO")];
/// Words that have no business here, in two parts so that this file holds none.
const WORDS: [(&str, &str); 10] = [
    ("crates", ".io"),
    ("pypi", ".org"),
    ("python", "hosted"),
    ("registry.npm", "js"),
    ("deb.de", "bian.org"),
    ("claude ", "code"),
    ("as an", " ai"),
    ("sub", "agent"),
    ("before-", "stop"),
    ("co-authored", "-by"),
];
/// Where a word of the list is the subject: the refusal comparator knows how models decline.
const EXCEPT: [(&str, &str); 2] = [("as an", "src/compare"), ("as an", "tests/")];

#[test]
fn nothing_but_the_agreed_entries_stands_at_the_top() {
    settle(&top_level(&paths()));
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    settle(&over(|_| true, machine_paths));
}

#[test]
fn no_file_holds_a_mark_of_unfinished_work() {
    let written = |f: &File| f.path != "Cargo.lock" && f.path != "LICENSE";
    settle(&over(written, marks));
}

#[test]
fn no_file_holds_a_word_from_outside_the_project() {
    let written = |f: &File| f.path != "Cargo.lock" && f.path != "LICENSE";
    settle(&over(written, words));
}

fn top_level(paths: &[String]) -> Vec<Finding> {
    let entry = |p: &str| p.split('/').next().unwrap_or("").to_owned();
    let agreed = |p: &str| entry(p).starts_with('.') || TOP.contains(&entry(p).as_str());
    let say = "not among the agreed entries at the top: move it into one of them";
    paths.iter().filter(|p| !agreed(p)).map(|p| Finding::new(p, 1, say)).collect()
}

/// One finding for each line and needle that `hit` accepts; it gets the text before and after.
fn search(
    path: &str,
    text: &str,
    needles: &[String],
    say: &str,
    hit: impl Fn(&str, &str) -> bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for needle in needles {
            let mut places = line.match_indices(needle.as_str());
            if places.any(|(i, n)| hit(&line[..i], &line[i + n.len()..])) {
                found.push(Finding::new(path, at + 1, format!("`{needle}` {say}")));
            }
        }
    }
    found
}

fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let needles = MACHINE.map(|folder| format!("/{folder}/"));
    let say = "is a folder of one machine: make the path relative, or take it as a parameter";
    // In an address, or below another folder, it is no path from the root.
    let from_root = |before: &str, _: &str| {
        !before.ends_with(|c: char| c.is_alphanumeric() || "._-~}/)$*".contains(c))
    };
    search(path, text, &needles, say, from_root)
}

fn marks(path: &str, text: &str) -> Vec<Finding> {
    let needles = MARKS.map(|(a, b)| format!("{a}{b}"));
    let word = |c: char| c == '_' || c.is_alphanumeric();
    let alone = |before: &str, after: &str| !before.ends_with(word) && !after.starts_with(word);
    search(path, text, &needles, "marks unfinished work: finish it, or file it", alone)
}

fn words(path: &str, text: &str) -> Vec<Finding> {
    let excepted =
        |a: &str| EXCEPT.iter().any(|(word, place)| *word == a && path.starts_with(place));
    let kept = WORDS.iter().filter(|(a, _)| !excepted(a));
    let needles: Vec<String> = kept.map(|(a, b)| format!("{a}{b}")).collect();
    let say = "does not belong in the project: say it another way";
    search(path, &text.to_lowercase(), &needles, say, |before, after| {
        let letter = |c: char| c.is_alphabetic();
        !before.ends_with(letter) && !after.starts_with(letter)
    })
}

#[cfg(test)]
mod tests {
    use super::{MACHINE, MARKS, WORDS, lines, machine_paths, marks, top_level, words};

    const NONE: [usize; 0] = [];

    #[test]
    fn entries_at_the_top_are_the_agreed_ones() {
        let paths = |all: &[&str]| all.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        assert_eq!(top_level(&paths(&["src/a/b.rs", ".ci/run", "README.md", "k8s/x.yaml"])), []);
        let found = top_level(&paths(&["docs/a.md", "src/lib.rs", "Makefile"]));
        let found: Vec<&str> = found.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(found, ["docs/a.md", "Makefile"]);
    }

    #[test]
    fn paths_from_the_root_are_found_and_others_are_not() {
        for folder in MACHINE {
            for bad in
                [format!("/{folder}/x"), format!("a = \"/{folder}/\""), format!("(/{folder}/x)")]
            {
                assert_eq!(lines(&machine_paths("a.md", &format!("\n{bad}"))), [2], "{bad}");
            }
            for good in [
                format!("https://host/{folder}/x"),
                format!("./{folder}/x ../{folder}/y $HOME/{folder}/z"),
                format!("/var/{folder}/x, /{folder}, /{folder}s/x"),
            ] {
                assert_eq!(lines(&machine_paths("a.md", &good)), NONE, "{good}");
            }
        }
        assert_eq!(lines(&machine_paths("a.md", "/var/lib/understudy/x /etc/understudy/y")), NONE);
    }

    #[test]
    fn marks_are_found_as_words() {
        for (a, b) in MARKS {
            assert_eq!(lines(&marks("src/a.rs", &format!("a\n// {a}{b}: later"))), [2]);
            assert_eq!(lines(&marks("src/a.rs", &format!("{a}{b}S a{a}{b} _{a}{b}"))), NONE);
        }
    }

    #[test]
    fn words_are_found_in_any_case_and_within_a_line() {
        for (a, b) in WORDS {
            let bad = format!("fine\nSee {}{}.", a.to_uppercase(), b);
            assert_eq!(lines(&words("README.md", &bad)), [2], "{bad}");
            assert_eq!(
                lines(&words("README.md", &format!("z{a}{b} {a}{b}z {a} {b}"))),
                NONE,
                "{a}"
            );
        }
    }

    #[test]
    fn the_refusal_comparator_may_name_a_refusal() {
        let (a, b) = WORDS[6];
        let text = format!("\"{a}{b}\"");
        assert_eq!(lines(&words("src/compare/refusal.rs", &text)), NONE);
        assert_eq!(lines(&words("src/chat.rs", &text)), [1]);
    }
}
