//! Reads the `quirks` of a provider, which override those of its row or dialect.

use super::read::Section;
use super::value;
use crate::wire::quirk::Quirks;
use crate::wire::quirk::THINKING;

/// Fields for the most tokens.
pub const MAX_TOKENS: &[(&str, &str)] =
    &[("max_tokens", "max_tokens"), ("max_completion_tokens", "max_completion_tokens")];

/// Fields that take earlier reasoning.
pub const REASONING_HISTORY: &[(&str, Option<&str>)] = &[
    ("reasoning_content", Some("reasoning_content")),
    ("reasoning", Some("reasoning")),
    ("none", None),
];

/// Overwrites what the section names.
pub fn read(s: &mut Section<'_, '_, '_>, quirks: &mut Quirks) {
    s.set("max_tokens", &mut quirks.max_tokens, value::choice(MAX_TOKENS));
    s.set("thinking", &mut quirks.thinking, value::choice(THINKING));
    s.set("reasoning_history", &mut quirks.reasoning_history, value::choice(REASONING_HISTORY));
    s.set("developer_role", &mut quirks.developer_role, value::boolean);
    s.set("stream_usage", &mut quirks.stream_usage, value::boolean);
    s.set("json_schema", &mut quirks.json_schema, value::boolean);
}
