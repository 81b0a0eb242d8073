//! Reads `secrets`: how Vault and AWS Secrets Manager are reached, and who asks.
//!
//! The variables that their own tools read are the defaults.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use secrecy::ExposeSecret;

use super::credential;
use super::credential::Outside;
use super::place;
use super::read::Section;
use super::read::Wrong;
use super::read::quote;
use super::tree::Node;
use super::value;
use crate::keyring::Key;
use crate::sigv4::Signer;

/// Where the token of a pod's service account for Vault is usually mounted.
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The only hosts that EKS and ECS give credentials on without TLS, beside this machine itself.
const CREDENTIAL_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// How stores of secrets are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Stores {
    /// Vault or OpenBao.
    pub vault: Option<Vault>,
    /// AWS.
    pub aws: Aws,
    /// Between two looks at a secret.
    pub refresh: Duration,
}

/// A Vault or OpenBao server.
#[derive(Clone, Debug, PartialEq)]
pub struct Vault {
    /// Without slash at its end.
    pub address: Uri,
    /// The namespace of a server that has several.
    pub namespace: Option<String>,
    /// The authority that its certificate is from, PEM.
    pub ca_file: Option<PathBuf>,
    /// Who asks; `None` where nothing says so.
    pub login: Option<Login>,
}

/// How a process makes itself known to Vault.
#[derive(Clone, Debug, PartialEq)]
pub enum Login {
    /// With a token that somebody else got.
    Token(Given),
    /// With a role's two halves.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The public half.
        role_id: String,
        /// The other one.
        secret_id: Given,
    },
    /// With the token of its Kubernetes service account.
    Kubernetes {
        /// Where the method is mounted.
        mount: String,
        /// The role in Vault.
        role: String,
        /// The token.
        token_file: PathBuf,
    },
}

/// A secret that opens others.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// It is at hand.
    Known(Key),
    /// It stands in a file, which is read whenever it is wanted.
    File(PathBuf),
}

/// How AWS is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Aws {
    /// The region of secrets whose key and name say nothing else.
    pub region: Option<String>,
    /// What is asked instead of AWS itself.
    pub endpoint: Option<Uri>,
    /// Who asks.
    pub login: Option<AwsLogin>,
}

/// How a process makes itself known to AWS, in the order in which its SDKs look.
#[derive(Clone, Debug, PartialEq)]
pub enum AwsLogin {
    /// With a key of the environment.
    Key(AwsKey),
    /// With a token of its service account (IRSA).
    WebIdentity {
        /// The role to take.
        role_arn: String,
        /// The token.
        token_file: PathBuf,
        /// What the session is called.
        session: String,
    },
    /// By asking an agent beside it (EKS Pod Identity, ECS).
    Container {
        /// The agent.
        url: Uri,
        /// What it wants to see.
        token: Option<Given>,
    },
}

/// A key of AWS.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsKey {
    /// Its public half.
    pub id: String,
    /// Its secret half.
    pub secret: Key,
    /// What comes with a key that lasts for a while only.
    pub session: Option<Key>,
}

impl AwsKey {
    /// Signs with it, for a service in a region.
    pub fn signer<'a>(&'a self, region: &'a str, service: &'a str) -> Signer<'a> {
        Signer {
            access_key: &self.id,
            secret_key: self.secret.secret.expose_secret(),
            session_token: self.session.as_ref().map(|session| session.secret.expose_secret()),
            region,
            service,
        }
    }
}

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the environment says of stores.
pub fn known(env: Env<'_>) -> Stores {
    let text = |name: &str| env(name).map(|text| text.trim().to_owned()).filter(|t| !t.is_empty());
    let vault = text("VAULT_ADDR").and_then(|address| server(&address)).map(|address| Vault {
        address,
        namespace: text("VAULT_NAMESPACE"),
        ca_file: text("VAULT_CACERT").map(PathBuf::from),
        login: token(env),
    });
    let region = text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION"));
    let endpoint = text("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| text("AWS_ENDPOINT_URL"));
    let endpoint = endpoint.and_then(|endpoint| server(&endpoint));
    let login = aws_login(&text);
    Stores { vault, aws: Aws { region, endpoint, login }, refresh: Duration::from_secs(60) }
}

fn token(env: Env<'_>) -> Option<Login> {
    let token = credential::checked(&env("VAULT_TOKEN")?)?;
    Some(Login::Token(Given::Known(Key::new(token))))
}

fn aws_login(text: &dyn Fn(&str) -> Option<String>) -> Option<AwsLogin> {
    let key = |name: &str| Some(Key::new(credential::checked(&text(name)?)?));
    if let (Some(id), Some(secret)) = (text("AWS_ACCESS_KEY_ID"), key("AWS_SECRET_ACCESS_KEY")) {
        return Some(AwsLogin::Key(AwsKey { id, secret, session: key("AWS_SESSION_TOKEN") }));
    }
    let web = (text("AWS_ROLE_ARN"), text("AWS_WEB_IDENTITY_TOKEN_FILE"));
    if let (Some(role_arn), Some(token_file)) = web {
        let session = text("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "understudy".to_owned());
        let token_file = PathBuf::from(token_file);
        return Some(AwsLogin::WebIdentity { role_arn, token_file, session });
    }
    let url = text("AWS_CONTAINER_CREDENTIALS_FULL_URI").or_else(|| {
        let path = text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")?;
        Some(format!("http://169.254.170.2{path}"))
    })?;
    let file = text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from).map(Given::File);
    let token = file.or_else(|| key("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Given::Known));
    let url = url.parse().ok().filter(gives_credentials)?;
    Some(AwsLogin::Container { url, token })
}

/// Whether credentials may be asked for there: by TLS, on this machine, or from AWS's own agents.
fn gives_credentials(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    url.scheme_str() == Some("https") || is_loopback(host) || CREDENTIAL_HOSTS.contains(&host)
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Overwrites what the environment says with the section of the file.
pub fn read(s: &mut Section<'_, '_, '_>, outside: Outside<'_>, stores: &mut Stores) {
    s.section("secrets", |s| {
        s.set("refresh", &mut stores.refresh, value::duration);
        s.section("vault", |s| vault(s, outside, &mut stores.vault));
        s.section("aws", |s| {
            stores.aws.region = s.take("region", place::part).or(stores.aws.region.take());
            stores.aws.endpoint = address(s, "endpoint").or(stores.aws.endpoint.take());
        });
    });
}

fn vault(s: &mut Section<'_, '_, '_>, outside: Outside<'_>, into: &mut Option<Vault>) {
    let before = into.take();
    if before.is_none() {
        s.need("address", "write for example address: https://vault:8200, or set VAULT_ADDR");
    }
    let found = address(s, "address");
    let before = before.or_else(|| {
        let (address, login) = (Uri::default(), token(outside.env));
        Some(Vault { address, namespace: None, ca_file: None, login })
    });
    let Some(mut vault) = before else { return };
    vault.address = found.unwrap_or(vault.address);
    vault.namespace = s.take("namespace", value::header_value).or(vault.namespace);
    vault.ca_file = s.take("ca_file", value::text).map(PathBuf::from).or(vault.ca_file);
    let auth = s.find("auth");
    if let Some(node) = auth {
        s.reader.hide(node);
        let path = s.path("auth");
        let login = s.reader.section(node, &path, |s| auth_of(s, outside)).flatten();
        vault.login = login.or(vault.login);
    } else if vault.login.is_none() {
        let help =
            "write for example auth: { kubernetes: { role: understudy } }, or set VAULT_TOKEN";
        s.need("auth", help);
    }
    if vault.address.scheme_str() == Some("http")
        && !is_loopback(vault.address.host().unwrap_or_default())
        && let Some(at) = s.key_at("address")
    {
        let what = "keys come from Vault in the clear";
        s.reader.warn(at, what, "use https unless something else protects the way");
    }
    *into = Some(vault);
}

fn auth_of(s: &mut Section<'_, '_, '_>, outside: Outside<'_>) -> Option<Login> {
    let token = given(s, "token", outside).map(Login::Token);
    let app_role = s.section("app_role", |s| {
        s.need("role_id", "write the role's id");
        s.need("secret_id", "write for example secret_id: { env: VAULT_SECRET_ID }");
        let mount = s.take("mount", mount).unwrap_or_else(|| "approle".to_owned());
        let (role_id, secret_id) = (s.take("role_id", value::text), given(s, "secret_id", outside));
        Some(Login::AppRole { mount, role_id: role_id?, secret_id: secret_id? })
    });
    let kubernetes = s.section("kubernetes", |s| {
        s.need("role", "write the role in Vault");
        let mount = s.take("mount", mount).unwrap_or_else(|| "kubernetes".to_owned());
        let token_file = s.take("token_file", value::text).unwrap_or_else(|| TOKEN_FILE.to_owned());
        let (role, token_file) = (s.take("role", value::text)?, PathBuf::from(token_file));
        Some(Login::Kubernetes { mount, role, token_file })
    });
    let ways = ["token", "app_role", "kubernetes"];
    let count = ways.iter().filter(|way| s.key_at(way).is_some()).count();
    if count != 1 {
        let help = "write { token: … }, { app_role: … } or { kubernetes: … }";
        s.reader.problem(s.at, format!("`secrets.vault.auth` needs one way and has {count}"), help);
    }
    token.or(app_role.flatten()).or(kubernetes.flatten())
}

/// `{ env: NAME }` or `{ file: PATH }`.
fn given(s: &mut Section<'_, '_, '_>, key: &'static str, outside: Outside<'_>) -> Option<Given> {
    let path = s.path(key);
    let given = s.section(key, |s| {
        let (env, file) = (s.take("env", credential::variable), s.take("file", value::text));
        let count = ["env", "file"].iter().filter(|key| s.key_at(key).is_some()).count();
        if count != 1 {
            let help = "write { env: NAME } or { file: PATH }";
            s.reader.problem(s.at, format!("`{path}` needs one source and has {count}"), help);
        }
        if let Some(file) = file {
            return Some(Given::File(PathBuf::from(file)));
        }
        let name = env?;
        let found = (outside.env)(&name).as_deref().and_then(credential::checked);
        if found.is_none() {
            let what = format!("the environment variable {} holds nothing usable", quote(&name));
            s.reader.problem(s.at, what, "set it, or read it from a file");
        }
        found.map(|secret| Given::Known(Key::new(secret)))
    });
    given.flatten()
}

/// Where a method is mounted.
fn mount(node: &Node) -> Result<String, Wrong> {
    let text = value::text(node)?;
    let mount = text.trim_matches('/');
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    if !mount.is_empty() && mount.bytes().all(is_plain) && !mount.contains("..") {
        return Ok(mount.to_owned());
    }
    Err(value::expected("the path of an auth method", node, "write for example kubernetes"))
}

/// The address of a server; what is refused may hold a password and is not shown.
fn address(s: &mut Section<'_, '_, '_>, key: &'static str) -> Option<Uri> {
    let node = s.find(key)?;
    let found = value::any_text(node).ok().and_then(server);
    if found.is_none() {
        s.reader.hide(node);
        let what = format!("`{}` has to be an http or https URL of a server", s.path(key));
        s.reader.problem(node.start, what, "write for example https://vault.example:8200");
    }
    found
}

fn server(text: &str) -> Option<Uri> {
    let text = text.trim().trim_end_matches('/');
    let uri: Uri = text.parse().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_plain = !text.contains(['@', '?', '#']) && uri.host().is_some_and(|h| !h.is_empty());
    (is_web && is_plain).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::AwsLogin;
    use super::Given;
    use super::Login;
    use super::known;

    /// How AWS is asked with these variables.
    fn aws(variables: &[(&str, &str)]) -> Option<AwsLogin> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        known(&|name| find(name).map(|(_, value)| (*value).to_owned())).aws.login
    }

    #[test]
    fn credentials_are_looked_for_in_the_order_of_the_sdks() {
        let key = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let role = [("AWS_ROLE_ARN", "r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "f")];
        let pod = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")];
        let all = [&key[..], &role, &pod].concat();
        assert!(matches!(aws(&all), Some(AwsLogin::Key(_))));
        assert!(matches!(aws(&all[1..]), Some(AwsLogin::WebIdentity { .. })));
        assert!(matches!(aws(&all[3..]), Some(AwsLogin::Container { .. })));
        assert_eq!(aws(&[]), None);
        let relative = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")];
        let Some(AwsLogin::Container { url, .. }) = aws(&relative) else { panic!("none") };
        assert_eq!(url, "http://169.254.170.2/v2/x");
    }

    #[test]
    fn credentials_come_from_this_machine_or_over_tls() {
        for (url, is_allowed) in [
            ("http://127.0.0.1:8000/x", true),
            ("http://localhost/x", true),
            ("http://[::1]/x", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("https://agent.example/x", true),
            ("http://169.254.169.254/latest/meta-data", false),
            ("http://agent.example/x", false),
            ("http://127.0.0.1.example/x", false),
        ] {
            let found = aws(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)]);
            assert_eq!(found.is_some(), is_allowed, "{url}");
        }
    }

    #[test]
    fn vault_is_known_by_its_own_variables() {
        let stores = known(&|name| match name {
            "VAULT_ADDR" => Some("https://vault:8200/".to_owned()),
            "VAULT_TOKEN" => Some("t".to_owned()),
            "VAULT_NAMESPACE" => Some("team".to_owned()),
            _ => None,
        });
        let vault = stores.vault.unwrap();
        assert_eq!(vault.address.authority().unwrap(), "vault:8200");
        assert_eq!(vault.namespace.as_deref(), Some("team"));
        assert!(matches!(vault.login, Some(Login::Token(Given::Known(_)))));
    }
}
