//! The one pump: provider bytes go out as they come in, and exactly one account of them is given.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use http_body::Body;
use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep_until;

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::Frame;
use crate::chat::Usage;
use crate::error::Error;
use crate::error::Kind;
use crate::health::Fault;
use crate::health::Ticket;
use crate::upstream::Opened;
use crate::upstream::begun;
use crate::upstream::begun::Begun;
use crate::upstream::broke_off;
use crate::upstream::ended::Account;
use crate::upstream::ended::Ended;
use crate::upstream::ended::OnEnd;
use crate::upstream::gate::Permit;
use crate::upstream::way::Way;
use crate::upstream::way::tell;
use crate::wire::Dialect;
use crate::wire::openai::failure::MALFORMED;

/// What the pump must know besides the answer itself.
pub struct Terms {
    /// The answer's dialect.
    pub dialect: &'static dyn Dialect,
    /// Whether the body is a stream of server-sent events.
    pub is_stream: bool,
    /// What the application is sent.
    pub way: Way,
    /// The most that is kept, bytes.
    pub max_kept_bytes: usize,
    /// Someone else waits for this answer too: finish it even when the application leaves.
    pub must_finish: bool,
}

/// A body on its way from the provider to the application.
///
/// What passes untouched is decoded when the next piece is asked for, so the application never
/// waits for it; what is translated is decoded first.
pub struct Flow {
    told: Option<(Option<String>, Usage)>,
    permit: Option<Permit>,
    body: reqwest::Body,
    sent: Instant,
    idle: std::time::Duration,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    terms: Terms,
    pieces: Vec<Frame>,
    kept_bytes: usize,
    too_large: bool,
    observed: usize,
    reader: begun::Reader,
    /// Read before the flow began, and still to go out.
    held: VecDeque<Bytes>,
    /// What a whole body says, if it was read before.
    answer: Option<Answer>,
    ticket: Option<Ticket>,
    last: [u8; 2],
    ended: Option<Ended>,
    on_end: Option<OnEnd>,
}

impl Flow {
    /// Takes over an opened answer; `on_end` is called once, whatever happens.
    pub fn new(opened: Opened, terms: Terms, on_end: OnEnd) -> Self {
        let deadline = opened.sent + opened.timeouts.total;
        let begun = opened.begun.map(|begun| *begun);
        // What is no stream comes in one piece, when it is finished.
        let (idle, first) = match terms.is_stream {
            true if begun.is_some() => (opened.timeouts.idle, opened.timeouts.idle),
            true => (opened.timeouts.idle, opened.timeouts.first_token.max(opened.timeouts.idle)),
            false => (opened.timeouts.total, opened.timeouts.total),
        };
        let first = Instant::now() + first;
        let Begun { reader, pieces, answer, .. } =
            begun.unwrap_or_else(|| Begun::new(terms.dialect));
        let mut flow = Self {
            told: None,
            permit: opened.permit,
            body: opened.body,
            sent: opened.sent,
            idle,
            deadline,
            timer: Box::pin(sleep_until(first.min(deadline))),
            reader,
            held: VecDeque::new(),
            answer,
            ticket: opened.ticket,
            terms,
            pieces: Vec::new(),
            kept_bytes: 0,
            too_large: false,
            observed: 0,
            last: [0; 2],
            ended: None,
            on_end: Some(on_end),
        };
        flow.take_over(pieces);
        flow
    }

    /// What was read before goes the same way as what is still to come, but is not decoded again.
    fn take_over(&mut self, pieces: Vec<Frame>) {
        for piece in pieces {
            self.held.push_back(piece.bytes.clone());
            self.keep(piece);
        }
        self.observed = self.pieces.len();
        tell(&mut self.reader.events, &mut self.reader.fold, &mut self.terms.way);
    }

    /// The next piece for the application; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Polls for the next piece for the application.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        self.observe();
        while let Some(bytes) = self.held.pop_front() {
            if let Some(bytes) = self.forward(bytes) {
                return Poll::Ready(Some(bytes));
            }
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if bytes.is_empty() {
                        continue;
                    }
                    let now = Instant::now();
                    self.timer.as_mut().reset((now + self.idle).min(self.deadline));
                    self.keep(Frame { at_us: micros(now - self.sent), bytes: bytes.clone() });
                    let Some(bytes) = self.forward(bytes) else { continue };
                    return Poll::Ready(Some(bytes));
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(self.break_off(broke_off(&error)));
                }
                Poll::Ready(None) => return Poll::Ready(self.end()),
                Poll::Pending => {
                    return match self.timer.as_mut().poll(cx) {
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(()) => Poll::Ready(self.time_out()),
                    };
                }
            }
        }
    }

    /// How it ended, once it has.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// The model that answered, by its own word, and its tokens, once it has ended and told them.
    pub fn told(&self) -> Option<(Option<&str>, &Usage)> {
        self.told.as_ref().map(|(model, usage)| (model.as_deref(), usage))
    }

    /// Whether the body outgrew what may be kept.
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// Whether the body is a stream of events.
    pub fn is_stream(&self) -> bool {
        self.terms.is_stream
    }

    /// Whether someone else waits for the answer, too.
    pub fn must_finish(&self) -> bool {
        self.terms.must_finish
    }

    fn keep(&mut self, piece: Frame) {
        let bytes = &piece.bytes;
        if let [.., a, b] = bytes[..] {
            self.last = [a, b];
        } else if let [b] = bytes[..] {
            self.last = [self.last[1], b];
        }
        self.kept_bytes = self.kept_bytes.saturating_add(bytes.len());
        if self.kept_bytes > self.terms.max_kept_bytes && !self.too_large {
            self.too_large = true;
            self.pieces = Vec::new();
            self.observed = 0;
        }
        if self.too_large && !self.terms.is_stream {
            return;
        }
        self.pieces.push(piece);
    }

    /// What the application gets for a piece, if anything.
    fn forward(&mut self, bytes: Bytes) -> Option<Bytes> {
        match &mut self.terms.way {
            Way::Untouched => Some(bytes),
            Way::WithoutUsage(filter) => filter.push(&bytes),
            Way::Translated(_) => {
                self.observe();
                self.terms.way.take()
            }
        }
    }

    /// Decodes what has come since the last time.
    ///
    /// Of a stream that is too large only its end is of interest, so its words are let go.
    fn observe(&mut self) {
        if !self.terms.is_stream {
            return;
        }
        for piece in &self.pieces[self.observed..] {
            self.reader.push(&piece.bytes);
            tell(&mut self.reader.events, &mut self.reader.fold, &mut self.terms.way);
        }
        if self.too_large {
            self.reader.fold.forget_words();
            self.pieces.clear();
        }
        self.observed = self.pieces.len();
    }

    /// The provider ended the body; a stream without its end mark must not look complete.
    fn end(&mut self) -> Option<Bytes> {
        self.observe();
        let answer = self.take_answer();
        let is_whole = answer.is_whole();
        let looks_complete = self.terms.is_stream && !is_whole && !is_told(&answer);
        let ended = match answer.is_whole() {
            _ if self.too_large => Ended::TooLarge,
            true => Ended::Whole,
            false => Ended::Unfinished,
        };
        self.report(ended, answer);
        if !looks_complete {
            if is_whole {
                // Some dialects have no end mark of their own.
                self.terms.way.tell(&ChatEvent::Done);
            }
            return self.terms.way.finish();
        }
        let detail = "the provider ended the stream before the answer was complete";
        self.error_frame(&Error::new(Kind::Broken, detail))
    }

    fn time_out(&mut self) -> Option<Bytes> {
        let waited = if Instant::now() >= self.deadline {
            "the provider's answer took longer than its total limit".to_owned()
        } else {
            format!("the provider sent nothing for {:?}", self.idle)
        };
        self.break_off(Error::new(Kind::Timeout, waited))
    }

    fn break_off(&mut self, error: Error) -> Option<Bytes> {
        self.observe();
        let answer = self.take_answer();
        let frame = self.terms.is_stream.then(|| self.error_frame(&error)).flatten();
        self.report(Ended::Cut(error), answer);
        frame
    }

    /// Ends it because the process ends; what the application is told of it, if it can be told.
    pub fn stop(&mut self, error: &Error) -> Option<Bytes> {
        self.observe();
        let answer = self.take_answer();
        if self.has_all(&answer) {
            self.report(Ended::Whole, answer);
            return self.terms.way.finish();
        }
        let frame = self.terms.is_stream.then(|| self.error_frame(error)).flatten();
        self.report(Ended::Stopped, answer);
        frame
    }

    /// Whether nothing is missing but the end of the body, which some providers keep open.
    fn has_all(&self, answer: &Answer) -> bool {
        self.terms.is_stream && answer.done && answer.is_whole() && !self.too_large
    }

    fn error_frame(&mut self, error: &Error) -> Option<Bytes> {
        let frame = self.terms.way.fail(self.terms.dialect, error)?;
        // A single CR LF ends a line and no event; a blank line too many does no harm.
        if self.terms.way.is_translated() || matches!(self.last, [b'\n', b'\n'] | [_, 0]) {
            return Some(frame);
        }
        Some(Bytes::from([&b"\n\n"[..], &frame].concat()))
    }

    fn take_answer(&mut self) -> Answer {
        if self.too_large && !self.terms.is_stream {
            return Answer::default();
        }
        if self.terms.is_stream {
            self.reader.finish(self.terms.dialect);
            let mut fold = std::mem::take(&mut self.reader.fold);
            tell(&mut self.reader.events, &mut fold, &mut self.terms.way);
            return fold.finish();
        }
        if let Some(answer) = self.answer.take() {
            return answer;
        }
        let pieces = self.pieces.iter().map(|piece| &piece.bytes[..]);
        crate::wire::fold(self.terms.dialect, false, pieces)
    }

    fn report(&mut self, ended: Ended, answer: Answer) {
        match (self.ticket.take(), &ended) {
            (Some(ticket), Ended::Whole | Ended::TooLarge) => ticket.ended(self.sent.elapsed()),
            (Some(ticket), Ended::Unfinished | Ended::Cut(_)) => {
                ticket.failed(Fault::Broken, None, Instant::now().into_std());
            }
            (_, Ended::ClientLeft | Ended::Stopped) | (None, _) => {}
        }
        self.ended = Some(ended.clone());
        self.told = answer.usage.map(|usage| (answer.model.clone(), usage));
        if let Some(permit) = self.permit.take() {
            permit.settle(answer.usage.as_ref());
        }
        if let Some(on_end) = self.on_end.take() {
            let took_us = micros(self.sent.elapsed());
            on_end(Account { ended, answer, pieces: std::mem::take(&mut self.pieces), took_us });
        }
    }
}

/// An answer that nobody takes to its end: the application has left.
///
/// Many leave right after a stream's end mark, without waiting for the end of the body.
impl Drop for Flow {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.observe();
            let answer = self.take_answer();
            let ended = if self.has_all(&answer) { Ended::Whole } else { Ended::ClientLeft };
            self.report(ended, answer);
        }
    }
}

/// Whether the application can see that something is wrong: the provider said so.
///
/// A piece that is not JSON is no such message, because a lenient application skips it.
fn is_told(answer: &Answer) -> bool {
    let error = answer.error.as_ref();
    error.is_some_and(|error| answer.done || error.kind.as_deref() != Some(MALFORMED))
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
