//! Reads completion requests.

use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::fields::Fields;
use crate::wire::json::not_readable;
use crate::wire::openai::read::plain_sampling;
use crate::wire::openai::read::stream_usage;

/// Fields with several spellings of one meaning; each is kept as it was.
const SPELLED: &[&str] = &["stop", "stream", "stream_options"];

/// The request, whole; the prompt is what a user says.
///
/// # Errors
/// A field we understand holds what it cannot.
pub fn request(head: &ChatRequest) -> Result<Request> {
    let body: Value = serde_json::from_slice(&head.body)
        .map_err(|error| not_readable(&error, "a completion request"))?;
    let mut fields = Fields::of(body, "")?;
    let mut request = Request::new(DialectName::Completions, head.model.as_str());
    for key in SPELLED {
        if let Some(value) = fields.peek(key) {
            request.spelling.insert((*key).to_owned(), value.clone());
        }
    }
    fields.take("model");
    fields.take("stream");
    request.stream = head.stream;
    request.stream_usage = stream_usage(&mut fields)?;
    prompt(&mut fields, &mut request)?;
    request.sampling = plain_sampling(&mut fields)?;
    request.sampling.max_tokens = fields.count("max_tokens")?;
    request.sampling.logprobs = fields.count("logprobs")?;
    request.end_user = fields.text("user")?;
    request.rest = fields.rest();
    Ok(request)
}

/// One text is what a user says. Several prompts, tokens, and a text to fill in before an ending
/// are questions that no other dialect has, and stay whole.
fn prompt(fields: &mut Fields, request: &mut Request) -> Result<()> {
    let part = match fields.take("prompt") {
        None => return Ok(()),
        Some(Value::String(text)) => Part::text(text),
        Some(Value::Array(items)) => match items.as_slice() {
            [Value::String(text)] => {
                let part = Part::text(text.as_str());
                request.spelling.insert("prompt".to_owned(), Value::Array(items));
                part
            }
            _ if items.iter().all(is_prompt) => {
                Part::new(PartKind::Own(json!({"type": "prompt", "prompt": items})))
            }
            _ => return Err(wrong(fields)),
        },
        Some(_) => return Err(wrong(fields)),
    };
    let mut parts = vec![part];
    if let Some(suffix) = fields.text("suffix")? {
        parts.push(Part::new(PartKind::Own(json!({"type": "suffix", "suffix": suffix}))));
    }
    request.messages.push(Message::new(Role::User, parts));
    Ok(())
}

fn is_prompt(item: &Value) -> bool {
    match item {
        Value::String(_) | Value::Number(_) => true,
        Value::Array(tokens) => tokens.iter().all(Value::is_number),
        Value::Null | Value::Bool(_) | Value::Object(_) => false,
    }
}

fn wrong(fields: &Fields) -> crate::error::Error {
    fields.wrong("prompt", "a string, or a list of strings or tokens")
}
