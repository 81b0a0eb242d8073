//! Writes the pieces of turns as Converse's blocks.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::arguments;
use crate::wire::call_id::CallIds;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::converse::media;
use crate::wire::converse::media::Names;
use crate::wire::converse::model::Family;
use crate::wire::json;
use crate::wire::quirk::Quirks;

/// Writes pieces, and remembers what one of them has to do with another.
pub struct Parts {
    /// The request was written in Converse's words.
    pub is_own: bool,
    /// Whose model it goes to.
    pub family: Family,
    /// What was left out so far.
    pub losses: Losses,
    ids: CallIds,
    names: Names,
}

impl Parts {
    /// Before the first piece.
    pub fn new(is_own: bool, family: Family, quirks: &Quirks) -> Self {
        Self {
            is_own,
            family,
            losses: Losses::new(DialectName::Converse, quirks),
            ids: CallIds::new(),
            names: Names::default(),
        }
    }

    /// Appends the block of a piece, and the mark for the cache that follows it.
    ///
    /// # Errors
    /// It must not be left out.
    pub fn write(&mut self, part: &Part, at: &str, out: &mut Vec<Value>) -> Result<()> {
        let block = match &part.kind {
            PartKind::Text(text) | PartKind::Refusal(text) => {
                // Bedrock refuses empty text.
                (self.is_own || !text.is_empty()).then(|| json!({"text": text}))
            }
            PartKind::ToolCall { id, name, arguments, seal } => {
                if seal.is_some() {
                    self.losses.leave_out(Feature::Seal, at)?;
                }
                Some(self.call(id.as_deref(), name, arguments))
            }
            PartKind::ToolResult { call_id, name, parts, is_error } => {
                let id = self.ids.result(call_id.as_deref(), name.as_deref());
                Some(self.result(&id, parts, *is_error, at)?)
            }
            PartKind::Reasoning { text, seal } => self.reasoning(text, seal.as_ref(), at)?,
            PartKind::Hidden(seal) if seal.by == Maker::Anthropic => {
                Some(json!({"reasoningContent": {"redactedContent": media::blob(&seal.data)}}))
            }
            PartKind::Hidden(_) => {
                self.losses.leave_out(Feature::Seal, at)?;
                None
            }
            PartKind::Own(own) if self.is_own => Some(own.clone()),
            PartKind::Own(_) => {
                self.losses.leave_out(Feature::OwnPart, at)?;
                None
            }
            kind => self.media(kind, at)?,
        };
        let Some(mut block) = block else { return Ok(()) };
        let mark = self.rest(&part.rest, at, &mut block)?;
        out.push(block);
        out.extend(mark);
        Ok(())
    }

    /// Writes fields without a canonical place back, or a mark for the cache of another dialect's.
    ///
    /// # Errors
    /// One must not be left out.
    pub fn rest(
        &mut self,
        rest: &Map<String, Value>,
        at: &str,
        written: &mut Value,
    ) -> Result<Option<Value>> {
        if self.is_own {
            json::merge_patch(written, rest);
            return Ok(None);
        }
        let mark = rest.get("cache_control").filter(|_| self.family.has_cache_points());
        let Some(mark) = mark else {
            self.leave_out_rest(rest, at)?;
            return Ok(None);
        };
        let mut others = rest.clone();
        others.shift_remove("cache_control");
        self.leave_out_rest(&others, at)?;
        let mut point = json!({"type": "default"});
        if let Some(ttl) = mark.get("ttl").filter(|ttl| *ttl == "1h") {
            point["ttl"] = ttl.clone();
        }
        Ok(Some(json!({"cachePoint": point})))
    }

    /// Leaves out the fields that only the request's own dialect knows.
    ///
    /// # Errors
    /// One must not be left out.
    pub fn leave_out_rest(&mut self, rest: &Map<String, Value>, at: &str) -> Result<()> {
        for key in rest.keys() {
            let feature = match key.as_str() {
                "cache_control" => Feature::CacheMark,
                _ => Feature::UnknownField,
            };
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            self.losses.leave_out(feature, &path)?;
        }
        Ok(())
    }

    fn id(&self, id: &str) -> String {
        media::call_id(id, self.family == Family::Anthropic && !self.is_own)
    }

    /// Converse takes an object only; anything else is put into one.
    fn call(&mut self, id: Option<&str>, name: &str, arguments: &str) -> Value {
        let id = self.ids.call(id, name);
        let input = arguments::value(arguments);
        json!({"toolUse": {"toolUseId": self.id(&id), "name": name, "input": input}})
    }

    fn result(&mut self, id: &str, parts: &[Part], is_error: bool, at: &str) -> Result<Value> {
        let mut content = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            let at = format!("{at}.content[{n}]");
            match &part.kind {
                PartKind::Text(_)
                | PartKind::Image { .. }
                | PartKind::File { .. }
                | PartKind::Video(_)
                | PartKind::Own(_) => {
                    let begin = content.len();
                    self.write(part, &at, &mut content)?;
                    // No mark for the cache stands inside a result.
                    if content.len() > begin + 1 {
                        content.truncate(begin + 1);
                        let at = format!("{at}.cache_control");
                        self.losses.leave_out(Feature::CacheMark, &at)?;
                    }
                }
                _ => self.losses.leave_out(Feature::ToolResultMedia, &at)?,
            }
        }
        let mut result = json!({"toolUseId": self.id(id), "content": content});
        if is_error {
            result["status"] = Value::from("error");
        }
        Ok(json!({"toolResult": result}))
    }

    /// Claude refuses reasoning that it has not signed, and most others refuse any.
    fn reasoning(&mut self, text: &str, seal: Option<&Seal>, at: &str) -> Result<Option<Value>> {
        let seal = match seal {
            Some(seal) if seal.by == Maker::Anthropic => Some(seal),
            Some(_) => {
                self.losses.leave_out(Feature::Seal, at)?;
                None
            }
            None => None,
        };
        if seal.is_none() && !self.is_own {
            self.losses.leave_out(Feature::ReasoningHistory, at)?;
            return Ok(None);
        }
        let mut thought = json!({"text": text});
        if let Some(seal) = seal {
            thought["signature"] = Value::from(seal.data.as_str());
        }
        Ok(Some(json!({"reasoningContent": {"reasoningText": thought}})))
    }

    fn media(&mut self, kind: &PartKind, at: &str) -> Result<Option<Value>> {
        let (key, feature, source) = match kind {
            PartKind::Image { source, detail } => {
                if detail.is_some() {
                    self.losses.leave_out(Feature::ImageDetail, &format!("{at}.detail"))?;
                }
                ("image", Feature::ImageInput, source)
            }
            PartKind::Audio(source) => ("audio", Feature::AudioInput, source),
            PartKind::Video(source) => ("video", Feature::VideoInput, source),
            PartKind::File { source, .. } => ("document", Feature::FileInput, source),
            _ => return Ok(None),
        };
        if self.losses.lacks(feature) {
            return self.losses.leave_out(feature, at).map(|()| None);
        }
        let (format, place) = match source {
            Source::Inline { mime, data } => (media::format(key, mime), json!({"bytes": data})),
            Source::Url { url, mime } if url.starts_with("s3://") => {
                let format = mime.as_deref().and_then(|mime| media::format(key, mime));
                let format = format.or_else(|| media::format_of_url(key, url));
                (format, json!({"s3Location": {"uri": url}}))
            }
            Source::Url { .. } => {
                return self.losses.leave_out(Feature::UrlSource, at).map(|()| None);
            }
            Source::Id(_) => return self.losses.leave_out(Feature::FileId, at).map(|()| None),
        };
        let Some(format) = format else {
            return self.losses.leave_out(feature, at).map(|()| None);
        };
        let mut held = json!({"format": format, "source": place});
        if let PartKind::File { name, .. } = kind {
            let name = match name {
                Some(name) if self.is_own => name.clone(),
                name => self.names.take(name.as_deref()),
            };
            held["name"] = Value::from(name);
        }
        Ok(Some(json!({key: held})))
    }
}
