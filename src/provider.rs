//! Providers before any configuration: where they are, what they speak, how they want to be paid.
//!
//! The rows are in [`table`]. To add a provider, add a row there; what follows says why some rows
//! look as they do.
//!
//! - `azure` is asked at its v1 endpoint, where the model is the name of the deployment.
//! - `vertex` wants an OAuth token as its key. For express mode, which takes API keys, configure
//!   `base_url: https://aiplatform.googleapis.com/v1/publishers/google` and
//!   `auth: { header: x-goog-api-key }`.
//! - `bedrock` takes its own API keys as bearer tokens; without one, requests are signed with the
//!   AWS keys of the environment.
//! - `perplexity`, unlike the others, has no version in its base URL.
//! - `litellm`, `lmstudio`, `ollama` and `vllm` stand where they listen unless told otherwise.
//! - `portkey` routes by its own headers, which `headers:` can add.

pub mod host;
pub mod table;
pub mod travel;
pub mod url;

use http::HeaderName;

use crate::chat::DialectName;
use crate::wire::quirk::Quirks;

/// Headers that carry a key, in any dialect.
pub static KEY_HEADERS: [HeaderName; 5] = [
    http::header::AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("x-portkey-api-key"),
];

/// How a provider wants its key; the table names headers by words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth<N = HeaderName> {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// A header of its own that holds the bare key.
    Header(N),
    /// No key at all, as servers on one's own machine.
    None,
    /// A key of its own as `Bearer`, else AWS Signature Version 4.
    SigV4,
}

impl Auth<&'static str> {
    /// With the header ready to be sent.
    pub fn ready(self) -> Auth {
        match self {
            Self::Bearer => Auth::Bearer,
            Self::Header(name) => Auth::Header(HeaderName::from_static(name)),
            Self::None => Auth::None,
            Self::SigV4 => Auth::SigV4,
        }
    }
}

impl Auth {
    /// The header that holds the key, if one does.
    pub fn header(&self) -> Option<HeaderName> {
        match self {
            Self::Bearer | Self::SigV4 => Some(http::header::AUTHORIZATION),
            Self::Header(name) => Some(name.clone()),
            Self::None => None,
        }
    }
}

/// One row: what is known about a provider before any configuration.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name used in targets (`openai/gpt-4o`) and path prefixes (`/openai/…`).
    pub name: &'static str,
    /// What the provider's own SDK takes as base URL, with a hole such as `{region}` for what
    /// differs from customer to customer.
    pub base_url: &'static str,
    /// Base URLs of regions that break the pattern.
    pub regions: &'static [(&'static str, &'static str)],
    /// What its holes are called and where its SDK finds what belongs in them.
    pub holes: &'static [Hole],
    /// The wire formats it speaks; the first of a kind is the one that is translated to.
    pub dialects: &'static [DialectName],
    /// How the key is sent.
    pub auth: Auth<&'static str>,
    /// The environment variables its own SDK reads the key from, the first that is set.
    pub key_env: &'static [&'static str],
    /// What is peculiar about it.
    pub quirks: Quirks,
}

/// A part of a base URL that a customer has to fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Its name in base URLs and in YAML.
    pub name: &'static str,
    /// Environment variables that may hold it, the first that is set.
    pub env: &'static [&'static str],
    /// For messages.
    pub example: &'static str,
}

/// What goes without saying in a dialect: of providers that are in no table, and of bare models.
#[derive(Clone, Copy, Debug)]
pub struct Native {
    /// The dialect.
    pub dialect: DialectName,
    /// The provider that a model means which nothing else is known of.
    pub home: &'static str,
    /// What a server of this dialect speaks besides.
    pub speaks: &'static [DialectName],
    /// How such a server wants its key.
    pub auth: Auth<&'static str>,
    /// Headers without which it takes no request, sent when the client sent none.
    pub headers: &'static [(&'static str, &'static str)],
    /// How bearer tokens begin that are none of its keys in the wrong header.
    pub token: Option<&'static str>,
    /// What such a server is like.
    pub quirks: Quirks,
}

impl Row {
    /// The base URL with its holes filled, or the holes that nothing was given for.
    ///
    /// # Errors
    /// Something is missing.
    pub fn base_url(
        &self,
        given: impl Fn(&Hole) -> Option<String>,
    ) -> Result<String, Vec<&'static Hole>> {
        let mut base_url = self.base_url.to_owned();
        let mut missing = Vec::new();
        for hole in self.holes {
            match given(hole) {
                Some(text) => {
                    let own = self.regions.iter().find(|(region, _)| *region == text);
                    // The region comes first, so that nothing filled in before is lost.
                    base_url = own.map_or(base_url, |(_, base_url)| (*base_url).to_owned());
                    base_url = base_url.replace(&format!("{{{}}}", hole.name), &text);
                }
                None => missing.push(hole),
            }
        }
        if missing.is_empty() { Ok(base_url) } else { Err(missing) }
    }
}

/// The row of a known provider.
pub fn find(name: &str) -> Option<&'static Row> {
    table::PROVIDERS.iter().find(|row| row.name == name)
}

/// What goes without saying in a dialect.
pub fn native(dialect: DialectName) -> &'static Native {
    // A test holds that the table has every dialect, in this order.
    let at = match dialect {
        DialectName::OpenAi => 0,
        DialectName::Responses => 1,
        DialectName::Anthropic => 2,
        DialectName::Gemini => 3,
        DialectName::Completions => 4,
        DialectName::Embeddings => 5,
        DialectName::GeminiEmbeddings => 6,
        DialectName::Cohere => 7,
        DialectName::Converse => 8,
    };
    &table::NATIVES[at]
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::Auth;
    use super::find;
    use super::native;
    use super::table::PROVIDERS;
    use crate::chat::DIALECTS;

    #[test]
    fn rows_are_sorted_unique_and_complete() {
        for pair in PROVIDERS.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} out of order", pair[1].name);
        }
        for row in PROVIDERS {
            assert!(!row.dialects.is_empty(), "{}", row.name);
            assert!(!row.base_url.ends_with('/'), "{}", row.name);
            let base_url = row.base_url(|hole| Some(hole.example.to_owned())).unwrap();
            let uri: Uri = base_url.parse().unwrap();
            assert!(uri.host().is_some(), "{}", row.name);
            for hole in row.holes {
                assert!(row.base_url.contains(&format!("{{{}}}", hole.name)), "{}", row.name);
            }
            let needs_key = row.auth != Auth::None;
            assert_eq!(needs_key, !row.key_env.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn every_dialect_has_a_home_that_speaks_it() {
        for (name, dialect) in DIALECTS {
            let native = native(*dialect);
            assert_eq!(native.dialect, *dialect, "{name}");
            assert_eq!(native.speaks.first(), Some(dialect), "{name}");
            assert!(find(native.home).unwrap().dialects.contains(dialect), "{name}");
        }
    }

    #[test]
    fn holes_are_filled_and_missing_ones_are_named() {
        let row = find("vertex").unwrap();
        let missing = row.base_url(|_| None).unwrap_err();
        let names: Vec<&str> = missing.iter().map(|hole| hole.name).collect();
        assert_eq!(names, ["region", "project"]);
        let at = |region: &str| {
            row.base_url(|hole| Some(if hole.name == "region" { region } else { "p" }.to_owned()))
        };
        for (region, url) in [
            (
                "europe-west1",
                "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/\
                 europe-west1/publishers/google",
            ),
            (
                "global",
                "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/\
                 google",
            ),
            (
                "eu",
                "https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu/publishers/\
                 google",
            ),
        ] {
            assert_eq!(at(region).unwrap(), url);
        }
    }
}
