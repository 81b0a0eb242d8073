//! The unified format of differences, which people and `patch` read.

use std::fmt::Write;

use super::text;
use super::text::Run;

/// Lines shown around a change.
const AROUND: usize = 3;

/// A line with its mark: ` `, `-` or `+`.
type Line<'t> = (char, &'t str);

/// What turns `before` into `after`, both called `name`; empty where nothing does.
pub fn unified(name: &str, before: &str, after: &str) -> String {
    let runs = text::lines(before, after);
    let lines: Vec<Line<'_>> = runs.iter().flat_map(marked).collect();
    let mut out = String::new();
    let mut at = 0;
    let (mut old, mut new) = (1, 1);
    while let Some(change) = lines.iter().skip(at).position(|line| line.0 != ' ') {
        if out.is_empty() {
            out = format!("--- {name}\n+++ {name}\n");
        }
        let start = (at + change).saturating_sub(AROUND).max(at);
        (old, new) = past(lines.get(at..start), (old, new));
        let end = end_of_hunk(&lines, at + change);
        let hunk = lines.get(start..end).unwrap_or_default();
        let (old_end, new_end) = past(Some(hunk), (old, new));
        let place = |from: usize, to: usize| match to - from {
            0 => format!("{},0", from - 1),
            count => format!("{from},{count}"),
        };
        let _ = writeln!(out, "@@ -{} +{} @@", place(old, old_end), place(new, new_end));
        hunk.iter().for_each(|line| put(&mut out, line));
        (old, new) = (old_end, new_end);
        at = end;
    }
    out
}

fn marked(run: &Run) -> Vec<Line<'_>> {
    let (mark, text) = match run {
        Run::Same(text) => (' ', text),
        Run::Gone(text) => ('-', text),
        Run::Added(text) => ('+', text),
    };
    text.split_inclusive('\n').map(|line| (mark, line)).collect()
}

/// After the last change that is near enough to the one before it, and what is shown after it.
fn end_of_hunk(lines: &[Line<'_>], first: usize) -> usize {
    let mut last = first;
    for (at, line) in lines.iter().enumerate().skip(first) {
        if line.0 != ' ' {
            last = at;
        } else if at - last > 2 * AROUND {
            break;
        }
    }
    (last + 1 + AROUND).min(lines.len())
}

/// The numbers of the lines that come after these.
fn past(lines: Option<&[Line<'_>]>, (old, new): (usize, usize)) -> (usize, usize) {
    let count = |other: char| lines.into_iter().flatten().filter(|line| line.0 != other).count();
    (old + count('+'), new + count('-'))
}

fn put(out: &mut String, (mark, text): &Line<'_>) {
    out.push(*mark);
    out.push_str(text);
    if !text.ends_with('\n') {
        out.push_str("\n\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn changes_that_are_near_share_a_hunk() {
        let before: String = (1..=30).map(|n| format!("{n}\n")).collect();
        let after = before.replace("\n3\n", "\n3\nx\n").replace("\n8\n", "\n").replace("25", "y");
        let wanted = "--- f\n+++ f\n@@ -1,11 +1,11 @@\n 1\n 2\n 3\n+x\n 4\n 5\n 6\n 7\n-8\n 9\n 10\n \
                      11\n@@ -22,7 +22,7 @@\n 22\n 23\n 24\n-25\n+y\n 26\n 27\n 28\n";
        assert_eq!(unified("f", &before, &after), wanted);
    }

    #[test]
    fn the_same_has_no_difference_and_a_missing_line_break_is_told() {
        assert_eq!(unified("f", "a\n", "a\n"), "");
        let wanted = "--- f\n+++ f\n@@ -1,1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n";
        assert_eq!(unified("f", "a", "a\nb\n"), wanted);
        assert_eq!(unified("f", "", "a\n"), "--- f\n+++ f\n@@ -0,0 +1,1 @@\n+a\n");
    }
}
