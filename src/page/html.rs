//! Text made safe for HTML, and the few elements that many sections share.

use jiff::Timestamp;

/// Text as it stands between tags; what no page may hold is shown as a replacement.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            // These would turn the words around them about.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Sentences, in which what stands between backticks is code.
pub fn prose(text: &str) -> String {
    let mut out = String::new();
    let parts: Vec<&str> = text.split('`').collect();
    // Without a partner a backtick is a backtick.
    let last = parts.len() - 1;
    for (at, part) in parts.iter().enumerate() {
        match at % 2 == 1 {
            true if at == last => out.push_str(&format!("`{}", escape(part))),
            true => out.push_str(&format!("<code>{}</code>", escape(part))),
            false => out.push_str(&escape(part)),
        }
    }
    out
}

/// Text as it stands in double quotes.
pub fn attribute(text: &str) -> String {
    escape(text)
}

/// A part of the page with a heading; nothing where there is nothing in it.
pub fn card(heading: &str, note: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    let note = match note {
        "" => String::new(),
        note => format!("<p class=\"note\">{}</p>\n", prose(note)),
    };
    format!("<section class=\"card\">\n<h2>{}</h2>\n{note}{body}</section>\n", escape(heading))
}

/// A word in the colour of what it means.
pub fn chip(kind: &str, word: &str) -> String {
    format!("<span class=\"chip {}\">{}</span>", attribute(kind), escape(word))
}

/// A table that scrolls for itself where it is wider than the screen; cells are HTML.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let head: String =
        header.iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name))).collect();
    let row = |cells: &Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n"
    )
}

/// A moment, to the second, UTC.
pub fn moment(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).map(|at| format!("{at:.0}"));
    at.unwrap_or_default().replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use super::escape;
    use super::prose;

    #[test]
    fn nothing_that_means_something_in_html_is_left() {
        let hostile = "<script>alert('1')</script>&\"\u{0}\u{202e}\u{1b}";
        let safe = escape(hostile);
        assert!(!safe.contains(['<', '>', '"', '\'', '\u{0}', '\u{202e}', '\u{1b}']));
        assert!(safe.starts_with("&lt;script&gt;alert(&#39;1&#39;)"));
    }

    #[test]
    fn only_backticks_in_pairs_make_code() {
        let code = "set <code>a&lt;b</code> to 1";
        assert_eq!(prose("set `a<b` to 1"), code);
        assert_eq!(prose(""), "");
        assert_eq!(prose("a `b` c ` d"), "a <code>b</code> c ` d");
    }
}
