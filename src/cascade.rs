//! Whether the answer of a cheaper target is good enough, by what can be read off it for nothing.

use std::time::Duration;

use serde_json::Value;

use crate::chat::Answer;
use crate::chat::Choice;
use crate::chat::request::Request;
use crate::experiment::Target;
use crate::vital::Sample;

/// What has to hold of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// There is a word or a call in it.
    Empty,
    /// What it says is JSON, whatever was asked for.
    Json,
    /// It does not decline.
    Refusal,
    /// It is of the shape that was asked for, if one was.
    Schema,
    /// Its calls are of tools of the request, with arguments that these take.
    ToolCalls,
    /// It did not stop at the limit of tokens.
    Truncated,
}

/// Every check with its name in YAML, sorted by name; where a comparator or a metric of
/// experiments looks for the same, it has the same name.
pub static CHECKS: &[(&str, Check)] = &[
    ("empty", Check::Empty),
    ("json", Check::Json),
    ("refusal", Check::Refusal),
    ("schema", Check::Schema),
    ("tool_calls", Check::ToolCalls),
    ("truncated", Check::Truncated),
];

/// The checks of a cascade that names none: all that ask for nothing the request does not.
pub const USUAL: [Check; 5] =
    [Check::Empty, Check::Refusal, Check::Schema, Check::ToolCalls, Check::Truncated];

/// What becomes of an answer when its judge says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The next target is asked.
    #[default]
    Escalate,
    /// The answer is accepted.
    Accept,
}

/// Every word for it.
pub static ON_FAILURE: &[(&str, OnFailure)] =
    &[("escalate", OnFailure::Escalate), ("accept", OnFailure::Accept)];

/// How a route asks cheaper targets first.
#[derive(Clone, Debug, PartialEq)]
pub struct Cascade {
    /// What has to hold of an answer of any target but the last.
    pub checks: Vec<Check>,
    /// Who has to accept it besides.
    pub judge: Option<Judge>,
    /// What counts when the judge fails, is too slow or cannot be read.
    pub on_failure: OnFailure,
}

/// A model that says of one answer whether it will do.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    /// Who judges; never a target whose answers it judges.
    pub target: Target,
    /// What makes an answer good enough; empty for a general rule.
    pub criteria: Vec<String>,
    /// How long an application waits for its word.
    pub timeout: Duration,
    /// Characters of each text that it is shown, at most.
    pub max_chars: usize,
    /// How freely it draws its words; `None` leaves that to its provider.
    pub temperature: Option<f64>,
}

impl Judge {
    /// How long a judge may take unless the file says otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
}

impl Check {
    /// Its name in YAML.
    pub fn name(self) -> &'static str {
        CHECKS.iter().find(|(_, check)| *check == self).map_or("", |(name, _)| name)
    }

    fn fails(self, sample: &Sample, answer: &Answer) -> bool {
        match self {
            Self::Empty => sample.empty,
            Self::Json => !answer.choices.iter().all(is_json),
            Self::Refusal => sample.refused,
            Self::Schema => sample.schema_invalid == Some(true),
            Self::ToolCalls => sample.tool_invalid == Some(true),
            Self::Truncated => sample.truncated,
        }
    }
}

impl Cascade {
    /// Why an answer will not do: `broken` if it is not whole, else the first check it fails, in
    /// the order of the names; `None` leaves it to the judge.
    pub fn objection(&self, request: &Request, answer: &Answer) -> Option<&'static str> {
        let sample = Sample::of(Some(request), answer, 0, 0, None);
        if sample.failed {
            return Some("broken");
        }
        let all = CHECKS.iter().filter(|(_, check)| self.checks.contains(check));
        let mut failed = all.filter(|(_, check)| check.fails(&sample, answer));
        failed.next().map(|(name, _)| *name)
    }

    /// All that its acceptance means, in one text: what was accepted by other rules was not
    /// accepted by these.
    pub fn rules(&self) -> String {
        // Without `..`, so that a new rule does not compile until it is here.
        let Self { checks, judge, on_failure } = self;
        let named = CHECKS.iter().filter(|(_, check)| checks.contains(check));
        let named: Vec<&str> = named.map(|(name, _)| *name).collect();
        let judge = judge.as_ref().map(|judge| {
            let Judge { target, criteria, timeout: _, max_chars, temperature } = judge;
            format!("{target} {criteria:?} {max_chars} {temperature:?} {on_failure:?}")
        });
        format!("{} {}", named.join(","), judge.unwrap_or_default())
    }
}

/// Whether a choice is JSON, or nothing but calls, which are a step on the way.
fn is_json(choice: &Choice) -> bool {
    let is_step = choice.text.trim().is_empty() && !choice.tool_calls.is_empty();
    is_step || serde_json::from_str::<Value>(&choice.text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::CHECKS;
    use super::Cascade;
    use super::Check;
    use super::OnFailure;
    use super::USUAL;
    use crate::chat::Answer;
    use crate::chat::Choice;
    use crate::chat::DialectName;
    use crate::chat::ProviderError;
    use crate::chat::Stop;
    use crate::chat::ToolCall;
    use crate::chat::request::Format;
    use crate::chat::request::Request;
    use crate::chat::request::Tool;
    use serde_json::Map;
    use serde_json::json;

    fn cascade(checks: &[Check]) -> Cascade {
        Cascade { checks: checks.to_vec(), judge: None, on_failure: OnFailure::Escalate }
    }

    fn plain() -> Request {
        Request::new(DialectName::OpenAi, "m")
    }

    fn shaped() -> Request {
        let schema = json!({ "type": "object", "required": ["a"] });
        let format = Format::Schema { name: None, description: None, schema, strict: None };
        let parameters = json!({ "properties": { "at": { "type": "string" } } });
        let tool = Tool::Function {
            name: "look".to_owned(),
            description: None,
            parameters: Some(parameters),
            strict: None,
            rest: Map::new(),
        };
        Request { format: Some(format), tools: vec![tool], ..plain() }
    }

    fn saying(text: &str) -> Choice {
        let finish = Some("stop".to_owned());
        Choice { text: text.to_owned(), finish, stop: Some(Stop::Stop), ..Choice::default() }
    }

    fn calling(name: &str, arguments: &str) -> Choice {
        let (name, arguments) = (name.to_owned(), arguments.to_owned());
        Choice {
            tool_calls: vec![ToolCall { name, arguments, ..ToolCall::default() }],
            ..saying("")
        }
    }

    fn cut(text: &str) -> Choice {
        Choice { stop: Some(Stop::Length), ..saying(text) }
    }

    #[test]
    fn each_check_finds_what_it_is_named_after_and_no_other_does() {
        const REFUSAL: &str = "I'm sorry, but I can't help with that.";
        let all: Vec<Check> = CHECKS.iter().map(|(_, check)| *check).collect();
        for (request, choice, found) in [
            (plain(), saying("Two."), vec!["json"]),
            (plain(), saying("{\"b\":1}"), vec![]),
            (plain(), saying(" \n"), vec!["empty", "json"]),
            (plain(), saying(REFUSAL), vec!["json", "refusal"]),
            (plain(), cut("2"), vec!["truncated"]),
            (plain(), calling("look", "{}"), vec!["tool_calls"]),
            (shaped(), saying("{\"a\":1}"), vec![]),
            (shaped(), saying("{\"b\":1}"), vec!["schema"]),
            (shaped(), saying("a: 1"), vec!["json", "schema"]),
            (shaped(), calling("look", "{\"at\":\"x\"}"), vec![]),
            (shaped(), calling("look", "{\"at\":1}"), vec!["tool_calls"]),
            (shaped(), calling("leap", "{}"), vec!["tool_calls"]),
        ] {
            let answer = Answer { choices: vec![choice], ..Answer::default() };
            let alone = |check: &&Check| cascade(&[**check]).objection(&request, &answer).is_some();
            let names: Vec<&str> = all.iter().filter(alone).map(|check| check.name()).collect();
            assert_eq!(names, found, "{answer:?}");
            let together = cascade(&all).objection(&request, &answer);
            assert_eq!(together, found.first().copied(), "{answer:?}");
        }
    }

    #[test]
    fn what_is_not_whole_is_accepted_by_no_cascade() {
        let choices = vec![saying("Two.")];
        let error = Some(ProviderError::default());
        for answer in [
            Answer::default(),
            Answer { choices: choices.clone(), error, ..Answer::default() },
            Answer { choices: vec![Choice { finish: None, ..saying("Tw") }], ..Answer::default() },
        ] {
            assert_eq!(cascade(&[]).objection(&plain(), &answer), Some("broken"), "{answer:?}");
        }
        let answer = Answer { choices, ..Answer::default() };
        assert_eq!(cascade(&USUAL).objection(&plain(), &answer), None);
    }

    #[test]
    fn any_choice_that_will_not_do_spoils_the_answer() {
        let choices = vec![saying("Two."), cut("Th")];
        let answer = Answer { choices, ..Answer::default() };
        assert_eq!(cascade(&USUAL).objection(&plain(), &answer), Some("truncated"));
    }

    #[test]
    fn checks_are_sorted_by_name() {
        assert!(CHECKS.is_sorted_by_key(|(name, _)| *name));
    }
}
