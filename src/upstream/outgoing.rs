//! A request as its target reads it.

use bytes::Bytes;

use crate::chat::DialectName;
use crate::config::Provider;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Variant;
use crate::tokens;
use crate::wire;
use crate::wire::ChatRequest;
use crate::wire::Dialect;
use crate::wire::Recipient;
use crate::wire::carry::Losses;
use crate::wire::json;

/// A request as its target reads it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The dialect it is written in, one that the provider speaks.
    pub dialect: DialectName,
    /// The body.
    pub body: Bytes,
    /// What the URL's query holds besides.
    pub query: Option<String>,
    /// Whether the answer comes as a stream, so that its first byte comes early.
    pub is_stream: bool,
    /// What the application asked for and the body does not.
    pub losses: Losses,
    /// The stream will end with its usage because we asked, not the application.
    pub unasked_usage: bool,
    /// About how many tokens the prompt has and the answer may have, if that was estimated.
    pub tokens: Option<u64>,
}

impl Outgoing {
    /// A request of our own.
    pub fn new(dialect: DialectName, body: Bytes, is_stream: bool) -> Self {
        let (query, losses) = (None, Losses::default());
        Self { dialect, body, query, is_stream, losses, unasked_usage: false, tokens: None }
    }

    /// About how many tokens it takes of what `provider` allows; 0 where nobody counts them.
    pub fn tokens(&self, provider: &Provider) -> u64 {
        match provider.quota.tokens_per_minute {
            Some(_) => self.tokens.unwrap_or_else(|| tokens::of_unread(&self.body)),
            None => 0,
        }
    }

    /// An application's request for a model of `provider`, with what `variant` changes.
    ///
    /// `wants_usage` asks for the usage of a stream even when the application did not.
    ///
    /// # Errors
    /// The provider has no such endpoint, or its dialect no place for what is asked.
    pub fn write(
        head: &ChatRequest,
        from: &dyn Dialect,
        provider: &Provider,
        model: &str,
        variant: Option<&Variant>,
        wants_usage: bool,
    ) -> Result<Self> {
        let dialect = spoken(provider, from.name())?;
        let to = Recipient { model, quirks: &provider.quirks };
        let mut written = wire::rewrite(head, from, dialect.dialect(), &to)?;
        if let Some(variant) = variant {
            written = variant.change(written, dialect, &to)?;
        }
        let mut outgoing = Self::new(dialect, written.body, head.stream);
        outgoing.losses = written.losses;
        let has_option = matches!(dialect, DialectName::OpenAi | DialectName::Completions);
        if wants_usage && head.stream && has_option && provider.quirks.stream_usage {
            // A translated request asks for it anyway.
            if let Some(body) = json::with_stream_usage(&outgoing.body)? {
                outgoing.body = body;
                outgoing.unasked_usage = true;
            }
        }
        Ok(outgoing)
    }
}

/// The dialect in which a provider is asked what came in another.
///
/// # Errors
/// It speaks none of the kind.
pub fn spoken(provider: &Provider, asked: DialectName) -> Result<DialectName> {
    provider.dialect_for(asked).ok_or_else(|| {
        let kind = if asked.is_embedding() { "embeddings" } else { "chat" };
        let what = format!("{} has no {kind} endpoint: ask another provider", provider.name);
        Error::new(Kind::BadRequest, what)
    })
}
