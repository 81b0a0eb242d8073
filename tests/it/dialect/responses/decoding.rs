//! Oddities of streams and bodies, each with what is to be made of it.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::ChatEvent;
use understudy::chat::DialectName;
use understudy::chat::Maker;
use understudy::chat::Stop;
use understudy::wire;

fn stream(events: &[Value]) -> Answer {
    let text: String = events
        .iter()
        .map(|event| match event {
            Value::String(text) => format!("data: {text}\n\n"),
            event => format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("")),
        })
        .collect();
    wire::fold(DialectName::Responses.dialect(), true, [text.as_bytes()])
}

fn body(body: &Value) -> Answer {
    wire::fold(DialectName::Responses.dialect(), false, [body.to_string().as_bytes()])
}

fn message(text: &str) -> Value {
    json!({"type": "message", "id": "msg_1", "role": "assistant",
           "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn completed(output: &[Value]) -> Value {
    let response = json!({"id": "r", "model": "m", "status": "completed", "output": output});
    json!({"type": "response.completed", "response": response})
}

#[test]
fn words_are_read_once_wherever_they_are_said() {
    let added = json!({"type": "response.output_item.added", "output_index": 0,
                       "item": {"type": "message", "id": "msg_1", "content": []}});
    let delta = |text: &str| {
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
               "item_id": "msg_1", "delta": text})
    };
    let done = json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0,
                      "text": "héllo"});
    let part = json!({"type": "response.content_part.done", "output_index": 0, "content_index": 0,
                      "part": {"type": "output_text", "text": "héllo"}});
    let item = json!({"type": "response.output_item.done", "output_index": 0,
                      "item": message("héllo")});
    let end = || completed(&[message("héllo")]);
    let rotated = json!({"type": "response.output_text.delta", "output_index": 0,
                         "content_index": 0, "item_id": "msg_other", "delta": "llo"});
    let no_index = json!({"type": "response.output_text.delta", "delta": "llo"});
    let moved = completed(&[
        json!({"type": "reasoning", "id": "x", "summary": []}),
        json!({"type": "message", "id": "new", "content": [
                                {"type": "output_text", "text": "héllo"}]}),
    ]);
    for (name, events) in [
        ("deltas only", vec![added.clone(), delta("hé"), delta("llo"), completed(&[])]),
        (
            "everything",
            vec![
                added.clone(),
                delta("hé"),
                delta("llo"),
                done.clone(),
                part.clone(),
                item.clone(),
                end(),
            ],
        ),
        ("the item twice", vec![added.clone(), item.clone(), item.clone(), end()]),
        ("only its text", vec![added.clone(), done.clone(), end()]),
        ("only its part", vec![added.clone(), part, completed(&[])]),
        ("only its item", vec![item.clone(), completed(&[])]),
        ("only the end", vec![end()]),
        ("a delta is missing", vec![added.clone(), delta("hé"), done, item, end()]),
        ("no item was added", vec![delta("hé"), delta("llo"), end()]),
        ("another id with every event", vec![added.clone(), delta("hé"), rotated, end()]),
        ("no index", vec![added.clone(), delta("hé"), no_index, end()]),
        ("other ids and places at the end", vec![added, delta("hé"), delta("llo"), moved]),
    ] {
        let answer = stream(&events);
        assert_eq!(answer.text(), "héllo", "{name}");
        assert!(answer.done && answer.error.is_none(), "{name}");
        assert_eq!(answer.choices[0].stop, Some(Stop::Stop), "{name}");
        assert_eq!(answer.choices[0].finish.as_deref(), Some("completed"), "{name}");
    }
}

#[test]
fn calls_side_by_side_stay_apart() {
    let added = |at: u64, name: &str| {
        json!({"type": "response.output_item.added", "output_index": at, "item": {
            "type": "function_call", "id": format!("fc_{at}"), "call_id": format!("call_{at}"),
            "name": name, "arguments": ""}})
    };
    let delta = |at: u64, text: &str| json!({"type": "response.function_call_arguments.delta", "output_index": at, "delta": text});
    let end = completed(&[]);
    let answer = stream(&[
        added(3, "a"),
        added(5, "b"),
        delta(5, "{\"y\""),
        delta(3, "{\"x\":1"),
        delta(5, ":2}"),
        delta(3, "}"),
        end,
    ]);
    let calls: Vec<_> = answer.choices[0]
        .tool_calls
        .iter()
        .map(|call| (call.index, call.id.as_deref(), call.name.as_str(), call.arguments.as_str()))
        .collect();
    assert_eq!(
        calls,
        [(0, Some("call_3"), "a", "{\"x\":1}"), (1, Some("call_5"), "b", "{\"y\":2}")]
    );
    assert_eq!(answer.choices[0].stop, Some(Stop::ToolCalls));
}

#[test]
fn a_calls_name_may_come_last() {
    let delta = json!({"type": "response.function_call_arguments.delta", "output_index": 0,
                       "delta": "{\"x\":"});
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": {
        "type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"x\":1}"}});
    for events in [vec![delta.clone(), done.clone(), completed(&[])], vec![done, completed(&[])]] {
        let answer = stream(&events);
        let call = &answer.choices[0].tool_calls[0];
        assert_eq!((call.name.as_str(), call.arguments.as_str()), ("f", "{\"x\":1}"));
    }
    let answer = stream(&[delta, completed(&[])]);
    assert_eq!(answer.choices[0].tool_calls[0].arguments, "{\"x\":", "lost is worse than nameless");
}

#[test]
fn encrypted_reasoning_is_a_seal_with_its_items_id() {
    let item = |summary: Value, encrypted: &str| {
        json!({"type": "reasoning", "id": "rs_1", "summary": summary,
               "encrypted_content": encrypted})
    };
    let summary = json!([{"type": "summary_text", "text": "hm"}]);
    let own = "{\"id\":\"rs_1\",\"encrypted_content\":\"gAAA\"}";
    for (item, by, data) in [
        (item(json!([]), "gAAA"), Maker::OpenAi, own),
        (item(summary.clone(), "gAAA"), Maker::OpenAi, own),
        (item(summary.clone(), own), Maker::OpenAi, own),
        (item(summary, "understudy-seal:anthropic:Eo8C"), Maker::Anthropic, "Eo8C"),
    ] {
        let done = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
        let ends = [completed(&[]), completed(std::slice::from_ref(&item))];
        for answer in ends.map(|end| stream(&[done.clone(), end])) {
            let [seal] = &answer.choices[0].seals[..] else { panic!("{answer:?}") };
            assert_eq!((seal.by, seal.data.as_str()), (by, data));
        }
    }
    let bare = json!({"type": "reasoning", "id": "rs_1", "summary": []});
    let answer = body(&completed(&[bare])["response"]);
    assert!(answer.choices[0].seals.is_empty(), "an id without content is of no use");
}

#[test]
fn sources_are_counted_in_characters_of_the_whole_text() {
    let source = |from: u64, to: u64| {
        json!({"type": "url_citation", "url": "https://a", "title": "A", "start_index": from,
               "end_index": to})
    };
    let part = |text: &str, sources: Value| json!({"type": "output_text", "text": text, "annotations": sources});
    let file = json!({"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 3});
    let content =
        json!([part("ä–b", json!([])), part("cd", json!([source(0, 2), source(1, 1), file]))]);
    let item = json!({"type": "message", "id": "m", "content": content});
    let added = json!({"type": "response.output_text.annotation.added", "output_index": 0,
                       "content_index": 1, "annotation_index": 0, "annotation": source(0, 2)});
    let delta = |at: u64, text: &str| {
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": at,
               "delta": text})
    };
    let whole = completed(&[item]);
    let streamed = stream(&[delta(0, "ä–b"), delta(1, "cd"), added, whole.clone()]);
    for answer in [body(&whole["response"]), streamed] {
        let citations = &answer.choices[0].citations;
        let spans: Vec<_> = citations.iter().map(|citation| citation.span).collect();
        assert_eq!(spans, [Some((3, 5)), None, None]);
        assert_eq!(citations[2].title.as_deref(), Some("a.pdf"));
    }
}

#[test]
fn what_the_provider_did_itself_is_named_once() {
    let image = json!({"type": "image_generation_call", "id": "ig", "result": "iVBO",
                       "output_format": "webp", "status": "completed"});
    let search = json!({"type": "web_search_call", "id": "ws", "status": "completed"});
    let mut begun = image.clone();
    begun["result"] = Value::Null;
    let event = |kind: &str, at: u64, item: &Value| json!({"type": format!("response.output_item.{kind}"), "output_index": at, "item": item});
    let partial = json!({"type": "response.image_generation_call.partial_image",
                         "output_index": 1, "partial_image_b64": "iV"});
    let answer = stream(&[
        event("added", 0, &search),
        event("done", 0, &search),
        event("added", 1, &begun),
        partial,
        event("done", 1, &image),
        completed(&[search, image]),
    ]);
    let choice = &answer.choices[0];
    assert_eq!(choice.others, ["web_search_call", "image_generation_call"]);
    assert_eq!(choice.media, [("image/webp".to_owned(), "iVBO".to_owned())]);
}

#[test]
fn every_way_to_end_has_its_word() {
    let end = |status: &str, details: Value| {
        body(&json!({"id": "r", "status": status, "output": [message("x")],
                     "incomplete_details": details}))
    };
    for (status, reason, word, stop) in [
        ("completed", Value::Null, "completed", Some(Stop::Stop)),
        ("incomplete", json!("max_output_tokens"), "max_output_tokens", Some(Stop::Length)),
        ("incomplete", json!("content_filter"), "content_filter", Some(Stop::ContentFilter)),
        ("incomplete", json!(7), "7", None),
        ("incomplete", Value::Null, "incomplete", None),
        ("cancelled", Value::Null, "cancelled", None),
    ] {
        let answer = end(status, json!({"reason": reason}));
        assert_eq!(answer.choices[0].finish.as_deref(), Some(word));
        assert_eq!(answer.choices[0].stop, stop, "{status} {reason}");
        assert!(answer.done);
    }
}

#[test]
fn failures_are_read_in_every_shape() {
    let sentence = "Rate limit reached. Please try again in 1m2.5s. Visit https://x";
    let error = json!({"type": "tokens", "code": "rate_limit_exceeded", "message": sentence});
    let flat = json!({"type": "error", "code": "rate_limit_exceeded", "message": sentence,
                      "param": null, "sequence_number": 3});
    let failed = json!({"type": "response.failed", "response": {
        "id": "r", "status": "failed", "output": [], "error": error}});
    for (kind, answer) in [
        (Some("tokens"), body(&json!({"error": error}))),
        (Some("tokens"), body(&failed["response"])),
        (Some("tokens"), stream(std::slice::from_ref(&failed))),
        (Some("tokens"), stream(&[json!({"type": "error", "error": error}), failed.clone()])),
        (Some("tokens"), stream(&[json!({"error": error})])),
        (None, stream(std::slice::from_ref(&flat))),
        (None, stream(&[flat, failed, json!("[DONE]")])),
    ] {
        let read = answer.error.as_ref().unwrap();
        assert_eq!(read.kind.as_deref(), kind);
        assert_eq!(read.code.as_deref(), Some("rate_limit_exceeded"));
        assert_eq!(read.retry_after_ms, Some(62_500));
        assert!(!answer.done && !answer.is_whole());
    }
    for (sentence, wait) in [
        ("Please try again in 350ms.", Some(350)),
        ("Please retry after 26 seconds.", Some(26_000)),
        ("Please try again in a while", None),
        ("Please try again in 99999999999999999999999999999999h", Some(u64::MAX)),
        ("no", None),
    ] {
        let answer = body(&json!({"error": {"message": sentence}}));
        assert_eq!(answer.error.unwrap().retry_after_ms, wait, "{sentence}");
    }
}

#[test]
fn nonsense_loses_only_itself() {
    let good = json!({"type": "response.output_text.delta", "output_index": 0, "delta": "a"});
    for odd in [
        json!({"type": "response.output_text.delta", "output_index": "x", "content_index": -1,
               "delta": {"a": 1}, "logprobs": 7, "item_id": [1], "item": "s"}),
        json!({"type": "response.output_item.added", "output_index": 1e300, "item": null}),
        json!({"type": "response.output_item.done", "item": {"type": 1, "content": {"a": []}}}),
        json!({"type": "response.output_text.done", "output_index": 0, "text": ""}),
        json!({"type": "response.new_thing", "delta": "b", "response": []}),
        json!({"type": "response.output_text.annotation.added", "annotation": "x"}),
        json!({"type": "keepalive"}),
        json!({"type": "response.created", "response": 7}),
        json!([]),
        json!({}),
    ] {
        let usage = json!({"input_tokens": 3, "output_tokens": 4.5, "total_tokens": "many",
                           "input_tokens_details": [], "output_tokens_details": {
                               "reasoning_tokens": null}});
        let mut end = completed(&[]);
        end["response"]["usage"] = usage;
        let answer = stream(&[good.clone(), odd.clone(), good.clone(), end]);
        assert_eq!(answer.text(), "aa", "{odd}");
        assert!(answer.done && answer.error.is_none(), "{odd}");
        let usage = answer.usage.unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(3), None), "{odd}");
    }
    let cut = stream(&[good, json!("{\"type\":\"respo")]);
    assert_eq!(cut.error.unwrap().kind.as_deref(), Some("malformed"));
}

#[test]
fn a_stream_that_breaks_off_is_not_whole() {
    let delta = json!({"type": "response.output_text.delta", "output_index": 0, "delta": "a"});
    let answer = stream(std::slice::from_ref(&delta));
    assert_eq!(answer.text(), "a");
    assert!(!answer.is_whole());
    assert!(stream(&[delta, json!("[DONE]")]).done, "some servers end with the mark of chat");
}

#[test]
fn log_probabilities_are_read_once() {
    let tokens = json!([{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [
        {"token": "b", "logprob": -1.0}]}]);
    let delta = json!({"type": "response.output_text.delta", "output_index": 0, "delta": "a",
                       "logprobs": tokens});
    let mut item = message("a");
    item["content"][0]["logprobs"] = tokens.clone();
    let done = json!({"type": "response.output_text.done", "output_index": 0, "text": "a",
                      "logprobs": tokens});
    for answer in [
        stream(&[delta, done.clone(), completed(&[item.clone()])]),
        stream(&[done, completed(&[item.clone()])]),
        body(&completed(&[item])["response"]),
    ] {
        let [token] = &answer.choices[0].logprobs[..] else { panic!("{answer:?}") };
        assert_eq!((token.token.as_str(), token.logprob), ("a", -0.5));
        assert_eq!(token.top, [("b".to_owned(), -1.0)]);
    }
}

/// One event of every kind, about few items, so that any order makes them meet.
fn pool() -> Vec<Value> {
    let mut pool = vec![json!("[DONE]"), json!({"type": "error", "message": "x"})];
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let thought = json!({"type": "reasoning", "id": "r", "encrypted_content": "e", "summary": [
        {"type": "summary_text", "text": "ä"}]});
    for at in 0..2 {
        for item in [message("äb"), call.clone(), thought.clone()] {
            for kind in ["added", "done"] {
                let kind = format!("response.output_item.{kind}");
                pool.push(json!({"type": kind, "output_index": at, "item": item}));
            }
        }
        for kind in ["output_text", "function_call_arguments", "reasoning_summary_text"] {
            for end in ["delta", "done"] {
                let kind = format!("response.{kind}.{end}");
                pool.push(json!({"type": kind, "output_index": at, "delta": "b", "text": "äbc",
                                 "arguments": "{}}"}));
            }
        }
    }
    pool.push(completed(&[call, message("äbc"), thought]));
    pool
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_order_of_events_ends_once(order in prop::collection::vec(0..40usize, 0..30)) {
        let pool = pool();
        let events: Vec<Value> =
            order.iter().filter_map(|at| pool.get(*at)).cloned().collect();
        let text: String = events
            .iter()
            .map(|event| match event {
                Value::String(mark) => format!("data: {mark}\n\n"),
                event => format!("data: {event}\n\n"),
            })
            .collect();
        let mut ends = 0;
        wire::events(DialectName::Responses.dialect(), true, [text.as_bytes()], |event| {
            let is_end = matches!(event, ChatEvent::Done | ChatEvent::Error(_));
            ends += usize::from(is_end);
        });
        prop_assert!(ends <= 1);
    }
}
