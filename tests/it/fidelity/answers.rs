//! Features of answers: each is said in the provider's dialect, translated, and read in the other,
//! as a body and as a stream.

use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::ChatEvent;
use understudy::chat::Citation;
use understudy::chat::DialectName;
use understudy::chat::Maker;
use understudy::chat::Seal;
use understudy::chat::Sealed;
use understudy::chat::Stop;
use understudy::chat::TokenLogprob;
use understudy::chat::Usage;
use understudy::wire;

use super::Cell;
use crate::recordings;

/// Something an answer can say.
pub struct Feature {
    pub name: &'static str,
    /// What is said, without start, finish, usage and end.
    say: fn() -> Vec<ChatEvent>,
    /// Why it ends.
    stop: Stop,
    /// What of it is in an answer.
    find: fn(&Answer) -> Value,
}

/// What becomes of a feature from a provider's dialect into an application's.
pub fn cell(feature: &Feature, from: DialectName, into: DialectName) -> Cell {
    let cells = [false, true].map(|is_stream| in_form(feature, from, into, is_stream));
    // A body and a stream of one answer say the same.
    assert_eq!(cells[0], cells[1], "{} from {from:?} into {into:?}", feature.name);
    cells[0]
}

fn in_form(feature: &Feature, from: DialectName, into: DialectName, is_stream: bool) -> Cell {
    let usage = Usage {
        input_tokens: Some(20),
        output_tokens: Some(10),
        total_tokens: Some(30),
        cached_input_tokens: Some(5),
        reasoning_tokens: Some(4),
        ..Usage::default()
    };
    let start = ChatEvent::Start {
        id: Some("id-1".into()),
        model: Some("model-1".into()),
        fingerprint: None,
    };
    let (choice, stop) = (0, Some(feature.stop));
    let finish = ChatEvent::Finish { choice, reason: feature.stop.as_str().into(), stop };
    let mut said = vec![start];
    said.extend((feature.say)());
    said.extend([finish, ChatEvent::Usage(usage), ChatEvent::Done]);
    let own = recordings::written(from, &said, is_stream);
    let mut events = Vec::new();
    wire::events(from.dialect(), is_stream, [&own[..]], |event| events.push(event));
    if !events.contains(&ChatEvent::Done) {
        events.push(ChatEvent::Done);
    }
    let given = wire::fold(from.dialect(), is_stream, [&own[..]]);
    let wanted = (feature.find)(&given);
    if wanted.is_null() {
        return Cell::Unknown;
    }
    let translated = recordings::written(into, &events, is_stream);
    let arrived = wire::fold(into.dialect(), is_stream, [&translated[..]]);
    assert!(arrived.is_whole(), "{}: {arrived:?}", feature.name);
    let found = (feature.find)(&arrived);
    if found == wanted {
        return Cell::Kept;
    }
    if !found.is_null() {
        println!("{} from {from:?} into {into:?}: {wanted} became {found}", feature.name);
        return Cell::Lost;
    }
    Cell::Unsayable
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: text.into() }
}

fn call(index: u32, name: Option<&str>, arguments: &str) -> ChatEvent {
    let id = name.map(|_| format!("call_{index}"));
    let name = name.map(str::to_owned);
    ChatEvent::ToolCall { choice: 0, index, id, name, arguments: arguments.into() }
}

fn calls(answer: &Answer) -> Value {
    let calls = answer.choices.first().map(|choice| &choice.tool_calls);
    let calls =
        calls.into_iter().flatten().map(|call| json!([call.id, call.name, call.arguments_json()]));
    let calls: Vec<Value> = calls.collect();
    if calls.is_empty() { Value::Null } else { json!(calls) }
}

fn seals(answer: &Answer) -> Value {
    match answer.choices.first() {
        Some(choice) if !choice.seals.is_empty() => json!(choice.seals),
        _ => Value::Null,
    }
}

fn some_text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

fn usage(answer: &Answer, of: fn(&Usage) -> Option<u64>) -> Value {
    json!(answer.usage.as_ref().and_then(of))
}

fn stop(answer: &Answer) -> Value {
    json!(answer.choices.first().and_then(|choice| choice.stop))
}

fn plain() -> Vec<ChatEvent> {
    vec![text("Hello, "), text("world.")]
}

fn seal(by: Maker) -> Seal {
    Seal { by, data: "c2VhbA==".into() }
}

/// Sorted as people look for them.
pub static FEATURES: &[Feature] = &[
    Feature { name: "text", say: plain, stop: Stop::Stop, find: |answer| some_text(answer.text()) },
    Feature { name: "id", say: plain, stop: Stop::Stop, find: |answer| json!(answer.id) },
    Feature { name: "model", say: plain, stop: Stop::Stop, find: |answer| json!(answer.model) },
    Feature { name: "stop: finished", say: plain, stop: Stop::Stop, find: stop },
    Feature { name: "stop: too long", say: plain, stop: Stop::Length, find: stop },
    Feature { name: "stop: filtered", say: plain, stop: Stop::ContentFilter, find: stop },
    Feature {
        name: "tool call, streamed in pieces",
        say: || {
            vec![
                call(0, Some("weather"), "{\"ci"),
                call(0, None, "ty\":\"Par"),
                call(0, None, "is\"}"),
            ]
        },
        stop: Stop::ToolCalls,
        find: calls,
    },
    Feature {
        name: "parallel tool calls, interleaved",
        say: || {
            vec![
                text("Let me see."),
                call(0, Some("weather"), "{\"city\":"),
                call(1, Some("time"), "{\"zone\":"),
                call(0, None, "\"Paris\"}"),
                call(1, None, "\"CET\"}"),
            ]
        },
        stop: Stop::ToolCalls,
        find: calls,
    },
    Feature {
        name: "tool call without arguments",
        say: || vec![call(0, Some("now"), "")],
        stop: Stop::ToolCalls,
        find: calls,
    },
    Feature {
        name: "stop: tool calls",
        say: || vec![call(0, Some("now"), "{}")],
        stop: Stop::ToolCalls,
        find: |answer| match answer.choices[0].stop {
            Some(Stop::ToolCalls) => json!(true),
            _ => Value::Null,
        },
    },
    Feature {
        name: "reasoning",
        say: || {
            let thought = ChatEvent::Reasoning { choice: 0, text: "Hmm.".into() };
            vec![thought, text("Answer.")]
        },
        stop: Stop::Stop,
        find: |answer| some_text(&answer.choices[0].reasoning),
    },
    Feature {
        name: "Anthropic's signature of reasoning",
        say: || sealed(Maker::Anthropic, Sealed::Reasoning),
        stop: Stop::Stop,
        find: seals,
    },
    Feature {
        name: "OpenAI's encrypted reasoning",
        say: || {
            let data = r#"{"id":"rs_1","encrypted_content":"c2VhbA=="}"#.to_owned();
            let seal = Seal { by: Maker::OpenAi, data };
            vec![ChatEvent::Seal { choice: 0, on: Sealed::Hidden, seal }, text("Answer.")]
        },
        stop: Stop::Stop,
        find: seals,
    },
    Feature {
        name: "Gemini's signature of a tool call",
        say: || {
            let on = Sealed::ToolCall(0);
            vec![
                call(0, Some("now"), "{}"),
                ChatEvent::Seal { choice: 0, on, seal: seal(Maker::Gemini) },
            ]
        },
        stop: Stop::ToolCalls,
        find: seals,
    },
    Feature {
        name: "hidden reasoning",
        say: || {
            let seal = seal(Maker::Anthropic);
            vec![ChatEvent::Seal { choice: 0, on: Sealed::Hidden, seal }, text("Answer.")]
        },
        stop: Stop::Stop,
        find: seals,
    },
    Feature {
        name: "refusal",
        say: || vec![ChatEvent::Refusal { choice: 0, text: "I cannot.".into() }],
        stop: Stop::Stop,
        find: |answer| some_text(answer.text()),
    },
    Feature {
        name: "citation",
        say: || {
            let citation = Citation {
                url: Some("https://example.com/a".into()),
                title: Some("A page".into()),
                ..Citation::default()
            };
            vec![text("Answer."), ChatEvent::Citation { choice: 0, citation }]
        },
        stop: Stop::Stop,
        find: |answer| match answer.choices[0].citations.first() {
            Some(citation) => json!([citation.url, citation.title]),
            None => Value::Null,
        },
    },
    Feature {
        name: "image made",
        say: || {
            let (mime, data) = ("image/png".into(), "aGVsbG8=".into());
            vec![text("Here: "), ChatEvent::Media { choice: 0, mime, data }]
        },
        stop: Stop::Stop,
        find: |answer| match answer.choices[0].media.first() {
            Some(media) => json!(media),
            None => Value::Null,
        },
    },
    Feature {
        name: "log-probabilities",
        say: || {
            let top = vec![("Yes".to_owned(), -0.25), ("No".to_owned(), -1.5)];
            let token = TokenLogprob { token: "Yes".into(), logprob: -0.25, top };
            vec![text("Yes"), ChatEvent::Logprobs { choice: 0, tokens: vec![token] }]
        },
        stop: Stop::Stop,
        find: |answer| match answer.choices[0].logprobs.is_empty() {
            true => Value::Null,
            false => json!(answer.choices[0].logprobs),
        },
    },
    Feature {
        name: "several choices",
        say: || vec![text("One."), ChatEvent::Text { choice: 1, text: "Two.".into() }],
        stop: Stop::Stop,
        find: |answer| match answer.choices.get(1) {
            Some(choice) => json!(choice.text),
            None => Value::Null,
        },
    },
    Feature {
        name: "usage: input and output",
        say: plain,
        stop: Stop::Stop,
        find: |answer| match answer.usage {
            Some(usage) => json!([usage.input_tokens, usage.output_tokens]),
            None => Value::Null,
        },
    },
    Feature {
        name: "usage: cached input",
        say: plain,
        stop: Stop::Stop,
        find: |answer| usage(answer, |usage| usage.cached_input_tokens),
    },
    Feature {
        name: "usage: reasoning",
        say: plain,
        stop: Stop::Stop,
        find: |answer| usage(answer, |usage| usage.reasoning_tokens),
    },
];

fn sealed(by: Maker, on: Sealed) -> Vec<ChatEvent> {
    let thought = ChatEvent::Reasoning { choice: 0, text: "Hmm.".into() };
    vec![thought, ChatEvent::Seal { choice: 0, on, seal: seal(by) }, text("Answer.")]
}
