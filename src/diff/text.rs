//! Word by word, or line by line: what left a text and what came into it.

use serde::Deserialize;
use serde::Serialize;

/// The most cells of the table of common words; larger texts are compared more coarsely.
const MAX_CELLS: usize = 4 << 20;

/// A run of words, or of lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// In both.
    Same(String),
    /// In the first only.
    Gone(String),
    /// In the second only.
    Added(String),
}

/// What turns the first text into the second, in runs of words.
///
/// The longest common subsequence of words; what two texts begin and end with is set aside first,
/// and what is left of two very long ones counts as replaced.
pub fn words(before: &str, after: &str) -> Vec<Run> {
    runs(&split(before), &split(after))
}

/// The same in runs of lines, each with its line break.
pub fn lines(before: &str, after: &str) -> Vec<Run> {
    let split = |text| str::split_inclusive(text, '\n').collect::<Vec<_>>();
    runs(&split(before), &split(after))
}

fn runs(a: &[&str], b: &[&str]) -> Vec<Run> {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (a.get(head..).unwrap_or(&[]), b.get(head..).unwrap_or(&[]));
    let tail = rest_a.iter().rev().zip(rest_b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (middle_a, ends) = rest_a.split_at(rest_a.len() - tail);
    let (middle_b, _) = rest_b.split_at(rest_b.len() - tail);
    let mut runs = Runs::default();
    a.iter().take(head).for_each(|word| runs.same(word));
    if middle_a.len().saturating_mul(middle_b.len()) > MAX_CELLS {
        middle_a.iter().for_each(|word| runs.gone(word));
        middle_b.iter().for_each(|word| runs.added(word));
    } else {
        middle(middle_a, middle_b, &mut runs);
    }
    ends.iter().for_each(|word| runs.same(word));
    runs.finish()
}

fn middle(a: &[&str], b: &[&str], runs: &mut Runs) {
    // lengths[i * width + j]: how many words a[i..] and b[j..] have in common, in order.
    let width = b.len() + 1;
    let mut lengths = vec![0u32; (a.len() + 1) * width];
    let at = |lengths: &[u32], i: usize, j: usize| lengths.get(i * width + j).copied().unwrap_or(0);
    for (i, x) in a.iter().enumerate().rev() {
        for (j, y) in b.iter().enumerate().rev() {
            let length = match x == y {
                true => at(&lengths, i + 1, j + 1) + 1,
                false => at(&lengths, i + 1, j).max(at(&lengths, i, j + 1)),
            };
            if let Some(cell) = lengths.get_mut(i * width + j) {
                *cell = length;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        if x == y {
            runs.same(x);
            (i, j) = (i + 1, j + 1);
        } else if at(&lengths, i + 1, j) >= at(&lengths, i, j + 1) {
            runs.gone(x);
            i += 1;
        } else {
            runs.added(y);
            j += 1;
        }
    }
    a.iter().skip(i).for_each(|word| runs.gone(word));
    b.iter().skip(j).for_each(|word| runs.added(word));
}

/// Words with the white space that follows them.
fn split(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let gap = rest.get(word..).unwrap_or_default();
        let gap = gap.find(|c: char| !c.is_whitespace()).unwrap_or(gap.len());
        let (piece, after) = rest.split_at(word + gap);
        words.push(piece);
        rest = after;
    }
    words
}

/// Collects runs; within one change what went stands before what came.
#[derive(Default)]
struct Runs {
    done: Vec<Run>,
    gone: String,
    added: String,
}

impl Runs {
    fn same(&mut self, word: &str) {
        self.settle();
        match self.done.last_mut() {
            Some(Run::Same(text)) => text.push_str(word),
            _ => self.done.push(Run::Same(word.to_owned())),
        }
    }

    fn gone(&mut self, word: &str) {
        self.gone.push_str(word);
    }

    fn added(&mut self, word: &str) {
        self.added.push_str(word);
    }

    fn settle(&mut self) {
        let (gone, added) = (std::mem::take(&mut self.gone), std::mem::take(&mut self.added));
        self.done.extend((!gone.is_empty()).then_some(Run::Gone(gone)));
        self.done.extend((!added.is_empty()).then_some(Run::Added(added)));
    }

    fn finish(mut self) -> Vec<Run> {
        self.settle();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Run;
    use super::words;

    fn shown(before: &str, after: &str) -> String {
        let shown = words(before, after).into_iter().map(|run| match run {
            Run::Same(text) => text,
            Run::Gone(text) => format!("[-{text}-]"),
            Run::Added(text) => format!("{{+{text}+}}"),
        });
        shown.collect()
    }

    #[test]
    fn what_left_and_what_came_is_told_word_by_word() {
        for (before, after, wanted) in [
            ("", "", ""),
            ("a b", "a b", "a b"),
            ("the cat sat", "the dog sat", "the [-cat -]{+dog +}sat"),
            // The last word has no white space behind it, so it is another word.
            ("a b c", "b c d", "[-a -]b [-c-]{+c d+}"),
            ("one", "", "[-one-]"),
            ("", "one two", "{+one two+}"),
            ("a x b y c", "a b z c", "a [-x -]b [-y -]{+z +}c"),
        ] {
            assert_eq!(shown(before, after), wanted, "{before:?} {after:?}");
        }
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_from_the_runs(a in "[ab \n]{0,40}", b in "[ab \n]{0,40}") {
            let (mut before, mut after) = (String::new(), String::new());
            for run in words(&a, &b) {
                match run {
                    Run::Same(text) => { before.push_str(&text); after.push_str(&text); }
                    Run::Gone(text) => before.push_str(&text),
                    Run::Added(text) => after.push_str(&text),
                }
            }
            prop_assert_eq!((before, after), (a, b));
        }
    }

    #[test]
    fn very_long_texts_are_compared_coarsely_instead_of_for_ever() {
        let long = |word: &str| format!("begin {}end", format!("{word} ").repeat(5_000));
        let runs = words(&long("a"), &long("b"));
        assert_eq!(runs.len(), 4, "same, gone, added, same");
    }
}
