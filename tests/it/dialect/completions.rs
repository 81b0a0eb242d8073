//! The completions dialect against what was recorded, and in both directions.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::ChatEvent;
use understudy::chat::DialectName;
use understudy::chat::Stop;
use understudy::chat::TokenLogprob;
use understudy::chat::request::Message;
use understudy::chat::request::Part;
use understudy::chat::request::Request;
use understudy::chat::request::Role;
use understudy::chat::request::Tool;
use understudy::wire;
use understudy::wire::Recipient;
use understudy::wire::carry::Feature;
use understudy::wire::quirk::Quirks;

use crate::recordings;

const COMPLETIONS: DialectName = DialectName::Completions;

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    recordings::answers_are_read("completions", COMPLETIONS, &[]);
}

#[test]
fn any_chunking_of_a_recorded_stream_gives_one_answer() {
    recordings::any_chunking_gives_one_answer("completions", COMPLETIONS);
}

#[test]
fn recorded_answers_survive_being_written_again() {
    recordings::answers_survive("completions", COMPLETIONS, COMPLETIONS, |_| {});
    recordings::answers_survive("completions", COMPLETIONS, DialectName::OpenAi, |_| {});
}

/// Of a chat, a completion can tell the words, the probabilities, the end and the usage.
fn words_only(answer: &mut Answer) {
    answer.id = answer.id.take().filter(|id| id != "cmpl-0199test");
    if let Some(usage) = &mut answer.usage {
        let sum = usage.input_tokens.zip(usage.output_tokens).map(|(i, o)| i + o);
        usage.total_tokens = usage.total_tokens.or(sum);
    }
    for choice in &mut answer.choices {
        let text = if choice.text.is_empty() { choice.said() } else { &choice.text };
        let stop = choice.stop.filter(|stop| *stop != Stop::ToolCalls).unwrap_or(Stop::Stop);
        *choice = understudy::chat::Choice {
            index: choice.index,
            text: text.to_owned(),
            logprobs: choice.logprobs.clone(),
            finish: Some(stop.as_str().to_owned()),
            stop: Some(stop),
            ..Default::default()
        };
    }
}

#[test]
fn the_words_of_recorded_chats_survive() {
    recordings::answers_survive("chat", DialectName::OpenAi, COMPLETIONS, words_only);
}

#[test]
fn recorded_requests_ask_the_same_when_written_again() {
    recordings::requests_survive("completions", COMPLETIONS, |_| None, |_| {});
}

fn read(body: &Value) -> Result<Request, understudy::error::Error> {
    let dialect = COMPLETIONS.dialect();
    dialect.read(&dialect.read_head(Bytes::from(body.to_string()), None).unwrap())
}

fn write(into: DialectName, request: &Request) -> Result<(Value, Vec<Feature>), String> {
    let to = Recipient { model: "m", quirks: &Quirks::NONE };
    let written = into.dialect().write(request, &to).map_err(|error| error.detail)?;
    let losses = written.losses.fields().map(|(feature, _)| feature).collect();
    Ok((serde_json::from_slice(&written.body).unwrap(), losses))
}

#[test]
fn every_form_of_a_prompt_returns_as_it_was() {
    for prompt in [
        json!("one"),
        json!(["one"]),
        json!(["one", "two"]),
        json!([1, 2, 3]),
        json!([[1, 2], [3]]),
        json!([]),
    ] {
        let body = json!({
            "model": "m", "prompt": prompt, "suffix": "end", "echo": true, "best_of": 2,
            "logprobs": 3, "stop": "\n", "n": 2, "logit_bias": {"50256": -100}, "stream": true,
            "stream_options": {"include_usage": true}, "seed": 7, "user": "u",
        });
        assert_eq!(write(COMPLETIONS, &read(&body).unwrap()).unwrap(), (body, vec![]));
    }
}

#[test]
fn one_text_becomes_a_chat_and_anything_else_is_refused() {
    for prompt in [json!("one"), json!(["one"])] {
        let body = json!({"model": "m", "prompt": prompt, "max_tokens": 5, "echo": true});
        let (chat, losses) = write(DialectName::OpenAi, &read(&body).unwrap()).unwrap();
        let messages = json!([{"role": "user", "content": "one"}]);
        let want = json!({"model": "m", "messages": messages, "max_completion_tokens": 5});
        assert_eq!((chat, losses), (want, vec![Feature::UnknownField]));
    }
    for body in [
        json!({"model": "m", "prompt": ["one", "two"]}),
        json!({"model": "m", "prompt": [1, 2]}),
        json!({"model": "m", "prompt": "one", "suffix": "two"}),
    ] {
        let refusal = write(DialectName::OpenAi, &read(&body).unwrap()).unwrap_err();
        assert!(refusal.contains("messages[0].content"), "{refusal}");
    }
}

#[test]
fn a_wrong_type_is_named() {
    for (body, field) in [
        (json!({"model": "m", "prompt": 1}), "`prompt`"),
        (json!({"model": "m", "prompt": [{"a": 1}]}), "`prompt`"),
        (json!({"model": "m", "prompt": [null]}), "`prompt`"),
        (json!({"model": "m", "prompt": "a", "logprobs": true}), "`logprobs`"),
        (json!({"model": "m", "prompt": "a", "suffix": 1}), "`suffix`"),
        (json!({"model": "m", "prompt": "a", "stop": [1]}), "`stop`"),
        (json!({"model": "m", "prompt": "a", "stream_options": 1}), "`stream_options`"),
    ] {
        let detail = read(&body).unwrap_err().detail;
        assert!(detail.contains(field), "{body}: {detail}");
    }
}

#[test]
fn a_chat_of_one_text_becomes_a_prompt_and_a_conversation_is_refused() {
    let mut request = Request::new(DialectName::OpenAi, "asked");
    request.messages = vec![Message::text(Role::User, "go on")];
    request.stream = true;
    let (body, losses) = write(COMPLETIONS, &request).unwrap();
    let usage = json!({"include_usage": true});
    let want = json!({"model": "m", "prompt": "go on", "stream": true, "stream_options": usage});
    assert_eq!((body, losses), (want, vec![]));

    let refused = |change: &dyn Fn(&mut Request)| {
        let mut request = request.clone();
        change(&mut request);
        write(COMPLETIONS, &request).unwrap_err()
    };
    let system = refused(&|request| {
        request.messages.insert(0, Message::text(Role::System, "be kind"));
    });
    assert!(system.contains("one user message"), "{system}");
    let image = refused(&|request| {
        let own = understudy::chat::request::PartKind::Own(json!({"type": "x"}));
        request.messages[0].parts.push(Part::new(own));
    });
    assert!(image.contains("messages[0].content[1]"), "{image}");
    let tools = refused(&|request| request.tools.push(Tool::Own(json!({}))));
    assert!(tools.contains("tools"), "{tools}");
}

#[test]
fn log_probabilities_keep_their_old_shape() {
    let token = |token: &str, logprob: f64| TokenLogprob {
        token: token.to_owned(),
        logprob,
        top: vec![(token.to_owned(), logprob), ("x".to_owned(), -5.0)],
    };
    let events = [
        ChatEvent::Text { choice: 0, text: "né ok".to_owned() },
        ChatEvent::Logprobs { choice: 0, tokens: vec![token("né", -0.5), token(" ok", -1.0)] },
        ChatEvent::Done,
    ];
    let bytes = recordings::written(COMPLETIONS, &events, false);
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let want = json!({
        "tokens": ["né", " ok"], "token_logprobs": [-0.5, -1.0], "text_offset": [0, 2],
        "top_logprobs": [{"né": -0.5, "x": -5.0}, {" ok": -1.0, "x": -5.0}],
    });
    assert_eq!(body["choices"][0]["logprobs"], want);
    for is_stream in [false, true] {
        let bytes = recordings::written(COMPLETIONS, &events, is_stream);
        let answer = wire::fold(COMPLETIONS.dialect(), is_stream, [&bytes[..]]);
        assert_eq!(answer.choices[0].logprobs, vec![token("né", -0.5), token(" ok", -1.0)]);
        assert_eq!(answer.choices[0].finish.as_deref(), Some("stop"), "no end said is a plain end");
    }
}

#[test]
fn a_broken_stream_tells_it_and_does_not_end_well() {
    let error =
        understudy::chat::ProviderError { message: "gone".to_owned(), ..Default::default() };
    let events = [ChatEvent::Text { choice: 0, text: "a".to_owned() }, ChatEvent::Error(error)];
    let bytes = recordings::written(COMPLETIONS, &events, true);
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(!text.contains("[DONE]") && !text.contains("\"stop\""), "{text}");
    let answer = wire::fold(COMPLETIONS.dialect(), true, [&bytes[..]]);
    assert_eq!(answer.error.unwrap().message, "gone");
}
