//! Writes a conversation as Gemini's turns.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::Recipient;
use crate::wire::arguments;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::gemini::field;
use crate::wire::gemini::part::GIVEN_ID;
use crate::wire::gemini::part::guess;
use crate::wire::gemini::part::is_object;
use crate::wire::gemini::thinking::is_before_3;
use crate::wire::seal;

/// What Gemini 3 takes in place of the signature of a call that another model made.
///
/// It refuses a history whose calls have none. Source:
/// <https://ai.google.dev/gemini-api/docs/thought-signatures#faqs>.
pub const NOT_SIGNED: &str = "skip_thought_signature_validator";

/// A conversation in Gemini's form.
#[derive(Default)]
pub struct Conversation {
    /// `systemInstruction`.
    pub system: Option<Value>,
    /// `contents`.
    pub contents: Vec<Value>,
}

/// Writes the messages of a request.
///
/// # Errors
/// They hold what Gemini cannot read and what may not be left out.
pub fn write(request: &Request, to: &Recipient<'_>, losses: &mut Losses) -> Result<Conversation> {
    let is_own = request.dialect == DialectName::Gemini;
    let is_old = is_before_3(to.model);
    let mut writer = Writer { request, is_own, is_old, losses };
    let (mut system, mut system_rest) = (Vec::new(), Map::new());
    let mut turns: Vec<Turn> = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        let path = format!("messages[{at}]");
        writer.leave_out_of(message, &path)?;
        if matches!(message.role, Role::System | Role::Developer) {
            writer.parts(message, &path, &mut system)?;
            system_rest.extend(message.rest.clone());
            continue;
        }
        let mut turn = Turn::of(message);
        writer.parts(message, &path, &mut turn.parts)?;
        if !is_own && turn.parts.is_empty() {
            continue;
        }
        match turns.last_mut().filter(|last| last.continues(&turn)) {
            Some(last) => {
                last.parts.append(&mut turn.parts);
                last.ends_in_results = turn.ends_in_results;
            }
            None => turns.push(turn),
        }
    }
    // Gemini wants something to answer.
    if !is_own && turns.is_empty() && !system.is_empty() {
        turns.push(Turn { role: "user", ends_in_results: false, parts: system, rest: Map::new() });
        system = Vec::new();
    }
    let has_system = !system.is_empty() || (is_own && !system_rest.is_empty());
    let system = has_system.then(|| {
        let mut content = Map::from_iter([("parts".to_owned(), Value::Array(system))]);
        content.extend(if is_own { system_rest } else { Map::new() });
        Value::Object(content)
    });
    let contents = turns.into_iter().map(|turn| turn.content(is_own)).collect();
    Ok(Conversation { system, contents })
}

/// Reports the fields of a message, piece or tool that only their own dialect knows.
///
/// # Errors
/// None that the table of losses knows today.
pub fn leave_out_rest(rest: &Map<String, Value>, path: &str, losses: &mut Losses) -> Result<()> {
    rest.keys().try_for_each(|key| {
        let is_mark = matches!(key.as_str(), "cache_control" | "cachePoint");
        let feature = if is_mark { Feature::CacheMark } else { Feature::UnknownField };
        losses.leave_out(feature, &format!("{path}.{key}"))
    })
}

struct Turn {
    role: &'static str,
    ends_in_results: bool,
    parts: Vec<Value>,
    rest: Map<String, Value>,
}

impl Turn {
    fn of(message: &Message) -> Self {
        let role = if message.role == Role::Assistant { "model" } else { "user" };
        let ends_in_results = message.role == Role::Tool;
        Self { role, ends_in_results, parts: Vec::new(), rest: message.rest.clone() }
    }

    /// All results of one turn of calls, and what the user says to them, are one turn.
    fn continues(&self, next: &Self) -> bool {
        self.role == "user"
            && next.role == "user"
            && (self.ends_in_results || next.ends_in_results)
            && next.rest.is_empty()
    }

    fn content(self, is_own: bool) -> Value {
        let mut content = Map::new();
        content.insert("role".to_owned(), self.role.into());
        content.insert("parts".to_owned(), Value::Array(self.parts));
        if is_own {
            content.extend(self.rest);
        }
        Value::Object(content)
    }
}

struct Writer<'a> {
    request: &'a Request,
    is_own: bool,
    is_old: bool,
    losses: &'a mut Losses,
}

impl Writer<'_> {
    fn leave_out_of(&mut self, message: &Message, path: &str) -> Result<()> {
        if message.name.is_some() {
            self.losses.leave_out(Feature::Name, &format!("{path}.name"))?;
        }
        if self.is_own {
            return Ok(());
        }
        leave_out_rest(&message.rest, path, self.losses)
    }

    fn parts(&mut self, message: &Message, path: &str, out: &mut Vec<Value>) -> Result<()> {
        let mut is_signed = self.is_own || self.is_old;
        let begins = out.len();
        for (at, part) in message.parts.iter().enumerate() {
            let path = format!("{path}.content[{at}]");
            let before = out.len();
            self.part(part, &path, begins, out)?;
            // Only the first call of a turn needs a signature.
            if matches!(part.kind, PartKind::ToolCall { .. }) && !is_signed {
                is_signed = true;
                if let Some(Value::Object(call)) = out.last_mut() {
                    call.entry("thoughtSignature").or_insert_with(|| NOT_SIGNED.into());
                }
            }
            if !self.is_own {
                leave_out_rest(&part.rest, &path, self.losses)?;
            } else if let Some(Value::Object(written)) = out.get_mut(before) {
                field::put_back(written, &part.rest);
            }
        }
        Ok(())
    }

    fn part(&mut self, part: &Part, path: &str, begins: usize, out: &mut Vec<Value>) -> Result<()> {
        let written = match &part.kind {
            PartKind::Text(text) | PartKind::Refusal(text) => json!({"text": text}),
            PartKind::Image { source, detail } => {
                if detail.as_deref().is_some_and(|detail| detail != "auto") {
                    self.losses.leave_out(Feature::ImageDetail, &format!("{path}.detail"))?;
                }
                self.media(source, Feature::ImageInput, path)?
            }
            PartKind::Audio(source) => self.media(source, Feature::AudioInput, path)?,
            PartKind::Video(source) => self.media(source, Feature::VideoInput, path)?,
            PartKind::File { source, name } => self.file(source, name.as_deref(), path)?,
            PartKind::Reasoning { text, seal } => {
                if self.losses.lacks(Feature::ReasoningHistory) {
                    return self.losses.leave_out(Feature::ReasoningHistory, path);
                }
                let signature = self.signature(seal.as_ref(), path)?;
                if text.is_empty() && signature.is_none() {
                    return Ok(());
                }
                signed(json!({"text": text, "thought": true}), signature)
            }
            PartKind::Hidden(seal) => {
                let Some(signature) = self.signature(Some(seal), path)? else { return Ok(()) };
                return hidden(signature, begins, out);
            }
            PartKind::ToolCall { id, name, arguments, seal } => {
                let signature = self.signature(seal.as_ref(), path)?;
                let call = self.call(id.as_deref(), name, arguments);
                signed(json!({"functionCall": call}), signature)
            }
            PartKind::ToolResult { .. } => return self.result(&part.kind, path, out),
            PartKind::Own(own) if self.is_own => own.clone(),
            PartKind::Own(_) => return self.losses.leave_out(Feature::OwnPart, path),
        };
        out.push(written);
        Ok(())
    }

    /// Another maker's seal means nothing to Gemini, which may even refuse it.
    fn signature(&mut self, seal: Option<&Seal>, path: &str) -> Result<Option<String>> {
        let Some(seal) = seal else { return Ok(None) };
        if self.is_own || seal.by == Maker::Gemini {
            return Ok(Some(seal::write(seal, Maker::Gemini)));
        }
        self.losses.leave_out(Feature::Seal, &format!("{path}.signature"))?;
        Ok(None)
    }

    fn call(&self, id: Option<&str>, name: &str, arguments: &str) -> Value {
        let mut call = Map::new();
        call.extend(self.id(id));
        call.insert("name".to_owned(), name.into());
        if !(self.is_own && arguments.is_empty()) {
            call.insert("args".to_owned(), arguments::value(arguments));
        }
        Value::Object(call)
    }

    /// An id that we gave is not Gemini's.
    fn id(&self, id: Option<&str>) -> Option<(String, Value)> {
        let id = id.filter(|id| !(self.is_own && id.starts_with(GIVEN_ID)))?;
        Some(("id".to_owned(), id.into()))
    }

    fn result(&mut self, result: &PartKind, path: &str, out: &mut Vec<Value>) -> Result<()> {
        let PartKind::ToolResult { call_id, name, parts, is_error } = result else { return Ok(()) };
        let known = call_id.as_deref().and_then(|id| self.request.tool_of_call(id));
        let name = name.as_deref().or(known).or(call_id.as_deref());
        let mut response = Map::new();
        response.extend(self.id(call_id.as_deref()));
        // Gemini wants a name even of a tool that the history does not tell.
        let name = name.or((!self.is_own).then_some("tool"));
        response.extend(name.map(|name| ("name".to_owned(), name.into())));
        let (mut texts, mut media) = (Vec::new(), Vec::new());
        for (at, part) in parts.iter().enumerate() {
            let path = format!("{path}.content[{at}]");
            match &part.kind {
                PartKind::Text(text) => texts.push(text.as_str()),
                _ if self.losses.lacks(Feature::ToolResultMedia) => {
                    self.losses.leave_out(Feature::ToolResultMedia, &path)?;
                }
                _ => self.part(part, &path, usize::MAX, &mut media)?,
            }
            match media.last_mut() {
                Some(Value::Object(written)) if self.is_own => {
                    field::put_back(written, &part.rest);
                }
                _ if self.is_own => {}
                _ => leave_out_rest(&part.rest, &path, self.losses)?,
            }
        }
        if !(self.is_own && texts.is_empty()) {
            response.insert("response".to_owned(), response_object(&texts.join("\n"), *is_error));
        }
        // Before Gemini 3 a result is words only, and what belongs to it follows in the same turn.
        let beside =
            if self.is_own || !self.is_old { Vec::new() } else { std::mem::take(&mut media) };
        if !media.is_empty() {
            response.insert("parts".to_owned(), Value::Array(media));
        }
        out.push(json!({"functionResponse": response}));
        out.extend(beside);
        Ok(())
    }

    fn file(&mut self, source: &Source, name: Option<&str>, path: &str) -> Result<Value> {
        let mut file = self.media(source, Feature::FileInput, path)?;
        match (name, file.get_mut("inlineData")) {
            (Some(name), Some(blob)) if self.is_own => blob["displayName"] = name.into(),
            (Some(_), _) => {
                self.losses.leave_out(Feature::Name, &format!("{path}.filename"))?;
            }
            (None, _) => {}
        }
        Ok(file)
    }

    fn media(&mut self, source: &Source, feature: Feature, path: &str) -> Result<Value> {
        if self.losses.lacks(feature) {
            self.losses.leave_out(feature, path)?;
        }
        Ok(match source {
            Source::Inline { mime, data } => {
                json!({"inlineData": {"mimeType": mime, "data": data}})
            }
            Source::Url { url, mime } => {
                if self.losses.lacks(Feature::UrlSource) {
                    self.losses.leave_out(Feature::UrlSource, path)?;
                }
                let guessed = Some(guess(url)).filter(|guess| !self.is_own && !guess.is_empty());
                let mut file = json!({"fileUri": url});
                if let Some(mime) = mime.as_deref().or(guessed) {
                    file["mimeType"] = mime.into();
                }
                json!({"fileData": file})
            }
            Source::Id(id) => {
                if !self.is_own {
                    self.losses.leave_out(Feature::FileId, path)?;
                }
                json!({"fileData": {"fileUri": id}})
            }
        })
    }
}

/// The signature of words stands on them; where there are none it stands on empty ones.
fn hidden(signature: String, begins: usize, out: &mut Vec<Value>) -> Result<()> {
    let last = out.get_mut(begins..).and_then(<[Value]>::last_mut).and_then(Value::as_object_mut);
    let is_open = |part: &&mut Map<String, Value>| {
        part.contains_key("text")
            && !part.contains_key("thought")
            && !part.contains_key("thoughtSignature")
    };
    match last.filter(is_open) {
        Some(words) => {
            words.insert("thoughtSignature".to_owned(), signature.into());
        }
        None => out.push(json!({"text": "", "thoughtSignature": signature})),
    }
    Ok(())
}

fn signed(mut part: Value, signature: Option<String>) -> Value {
    if let Some(signature) = signature {
        part["thoughtSignature"] = signature.into();
    }
    part
}

/// What a tool gave must be an object too.
fn response_object(text: &str, is_error: bool) -> Value {
    if is_error {
        return json!({"error": text});
    }
    let object = is_object(text).then(|| serde_json::from_str(text).ok()).flatten();
    object.unwrap_or_else(|| json!({"result": text}))
}
