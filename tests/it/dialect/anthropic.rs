//! The anthropic dialect against what was recorded.

mod answers;
mod requests;

use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::DialectName;

use crate::recordings;

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    recordings::answers_are_read("messages", DialectName::Anthropic, &[]);
}

#[test]
fn however_a_stream_is_cut_it_is_one_answer() {
    recordings::any_chunking_gives_one_answer("messages", DialectName::Anthropic);
}

/// What was run by the provider has no events that could be written again, places in documents
/// cannot be told without the document, and arguments that are no JSON are text under `input` in a body.
fn forgive(answer: &mut Answer) {
    for choice in &mut answer.choices {
        choice.others.clear();
        choice.citations.retain(|citation| citation.url.is_some());
        // A stream does not know yet where a cited block began.
        choice.citations.iter_mut().for_each(|citation| citation.span = None);
        for call in &mut choice.tool_calls {
            let arguments = call.arguments_json();
            let text = || json!({"input": call.arguments});
            call.arguments = arguments.unwrap_or_else(text).to_string();
        }
    }
    answer.choices.retain(|choice| *choice != understudy::chat::Choice::default());
}

#[test]
fn an_answer_written_again_says_the_same() {
    let own = DialectName::Anthropic;
    recordings::answers_survive("messages", own, own, forgive);
}

#[test]
fn answers_of_chat_completions_can_be_told_to_applications() {
    let (from, into) = (DialectName::OpenAi, DialectName::Anthropic);
    recordings::answers_survive("chat", from, into, |answer| {
        forgive(answer);
        plain(answer);
    });
}

/// Only the first answer has a place; reasons have other words and the total is a sum.
fn plain(answer: &mut Answer) {
    answer.choices.truncate(1);
    // What is not told must be guessed, or follows from the rest.
    answer.usage = None;
    answer.id.get_or_insert("msg_0199test".to_owned());
    answer.model.get_or_insert("model-asked".to_owned());
    if answer.choices.is_empty() {
        answer.choices.push(understudy::chat::Choice::default());
    }
    for choice in &mut answer.choices {
        choice.finish = None;
        choice.stop = None;
        choice.logprobs.clear();
        choice.media.clear();
        for (at, call) in (0..).zip(&mut choice.tool_calls) {
            call.id.get_or_insert(format!("call_0199test_{}", call.index));
            call.index = at;
        }
        choice.text = choice.said().to_owned();
        choice.refusal.clear();
        choice.transcript.clear();
    }
}

/// One spelling for a text alone and a list of one, for turns of one role in a row, and for what
/// is said although it is the default.
fn normal(body: &mut Value) {
    let one = |text: &Value| json!([{"type": "text", "text": text}]);
    if body["system"].is_string() {
        body["system"] = one(&body["system"]);
    }
    let mut turns: Vec<Value> = Vec::new();
    for mut turn in body["messages"].as_array().cloned().unwrap_or_default() {
        if turn["content"].is_string() {
            turn["content"] = one(&turn["content"]);
        }
        for block in turn["content"].as_array_mut().into_iter().flatten() {
            if block["type"] == "tool_result" {
                if block["content"].is_string() {
                    block["content"] = one(&block["content"]);
                }
                let fields = block.as_object_mut().unwrap();
                fields.retain(|key, value| !(key == "is_error" && *value == json!(false)));
            }
        }
        match turns.last_mut().filter(|last| last["role"] == turn["role"]) {
            Some(last) => {
                let mut blocks = turn["content"].as_array().cloned().unwrap();
                last["content"].as_array_mut().unwrap().append(&mut blocks);
            }
            None => turns.push(turn),
        }
    }
    body["messages"] = Value::from(turns);
    for tool in body.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
        tool.as_object_mut().unwrap().retain(|key, value| !(key == "type" && *value == "custom"));
    }
    let fields = body.as_object_mut().unwrap();
    fields.retain(|key, value| !(key == "stream" && *value == json!(false)));
}

#[test]
fn a_request_written_again_asks_the_same() {
    recordings::requests_survive("messages", DialectName::Anthropic, |_| None, normal);
}
