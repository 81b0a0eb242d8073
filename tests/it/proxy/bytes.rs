//! What passes is not changed: every recorded answer out, every odd spelling of a request in.

use std::time::Duration;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::in_pieces;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;
use serde_json::json;
use understudy::chat::DialectName;

use crate::recordings;
use crate::recordings::Recording;

fn recorded(recording: &Recording, rng: &mut fastrand::Rng) -> Answer {
    let kind = if recording.is_stream { "text/event-stream" } else { "application/json" };
    Answer::new(recording.status, kind, in_pieces(&recording.bytes, rng))
}

/// Every API with recordings, its dialect, and where a client of it asks.
const APIS: &[(&str, DialectName, &str)] = &[
    ("chat", DialectName::OpenAi, "/v1/chat/completions"),
    ("completions", DialectName::Completions, "/v1/completions"),
    ("embeddings", DialectName::Embeddings, "/v1/embeddings"),
    ("generate_content", DialectName::Gemini, "/v1beta/models/alpha/m:"),
    ("messages", DialectName::Anthropic, "/v1/messages"),
    ("responses", DialectName::Responses, "/v1/responses"),
];

fn question(dialect: DialectName, recording: &Recording) -> (String, String) {
    let (id, stream) = (&recording.id, recording.is_stream);
    let body = match dialect {
        DialectName::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": id}]}]}),
        DialectName::Completions => json!({"model": "alpha/m", "prompt": id, "stream": stream}),
        DialectName::Embeddings | DialectName::Responses => {
            json!({"model": "alpha/m", "input": id, "stream": stream})
        }
        _ => serde_json::from_str(&asking("alpha/m", id, stream)).unwrap(),
    };
    let verb = match (dialect, stream) {
        (DialectName::Gemini, false) => "generateContent",
        (DialectName::Gemini, true) => "streamGenerateContent?alt=sse",
        _ => "",
    };
    (verb.to_owned(), body.to_string())
}

/// Each recording goes through the proxy once, and once more: only whole answers are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_answer_leaves_as_it_came_and_only_whole_ones_are_kept() {
    let provider = Provider::start().await;
    let mut config = config(&[("alpha", &provider)]);
    config.cache.error_ttl = Duration::ZERO;
    let endpoint = config.providers.get_mut("alpha").unwrap();
    endpoint.dialects = APIS.iter().map(|(_, dialect, _)| *dialect).collect();
    let sidecar = Sidecar::start(config).await;
    let mut rng = fastrand::Rng::with_seed(2);
    let (mut seen, mut hits, mut bytes) = (0, 0, 0);
    for (api, dialect, path) in APIS {
        for recording in &recordings::of_api(api).unwrap_or_default() {
            let id = &recording.id;
            let (verb, body) = question(*dialect, recording);
            let path = format!("{path}{verb}");
            provider.expect(recorded(recording, &mut rng));
            let reply = whole(sidecar.post(&path, body.clone())).await;
            assert_eq!(reply.status, recording.status, "{id}");
            assert!(reply.body == recording.bytes, "{id}: other bytes: {}", reply.text());
            let answer = recordings::fold(*dialect, recording, &[&reply.body]);
            let is_kept = recording.status == 200 && answer.is_whole();
            if !is_kept {
                provider.expect(recorded(recording, &mut rng));
            }
            let again = whole(sidecar.post(&path, body)).await;
            let cache = if is_kept { "understudy; hit" } else { "understudy; fwd=miss" };
            assert!(again.cache().starts_with(cache), "{id}: {}", again.cache());
            assert_eq!((again.status, &again.body), (reply.status, &reply.body), "{id}");
            assert_eq!(again.header("content-type"), reply.header("content-type"), "{id}");
            assert_eq!(provider.calls().len(), 1 + usize::from(!is_kept), "{id}");
            (seen, hits) = (seen + 1, hits + usize::from(is_kept));
            bytes += reply.body.len();
        }
    }
    println!("{seen} recordings, {bytes} bytes, {hits} kept");
    assert!(seen == 0 || seen >= 542, "only {seen} recordings");
    sidecar.stop().await;
}

/// Where `MODEL` stands, the client writes one name and the provider reads another.
const SPELLINGS: &[&str] = &[
    r#"{"model":MODEL,"messages":[]}"#,
    "\n {\t\"messages\" : [ { \"content\":\"hi\" , \"role\":\"user\" } ] ,\r\n \"model\"  :  MODEL }  \n",
    r#"{"zeta":[1,{"model":"other"}],"model":MODEL,"alpha":{"b":2,"a":1},"messages":[{"role":"user","content":"x","name":"n","unknown":{"deep":[null,true]}}],"stream":false}"#,
    r#"{"model":MODEL,"messages":[{"role":"user","content":"caf\u00e9 \ud83d\ude00 é 😀 \/ \u0000"}]}"#,
    r#"{"model":MODEL,"messages":[{"role":"user","content":"\"model\":\"fake\""}],"x":"\"model\""}"#,
    r#"{"model":MODEL,"twice":1,"twice":2,"messages":[{"role":"user","role":"system","content":"x"}],"tools":[]}"#,
    r#"{"temperature":1.0e+0,"top_p":0.10,"seed":18446744073709551615,"big":1E300,"n":-0,"model":MODEL,"messages":[]}"#,
    r#"{"messages":[],"metadata":{"model":"kept"},"model":MODEL}"#,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_reaches_the_provider_byte_for_byte_but_for_the_models_name() {
    let provider = Provider::start().await;
    provider.always(Answer::saying("ok"));
    let mut config = config(&[("alpha", &provider)]);
    let name = "r\u{e9}so \"1\"/x";
    config.routes.insert(name.to_owned(), route(&config, &[("alpha/vendor/m-1", None)]));
    let sidecar = Sidecar::start(config).await;
    let asked = [
        (r#""r\u00e9so \"1\"\/x""#, r#""vendor/m-1""#),
        ("\"r\u{e9}so \\\"1\\\"/x\"", r#""vendor/m-1""#),
        (r#""alpha\/vendor\/m-1""#, r#""vendor/m-1""#),
    ];
    for spelling in SPELLINGS {
        for (client, upstream) in asked {
            let sent = spelling.replace("MODEL", client);
            let expected = spelling.replace("MODEL", upstream);
            let request = sidecar.chat(sent.clone()).header("cache-control", "no-store");
            assert_eq!(whole(request).await.status, 200, "{sent}");
            let calls = provider.calls();
            assert_eq!(String::from_utf8_lossy(&calls[0].body), expected, "sent {sent}");
        }
    }
    // Below a prefix the name is the provider's own, and then nothing at all changes.
    for spelling in SPELLINGS {
        let sent = spelling.replace("MODEL", r#""m\u002d2""#);
        let request = sidecar.post("/alpha/v1/chat/completions", sent.clone());
        assert_eq!(whole(request).await.status, 200, "{sent}");
        let calls = provider.calls();
        assert_eq!(String::from_utf8_lossy(&calls[0].body), sent);
    }
    sidecar.stop().await;
}
