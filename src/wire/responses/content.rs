//! Reads and writes the pieces of a message or of a tool's output.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::fields::Fields;
use crate::wire::json::bad;

/// Reads a string or a list of pieces.
pub fn read(content: Value, path: &str) -> Result<Vec<Part>> {
    match content {
        Value::String(text) => Ok(vec![Part::text(text)]),
        Value::Array(pieces) => {
            let pieces = pieces.into_iter().enumerate();
            pieces.map(|(at, piece)| part(piece, format!("{path}[{at}]"))).collect()
        }
        _ => Err(bad(format!("`{path}` must be a string or a list of parts"))),
    }
}

/// Whether a content is nothing but words and refusals.
pub fn is_words(content: &Value) -> bool {
    let words = ["input_text", "output_text", "text", "refusal"];
    let word = |piece: &Value| {
        piece.get("type").and_then(Value::as_str).is_some_and(|kind| words.contains(&kind))
    };
    content.as_array().is_none_or(|pieces| pieces.iter().all(word))
}

fn part(piece: Value, path: String) -> Result<Part> {
    let mut piece = Fields::of(piece, path)?;
    let kind = match piece.word("type") {
        Some("input_text" | "output_text" | "text") => {
            drop_empty(&mut piece, "annotations");
            drop_empty(&mut piece, "logprobs");
            PartKind::Text(piece.required_text("text")?)
        }
        Some("refusal") => PartKind::Refusal(piece.required_text("refusal")?),
        Some("input_image") => match image_source(&mut piece)? {
            Some(source) => PartKind::Image { source, detail: piece.text("detail")? },
            None => return Ok(Part::new(PartKind::Own(piece.whole_again()))),
        },
        Some("input_file") => {
            let name = piece.text("filename")?;
            match file_source(&mut piece, name.as_deref())? {
                Some(source) => PartKind::File { source, name },
                None => return Err(bad(format!("`{}` is missing", piece.at("file_data")))),
            }
        }
        Some(_) => return Ok(Part::new(PartKind::Own(piece.whole_again()))),
        None => return Err(bad(format!("`{}` is missing", piece.at("type")))),
    };
    piece.take("type");
    Ok(Part { kind, rest: piece.rest() })
}

fn drop_empty(piece: &mut Fields, key: &str) {
    if piece.peek(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
        piece.take(key);
    }
}

fn image_source(piece: &mut Fields) -> Result<Option<Source>> {
    match piece.text("image_url")? {
        Some(url) => Ok(Some(url_source(url))),
        None => Ok(piece.text("file_id")?.map(Source::Id)),
    }
}

fn file_source(piece: &mut Fields, name: Option<&str>) -> Result<Option<Source>> {
    if let Some(data) = piece.text("file_data")? {
        let source = match url_source(data) {
            // Bare base64: the name is all that tells what it is.
            Source::Url { url, .. } => Source::Inline { mime: mime_of(name).to_owned(), data: url },
            source => source,
        };
        return Ok(Some(source));
    }
    if let Some(url) = piece.text("file_url")? {
        return Ok(Some(Source::Url { url, mime: None }));
    }
    Ok(piece.text("file_id")?.map(Source::Id))
}

/// A data URL is the data itself.
fn url_source(url: String) -> Source {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match data {
        Some((mime, data)) => Source::Inline { mime: mime.to_owned(), data: data.to_owned() },
        None => Source::Url { url, mime: None },
    }
}

/// Ends of file names and the media types they stand for; the first is the usual one.
const FILE_TYPES: &[(&str, &str)] = &[
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("json", "application/json"),
    ("md", "text/markdown"),
    ("txt", "text/plain"),
];

fn mime_of(name: Option<&str>) -> &'static str {
    let end = name.and_then(|name| name.rsplit_once('.')).map(|(_, end)| end);
    let known = FILE_TYPES.iter().find(|(known, _)| Some(*known) == end);
    known.map_or("application/pdf", |(_, mime)| mime)
}

/// A name for data that came without one, which this API refuses.
fn name_of(mime: &str) -> String {
    let known = FILE_TYPES.iter().find(|(_, known)| *known == mime);
    format!("document.{}", known.map_or("pdf", |(end, _)| end))
}

/// How pieces are written.
pub struct Writer<'a> {
    /// The dialect of the request.
    pub from: DialectName,
    /// What is lost.
    pub losses: &'a mut Losses,
}

impl Writer<'_> {
    /// Whether the request is of this very dialect.
    pub fn is_own(&self) -> bool {
        self.from == DialectName::Responses
    }

    /// The pieces as a string where that says it all, else as a list.
    pub fn content(&mut self, parts: &[Part], path: &str) -> Result<Value> {
        if let [Part { kind: PartKind::Text(text), rest }] = parts
            && (rest.is_empty() || !self.is_own())
        {
            self.leave_rest(rest, path)?;
            return Ok(Value::from(text.as_str()));
        }
        let mut pieces = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            pieces.extend(self.part(part, &format!("{path}[{at}]"))?);
        }
        Ok(Value::Array(pieces))
    }

    /// One piece of a turn that is not the model's.
    fn part(&mut self, part: &Part, path: &str) -> Result<Option<Value>> {
        let mut piece = match &part.kind {
            PartKind::Text(text) => json!({"type": "input_text", "text": text}),
            PartKind::Refusal(text) => json!({"type": "input_text", "text": text}),
            PartKind::Image { source, detail } => {
                self.has(Feature::ImageInput, path)?;
                self.image(source, detail.as_deref(), path)?
            }
            PartKind::File { source, name } => {
                self.has(Feature::FileInput, path)?;
                self.file(source, name.as_deref(), path)?
            }
            PartKind::Own(own) if self.is_own() => return Ok(Some(own.clone())),
            PartKind::Own(_) => return self.leave(Feature::OwnPart, path),
            PartKind::Audio(_) => return self.leave(Feature::AudioInput, path),
            PartKind::Video(_) => return self.leave(Feature::VideoInput, path),
            PartKind::Reasoning { .. } => return self.leave(Feature::ReasoningHistory, path),
            PartKind::Hidden(_) => return self.leave(Feature::Seal, path),
            PartKind::ToolCall { .. } | PartKind::ToolResult { .. } => {
                return self.leave(Feature::OwnPart, path);
            }
        };
        self.add_rest(&mut piece, &part.rest, path)?;
        Ok(Some(piece))
    }

    fn image(&mut self, source: &Source, detail: Option<&str>, path: &str) -> Result<Value> {
        let mut piece = match source {
            Source::Inline { mime, data } => {
                json!({"type": "input_image", "image_url": format!("data:{mime};base64,{data}")})
            }
            Source::Url { url, .. } => json!({"type": "input_image", "image_url": url}),
            Source::Id(id) => {
                self.id(path)?;
                json!({"type": "input_image", "file_id": id})
            }
        };
        let usual = (!self.is_own()).then_some("auto");
        if let Some(detail) = detail.or(usual) {
            piece["detail"] = Value::from(detail);
        }
        Ok(piece)
    }

    fn file(&mut self, source: &Source, name: Option<&str>, path: &str) -> Result<Value> {
        let mut piece = match source {
            Source::Inline { mime, data } => {
                json!({"type": "input_file", "file_data": format!("data:{mime};base64,{data}")})
            }
            Source::Url { url, .. } => json!({"type": "input_file", "file_url": url}),
            Source::Id(id) => {
                self.id(path)?;
                json!({"type": "input_file", "file_id": id})
            }
        };
        let made = match source {
            Source::Inline { mime, .. } if !self.is_own() => Some(name_of(mime)),
            _ => None,
        };
        let name = name.or(made.as_deref());
        if let Some(name) = name.filter(|_| self.is_own() || piece.get("file_data").is_some()) {
            piece["filename"] = Value::from(name);
        }
        Ok(piece)
    }

    /// Chat completions and responses share one store of files.
    fn id(&mut self, path: &str) -> Result<()> {
        if self.is_own() || self.from == DialectName::OpenAi {
            return Ok(());
        }
        self.losses.leave_out(Feature::FileId, path)
    }

    /// Refuses or reports what the provider lacks.
    pub fn has(&mut self, feature: Feature, path: &str) -> Result<bool> {
        if self.losses.lacks(feature) {
            self.losses.leave_out(feature, path)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Leaves the piece out, if that is allowed.
    pub fn leave(&mut self, feature: Feature, path: &str) -> Result<Option<Value>> {
        self.losses.leave_out(feature, path)?;
        Ok(None)
    }

    /// Writes unknown fields back in their own dialect, and tells of them otherwise.
    pub fn add_rest(
        &mut self,
        object: &mut Value,
        rest: &Map<String, Value>,
        path: &str,
    ) -> Result<()> {
        match object {
            Value::Object(fields) if self.is_own() => {
                fields.extend(rest.iter().map(|(key, value)| (key.clone(), value.clone())));
                Ok(())
            }
            _ => self.leave_rest(rest, path),
        }
    }

    /// Tells of fields that go nowhere.
    pub fn leave_rest(&mut self, rest: &Map<String, Value>, path: &str) -> Result<()> {
        for key in rest.keys() {
            let is_mark = key == "cache_control" || key == "cachePoint";
            let feature = if is_mark { Feature::CacheMark } else { Feature::UnknownField };
            self.losses.leave_out(feature, &format!("{path}.{key}"))?;
        }
        Ok(())
    }
}
