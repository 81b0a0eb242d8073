//! Verdicts and reasons in a judge's own words: which answer they say is better.

/// What comes before the name of an answer.
const NOUNS: [&str; 9] = [
    "answer",
    "assistant",
    "candidate",
    "model",
    "option",
    "output",
    "reply",
    "response",
    "summary",
];

/// What a statement has between an answer and what it is.
const VERBS: [&str; 6] = ["appears", "is", "remains", "seems", "was", "would"];

/// What may stand before what it is.
const FILLERS: [&str; 21] = [
    "a",
    "also",
    "be",
    "clearly",
    "considered",
    "deemed",
    "definitely",
    "far",
    "generally",
    "judged",
    "marginally",
    "much",
    "overall",
    "significantly",
    "slightly",
    "still",
    "the",
    "therefore",
    "thus",
    "to",
    "too",
];

/// What says that an answer wins.
const BETTER: [&str; 7] =
    ["best", "better", "preferable", "preferred", "stronger", "superior", "winner"];

/// A statement that goes on so speaks of a part only: "better in tone".
const IN_PART: [&str; 7] = ["as", "at", "for", "if", "in", "on", "when"];

/// A word with what stands before it.
#[derive(Clone, Copy, Debug)]
struct Word<'a> {
    text: &'a str,
    before: &'a str,
    after: &'a str,
}

/// An answer that is named, and the place of its name among the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    letter: char,
    at: usize,
}

/// The verdict that a reply comes to: `A`, `B` or `C` in double brackets; else the one answer that
/// is said to be better; else the only answer that is named in all of it, or in its last sentence.
pub fn verdict(text: &str) -> Option<char> {
    let bracketed = text.split("[[").skip(1).filter_map(|rest| {
        let (inner, _) = rest.split_once("]]")?;
        ["A", "B", "C"].contains(&inner).then(|| inner.chars().next())?
    });
    let bracketed: Vec<char> = bracketed.collect();
    if let Some(last) = bracketed.last() {
        return bracketed.iter().all(|letter| letter == last).then_some(*last);
    }
    let words = words(text);
    if let [Word { text: letter @ ("A" | "B" | "C"), .. }] = words.as_slice() {
        return letter.chars().next();
    }
    let named = named(&words);
    let better = winners(&words, &named, false);
    let only = |letters: &[char]| {
        let first = letters.first().copied()?;
        letters.iter().all(|letter| *letter == first).then_some(first)
    };
    let letters = |of: &[Named]| of.iter().map(|named| named.letter).collect::<Vec<_>>();
    let last = last_sentence(text);
    only(&better)
        .or_else(|| only(&letters(&named)))
        .or_else(|| only(&letters(&self::named(&self::words(last)))))
}

/// The answer that a reason says is better, all in all; `None` when it says so of none, or of both.
pub fn winner_of(reason: &str) -> Option<char> {
    let words = words(reason);
    let mut named = named(&words);
    // In a reason of ours the answers are called A and B.
    let bare = |(at, word): (usize, &Word<'_>)| match word.text {
        "A" | "B" if follows(&words, at, &VERBS) => {
            Some(Named { letter: word.text.chars().next()?, at })
        }
        _ => None,
    };
    named.extend(words.iter().enumerate().filter_map(bare));
    let winners = winners(&words, &named, true);
    let first = winners.first().copied()?;
    winners.iter().all(|letter| *letter == first).then_some(first)
}

/// The answers that statements say are better.
fn winners(words: &[Word<'_>], named: &[Named], whole_only: bool) -> Vec<char> {
    let is_better = |named: &&Named| {
        let mut at = named.at + 1;
        if !follows(words, named.at, &VERBS) {
            return false;
        }
        at += 1;
        while follows(words, at - 1, &FILLERS) {
            at += 1;
        }
        let says_so = follows(words, at - 1, &BETTER);
        says_so && !(whole_only && follows(words, at, &IN_PART))
    };
    named.iter().filter(is_better).map(|named| named.letter).collect()
}

/// Whether one of these words comes next, in the same sentence.
fn follows(words: &[Word<'_>], at: usize, any: &[&str]) -> bool {
    words.get(at + 1).is_some_and(|word| {
        let is_near = word.before.chars().all(|c| c.is_whitespace() || is_bracket(c));
        is_near && any.contains(&word.text.to_lowercase().as_str())
    })
}

/// The answers that are named, in their order: "output (a)", "Assistant B", "response 1", "(b)".
fn named(words: &[Word<'_>]) -> Vec<Named> {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let letter = match word.text {
            "a" | "A" | "1" => 'A',
            "b" | "B" | "2" => 'B',
            _ => continue,
        };
        let noun = at.checked_sub(1).and_then(|at| words.get(at)).is_some_and(|noun| {
            let lower = noun.text.to_lowercase();
            NOUNS.contains(&lower.as_str()) || NOUNS.contains(&lower.trim_end_matches('s'))
        });
        let is_after_noun = noun && word.before.chars().all(|c| c.is_whitespace() || is_bracket(c));
        let is_enclosed = word.before.ends_with(is_bracket)
            && word.after.starts_with(is_bracket)
            && !word.text.starts_with(|c: char| c.is_ascii_digit());
        if is_after_noun || is_enclosed {
            found.push(Named { letter, at });
        }
    }
    found
}

fn is_bracket(c: char) -> bool {
    matches!(c, '(' | ')' | '[' | ']' | '"' | '\'' | '*')
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        let from = rest.find(char::is_alphanumeric);
        let Some((before, tail)) = from.and_then(|from| rest.split_at_checked(from)) else {
            return words;
        };
        let end = tail.find(|c: char| !c.is_alphanumeric()).unwrap_or(tail.len());
        let Some((text, after)) = tail.split_at_checked(end) else { return words };
        words.push(Word { text, before, after });
        rest = after;
    }
}

fn last_sentence(text: &str) -> &str {
    let text = text.trim();
    let body = text.trim_end_matches(['.', '!', '?']);
    let ends = ["\n", ". ", "! ", "? "].iter().filter_map(|end| body.rfind(end)).max();
    ends.and_then(|at| text.get(at + 1..)).unwrap_or(text)
}
