//! Vectors in Gemini's dialect.

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::chat::ChatEvent;
use crate::chat::Usage;
use crate::wire::Asked;
use crate::wire::embeddings::answer::folded;
use crate::wire::gemini::failure;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    embedding: Option<Vector>,
    #[serde(default)]
    embeddings: Option<Vec<Vector>>,
    #[serde(default)]
    usage_metadata: Option<Counts>,
}

#[derive(Deserialize)]
struct Vector {
    values: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    prompt_token_count: Option<u64>,
    total_token_count: Option<u64>,
}

/// Reads a whole body.
pub fn decode(body: &str) -> Vec<ChatEvent> {
    let read = serde_json::from_str::<Body>(body);
    let vectors = read.map(|body| (body.embeddings, body.embedding, body.usage_metadata));
    let (vectors, usage) = match vectors {
        Ok((Some(vectors), _, usage)) => (vectors, usage),
        Ok((None, Some(vector), usage)) => (vec![vector], usage),
        Ok((None, None, _)) | Err(_) => return vec![ChatEvent::Error(no_vectors(body))],
    };
    let mut events = vec![ChatEvent::Start { id: None, model: None, fingerprint: None }];
    let vectors = (0..).zip(vectors);
    events.extend(vectors.map(|(index, of)| ChatEvent::Embedding { index, vector: of.values }));
    if let Some(Counts { prompt_token_count, total_token_count }) = usage {
        let (input_tokens, total_tokens) = (prompt_token_count, total_token_count);
        events.push(ChatEvent::Usage(Usage { input_tokens, total_tokens, ..Usage::default() }));
    }
    events.push(ChatEvent::Done);
    events
}

fn no_vectors(body: &str) -> crate::chat::ProviderError {
    match serde_json::from_str::<Value>(body) {
        Ok(value) => failure::read(&value),
        Err(error) => failure::not_json(&error),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BodyOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<VectorOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embeddings: Option<Vec<VectorOut<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<CountsOut>,
}

#[derive(Serialize)]
struct VectorOut<'a> {
    values: &'a [f32],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CountsOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_token_count: Option<u64>,
}

/// Writes a whole body: of one vector if one input was given as such, else of a list.
pub fn encode(asked: &Asked, events: &[ChatEvent]) -> Bytes {
    let answer = folded(events);
    let is_single = asked.request.embed.as_ref().is_some_and(|embed| embed.is_single);
    let mut vectors = answer.embeddings.iter().map(|values| VectorOut { values });
    let usage_metadata = answer.usage.map(|usage| CountsOut {
        prompt_token_count: usage.input_tokens,
        total_token_count: usage.total_tokens,
    });
    let body = if is_single {
        BodyOut { embedding: vectors.next(), embeddings: None, usage_metadata }
    } else {
        BodyOut { embedding: None, embeddings: Some(vectors.collect()), usage_metadata }
    };
    // Strings and numbers are always JSON.
    Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
}
