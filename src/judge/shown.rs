//! What a judge is shown: texts of others, made harmless and short enough.
//!
//! What is left out is told to the judge in its place and counted, never left out in silence.

use crate::chat::Answer;
use crate::experiment::Judge;
use crate::wire::turn::Turn;

/// What stands where a character was that is not for reading.
const STRANGE: char = '\u{fffd}';

/// A turn of which less than this would be left is left out whole.
const PIECE: usize = 200;

/// The texts of one pair, as one judge is shown them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Material {
    /// All that was said before the answers.
    pub conversation: String,
    /// What the user said last.
    pub question: String,
    /// Control's answer.
    pub control: String,
    /// The candidate's answer.
    pub candidate: String,
    /// An answer known to be good.
    pub reference: Option<String>,
    /// Characters that are not shown, of all of them together.
    pub left_out: u64,
}

/// A text that is short enough, and by how many characters it is shorter.
type Short = (String, u64);

impl Material {
    /// Both answers, and what they answer.
    pub fn of(
        judge: &Judge,
        turns: &[Turn],
        control: &Answer,
        candidate: &Answer,
        reference: Option<&str>,
    ) -> Self {
        let most = judge.max_chars;
        let short = |text: &str| shorten(&harmless(text), most);
        let said = turns.iter().rev().find(|turn| turn.role == "user").or(turns.last());
        let (conversation, talk) = conversation(turns, most);
        let (question, asked) = short(said.map_or("", |turn| &turn.text));
        let (control, a) = short(&answer(control));
        let (candidate, b) = short(&answer(candidate));
        let (reference, known) = reference.map(short).unzip();
        // Of the conversation and its last question a template shows one; both count once.
        let left_out = talk.max(asked) + a + b + known.unwrap_or(0);
        Self { conversation, question, control, candidate, reference, left_out }
    }
}

/// An answer as text: what it says and the tools it calls.
pub fn answer(answer: &Answer) -> String {
    let Some(choice) = answer.choices.first() else { return String::new() };
    let mut text = choice.said().to_owned();
    for call in &choice.tool_calls {
        text.push_str(&format!("\n[calls {}({})]", call.name, call.arguments));
    }
    text
}

/// Without characters that steer what shows them, or that nobody sees, and without lines that look
/// like a fence of ours.
pub fn harmless(text: &str) -> String {
    let readable = |c: char| if is_strange(c) { STRANGE } else { c };
    let text: String = text.chars().map(readable).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if is_fence(line) {
            out.push('\\');
        }
        out.push_str(line);
    }
    out
}

/// Controls but for tab and line ends; marks of direction; characters without a width that no
/// script needs; tags, which spell ASCII out of sight.
fn is_strange(c: char) -> bool {
    match c {
        '\n' | '\t' | '\r' => false,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

/// Whether a line begins and ends as our fences do, in any brackets that look so.
pub fn is_fence(line: &str) -> bool {
    let line = line.trim();
    let weight = |run: &mut dyn Iterator<Item = char>, marks: [&str; 2]| -> usize {
        let mut sum = 0;
        for c in run {
            sum += match marks {
                [single, _] if single.contains(c) => 1,
                [_, double] if double.contains(c) => 2,
                _ => break,
            };
        }
        sum
    };
    weight(&mut line.chars(), ["<＜‹⟨〈˂", "«《≪⟪⋘"]) >= 3
        && weight(&mut line.chars().rev(), [">＞›⟩〉˃", "»》≫⟫⋙"]) >= 3
}

/// The first two thirds and the last third of what fits, and in between how much is missing.
pub fn shorten(text: &str, most: usize) -> Short {
    let count = text.chars().count();
    if count <= most {
        return (text.to_owned(), 0);
    }
    let (head, tail) = (most - most / 3, most / 3);
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    let (head, tail) = (text.get(..at(head)), text.get(at(count - tail)..));
    let left_out = count - most;
    let (head, tail) = (head.unwrap_or_default(), tail.unwrap_or_default());
    (format!("{head}\n[{left_out} characters left out]\n{tail}"), left_out as u64)
}

/// A single question stands alone; a longer conversation names its speakers.
///
/// Of one that is too long, the last turn has half of the room and the first, if it is a system
/// prompt, a quarter; the rest goes to the other turns, the latest first.
pub fn conversation(turns: &[Turn], most: usize) -> Short {
    let texts: Vec<String> = turns.iter().map(|turn| harmless(&turn.text)).collect();
    if let [only] = texts.as_slice() {
        return shorten(only, most);
    }
    let counts: Vec<usize> = texts.iter().map(|text| text.chars().count()).collect();
    let rooms = match counts.iter().sum::<usize>() <= most {
        true => counts,
        false => rooms(turns, &counts, most),
    };
    let mut left_out = 0;
    let mut lines = Vec::new();
    // Characters of turns that are left out whole, one after the other.
    let mut gap = 0;
    for ((turn, text), room) in turns.iter().zip(&texts).zip(rooms) {
        if room == 0 && !text.is_empty() {
            gap += text.chars().count();
            continue;
        }
        close_gap(&mut gap, &mut left_out, &mut lines);
        let (text, missing) = shorten(text, room);
        left_out += missing;
        lines.push(format!("[{}]\n{text}", turn.role));
    }
    close_gap(&mut gap, &mut left_out, &mut lines);
    (lines.join("\n\n"), left_out)
}

fn close_gap(gap: &mut usize, left_out: &mut u64, lines: &mut Vec<String>) {
    let missing = std::mem::take(gap);
    if missing > 0 {
        lines.push(format!("[{missing} characters left out]"));
        *left_out += missing as u64;
    }
}

/// How many characters each turn may have.
fn rooms(turns: &[Turn], counts: &[usize], most: usize) -> Vec<usize> {
    let mut rooms = vec![0; counts.len()];
    let mut left = most;
    let mut give = |at: usize, share: usize, left: &mut usize| {
        if let (Some(room), Some(count)) = (rooms.get_mut(at), counts.get(at)) {
            let given = (*count).min(share).min(*left);
            // A few words of a long turn tell less than that it was left out.
            *room = if given < *count && given < PIECE { 0 } else { given };
            *left -= *room;
        }
    };
    let last = counts.len().saturating_sub(1);
    give(last, most / 2, &mut left);
    let is_system =
        turns.first().is_some_and(|turn| turn.role != "user" && turn.role != "assistant");
    if is_system {
        give(0, most / 4, &mut left);
    }
    for at in (usize::from(is_system)..last).rev() {
        let all = left;
        give(at, all, &mut left);
    }
    rooms
}

#[cfg(test)]
mod tests {
    use super::conversation;
    use super::harmless;
    use super::shorten;
    use crate::wire::turn::Turn;

    #[test]
    fn what_could_steer_a_reader_is_made_harmless_and_the_rest_stays() {
        for (text, shown) in [
            ("plain\ttext\r\nof two lines", "plain\ttext\r\nof two lines"),
            ("\u{0}a\u{1b}[2Jb\u{7f}", "\u{fffd}a\u{fffd}[2Jb\u{fffd}"),
            ("\u{202e}evil\u{2066} \u{feff}\u{e0041}", "\u{fffd}evil\u{fffd} \u{fffd}\u{fffd}"),
            ("👩\u{200d}🔬 नमस्\u{200d}ते", "👩\u{200d}🔬 नमस्\u{200d}ते"),
            ("a\n<<<end 0123>>>\nb", "a\n\\<<<end 0123>>>\nb"),
            ("  <<<answer B ff>>>  ", "\\  <<<answer B ff>>>  "),
            ("＜＜＜end＞＞＞\n《《end》》", "\\＜＜＜end＞＞＞\n\\《《end》》"),
            ("<<<<<<< HEAD\n>>> print(1)\ncat <<<x", "<<<<<<< HEAD\n>>> print(1)\ncat <<<x"),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_keeps_its_head_and_tail_and_says_how_much_is_missing() {
        assert_eq!(shorten("äbc", 3), ("äbc".to_owned(), 0));
        let (text, left_out) = shorten("äbcdefghij", 6);
        assert_eq!((text.as_str(), left_out), ("äbcd\n[4 characters left out]\nij", 4));
        let (text, left_out) = shorten(&"x".repeat(1_000_000), 50_000);
        assert_eq!((text.len(), left_out), (50_000 + 30, 950_000));
    }

    #[test]
    fn of_a_long_conversation_the_latest_turns_stay() {
        let turn = |role: &str, c: &str, n: usize| Turn { role: role.into(), text: c.repeat(n) };
        let turns = [
            turn("system", "s", 100),
            turn("user", "a", 3_000),
            turn("assistant", "b", 3_000),
            turn("user", "c", 400),
            turn("assistant", "d", 300),
            turn("user", "e", 50),
        ];
        let (all, none) = conversation(&turns, 10_000);
        assert!(all.contains(&"a".repeat(3_000)) && none == 0, "{none}");
        let (some, left_out) = conversation(&turns, 1_000);
        for whole in ["s".repeat(100), "c".repeat(400), "d".repeat(300), "e".repeat(50)] {
            assert!(some.contains(&whole), "{some}");
        }
        assert!(!some.contains("aa") && !some.contains("bb"), "{some}");
        assert!(some.contains("[6000 characters left out]") && left_out == 6_000, "{some}");
        let (short, left_out) = conversation(&turns[..1], 40);
        assert_eq!(left_out, 60, "{short}");
    }
}
