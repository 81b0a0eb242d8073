//! The names that Converse has for kinds of pictures, sounds and documents, and how it names calls
//! and documents.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Which block holds it, Converse's name, and the media type; the first of a name is its usual one.
///
/// Source: the service's model in botocore 1, `bedrock-runtime/2023-09-30`.
static FORMATS: &[(&str, &str, &str)] = &[
    ("audio", "aac", "audio/aac"),
    ("audio", "flac", "audio/flac"),
    ("audio", "m4a", "audio/m4a"),
    ("audio", "mka", "audio/x-matroska"),
    ("audio", "mp3", "audio/mp3"),
    ("audio", "mp3", "audio/mpeg"),
    ("audio", "mp4", "audio/mp4"),
    ("audio", "ogg", "audio/ogg"),
    ("audio", "opus", "audio/opus"),
    ("audio", "pcm", "audio/pcm"),
    ("audio", "wav", "audio/wav"),
    ("audio", "wav", "audio/x-wav"),
    ("audio", "webm", "audio/webm"),
    ("document", "csv", "text/csv"),
    ("document", "doc", "application/msword"),
    ("document", "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("document", "html", "text/html"),
    ("document", "md", "text/markdown"),
    ("document", "pdf", "application/pdf"),
    ("document", "txt", "text/plain"),
    ("document", "xls", "application/vnd.ms-excel"),
    ("document", "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("image", "gif", "image/gif"),
    ("image", "jpeg", "image/jpeg"),
    ("image", "jpeg", "image/jpg"),
    ("image", "png", "image/png"),
    ("image", "webp", "image/webp"),
    ("video", "flv", "video/x-flv"),
    ("video", "mkv", "video/x-matroska"),
    ("video", "mov", "video/quicktime"),
    ("video", "mp4", "video/mp4"),
    ("video", "mpeg", "video/mpeg"),
    ("video", "mpg", "video/mpg"),
    ("video", "three_gp", "video/3gpp"),
    ("video", "webm", "video/webm"),
    ("video", "wmv", "video/x-ms-wmv"),
];

/// Converse's name of a media type in that block.
pub fn format(block: &str, mime: &str) -> Option<&'static str> {
    let mime = mime.split(';').next().unwrap_or(mime).trim();
    let is_it = |row: &&(&str, &str, &str)| row.0 == block && row.2.eq_ignore_ascii_case(mime);
    FORMATS.iter().find(is_it).map(|(_, format, _)| *format)
}

/// Converse's name by the ending of a URL.
pub fn format_of_url(block: &str, url: &str) -> Option<&'static str> {
    let ending = url.rsplit_once('.')?.1.to_ascii_lowercase();
    let ending = if ending == "jpg" { "jpeg" } else { &ending };
    let is_it = |row: &&(&str, &str, &str)| row.0 == block && row.1 == ending;
    FORMATS.iter().find(is_it).map(|(_, format, _)| *format)
}

/// The usual media type of Converse's name in that block.
pub fn mime(block: &str, format: &str) -> Option<&'static str> {
    FORMATS.iter().find(|row| (row.0, row.1) == (block, format)).map(|(_, _, mime)| *mime)
}

/// A call's id as the model's maker takes it; one that does not fit is replaced by its digest, so
/// that different ids stay different.
pub fn call_id(id: &str, is_strict: bool) -> String {
    let is_fit = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '-')
            || (!is_strict && matches!(c, '.' | ':'))
    };
    if (1..=64).contains(&id.len()) && id.chars().all(is_fit) {
        return id.to_owned();
    }
    let digest = blake3::hash(id.as_bytes()).to_hex();
    format!("call_{}", digest.as_str().get(..32).unwrap_or_default())
}

/// Names of documents in one request: of the characters Bedrock allows, each once.
#[derive(Debug, Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// The name a document gets.
    pub fn take(&mut self, wanted: Option<&str>) -> String {
        let stem = wanted.map(|name| name.rsplit_once('.').map_or(name, |(stem, _)| stem));
        let is_fit =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']');
        let plain = |c: char| match c {
            c if is_fit(c) => c,
            c if c.is_whitespace() => ' ',
            _ => '-',
        };
        let name: String = stem.unwrap_or_default().chars().take(180).map(plain).collect();
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let name = if name.is_empty() { "document".to_owned() } else { name };
        let mut unique = name.clone();
        let mut count = 1_usize;
        while !self.0.insert(unique.clone()) {
            count += 1;
            unique = format!("{name} ({count})");
        }
        unique
    }
}

/// Converse holds Anthropic's hidden reasoning, which is text, as bytes; bytes that are no text
/// keep their base64, marked.
const NO_TEXT: &str = "base64:";

/// Hidden reasoning as Anthropic writes it.
pub fn hidden(blob: &str) -> String {
    let bytes = STANDARD.decode(blob).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.unwrap_or_else(|| format!("{NO_TEXT}{blob}"))
}

/// Hidden reasoning as Converse writes it.
pub fn blob(hidden: &str) -> String {
    let no_text = hidden.strip_prefix(NO_TEXT).map(str::to_owned);
    no_text.unwrap_or_else(|| STANDARD.encode(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_documents_are_allowed_and_each_once() {
        let mut names = Names::default();
        let wanted = ["Q3 report.pdf", "Q3   report.docx", "a_b/ü.txt", "", ".pdf"];
        let taken = wanted.map(|name| names.take(Some(name)));
        assert_eq!(taken, ["Q3 report", "Q3 report (2)", "a-b--", "document", "document (2)"]);
        assert_eq!(names.take(None), "document (3)");
    }

    #[test]
    fn ids_that_fit_stay_and_others_stay_apart() {
        for (id, is_strict, stays) in [
            ("toolu_01-A", true, true),
            ("functions.f:0", false, true),
            ("functions.f:0", true, false),
            ("", false, false),
            ("a b", false, false),
            (&"x".repeat(64), true, true),
            (&"x".repeat(65), true, false),
        ] {
            let fit = call_id(id, is_strict);
            assert_eq!(fit == id, stays, "{id}");
            assert!((1..=64).contains(&fit.len()));
        }
        assert_ne!(call_id("a b", true), call_id("a_b", true));
        assert_ne!(call_id("a b", true), call_id("a.b", true));
    }

    #[test]
    fn hidden_reasoning_returns_byte_for_byte() {
        for data in ["RXVFQ0Nr", "/+8=", "not base64!"] {
            assert_eq!(blob(&hidden(data)), data);
        }
        assert_eq!(hidden("RXVFQ0Nr"), "EuECCk");
    }
}
