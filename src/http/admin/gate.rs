//! Who may ask the admin plane: whoever knows its token, or, without one, this machine's own programs.
//!
//! A browser on this machine is such a program; what other people's pages ask by it is refused.

use std::sync::Arc;

use axum::extract::Request;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use secrecy::ExposeSecret;

use crate::config::Admission;
use crate::http::admin::message;
use crate::http::patience::patient;
use crate::http::site::host;
use crate::http::site::is_here;
use crate::page::POLICY;

/// What every answer says to browsers: nothing may frame it, run in it, guess its type or keep it.
static SAID: [(HeaderName, HeaderValue); 4] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// What is asked of whoever asks.
pub struct Gate {
    /// The hash of the token, because hashes compare in constant time.
    token: Option<blake3::Hash>,
    /// Whether only names of this machine are taken.
    is_local: bool,
}

impl Gate {
    /// As the configuration says.
    pub fn new(admission: &Admission) -> Arc<Self> {
        let token = match admission {
            Admission::Token(token) => Some(blake3::hash(token.expose_secret().as_bytes())),
            Admission::Local | Admission::Open => None,
        };
        Arc::new(Self { token, is_local: matches!(admission, Admission::Local) })
    }

    fn refusal(&self, request: &Request) -> Option<Response> {
        // Kubelets have no token, and learn nothing.
        if matches!(request.uri().path(), "/livez" | "/readyz") {
            return None;
        }
        let headers = request.headers();
        if let Some(token) = &self.token
            && !is_known(headers, token)
        {
            let what = "the admin plane wants its token (admin_token, UNDERSTUDY_ADMIN_TOKEN) as a bearer's";
            let mut response = message(StatusCode::UNAUTHORIZED, what);
            // Browsers ask people for a password then, which is the token.
            let ways = HeaderValue::from_static("Bearer, Basic realm=\"understudy\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, ways);
            return Some(response);
        }
        let host = host(headers, request.uri()).unwrap_or_default();
        if self.is_local && !is_here(host) {
            let what =
                "without admin_token the admin plane answers to localhost and addresses only";
            return Some(message(StatusCode::FORBIDDEN, what));
        }
        if !request.method().is_safe() && is_foreign(headers, host) {
            let what = "a page of another site may not change anything here";
            return Some(message(StatusCode::FORBIDDEN, what));
        }
        None
    }
}

/// Lets a request through, or refuses it.
pub async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let mut response = match gate.refusal(&request) {
        Some(refusal) => refusal,
        None => next.run(request.map(patient)).await,
    };
    let headers = response.headers_mut();
    for (name, value) in &SAID {
        headers.insert(name, value.clone());
    }
    if let Ok(policy) = HeaderValue::try_from(format!("{POLICY}; frame-ancestors 'none'")) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Whether the token is there, as a bearer's or as the password of anybody.
fn is_known(headers: &HeaderMap, token: &blake3::Hash) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, rest)) = given.and_then(|given| given.split_once(' ')) else { return false };
    let is = |word: &str| scheme.eq_ignore_ascii_case(word);
    if is("bearer") {
        return blake3::hash(rest.trim().as_bytes()) == *token;
    }
    let decoded = STANDARD.decode(rest.trim()).ok().filter(|_| is("basic"));
    let password = decoded.as_deref().and_then(|pair| {
        let colon = pair.iter().position(|byte| *byte == b':')?;
        pair.get(colon + 1..)
    });
    password.is_some_and(|password| blake3::hash(password) == *token)
}

/// Whether a browser says that a page of another site asks.
fn is_foreign(headers: &HeaderMap, host: &str) -> bool {
    let told = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if told("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let origin = told("origin").map(|origin| origin.split_once("://").map(|(_, host)| host));
    origin.is_some_and(|origin| origin != Some(host))
}
