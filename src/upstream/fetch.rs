//! Fetches a document that is no provider's answer, such as a feed of prices.

use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use http::Method;
use reqwest::Url;
use tokio::time::timeout;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::upstream::Upstream;

impl Upstream {
    /// The whole document, if it has at most `most` bytes and comes within `limit`.
    ///
    /// # Errors
    /// It cannot be had, is too large, or too slow.
    pub async fn fetch(&self, url: &str, most: usize, limit: Duration) -> Result<Bytes> {
        let fetched = timeout(limit, self.fetch_all(url, most, limit)).await;
        fetched.map_err(|_| Error::new(Kind::Timeout, format!("it took longer than {limit:?}")))?
    }

    async fn fetch_all(&self, url: &str, most: usize, limit: Duration) -> Result<Bytes> {
        let url = Url::parse(url)
            .map_err(|error| Error::new(Kind::Config, format!("no address: {error}")))?;
        // What the address is asked for may be a key, so errors do not show it.
        let failed = |error: reqwest::Error| {
            Error::new(Kind::Connect, format!("it cannot be had: {}", error.without_url()))
        };
        let request = reqwest::Request::new(Method::GET, url);
        let client = self.client(limit)?;
        let mut response = client.execute(request).await.map_err(failed)?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(Error::new(Kind::Status(status), format!("it has status {status}")));
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if whole.len() + piece.len() > most {
                return Err(Error::new(Kind::TooLarge, format!("it is larger than {most} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}
