//! Whose limits a call uses up.

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;

use http::HeaderMap;
use http::HeaderValue;

use crate::keyring::Digest;
use crate::provider::KEY_HEADERS;
use crate::quota::meter::Line;
use crate::upstream::Call;

/// What providers count apart: models, and accounts, which are told by the key that is sent.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    model: &'a str,
    /// The application's headers, which may bring its own key.
    headers: &'a HeaderMap,
    /// The key of ours that is sent instead.
    payer: Option<Digest>,
}

impl<'a> Account<'a> {
    /// The account that pays for a call.
    pub fn of(call: &Call<'a>, payer: Option<Digest>) -> Self {
        Self { model: &call.target.model, headers: call.headers, payer }
    }

    /// The one that paid in the end.
    pub fn paid_by(self, payer: Option<Digest>) -> Self {
        Self { payer, ..self }
    }

    /// By what limits tell it from others.
    pub fn line(&self) -> Line {
        let mut line = DefaultHasher::new();
        self.model.hash(&mut line);
        match self.payer {
            Some(key) => key.hash(&mut line),
            None => KEY_HEADERS.iter().for_each(|name| {
                self.headers.get(name).map(HeaderValue::as_bytes).hash(&mut line);
            }),
        }
        line.finish()
    }
}
