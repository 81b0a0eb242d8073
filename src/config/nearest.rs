//! Finds what somebody probably meant by a misspelt word.

/// Longer words are not compared, so that a hostile file cannot make this slow.
const LONGEST: usize = 64;

/// The known word with the fewest edits to `word`, if few enough to be a slip of the pen.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let limit = 1 + word.chars().count() / 4;
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (edits(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A suggestion in words: the nearest known word, else all of them.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("known here: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// Edits between two words: insert, delete, replace, or swap two neighbours.
///
/// Optimal string alignment distance, after Damerau, "A technique for computer detection and
/// correction of spelling errors", CACM 7(3), 1964.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut before_last: Vec<usize> = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, to) in b.iter().enumerate() {
            let replace = last[j] + usize::from(from != to);
            let mut best = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *to && b[j - 1] == *from {
                best = best.min(before_last[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::edits;
    use super::nearest;
    use super::suggest;

    #[test]
    fn edits_count_insertions_deletions_replacements_and_swaps() {
        for (a, b, distance) in [
            ("", "", 0),
            ("ttl", "", 3),
            ("", "ttl", 3),
            ("ttl", "tll", 1),
            ("routes", "ruotes", 1),
            ("kitten", "sitting", 3),
            ("größe", "grosse", 3),
        ] {
            assert_eq!(edits(a, b), distance, "{a} {b}");
        }
    }

    #[test]
    fn only_a_slip_of_the_pen_is_suggested() {
        let known = ["mode", "ttl", "max_bytes"];
        assert_eq!(nearest("max-bytes", known), Some("max_bytes"));
        assert_eq!(nearest("Mode", known), Some("mode"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("unrelated", known), None);
        assert_eq!(nearest(&"m".repeat(10_000), known), None);
        assert_eq!(suggest("zzzzz", known), "known here: mode, ttl, max_bytes");
    }
}
