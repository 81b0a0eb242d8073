//! Reads the pieces of a message's content.

use serde_json::Value;

use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::fields::Fields;
use crate::wire::json::bad;
use crate::wire::openai::piece::data_url;

/// The types of pieces with a canonical meaning; `document_url` and `thinking` are Mistral's.
const KNOWN: &[&str] = &[
    "document_url",
    "file",
    "image_url",
    "input_audio",
    "refusal",
    "text",
    "thinking",
    "video_url",
];

/// The pieces of a message's content, and what they alone would not give back.
pub struct Content {
    /// The pieces.
    pub parts: Vec<Part>,
    /// The whole, if it is spelled in a way that has to be kept.
    pub odd: Option<Value>,
    /// It is a list although a string would do.
    pub is_list: bool,
}

/// Reads what stands at `path`: text, a list of pieces, or nothing.
///
/// # Errors
/// It is something else, or a piece lacks what its type requires.
pub fn content(value: Option<Value>, path: &str) -> Result<Content> {
    let mut content = Content { parts: Vec::new(), odd: None, is_list: false };
    match value {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => content.parts.push(Part::text(text)),
        Some(Value::Array(items)) => {
            if items.is_empty() || items.iter().any(is_odd) {
                content.odd = Some(Value::Array(items.clone()));
            }
            for (at, item) in items.into_iter().enumerate() {
                content.parts.push(part(item, format!("{path}[{at}]"))?);
            }
            content.is_list = content.parts.len() == 1 && content.parts.iter().all(is_plain_text);
        }
        Some(_) => return Err(bad(format!("`{path}` must be a string or a list of parts"))),
    }
    Ok(content)
}

/// Text without fields of its own.
pub fn is_plain_text(part: &Part) -> bool {
    matches!(part.kind, PartKind::Text(_)) && part.rest.is_empty()
}

/// Pieces with another spelling for what they say than we would write.
fn is_odd(item: &Value) -> bool {
    match item.get("type").and_then(Value::as_str) {
        Some("refusal" | "document_url" | "thinking") => true,
        Some(kind @ ("image_url" | "video_url")) => item.get(kind).is_some_and(Value::is_string),
        Some("file") => {
            let data = item.pointer("/file/file_data").and_then(Value::as_str);
            data.is_some_and(|data| !is_url(data))
        }
        _ => item.is_string(),
    }
}

fn is_url(text: &str) -> bool {
    ["data:", "http://", "https://"].into_iter().any(|start| text.starts_with(start))
}

fn part(item: Value, path: String) -> Result<Part> {
    if let Value::String(text) = item {
        return Ok(Part::text(text));
    }
    let kind = item.get("type").and_then(Value::as_str);
    if !kind.is_none_or(|kind| KNOWN.contains(&kind)) {
        return Ok(Part::new(PartKind::Own(item)));
    }
    let mut fields = Fields::of(item, path)?;
    let Some(kind) = fields.text("type")? else {
        return Err(fields.wrong("type", "a string, for example \"text\""));
    };
    let kind = match kind.as_str() {
        "refusal" => PartKind::Refusal(fields.required_text("refusal")?),
        "image_url" => image(&mut fields)?,
        "input_audio" => audio(&mut fields)?,
        "video_url" => PartKind::Video(source(url(&mut fields, "video_url")?)),
        "file" => file(&mut fields)?,
        "document_url" => {
            let name = fields.text("document_name")?;
            PartKind::File { source: source(url(&mut fields, "document_url")?), name }
        }
        "thinking" => {
            PartKind::Reasoning { text: thinking(fields.take("thinking").as_ref()), seal: None }
        }
        _ => PartKind::Text(fields.required_text("text")?),
    };
    Ok(Part { kind, rest: fields.rest() })
}

/// Mistral's thinking: text, or a list of text pieces.
fn thinking(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            items.iter().filter_map(|item| item.get("text")?.as_str()).collect()
        }
        _ => String::new(),
    }
}

fn image(fields: &mut Fields) -> Result<PartKind> {
    let detail = match fields.peek("image_url") {
        Some(Value::Object(_)) => {
            let Some(mut inner) = fields.object("image_url")? else {
                return Err(fields.wrong("image_url", "an object"));
            };
            let detail = inner.text("detail")?;
            fields.keep("image_url", Value::Object(inner.rest()));
            detail
        }
        _ => None,
    };
    Ok(PartKind::Image { source: source(url(fields, "image_url")?), detail })
}

/// `{url}`, or the URL itself, which Mistral takes.
fn url(fields: &mut Fields, key: &str) -> Result<String> {
    if let Some(Value::String(_)) = fields.peek(key) {
        return fields.required_text(key);
    }
    let inner = fields.object(key)?;
    let mut inner = inner.ok_or_else(|| fields.wrong(key, "an object with a url"))?;
    let url = inner.required_text("url")?;
    fields.leave(key, inner);
    Ok(url)
}

fn source(url: String) -> Source {
    match data_url(&url) {
        Some((mime, data)) => Source::Inline { mime: mime.to_owned(), data: data.to_owned() },
        None => Source::Url { url, mime: None },
    }
}

fn audio(fields: &mut Fields) -> Result<PartKind> {
    let inner = fields.object("input_audio")?;
    let mut inner =
        inner.ok_or_else(|| fields.wrong("input_audio", "an object with data and format"))?;
    let data = inner.required_text("data")?;
    let mime = match inner.required_text("format")?.as_str() {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    };
    fields.leave("input_audio", inner);
    Ok(PartKind::Audio(Source::Inline { mime, data }))
}

fn file(fields: &mut Fields) -> Result<PartKind> {
    let inner = fields.object("file")?;
    let mut inner =
        inner.ok_or_else(|| fields.wrong("file", "an object with file_data or file_id"))?;
    let name = inner.text("filename")?;
    let source = match (inner.text("file_data")?, inner.text("file_id")?) {
        (Some(url), _) if is_url(&url) => source(url),
        // Base64 without its type; documents are nearly always of this one.
        (Some(data), _) => Source::Inline { mime: "application/pdf".to_owned(), data },
        (None, Some(id)) => Source::Id(id),
        (None, None) => return Err(inner.wrong("file_data", "a string, or file_id be given")),
    };
    fields.leave("file", inner);
    Ok(PartKind::File { source, name })
}
