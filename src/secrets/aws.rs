//! Reads secrets of AWS Secrets Manager.
//!
//! Source: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>.

use std::sync::OnceLock;
use std::time::Duration;

use http::HeaderValue;
use http::Uri;
use reqwest::Client;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde_json::Value;
use serde_json::json;

use crate::config::stores::Aws;
use crate::config::stores::AwsKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::secrets::Version;
use crate::secrets::answer::Answer;
use crate::secrets::answer::secret;
use crate::secrets::identity::Identity;
use crate::sigv4::Signed;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(8);

/// The service's name in signatures and hosts.
const SERVICE: &str = "secretsmanager";
const GET: &str = "secretsmanager.GetSecretValue";
const JSON: &str = "application/x-amz-json-1.1";

/// An account, and who asks it.
pub struct Account {
    settings: Aws,
    identity: Identity,
    client: OnceLock<Client>,
}

impl Account {
    /// An account that was not asked yet.
    pub fn new(settings: Aws) -> Self {
        let identity = Identity::new(settings.login.clone());
        Self { settings, identity, client: OnceLock::new() }
    }

    /// The key that requests are signed with.
    ///
    /// # Errors
    /// Whoever gives it cannot be reached, or gives none.
    pub async fn key(&self, region: &str) -> Result<AwsKey> {
        self.identity.key(&client(&self.client)?, &self.url("sts", region)).await
    }

    /// A secret, or a field of one that is a JSON object.
    ///
    /// # Errors
    /// AWS is away or refuses, or there is no such secret, version or field.
    pub async fn read(
        &self,
        name: &str,
        field: Option<&str>,
        region: &str,
        version: Version,
    ) -> Result<SecretString> {
        let mut answer = self.get(name, region, version).await?;
        if matches!(code(&answer).as_str(), "ExpiredTokenException" | "ExpiredToken") {
            self.identity.forget();
            answer = self.get(name, region, version).await?;
        }
        if !answer.status.is_success() {
            return Err(refused(name, region, &answer));
        }
        let no_text = || {
            let what = format!("the secret {name} holds no text: store it as a string");
            Error::new(Kind::Config, what)
        };
        let text = secret(&answer.json(), "/SecretString").ok_or_else(no_text)?;
        let Some(field) = field else { return Ok(text) };
        let fields: Value = serde_json::from_str(text.expose_secret()).unwrap_or_default();
        let found = fields.get(field).and_then(Value::as_str).map(SecretString::from);
        found.ok_or_else(|| {
            let what = format!("the secret {name} has no field {field} that is text");
            Error::new(Kind::Config, format!("{what}: add it, or name another"))
        })
    }

    async fn get(&self, name: &str, region: &str, version: Version) -> Result<Answer> {
        let key = self.key(region).await?;
        let stage = match version {
            Version::Current => "AWSCURRENT",
            Version::Former => "AWSPREVIOUS",
        };
        let body = json!({"SecretId": name, "VersionStage": stage}).to_string();
        let url = self.url(SERVICE, region);
        let host = host(&url)?;
        let headers = [("host", host.as_str()), ("content-type", JSON), ("x-amz-target", GET)];
        let signer = key.signer(region, SERVICE);
        let signed = Signed { method: "POST", path: "/", headers: &headers, body: body.as_bytes() };
        let mut request = client(&self.client)?.post(&url);
        for (name, value) in signer.sign(&signed, jiff::Timestamp::now()) {
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| Error::new(Kind::Config, "the AWS key is no header's value"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request.header("content-type", JSON).header("x-amz-target", GET);
        Answer::to(request.body(body), "aws secrets manager").await
    }

    /// Where a service is: what was configured, or its own host in the region.
    fn url(&self, service: &str, region: &str) -> String {
        match &self.settings.endpoint {
            Some(endpoint) => format!("{}/", endpoint.to_string().trim_end_matches('/')),
            None if region.starts_with("cn-") => {
                format!("https://{service}.{region}.amazonaws.com.cn/")
            }
            None => format!("https://{service}.{region}.amazonaws.com/"),
        }
    }
}

/// As the `host` header will be.
fn host(url: &str) -> Result<String> {
    let wrong =
        || Error::new(Kind::Config, format!("{url} is no address: see secrets.aws.endpoint"));
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?;
    let is_usual = matches!((uri.scheme_str(), uri.port_u16()), (Some("https"), Some(443)))
        || matches!((uri.scheme_str(), uri.port_u16()), (Some("http"), Some(80)));
    Ok(match uri.port_u16().filter(|_| !is_usual) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

fn client(made: &OnceLock<Client>) -> Result<Client> {
    if let Some(client) = made.get() {
        return Ok(client.clone());
    }
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(3))
        .timeout(LIMIT)
        .build()
        .map_err(|e| Error::new(Kind::Internal, format!("starting the client of aws: {e}")))?;
    // Whoever comes second keeps a client of its own for this once.
    let _ = made.set(client.clone());
    Ok(client)
}

/// The name of an error: AWS says it in JSON, others that play AWS in XML; empty if there is none.
pub fn code(answer: &Answer) -> String {
    if answer.status.is_success() {
        return String::new();
    }
    let (json, text) = (answer.json(), answer.text());
    let kind = json.get("__type").and_then(Value::as_str).map(str::to_owned);
    let kind = kind.or_else(|| Some(element(&text, "Code")?.to_owned())).unwrap_or_default();
    let name = kind.rsplit('#').next().unwrap_or_default();
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    if is_word { name.to_owned() } else { String::new() }
}

/// The text of the first XML element of this name.
pub fn element<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

fn refused(name: &str, region: &str, answer: &Answer) -> Error {
    let (status, code) = (answer.status.as_u16(), code(answer));
    let remedy = match code.as_str() {
        "ResourceNotFoundException" => "create it, or correct its name or region",
        "InvalidRequestException" => "it may have been deleted: restore it",
        "AccessDeniedException" | "AccessDenied" => {
            "let the policy of the caller allow secretsmanager:GetSecretValue on it"
        }
        "DecryptionFailure" => "let the policy of the caller allow kms:Decrypt with its key",
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "IncompleteSignature"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch" => "check the AWS credentials",
        _ if answer.status.is_server_error() || code.starts_with("Throttling") => {
            let what = format!("aws secrets manager answered {status} {code}");
            return Error::new(Kind::Overloaded, what);
        }
        _ => "see the name of the error",
    };
    let what = format!("aws refuses the secret {name} in {region}, {status} {code}: {remedy}");
    Error::new(Kind::Config, what)
}

#[cfg(test)]
mod tests {
    use super::element;
    use super::host;

    #[test]
    fn hosts_are_signed_as_they_are_sent() {
        for (url, expected) in [
            (
                "https://secretsmanager.eu-central-1.amazonaws.com/",
                "secretsmanager.eu-central-1.amazonaws.com",
            ),
            ("https://a:443/", "a"),
            ("http://127.0.0.1:5000/", "127.0.0.1:5000"),
        ] {
            assert_eq!(host(url).unwrap(), expected);
        }
    }

    #[test]
    fn an_element_of_xml_is_found_by_name() {
        let xml = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        assert_eq!(element(xml, "Code"), Some("AccessDenied"));
        assert_eq!(element(xml, "Type"), None);
    }
}
