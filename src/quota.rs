//! What a provider lets through: as configured, and as it says itself; time is passed in.

pub mod meter;
pub mod said;

use std::time::Duration;

/// What may be asked of a provider, whichever of its models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Calls begun in a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens of prompts and answers in a minute.
    pub tokens_per_minute: Option<u64>,
    /// Calls under way at once.
    pub concurrency: Option<usize>,
    /// How long a call may wait for its turn.
    pub wait: Duration,
    /// Whether the provider's own word about its limits counts.
    pub learn: bool,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            concurrency: None,
            wait: Duration::from_secs(1),
            learn: true,
        }
    }
}

/// What a call has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As many calls as are configured have been made.
    Requests,
    /// As many tokens as are configured have been used.
    Tokens,
    /// As many calls as are configured are under way.
    Concurrency,
    /// The provider says that no more calls are left.
    SaidRequests,
    /// The provider says that no more tokens are left.
    SaidTokens,
    /// The provider has asked to be left alone.
    RetryAfter,
}

impl Limit {
    /// The metric's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrency => "concurrency",
            Self::SaidRequests => "said_requests",
            Self::SaidTokens => "said_tokens",
            Self::RetryAfter => "retry_after",
        }
    }
}
