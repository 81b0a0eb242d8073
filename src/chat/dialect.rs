//! The names of the wire formats.

/// The wire formats by name, as configuration writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DialectName {
    /// OpenAI chat completions and everything compatible with it.
    OpenAi,
    /// OpenAI Responses.
    Responses,
    /// Anthropic messages.
    Anthropic,
    /// Gemini `generateContent`, also on Vertex AI.
    Gemini,
    /// OpenAI legacy completions.
    Completions,
    /// OpenAI embeddings.
    Embeddings,
    /// Gemini `embedContent` and `batchEmbedContents`.
    GeminiEmbeddings,
    /// Cohere v2 chat; a target only.
    Cohere,
    /// AWS Bedrock Converse; a target only.
    Converse,
}

/// Every dialect with its name in YAML.
pub static DIALECTS: &[(&str, DialectName)] = &[
    ("openai", DialectName::OpenAi),
    ("openai-responses", DialectName::Responses),
    ("anthropic", DialectName::Anthropic),
    ("gemini", DialectName::Gemini),
    ("completions", DialectName::Completions),
    ("embeddings", DialectName::Embeddings),
    ("gemini-embeddings", DialectName::GeminiEmbeddings),
    ("cohere", DialectName::Cohere),
    ("bedrock", DialectName::Converse),
];

impl DialectName {
    /// The dialect of that name.
    pub fn parse(name: &str) -> Option<Self> {
        DIALECTS.iter().find(|(n, _)| *n == name).map(|(_, d)| *d)
    }

    /// Its name in YAML and in metrics.
    pub fn as_str(self) -> &'static str {
        DIALECTS.iter().find(|(_, d)| *d == self).map_or("", |(name, _)| name)
    }

    /// Whether it asks for vectors instead of words.
    pub fn is_embedding(self) -> bool {
        matches!(self, Self::Embeddings | Self::GeminiEmbeddings)
    }
}
