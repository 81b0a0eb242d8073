//! The Gemini dialect against what was recorded, and against what Google's documents say.

mod answer;
mod question;

use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::DialectName;
use understudy::wire::InPath;

use crate::recordings;

const API: &str = "generate_content";

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    recordings::answers_are_read(API, DialectName::Gemini, &[]);
}

#[test]
fn however_a_stream_is_cut_it_gives_one_answer() {
    recordings::any_chunking_gives_one_answer(API, DialectName::Gemini);
}

#[test]
fn an_answer_written_again_says_the_same() {
    recordings::answers_survive(API, DialectName::Gemini, DialectName::Gemini, |answer| {
        no_end_mark(answer);
        answer.id.take_if(|id| id == "0199test");
        // Only Google can say what it did itself.
        answer.choices.iter_mut().for_each(|choice| choice.others.clear());
        let calls = answer.choices.iter_mut().flat_map(|choice| &mut choice.tool_calls);
        // No arguments are an empty object.
        calls
            .filter(|call| call.arguments.is_empty())
            .for_each(|call| call.arguments = "{}".into());
    });
}

#[test]
fn an_answer_of_the_chat_api_survives() {
    recordings::answers_survive("chat", DialectName::OpenAi, DialectName::Gemini, as_gemini);
}

/// A stream of Gemini's has no end mark: it is whole when every choice has ended.
fn no_end_mark(answer: &mut Answer) {
    answer.done = answer.is_whole();
}

/// Brings what OpenAI-compatible servers say into the form that Gemini can say.
fn as_gemini(answer: &mut Answer) {
    no_end_mark(answer);
    answer.id = None;
    answer.model = None;
    if let Some(usage) = &mut answer.usage {
        usage.cache_write_tokens = None;
        // Thoughts that xAI leaves out of the output are part of it here.
        if let (Some(output), Some(thought)) = (usage.output_tokens, usage.reasoning_tokens)
            && thought > output
        {
            usage.output_tokens = Some(output + thought);
        }
    }
    for choice in &mut answer.choices {
        choice.finish = None;
        choice.others.clear();
        choice.stop = choice.stop.filter(|_| choice.tool_calls.is_empty());
        choice.text.push_str(&std::mem::take(&mut choice.refusal));
        // What is said aloud beside text is the same words.
        let aloud = std::mem::take(&mut choice.transcript);
        if choice.text.is_empty() {
            choice.text = aloud;
        }
        for (index, call) in (0..).zip(&mut choice.tool_calls) {
            call.index = index;
            let raw = json!({"input": call.arguments});
            let object = call.arguments_json().filter(Value::is_object);
            call.arguments = object.unwrap_or(raw).to_string();
        }
    }
}

fn in_path(url: &str) -> Option<InPath> {
    let (_, name) = url.rsplit_once("/models/")?;
    let (model, verb) = name.split_once(':')?;
    Some(InPath { model: model.to_owned(), stream: verb.starts_with("stream") })
}

#[test]
fn every_recorded_request_asks_the_same_when_written_again() {
    recordings::requests_survive(API, DialectName::Gemini, in_path, normal);
}

/// Google takes two spellings of every name, roles that are not said, tools in one entry or in
/// several, and schemas in two fields.
fn normal(body: &mut Value) {
    one_spelling(body);
    if body.get("generationConfig") == Some(&json!({})) {
        body.as_object_mut().unwrap().remove("generationConfig");
    }
    for turn in body["contents"].as_array_mut().unwrap() {
        turn["role"] = turn.get("role").cloned().unwrap_or(json!("user"));
        for part in turn.get_mut("parts").and_then(Value::as_array_mut).into_iter().flatten() {
            // Bytes have two alphabets.
            if let Some(Value::String(data)) = part.pointer_mut("/inlineData/data") {
                *data = data.replace('-', "+").replace('_', "/");
            }
        }
    }
    one_turn_of_results(body["contents"].as_array_mut().unwrap());
    if let Some(system) = body.get_mut("systemInstruction").and_then(Value::as_object_mut) {
        system.remove("role");
    }
    for tool in body.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
        let functions = tool.get_mut("functionDeclarations").and_then(Value::as_array_mut);
        for function in functions.into_iter().flatten() {
            let function = function.as_object_mut().unwrap();
            if let Some(schema) = function.remove("parameters") {
                function.insert("parametersJsonSchema".into(), lower_types(schema));
            }
        }
    }
}

/// What the user says to the results of tools may stand in a turn of its own.
fn one_turn_of_results(turns: &mut Vec<Value>) {
    let has_result = |turn: &Value| turn["parts"][0].get("functionResponse").is_some();
    for at in (1..turns.len()).rev() {
        if turns[at - 1]["role"] == "user"
            && turns[at]["role"] == "user"
            && has_result(&turns[at - 1])
        {
            let more = turns.remove(at)["parts"].take();
            let parts = turns[at - 1]["parts"].as_array_mut().unwrap();
            parts.extend(more.as_array().unwrap().clone());
        }
    }
}

fn one_spelling(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(one_spelling),
        Value::Object(fields) => {
            for (key, mut value) in std::mem::take(fields) {
                one_spelling(&mut value);
                let mut words = key.split('_');
                let mut camel = words.next().unwrap_or_default().to_owned();
                for word in words {
                    let (first, rest) = word.split_at(word.len().min(1));
                    camel.push_str(&first.to_uppercase());
                    camel.push_str(rest);
                }
                fields.insert(camel, value);
            }
        }
        _ => {}
    }
}

fn lower_types(mut schema: Value) -> Value {
    if let Some(word) = schema.get_mut("type") {
        *word = word.as_str().unwrap().to_lowercase().into();
    }
    for inner in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        *inner.1 = lower_types(inner.1.take());
    }
    schema
}
