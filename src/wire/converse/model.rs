//! What Bedrock's models want in words of their own: thinking, and a few ways to draw tokens.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::request::Effort;
use crate::chat::request::Request;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;

/// Whose model it is, by its id; behind the name of an inference profile nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Claude.
    Anthropic,
    /// Nova of the first generation, which does not think.
    Nova,
    /// Nova of the second generation.
    Nova2,
    /// OpenAI's open models.
    OpenAi,
    /// Qwen.
    Qwen,
    /// Any other.
    Other,
}

/// The least that Claude thinks with.
const LEAST_BUDGET: u64 = 1024;

impl Family {
    /// The family of a model's id, which may begin with a region.
    pub fn of(model: &str) -> Self {
        let has = |part: &str| model.contains(part);
        match () {
            () if has("anthropic.") => Self::Anthropic,
            () if has("amazon.nova-2") => Self::Nova2,
            () if has("amazon.nova") => Self::Nova,
            () if has("openai.") => Self::OpenAi,
            () if has("qwen.") => Self::Qwen,
            () => Self::Other,
        }
    }

    /// Whether it takes marks for its cache.
    pub fn has_cache_points(self) -> bool {
        matches!(self, Self::Anthropic | Self::Nova | Self::Nova2)
    }
}

/// The model's own fields for what Converse has no words for.
///
/// # Errors
/// Something must not be left out.
pub fn additional(
    family: Family,
    request: &Request,
    losses: &mut Losses,
) -> Result<Map<String, Value>> {
    let mut fields = Map::new();
    let thinking = request.reasoning.as_ref().and_then(|effort| thinking(family, effort, request));
    if let Some((key, value)) = &thinking {
        fields.insert((*key).to_owned(), value.clone());
    }
    if let Some(effort) = &request.reasoning {
        let is_said = effort.enabled.is_some() || effort.level.is_some();
        if thinking.is_none() && (is_said || effort.budget_tokens.is_some()) {
            losses.leave_out(Feature::Reasoning, "reasoning")?;
        }
        if effort.summary.is_some() {
            losses.leave_out(Feature::Reasoning, "reasoning.summary")?;
        }
    }
    let Some(top_k) = request.sampling.top_k else { return Ok(fields) };
    match family {
        // Claude draws freely while it thinks.
        Family::Anthropic if !is_thinking(&fields) => {
            fields.insert("top_k".to_owned(), Value::from(top_k));
        }
        Family::Nova | Family::Nova2 => {
            fields.insert("inferenceConfig".to_owned(), json!({"topK": top_k}));
        }
        _ => losses.leave_out(Feature::TopK, "top_k")?,
    }
    Ok(fields)
}

/// Whether these fields switch Claude's thinking on.
pub fn is_thinking(additional: &Map<String, Value>) -> bool {
    additional.get("thinking").is_some_and(|thinking| thinking["type"] == "enabled")
}

/// How to ask this model to think that much; `None` when there is no way.
fn thinking(family: Family, effort: &Effort, request: &Request) -> Option<(&'static str, Value)> {
    let level = effort.level.as_deref();
    let is_off = effort.enabled == Some(false) || level == Some("none");
    let plain = match level {
        Some("minimal" | "low") => Some("low"),
        Some("medium") => Some("medium"),
        Some("high" | "xhigh" | "max") => Some("high"),
        _ => None,
    };
    match family {
        Family::Anthropic if is_off => Some(("thinking", json!({"type": "disabled"}))),
        Family::Anthropic => {
            let budget = budget(effort, request)?;
            Some(("thinking", json!({"type": "enabled", "budget_tokens": budget})))
        }
        Family::Nova2 if is_off => Some(("reasoningConfig", json!({"type": "disabled"}))),
        Family::Nova2 => {
            let config = json!({"type": "enabled", "maxReasoningEffort": plain?});
            Some(("reasoningConfig", config))
        }
        Family::OpenAi if !is_off => Some(("reasoning_effort", Value::from(plain?))),
        Family::Qwen if !is_off => Some(("reasoning_config", Value::from(plain?))),
        _ => None,
    }
}

/// Claude counts its thinking among the answer's tokens, and cannot think where a tool is forced.
fn budget(effort: &Effort, request: &Request) -> Option<u64> {
    let is_forced =
        matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
    let by_level = match effort.level.as_deref() {
        Some("minimal" | "low") => Some(LEAST_BUDGET),
        Some("medium") => Some(4096),
        Some("high") => Some(16_384),
        Some("xhigh" | "max") => Some(32_768),
        _ if effort.enabled == Some(true) => Some(4096),
        _ => None,
    };
    let budget = effort.budget_tokens.or(by_level)?.max(LEAST_BUDGET);
    let most = request.sampling.max_tokens.map_or(u64::MAX, |most| most.saturating_sub(1));
    (!is_forced && most >= LEAST_BUDGET).then(|| budget.min(most))
}
