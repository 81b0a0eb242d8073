//! Puts a base URL and the path of an endpoint together, whatever both have in common.

use http::Uri;

use crate::chat::DialectName;

/// Ends of a base URL that belong to an endpoint, by dialect; longer ones first.
const ENDPOINTS: &[(DialectName, &[&str])] = &[
    (DialectName::OpenAi, &["/chat/completions"]),
    (DialectName::Responses, &["/responses"]),
    (DialectName::Anthropic, &["/v1/messages", "/messages"]),
    (DialectName::Gemini, &["/models", "/v1beta/openai"]),
    (DialectName::Completions, &["/completions"]),
    (DialectName::Embeddings, &["/embeddings"]),
    (DialectName::GeminiEmbeddings, &["/models"]),
    (DialectName::Cohere, &["/v2/chat", "/chat"]),
    (DialectName::Converse, &["/model"]),
];

/// Where a path with a model's name in it begins to be an endpoint's.
const MODEL_FOLDERS: &[(DialectName, &str)] = &[
    (DialectName::Gemini, "/models/"),
    (DialectName::GeminiEmbeddings, "/models/"),
    (DialectName::Converse, "/model/"),
];

/// The URL of `path` below `base`.
///
/// A version at the beginning of the path gives way to one at the end of the base, so that a base
/// with or without it is right.
pub fn join(base: &Uri, path: &str) -> String {
    let is_versioned = is_versioned(base.path());
    let rest = without_version(path).filter(|_| is_versioned).unwrap_or(path);
    let base = base.to_string();
    format!("{}{rest}", base.trim_end_matches('/'))
}

/// The URL of a client's own path: [`join`], but what it repeats of the base counts once.
pub fn below(base: &Uri, path: &str) -> String {
    let shared = base.path().trim_end_matches('/');
    let rest = path.strip_prefix(shared).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match rest.filter(|_| !shared.is_empty()) {
        Some(rest) => format!("{}{rest}", base.to_string().trim_end_matches('/')),
        None => join(base, path),
    }
}

/// `base` without the endpoint at its end that one of the dialects would add itself.
pub fn without_endpoint<'b>(base: &'b str, dialects: &[DialectName]) -> Option<&'b str> {
    let spoken = |dialect: &DialectName| dialects.contains(dialect);
    let endpoints = ENDPOINTS.iter().filter(|(dialect, _)| spoken(dialect));
    let mut ends = endpoints.flat_map(|(_, ends)| ends.iter());
    let mut folders = MODEL_FOLDERS.iter().filter(|(dialect, _)| spoken(dialect));
    ends.find_map(|end| base.strip_suffix(end))
        .or_else(|| folders.find_map(|(_, folder)| Some(base.split_once(folder)?.0)))
}

/// Whether no version may follow: `…/v1`, or Vertex AI's `…/publishers/google`.
fn is_versioned(path: &str) -> bool {
    let mut segments = path.trim_end_matches('/').rsplit('/');
    let (last, before) = (segments.next(), segments.next());
    last.is_some_and(is_version) || before == Some("publishers")
}

/// The rest of a path that begins with a version, from its slash on.
fn without_version(path: &str) -> Option<&str> {
    let inside = path.strip_prefix('/')?;
    let end = inside.find('/')?;
    let (first, rest) = inside.split_at(end);
    is_version(first).then_some(rest)
}

/// `v1`, `v1beta`, `v2`, `v4`.
fn is_version(segment: &str) -> bool {
    let digits = segment.strip_prefix('v').unwrap_or_default();
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::below;
    use super::join;
    use super::without_endpoint;
    use crate::chat::DialectName;

    #[test]
    fn a_version_stands_in_a_url_once() {
        for (base, path, url) in [
            ("https://h", "/v1/messages", "https://h/v1/messages"),
            ("https://h/", "/v1/messages", "https://h/v1/messages"),
            ("https://h/v1", "/v1/messages", "https://h/v1/messages"),
            ("https://h/v1", "/chat/completions", "https://h/v1/chat/completions"),
            ("https://h", "/chat/completions", "https://h/chat/completions"),
            ("https://h/v1beta", "/v1beta/models/m:x", "https://h/v1beta/models/m:x"),
            ("https://h/v1", "/v1beta/models/m:x", "https://h/v1/models/m:x"),
            ("https://h/api/paas/v4", "/v1/embeddings", "https://h/api/paas/v4/embeddings"),
            ("https://h/anthropic", "/v1/messages", "https://h/anthropic/v1/messages"),
            ("https://h/v1/a/b", "/v1/messages", "https://h/v1/a/b/v1/messages"),
            (
                "https://h/v1/projects/p/locations/l/publishers/google",
                "/v1beta/models/m:x?alt=sse",
                "https://h/v1/projects/p/locations/l/publishers/google/models/m:x?alt=sse",
            ),
            ("http://v1", "/v1/messages", "http://v1/v1/messages"),
            ("http://h/v1", "/vault/x", "http://h/v1/vault/x"),
            ("http://h/v1", "/v1", "http://h/v1/v1"),
        ] {
            assert_eq!(join(&base.parse().unwrap(), path), url);
        }
    }

    #[test]
    fn what_a_path_repeats_of_the_base_counts_once() {
        let base = "https://h/api/v1".parse().unwrap();
        for path in ["/api/v1/files?a=b", "/v1/files?a=b", "/files?a=b"] {
            assert_eq!(below(&base, path), "https://h/api/v1/files?a=b");
        }
        assert_eq!(below(&base, "/api/v1x"), "https://h/api/v1/api/v1x");
        assert_eq!(below(&"https://h".parse().unwrap(), "/v1/files"), "https://h/v1/files");
    }

    #[test]
    fn an_endpoint_at_the_end_of_a_base_is_known_by_its_dialect() {
        let chat = DialectName::OpenAi;
        for (dialect, base, expected) in [
            (chat, "https://h/v1/chat/completions", Some("https://h/v1")),
            (chat, "https://h/v1", None),
            (chat, "https://h/v1/messages", None),
            (DialectName::Responses, "https://h/v1/responses", Some("https://h/v1")),
            (DialectName::Anthropic, "https://h/v1/messages", Some("https://h")),
            (DialectName::Anthropic, "https://h/messages", Some("https://h")),
            (DialectName::Anthropic, "https://h/v1", None),
            (DialectName::Gemini, "https://h/v1beta/models", Some("https://h/v1beta")),
            (DialectName::Gemini, "https://h/v1beta/models/m:x", Some("https://h/v1beta")),
            (DialectName::Gemini, "https://h/v1beta/openai", Some("https://h")),
            (DialectName::Gemini, "https://h/v1beta", None),
            (DialectName::Cohere, "https://h/v2/chat", Some("https://h")),
            (DialectName::Converse, "https://h/model/m/converse", Some("https://h")),
        ] {
            assert_eq!(without_endpoint(base, &[dialect]), expected, "{base}");
        }
        let all = [chat, DialectName::Completions];
        assert_eq!(without_endpoint("http://h/chat/completions", &all), Some("http://h"));
    }
}
