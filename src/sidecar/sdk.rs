//! The variables by which SDKs are told where to call, read from the code of each.

/// Where applications find the sidecar, with nothing after it.
pub const URL: &str = "http://127.0.0.1:4100";

/// The variable that holds it, for programs that are written for us.
pub const URL_VARIABLE: &str = "UNDERSTUDY_URL";

/// What the SDKs of one provider read.
#[derive(Debug, PartialEq, Eq)]
pub struct Sdk {
    /// The provider, as the annotation names it.
    pub provider: &'static str,
    /// Variables with the base URL; several where libraries differ.
    pub variables: &'static [&'static str],
    /// What comes after [`URL`] in them: what the SDK would replace of the provider's own URL.
    pub path: &'static str,
    /// Variables with the key, without which SDKs refuse to start.
    pub keys: &'static [&'static str],
}

/// Sorted by name.
///
/// `OPENAI_API_BASE` is read first by langchain-openai, `ANTHROPIC_API_URL` by
/// langchain-anthropic. OpenAI's SDK adds `/chat/completions`, Anthropic's `/v1/messages` and
/// Google's `/v1beta/…`.
pub static SDKS: &[Sdk] = &[
    Sdk {
        provider: "anthropic",
        variables: &["ANTHROPIC_BASE_URL", "ANTHROPIC_API_URL"],
        path: "/anthropic",
        keys: &["ANTHROPIC_API_KEY"],
    },
    Sdk {
        provider: "gemini",
        variables: &["GOOGLE_GEMINI_BASE_URL"],
        path: "/gemini",
        keys: &["GEMINI_API_KEY"],
    },
    Sdk {
        provider: "openai",
        variables: &["OPENAI_BASE_URL", "OPENAI_API_BASE"],
        path: "/openai/v1",
        keys: &["OPENAI_API_KEY"],
    },
];

/// What the SDKs of a provider read.
pub fn find(provider: &str) -> Option<&'static Sdk> {
    SDKS.iter().find(|sdk| sdk.provider == provider)
}

impl Sdk {
    /// The base URL.
    pub fn url(&self) -> String {
        format!("{URL}{}", self.path)
    }
}
