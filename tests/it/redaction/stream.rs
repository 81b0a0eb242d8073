//! Answers: a value that is spread over the pieces of a stream goes, whatever the pieces.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use understudy::chat::ChatEvent;
use understudy::chat::DIALECTS;
use understudy::chat::DialectName;
use understudy::chat::Frame;
use understudy::chat::TokenLogprob;
use understudy::chat::request::Request;
use understudy::redact::Found;
use understudy::store::exchange::Exchange;
use understudy::store::exchange::Head;
use understudy::wire;
use understudy::wire::Asked;

use super::built_in;
use super::own;
use super::redacted;
use crate::recordings;

pub const SAID: &str = "Dear Ann, I wrote to ann@x.org and bob@y.org.";
const ARGUMENTS: &str = r#"{"to": "ann@x.org", "card": 4111111111111111}"#;

fn exchange(dialect: DialectName, is_stream: bool, frames: Vec<Frame>) -> Exchange {
    let request = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut head = Head {
        request_id: "r-1".into(),
        target: "up/m".into(),
        dialect: dialect.as_str().into(),
        is_stream,
        status: 200,
        ended: "whole".into(),
        ..Head::default()
    };
    head.asked.dialect = "openai".into();
    head.asked.stream = is_stream;
    Exchange { head, request: Bytes::from(request), frames }
}

/// A text in pieces of these sizes.
fn cut<'t>(text: &'t str, sizes: &[usize]) -> Vec<&'t str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            return pieces;
        }
        let (piece, tail) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

pub fn events(sizes: &[usize]) -> Vec<ChatEvent> {
    let id = || Some("id-1".to_owned());
    let mut events = vec![ChatEvent::Start { id: id(), model: id(), fingerprint: None }];
    let text = |text: &str| ChatEvent::Text { choice: 0, text: text.to_owned() };
    events.extend(cut(SAID, sizes).into_iter().map(text));
    let mut names = Some(("call-1".to_owned(), "send".to_owned()));
    events.extend(cut(ARGUMENTS, sizes).into_iter().map(|piece| {
        let (id, name) = names.take().unzip();
        ChatEvent::ToolCall { choice: 0, index: 0, id, name, arguments: piece.to_owned() }
    }));
    let reason = "tool_calls".to_owned();
    let stop = Some(understudy::chat::Stop::ToolCalls);
    events.push(ChatEvent::Finish { choice: 0, reason, stop });
    events.push(ChatEvent::Done);
    events
}

pub fn written(dialect: DialectName, events: &[ChatEvent]) -> Vec<u8> {
    let mut request = Request::new(dialect, "m");
    (request.stream, request.stream_usage) = (true, true);
    let asked = Asked {
        request: Arc::new(request),
        id: "1".into(),
        created_s: 1,
        input_estimate: 1,
        in_array: false,
    };
    let (mut encoder, mut out) = (dialect.dialect().encoder(&asked), Vec::new());
    events.iter().for_each(|event| encoder.encode(event, &mut out));
    out
}

fn framed(bytes: &[u8], sizes: &[usize]) -> Vec<Frame> {
    let (mut frames, mut rest, mut at_us) = (Vec::new(), bytes, 0);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at((size * 20).min(rest.len()));
        at_us += 10;
        frames.push(Frame { at_us, bytes: Bytes::copy_from_slice(piece) });
        rest = tail;
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_stream_says_the_redacted_text_however_it_is_cut(
        sizes in prop::collection::vec(1..9usize, 1..9),
        cuts in prop::collection::vec(1..9usize, 1..9),
    ) {
        let rules = built_in(&["email", "card"]);
        for name in ["openai", "openai-responses", "anthropic", "gemini", "cohere", "bedrock"] {
            let dialect = DialectName::parse(name).unwrap();
            let frames = framed(&written(dialect, &events(&sizes)), &cuts);
            let before = exchange(dialect, true, frames);
            let (after, found) = before.redacted(&rules).unwrap().unwrap();
            prop_assert_eq!(found.keys().map(|name| &**name).collect::<Vec<_>>(), ["card", "email"]);
            prop_assert_eq!(&after.head.redacted, &["card", "email"]);
            let pieces = after.frames.iter().map(|frame| &frame.bytes[..]);
            let answer = wire::fold(dialect.dialect(), true, pieces);
            prop_assert!(answer.is_whole(), "{}", name);
            prop_assert_eq!(answer.text(), redacted(&rules, SAID));
            let arguments = answer.choices[0].tool_calls[0].arguments_json().unwrap();
            prop_assert_eq!(arguments, serde_json::json!({"to": "[email]", "card": "[card]"}));
            prop_assert!(after.frames.is_sorted_by_key(|frame| frame.at_us));
            let (first, last) = (before.frames[0].at_us, before.frames.last().unwrap().at_us);
            prop_assert!(after.frames.iter().all(|it| (first..=last).contains(&it.at_us)));
            prop_assert!(after.redacted(&rules).unwrap().is_none(), "{} is redacted once", name);
        }
    }
}

#[test]
fn tokens_go_with_the_text_that_they_would_tell() {
    let mut events: Vec<(u64, ChatEvent)> = ["ann", "@x.org"]
        .into_iter()
        .flat_map(|piece| {
            let token = TokenLogprob { token: piece.into(), logprob: -0.1, top: Vec::new() };
            let text = ChatEvent::Text { choice: 0, text: piece.into() };
            [text, ChatEvent::Logprobs { choice: 0, tokens: vec![token] }]
        })
        .zip(1..)
        .map(|(event, at)| (at, event))
        .collect();
    assert!(built_in(&["email"]).events(&mut events, &mut Found::new()));
    let text = |text: &str| ChatEvent::Text { choice: 0, text: text.into() };
    assert_eq!(events, [(1, text("[email]")), (3, text(""))]);
}

#[test]
fn recorded_answers_without_a_word_that_they_say_are_answers_still() {
    let apis = [
        ("chat", DialectName::OpenAi),
        ("responses", DialectName::Responses),
        ("messages", DialectName::Anthropic),
        ("generate_content", DialectName::Gemini),
        ("completions", DialectName::Completions),
        ("cohere_v2_chat", DialectName::Cohere),
        ("converse", DialectName::Converse),
    ];
    let (mut count, mut wrong) = (0, Vec::new());
    for (api, dialect) in apis {
        for recording in recordings::of_api(api).unwrap_or_default() {
            let answer = recordings::fold(dialect, &recording, &[&recording.bytes]);
            let is_long =
                |word: &&str| word.len() > 4 && word.bytes().all(|b| b.is_ascii_alphabetic());
            let Some(word) = answer.text().split(' ').find(is_long) else { continue };
            if recording.status != 200 || answer.error.is_some() {
                continue;
            }
            count += 1;
            let frames = framed(&recording.bytes, &[7]);
            let before = exchange(dialect, recording.is_stream, frames);
            let rules = own("word", word);
            let after = match before.redacted(&rules) {
                Ok(Some((after, _))) => after,
                other => {
                    wrong.push(format!("{}: {word}: {other:?}", recording.id));
                    continue;
                }
            };
            let pieces = after.frames.iter().map(|frame| &frame.bytes[..]);
            let said = wire::fold(dialect.dialect(), recording.is_stream, pieces);
            let text = redacted(&rules, answer.text());
            if (said.is_whole(), said.text()) != (answer.is_whole(), &text) {
                wrong.push(format!("{}: {:?} not {text:?}", recording.id, said.text()));
            }
            let stops = |answer: &understudy::chat::Answer| answer.choices[0].stop;
            if stops(&said) != stops(&answer) {
                wrong.push(format!(
                    "{}: {:?} not {:?}",
                    recording.id,
                    stops(&said),
                    stops(&answer)
                ));
            }
        }
    }
    println!("{count} recorded answers, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_no_rule_matches_is_stored_as_it_came() {
    for (_, dialect) in DIALECTS {
        let before = exchange(*dialect, true, framed(b"data: {\"hello\": 1}\n\n", &[1]));
        assert!(before.redacted(&built_in(&["email"])).unwrap().is_none());
    }
}
