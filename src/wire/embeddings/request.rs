//! Embedding requests in OpenAI's dialect.

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::request::Embed;
use crate::chat::request::EmbedInput;
use crate::chat::request::Request;
use crate::error::Error;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::fields::whole;
use crate::wire::json::bad;
use crate::wire::json::not_readable;

/// Reads everything.
///
/// # Errors
/// The body is not JSON, or a field has another type than it must have.
pub fn read(head: &ChatRequest) -> Result<Request> {
    let mut body: Map<String, Value> = serde_json::from_slice(&head.body)
        .map_err(|error| not_readable(&error, "an embedding request"))?;
    let mut request = Request::new(DialectName::Embeddings, head.model.as_str());
    body.shift_remove("model");
    let input = body.shift_remove("input").ok_or_else(|| bad("`input` is missing"))?;
    let (inputs, is_single) = read_input(input)?;
    let dimensions = match take(&mut body, "dimensions") {
        None => None,
        Some(value) => Some(whole(&value).ok_or_else(|| bad("`dimensions` must be a count"))?),
    };
    request.end_user = text(&mut body, "user")?;
    request.embed = Some(Embed {
        inputs,
        dimensions,
        encoding: text(&mut body, "encoding_format")?,
        purpose: None,
        title: None,
        is_single,
    });
    request.rest = body;
    Ok(request)
}

/// Writes a request of any dialect.
///
/// # Errors
/// It asks for no vectors, or for what may not be left out.
pub fn write(request: &Request, to: &Recipient<'_>) -> Result<Written> {
    let mut losses = Losses::new(DialectName::Embeddings, to.quirks);
    let is_own = request.dialect == DialectName::Embeddings;
    let embed = asked(request)?;
    let mut body = Map::new();
    body.insert("model".to_owned(), to.model.into());
    body.insert("input".to_owned(), write_input(embed));
    if let Some(count) = embed.dimensions {
        if losses.lacks(Feature::Dimensions) {
            losses.leave_out(Feature::Dimensions, "dimensions")?;
        }
        body.insert("dimensions".to_owned(), count.into());
    }
    // How the application wants its vectors is settled when they are written for it.
    let encoding = embed.encoding.as_ref().filter(|_| is_own);
    body.extend(encoding.map(|word| ("encoding_format".to_owned(), word.as_str().into())));
    for (field, value) in [("taskType", &embed.purpose), ("title", &embed.title)] {
        if value.is_some() {
            losses.leave_out(Feature::Purpose, field)?;
        }
    }
    if let Some(user) = &request.end_user {
        if losses.lacks(Feature::EndUser) {
            losses.leave_out(Feature::EndUser, "user")?;
        } else {
            body.insert("user".to_owned(), user.as_str().into());
        }
    }
    if is_own {
        body.extend(request.rest.clone());
    } else {
        request.rest.keys().try_for_each(|key| losses.leave_out(Feature::UnknownField, key))?;
    }
    Ok(Written { body: Bytes::from(Value::Object(body).to_string()), losses })
}

/// What is to be embedded.
///
/// # Errors
/// The request asks for something else.
pub fn asked(request: &Request) -> Result<&Embed> {
    request.embed.as_ref().ok_or_else(|| bad("a chat request cannot be answered with vectors"))
}

fn read_input(input: Value) -> Result<(Vec<EmbedInput>, bool)> {
    match input {
        Value::String(text) => Ok((vec![EmbedInput::Text(text)], true)),
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_number) => {
            Ok((vec![EmbedInput::Tokens(tokens(&items, "input")?)], true))
        }
        Value::Array(items) => {
            let read = |(at, item): (usize, Value)| match item {
                Value::String(text) => Ok(EmbedInput::Text(text)),
                Value::Array(items) => {
                    Ok(EmbedInput::Tokens(tokens(&items, &format!("input[{at}]"))?))
                }
                _ => Err(bad(format!("`input[{at}]` must be text or a list of tokens"))),
            };
            let inputs = items.into_iter().enumerate().map(read).collect::<Result<_>>()?;
            Ok((inputs, false))
        }
        _ => Err(bad("`input` must be text, tokens, or a list of either")),
    }
}

fn tokens(items: &[Value], path: &str) -> Result<Vec<u64>> {
    let wrong = || -> Error { bad(format!("`{path}` must hold tokens, which are whole numbers")) };
    items.iter().map(|item| whole(item).ok_or_else(wrong)).collect()
}

fn write_input(embed: &Embed) -> Value {
    let mut inputs = embed.inputs.iter().map(|input| match input {
        EmbedInput::Text(text) => Value::from(text.as_str()),
        EmbedInput::Tokens(tokens) => Value::from(tokens.as_slice()),
    });
    match inputs.next() {
        Some(only) if embed.is_single => only,
        first => first.into_iter().chain(inputs).collect(),
    }
}

fn take(body: &mut Map<String, Value>, key: &str) -> Option<Value> {
    body.shift_remove(key).filter(|value| !value.is_null())
}

fn text(body: &mut Map<String, Value>, key: &str) -> Result<Option<String>> {
    match take(body, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad(format!("`{key}` must be a string"))),
    }
}
