//! A hit is a miss without the call: one stored answer means the same in every form.

use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer as Said;
use understudy::chat::ChatEvent;
use understudy::chat::DialectName;
use understudy::wire;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::sidecar::Reply;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::config;
use crate::harness::sidecar::whole;
use crate::recordings;
use crate::recordings::Recording;

/// Every API with recordings of chat, and the dialect of its provider.
const APIS: [(&str, DialectName); 6] = [
    ("chat", DialectName::OpenAi),
    ("responses", DialectName::Responses),
    ("messages", DialectName::Anthropic),
    ("generate_content", DialectName::Gemini),
    ("cohere_v2_chat", DialectName::Cohere),
    ("converse", DialectName::Converse),
];

/// Dialects that can ask exactly the same. Responses cannot: left to itself, its provider keeps
/// the answer.
const CLIENTS: [&[DialectName]; 2] = [
    &[DialectName::OpenAi, DialectName::Anthropic, DialectName::Gemini],
    &[DialectName::Responses],
];

/// The same question in each dialect's words: they differ in nothing that a model may see.
fn question(dialect: DialectName, text: &str, stream: bool) -> (String, Value) {
    let turns = json!([{"role": "user", "content": text}]);
    match dialect {
        DialectName::Responses => {
            let body = json!({"model": "alpha/m", "input": turns, "max_output_tokens": 99,
                "stream": stream});
            ("/v1/responses".to_owned(), body)
        }
        DialectName::Anthropic => {
            let body = json!({"model": "alpha/m", "messages": turns, "max_tokens": 99,
                "stream": stream});
            ("/v1/messages".to_owned(), body)
        }
        DialectName::Gemini => {
            let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            let body = json!({"contents": [{"role": "user", "parts": [{"text": text}]}],
                "generationConfig": {"maxOutputTokens": 99}});
            (format!("/v1beta/models/alpha/m:{verb}"), body)
        }
        _ => {
            let mut body = json!({"model": "alpha/m", "messages": turns,
                "max_completion_tokens": 99, "stream": stream});
            if stream {
                body["stream_options"] = json!({"include_usage": true});
            }
            ("/v1/chat/completions".to_owned(), body)
        }
    }
}

async fn ask(sidecar: &Sidecar, dialect: DialectName, id: &str, stream: bool) -> Reply {
    let (path, body) = question(dialect, id, stream);
    whole(sidecar.post(&path, body.to_string()).header("x-request-id", recordings::ID)).await
}

fn recorded(dialect: DialectName, recording: &Recording) -> Answer {
    let kind = match (recording.is_stream, dialect) {
        (true, DialectName::Converse) => "application/vnd.amazon.eventstream",
        (true, _) => "text/event-stream",
        (false, _) => "application/json",
    };
    let bytes = bytes::Bytes::copy_from_slice(&recording.bytes);
    Answer::new(recording.status, kind, vec![Step::Send(bytes)])
}

/// What a client of `dialect` reads; a provider that names no model is given the one asked for.
fn read(dialect: DialectName, stream: bool, body: &[u8]) -> Said {
    let mut said = wire::fold(dialect.dialect(), stream, [body]);
    said.model = said.model.filter(|model| !["alpha/m", "model-asked"].contains(&model.as_str()));
    said
}

/// What is only in its provider's own form is asked for again rather than left out.
fn is_portable(events: &[ChatEvent]) -> bool {
    !events.iter().any(|event| matches!(event, ChatEvent::Other { .. }))
        && events.iter().any(|event| matches!(event, ChatEvent::Usage(_)))
}

async fn check(api: &str, from: DialectName) -> (usize, usize) {
    let provider = Provider::start().await;
    let mut config = config(&[("alpha", &provider)]);
    config.providers.get_mut("alpha").unwrap().dialects = vec![from];
    let sidecar = Sidecar::start(config).await;
    let (mut entries, mut hits) = (0, 0);
    for recording in recordings::of_api(api).unwrap_or_default() {
        let events = recordings::events(from, &recording);
        let answer = recordings::fold(from, &recording, &[&recording.bytes]);
        if recording.status != 200 || !answer.is_whole() || !is_portable(&events) {
            continue;
        }
        for clients in CLIENTS {
            provider.expect(recorded(from, &recording));
            hits += serve(&sidecar, clients, from, &recording).await;
            entries += 1;
            assert_eq!(provider.calls().len(), 1, "{}: one call for all forms", recording.id);
        }
    }
    sidecar.stop().await;
    (entries, hits)
}

/// One miss, then a hit in every form of every one of `clients`; returns how many.
async fn serve(
    sidecar: &Sidecar,
    clients: &[DialectName],
    from: DialectName,
    recording: &Recording,
) -> usize {
    let events = recordings::events(from, recording);
    let (id, is_stream) = (recording.id.as_str(), recording.is_stream);
    let own = if clients.contains(&from) { from } else { clients[0] };
    let miss = ask(sidecar, own, id, is_stream).await;
    assert_eq!(miss.cache(), "understudy; fwd=miss; stored", "{id}: {}", miss.text());
    for client in clients {
        for stream in [false, true] {
            let hit = ask(sidecar, *client, id, stream).await;
            let form = format!("{id} as {} {stream}: {}", client.as_str(), hit.text());
            assert_eq!((hit.status, hit.cache()), (200, "understudy; hit"), "{form}");
            let expected = match (*client, stream) == (from, is_stream) {
                true => recording.bytes.clone(),
                false => recordings::written(*client, &events, stream),
            };
            let expected = read(*client, stream, &expected);
            assert_eq!(read(*client, stream, &hit.body), expected, "{form}");
            if (*client, stream) == (own, is_stream) {
                assert_eq!(hit.body, miss.body, "{form}");
            }
        }
    }
    clients.len() * 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_entry_serves_every_dialect_streamed_and_whole_and_means_the_same() {
    for (api, from) in APIS {
        let (entries, hits) = check(api, from).await;
        println!("{api}: {entries} stored answers, {hits} hits in other forms and the same");
    }
}
