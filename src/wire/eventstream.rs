//! Amazon's binary event stream: frames with headers and two checksums, from pieces of any size.
//!
//! Source: <https://smithy.io/2.0/aws/amazon-eventstream.html>.

use crate::wire::sse;
use crate::wire::text;

/// The name of an event that stands for bytes which are no event; its data says what is wrong.
pub const MALFORMED: &str = "malformed";

/// The name of a failure that the service names by a code; its data is a JSON object.
pub const ERROR: &str = "error";

/// Total length, length of the headers, and the checksum of these two.
const PRELUDE_BYTES: usize = 12;

/// The checksum of everything before it.
const CHECKSUM_BYTES: usize = 4;

/// What surrounds the payload may come on top of the longest event kept.
const MAX_FRAME_BYTES: usize = sse::MAX_EVENT_BYTES + (128 << 10);

/// Divides a byte stream into events; keeps only the unfinished frame.
#[derive(Debug, Default)]
pub struct Parser {
    held: Vec<u8>,
    /// Bytes still to come of a frame that is too long to keep.
    skip: usize,
    /// A prelude made no sense, so nobody knows where the next frame begins.
    is_lost: bool,
}

impl Parser {
    /// Before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece and hands every event it completes to `on_event`.
    pub fn push(&mut self, piece: &[u8], mut on_event: impl FnMut(&sse::Event)) {
        if self.held.is_empty() {
            let rest = self.take(piece, &mut on_event);
            self.held.extend_from_slice(rest);
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(piece);
        let rest = self.take(&held, &mut on_event).len();
        held.drain(..held.len() - rest);
        self.held = held;
    }

    /// At the end of the stream: says so when it ended inside a frame.
    pub fn finish(self, mut on_event: impl FnMut(&sse::Event)) {
        if !self.held.is_empty() || self.skip > 0 {
            on_event(&malformed("the stream ended inside an event"));
        }
    }

    /// Hands out every whole frame and returns the bytes of the unfinished one.
    fn take<'b>(
        &mut self,
        mut bytes: &'b [u8],
        on_event: &mut impl FnMut(&sse::Event),
    ) -> &'b [u8] {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if self.is_lost || bytes.len() < PRELUDE_BYTES {
                return if self.is_lost { &[] } else { bytes };
            }
            match Lengths::read(bytes) {
                None => {
                    self.is_lost = true;
                    on_event(&malformed("the beginning of an event is damaged"));
                }
                Some(Lengths { total, .. }) if total > MAX_FRAME_BYTES => {
                    self.skip = total;
                    on_event(&sse::Event {
                        cut: true,
                        ..malformed("an event is too long to keep")
                    });
                }
                Some(lengths) => {
                    let Some((frame, rest)) = bytes.split_at_checked(lengths.total) else {
                        return bytes;
                    };
                    on_event(&read(frame, lengths.headers).unwrap_or_else(malformed));
                    bytes = rest;
                }
            }
        }
    }
}

/// What the prelude says.
struct Lengths {
    total: usize,
    headers: usize,
}

impl Lengths {
    /// `None` when the checksum is wrong or the lengths cannot be.
    fn read(bytes: &[u8]) -> Option<Self> {
        let total = u32_at(bytes, 0)? as usize;
        let headers = u32_at(bytes, 4)? as usize;
        let is_intact = crc32fast::hash(bytes.get(..8)?) == u32_at(bytes, 8)?;
        let least = headers.checked_add(PRELUDE_BYTES + CHECKSUM_BYTES)?;
        (is_intact && total >= least).then_some(Self { total, headers })
    }
}

/// Reads a whole frame, or says what is wrong with it.
fn read(frame: &[u8], headers: usize) -> Result<sse::Event, &'static str> {
    const SHORT: &str = "an event is shorter than it says";
    let (checked, checksum) =
        frame.split_at_checked(frame.len().saturating_sub(CHECKSUM_BYTES)).ok_or(SHORT)?;
    if u32_at(checksum, 0) != Some(crc32fast::hash(checked)) {
        return Err("the checksum of an event is wrong");
    }
    let inner = checked.get(PRELUDE_BYTES..).ok_or(SHORT)?;
    let (headers, payload) = inner.split_at_checked(headers).ok_or(SHORT)?;
    let headers = Headers::read(headers).ok_or("the headers of an event are damaged")?;
    Ok(headers.event(payload))
}

/// The headers that say what an event is.
#[derive(Default)]
struct Headers<'a> {
    message_type: &'a str,
    event_type: &'a str,
    exception_type: &'a str,
    error_code: &'a str,
    error_message: &'a str,
}

impl<'a> Headers<'a> {
    fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut headers = Self::default();
        while let Some((length, rest)) = bytes.split_first() {
            let (name, rest) = rest.split_at_checked(usize::from(*length))?;
            let (kind, rest) = rest.split_first()?;
            let (value, rest) = value(*kind, rest)?;
            bytes = rest;
            let field = match name {
                b":message-type" => &mut headers.message_type,
                b":event-type" => &mut headers.event_type,
                b":exception-type" => &mut headers.exception_type,
                b":error-code" => &mut headers.error_code,
                b":error-message" => &mut headers.error_message,
                _ => continue,
            };
            *field = std::str::from_utf8(value).unwrap_or_default();
        }
        Some(headers)
    }

    fn event(&self, payload: &[u8]) -> sse::Event {
        let event =
            |name: &str, data: String| sse::Event { name: name.to_owned(), data, cut: false };
        match self.message_type {
            "exception" => {
                let name = if self.exception_type.is_empty() { ERROR } else { self.exception_type };
                event(name, text(payload).into_owned())
            }
            "error" => {
                let (code, message) = (self.error_code, self.error_message);
                event(ERROR, serde_json::json!({"code": code, "message": message}).to_string())
            }
            _ => event(self.event_type, text(payload).into_owned()),
        }
    }
}

/// The bytes of a header's value of that type, and what follows.
fn value(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match kind {
        // True and false are in the type.
        0 | 1 => Some((&[], bytes)),
        2 => bytes.split_at_checked(1),
        3 => bytes.split_at_checked(2),
        4 => bytes.split_at_checked(4),
        // A long number, or a time.
        5 | 8 => bytes.split_at_checked(8),
        // Bytes, or text.
        6 | 7 => {
            let (length, rest) = bytes.split_first_chunk::<2>()?;
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        }
        // A UUID.
        9 => bytes.split_at_checked(16),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|four| u32::from_be_bytes(*four))
}

fn malformed(what: &str) -> sse::Event {
    sse::Event { name: MALFORMED.to_owned(), data: what.to_owned(), cut: false }
}

/// Appends the frame of an event whose JSON `payload` writes.
pub fn write_event(name: &str, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    write("event", ":event-type", name, out, payload);
}

/// Appends the frame of an exception whose JSON `payload` writes.
pub fn write_exception(name: &str, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    write("exception", ":exception-type", name, out, payload);
}

fn write(
    message_type: &str,
    type_header: &str,
    name: &str,
    out: &mut Vec<u8>,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE_BYTES]);
    write_header(type_header, name, out);
    write_header(":content-type", "application/json", out);
    write_header(":message-type", message_type, out);
    let headers = out.len() - start - PRELUDE_BYTES;
    payload(out);
    let total = out.len() - start + CHECKSUM_BYTES;
    // Nothing that we write comes near four gigabytes.
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut prelude = [length(total), length(headers), [0; 4]].concat();
    let checksum = crc32fast::hash(prelude.get(..8).unwrap_or_default()).to_be_bytes();
    prelude.truncate(8);
    prelude.extend_from_slice(&checksum);
    if let Some(space) = out.get_mut(start..start + PRELUDE_BYTES) {
        space.copy_from_slice(&prelude);
    }
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_be_bytes());
}

/// A header of text; names and values of ours are short.
fn write_header(name: &str, value: &str, out: &mut Vec<u8>) {
    let cut = value.as_bytes().get(..usize::from(u16::MAX)).unwrap_or(value.as_bytes());
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
    out.push(7);
    out.extend_from_slice(&u16::try_from(cut.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(cut);
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::Parser;
    use super::write_event;
    use crate::wire::sse;

    /// Made after the specification by another program and read by botocore; this one has a header
    /// of every type.
    const EVENT: &str = "AAAAnQAAAHllbfVQAXQAAWYBAWICAQFzAwABAWkEAAAAAQFsBQAAAAAAAAAAAXgGAAN4eXoCdHMI\
        AAAAAAAAAAABdQkAAAAAAAAAAAAAAAAAAAAACzpldmVudC10eXBlBwAMbWVzc2FnZVN0YXJ0DTptZXNzYWdlLXR5cGUHAA\
        VldmVudHsicm9sZSI6ImFzc2lzdGFudCJ9C1Ft/A==";
    const EXCEPTION: &str = "AAAAYgAAAEDwDLrUDzpleGNlcHRpb24tdHlwZQcAE3Rocm90dGxpbmdFeGNlcHRpb24NOm1l\
        c3NhZ2UtdHlwZQcACWV4Y2VwdGlvbnsibWVzc2FnZSI6InNsb3cifWPpYHY=";
    const ERROR: &str = "AAAAWAAAAEgVRpLBCzplcnJvci1jb2RlBwANSW50ZXJuYWxFcnJvcg46ZXJyb3ItbWVzc2FnZQcABG9v\
        cHMNOm1lc3NhZ2UtdHlwZQcABWVycm9yEQW2PA==";

    fn bytes(base64: &str) -> Vec<u8> {
        STANDARD.decode(base64).unwrap()
    }

    /// Whatever pieces it comes in, a stream says the same.
    fn check(stream: &[u8], expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(n, d)| (n.to_string(), d.to_string())).collect();
        for size in [1, 2, 3, 11, 12, 13, 64, 200, stream.len().max(1)] {
            let (mut parser, mut events) = (Parser::new(), Vec::new());
            let mut keep =
                |event: &sse::Event| events.push((event.name.clone(), event.data.clone()));
            stream.chunks(size).for_each(|piece| parser.push(piece, &mut keep));
            parser.finish(&mut keep);
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    const START: (&str, &str) = ("messageStart", r#"{"role":"assistant"}"#);

    #[test]
    fn events_exceptions_and_errors_are_read() {
        let slow = ("throttlingException", r#"{"message":"slow"}"#);
        let oops = ("error", r#"{"code":"InternalError","message":"oops"}"#);
        let stream = [bytes(EVENT), bytes(EXCEPTION), bytes(ERROR), bytes(EVENT)].concat();
        check(&stream, &[START, slow, oops, START]);
        check(&[], &[]);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut stream = Vec::new();
        for (name, data) in [START, ("contentBlockStop", "{}"), ("odd", "")] {
            write_event(name, &mut stream, |out| out.extend_from_slice(data.as_bytes()));
        }
        check(&stream, &[START, ("contentBlockStop", "{}"), ("odd", "")]);
    }

    #[test]
    fn damage_is_told_and_only_what_is_damaged_is_lost() {
        let event = bytes(EVENT);
        let damaged = |at: usize| {
            let mut event = event.clone();
            event[at] ^= 1;
            [bytes(EVENT), event, bytes(EVENT)].concat()
        };
        let last = event.len() - 1;
        for at in [last, last - 4, 20] {
            let wrong = ("malformed", "the checksum of an event is wrong");
            check(&damaged(at), &[START, wrong, START]);
        }
        // Where lengths are wrong, nobody knows where the next event begins.
        for at in [0, 3, 7, 8, 11] {
            check(&damaged(at), &[START, ("malformed", "the beginning of an event is damaged")]);
        }
        let ended = ("malformed", "the stream ended inside an event");
        check(&event[..last], &[ended]);
        check(&event[..5], &[ended]);
        check(
            b"{\"message\":\"not framed\"}",
            &[("malformed", "the beginning of an event is damaged")],
        );
    }

    #[test]
    fn an_event_too_long_to_keep_is_passed_over() {
        let mut stream = Vec::new();
        let long = vec![b'x'; super::MAX_FRAME_BYTES];
        write_event("long", &mut stream, |out| out.extend_from_slice(&long));
        stream.extend_from_slice(&bytes(EVENT));
        let (mut parser, mut events) = (Parser::new(), Vec::new());
        for piece in stream.chunks(1 << 16) {
            parser.push(piece, |event| events.push((event.name.clone(), event.cut)));
            assert!(parser.held.len() <= 1 << 16);
        }
        assert_eq!(events, [("malformed".to_owned(), true), ("messageStart".to_owned(), false)]);
    }

    #[test]
    fn damaged_headers_never_panic() {
        for length in 0..40_usize {
            let mut headers = vec![1, b'a', 7, 0xff, 0xff];
            headers.resize(length, 9);
            let total = u32::try_from(16 + length).unwrap();
            let mut frame = [total.to_be_bytes(), (total - 16).to_be_bytes()].concat();
            frame.extend(crc32fast::hash(&frame).to_be_bytes());
            frame.extend(headers);
            frame.extend(crc32fast::hash(&frame).to_be_bytes());
            let mut count = 0;
            Parser::new().push(&frame, |_| count += 1);
            assert_eq!(count, 1);
        }
    }
}
