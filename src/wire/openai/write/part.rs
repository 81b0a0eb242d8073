//! Writes the pieces of a message's content.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::carry::Feature;
use crate::wire::openai::read::IS_LIST;
use crate::wire::openai::write::Draft;

impl Draft<'_> {
    /// Content as a string where one text is all there is, else a list; `None` for nothing.
    pub(super) fn content(
        &mut self,
        parts: &[(usize, &Part)],
        path: &str,
        spelled: Option<&Map<String, Value>>,
    ) -> Result<Option<Value>> {
        let has = |key: &str| spelled.is_some_and(|spelled| spelled.contains_key(key));
        if has("content") || parts.is_empty() {
            return Ok(None);
        }
        if let [(_, Part { kind: PartKind::Text(text), rest })] = parts
            && (rest.is_empty() || self.is_all_lost(rest))
            && !has(IS_LIST)
        {
            for key in rest.keys() {
                self.losses.leave_out(Feature::CacheMark, &format!("{path}.content[0].{key}"))?;
            }
            return Ok(Some(text.as_str().into()));
        }
        let mut list = Vec::new();
        for (at, part) in parts {
            list.extend(self.part(part, &format!("{path}.content[{at}]"))?);
        }
        Ok((!list.is_empty()).then_some(Value::Array(list)))
    }

    /// Marks for the cache of another dialect say nothing here, so that a string will do.
    fn is_all_lost(&self, rest: &Map<String, Value>) -> bool {
        !self.is_own && rest.keys().all(|key| key == "cache_control")
    }

    fn part(&mut self, part: &Part, path: &str) -> Result<Option<Value>> {
        let written = match &part.kind {
            PartKind::Text(text) => json!({"type": "text", "text": text}),
            PartKind::Refusal(text) => json!({"type": "text", "text": text}),
            PartKind::Image { source, detail } => {
                let Some(url) = self.source(Feature::ImageInput, source, path)? else {
                    return Ok(None);
                };
                let mut image = json!({"url": url});
                if let Some(detail) = detail {
                    if self.losses.lacks(Feature::ImageDetail) {
                        let field = format!("{path}.detail");
                        self.losses.leave_out(Feature::ImageDetail, &field)?;
                    } else {
                        image["detail"] = detail.as_str().into();
                    }
                }
                json!({"type": "image_url", "image_url": image})
            }
            PartKind::Video(source) => match self.source(Feature::VideoInput, source, path)? {
                // OpenRouter's and Qwen's; OpenAI has no place for it.
                Some(url) if self.is_own => json!({"type": "video_url", "video_url": {"url": url}}),
                _ => return self.lost(Feature::VideoInput, path),
            },
            PartKind::Audio(source) => match (source, self.losses.lacks(Feature::AudioInput)) {
                (Source::Inline { mime, data }, false) => {
                    let sound = json!({"data": data, "format": sound_format(mime)});
                    json!({"type": "input_audio", "input_audio": sound})
                }
                (Source::Url { .. }, false) => return self.lost(Feature::UrlSource, path),
                (Source::Id(_), false) => return self.lost(Feature::FileId, path),
                (_, true) => return self.lost(Feature::AudioInput, path),
            },
            PartKind::File { source, name } => {
                let Some(file) = self.file(source, name.as_deref(), path)? else {
                    return Ok(None);
                };
                json!({"type": "file", "file": file})
            }
            PartKind::Own(own) if self.is_own => own.clone(),
            PartKind::Own(_) => return self.lost(Feature::OwnPart, path),
            PartKind::Reasoning { .. } | PartKind::Hidden(_) => {
                return self.lost(Feature::ReasoningHistory, path);
            }
            PartKind::ToolCall { .. } | PartKind::ToolResult { .. } => {
                return self.lost(Feature::OwnPart, path);
            }
        };
        let Value::Object(mut written) = written else { return Ok(Some(written)) };
        self.give_back(&mut written, &part.rest, path)?;
        Ok(Some(Value::Object(written)))
    }

    fn lost(&mut self, feature: Feature, path: &str) -> Result<Option<Value>> {
        self.losses.leave_out(feature, path)?;
        Ok(None)
    }

    /// A URL, which holds the thing itself if it is in the request.
    fn source(&mut self, feature: Feature, source: &Source, path: &str) -> Result<Option<String>> {
        let lost = match source {
            _ if self.losses.lacks(feature) => feature,
            Source::Inline { mime, data } => return Ok(Some(format!("data:{mime};base64,{data}"))),
            Source::Url { url, .. } if !self.losses.lacks(Feature::UrlSource) => {
                return Ok(Some(url.clone()));
            }
            Source::Url { .. } => Feature::UrlSource,
            Source::Id(_) => Feature::FileId,
        };
        self.losses.leave_out(lost, path)?;
        Ok(None)
    }

    fn file(&mut self, source: &Source, name: Option<&str>, path: &str) -> Result<Option<Value>> {
        let (key, value) = match source {
            _ if self.losses.lacks(Feature::FileInput) => {
                return self.lost(Feature::FileInput, path);
            }
            Source::Inline { mime, data } => ("file_data", format!("data:{mime};base64,{data}")),
            // An id is known to its own provider only, and OpenAI takes no URL for a file.
            Source::Id(id) if self.is_own => ("file_id", id.clone()),
            Source::Id(_) => return self.lost(Feature::FileId, path),
            Source::Url { url, .. } if self.is_own => ("file_data", url.clone()),
            Source::Url { .. } => return self.lost(Feature::UrlSource, path),
        };
        let mut file = json!({key: value});
        // OpenAI requires a name with the data.
        let made_up = (!self.is_own && key == "file_data").then_some("file");
        if let Some(name) = name.or(made_up) {
            file["filename"] = name.into();
        }
        Ok(Some(file))
    }
}

/// OpenAI's word for a sound of that type.
fn sound_format(mime: &str) -> &str {
    let subtype = mime.split_once('/').map_or(mime, |(_, subtype)| subtype);
    match subtype {
        "mpeg" | "mp3" => "mp3",
        "wav" | "x-wav" | "wave" | "vnd.wave" => "wav",
        other => other,
    }
}
