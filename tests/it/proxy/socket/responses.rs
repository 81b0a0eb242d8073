//! The Responses API's socket mode in front of a provider that speaks it over HTTP.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use understudy::chat::DialectName;

use super::Socket;
use super::connect;
use super::next;
use super::say;
use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::config;
use crate::harness::until;

/// A sidecar whose only provider speaks Responses, and one that does not.
async fn start(alpha: &Provider, chat: &Provider) -> Sidecar {
    let mut config = config(&[("alpha", alpha), ("chat", chat)]);
    if let Some(alpha) = config.providers.get_mut("alpha") {
        alpha.dialects = vec![DialectName::Responses];
    }
    config.limits.max_request_bytes = 64 << 10;
    Sidecar::start(config).await
}

fn event(event: &Value) -> Step {
    let kind = event["type"].as_str().unwrap();
    Step::Send(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")))
}

fn item(text: &str) -> Value {
    json!({"type": "message", "id": format!("msg_{text}"), "role": "assistant",
           "status": "completed", "content": [{"type": "output_text", "text": text}]})
}

fn thought(sealed: Option<&str>) -> Value {
    json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed})
}

/// The events of an answer with these items.
fn events(id: &str, items: &[Value]) -> Vec<Value> {
    let response = |status: &str, output: &[Value]| {
        json!({"id": id, "object": "response", "created_at": 1, "model": "m", "status": status,
               "output": output,
               "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}})
    };
    let mut events = vec![json!({"type": "response.created", "sequence_number": 0,
                                 "response": response("in_progress", &[])})];
    for (at, item) in items.iter().enumerate() {
        events.push(json!({"type": "response.output_item.done", "sequence_number": 1 + at,
                           "output_index": at, "item": item}));
    }
    events.push(json!({"type": "response.completed", "sequence_number": 9,
                       "response": response("completed", items)}));
    events
}

fn stream(events: &[Value]) -> Answer {
    Answer::stream(events.iter().map(event).collect())
}

async fn create(socket: &mut Socket, model: &str, more: Value) {
    let mut create = json!({"type": "response.create", "model": model});
    create.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    say(socket, Message::text(create.to_string())).await;
}

async fn told(socket: &mut Socket) -> Value {
    let message = next(socket).await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

/// The events up to the end of an answer.
async fn answer(socket: &mut Socket) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let event = told(socket).await;
        let kind = event["type"].as_str().unwrap().to_owned();
        all.push(event);
        if matches!(kind.as_str(), "response.completed" | "response.failed" | "error") {
            return all;
        }
    }
}

fn sent(provider: &Provider) -> Value {
    let call = provider.calls().remove(0);
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/v1/responses"));
    assert_eq!(call.header("sec-websocket-key"), None);
    assert_eq!(call.header("authorization"), Some("Bearer key"));
    serde_json::from_slice(&call.body).unwrap()
}

const KEY: [(&str, &str); 1] = [("authorization", "Bearer key")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_one_message_untouched_and_turns_go_on_from_what_was_said() {
    let (alpha, chat) = (Provider::start().await, Provider::start().await);
    let sidecar = start(&alpha, &chat).await;
    for path in ["/v1/responses", "/responses", "/alpha/v1/responses"] {
        if path.starts_with("/alpha") {
            // It has no socket of its own.
            alpha.expect(Answer::error(405));
        }
        let mut socket = connect(&sidecar.data, path, &KEY).await.unwrap();
        alpha.calls();
        let model = if path.starts_with("/alpha") { "m" } else { "alpha/m" };
        let (first, second) = (
            events("resp_1", &[thought(None), thought(Some("sealed")), item("one")]),
            events("resp_2", &[item("two")]),
        );
        alpha.expect(stream(&first));
        let more = json!({"input": path, "store": false, "temperature": 0.25, "generate": true});
        create(&mut socket, model, more).await;
        assert_eq!(answer(&mut socket).await, first, "{path}");
        assert_eq!(sent(&alpha), {
            json!({"model": "m", "input": path, "store": false, "temperature": 0.25, "stream": true})
        });
        // A whole body in an older client's envelope, and input as a list.
        alpha.expect(stream(&second));
        let result = json!({"type": "function_call_output", "call_id": "c", "output": "4"});
        let body = json!({"model": model, "store": false, "previous_response_id": "resp_1",
                          "input": [result]});
        let nested = json!({"type": "response.create", "response": body});
        say(&mut socket, Message::text(nested.to_string())).await;
        assert_eq!(answer(&mut socket).await, second, "{path}");
        let asked = json!({"type": "message", "role": "user", "content": path});
        let items = json!([asked, thought(Some("sealed")), item("one"), result]);
        let expected = json!({"model": "m", "store": false, "input": items, "stream": true});
        assert_eq!(sent(&alpha), expected, "{path}");
        // The third has everything, and reasoning without its seal is kept where it is stored.
        alpha.expect(stream(&events("resp_3", &[thought(None)])));
        create(&mut socket, model, json!({"previous_response_id": "resp_2", "input": "x"})).await;
        answer(&mut socket).await;
        let x = json!({"type": "message", "role": "user", "content": "x"});
        let all = json!([asked, thought(Some("sealed")), item("one"), result, item("two"), x]);
        assert_eq!(sent(&alpha)["input"], all);
        alpha.expect(stream(&events("resp_4", &[])));
        create(&mut socket, model, json!({"previous_response_id": "resp_3"})).await;
        answer(&mut socket).await;
        assert_eq!(sent(&alpha)["input"].as_array().unwrap().last(), Some(&thought(None)));
        socket.close(None).await.unwrap();
        assert!(!matches!(next(&mut socket).await, Some(Err(_))), "an unclean close");
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_response_is_left_to_a_provider_that_may_know_it_and_to_no_other() {
    let (alpha, chat) = (Provider::start().await, Provider::start().await);
    let sidecar = start(&alpha, &chat).await;
    let mut socket = connect(&sidecar.data, "/v1/responses", &KEY).await.unwrap();
    alpha.expect(stream(&events("resp_9", &[item("nine")])));
    let more = json!({"previous_response_id": "resp_of_old", "input": "x"});
    create(&mut socket, "alpha/m", more.clone()).await;
    answer(&mut socket).await;
    let body = sent(&alpha);
    assert_eq!(
        (&body["previous_response_id"], &body["input"]),
        (&"resp_of_old".into(), &"x".into())
    );
    create(&mut socket, "chat/m", more).await;
    let error = told(&mut socket).await;
    assert_eq!((&error["type"], &error["status"]), (&"error".into(), &400.into()));
    assert_eq!(error["error"]["code"], "previous_response_not_found");
    assert_eq!(error["error"]["param"], "previous_response_id");
    alpha.expect(stream(&events("resp_8", &[item("eight")])));
    create(&mut socket, "alpha/m", json!({"conversation": "conv_1", "input": "z"})).await;
    answer(&mut socket).await;
    let again = json!({"previous_response_id": "resp_8", "input": "y"});
    create(&mut socket, "chat/m", again).await;
    assert_eq!(told(&mut socket).await["error"]["code"], "previous_response_not_found");
    // What went on from an unknown one is not known in full either.
    create(&mut socket, "chat/m", json!({"previous_response_id": "resp_9", "input": "y"})).await;
    assert_eq!(told(&mut socket).await["error"]["code"], "previous_response_not_found");
    drop(socket);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_response_calls_nobody_and_is_gone_on_from() {
    let (alpha, chat) = (Provider::start().await, Provider::start().await);
    let sidecar = start(&alpha, &chat).await;
    let mut socket = connect(&sidecar.data, "/v1/responses", &KEY).await.unwrap();
    let more = json!({"generate": false, "input": "first", "instructions": "be brief"});
    create(&mut socket, "alpha/m", more).await;
    let prepared = answer(&mut socket).await;
    let kinds: Vec<&Value> = prepared.iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["response.created", "response.completed"]);
    let response = &prepared[1]["response"];
    assert_eq!((&response["output"], &response["instructions"]), (&json!([]), &"be brief".into()));
    assert_eq!(alpha.count(), 0);
    alpha.expect(stream(&events("resp_1", &[])));
    let more = json!({"previous_response_id": response["id"], "input": "second"});
    create(&mut socket, "alpha/m", more).await;
    answer(&mut socket).await;
    let user = |text| json!({"type": "message", "role": "user", "content": text});
    assert_eq!(sent(&alpha)["input"], json!([user("first"), user("second")]));
    create(&mut socket, "nobody/m", json!({"generate": false, "input": "x"})).await;
    assert_eq!(told(&mut socket).await["status"], 404);
    drop(socket);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_and_the_socket_goes_on() {
    let (alpha, chat) = (Provider::start().await, Provider::start().await);
    let sidecar = start(&alpha, &chat).await;
    let mut socket = connect(&sidecar.data, "/v1/responses", &KEY).await.unwrap();
    let text = |text: &str| Message::text(text.to_owned());
    for (message, code, param) in [
        (text("{\"type\":"), "invalid_json", Value::Null),
        (text("[1]"), "invalid_json", Value::Null),
        (text(""), "invalid_json", Value::Null),
        (Message::binary(b"{}".to_vec()), "invalid_json", Value::Null),
        (text("{}"), "unknown_event_type", "type".into()),
        (text("{\"type\":7}"), "unknown_event_type", "type".into()),
        (text("{\"type\":\"response.cancel\"}"), "unknown_event_type", "type".into()),
        (
            text("{\"type\":\"response.create\",\"stream_id\":3}"),
            "invalid_stream_id",
            "stream_id".into(),
        ),
        (
            text("{\"type\":\"response.create\",\"model\":\"alpha/m\",\"store\":\"no\"}"),
            "invalid_type",
            "store".into(),
        ),
        (
            text("{\"type\":\"response.create\",\"model\":\"alpha/m\",\"background\":true}"),
            "invalid_value",
            "background".into(),
        ),
        (text("{\"type\":\"response.create\",\"input\":\"x\"}"), "bad_request", Value::Null),
        (text("{\"type\":\"response.create\",\"model\":\"x/m\"}"), "not_found", Value::Null),
    ] {
        say(&mut socket, message.clone()).await;
        let error = told(&mut socket).await;
        assert_eq!(error["type"], "error", "{message}");
        assert_eq!((&error["error"]["code"], &error["error"]["param"]), (&code.into(), &param));
        assert!(error["status"].as_u64().is_some_and(|status| (400..500).contains(&status)));
        assert!(error["error"]["message"].is_string() && error["error"]["type"].is_string());
    }
    let steer = json!({"type": "response.steer", "previous_response_id": "r", "input": "now"});
    say(&mut socket, Message::text(steer.to_string())).await;
    let failed = told(&mut socket).await;
    assert_eq!([&failed["type"], &failed["steer"]["input"]], ["response.steer.failed", "now"]);
    // The provider's own refusal, with what it says about coming back.
    alpha.expect(Answer::error(429).header("retry-after", "7"));
    create(&mut socket, "alpha/m", json!({"input": "x", "stream_id": "lane"})).await;
    let error = told(&mut socket).await;
    assert_eq!((&error["status"], &error["stream_id"]), (&429.into(), &"lane".into()));
    let error = &error["error"];
    assert_eq!([&error["message"], &error["headers"]["retry-after"]], ["status 429", "7"]);
    // A failure in the middle, as a plain stream tells it; and no end at all.
    let flat = json!({"type": "error", "code": "server_error", "message": "lost", "param": null,
                      "sequence_number": 3});
    alpha.expect(stream(&[events("resp_1", &[])[0].clone(), flat]));
    create(&mut socket, "alpha/m", json!({"input": "y"})).await;
    let said = answer(&mut socket).await;
    let told_at = json!([said[1]["error"]["message"], said[1]["sequence_number"]]);
    assert_eq!(told_at, json!(["lost", 3]));
    alpha.expect(stream(&events("resp_2", &[item("half")])[..2]));
    create(&mut socket, "alpha/m", json!({"input": "z"})).await;
    assert_eq!(answer(&mut socket).await[2]["type"], "error");
    // A provider that does not stream.
    let whole = events("resp_3", &[item("whole")]).pop().unwrap()["response"].clone();
    alpha.expect(Answer::json(whole.to_string()));
    create(&mut socket, "alpha/m", json!({"input": "whole"})).await;
    assert_eq!(answer(&mut socket).await[0]["response"], whole);
    // Nothing is read after a message that is too large.
    say(&mut socket, Message::text("x".repeat(65 << 10))).await;
    let error = told(&mut socket).await;
    assert_eq!((&error["status"], &error["error"]["code"]), (&413.into(), &"too_large".into()));
    let Message::Close(Some(close)) = next(&mut socket).await.unwrap().unwrap() else { panic!() };
    assert_eq!(close.code, CloseCode::Size);
    drop(socket);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lane_waits_for_itself_and_lanes_do_not_wait_for_each_other() {
    let (alpha, chat) = (Provider::start().await, Provider::start().await);
    let sidecar = start(&alpha, &chat).await;
    let mut socket = connect(&sidecar.data, "/v1/responses", &KEY).await.unwrap();
    let gate = Gate::new();
    let slow = events("resp_slow", &[item("slow")]);
    let begins = [&slow[0], &slow[1]].map(event);
    alpha.expect(Answer::stream(
        [&begins[..], &[Step::Wait(gate.clone()), event(&slow[2])]].concat(),
    ));
    create(&mut socket, "alpha/m", json!({"input": "slow", "stream_id": "a"})).await;
    for _ in begins {
        assert_eq!(told(&mut socket).await["stream_id"], "a");
    }
    create(&mut socket, "alpha/m", json!({"input": "behind", "stream_id": "a"})).await;
    alpha.expect(stream(&events("resp_b", &[])));
    create(&mut socket, "alpha/m", json!({"input": "beside", "stream_id": "b"})).await;
    let beside = answer(&mut socket).await;
    assert!(beside.iter().all(|event| event["stream_id"] == "b"), "{beside:?}");
    assert_eq!(alpha.count(), 2);
    alpha.expect(stream(&events("resp_behind", &[])));
    gate.open();
    assert_eq!(answer(&mut socket).await[0]["response"]["id"], "resp_slow");
    assert_eq!(answer(&mut socket).await[1]["response"]["id"], "resp_behind");
    alpha.calls();
    // What was said on one lane can be gone on from on another, even by an answer without lane.
    alpha.expect(stream(&events("resp_c", &[])));
    create(&mut socket, "alpha/m", json!({"input": "c", "previous_response_id": "resp_slow"}))
        .await;
    assert!(answer(&mut socket).await[0].get("stream_id").is_none());
    assert_eq!(sent(&alpha)["input"].as_array().map(Vec::len), Some(3));
    drop(socket);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_bounded_and_a_client_that_leaves_ends_its_calls() {
    let (alpha, chat) = (Provider::start().await, Provider::start().await);
    let sidecar = start(&alpha, &chat).await;
    let mut socket = connect(&sidecar.data, "/v1/responses", &KEY).await.unwrap();
    let begun = events("resp_1", &[item("begun")]);
    alpha.expect(Answer::stream(vec![event(&begun[0]), event(&begun[1]), Step::Hang]));
    create(&mut socket, "alpha/m", json!({"input": "0"})).await;
    told(&mut socket).await;
    told(&mut socket).await;
    for number in 1..=32 {
        create(&mut socket, "alpha/m", json!({"input": number.to_string()})).await;
    }
    create(&mut socket, "alpha/m", json!({"input": "one too many"})).await;
    let error = told(&mut socket).await;
    assert_eq!(error["error"]["code"], "websocket_queue_limit_reached");
    assert_eq!((alpha.open(), alpha.count()), (1, 1));
    drop(socket);
    until("the call's end", || alpha.open() == 0).await;
    until("its place", || sidecar.metrics.open.get() == 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(alpha.count(), 1, "what waited was asked for nobody");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_of_another_dialect_answers_and_is_told_the_whole_conversation() {
    let (alpha, chat) = (Provider::start().await, Provider::start().await);
    let sidecar = start(&alpha, &chat).await;
    let mut socket = connect(&sidecar.data, "/v1/responses", &KEY).await.unwrap();
    chat.expect(Answer::stream([vec![delta("forty"), delta("-two")], ending()].concat()));
    create(&mut socket, "chat/m", json!({"input": "what is it?", "store": false})).await;
    let said = answer(&mut socket).await;
    let words: String = said.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(words, "forty-two");
    let response = &said.last().unwrap()["response"];
    assert_eq!(response["output"][0]["content"][0]["text"], "forty-two");
    chat.calls();
    chat.expect(Answer::stream([vec![delta("yes")], ending()].concat()));
    let more = json!({"input": "sure?", "store": false, "previous_response_id": response["id"]});
    create(&mut socket, "chat/m", more).await;
    answer(&mut socket).await;
    let body: Value = serde_json::from_slice(&chat.calls().remove(0).body).unwrap();
    let text = |turn: &Value| match &turn["content"] {
        Value::Array(parts) => parts[0]["text"].clone(),
        text => text.clone(),
    };
    let turns = body["messages"].as_array().unwrap().iter();
    let turns: Vec<Value> = turns.map(|turn| json!([turn["role"], text(turn)])).collect();
    let expected = json!([["user", "what is it?"], ["assistant", "forty-two"], ["user", "sure?"]]);
    assert_eq!(Value::from(turns), expected);
    // The same again comes from the cache.
    create(&mut socket, "chat/m", json!({"input": "what is it?", "store": false})).await;
    let again = answer(&mut socket).await;
    assert_eq!(again.last().unwrap()["type"], "response.completed", "{again:?}");
    assert_eq!(chat.count(), 0);
    // It breaks in the middle.
    chat.expect(Answer::stream(vec![delta("half"), Step::Cut]));
    create(&mut socket, "chat/m", json!({"input": "go on"})).await;
    let last = answer(&mut socket).await.pop().unwrap();
    assert!(matches!(last["type"].as_str(), Some("error" | "response.failed")), "{last}");
    drop(socket);
    sidecar.stop().await;
}
