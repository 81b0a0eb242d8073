//! One line of a file of requests: an exported exchange, or a line of a batch, asked or answered.
//!
//! A batch line asks with `{"custom_id", "method", "url", "body"}` and answers with `{"custom_id",
//! "response": {"status_code", "body"}}`, as OpenAI's batches do. Anthropic's are read as well:
//! `{"custom_id", "params"}` and `{"custom_id", "result": {"type", "message"}}`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::Answer;
use crate::chat::DialectName;
use crate::library::line;
use crate::library::view;
use crate::store::exchange::Exchange;
use crate::wire;
use crate::wire::InPath;
use crate::wire::endpoint;
use crate::wire::endpoint::Endpoint;

/// A line that can be used.
#[derive(Clone, Debug)]
pub enum Line {
    /// A recorded request with its answer.
    Exchange(Box<Exchange>),
    /// A line of a batch.
    Batch(Batch),
}

/// A line of a batch: a question, an answer, or both.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What joins a question and its answer.
    pub custom_id: String,
    /// What is asked.
    pub question: Option<Question>,
    /// What was answered.
    pub given: Option<Given>,
}

/// A question of a batch.
#[derive(Clone, Debug)]
pub struct Question {
    /// The dialect of its path.
    pub dialect: DialectName,
    /// What its path says.
    pub in_path: Option<InPath>,
    /// The body.
    pub body: Bytes,
}

/// An answer of a batch.
#[derive(Clone, Debug)]
pub struct Given {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// A request, wherever it was recorded.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The dialect it is asked in.
    pub dialect: DialectName,
    /// What its path says.
    pub in_path: Option<InPath>,
    /// The provider whose path prefix was used.
    pub provider: Option<String>,
    /// What the URL asked besides.
    pub query: Option<String>,
    /// The body.
    pub body: Bytes,
    /// `experiment=variant` that was assigned then.
    pub assigned: Option<String>,
    /// Its id.
    pub request_id: String,
}

#[derive(Deserialize)]
struct Written {
    custom_id: Option<String>,
    url: Option<String>,
    body: Option<Box<RawValue>>,
    params: Option<Box<RawValue>>,
    response: Option<Response>,
    result: Option<Outcome>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Response {
    status_code: u16,
    body: Box<RawValue>,
}

#[derive(Deserialize)]
struct Outcome {
    message: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Form {
    understudy: Option<serde_json::Value>,
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it, in words for whoever wrote it.
pub fn read(bytes: &[u8]) -> Result<Line, String> {
    let form: Form = serde_json::from_slice(bytes).map_err(|error| {
        // The line's own number is told beside this.
        error.to_string().replace(" at line 1 column", " at column")
    })?;
    if form.understudy.is_some() {
        return Ok(Line::Exchange(Box::new(line::Line::read(bytes)?)));
    }
    let written: Written = serde_json::from_slice(bytes).map_err(|error| {
        let what = error.to_string().replace(" at line 1 column", " at column");
        format!("neither an exported exchange nor a line of a batch: {what}")
    })?;
    let custom_id = written.custom_id.clone().ok_or("`custom_id` is missing")?;
    let (question, given) = (question(&written)?, given(&written));
    match (&question, &given) {
        (None, None) => Err("there is neither a `body` to ask nor a `response`".to_owned()),
        _ => Ok(Line::Batch(Batch { custom_id, question, given })),
    }
}

fn question(written: &Written) -> Result<Option<Question>, String> {
    if let Some(params) = &written.params {
        let body = Bytes::from(params.get().to_owned());
        return Ok(Some(Question { dialect: DialectName::Anthropic, in_path: None, body }));
    }
    let Some(body) = &written.body else { return Ok(None) };
    let url = written.url.as_deref().ok_or("`url` is missing: it says what `body` is")?;
    // A whole URL is taken by its path.
    let path = url
        .split_once("://")
        .map_or(url, |(_, rest)| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"));
    match endpoint::of(path.split('?').next().unwrap_or(path)) {
        Some(Endpoint::Answer { dialect, in_path }) => {
            Ok(Some(Question { dialect, in_path, body: Bytes::from(body.get().to_owned()) }))
        }
        _ => Err(format!("`url` is \"{url}\", where no request for an answer goes")),
    }
}

fn given(written: &Written) -> Option<Given> {
    let body = |raw: &RawValue| Bytes::from(raw.get().to_owned());
    let failed = Given { status: 500, body: Bytes::new() };
    if let Some(result) = &written.result {
        let message = result.message.as_ref();
        return Some(message.map_or(failed, |message| Given { status: 200, body: body(message) }));
    }
    match &written.response {
        Some(response) => Some(Given { status: response.status_code, body: body(&response.body) }),
        None => written.error.as_ref().filter(|error| !error.is_null()).map(|_| failed),
    }
}

impl Line {
    /// The request of the line.
    ///
    /// # Errors
    /// It holds none.
    pub fn asked(&self) -> Result<Asked, String> {
        match self {
            Self::Exchange(exchange) => Ok(asked_then(exchange)),
            Self::Batch(Batch { question: Some(question), custom_id, .. }) => Ok(Asked {
                dialect: question.dialect,
                in_path: question.in_path.clone(),
                provider: None,
                query: None,
                body: question.body.clone(),
                assigned: None,
                request_id: custom_id.clone(),
            }),
            Self::Batch(_) => Err("it asks nothing".to_owned()),
        }
    }

    /// What was answered in that dialect; `None` unless it is a whole answer.
    pub fn answer(&self, dialect: DialectName) -> Option<Answer> {
        let answer = match self {
            Self::Exchange(exchange) => {
                let head = &exchange.head;
                let is_good = head.status == 200 && head.ended == "whole";
                is_good.then(|| view::answer(exchange))
            }
            Self::Batch(batch) => {
                let given = batch.given.as_ref().filter(|given| given.status == 200)?;
                Some(wire::fold(dialect.dialect(), false, [&given.body[..]]))
            }
        };
        answer.filter(Answer::is_whole)
    }
}

fn asked_then(exchange: &Exchange) -> Asked {
    let head = &exchange.head;
    let name = if head.asked.dialect.is_empty() { &head.dialect } else { &head.asked.dialect };
    let in_path = InPath { model: head.asked.model.clone(), stream: head.asked.stream };
    Asked {
        dialect: DialectName::parse(name).unwrap_or(DialectName::OpenAi),
        in_path: head.asked.in_path.then_some(in_path),
        provider: head.asked.provider.clone(),
        query: head.asked.query.clone(),
        body: exchange.request.clone(),
        assigned: head.assigned.clone(),
        request_id: head.request_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::Line;
    use super::read;
    use crate::chat::DialectName;

    fn batch(text: &str) -> super::Batch {
        match read(text.as_bytes()) {
            Ok(Line::Batch(batch)) => batch,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn both_sides_of_a_batch_are_read_in_one_line_or_two() {
        let asks = r#"{"custom_id":"7","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[]}}"#;
        let question = batch(asks).question.unwrap();
        assert_eq!(
            (question.dialect, &question.body[..]),
            (DialectName::OpenAi, &br#"{"model":"m","messages":[]}"#[..])
        );
        let answers = r#"{"id":"b","custom_id":"7","response":{"status_code":200,"request_id":"r","body":{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}},"error":null}"#;
        let line = Line::Batch(batch(answers));
        assert_eq!(line.answer(DialectName::OpenAi).unwrap().text(), "hi");
        let both = format!(
            "{},\"response\":{{\"status_code\":429,\"body\":{{}}}}}}",
            asks.strip_suffix('}').unwrap()
        );
        let both = batch(&both);
        assert!(both.question.is_some() && both.given.unwrap().status == 429);
    }

    #[test]
    fn messages_batches_are_read_too() {
        let asks = r#"{"custom_id":"7","params":{"model":"m","max_tokens":9,"messages":[]}}"#;
        assert_eq!(batch(asks).question.unwrap().dialect, DialectName::Anthropic);
        let answers = r#"{"custom_id":"7","result":{"type":"succeeded","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}}}"#;
        let line = Line::Batch(batch(answers));
        assert_eq!(line.answer(DialectName::Anthropic).unwrap().text(), "hi");
        let failed = r#"{"custom_id":"7","result":{"type":"errored","error":{}}}"#;
        assert!(Line::Batch(batch(failed)).answer(DialectName::Anthropic).is_none());
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        for (text, wanted) in [
            ("{", "at column 1"),
            ("[]", "expected"),
            ("{}", "`custom_id` is missing"),
            (r#"{"custom_id":"a"}"#, "neither a `body`"),
            (r#"{"custom_id":"a","body":{}}"#, "`url` is missing"),
            (r#"{"custom_id":"a","body":{},"url":"/v1/files"}"#, "no request for an answer goes"),
            (r#"{"understudy":2}"#, "missing field"),
        ] {
            let said = read(text.as_bytes()).unwrap_err();
            assert!(said.contains(wanted), "{text}: {said}");
        }
    }
}
