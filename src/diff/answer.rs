//! Two answers to one request, side by side: words, tool calls, ending.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::chat::Answer;
use crate::chat::Choice;
use crate::chat::Stop;
use crate::diff::Difference;
use crate::diff::differences;
use crate::diff::text;
use crate::diff::text::Run;

/// The most differing places of tool calls that are told.
const MOST_PLACES: usize = 50;

/// How one answer differs from another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Whether an application would notice nothing: words, tool calls and ending are the same.
    pub same: bool,
    /// The words of the first choice.
    pub text: Vec<Run>,
    /// Where tool calls differ: `[0].arguments.city`, by their order.
    pub tool_calls: Vec<Difference>,
    /// Where anything else an application may act on differs: endings, other choices, vectors.
    pub rest: Vec<Difference>,
}

/// Compares two answers by what an application acts on; ids do not count.
pub fn compare(before: &Answer, after: &Answer) -> Compared {
    let (a, b) = (before.choices.first(), after.choices.first());
    let said = |choice: Option<&Choice>| choice.map_or("", Choice::said).to_owned();
    let calls = |choice: Option<&Choice>| choice.map_or(json!([]), calls);
    let text = text::words(&said(a), &said(b));
    let tool_calls = differences(&calls(a), &calls(b), MOST_PLACES);
    let rest = differences(&rest(before), &rest(after), MOST_PLACES);
    let is_same_text = text.iter().all(|run| matches!(run, Run::Same(_)));
    let same = is_same_text && tool_calls.is_empty() && rest.is_empty();
    Compared { same, text, tool_calls, rest }
}

/// Names and arguments; what is no JSON stays a string.
fn calls(choice: &Choice) -> Value {
    let calls = choice.tool_calls.iter().map(|call| {
        let arguments = call.arguments_json();
        json!({
            "name": call.name,
            "arguments": arguments.unwrap_or_else(|| call.arguments.as_str().into()),
        })
    });
    Value::Array(calls.collect())
}

fn rest(answer: &Answer) -> Value {
    let finish = |choice: &Choice| choice.stop.map(Stop::as_str);
    let others = answer.choices.iter().skip(1).map(|choice| {
        json!({"text": choice.said(), "tool_calls": calls(choice), "finish": finish(choice)})
    });
    json!({
        "finish": answer.choices.first().and_then(finish),
        "refused": answer.choices.first().is_some_and(|choice| !choice.refusal.is_empty()),
        "error": answer.error.as_ref().map(|error| error.message.as_str()),
        "choices": others.collect::<Vec<_>>(),
        "vectors": answer.embeddings,
    })
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::chat::Answer;
    use crate::chat::Choice;
    use crate::chat::Stop;
    use crate::chat::ToolCall;

    fn answer(text: &str, arguments: &str, stop: Stop) -> Answer {
        let call = ToolCall {
            id: Some(format!("call-{}", arguments.len())),
            name: "weather".into(),
            arguments: arguments.into(),
            ..ToolCall::default()
        };
        let choice = Choice {
            text: text.into(),
            tool_calls: vec![call],
            stop: Some(stop),
            ..Choice::default()
        };
        Answer { choices: vec![choice], ..Answer::default() }
    }

    #[test]
    fn spelling_and_ids_do_not_count_and_each_difference_is_placed() {
        let base = answer("it is fine", r#"{"city":"Oslo","days":2}"#, Stop::ToolCalls);
        let spelt = answer("it is fine", r#"{ "days": 2.0, "city": "Oslo" }"#, Stop::ToolCalls);
        assert!(compare(&base, &spelt).same);
        let other = answer("it is bad", r#"{"city":"Bergen","days":2}"#, Stop::Stop);
        let found = compare(&base, &other);
        assert!(!found.same);
        assert_eq!(found.text.len(), 3);
        assert_eq!(found.tool_calls[0].path, "[0].arguments.city");
        assert_eq!(found.rest[0].path, "finish");
        let broken = answer("it is fine", r#"{"city":"#, Stop::ToolCalls);
        assert_eq!(compare(&base, &broken).tool_calls[0].path, "[0].arguments");
    }
}
