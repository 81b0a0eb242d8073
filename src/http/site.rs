//! Which sites a browser may come from: it runs other people's pages on this machine.
//!
//! A page whose name was made to lead here says so in `Host` (DNS rebinding), and one that posts or
//! opens a socket from elsewhere says so in `Origin`. Programs say an address or `localhost`, and
//! no origin at all.

use std::net::IpAddr;

use http::HeaderMap;
use http::Uri;
use http::header;
use http::request::Parts;

use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// By what name a request calls us.
pub fn host<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    let header = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| uri.authority().map(http::uri::Authority::as_str))
}

/// Whether a host is an address or `localhost`, which no page elsewhere can have as its name.
pub fn is_here(host: &str) -> bool {
    let Some(name) = name(host) else { return false };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
}

/// Whether the data plane answers to this name and to a page of that origin.
///
/// Where others reach it anyway, nothing is asked unless names are listed.
///
/// # Errors
/// It does not.
pub fn admitted(config: &Config, parts: &Parts) -> Result<()> {
    let listed = match &config.allow_hosts {
        Some(listed) => listed.as_slice(),
        None if config.listen.ip().is_loopback() => &[],
        None => return Ok(()),
    };
    let is_known = |host: &str| {
        let listed = |name: &str| listed.iter().any(|known| known.eq_ignore_ascii_case(name));
        is_here(host) || name(host).is_some_and(|name| listed(&name))
    };
    if !host(&parts.headers, &parts.uri).is_none_or(is_known) {
        let what = "this is neither an address nor localhost, and a page in a browser may have \
            made the name: call 127.0.0.1, or put the name into allow_hosts";
        return Err(Error::new(Kind::Forbidden, what));
    }
    let origin = parts.headers.get(header::ORIGIN);
    if !origin.is_none_or(|origin| is_ours(origin.to_str().unwrap_or("null"), is_known)) {
        let what = "a page of another site may not use this: put the site's name into allow_hosts";
        return Err(Error::new(Kind::Forbidden, what));
    }
    Ok(())
}

/// Whether an origin is that of a known site, or of a program such as an editor's extension.
fn is_ours(origin: &str, is_known: impl Fn(&str) -> bool) -> bool {
    match origin.split_once("://") {
        Some(("http" | "https", host)) => is_known(host),
        Some(_) => true,
        // Pages can make themselves an origin without a name.
        None => false,
    }
}

/// A host without its port and brackets.
fn name(host: &str) -> Option<String> {
    let authority: http::uri::Authority = host.parse().ok()?;
    Some(authority.host().trim_start_matches('[').trim_end_matches(']').to_owned())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::admitted;
    use crate::config::Config;

    #[test]
    fn what_a_page_of_another_site_would_send_is_told_from_what_programs_send() {
        let local = Config::default();
        let listed = Config { allow_hosts: Some(vec!["llm.test".to_owned()]), ..local.clone() };
        let open = Config { listen: ([0, 0, 0, 0], 4100).into(), ..local.clone() };
        let closed = Config { listen: open.listen, ..listed.clone() };
        for (host, origin, expected) in [
            (Some("127.0.0.1:4100"), None, [true, true, true, true]),
            (Some("localhost:4100"), None, [true, true, true, true]),
            (Some("app.localhost"), None, [true, true, true, true]),
            (Some("[::1]:4100"), None, [true, true, true, true]),
            (None, None, [true, true, true, true]),
            (Some("LLM.test:4100"), None, [false, true, true, true]),
            (Some("evil.test:4100"), None, [false, false, true, false]),
            (Some("evil.localhost.test"), None, [false, false, true, false]),
            (Some("127.0.0.1"), Some("http://localhost:3000"), [true, true, true, true]),
            (Some("127.0.0.1"), Some("https://llm.test"), [false, true, true, true]),
            (Some("127.0.0.1"), Some("https://evil.test"), [false, false, true, false]),
            (Some("127.0.0.1"), Some("null"), [false, false, true, false]),
            (Some("127.0.0.1"), Some("vscode-webview://a1"), [true, true, true, true]),
        ] {
            let mut request = Request::builder().uri("/v1/models");
            request = host.into_iter().fold(request, |request, host| request.header("host", host));
            request = origin.into_iter().fold(request, |request, at| request.header("origin", at));
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let told = [&local, &listed, &open, &closed].map(|to| admitted(to, &parts).is_ok());
            assert_eq!(told, expected, "{host:?} {origin:?}");
        }
    }
}
