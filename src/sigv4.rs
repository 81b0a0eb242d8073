//! Amazon's request signature, version 4; pure: the time is passed in.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::fmt::Write;

use jiff::Timestamp;
use ring::digest;
use ring::hmac;

use crate::wire::converse::push_encoded;

/// Who signs, for which service and where.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The key's public half.
    pub access_key: &'a str,
    /// The key's secret half.
    pub secret_key: &'a str,
    /// What comes with a temporary key.
    pub session_token: Option<&'a str>,
    /// Such as `eu-central-1`.
    pub region: &'a str,
    /// The service's name in signatures, such as `bedrock`.
    pub service: &'a str,
}

/// What is signed, as it goes over the wire.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// The method.
    pub method: &'a str,
    /// The path with its query, percent-encoded as it is sent.
    pub path: &'a str,
    /// The headers to sign; `host` must be among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl Signer<'_> {
    /// The headers to add so that the request counts as the signer's at `now`.
    pub fn sign(&self, request: &Signed<'_>, now: Timestamp) -> Vec<(&'static str, String)> {
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = now.strftime("%Y%m%d").to_string();
        let mut added = vec![("x-amz-date", time.clone())];
        if let Some(token) = self.session_token {
            added.push(("x-amz-security-token", token.to_owned()));
        }
        let headers = canonical_headers(request.headers, &added);
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let canonical = hex(digest::digest(
            &digest::SHA256,
            canonical_request(request, &headers, &names).as_bytes(),
        ));
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let signature = hex(hmac::sign(&self.key(&date), to_sign.as_bytes()));
        let credential = format!("{}/{scope}", self.access_key);
        added.push((
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, \
                 Signature={signature}"
            ),
        ));
        added
    }

    /// A key for one day, region and service, so that the secret itself signs nothing.
    fn key(&self, date: &str) -> hmac::Key {
        let secret = format!("AWS4{}", self.secret_key);
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        for part in [date, self.region, self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        key
    }
}

fn canonical_request(request: &Signed<'_>, headers: &[(String, String)], names: &str) -> String {
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let body = hex(digest::digest(&digest::SHA256, request.body));
    let (path, query) = (canonical_path(path), canonical_query(query));
    format!("{}\n{path}\n{query}\n{lines}\n{names}\n{body}", request.method)
}

/// Lower-case names in order, each once, its values trimmed, single-spaced and joined by commas.
fn canonical_headers(given: &[(&str, &str)], added: &[(&str, String)]) -> Vec<(String, String)> {
    let added = added.iter().map(|(name, value)| (*name, value.as_str()));
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in given.iter().copied().chain(added) {
        let name = name.to_ascii_lowercase();
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        match headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                known.push(',');
                known.push_str(&value);
            }
            None => headers.push((name, value)),
        }
    }
    headers.sort();
    headers
}

/// Without dots and doubled slashes, and encoded once more: every service but S3 wants it so.
fn canonical_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let is_folder = path.ends_with('/') && !parts.is_empty();
    let mut out = String::from("/");
    for byte in parts.join("/").bytes() {
        if byte == b'/' { out.push('/') } else { push_encoded(byte, &mut out) }
    }
    if is_folder {
        out.push('/');
    }
    out
}

/// The pairs in order, as they are encoded already.
fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> =
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join("&")
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    let mut out = String::with_capacity(64);
    for byte in bytes.as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::Signed;
    use super::Signer;

    const HOST: (&str, &str) = ("host", "bedrock-runtime.eu-central-1.amazonaws.com");
    const JSON: (&str, &str) = ("content-type", "application/json");

    /// Made with botocore 1 (`botocore.auth.SigV4Auth`) at a fixed time.
    #[test]
    fn signatures_are_those_of_the_official_sdk() {
        let arn = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A\
                   inference-profile%2Fabc/converse-stream";
        let claude = "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse";
        let query = "/foundation-models?byProvider=Anthropic&byInferenceType=ON_DEMAND\
                     &empty&a=%20b";
        let token = Some("IQoJb3JpZ2luX2VjEXAMPLE//token==");
        let odd = ("X-Custom", "  two   spaces ");
        let host = ("Host", HOST.1);
        check(
            ("POST", claude),
            &[HOST, JSON],
            r#"{"messages":[]}"#,
            None,
            &[
                "content-type;host;x-amz-date",
                "f514733183afb4970ea860ad9b223fc57c9cb865f6deafb1505fe2a6ea70c689",
            ],
        );
        check(
            ("POST", arn),
            &[HOST, JSON],
            "{}",
            None,
            &[
                "content-type;host;x-amz-date",
                "99d713fae8fe1d235e32a578e66ea9b07bead7a21b65d5ab80eb5c936a9f517e",
            ],
        );
        let nova = "/model/amazon.nova-lite-v1:0/converse";
        check(
            ("POST", nova),
            &[HOST, JSON],
            "{\"a\":\"é\"}",
            token,
            &[
                "content-type;host;x-amz-date;x-amz-security-token",
                "40b8351f7956ad6f1198c138549cc36f7ca88088eb2ac6701fe6be1d2da69ca7",
            ],
        );
        check(
            ("GET", query),
            &[HOST],
            "",
            None,
            &[
                "host;x-amz-date",
                "d7fb7dfc8e5749ea8bba27f9deac2fb34711fcf75c5c7ef8ff1d8f3f42d381e4",
            ],
        );
        check(
            ("GET", "//a/./b/../c d/"),
            &[host, odd],
            "",
            Some("tok"),
            &[
                "host;x-amz-date;x-amz-security-token;x-custom",
                "46d41ffa8a125d1858f56004e16358e3f5d5423e431e23a36b74c6e09b8d68bd",
            ],
        );
        check(
            ("GET", "/"),
            &[HOST],
            "",
            None,
            &[
                "host;x-amz-date",
                "8d25ff125d7ec1523d8a04a06d03a9a320d8834d8bc535106040c5c79332df52",
            ],
        );
    }

    fn check(
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
        session_token: Option<&str>,
        expected: &[&str; 2],
    ) {
        let signer = Signer {
            access_key: "AKIDEXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session_token,
            region: "eu-central-1",
            service: "bedrock",
        };
        let now: Timestamp = "2026-11-23T18:30:05Z".parse().unwrap();
        let request = Signed { method, path, headers, body: body.as_bytes() };
        let added = signer.sign(&request, now);
        let [names, signature] = expected;
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-central-1/bedrock/aws4_request, \
             SignedHeaders={names}, Signature={signature}"
        );
        let mut wanted = vec![("x-amz-date", "20261123T183005Z".to_owned())];
        wanted.extend(session_token.map(|token| ("x-amz-security-token", token.to_owned())));
        wanted.push(("authorization", authorization));
        assert_eq!(added, wanted, "{method} {path}");
    }
}
