//! Exchanges without what the rules of redaction match: still an answer that its dialect reads.

use std::sync::Arc;

use bytes::Bytes;

use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::Frame;
use crate::chat::fold::Fold;
use crate::chat::request::Request;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::redact::Found;
use crate::redact::Redactor;
use crate::store::exchange::Exchange;
use crate::wire::Asked;
use crate::wire::Dialect;
use crate::wire::Frames;
use crate::wire::InPath;

/// Events, each with the time of the frame that brought it, microseconds.
type Timed = Vec<(u64, ChatEvent)>;

impl Exchange {
    /// The same without what the rules match, and what that was; `None` when they match nothing.
    ///
    /// A whole body is edited as JSON. A value that is spread over the frames of a stream, or over
    /// parts of a body, can only be edited in what they say together, which is then written anew:
    /// what no event carries is lost.
    ///
    /// # Errors
    /// The rules match even what was written anew, so that nothing of it may be stored.
    pub fn redacted(&self, rules: &Redactor) -> Result<Option<(Self, Found)>> {
        let mut found = Found::new();
        if rules.is_empty() {
            return Ok(None);
        }
        let mut edited = self.clone();
        // First, because an answer that is written anew may say what was asked.
        if let Some(request) = rules.body(&self.request, &mut found) {
            edited.request = request;
        }
        for said in [&mut edited.head.asked.query, &mut edited.head.asked.trace] {
            let redacted = said.as_deref().and_then(|said| rules.text(said, &mut found));
            *said = redacted.or(said.take());
        }
        let frames = match self.head.is_stream {
            true => edited.redact_stream(rules, &mut found)?,
            false => edited.redact_body(rules, &mut found)?,
        };
        if found.is_empty() {
            return Ok(None);
        }
        edited.frames = frames.unwrap_or(edited.frames);
        let names = found.keys().map(|name| name.as_ref().to_owned());
        edited.head.redacted.extend(names);
        edited.head.redacted.sort_unstable();
        edited.head.redacted.dedup();
        Ok(Some((edited, found)))
    }

    fn redact_body(&self, rules: &Redactor, found: &mut Found) -> Result<Option<Vec<Frame>>> {
        let whole = self.body();
        let at_us = self.frames.last().map_or(0, |frame| frame.at_us);
        let framed = |bytes| vec![Frame { at_us, bytes }];
        let edited = rules.body(&whole, found);
        let Some(dialect) = self.chat_dialect() else { return Ok(edited.map(framed)) };
        let body = edited.clone().unwrap_or(whole);
        let mut events = dialect.decode_body(&body).into_iter().map(|event| (0, event)).collect();
        if !rules.events(&mut events, found) {
            return Ok(edited.map(framed));
        }
        let mut events: Vec<ChatEvent> = events.into_iter().map(|(_, event)| event).collect();
        let failure = events.iter().find_map(|event| match event {
            ChatEvent::Error(error) => Some(error.clone()),
            _ => None,
        });
        let asked = self.asked(dialect, false);
        let written = match failure {
            Some(failure) => dialect.error_body(self.head.status, &failure),
            None if asked.in_array => {
                let (mut encoder, mut out) = (dialect.encoder(&asked), Vec::new());
                end(&mut events);
                events.iter().for_each(|event| encoder.encode(event, &mut out));
                Bytes::from(out)
            }
            None => dialect.encode_body(&asked, &events),
        };
        let mut again = dialect.decode_body(&written).into_iter().map(|event| (0, event)).collect();
        let mut left = Found::new();
        match rules.events(&mut again, &mut left) || rules.body(&written, &mut left).is_some() {
            true => Err(not_redacted()),
            false => Ok(Some(framed(written))),
        }
    }

    fn redact_stream(&self, rules: &Redactor, found: &mut Found) -> Result<Option<Vec<Frame>>> {
        let name = DialectName::parse(&self.head.dialect).unwrap_or(DialectName::OpenAi);
        let dialect = name.dialect();
        let mut beside = Found::new();
        let mut events = decode(dialect, &self.frames, rules, &mut beside);
        if !rules.events(&mut events, found) && beside.is_empty() {
            return Ok(None);
        }
        // Only what no event carries was matched in these.
        for (name, count) in beside {
            found.entry(name).or_insert(count);
        }
        let asked = self.asked(dialect, true);
        let frames = encode(dialect, &asked, events);
        let mut left = Found::new();
        let mut again = decode(dialect, &frames, rules, &mut left);
        match rules.events(&mut again, &mut left) || !left.is_empty() {
            true => Err(not_redacted()),
            false => Ok(Some(frames)),
        }
    }

    /// The dialect of an answer that says something in words.
    fn chat_dialect(&self) -> Option<&'static dyn Dialect> {
        let name = DialectName::parse(&self.head.dialect)?;
        (!name.is_embedding() && self.head.status == 200).then(|| name.dialect())
    }

    /// What the answer must know of the question to be written once more.
    fn asked(&self, dialect: &'static dyn Dialect, stream: bool) -> Asked {
        let asked = &self.head.asked;
        let path = InPath { model: asked.model.clone(), stream: asked.stream };
        let path = asked.in_path.then_some(path);
        let asks = DialectName::parse(&asked.dialect).map_or(dialect, DialectName::dialect);
        let read = asks.read_head(self.request.clone(), path).and_then(|head| asks.read(&head));
        let mut request =
            read.unwrap_or_else(|_| Request::new(dialect.name(), asked.model.as_str()));
        let in_array = asked.in_array && asks.name() == dialect.name() && !stream;
        // Whether it was asked for or not, the usage stays where it was.
        (request.stream, request.stream_usage) = (stream || in_array, stream);
        let id = self.head.request_id.chars().filter(char::is_ascii_alphanumeric).collect();
        let usage = self.head.usage.unwrap_or_default();
        Asked {
            request: Arc::new(request),
            id,
            created_s: asked.at_ms / 1000,
            input_estimate: usage.input_tokens.unwrap_or(0),
            in_array,
        }
    }
}

fn not_redacted() -> Error {
    let what = "a rule of redact matches what was put in the place of a match: nothing is stored";
    Error::new(Kind::Internal, what)
}

/// What the frames say, and in `beside` what is found in them, be it said or not.
fn decode(dialect: &dyn Dialect, frames: &[Frame], rules: &Redactor, beside: &mut Found) -> Timed {
    let (mut parser, mut decoder) = (Frames::new(dialect.framing()), dialect.decoder());
    let (mut events, mut timed) = (Vec::new(), Timed::new());
    let mut take = |payload: &crate::wire::sse::Event, events: &mut Vec<ChatEvent>| {
        rules.body(&Bytes::copy_from_slice(payload.data.as_bytes()), beside);
        decoder.decode(payload, events);
    };
    for frame in frames {
        parser.push(&frame.bytes, |payload| take(payload, &mut events));
        timed.extend(events.drain(..).map(|event| (frame.at_us, event)));
    }
    parser.finish(|payload| take(payload, &mut events));
    let at_us = frames.last().map_or(0, |frame| frame.at_us);
    timed.extend(events.into_iter().map(|event| (at_us, event)));
    timed
}

/// The stream that says these events, each at its time.
fn encode(dialect: &dyn Dialect, asked: &Asked, timed: Timed) -> Vec<Frame> {
    let at_us = timed.last().map_or(0, |(at_us, _)| *at_us);
    let (mut times, mut events): (Vec<u64>, Vec<ChatEvent>) = timed.into_iter().unzip();
    end(&mut events);
    times.resize(events.len(), at_us);
    let mut encoder = dialect.encoder(asked);
    let mut frames: Vec<(u64, Vec<u8>)> = Vec::new();
    for (at_us, event) in times.into_iter().zip(events) {
        let mut out = Vec::new();
        encoder.encode(&event, &mut out);
        match frames.last_mut() {
            Some((last, bytes)) if *last == at_us => bytes.append(&mut out),
            _ if out.is_empty() => {}
            _ => frames.push((at_us, out)),
        }
        if matches!(event, ChatEvent::Done | ChatEvent::Error(_)) {
            break;
        }
    }
    frames.into_iter().map(|(at_us, out)| Frame { at_us, bytes: Bytes::from(out) }).collect()
}

/// Ends a whole answer in a dialect that has no end mark of its own.
fn end(events: &mut Vec<ChatEvent>) {
    let mut fold = Fold::new();
    events.iter().for_each(|event| fold.push(event.clone()));
    let answer = fold.finish();
    if answer.is_whole() && !answer.done {
        events.push(ChatEvent::Done);
    }
}
