//! Vectors in OpenAI's dialect, as numbers or as base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::ProviderError;
use crate::chat::Usage;
use crate::chat::fold::Fold;
use crate::wire::Asked;
use crate::wire::openai::failure::MALFORMED;
use crate::wire::openai::failure::provider_error;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    data: Vec<Item>,
    #[serde(default)]
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    index: Option<u32>,
    embedding: Vector,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Deserialize)]
struct Counts {
    prompt_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

/// Reads a whole body.
pub fn decode(body: &str) -> Vec<ChatEvent> {
    match serde_json::from_str::<Body>(body) {
        Ok(body) => events(body).unwrap_or_else(|| {
            vec![malformed("a vector is neither numbers nor base64 of 32-bit floats".to_owned())]
        }),
        Err(error) => match serde_json::from_str::<Value>(body) {
            Ok(value) => vec![ChatEvent::Error(provider_error(&value))],
            Err(_) => {
                let (line, column) = (error.line(), error.column());
                vec![malformed(format!("not JSON: line {line} column {column}"))]
            }
        },
    }
}

/// In the order of the inputs, whatever order they come in.
fn events(body: Body) -> Option<Vec<ChatEvent>> {
    let mut events = vec![ChatEvent::Start { id: body.id, model: body.model, fingerprint: None }];
    let items = (0..).zip(body.data).map(|(at, item)| (item.index.unwrap_or(at), item.embedding));
    let mut items: Vec<(u32, Vector)> = items.collect();
    items.sort_by_key(|(index, _)| *index);
    for (index, vector) in items {
        let vector = match vector {
            Vector::Floats(floats) => floats,
            Vector::Base64(text) => floats(&text)?,
        };
        events.push(ChatEvent::Embedding { index, vector });
    }
    if let Some(Counts { prompt_tokens, total_tokens }) = body.usage {
        let (input_tokens, total_tokens) = (prompt_tokens, total_tokens);
        events.push(ChatEvent::Usage(Usage { input_tokens, total_tokens, ..Usage::default() }));
    }
    events.push(ChatEvent::Done);
    Some(events)
}

/// Little-endian floats of 32 bits, as OpenAI sends them.
fn floats(text: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (floats, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

fn malformed(message: String) -> ChatEvent {
    let kind = Some(MALFORMED.to_owned());
    ChatEvent::Error(ProviderError { kind, message, ..ProviderError::default() })
}

#[derive(Serialize)]
struct BodyOut<'a> {
    object: &'static str,
    data: Vec<ItemOut<'a>>,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<CountsOut>,
}

#[derive(Serialize)]
struct ItemOut<'a> {
    object: &'static str,
    index: usize,
    embedding: VectorOut<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum VectorOut<'a> {
    Floats(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct CountsOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<u64>,
}

/// Writes a whole body in the form that the application asked for.
pub fn encode(asked: &Asked, events: &[ChatEvent]) -> Bytes {
    let answer = folded(events);
    let encoding = asked.request.embed.as_ref().and_then(|embed| embed.encoding.as_deref());
    let mut data = Vec::with_capacity(answer.embeddings.len());
    for (index, vector) in answer.embeddings.iter().enumerate() {
        let embedding = match encoding {
            Some("base64") => VectorOut::Base64(base64(vector)),
            _ => VectorOut::Floats(vector),
        };
        data.push(ItemOut { object: "embedding", index, embedding });
    }
    let body = BodyOut {
        object: "list",
        data,
        model: answer.model.as_deref().unwrap_or(&asked.request.model),
        usage: answer.usage.map(|usage| CountsOut {
            prompt_tokens: usage.input_tokens,
            // Nothing but the input is counted.
            total_tokens: usage.total_tokens.or(usage.input_tokens),
        }),
    };
    // Strings and numbers are always JSON.
    Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
}

/// The answer that the events tell.
pub fn folded(events: &[ChatEvent]) -> Answer {
    let mut fold = Fold::new();
    events.iter().for_each(|event| fold.push(event.clone()));
    fold.finish()
}

fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

/// A failure in OpenAI's shape.
pub fn failure(status: u16, error: &ProviderError) -> Bytes {
    let kind = error.kind.as_deref().unwrap_or(match status {
        401 => "authentication_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    });
    let body = json!({"error": {
        "message": error.message, "type": kind, "param": error.param, "code": error.code,
    }});
    Bytes::from(body.to_string())
}
