//! The digest of what is asked, and how far it reaches.

use std::sync::Arc;

use crate::chat::DialectName;
use crate::chat::request::Request;
use crate::key::Parts;
use crate::key::PromptDigest;
use crate::key::json;
use crate::key::json::LeftOut;
use crate::key::words;
use crate::wire::ChatRequest;
use crate::wire::Dialect;
use crate::wire::Recipient;
use crate::wire::quirk::Quirks;

/// The largest request, in bytes of its canonical JSON, that is compared across dialects: the proof
/// that two dialects say the same costs as much as reading the request once more.
pub const MAX_COMMON_BYTES: usize = 16 << 10;

/// A request that was read for its digest.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Of everything it asks.
    pub digest: PromptDigest,
    /// Who else may have the same.
    pub reach: Reach,
    /// All of it; `None` where only the provider can tell what it means.
    pub request: Option<Arc<Request>>,
}

/// Which requests may share a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of any dialect that ask exactly the same.
    AnyDialect,
    /// Those of the same dialect, streamed or whole: something in them only that dialect knows.
    OwnDialect,
    /// Those of the same dialect and form: nobody here can read them.
    SameForm,
}

impl Reach {
    /// Its name for scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AnyDialect => "any_dialect",
            Self::OwnDialect => "own_dialect",
            Self::SameForm => "same_form",
        }
    }
}

/// Reads a request and makes its digest.
///
/// `beside` is what a query asks besides; nothing, in most dialects.
///
/// A request counts in words that all dialects share only if those words say all of it: if they,
/// written in its own dialect again, give the same JSON. So whatever a reader passes over, evens
/// out or takes for a default counts, because then the body itself does.
///
/// # Errors
/// The body is not JSON.
pub fn read(
    dialect: &dyn Dialect,
    head: &ChatRequest,
    beside: &[&str],
) -> Result<Reading, serde_json::Error> {
    let left_out = left_out(dialect.name(), head);
    let body = json::of_body(&head.body, left_out)?;
    let Ok(mut request) = dialect.read(head) else {
        let digest = unread(dialect.name(), head, beside)?;
        return Ok(Reading { digest, reach: Reach::SameForm, request: None });
    };
    let is_small = body.len() <= MAX_COMMON_BYTES && beside.is_empty();
    let common = is_small.then(|| words::bytes(&request)).flatten();
    let common = common.filter(|_| says_all(dialect, head, &mut request, &body, left_out));
    let (digest, reach) = match common {
        Some(common) => {
            let mut parts = Parts::new("prompt");
            parts.part(&common);
            (parts.finish(), Reach::AnyDialect)
        }
        None => {
            let mut parts = Parts::new("prompt of a dialect");
            parts.part(dialect.name().as_str().as_bytes());
            parts.part(&body);
            beside.iter().for_each(|part| parts.part(part.as_bytes()));
            (parts.finish(), Reach::OwnDialect)
        }
    };
    Ok(Reading { digest: PromptDigest(digest), reach, request: Some(Arc::new(request)) })
}

/// Names a request by its very bytes: of two with one name [`read`] says the same.
pub fn exactly(dialect: DialectName, head: &ChatRequest, beside: &[&str]) -> [u8; 32] {
    let mut parts = Parts::new("bytes of a prompt");
    parts.part(dialect.as_str().as_bytes());
    // A path may say what the body does not.
    parts.part(&[u8::from(head.stream), u8::from(head.model_at.is_some())]);
    parts.part(head.model.as_bytes());
    parts.part(&head.body);
    beside.iter().for_each(|part| parts.part(part.as_bytes()));
    parts.finish()
}

/// What of a body chooses only the form of the answer.
///
/// Without a stream its options are an error to some providers, and so they count.
pub fn left_out(dialect: DialectName, head: &ChatRequest) -> LeftOut {
    let stream = head.model_at.is_some();
    let has_option = matches!(dialect, DialectName::OpenAi | DialectName::Completions);
    LeftOut { stream, stream_usage: stream && has_option && head.stream }
}

/// Whether the request without its spelling, written in its own dialect, is the body again.
fn says_all(
    dialect: &dyn Dialect,
    head: &ChatRequest,
    request: &mut Request,
    body: &[u8],
    left_out: LeftOut,
) -> bool {
    let spelling = std::mem::take(&mut request.spelling);
    let to = Recipient { model: &head.model, quirks: &Quirks::NONE };
    let written = dialect.write(request, &to);
    request.spelling = spelling;
    written.is_ok_and(|written| {
        written.losses.is_empty()
            && json::of_body(&written.body, left_out).is_ok_and(|again| again == body)
    })
}

/// The form counts: what cannot be read cannot be brought into another one.
fn unread(
    dialect: DialectName,
    head: &ChatRequest,
    beside: &[&str],
) -> Result<PromptDigest, serde_json::Error> {
    let mut parts = Parts::new("prompt that cannot be read");
    parts.part(dialect.as_str().as_bytes());
    parts.part(if head.stream { b"stream" } else { b"whole" });
    parts.part(&json::of_body(&head.body, LeftOut::MODEL)?);
    beside.iter().for_each(|part| parts.part(part.as_bytes()));
    Ok(PromptDigest(parts.finish()))
}
