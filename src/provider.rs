//! The table of known providers: where they are, what they speak, how they want to be paid.

use crate::chat::DialectName;
use crate::wire::quirk::Quirks;

/// How a provider wants its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// A header of its own that holds the bare key.
    Header(&'static str),
}

/// One row: what is known about a provider before any configuration.
#[derive(Clone, Debug)]
pub struct Row {
    /// The name used in targets (`openai/gpt-4o`) and path prefixes (`/openai/…`).
    pub name: &'static str,
    /// What the provider's own SDK takes as base URL.
    pub base_url: &'static str,
    /// The wire formats it speaks; the first of a kind is the one that is translated to.
    pub dialects: &'static [DialectName],
    /// How the key is sent.
    pub auth: Auth,
    /// The environment variable its own SDK reads the key from.
    pub key_env: &'static str,
    /// What is peculiar about it.
    pub quirks: Quirks,
}

/// Every known provider, sorted by name; Anthropic and Gemini at their OpenAI-compatible endpoints.
pub static PROVIDERS: &[Row] = &[
    row("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    row("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    row("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    row("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    row("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    row("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    row("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    row("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    row("ollama", "http://127.0.0.1:11434/v1", "OLLAMA_API_KEY"),
    row("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    row("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    row("qwen", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
    row("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    row("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
];

/// The row of a known provider.
pub fn find(name: &str) -> Option<&'static Row> {
    PROVIDERS.iter().find(|row| row.name == name)
}

const fn row(name: &'static str, base_url: &'static str, key_env: &'static str) -> Row {
    let dialects = &[DialectName::OpenAi, DialectName::Completions, DialectName::Embeddings];
    Row { name, base_url, dialects, auth: Auth::Bearer, key_env, quirks: Quirks::COMPATIBLE }
}

#[cfg(test)]
mod tests {
    use super::PROVIDERS;

    #[test]
    fn rows_are_sorted_unique_and_reachable_by_url() {
        for pair in PROVIDERS.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} out of order", pair[1].name);
        }
        for row in PROVIDERS {
            let url: http::Uri = row.base_url.parse().unwrap();
            assert!(url.host().is_some(), "{}", row.name);
            assert!(!row.base_url.ends_with('/'), "{}", row.name);
        }
    }
}
