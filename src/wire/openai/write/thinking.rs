//! Says how much to think, in whichever way the provider takes it.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::request::Effort;
use crate::error::Result;
use crate::wire::carry::Feature;
use crate::wire::openai::write::Draft;
use crate::wire::quirk::Thinking;

/// Words for how much to think, each with the most tokens it stands for and the tokens it is worth.
///
/// The worths are those that Google publishes for its own endpoint of this dialect (low 1,024,
/// medium 8,192, high 24,576); a budget takes the word whose worth is nearest in proportion, so the
/// bounds lie at the geometric means between them: 724, 2,896 and 14,189.
const EFFORTS: &[(&str, u64, u64)] = &[
    ("none", 0, 0),
    ("minimal", 724, 512),
    ("low", 2_896, 1_024),
    ("medium", 14_189, 8_192),
    ("high", u64::MAX, 24_576),
];

/// The word nearest to a budget.
fn word(tokens: u64) -> &'static str {
    EFFORTS.iter().find(|(_, most, _)| tokens <= *most).map_or("high", |(word, _, _)| word)
}

/// What a word is worth; a word beyond the table is as much as the most.
fn tokens(word: &str) -> u64 {
    EFFORTS.iter().find(|(known, _, _)| *known == word).map_or(24_576, |(_, _, worth)| *worth)
}

/// The word that says the same, if anything does.
fn level(effort: &Effort) -> Option<String> {
    if effort.enabled == Some(false) {
        return Some("none".to_owned());
    }
    let from_budget = || effort.budget_tokens.map(|tokens| word(tokens).to_owned());
    // OpenAI's own default, for those who only say that there is to be thinking.
    let from_switch = || effort.enabled.map(|_| "medium".to_owned());
    effort.level.clone().or_else(from_budget).or_else(from_switch)
}

impl Draft<'_> {
    pub(super) fn thinking(&mut self) -> Result<()> {
        let Some(effort) = self.request.reasoning.as_ref() else { return Ok(()) };
        let spelled = ["reasoning", "reasoning_effort", "thinking", "enable_thinking"];
        if spelled.into_iter().chain(["thinking_budget"]).any(|key| self.is_spelled(key)) {
            return Ok(());
        }
        if self.losses.lacks(Feature::Reasoning) {
            return self.losses.leave_out(Feature::Reasoning, "reasoning");
        }
        match self.to.quirks.thinking {
            Thinking::Effort => {
                level(effort).into_iter().for_each(|word| self.set("reasoning_effort", word));
                self.no_summary(effort)
            }
            Thinking::Object => {
                self.thinking_object(effort);
                Ok(())
            }
            Thinking::Switch => self.thinking_switch(effort),
            Thinking::Flag => self.thinking_flag(effort),
            Thinking::No => self.losses.leave_out(Feature::Reasoning, "reasoning"),
        }
    }

    /// How thinking is shown cannot be asked here.
    fn no_summary(&mut self, effort: &Effort) -> Result<()> {
        match effort.summary {
            Some(_) => self.losses.leave_out(Feature::Reasoning, "reasoning.summary"),
            None => Ok(()),
        }
    }

    /// OpenRouter takes a word or a budget, not both.
    fn thinking_object(&mut self, effort: &Effort) {
        let mut object = Map::new();
        match (&effort.level, effort.budget_tokens, effort.enabled) {
            (_, _, Some(false)) => drop(object.insert("enabled".to_owned(), false.into())),
            (Some(word), _, _) => drop(object.insert("effort".to_owned(), word.as_str().into())),
            (None, Some(tokens), _) => drop(object.insert("max_tokens".to_owned(), tokens.into())),
            (None, None, Some(true)) => drop(object.insert("enabled".to_owned(), true.into())),
            (None, None, None) => {}
        }
        if effort.summary.as_deref() == Some("none") {
            object.insert("exclude".to_owned(), true.into());
        }
        if !object.is_empty() {
            self.set("reasoning", Value::Object(object));
        }
    }

    /// On or off is all there is; how much is lost.
    fn thinking_switch(&mut self, effort: &Effort) -> Result<()> {
        let Some(word) = level(effort) else { return self.no_summary(effort) };
        let is_on = word != "none";
        let switch = if is_on { "enabled" } else { "disabled" };
        self.set("thinking", json!({"type": switch}));
        if is_on && effort.level.is_some() {
            self.losses.leave_out(Feature::Reasoning, "reasoning.effort")?;
        }
        if is_on && effort.budget_tokens.is_some() {
            self.losses.leave_out(Feature::Reasoning, "reasoning.budget_tokens")?;
        }
        self.no_summary(effort)
    }

    fn thinking_flag(&mut self, effort: &Effort) -> Result<()> {
        let Some(word) = level(effort) else { return self.no_summary(effort) };
        let is_on = word != "none";
        self.set("enable_thinking", is_on);
        let from_level = || effort.level.as_deref().map(tokens);
        let budget = effort.budget_tokens.or_else(from_level).filter(|_| is_on);
        budget.into_iter().for_each(|tokens| self.set("thinking_budget", tokens));
        self.no_summary(effort)
    }
}
