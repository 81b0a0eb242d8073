//! Applications of one dialect in front of providers of another, through the whole proxy.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer as Said;
use understudy::chat::ChatEvent;
use understudy::chat::DialectName;
use understudy::chat::Stop;
use understudy::chat::Usage;
use understudy::config::Provider as Endpoint;
use understudy::experiment::Share;
use understudy::wire;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::whole;
use crate::harness::until;
use crate::recordings;

const CHAT: [DialectName; 4] =
    [DialectName::OpenAi, DialectName::Responses, DialectName::Anthropic, DialectName::Gemini];

/// A sidecar in front of one provider, called `up`, of a dialect.
async fn in_front_of(provider: &Provider, dialect: DialectName) -> Sidecar {
    let mut config = config(&[]);
    let base_url = format!("http://{}", provider.base_url().split('/').nth(2).unwrap());
    let mut endpoint = Endpoint::native("up", base_url.parse().unwrap(), dialect);
    endpoint.dialects = vec![dialect];
    // The same refusal again and again is the test's own wish.
    endpoint.quota.learn = false;
    config.providers.insert("up".to_owned(), endpoint);
    Sidecar::start(config).await
}

fn path(dialect: DialectName, stream: bool) -> &'static str {
    match (dialect, stream) {
        (DialectName::Responses, _) => "/v1/responses",
        (DialectName::Anthropic, _) => "/v1/messages",
        (DialectName::Gemini, false) => "/v1beta/models/up/m:generateContent",
        (DialectName::Gemini, true) => "/v1beta/models/up/m:streamGenerateContent?alt=sse",
        _ => "/v1/chat/completions",
    }
}

fn question(dialect: DialectName, stream: bool) -> Value {
    // Who asks the same in another dialect or form shares the answer; here each has its own.
    let text = format!("hi from {dialect:?}, stream {stream}");
    let turns = json!([{"role": "user", "content": text}]);
    match dialect {
        DialectName::Responses => json!({"model": "up/m", "input": text, "stream": stream}),
        DialectName::Anthropic => {
            json!({"model": "up/m", "max_tokens": 50, "messages": turns, "stream": stream})
        }
        DialectName::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}),
        _ => json!({"model": "up/m", "messages": turns, "stream": stream,
                    "stream_options": {"include_usage": true}}),
    }
}

async fn ask(sidecar: &Sidecar, dialect: DialectName, stream: bool) -> Reply {
    whole(sidecar.post(path(dialect, stream), question(dialect, stream).to_string())).await
}

fn said() -> Vec<ChatEvent> {
    let usage = Usage {
        input_tokens: Some(11),
        output_tokens: Some(7),
        total_tokens: Some(18),
        ..Usage::default()
    };
    vec![
        ChatEvent::Start { id: Some("id-1".into()), model: Some("m-1".into()), fingerprint: None },
        ChatEvent::Text { choice: 0, text: "Let me ".into() },
        ChatEvent::Text { choice: 0, text: "look.".into() },
        ChatEvent::ToolCall {
            choice: 0,
            index: 0,
            id: Some("call_1".into()),
            name: Some("look".into()),
            arguments: "{\"a\":1}".into(),
        },
        ChatEvent::Finish { choice: 0, reason: "tool_calls".into(), stop: Some(Stop::ToolCalls) },
        ChatEvent::Usage(usage),
        ChatEvent::Done,
    ]
}

fn answer(dialect: DialectName, stream: bool) -> Answer {
    let bytes = Bytes::from(recordings::written(dialect, &said(), stream));
    if !stream {
        return Answer::json(bytes);
    }
    let half = bytes.len() / 2;
    Answer::stream(vec![Step::Send(bytes.slice(..half)), Step::Send(bytes.slice(half..))])
}

fn read(dialect: DialectName, stream: bool, reply: &Reply) -> Said {
    wire::fold(dialect.dialect(), stream, [&reply.body[..]])
}

fn check(place: &str, said: &Said) {
    let choice = &said.choices[0];
    assert_eq!(choice.text, "Let me look.", "{place}");
    assert_eq!(choice.tool_calls.len(), 1, "{place}");
    assert_eq!(choice.tool_calls[0].name, "look", "{place}");
    assert_eq!(choice.tool_calls[0].arguments_json(), Some(json!({"a": 1})), "{place}");
    assert_eq!(choice.stop, Some(Stop::ToolCalls), "{place}");
    let usage = said.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(11), Some(7)), "{place}");
    assert!(said.is_whole(), "{place}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sdk_reads_every_providers_answer_and_its_copy_from_the_cache() {
    for target in CHAT {
        let provider = Provider::start().await;
        let sidecar = in_front_of(&provider, target).await;
        for client in CHAT {
            for stream in [false, true] {
                let place = format!("{client:?} in front of {target:?}, stream {stream}");
                provider.expect(answer(target, stream));
                let reply = ask(&sidecar, client, stream).await;
                assert_eq!(reply.status, 200, "{place}: {}", reply.text());
                check(&place, &read(client, stream, &reply));
                let kind = if stream { "text/event-stream" } else { "application/json" };
                assert!(reply.header("content-type").starts_with(kind), "{place}");
                let asked = provider.calls().pop().unwrap();
                let wanted = target.dialect().path("m", stream);
                assert!(asked.path.ends_with(&wanted), "{place}: {} {wanted}", asked.path);
                sidecar.flush().await;
                let again = ask(&sidecar, client, stream).await;
                assert_eq!(again.cache(), "understudy; hit", "{place}");
                check(&place, &read(client, stream, &again));
            }
        }
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_another_form_than_asked_is_given_in_the_form_asked() {
    let provider = Provider::start().await;
    let sidecar = in_front_of(&provider, DialectName::Anthropic).await;
    for asked in [false, true] {
        provider.expect(answer(DialectName::Anthropic, !asked));
        let reply = ask(&sidecar, DialectName::OpenAi, asked).await;
        check(&format!("asked as stream: {asked}"), &read(DialectName::OpenAi, asked, &reply));
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_providers_refusal_keeps_status_words_and_waiting_time_in_the_callers_dialect() {
    let anthropic = json!({"type": "error", "error": {"type": "rate_limit_error",
                           "message": "slow down"}, "request_id": "req_1"});
    let gemini = json!({"error": {"code": 429, "message": "slow down",
        "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "34.4s",
        "@type": "type.googleapis.com/google.rpc.RetryInfo"}]}});
    let openai = json!({"error": {"message": "slow down", "type": "requests", "param": null,
                        "code": "rate_limit_exceeded"}});
    for (target, body, header, waits) in [
        (DialectName::Anthropic, anthropic, Some("7"), "7"),
        (DialectName::Gemini, gemini, None, "35"),
        (DialectName::OpenAi, openai, Some("3"), "3"),
    ] {
        let provider = Provider::start().await;
        let sidecar = in_front_of(&provider, target).await;
        for client in CHAT.into_iter().filter(|client| *client != target) {
            for stream in [false, true] {
                let place = format!("{client:?} in front of {target:?}, stream {stream}");
                let body = Bytes::from(body.to_string());
                let mut answer = Answer::new(429, "application/json", vec![Step::Send(body)]);
                if let Some(header) = header {
                    answer = answer.header("retry-after", header);
                }
                provider.expect(answer.header("request-id", "req_1"));
                let reply = ask(&sidecar, client, stream).await;
                assert_eq!(reply.status, 429, "{place}");
                assert_eq!(reply.header("retry-after"), waits, "{place}");
                assert_eq!(reply.header("x-upstream-request-id"), "req_1", "{place}");
                assert_eq!(reply.header("content-type"), "application/json", "{place}");
                let told = read(client, false, &reply).error.unwrap();
                assert_eq!(told.message, "slow down", "{place}: {}", reply.text());
            }
        }
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_ends_with_an_error_of_the_callers_dialect() {
    for target in CHAT {
        let provider = Provider::start().await;
        let sidecar = in_front_of(&provider, target).await;
        for client in CHAT {
            let place = format!("{client:?} in front of {target:?}");
            let begin = &said()[..3];
            let bytes = Bytes::from(recordings::written(target, begin, true));
            for end in [Step::Cut, Step::Send(Bytes::new())] {
                provider.expect(Answer::stream(vec![Step::Send(bytes.clone()), end]));
                let reply = ask(&sidecar, client, true).await;
                let said = read(client, true, &reply);
                assert!(!said.is_whole(), "{place}: {}", reply.text());
                assert!(said.error.is_some(), "{place}: {}", reply.text());
                assert_eq!(said.choices[0].text, "Let me look.", "{place}");
            }
        }
        until("all broken answers counted", || sidecar.all_broken() == 8).await;
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_out_is_told_and_what_may_not_be_left_out_is_refused() {
    let provider = Provider::start().await;
    let sidecar = in_front_of(&provider, DialectName::Anthropic).await;
    let mut body = question(DialectName::OpenAi, false);
    body["seed"] = json!(1);
    body["x_secret\"name"] = json!(1);
    provider.expect(answer(DialectName::Anthropic, false));
    let reply = whole(sidecar.chat(body.to_string())).await;
    let warning = reply.header("warning");
    assert!(warning.starts_with("199 understudy \"not known to anthropic"), "{warning}");
    assert!(warning.contains("seed") && warning.contains("x_secretname"), "{warning}");
    body["n"] = json!(2);
    let reply = whole(sidecar.chat(body.to_string())).await;
    assert_eq!(reply.status, 400);
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`n`") && message.contains("fault: client"), "{message}");
    assert_eq!(provider.count(), 1, "a refused request reaches nobody");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_counted_by_the_provider_if_it_can_and_estimated_openly_if_not() {
    let turns = json!([{"role": "user", "content": "How many tokens is this?"}]);
    let claude = json!({"model": "up/m", "messages": turns}).to_string();
    let gemini = json!({"contents": [{"parts": [{"text": "How many tokens is this?"}]}]});
    let provider = Provider::start().await;
    let sidecar = in_front_of(&provider, DialectName::Anthropic).await;
    provider.expect(Answer::json("{\"input_tokens\":42}"));
    let reply = whole(sidecar.post("/v1/messages/count_tokens", claude.clone())).await;
    assert_eq!(reply.text(), "{\"input_tokens\":42}");
    let asked = provider.calls().pop().unwrap();
    assert_eq!(asked.path, "/v1/messages/count_tokens");
    assert_eq!(serde_json::from_slice::<Value>(&asked.body).unwrap()["model"], "m");
    let path = "/v1beta/models/up/m:countTokens";
    let reply = whole(sidecar.post(path, gemini.to_string())).await;
    assert_eq!(reply.header("x-understudy-tokenizer"), "estimate");
    let tokens = reply.json()["totalTokens"].as_u64().unwrap();
    assert!((5..25).contains(&tokens), "{tokens}");
    sidecar.stop().await;
    let sidecar = in_front_of(&provider, DialectName::OpenAi).await;
    let reply = whole(sidecar.post("/v1/messages/count_tokens", claude)).await;
    assert_eq!(reply.header("x-understudy-tokenizer"), "estimate");
    assert!(reply.json()["input_tokens"].as_u64().unwrap() > 4);
    sidecar.stop().await;
}

/// Google's REST API streams a JSON array unless asked for events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gemini_stream_without_sse_is_an_array_whoever_answers() {
    let path = "/v1beta/models/up/m:streamGenerateContent?key=SECRET";
    let body = question(DialectName::Gemini, true).to_string();
    let provider = Provider::start().await;
    let sidecar = in_front_of(&provider, DialectName::Gemini).await;
    let array = b"[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"yes\"}]},\"finishReason\":\"STOP\"}]}\n]";
    provider.expect(Answer::json(Bytes::from_static(array)));
    let reply = whole(sidecar.post(path, body.clone())).await;
    assert_eq!(reply.body, &array[..]);
    let asked = provider.calls().pop().unwrap();
    assert!(asked.path.ends_with(":streamGenerateContent?alt=json"), "{}", asked.path);
    assert_eq!(asked.header("x-goog-api-key"), Some("SECRET"));
    sidecar.stop().await;
    let sidecar = in_front_of(&provider, DialectName::OpenAi).await;
    provider.expect(answer(DialectName::OpenAi, true));
    let reply = whole(sidecar.post(path, body)).await;
    assert!(reply.json().as_array().is_some_and(|chunks| chunks.len() > 1), "{}", reply.text());
    check("as an array", &read(DialectName::Gemini, false, &reply));
    sidecar.stop().await;
}

/// Usage is what an experiment compares costs by, and nothing the application asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_experiment_asks_for_usage_and_the_application_never_sees_it() {
    let provider = Provider::start().await;
    let mut config = config(&[("alpha", &provider)]);
    config.experiments.push(experiment("alpha/m", "alpha/n", Share::NONE, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    let bytes = recordings::written(DialectName::OpenAi, &said(), true);
    let text = String::from_utf8(bytes).unwrap();
    let without: String =
        text.split_inclusive("\n\n").filter(|event| !event.contains("\"usage\":{")).collect();
    assert!(without.len() < text.len());
    provider.expect(Answer::stream(vec![Step::Send(text.into())]));
    let turns = json!([{"role": "user", "content": "hi"}]);
    let body = json!({"model": "alpha/m", "messages": turns, "stream": true}).to_string();
    let reply = whole(sidecar.chat(body.clone())).await;
    assert_eq!(reply.text(), without);
    let asked = provider.calls().pop().unwrap();
    let expected = body.replace("alpha/m", "m");
    let expected = expected.strip_suffix('}').unwrap().to_owned()
        + ",\"stream_options\":{\"include_usage\":true}}";
    assert_eq!(asked.body, expected, "every byte of the application's stays");
    sidecar.flush().await;
    let again = whole(sidecar.chat(body)).await;
    assert_eq!((again.cache(), again.text()), ("understudy; hit", without));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_is_made_across_dialects() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha)]);
    let base_url = format!("http://{}", beta.base_url().split('/').nth(2).unwrap());
    let claude = Endpoint::native("beta", base_url.parse().unwrap(), DialectName::Anthropic);
    config.providers.insert("beta".to_owned(), claude);
    let all = Share::from_ppm(1_000_000).unwrap();
    config.experiments.push(experiment("alpha/m", "beta/n", all, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    alpha.expect(answer(DialectName::OpenAi, false));
    beta.expect(answer(DialectName::Anthropic, false));
    let turns = json!([{"role": "user", "content": "hi"}]);
    let body = json!({"model": "alpha/m", "messages": turns}).to_string();
    whole(sidecar.chat(body)).await;
    until("both whole", || sidecar.funnel("scored") == 1).await;
    assert_eq!(beta.calls().pop().unwrap().path, "/v1/messages");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_listed_in_the_words_of_whoever_asks() {
    let provider = Provider::start().await;
    let mut config = config(&[("alpha", &provider)]);
    let route = crate::harness::sidecar::route(&config, &[("alpha/m", None)]);
    config.routes.insert("support".to_owned(), route);
    let sidecar = Sidecar::start(config).await;
    let get = |path: &str| sidecar.client.get(format!("{}{path}", sidecar.data));
    let list = whole(get("/v1/models")).await.json();
    assert_eq!(list["data"][0]["id"], "support");
    let list = whole(get("/v1/models").header("anthropic-version", "2023-06-01")).await.json();
    assert_eq!((&list["data"][0]["type"], &list["last_id"]), (&json!("model"), &json!("support")));
    let list = whole(get("/v1beta/models")).await.json();
    assert_eq!(list["models"][0]["name"], "models/support");
    let reply = whole(sidecar.post("/v1/messages", "{}")).await;
    assert_eq!((reply.status, &reply.json()["type"]), (400, &json!("error")));
    let reply = whole(sidecar.post("/v1beta/models/none/m:generateContent", "{")).await;
    assert_eq!((reply.status, &reply.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    sidecar.stop().await;
}
