//! Error bodies without the keys that were sent: some providers quote a key that they refuse.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http_body::Body;
use http_body::Frame;
use memchr::memmem;

use crate::provider::KEY_HEADERS;

/// Shorter words are no keys and may be anywhere.
const MIN_SECRET: usize = 8;

/// What no error may quote: the keys among a request's headers, and what the configuration added.
pub fn secrets(headers: &HeaderMap) -> Vec<HeaderValue> {
    let is_secret = |name: &HeaderName, value: &HeaderValue| {
        (value.is_sensitive() || KEY_HEADERS.contains(name)) && value.len() >= MIN_SECRET
    };
    let found = headers.iter().filter(|(name, value)| is_secret(name, value));
    found.map(|(_, value)| value.clone()).collect()
}

/// A body in which the secrets are stars, so that its length stays the same.
pub fn scrub(body: reqwest::Body, secrets: &[HeaderValue]) -> reqwest::Body {
    let bare = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        Bytes::copy_from_slice(bytes.strip_prefix(b"Bearer ").unwrap_or(bytes))
    };
    let secrets: Vec<Bytes> =
        secrets.iter().map(bare).filter(|secret| secret.len() >= MIN_SECRET).collect();
    match secrets.is_empty() {
        true => body,
        false => reqwest::Body::wrap(Scrubbed { body, stars: Stars::new(secrets) }),
    }
}

struct Scrubbed {
    body: reqwest::Body,
    stars: Stars,
}

impl Body for Scrubbed {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
            let passed = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.stars.pass(&data),
                    // Trailers go nowhere.
                    Err(_) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let rest = self.stars.rest();
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
            };
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
    }
}

/// Replaces secrets in bytes that come in pieces.
struct Stars {
    secrets: Vec<Bytes>,
    /// What may be the beginning of one.
    held: BytesMut,
}

impl Stars {
    fn new(secrets: Vec<Bytes>) -> Self {
        Self { secrets, held: BytesMut::new() }
    }

    fn pass(&mut self, piece: &[u8]) -> Bytes {
        self.held.extend_from_slice(piece);
        for secret in &self.secrets {
            while let Some(at) = memmem::find(&self.held, secret) {
                self.held.iter_mut().skip(at).take(secret.len()).for_each(|byte| *byte = b'*');
            }
        }
        let longest = self.secrets.iter().map(Bytes::len).max().unwrap_or(0).saturating_sub(1);
        let begins = |from: &usize| {
            let end = self.held.get(*from..).unwrap_or_default();
            self.secrets.iter().any(|secret| secret.starts_with(end))
        };
        let from = self.held.len().saturating_sub(longest);
        let end = (from..self.held.len()).find(begins).unwrap_or(self.held.len());
        self.held.split_to(end).freeze()
    }

    fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Stars;

    #[test]
    fn a_secret_is_starred_however_the_body_is_cut_and_nothing_else_changes() {
        let body = b"no sk-secret-1 but sk-secret-2sk-secret-1, sk-secret- and sk-secre";
        let expected = b"no *********** but **********************, sk-secret- and sk-secre";
        for first in 0..body.len() {
            for second in first..body.len() {
                let secrets = ["sk-secret-1", "sk-secret-2"].map(Bytes::from).to_vec();
                let mut stars = Stars::new(secrets);
                let mut out = Vec::new();
                for piece in [&body[..first], &body[first..second], &body[second..]] {
                    out.extend_from_slice(&stars.pass(piece));
                }
                out.extend_from_slice(&stars.rest());
                assert_eq!(out, expected, "cut at {first} and {second}");
            }
        }
    }
}
