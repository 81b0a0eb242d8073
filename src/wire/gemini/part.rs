//! Reads the turns of a Gemini conversation and the pieces they hold.

use serde_json::Map;
use serde_json::Value;

use crate::chat::Maker;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Role;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::gemini::field::Fields;
use crate::wire::json::bad;
use crate::wire::seal;

/// Begins the ids that we give to calls without one, so that other dialects can tell them apart.
pub const GIVEN_ID: &str = "gemini_call_";

/// The files that the Gemini API keeps; only Google can fetch them.
const FILES_API: &str = "generativelanguage.googleapis.com/";

/// Reads a conversation, turn by turn.
#[derive(Default)]
pub struct Turns {
    messages: Vec<Message>,
    calls: usize,
    /// Name and id of the calls that no result has been met for yet.
    open: Vec<(String, String)>,
}

impl Turns {
    /// Reads the next turn, which stands at `path`.
    ///
    /// # Errors
    /// A field has another type than it must have.
    pub fn push(&mut self, content: Value, path: &str) -> Result<()> {
        let mut fields = Fields::new(content, path)?;
        let role = match fields.text("role")?.as_deref() {
            None | Some("user" | "function" | "tool" | "") => Role::User,
            Some("model") => Role::Assistant,
            Some(_) => return Err(bad(format!("`{path}.role` must be user or model"))),
        };
        let parts = fields.list("parts")?.unwrap_or_default();
        let first = self.messages.len();
        for (at, part) in parts.into_iter().enumerate() {
            let read = self.part(part, &format!("{path}.parts[{at}]"))?;
            read.into_iter().for_each(|part| self.add(part, role, first));
        }
        if self.messages.len() == first {
            self.messages.push(Message::new(role, Vec::new()));
        }
        if let Some(message) = self.messages.get_mut(first) {
            message.rest = fields.rest();
        }
        Ok(())
    }

    /// The conversation.
    pub fn finish(self) -> Vec<Message> {
        self.messages
    }

    /// Results of tools are turns of their own; a turn of Gemini's may mix them with words.
    fn add(&mut self, part: Part, role: Role, first: usize) {
        let is_result = matches!(part.kind, PartKind::ToolResult { .. });
        let role = if is_result { Role::Tool } else { role };
        let last = self.messages.get_mut(first..).and_then(<[_]>::last_mut);
        match last.filter(|last| last.role == role) {
            Some(last) => {
                let part = gather_thought(&mut last.parts, part);
                last.parts.push(part);
            }
            None => self.messages.push(Message::new(role, vec![part])),
        }
    }

    /// One piece; a signature on words becomes a piece of its own.
    fn part(&mut self, part: Value, path: &str) -> Result<Vec<Part>> {
        if !KNOWN.iter().any(|key| has(&part, key)) {
            return Ok(vec![Part::new(PartKind::Own(part))]);
        }
        let mut fields = Fields::new(part, path)?;
        let mut rest = Map::new();
        if fields.has("text") {
            return words(fields);
        }
        let kind = if let Some(call) = fields.object("functionCall")? {
            let signature = fields.text("thoughtSignature")?;
            self.call(call, signature, &mut rest)?
        } else if let Some(result) = fields.object("functionResponse")? {
            self.result(result, &mut rest)?
        } else {
            media(&mut fields, &mut rest)?
        };
        rest.extend(fields.rest());
        Ok(vec![Part { kind, rest }])
    }

    fn call(
        &mut self,
        mut call: Fields,
        signature: Option<String>,
        rest: &mut Map<String, Value>,
    ) -> Result<PartKind> {
        let name = call.text("name")?.unwrap_or_default();
        let arguments = call.take("args").map(|args| args.to_string()).unwrap_or_default();
        let given = format!("{GIVEN_ID}{}", self.calls);
        let id = call.text("id")?.filter(|id| !id.is_empty()).unwrap_or(given);
        self.calls += 1;
        self.open.push((name.clone(), id.clone()));
        call.rest_below("functionCall", rest);
        let seal = signature.map(|signature| seal::read(&signature, Maker::Gemini));
        Ok(PartKind::ToolCall { id: Some(id), name, arguments, seal })
    }

    /// A result without an id belongs to the first unanswered call of its tool.
    fn result(&mut self, mut result: Fields, rest: &mut Map<String, Value>) -> Result<PartKind> {
        let name = result.text("name")?;
        let id = result.text("id")?.filter(|id| !id.is_empty());
        let place = self.open.iter().position(|(tool, open)| match &id {
            Some(id) => id == open,
            None => name.as_ref() == Some(tool),
        });
        let matched = place.map(|place| self.open.remove(place).1);
        let (mut parts, is_error) = said(result.object("response")?);
        let path = result.at("parts");
        for (at, part) in result.list("parts")?.unwrap_or_default().into_iter().enumerate() {
            if !MEDIA.iter().any(|key| has(&part, key)) {
                parts.push(Part::new(PartKind::Own(part)));
                continue;
            }
            let mut fields = Fields::new(part, format!("{path}[{at}]"))?;
            let mut rest = Map::new();
            let kind = media(&mut fields, &mut rest)?;
            rest.extend(fields.rest());
            parts.push(Part { kind, rest });
        }
        result.rest_below("functionResponse", rest);
        Ok(PartKind::ToolResult { call_id: id.or(matched), name, parts, is_error })
    }
}

/// The pieces we understand; any other piece is kept whole.
const KNOWN: &[&str] = &["fileData", "functionCall", "functionResponse", "inlineData", "text"];

/// Those of them that hold a picture, a sound or a document.
const MEDIA: &[&str] = &["fileData", "inlineData"];

fn has(part: &Value, key: &str) -> bool {
    let is_it = |name: &String| *name == key || name.replace('_', "").eq_ignore_ascii_case(key);
    part.as_object().is_none_or(|part| part.iter().any(|(name, it)| is_it(name) && !it.is_null()))
}

fn words(mut fields: Fields) -> Result<Vec<Part>> {
    let is_thought = fields.flag("thought")? == Some(true);
    let text = fields.text("text")?.unwrap_or_default();
    let signature = fields.text("thoughtSignature")?.filter(|signature| !signature.is_empty());
    let seal = signature.map(|signature| seal::read(&signature, Maker::Gemini));
    let rest = fields.rest();
    if is_thought {
        return Ok(vec![Part { kind: PartKind::Reasoning { text, seal }, rest }]);
    }
    let hidden = seal.map(|seal| Part::new(PartKind::Hidden(seal)));
    // In a stream the signature comes alone, on empty words.
    if let Some(hidden) = hidden.as_ref().filter(|_| text.is_empty() && rest.is_empty()) {
        return Ok(vec![hidden.clone()]);
    }
    let words = Part { kind: PartKind::Text(text), rest };
    Ok([Some(words), hidden].into_iter().flatten().collect())
}

/// A stream gives thoughts in pieces and another maker's seal last, on empty words: to that maker
/// they are one thought.
fn gather_thought(parts: &mut Vec<Part>, mut part: Part) -> Part {
    let PartKind::Reasoning { text, seal: Some(seal) } = &mut part.kind else { return part };
    if seal.by == Maker::Gemini || !text.is_empty() {
        return part;
    }
    let is_open = |part: &Part| matches!(part.kind, PartKind::Reasoning { seal: None, .. });
    let whole = parts.iter().rposition(|part| !is_open(part)).map_or(0, |last| last + 1);
    for earlier in parts.drain(whole..) {
        if let PartKind::Reasoning { text: piece, .. } = &earlier.kind {
            text.push_str(piece);
        }
    }
    part
}

/// What a tool gave: words where it is nothing but words, else its JSON.
fn said(response: Option<Fields>) -> (Vec<Part>, bool) {
    let Some(response) = response else { return (Vec::new(), false) };
    let response = response.rest();
    let only = response.iter().next().filter(|_| response.len() == 1);
    match only {
        Some((key, Value::String(text))) if key == "error" => (vec![Part::text(text)], true),
        Some((key, Value::String(text))) if key == "result" && !is_object(text) => {
            (vec![Part::text(text)], false)
        }
        _ => (vec![Part::text(Value::Object(response).to_string())], false),
    }
}

/// Whether the text is a JSON object, which is written as one.
pub fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<Map<String, Value>>(text).is_ok()
}

fn media(fields: &mut Fields, rest: &mut Map<String, Value>) -> Result<PartKind> {
    if let Some(mut blob) = fields.object("inlineData")? {
        let mime = blob.text("mimeType")?.unwrap_or_default();
        let data = standard_base64(blob.text("data")?.unwrap_or_default());
        let is_file = !["image/", "audio/", "video/"].iter().any(|kind| mime.starts_with(kind));
        let name = if is_file { blob.text("displayName")? } else { None };
        blob.rest_below("inlineData", rest);
        return Ok(of_type(&mime.clone(), Source::Inline { mime, data }, name));
    }
    let Some(mut file) = fields.object("fileData")? else {
        return Err(bad(format!("`{}` must be an object", fields.at("fileData"))));
    };
    let url = file.text("fileUri")?.unwrap_or_default();
    let mime = file.text("mimeType")?;
    let kind = mime.clone().unwrap_or_else(|| guess(&url).to_owned());
    let source = if url.contains(FILES_API) {
        if let Some(mime) = mime {
            rest.insert("fileData.mimeType".to_owned(), Value::String(mime));
        }
        Source::Id(url)
    } else {
        Source::Url { url, mime }
    };
    file.rest_below("fileData", rest);
    Ok(of_type(&kind, source, None))
}

/// Google's SDKs write bytes in the alphabet for URLs, which only Google reads.
fn standard_base64(data: String) -> String {
    let missing = data.len().wrapping_neg() % 4;
    if !data.contains(['-', '_']) && missing == 0 {
        return data;
    }
    data.replace('-', "+").replace('_', "/") + "===".get(..missing).unwrap_or_default()
}

fn of_type(mime: &str, source: Source, name: Option<String>) -> PartKind {
    match mime.split('/').next() {
        Some("image") => PartKind::Image { source, detail: None },
        Some("audio") => PartKind::Audio(source),
        Some("video") => PartKind::Video(source),
        _ => PartKind::File { source, name },
    }
}

/// The media type that a URL's ending tells.
pub fn guess(url: &str) -> &'static str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let known = ENDINGS.iter().find(|(known, _)| *known == ending);
    match known {
        Some((_, mime)) => mime,
        None if url.contains("youtube.com/") || url.contains("youtu.be/") => "video/mp4",
        None => "",
    }
}

/// Endings of files that Gemini reads.
const ENDINGS: &[(&str, &str)] = &[
    ("csv", "text/csv"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("md", "text/markdown"),
    ("mov", "video/mov"),
    ("mp3", "audio/mp3"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("ogg", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
];
