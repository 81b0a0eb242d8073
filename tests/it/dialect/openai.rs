//! The openai dialect against what was recorded, and in both directions.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::ChatEvent;
use understudy::chat::Citation;
use understudy::chat::DialectName;
use understudy::chat::Maker;
use understudy::chat::ProviderError;
use understudy::chat::Seal;
use understudy::chat::Sealed;
use understudy::chat::Stop;
use understudy::chat::Usage;
use understudy::chat::request::Effort;
use understudy::chat::request::Message;
use understudy::chat::request::Part;
use understudy::chat::request::PartKind;
use understudy::chat::request::Request;
use understudy::chat::request::Role;
use understudy::chat::request::Source;
use understudy::wire;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;
use understudy::wire::quirk::Thinking;

use crate::recordings;

const OPENAI: DialectName = DialectName::OpenAi;

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    recordings::answers_are_read("chat", OPENAI, &[]);
}

#[test]
fn any_chunking_of_a_recorded_stream_gives_one_answer() {
    recordings::any_chunking_gives_one_answer("chat", OPENAI);
}

/// What the dialect cannot say again: a provider's own word for an end, a call's number, what the
/// provider did besides, and an answer or call without an id.
fn forgive(answer: &mut Answer) {
    answer.id = answer.id.take().filter(|id| id != "chatcmpl-0199-test");
    answer.model = answer.model.take().filter(|model| model != "model-asked");
    if let Some(usage) = &mut answer.usage {
        let sum = usage.input_tokens.zip(usage.output_tokens).map(|(i, o)| i + o);
        usage.total_tokens = usage.total_tokens.or(sum);
    }
    for choice in &mut answer.choices {
        choice.others.clear();
        choice.stop = choice.stop.or(Some(Stop::Stop));
        choice.finish = choice.stop.map(|stop| stop.as_str().to_owned());
        for (at, call) in (0..).zip(&mut choice.tool_calls) {
            call.index = at;
            call.id = call.id.take().filter(|id| !id.starts_with("call_0199-test"));
            if call.arguments.is_empty() {
                call.arguments = "{}".to_owned();
            }
        }
    }
}

#[test]
fn recorded_answers_survive_being_written_again() {
    recordings::answers_survive("chat", OPENAI, OPENAI, forgive);
}

#[test]
fn recorded_requests_ask_the_same_when_written_again() {
    recordings::requests_survive("chat", OPENAI, |_| None, drop_nulls);
}

/// Null says the same as nothing in this dialect.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
