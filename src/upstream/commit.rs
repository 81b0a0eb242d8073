//! The window before an answer is committed to: what fails in it can still be asked again.
//!
//! Of a stream everything up to its first content is held back, of another answer all of it. The
//! bytes keep their times and are read once; whoever pumps the answer takes over from there.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::cacheable::repeat;
use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::Frame;
use crate::chat::ProviderError;
use crate::chat::fold::Fold;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::keyring::said::is_unpaid;
use crate::retry;
use crate::retry::Reason;
use crate::retry::said;
use crate::upstream::Opened;
use crate::upstream::begun::Begun;
use crate::upstream::broke_off;
use crate::wire;

/// The most of a stream that is held back, bytes.
const MOST_HELD: usize = 64 << 10;

/// What is read of an error's body to learn how long to wait, bytes.
const MOST_OF_ERROR: usize = 64 << 10;

/// What an answer is held against.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// A stream was asked for.
    pub is_stream: bool,
    /// Streams are held back; one that cannot be asked again goes out as it comes.
    pub holds_streams: bool,
    /// The most of a whole answer that is held back, bytes.
    pub max_bytes: usize,
    /// Whether an answer with nothing in it is a failure.
    pub empty: bool,
}

/// Why an answer is none.
#[derive(Debug)]
pub struct Flaw {
    /// In a word.
    pub reason: Reason,
    /// What the application is told; `None`: it can have the answer as it is.
    pub error: Option<Error>,
    /// How long the provider wants to be left alone.
    pub asked: Option<Duration>,
    /// The same target would do the same again.
    pub is_lasting: bool,
}

impl Flaw {
    /// There is no answer at all.
    pub fn without_answer(reason: Reason, error: Error) -> Self {
        Self { reason, error: Some(error), asked: None, is_lasting: false }
    }

    fn as_it_is(reason: Reason, told: Option<&ProviderError>) -> Self {
        let asked = told.and_then(|error| error.retry_after_ms).map(Duration::from_millis);
        Self { reason, error: None, asked, is_lasting: false }
    }
}

impl From<Error> for Flaw {
    fn from(error: Error) -> Self {
        Self::without_answer(Reason::of(&error).unwrap_or(Reason::Broken), error)
    }
}

impl Opened {
    /// Reads until it is clear whether this is an answer.
    ///
    /// # Errors
    /// It is none that an application should get while there is another way.
    pub async fn settle(&mut self, window: Window) -> std::result::Result<(), Flaw> {
        if self.status.is_redirection() {
            return Err(self.redirected());
        }
        if let Some(reason) = Reason::of_status(self.status) {
            return Err(self.refused(reason).await?);
        }
        if !self.status.is_success() {
            return Ok(());
        }
        if self.is_event_stream() && !window.holds_streams {
            return Ok(());
        }
        if self.is_event_stream() {
            return self.settle_stream(window).await;
        }
        let is_json = self.is_of_type("json");
        if window.is_stream && !self.is_of_type("html") && !self.comes_whole(is_json) {
            return Ok(());
        }
        match self.settle_whole(window).await {
            // A reader of streams would see none, and take it for one that is over.
            Err(Flaw { reason, error: None, asked, is_lasting })
                if window.is_stream || !is_json =>
            {
                let error = Some(self.wrong_type());
                Err(Flaw { reason, error, asked, is_lasting })
            }
            other => other,
        }
    }

    /// Google streams an array of chunks where nothing else is asked for.
    fn comes_whole(&self, is_json: bool) -> bool {
        is_json && self.dialect != DialectName::Gemini
    }

    fn is_of_type(&self, kind: &str) -> bool {
        let said = self.headers.get(header::CONTENT_TYPE);
        match said.map(|said| String::from_utf8_lossy(said.as_bytes()).to_ascii_lowercase()) {
            Some(said) => said.contains(kind),
            // Who says nothing means what is usual.
            None => kind == "json",
        }
    }

    fn wrong_type(&self) -> Error {
        let what = format!("what {} answered is no answer in its dialect", self.target.provider);
        Error::new(Kind::Broken, what)
    }

    fn redirected(&self) -> Flaw {
        let (provider, status) = (&self.target.provider, self.status.as_u16());
        let what = format!(
            "{provider} answered with a redirect ({status}), which is not followed: check its base_url"
        );
        let error = Some(Error::new(Kind::Broken, what));
        Flaw { reason: Reason::Status, error, asked: None, is_lasting: true }
    }

    /// An error status, with how long to wait, which some say in the body.
    async fn refused(&mut self, reason: Reason) -> std::result::Result<Flaw, Flaw> {
        let mut begun = Begun::new(self.dialect.dialect());
        let until = self.sent + self.timeouts.total;
        let mut is_over = false;
        while begun.size() < MOST_OF_ERROR && !is_over {
            is_over = !self.take(&mut begun, until).await?;
        }
        let answer = wire::fold(self.dialect.dialect(), false, bytes(&begun));
        let error = answer.error.unwrap_or_default();
        let told = error.retry_after_ms.map(Duration::from_millis);
        self.begun = Some(Box::new(begun));
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let asked = retry::wait_in(&self.headers, now_ms).or(told);
        // Nobody pays within a few seconds.
        let is_lasting = retry::is_final(&self.headers) || is_unpaid(&error);
        Ok(Flaw { reason, error: None, asked, is_lasting })
    }

    async fn settle_stream(&mut self, window: Window) -> std::result::Result<(), Flaw> {
        let mut begun = Begun::new(self.dialect.dialect());
        let limit = self.timeouts.first_token;
        let until = self.sent + limit.min(self.timeouts.total);
        let mut looked = 0;
        let flaw = loop {
            if !self.take(&mut begun, until).await.map_err(|error| self.unbegun(error))? {
                begun.reader.finish(self.dialect.dialect());
                break flaw_of(&folded(&begun), window.empty);
            }
            if let Some(piece) = begun.pieces.last() {
                begun.reader.push(&piece.bytes);
            }
            let events = &begun.reader.events[looked..];
            if events.iter().any(said::is_content) || begun.size() > MOST_HELD {
                break None;
            }
            let ends = |event: &ChatEvent| matches!(event, ChatEvent::Error(_) | ChatEvent::Done);
            if events.iter().any(ends) {
                break flaw_of(&folded(&begun), window.empty);
            }
            looked = begun.reader.events.len();
        };
        // What an unfinished last frame says is content, too.
        let has_content = begun.reader.events.iter().any(said::is_content);
        self.begun = Some(Box::new(begun));
        match flaw.filter(|_| !has_content) {
            None => Ok(()),
            Some(flaw) => Err(flaw),
        }
    }

    async fn settle_whole(&mut self, window: Window) -> std::result::Result<(), Flaw> {
        let mut begun = Begun::new(self.dialect.dialect());
        let until = self.sent + self.timeouts.total;
        while self.take(&mut begun, until).await? {
            if begun.size() > window.max_bytes {
                self.begun = Some(Box::new(begun));
                return Ok(());
            }
        }
        let answer = wire::fold(self.dialect.dialect(), false, bytes(&begun));
        let flaw = flaw_of(&answer, window.empty);
        begun.answer = Some(answer);
        self.begun = Some(Box::new(begun));
        flaw.map_or(Ok(()), Err)
    }

    /// Adds the next piece to what was read; false at the end of the body.
    pub(super) async fn take(&mut self, begun: &mut Begun, until: Instant) -> Result<bool> {
        let Some(bytes) = self.piece(until).await? else {
            // A body that has ended is not to be asked again.
            self.body = reqwest::Body::default();
            return Ok(false);
        };
        let at_us = u64::try_from(self.sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        begun.keep(Frame { at_us, bytes });
        Ok(true)
    }

    /// The next piece of the body that is not empty.
    pub(super) async fn piece(&mut self, until: Instant) -> Result<Option<Bytes>> {
        loop {
            let frame = match timeout_at(until, self.body.frame()).await {
                Err(_) => return Err(Error::new(Kind::Timeout, "the answer took too long")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(broke_off(&error)),
                Ok(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                _ => {}
            }
        }
    }

    fn unbegun(&self, error: Error) -> Error {
        match error.kind {
            Kind::Timeout => {
                let (provider, limit) = (&self.target.provider, self.timeouts.first_token);
                let limit = limit.min(self.timeouts.total);
                let what = format!("{provider} sent nothing of its answer within {limit:?}");
                Error::new(Kind::Timeout, what)
            }
            _ => error,
        }
    }
}

/// The pieces that were read.
pub(super) fn bytes(begun: &Begun) -> impl Iterator<Item = &[u8]> {
    begun.pieces.iter().map(|piece| &piece.bytes[..])
}

/// What a stream has said so far.
pub(super) fn folded(begun: &Begun) -> Answer {
    let mut fold = Fold::new();
    begun.reader.events.iter().for_each(|event| fold.push(event.clone()));
    fold.finish()
}

/// What is wrong with an answer of which nothing more will come.
pub(super) fn flaw_of(answer: &Answer, empty_is_failure: bool) -> Option<Flaw> {
    if let Some(error) = &answer.error {
        return reason_of(error).map(|reason| Flaw::as_it_is(reason, Some(error)));
    }
    if !answer.is_whole() {
        return Some(Flaw::as_it_is(Reason::Broken, None));
    }
    let is_empty = empty_is_failure && said::is_empty(answer);
    is_empty.then(|| Flaw::as_it_is(Reason::Empty, None))
}

/// In the class or code of an error: the request is at fault, whoever is asked.
const OF_REQUEST: &[&str] = &["content_", "invalid_request", "moderation", "policy", "safety"];

/// In the class or code of an error: too much was asked.
const OF_LIMITS: &[&str] = &["exhausted", "quota", "rate_limit", "throttl", "too_many"];

/// Why an error inside a success is no answer; `None` where anybody would say the same.
fn reason_of(error: &ProviderError) -> Option<Reason> {
    let status = error.code.as_deref().and_then(|code| code.parse().ok());
    if let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) {
        return Reason::of_status(status);
    }
    let said = [&error.kind, &error.code].map(|word| word.as_deref().unwrap_or_default());
    let said = said.join(" ").to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(OF_LIMITS) {
        return Some(Reason::Overloaded);
    }
    let is_of_request = says(OF_REQUEST) || repeat::would_repeat(400, error);
    (!is_of_request).then_some(Reason::Error)
}

#[cfg(test)]
mod tests {
    use super::reason_of;
    use crate::chat::ProviderError;
    use crate::retry::Reason;

    #[test]
    fn an_error_inside_a_success_is_the_requests_the_limits_or_the_providers() {
        for (kind, code, expected) in [
            ("", "content_filter", None),
            ("invalid_request_error", "", None),
            ("", "context_length_exceeded", None),
            ("", "400", None),
            ("", "429", Some(Reason::Overloaded)),
            ("insufficient_quota", "insufficient_quota", Some(Reason::Overloaded)),
            ("rate_limit_error", "", Some(Reason::Overloaded)),
            ("", "502", Some(Reason::Status)),
            ("overloaded_error", "", Some(Reason::Error)),
            ("api_error", "", Some(Reason::Error)),
            ("", "", Some(Reason::Error)),
        ] {
            let word = |word: &str| (!word.is_empty()).then(|| word.to_owned());
            let (kind, code) = (word(kind), word(code));
            let error = ProviderError { kind, code, ..ProviderError::default() };
            assert_eq!(reason_of(&error), expected, "{error:?}");
        }
    }
}
