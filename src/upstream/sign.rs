//! Signs a finished request the way Amazon wants it.

use bytes::Bytes;
use http::HeaderName;
use http::HeaderValue;
use http::header;
use reqwest::Url;

use crate::config::stores::AwsKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::sigv4::Signed;

/// The name of Bedrock, whose runtime is all that is signed, in signatures.
const SERVICE: &str = "bedrock";

/// Adds the signature; what is changed afterwards makes it invalid.
///
/// # Errors
/// The key's parts hold characters that no header can.
pub fn sign(
    request: &mut reqwest::Request,
    body: &Bytes,
    key: &AwsKey,
    region: &str,
) -> Result<()> {
    let url = request.url();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{}{query}", url.path());
    let host = host(url);
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let headers: Vec<(&str, &str)> = std::iter::once(("host", host.as_str()))
        .chain(kind.map(|kind| ("content-type", kind)))
        .collect();
    let signer = key.signer(region, SERVICE);
    let signed = Signed { method: request.method().as_str(), path: &path, headers: &headers, body };
    for (name, value) in signer.sign(&signed, jiff::Timestamp::now()) {
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            Error::new(Kind::Config, "the AWS credentials hold characters no header can")
        })?;
        value.set_sensitive(true);
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

/// As the `host` header will be: with the port unless it is the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
