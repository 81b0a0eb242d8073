//! What went wrong, whose fault it is, and whether trying again may help.

use std::fmt;
use std::time::Duration;

/// The closed list of failures a caller can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed or asks for something that cannot be.
    BadRequest,
    /// Nobody is known by the key, or there is none.
    Unauthorized,
    /// Whoever asks may not ask that.
    Forbidden,
    /// The path takes another HTTP method.
    BadMethod,
    /// No route, provider or path of that name.
    NotFound,
    /// A body is larger than its limit.
    TooLarge,
    /// `only-if-cached`, or `cache.mode: replay`, and nothing is stored.
    NotCached,
    /// The provider could not be reached.
    Connect,
    /// A time limit passed: connect, first byte, idle or total.
    Timeout,
    /// The provider answered with an error status.
    Status(u16),
    /// The provider's answer broke off or made no sense.
    Broken,
    /// We are shutting down or too many requests are open.
    Overloaded,
    /// A limit on how much may be asked is used up for now.
    Limited,
    /// The provider takes nothing for now, by its limits as they are configured or as it says.
    Busy,
    /// The configuration or an experiment is wrong.
    Config,
    /// The data directory cannot be used.
    Store,
    /// A bug of ours that was caught.
    Internal,
}

/// Who has to act for the failure to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The application that sent the request.
    Client,
    /// This program or its configuration.
    Understudy,
    /// The upstream provider.
    Provider,
}

impl Blame {
    /// The word used in error bodies and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Understudy => "understudy",
            Self::Provider => "provider",
        }
    }
}

/// A failure: a closed kind for programs and a sentence for people.
///
/// `detail` is lower case, without full stop, prompt text or keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What happened.
    pub kind: Kind,
    /// For people: the place and the remedy.
    pub detail: String,
    /// How long to wait before trying again, where that is known.
    pub retry_after: Option<Duration>,
}

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` with an explanation for people.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None }
    }

    /// The same, with how long to wait before trying again.
    pub fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Whose fault it is, which follows from the kind.
    pub fn blame(&self) -> Blame {
        match self.kind {
            Kind::BadRequest | Kind::BadMethod | Kind::NotFound => Blame::Client,
            Kind::Unauthorized | Kind::Forbidden => Blame::Client,
            Kind::TooLarge | Kind::NotCached | Kind::Limited => Blame::Client,
            Kind::Connect | Kind::Timeout | Kind::Status(_) | Kind::Broken => Blame::Provider,
            Kind::Busy => Blame::Provider,
            Kind::Overloaded | Kind::Config | Kind::Store | Kind::Internal => Blame::Understudy,
        }
    }

    /// The HTTP status this failure is answered with.
    pub fn status(&self) -> u16 {
        match self.kind {
            Kind::BadRequest => 400,
            Kind::NotFound => 404,
            Kind::BadMethod => 405,
            Kind::Unauthorized => 401,
            Kind::Forbidden => 403,
            Kind::TooLarge => 413,
            Kind::Limited | Kind::Busy => 429,
            Kind::Status(status) => status,
            Kind::Internal | Kind::Config | Kind::Store => 500,
            Kind::Connect | Kind::Broken => 502,
            Kind::Overloaded => 503,
            Kind::Timeout | Kind::NotCached => 504,
        }
    }

    /// Whether another target, or the same one later, may do better.
    pub fn may_retry(&self) -> bool {
        match self.kind {
            Kind::Connect | Kind::Timeout | Kind::Broken => true,
            Kind::Overloaded | Kind::Busy => true,
            Kind::Status(status) => matches!(status, 408 | 409 | 429 | 500..=599),
            _ => false,
        }
    }

    /// A short stable word for metrics and the `code` field of error bodies.
    pub fn code(&self) -> &'static str {
        match self.kind {
            Kind::BadRequest => "bad_request",
            Kind::BadMethod => "bad_method",
            Kind::Unauthorized => "unauthorized",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not_found",
            Kind::TooLarge => "too_large",
            Kind::NotCached => "not_cached",
            Kind::Connect => "provider_unreachable",
            Kind::Timeout => "provider_timeout",
            Kind::Status(_) => "provider_error",
            Kind::Broken => "provider_broken",
            Kind::Overloaded => "overloaded",
            Kind::Limited => "limited",
            Kind::Busy => "provider_busy",
            Kind::Config => "config",
            Kind::Store => "store",
            Kind::Internal => "internal",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Error {}
