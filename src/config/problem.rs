//! What is wrong in a file: where, what, and what to write instead.

use std::fmt;

/// A place in a text; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pos {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Pos {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One thing a person has to mend, or ought to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the file as the caller gave it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Whether the file can be used nevertheless.
    pub is_warning: bool,
    /// What is wrong, with the text in question unless that may be a key.
    pub what: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The line in question, as far as it cannot hold a key.
    pub excerpt: Option<Excerpt>,
}

/// A piece of a line, short enough for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The piece; every control character is a space.
    pub text: String,
    /// How many characters of it stand before the problem.
    pub before: usize,
}

impl Problem {
    /// The problem with its line of source and a caret below, in several lines, for a terminal.
    pub fn render(&self) -> String {
        let mut out = format!("{}\n", self.headline());
        if let Some(excerpt) = &self.excerpt {
            let gutter = self.line.to_string();
            let blank = " ".repeat(gutter.len());
            let indent = " ".repeat(excerpt.before);
            out += &format!("{gutter} | {}\n{blank} | {indent}^\n", excerpt.text);
        }
        if let Some(help) = &self.help {
            out += &format!("  = help: {help}\n");
        }
        out
    }

    /// Its place and what is wrong there, in one line.
    pub fn headline(&self) -> String {
        let kind = if self.is_warning { "warning: " } else { "" };
        format!("{}:{}:{}: {kind}{}", self.file, self.line, self.column, self.what)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        match &self.help {
            Some(help) => write!(f, "\n  = help: {help}"),
            None => Ok(()),
        }
    }
}

impl Excerpt {
    /// Characters shown at most.
    const WIDTH: usize = 100;

    /// Cuts the piece around `column` out of a line, nothing from column `end` on.
    pub fn cut(line: &str, column: usize, end: Option<usize>) -> Self {
        let at = column.saturating_sub(1);
        let start = if at < Self::WIDTH * 3 / 4 { 0 } else { at - Self::WIDTH / 2 };
        let stop = end.map_or(usize::MAX, |end| end.saturating_sub(1));
        let text: String = line
            .chars()
            .take(stop)
            .skip(start)
            .take(Self::WIDTH)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Self { text: text.trim_end().to_owned(), before: at - start }
    }
}
