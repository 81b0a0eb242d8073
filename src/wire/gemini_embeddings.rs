//! The Gemini embeddings dialect: `embedContent` for one input, `batchEmbedContents` for several.

pub mod answer;
pub mod request;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::chat::ChatEvent;
use crate::chat::DialectName;
use crate::chat::ProviderError;
use crate::chat::request::Request;
use crate::error::Result;
use crate::wire::Asked;
use crate::wire::ChatRequest;
use crate::wire::Decode;
use crate::wire::Dialect;
use crate::wire::Encode;
use crate::wire::InPath;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::embeddings::Gathered;
use crate::wire::embeddings::Whole;
use crate::wire::gemini::failure;
use crate::wire::gemini::model_path;
use crate::wire::gemini::plain_model;
use crate::wire::json;
use crate::wire::text;

const SORT: json::Sort = json::Sort { what: "an embedding request", has_messages: false };

/// The dialect; it has no state.
pub struct GeminiEmbeddings;

#[derive(Deserialize)]
struct Batch {
    requests: Option<IgnoredAny>,
}

impl Dialect for GeminiEmbeddings {
    fn name(&self) -> DialectName {
        DialectName::GeminiEmbeddings
    }

    /// Of what we write, which is always the form for several inputs.
    fn path(&self, model: &str, _is_stream: bool) -> String {
        format!("{}:batchEmbedContents", model_path(model))
    }

    fn path_of(&self, model: &str, is_stream: bool, body: &[u8]) -> String {
        match serde_json::from_slice::<Batch>(body) {
            Ok(Batch { requests: Some(_) }) => self.path(model, is_stream),
            _ => format!("{}:embedContent", model_path(model)),
        }
    }

    /// Every input of a batch repeats the model.
    fn rename(&self, head: &ChatRequest, model: &str) -> Bytes {
        let Ok(mut body) = serde_json::from_slice::<Value>(&head.body) else {
            return head.body.clone();
        };
        let name = Value::from(format!("models/{}", model.trim_start_matches("models/")));
        let mut is_changed = false;
        let mut rename = |request: &mut Value| {
            if let Some(place) = request.get_mut("model").filter(|place| **place != name) {
                *place = name.clone();
                is_changed = true;
            }
        };
        rename(&mut body);
        let inputs = body.get_mut("requests").and_then(Value::as_array_mut);
        inputs.into_iter().flatten().for_each(rename);
        if is_changed { Bytes::from(body.to_string()) } else { head.body.clone() }
    }

    fn read_head(&self, body: Bytes, in_path: Option<InPath>) -> Result<ChatRequest> {
        json::head(body, in_path.map(plain_model), SORT)
    }

    fn read(&self, head: &ChatRequest) -> Result<Request> {
        request::read(head)
    }

    fn write(&self, request: &Request, to: &Recipient<'_>) -> Result<Written> {
        request::write(request, to)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(Whole(answer::decode))
    }

    fn decode_body(&self, body: &[u8]) -> Vec<ChatEvent> {
        answer::decode(&text(body))
    }

    fn encoder(&self, asked: &Asked) -> Box<dyn Encode> {
        Box::new(Gathered::new(asked, answer::encode, failed))
    }

    fn encode_body(&self, asked: &Asked, events: &[ChatEvent]) -> Bytes {
        answer::encode(asked, events)
    }

    fn error_body(&self, status: u16, error: &ProviderError) -> Bytes {
        failed(status, error)
    }

    fn error_frame(&self, status: u16, error: &ProviderError) -> Bytes {
        failed(status, error)
    }
}

fn failed(status: u16, error: &ProviderError) -> Bytes {
    Bytes::from(failure::body(status, error).to_string())
}
