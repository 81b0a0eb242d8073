//! Embedding requests in Gemini's dialect.

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::Embed;
use crate::chat::request::EmbedInput;
use crate::chat::request::Request;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::embeddings::request::asked;
use crate::wire::gemini::field::Fields;
use crate::wire::json::bad;
use crate::wire::json::not_readable;

/// Reads either form.
///
/// # Errors
/// The body is not JSON, or a field has another type than it must have.
pub fn read(head: &ChatRequest) -> Result<Request> {
    let body: Value = serde_json::from_slice(&head.body)
        .map_err(|error| not_readable(&error, "an embedding request"))?;
    let mut body = Fields::new(body, "")?;
    let mut request = Request::new(DialectName::GeminiEmbeddings, head.model.as_str());
    let mut embed = Embed::default();
    if let Some(list) = body.list("requests")? {
        for (at, one) in list.into_iter().enumerate() {
            let path = format!("requests[{at}]");
            let one = Fields::new(one, path.as_str())?;
            read_one(one, &path, &mut embed, &mut request.rest)?;
        }
        body.take("model");
        request.rest.extend(body.rest());
    } else if body.has("content") {
        embed.is_single = true;
        read_one(body, "requests[0]", &mut embed, &mut request.rest)?;
    } else {
        return Err(bad("`requests` is missing: give a list, or `content` for one input"));
    }
    request.embed = Some(embed);
    Ok(request)
}

/// What is said of the first input holds for all; where a later one differs, `rest` says so.
fn read_one(
    mut one: Fields,
    path: &str,
    embed: &mut Embed,
    rest: &mut Map<String, Value>,
) -> Result<()> {
    one.take("model");
    let is_first = embed.inputs.is_empty();
    let (purpose, title) = (one.text("taskType")?, one.text("title")?);
    let dimensions = one.count("outputDimensionality")?;
    let place = one.at("content");
    let content = one.take("content").ok_or_else(|| bad(format!("`{place}` is missing")))?;
    embed.inputs.push(EmbedInput::Text(read_text(content, &place)?));
    if is_first {
        (embed.purpose, embed.title, embed.dimensions) = (purpose, title, dimensions);
    } else {
        if embed.dimensions != dimensions {
            let place = one.at("outputDimensionality");
            return Err(bad(format!("`{place}` must be the same for all inputs")));
        }
        for (key, said, first) in
            [("taskType", purpose, &embed.purpose), ("title", title, &embed.title)]
        {
            if said != *first {
                rest.insert(format!("{path}.{key}"), said.into());
            }
        }
    }
    one.rest_below(path, rest);
    Ok(())
}

fn read_text(content: Value, path: &str) -> Result<String> {
    if let Value::String(text) = content {
        return Ok(text);
    }
    let mut content = Fields::new(content, path)?;
    let place = content.at("parts");
    let parts = content.list("parts")?.unwrap_or_default();
    let text = |(at, part): (usize, Value)| {
        let place = format!("{place}[{at}]");
        let text = Fields::new(part, place.as_str())?.text("text")?;
        text.ok_or_else(|| bad(format!("`{place}` must be text: nothing else can be carried")))
    };
    let texts = parts.into_iter().enumerate().map(text).collect::<Result<Vec<_>>>()?;
    Ok(texts.join("\n"))
}

/// Writes a request of any dialect, always in the form for several inputs.
///
/// # Errors
/// It asks for no vectors, or for what may not be left out.
pub fn write(request: &Request, to: &Recipient<'_>) -> Result<Written> {
    let mut losses = Losses::new(DialectName::GeminiEmbeddings, to.quirks);
    let is_own = request.dialect == DialectName::GeminiEmbeddings;
    let embed = asked(request)?;
    let mut requests = Vec::with_capacity(embed.inputs.len());
    for (at, input) in embed.inputs.iter().enumerate() {
        let EmbedInput::Text(text) = input else {
            losses.leave_out(Feature::TokenInput, &format!("input[{at}]"))?;
            continue;
        };
        requests.push(write_one(text, embed, to.model));
    }
    if embed.dimensions.is_some() && losses.lacks(Feature::Dimensions) {
        losses.leave_out(Feature::Dimensions, "dimensions")?;
    }
    if request.end_user.is_some() {
        losses.leave_out(Feature::EndUser, "user")?;
    }
    let mut body = Map::new();
    for (key, value) in &request.rest {
        if !is_own {
            losses.leave_out(Feature::UnknownField, key)?;
        } else if !put_back(&mut requests, key, value) {
            body.insert(key.clone(), value.clone());
        }
    }
    body.insert("requests".to_owned(), Value::Array(requests));
    Ok(Written { body: Bytes::from(Value::Object(body).to_string()), losses })
}

fn write_one(text: &str, embed: &Embed, model: &str) -> Value {
    let is_full = model.starts_with("models/") || model.starts_with("tunedModels/");
    let model = if is_full { model.to_owned() } else { format!("models/{model}") };
    let mut one = json!({"model": model, "content": {"parts": [{"text": text}]}});
    if let Some(purpose) = &embed.purpose {
        one["taskType"] = purpose.as_str().into();
    }
    if let Some(title) = &embed.title {
        one["title"] = title.as_str().into();
    }
    if let Some(count) = embed.dimensions {
        one["outputDimensionality"] = count.into();
    }
    one
}

/// Puts a field of one input back to it.
fn put_back(requests: &mut [Value], key: &str, value: &Value) -> bool {
    let parts = key.strip_prefix("requests[").and_then(|rest| rest.split_once("]."));
    let place = parts.and_then(|(at, field)| Some((at.parse::<usize>().ok()?, field)));
    let found = place.and_then(|(at, field)| Some((requests.get_mut(at)?, field)));
    let Some((one, field)) = found else { return false };
    one[field] = value.clone();
    true
}
