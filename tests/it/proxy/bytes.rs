//! What passes is not changed: every recorded answer out, every odd spelling of a request in.

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::in_pieces;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::route;
use crate::harness::sidecar::whole;
use understudy::chat::DialectName;

use crate::recordings;
use crate::recordings::Recording;

fn recorded(recording: &Recording, rng: &mut fastrand::Rng) -> Answer {
    let kind = if recording.is_stream { "text/event-stream" } else { "application/json" };
    Answer::new(recording.status, kind, in_pieces(&recording.bytes, rng))
}

/// Each recording goes through the proxy once, and once more: only whole answers are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_answer_leaves_as_it_came_and_only_whole_ones_are_kept() {
    let Some(recordings) = recordings::of_api("chat") else { return };
    assert!(recordings.len() >= 215, "only {} recordings", recordings.len());
    let provider = Provider::start().await;
    let sidecar = Sidecar::start(config(&[("alpha", &provider)])).await;
    let mut rng = fastrand::Rng::with_seed(2);
    let (mut hits, mut bytes) = (0, 0);
    for recording in &recordings {
        let id = &recording.id;
        let body = asking("alpha/m", id, recording.is_stream);
        provider.expect(recorded(recording, &mut rng));
        let reply = sidecar.ask(body.clone()).await;
        assert_eq!(reply.status, recording.status, "{id}");
        assert!(reply.body == recording.bytes, "{id}: other bytes: {}", reply.text());
        let answer = recordings::fold(DialectName::OpenAi, recording, &[&reply.body]);
        let wrong = recordings::differences(&recording.expected, &recordings::describe(&answer));
        assert!(wrong.is_empty(), "{id}: {wrong:?}");
        let is_kept = recording.status == 200 && recording.expected.get("error").is_none();
        assert_eq!(answer.is_whole(), recording.expected.get("error").is_none(), "{id}");
        if !is_kept {
            provider.expect(recorded(recording, &mut rng));
        }
        let again = sidecar.ask(body).await;
        let cache = if is_kept { "understudy; hit" } else { "understudy; fwd=miss" };
        assert!(again.cache().starts_with(cache), "{id}: {}", again.cache());
        assert_eq!((again.status, &again.body), (reply.status, &reply.body), "{id}");
        assert_eq!(again.header("content-type"), reply.header("content-type"), "{id}");
        assert_eq!(provider.calls().len(), 1 + usize::from(!is_kept), "{id}");
        hits += usize::from(is_kept);
        bytes += reply.body.len();
    }
    println!("{} recordings, {bytes} bytes, {hits} kept", recordings.len());
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
