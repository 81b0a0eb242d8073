//! Server-sent events as the WHATWG HTML standard parses them, from pieces of any size.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>.

use crate::wire::text;

/// The longest event kept, bytes; a longer one is cut here and marked.
pub const MAX_EVENT_BYTES: usize = 8 << 20;

/// One dispatched event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty when the stream gave none.
    pub name: String,
    /// The `data` fields, joined by line feeds.
    pub data: String,
    /// The event was longer than [`MAX_EVENT_BYTES`] and its end is missing.
    pub cut: bool,
}

/// Splits a byte stream into events; keeps only the unfinished line and event.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    after_cr: bool,
    started: bool,
}

impl Parser {
    /// Before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece and hands every event it completes to `on_event`.
    pub fn push(&mut self, mut piece: &[u8], mut on_event: impl FnMut(&Event)) {
        while let Some(at) = line_end(piece) {
            let (head, end) = (&piece[..at], piece[at]);
            piece = &piece[at + 1..];
            // CR LF is one line end, even when a piece ends between the two.
            if end == b'\n' && self.after_cr && head.is_empty() {
                self.after_cr = false;
                continue;
            }
            self.after_cr = end == b'\r';
            if self.line.is_empty() {
                self.end_line(head, &mut on_event);
            } else {
                self.keep(head);
                let line = std::mem::take(&mut self.line);
                self.end_line(&line, &mut on_event);
                self.line = line;
                self.line.clear();
            }
        }
        if !piece.is_empty() {
            self.after_cr = false;
            self.keep(piece);
        }
    }

    /// At the end of the stream: hands out an event whose closing blank line never came.
    ///
    /// The standard drops it; servers that end with a bare `data: [DONE]` are common, and what was
    /// cut in the middle fails to decode anyway.
    pub fn finish(mut self, mut on_event: impl FnMut(&Event)) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.end_line(&line, &mut on_event);
        }
        self.dispatch(&mut on_event);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_EVENT_BYTES.saturating_sub(self.line.len());
        if bytes.len() > room {
            self.event.cut = true;
        }
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, mut line: &[u8], on_event: &mut impl FnMut(&Event)) {
        if !self.started {
            self.started = true;
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(on_event);
            return;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(0) => return,
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.add_data(value),
            b"event" => {
                self.event.name.clear();
                self.event.name.push_str(&text(value));
            }
            _ => {}
        }
    }

    fn add_data(&mut self, value: &[u8]) {
        let value = text(value);
        if self.has_data {
            self.event.data.push('\n');
        }
        self.has_data = true;
        if self.event.data.len() + value.len() > MAX_EVENT_BYTES {
            self.event.cut = true;
            return;
        }
        self.event.data.push_str(&value);
    }

    fn dispatch(&mut self, on_event: &mut impl FnMut(&Event)) {
        if self.has_data {
            on_event(&self.event);
        }
        self.event.name.clear();
        self.event.data.clear();
        self.event.cut = false;
        self.has_data = false;
    }
}

/// Where the first line ends; whole blocks without an end are passed over at once.
fn line_end(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    // Without an early exit inside a block the compiler compares all of its bytes together.
    let has_none = |block: &&[u8]| !block.iter().fold(false, |found, byte| found | is_end(byte));
    let passed = BLOCK * bytes.chunks_exact(BLOCK).take_while(has_none).count();
    bytes[passed..].iter().position(is_end).map(|at| passed + at)
}

#[cfg(test)]
mod tests {
    use super::Event;
    use super::Parser;

    fn parse(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::new();
        let mut events = Vec::new();
        for piece in pieces {
            parser
                .push(piece, |Event { name, data, .. }| events.push((name.clone(), data.clone())));
        }
        events
    }

    fn check(stream: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(n, d)| ((*n).to_owned(), (*d).to_owned())).collect();
        assert_eq!(parse(&[stream.as_bytes()]), expected, "whole: {stream:?}");
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(parse(&bytes), expected, "byte by byte: {stream:?}");
        for at in 0..stream.len() {
            let (a, b) = stream.as_bytes().split_at(at);
            assert_eq!(parse(&[a, b]), expected, "cut at {at}: {stream:?}");
        }
    }

    #[test]
    fn every_line_end_and_spelling_of_the_standard_is_read() {
        check("data: a\n\n", &[("", "a")]);
        check("data: a\r\n\r\ndata: b\r\n\r\n", &[("", "a"), ("", "b")]);
        check("data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]);
        check("\u{feff}data:a\n\n", &[("", "a")]);
        check("data:  two spaces\n\n", &[("", " two spaces")]);
        check("data: a\ndata: b\ndata\n\n", &[("", "a\nb\n")]);
        check(": comment\n\nevent: e\ndata: x\n\n", &[("e", "x")]);
        check("event: lost\n\ndata: y\n\n", &[("", "y")]);
        check("id: 1\nretry: 5\nodd: z\ndata: {\"a\": 1}\n\n", &[("", "{\"a\": 1}")]);
    }

    #[test]
    fn an_event_without_its_blank_line_is_not_dispatched() {
        check("data: a\n\ndata: unfinished\n", &[("", "a")]);
    }
}
