//! Text broken between words so that no line is wider than a terminal.

/// What every terminal shows.
pub const WIDTH: usize = 80;

/// Where values begin behind their labels.
pub const INDENT: usize = 12;

/// A paragraph without a label.
pub fn paragraph(text: &str) -> String {
    lines(text, WIDTH).join("\n")
}

/// A label and its value, which goes on below itself where it is long.
pub fn item(label: &str, text: &str) -> String {
    let mut out = String::new();
    for (at, line) in lines(text, WIDTH - INDENT).into_iter().enumerate() {
        let label = if at == 0 { label } else { "" };
        out.push_str(format!("{label:<INDENT$}{line}").trim_end());
        out.push('\n');
    }
    out
}

/// Columns that a text takes, as far as characters tell.
pub fn plain_width(text: &str) -> usize {
    text.chars().count()
}

/// Lines of at most `width` characters; a word that is longer is broken, nothing is left out. A
/// no-break space keeps two words together, and is shown as a space.
pub fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split([' ', '\n', '\t']).filter(|word| !word.is_empty()) {
        let mut word: String = word.chars().map(shown).collect();
        let fits = plain_width(&line) + 1 + plain_width(&word) <= width;
        if !line.is_empty() && !fits {
            lines.push(std::mem::take(&mut line));
        }
        while plain_width(&word) > width {
            let rest: String = word.chars().skip(width).collect();
            lines.push(word.chars().take(width).collect());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Control characters could move the cursor or change colours, so they are not shown.
fn shown(c: char) -> char {
    match c {
        '\u{a0}' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::WIDTH;
    use super::item;
    use super::lines;

    #[test]
    fn no_line_is_too_wide_and_no_word_is_lost() {
        let text = "a bb ccc dddd eeeee ffffff ggggggggggggggggggg h";
        for width in 3..30 {
            let lines = lines(text, width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
            let kept: String = lines.concat().split(' ').collect();
            assert_eq!(kept, text.replace(' ', ""));
        }
    }

    #[test]
    fn a_label_stands_once_and_escapes_are_not_shown() {
        let shown = item("label", &format!("\u{1b}[31m{}", "word ".repeat(40)));
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(shown.matches("label").count(), 1);
        assert!(!shown.contains('\u{1b}'));
        assert_eq!(lines("a\u{a0}b c", 4), ["a b", "c"]);
    }
}
