//! What is peculiar about a provider within its dialect, as data; used only when we write to it.
//!
//! A request that arrives in the provider's own dialect passes untouched, so none of this is asked.

use crate::wire::carry::Feature;

/// How one provider differs from the others of its dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Where the most tokens of the answer are said.
    pub max_tokens: &'static str,
    /// How thinking is asked for.
    pub thinking: Thinking,
    /// The field of an assistant's message that its reasoning returns in, if it may return.
    pub reasoning_history: Option<&'static str>,
    /// Knows the role `developer`.
    pub developer_role: bool,
    /// Takes `stream_options.include_usage`.
    pub stream_usage: bool,
    /// Takes `response_format: json_schema`; otherwise `json_object` is the most it can.
    pub json_schema: bool,
    /// What its dialect has and it has not.
    pub lacks: &'static [Feature],
}

/// How thinking is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// `reasoning_effort: low`.
    Effort,
    /// `reasoning: {effort, max_tokens}`, as OpenRouter takes it.
    Object,
    /// `thinking: {type: enabled}`, as DeepSeek, Z.ai and Moonshot take it.
    Switch,
    /// `enable_thinking` and `thinking_budget`, as Qwen takes it.
    Flag,
    /// Not at all.
    No,
}

/// Every way to ask for thinking with its name in YAML.
pub static THINKING: &[(&str, Thinking)] = &[
    ("effort", Thinking::Effort),
    ("object", Thinking::Object),
    ("switch", Thinking::Switch),
    ("flag", Thinking::Flag),
    ("none", Thinking::No),
];

impl Quirks {
    /// OpenAI's own, and every provider's of another dialect.
    pub const NONE: Self = Self {
        max_tokens: "max_completion_tokens",
        thinking: Thinking::Effort,
        reasoning_history: None,
        developer_role: true,
        stream_usage: true,
        json_schema: true,
        lacks: &[],
    };

    /// The usual server that is compatible with OpenAI as it was before reasoning models.
    pub const COMPATIBLE: Self = Self {
        max_tokens: "max_tokens",
        thinking: Thinking::No,
        developer_role: false,
        ..Self::NONE
    };
}

impl Default for Quirks {
    fn default() -> Self {
        Self::NONE
    }
}
