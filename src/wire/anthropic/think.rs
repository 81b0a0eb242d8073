//! How much to think, in the words of the model that is asked.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::Maker;
use crate::chat::request::Effort;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::error::Result;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;

/// What a model takes, by its version; unknown names of Claude's are newer than this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// `None` for models of other makers behind Anthropic's dialect.
    claude: Option<(u32, u32)>,
}

impl Model {
    /// The model of that name, wherever it runs: `claude-opus-4-6`,
    /// `anthropic.claude-sonnet-4-20250514-v1:0`, `claude-3-5-haiku@20241022`.
    pub fn of(name: &str) -> Self {
        let Some((_, version)) = name.split_once("claude-") else { return Self { claude: None } };
        let words = version.split(['-', '.', '@', ':']);
        // A date is no version.
        let number = |word: &str| word.parse::<u32>().ok().filter(|number| *number < 100);
        let mut words = words.map(number).skip_while(Option::is_none);
        let major = words.next().flatten().unwrap_or(u32::MAX);
        Self { claude: Some((major, words.next().flatten().unwrap_or(0))) }
    }

    /// Since 4.6, thinking adapts itself, guided by `output_config.effort`.
    fn adapts(self) -> bool {
        self.claude.is_some_and(|version| version >= (4, 6))
    }

    /// Since 4.7, budgets of thinking are refused.
    fn takes_budget(self) -> bool {
        self.claude.is_none_or(|version| version < (4, 7))
    }

    /// Since 4.7, temperature, `top_p` and `top_k` are refused.
    pub fn takes_sampling(self) -> bool {
        self.claude.is_none_or(|version| version < (4, 7))
    }

    /// Since 4.1, temperature and `top_p` are refused together.
    pub fn takes_one_sampling(self) -> bool {
        self.claude.is_some_and(|version| version >= (4, 1))
    }

    /// Since 4.8, a system prompt may follow a user's turn.
    pub fn takes_system_turn(self) -> bool {
        self.claude.is_some_and(|version| version >= (4, 8))
    }
}

/// What is written about thinking.
#[derive(Debug, Default, PartialEq)]
pub struct Thought {
    /// `thinking`.
    pub thinking: Map<String, Value>,
    /// `output_config.effort`.
    pub effort: Option<String>,
    /// The tokens that thinking takes of the answer's most, given or to be expected.
    pub reserve: u64,
}

impl Thought {
    /// Whether the model is to think.
    pub fn is_on(&self) -> bool {
        matches!(self.thinking.get("type").and_then(Value::as_str), Some("enabled" | "adaptive"))
    }
}

/// Thinking tokens for a level, for models that take budgets; Anthropic's least is 1024.
static BUDGETS: &[(&str, u64)] = &[
    ("minimal", 1024),
    ("low", 2048),
    ("medium", 8192),
    ("high", 16384),
    ("xhigh", 24576),
    ("max", 24576),
];

/// As the request's own dialect says it.
pub fn own(effort: &Effort) -> Thought {
    let kind = match (effort.enabled, effort.budget_tokens) {
        (Some(false), _) => Some("disabled"),
        (_, Some(_)) => Some("enabled"),
        (Some(true), None) => Some("adaptive"),
        (None, None) => None,
    };
    let mut thinking = Map::new();
    thinking.extend(kind.map(|kind| ("type".to_owned(), json!(kind))));
    let budget = effort.budget_tokens;
    thinking.extend(budget.map(|budget| ("budget_tokens".to_owned(), json!(budget))));
    thinking.extend(display(effort));
    Thought { thinking, effort: effort.level.clone(), reserve: budget.unwrap_or(0) }
}

/// Out of another dialect, as the model takes it.
///
/// # Errors
/// None: what has no place is reported.
pub fn translated(request: &Request, model: Model, losses: &mut Losses) -> Result<Thought> {
    let Some(effort) = &request.reasoning else { return Ok(Thought::default()) };
    let level = effort.level.as_deref();
    if losses.lacks(Feature::Reasoning) {
        losses.leave_out(Feature::Reasoning, "reasoning")?;
        return Ok(Thought::default());
    }
    if effort.enabled == Some(false) || level == Some("none") || effort.budget_tokens == Some(0) {
        // Older models think only when told to, and need not know the word.
        let says_so = model.adapts() || model.claude.is_none();
        let kind = says_so.then(|| ("type".to_owned(), json!("disabled")));
        return Ok(Thought { thinking: kind.into_iter().collect(), ..Thought::default() });
    }
    let known = level.and_then(|level| BUDGETS.iter().find(|(name, _)| *name == level));
    if level.is_some() && known.is_none() {
        losses.leave_out(Feature::Reasoning, "reasoning.effort")?;
    }
    let is_asked = known.is_some() || effort.enabled.is_some() || effort.budget_tokens.is_some();
    let budget = effort.budget_tokens;
    if model.adapts() && (budget.is_none() || !model.takes_budget()) {
        return Ok(adaptive(effort, known.map(|(level, _)| *level)));
    }
    if !is_asked {
        return Ok(Thought::default());
    }
    if !model.adapts() && effort.summary.as_deref() == Some("none") {
        losses.leave_out(Feature::Reasoning, "reasoning.summary")?;
    }
    if lacks_thoughts(request) {
        losses.leave_out(Feature::Reasoning, "reasoning")?;
        return Ok(Thought::default());
    }
    let budget = budget.or(known.map(|(_, budget)| *budget)).unwrap_or(8192).max(1024);
    let thinking = json!({"type": "enabled", "budget_tokens": budget});
    let Value::Object(mut thinking) = thinking else { return Ok(Thought::default()) };
    thinking.extend(display(effort).filter(|_| model.adapts()));
    Ok(Thought { thinking, effort: None, reserve: budget })
}

/// A budget becomes the least level that would have it.
fn adaptive(effort: &Effort, level: Option<&str>) -> Thought {
    let of_budget = |budget: u64| {
        let levels = BUDGETS.iter().filter(|(level, _)| *level != "minimal");
        levels.clone().find(|(_, most)| budget <= *most).map_or("max", |(level, _)| level)
    };
    let level = level.or(effort.budget_tokens.map(of_budget));
    let level = level.map(|level| if level == "minimal" { "low" } else { level });
    let mut thinking = Map::new();
    thinking.insert("type".to_owned(), json!("adaptive"));
    thinking.extend(display(effort));
    Thought { thinking, effort: level.map(str::to_owned), reserve: 16384 }
}

fn display(effort: &Effort) -> Option<(String, Value)> {
    let word = |summary: &str| if summary == "none" { "omitted" } else { "summarized" };
    effort.summary.as_deref().map(|summary| ("display".to_owned(), json!(word(summary))))
}

/// With a budget, a turn that goes on after tool results must begin with what was thought in it,
/// which a history out of another dialect may not have.
fn lacks_thoughts(request: &Request) -> bool {
    let mut turns = request.messages.iter().rev();
    let goes_on = turns.next().is_some_and(|message| message.role == Role::Tool);
    let last = turns.find(|message| message.role == Role::Assistant);
    let is_thought = |kind: &PartKind| match kind {
        PartKind::Reasoning { seal: Some(seal), .. } | PartKind::Hidden(seal) => {
            seal.by == Maker::Anthropic
        }
        _ => false,
    };
    let has_thoughts =
        last.is_some_and(|message| message.parts.iter().any(|part| is_thought(&part.kind)));
    goes_on && !has_thoughts
}

#[cfg(test)]
mod tests {
    use super::Model;

    #[test]
    fn a_models_version_is_read_from_its_name_wherever_it_runs() {
        for (name, claude) in [
            ("claude-opus-4-6", Some((4, 6))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", Some((4, 5))),
            ("claude-3-5-haiku@20241022", Some((3, 5))),
            ("claude-3-haiku-20240307", Some((3, 0))),
            ("claude-sonnet-5", Some((5, 0))),
            ("anthropic/claude-sonnet-4.6", Some((4, 6))),
            ("claude-opus-latest", Some((u32::MAX, 0))),
            ("glm-5.2", None),
        ] {
            assert_eq!(Model::of(name).claude, claude, "{name}");
        }
    }
}
