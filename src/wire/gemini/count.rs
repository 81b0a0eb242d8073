//! `:countTokens`, which asks how long a prompt is.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;

use crate::chat::request::Request;
use crate::error::Result;
use crate::wire::gemini::read;
use crate::wire::json::bad;
use crate::wire::json::not_readable;

/// Reads what is to be counted: `contents`, or a whole `generateContentRequest`.
///
/// # Errors
/// As for a `generateContent` request.
pub fn read(body: &[u8], model: &str) -> Result<Request> {
    let what = "a countTokens request";
    let value: Value = serde_json::from_slice(body).map_err(|error| not_readable(&error, what))?;
    let Value::Object(mut fields) = value else {
        return Err(bad(format!("the body is not {what}: it must be an object")));
    };
    let whole = fields.shift_remove("generateContentRequest");
    let whole = whole.or_else(|| fields.shift_remove("generate_content_request"));
    read::from_value(whole.unwrap_or(Value::Object(fields)), model)
}

/// The answer.
pub fn write(tokens: u64) -> Bytes {
    Bytes::from(json!({"totalTokens": tokens}).to_string())
}
