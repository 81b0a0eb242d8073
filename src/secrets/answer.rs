//! Reads what a store says, within limits, and never shows it.

use bytes::Bytes;
use bytes::BytesMut;
use http::StatusCode;
use secrecy::SecretString;
use serde_json::Value;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// The most that a store may say.
const MOST: usize = 1 << 20;

/// What a store said.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// Sends a request to `who` and reads the whole answer.
    ///
    /// # Errors
    /// `who` cannot be reached, or says too much.
    pub async fn to(request: reqwest::RequestBuilder, who: &str) -> Result<Self> {
        let broken = |error: &reqwest::Error| {
            let mut cause: &dyn std::error::Error = error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            let kind = if error.is_timeout() { Kind::Timeout } else { Kind::Connect };
            Error::new(kind, format!("{who} cannot be reached: {cause}"))
        };
        let mut response = request.send().await.map_err(|error| broken(&error))?;
        let (status, mut body) = (response.status(), BytesMut::new());
        while let Some(piece) = response.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + piece.len() > MOST {
                return Err(Error::new(Kind::Broken, format!("{who} says more than 1 MiB")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Self { status, body: body.freeze() })
    }

    /// As JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// As text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Text at a JSON pointer that nobody may see.
pub fn secret(value: &Value, pointer: &str) -> Option<SecretString> {
    let text = value.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then(|| SecretString::from(text))
}
