//! The responses dialect against what was recorded.

mod decoding;
mod encoding;
mod requests;

use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::DialectName;

use crate::recordings;

const API: &str = "responses";

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    recordings::answers_are_read(API, DialectName::Responses, &[]);
}

#[test]
fn however_a_stream_is_cut_it_gives_one_answer() {
    recordings::any_chunking_gives_one_answer(API, DialectName::Responses);
}

#[test]
fn every_recorded_answer_survives_being_written_again() {
    recordings::answers_survive(API, DialectName::Responses, DialectName::Responses, |answer| {
        forget_what_is_made_up(answer);
        for choice in &mut answer.choices {
            // What the provider did by itself is only named, and cannot be told again.
            choice.others.clear();
            // Only a page is cited with the stretch of text that it supports.
            let files = choice.citations.iter_mut().filter(|citation| citation.url.is_none());
            files.for_each(|citation| citation.span = None);
        }
    });
}

#[test]
fn every_recorded_chat_answer_survives_in_this_dialect() {
    recordings::answers_survive("chat", DialectName::OpenAi, DialectName::Responses, |answer| {
        forget_what_is_made_up(answer);
        // Only one answer can be told.
        answer.choices.truncate(1);
        for choice in &mut answer.choices {
            choice.finish = None;
            // There is no place for what another provider did, nor for sound.
            choice.others.clear();
            choice.media.retain(|(mime, _)| mime.starts_with("image/"));
            // Annotations name pages and do not quote them.
            choice.citations.iter_mut().for_each(|citation| citation.quote = None);
            // Sealed reasoning is an item, which has an id.
            for seal in &mut choice.seals {
                let item = serde_json::from_str::<Value>(&seal.data).unwrap_or_default();
                if let Some(data) = item["encrypted_content"].as_str() {
                    seal.data = data.to_owned();
                }
            }
            // A word that fits nothing is told as a good end.
            choice.stop = choice.stop.filter(|_| !choice.tool_calls.is_empty());
            // What is said aloud beside text is the same words.
            let aloud = std::mem::take(&mut choice.transcript);
            if choice.text.is_empty() {
                choice.text = aloud;
            }
        }
    });
}

/// Ids, the model and totals where the provider has said none.
fn forget_what_is_made_up(answer: &mut Answer) {
    answer.id = answer.id.take().filter(|id| id != "resp_0199test" && !id.is_empty());
    answer.model = answer.model.take().filter(|model| model != "model-asked");
    if let Some(usage) = &mut answer.usage {
        usage.total_tokens = None;
    }
    for choice in &mut answer.choices {
        // A number that is read, written and read again may differ in its last bit.
        let numbers = choice.logprobs.iter_mut().map(|token| &mut token.logprob);
        numbers.for_each(|number| *number = (*number * 1e9).round());
        for (at, call) in (0..).zip(&mut choice.tool_calls) {
            call.index = at;
            call.id = call.id.take().filter(|id| !id.starts_with("call_0199test_"));
            if call.arguments.trim().is_empty() {
                call.arguments = "{}".to_owned();
            }
        }
    }
}

#[test]
fn every_recorded_request_asks_the_same_again() {
    recordings::requests_survive(API, DialectName::Responses, |_| None, normal);
}

/// Nulls, empty lists and defaults say nothing; a string is a list of one text.
fn normal(body: &mut Value) {
    prune(body);
    let fields = body.as_object_mut().unwrap();
    if let Some(Value::String(text)) = fields.get("input") {
        let item = json!({"type": "message", "role": "user", "content": text});
        fields.insert("input".into(), json!([item]));
    }
    if fields.get("stream") == Some(&json!(false)) {
        fields.remove("stream");
    }
    for item in fields.get_mut("input").and_then(Value::as_array_mut).into_iter().flatten() {
        let item = item.as_object_mut().unwrap();
        item.entry("type").or_insert(json!("message"));
        if let Some(Value::String(text)) = item.get("content") {
            let is_answer = item["role"] == "assistant";
            let kind = if is_answer { "output_text" } else { "input_text" };
            let part = json!({"type": kind, "text": text});
            item.insert("content".into(), json!([part]));
        }
    }
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, value| {
                let is_empty = value.as_array().is_some_and(Vec::is_empty);
                let says_nothing = ["annotations", "include", "logprobs", "summary", "tools"];
                let may_go = is_empty && says_nothing.contains(&key.as_str());
                !(value.is_null() || may_go)
            });
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}
