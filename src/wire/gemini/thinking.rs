//! How much Gemini is to think: a budget of tokens up to 2.5, a level since 3.

use serde_json::Map;
use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::request::Effort;
use crate::chat::request::Request;
use crate::error::Result;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;

/// Words for effort: the budget that Google's own OpenAI-compatible endpoint takes for them, and
/// the level.
///
/// Source: <https://ai.google.dev/gemini-api/docs/openai#thinking>. `xhigh` is newer than most
/// models, which refuse it, so it is written as the level below.
const LEVELS: &[(&str, u64, &str)] = &[
    ("none", 0, "MINIMAL"),
    ("minimal", 1024, "MINIMAL"),
    ("low", 1024, "LOW"),
    ("medium", 8192, "MEDIUM"),
    ("high", 24_576, "HIGH"),
    ("xhigh", 24_576, "HIGH"),
    ("max", 24_576, "HIGH"),
];

/// The least that Gemini 2.5 Pro thinks; it cannot be told not to.
const LEAST_OF_PRO: u64 = 128;

/// `thinkingConfig`, if the request says anything about thinking.
///
/// # Errors
/// The table of losses does not allow to leave it out.
pub fn write(request: &Request, model: &str, losses: &mut Losses) -> Result<Option<Value>> {
    let Some(effort) = &request.reasoning else { return Ok(None) };
    let is_own = request.dialect == DialectName::Gemini;
    if losses.lacks(Feature::Reasoning) {
        losses.leave_out(Feature::Reasoning, "reasoning")?;
        return Ok(None);
    }
    let mut config = Map::new();
    if is_own {
        write_own(effort, &mut config);
    } else {
        write_foreign(effort, model, &mut config, losses)?;
    }
    if let Some(shown) = is_shown(request, effort) {
        config.insert("includeThoughts".to_owned(), shown.into());
    }
    Ok((is_own || !config.is_empty()).then_some(Value::Object(config)))
}

fn write_own(effort: &Effort, config: &mut Map<String, Value>) {
    let open = (effort.enabled == Some(true)).then_some(Value::from(-1));
    let budget = effort.budget_tokens.map(Value::from).or(open);
    config.extend(budget.map(|budget| ("thinkingBudget".to_owned(), budget)));
    let level = effort.level.as_ref().map(|level| level.to_ascii_uppercase());
    config.extend(level.map(|level| ("thinkingLevel".to_owned(), level.into())));
}

fn write_foreign(
    effort: &Effort,
    model: &str,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<()> {
    let off = (effort.enabled == Some(false)).then_some("none");
    if let Some(budget) = effort.budget_tokens.filter(|_| off.is_none()) {
        config.insert("thinkingBudget".to_owned(), budget.into());
        return Ok(());
    }
    let Some(level) = off.or(effort.level.as_deref()) else {
        if effort.enabled == Some(true) && takes_budget(model) {
            config.insert("thinkingBudget".to_owned(), Value::from(-1));
        }
        return Ok(());
    };
    let Some((_, budget, word)) = LEVELS.iter().find(|(known, _, _)| *known == level) else {
        return losses.leave_out(Feature::Reasoning, "reasoning");
    };
    if takes_budget(model) {
        let least = if model.contains("pro") { LEAST_OF_PRO } else { 0 };
        config.insert("thinkingBudget".to_owned(), (*budget).max(least).into());
    } else {
        config.insert("thinkingLevel".to_owned(), (*word).into());
    }
    Ok(())
}

/// Thoughts are shown when a summary is wanted; an application that speaks Anthropic's dialect and
/// switches thinking on gets to see it there without asking.
fn is_shown(request: &Request, effort: &Effort) -> Option<bool> {
    let is_own = request.dialect == DialectName::Gemini;
    let is_on = effort.enabled != Some(false)
        && (effort.enabled.is_some() || effort.budget_tokens.is_some());
    match effort.summary.as_deref() {
        Some("none") => is_own.then_some(false),
        Some(_) => Some(true),
        None => (request.dialect == DialectName::Anthropic && is_on).then_some(true),
    }
}

/// Whether the model is older than levels.
fn takes_budget(model: &str) -> bool {
    is_before_3(model)
}

/// Whether the name is of a Gemini older than 3; names without a number are of the newest.
pub fn is_before_3(model: &str) -> bool {
    let is_old = |version: &str| model.contains(&format!("gemini-{version}"));
    ["1", "2", "robotics-er-1"].into_iter().any(is_old) || model.contains("gemma")
}
