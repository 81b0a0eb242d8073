//! Through the whole proxy: no planted value is stored or judged, and nobody is asked or told less.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use http::HeaderName;
use serde_json::json;
use tempfile::TempDir;
use understudy::chat::DialectName;
use understudy::config::CacheMode;
use understudy::config::Provider as Endpoint;
use understudy::experiment::Evaluate;
use understudy::experiment::Judge;
use understudy::experiment::Judges;
use understudy::experiment::Reference;
use understudy::experiment::Share;
use understudy::store::Store;
use understudy::store::met::request_name;
use understudy::wire;

use super::built_in;
use super::stream::SAID;
use super::stream::events;
use super::stream::written;
use crate::harness::PATIENCE;
use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::target;
use crate::harness::sidecar::whole;
use crate::harness::until;

const PLANTED: [&str; 4] = ["ann@asked.org", "bob@answered.org", "cem@said.org", "dee@sent.org"];

fn has_planted(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    PLANTED.iter().any(|planted| text.contains(planted))
}

fn files(dir: &Path, each: &mut dyn FnMut(&Path, Vec<u8>)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, each),
            false => each(&path, fs::read(&path).unwrap()),
        }
    }
}

async fn open(dir: &TempDir) -> Store {
    let began = std::time::Instant::now();
    loop {
        match Store::open(dir.path()) {
            Ok(opened) => return opened.store,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Everything that is stored, as it reads.
fn stored(store: &Store, request_id: &str) -> Vec<String> {
    let mut all = Vec::new();
    store.scan(None, &mut |exchange| {
        all.push(format!("{:?} {:?}", exchange.head, exchange.request));
        all.push(String::from_utf8_lossy(&exchange.body()).into_owned());
        true
    });
    for id in store.pair_ids().unwrap() {
        all.push(format!("{:?}", store.intent(id)));
        let halves = ["control", "next"].map(|variant| store.half(id, variant));
        all.push(format!("{halves:?}"));
    }
    all.push(format!("{:?}", store.said("trial", request_name(request_id))));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_rule_matches_is_stored_or_judged_and_everybody_is_asked_the_original() {
    for is_redacted in [true, false] {
        let (alpha, beta) = (Provider::start().await, Provider::start().await);
        let judge = Provider::start().await;
        let mut config = config(&[("alpha", &alpha), ("beta", &beta), ("judge", &judge)]);
        if is_redacted {
            config.redact = built_in(&["email"]);
        }
        let mut trial = experiment("alpha/m", "beta/m", Share::ALL, Share::NONE);
        let mut by = Judge::new(target("judge/j"));
        by.reference = Some(Reference::Header(HeaderName::from_static("x-sent")));
        trial.evaluate = Evaluate { judge: Judges::Models(vec![by]), ..Evaluate::default() };
        config.experiments.push(trial);
        let sidecar = Sidecar::start(config).await;
        let pieces = ["Ask bo", "b@ans", "wered.org!"].map(delta).into_iter();
        alpha.always(Answer::stream(pieces.chain(ending()).collect()));
        beta.always(Answer::saying("I do not know bob@answered.org."));
        judge.always(Answer::saying("A"));
        let body = asking("alpha/m", "I am ann@asked.org", true);
        let request = sidecar.chat(body.clone()).header("x-sent", "dee@sent.org");
        let reply = whole(request).await;
        assert!(reply.text().contains("b@ans"), "the application gets what was said");
        until("the score", || sidecar.funnel("scored") == 1).await;
        let id = reply.header("x-request-id").to_owned();
        let said = json!({"request_id": id, "thumbs": "up", "comment": "tell cem@said.org"});
        assert_eq!(whole(sidecar.post("/v1/feedback", said.to_string())).await.status, 200);
        for (provider, is_original) in [(&alpha, true), (&beta, true), (&judge, !is_redacted)] {
            for call in provider.calls() {
                let text = String::from_utf8_lossy(&call.body).into_owned();
                assert_eq!(text.contains("ann@asked.org"), is_original, "{text}");
                assert!(is_original || !has_planted(&call.body), "{text}");
            }
        }
        let again = whole(sidecar.chat(body).header("x-sent", "dee@sent.org")).await;
        assert!(again.cache().contains("hit"), "from memory it is the exact answer");
        assert!(again.text().contains("b@ans"));
        sidecar.flush().await;
        let dir = sidecar.leave().await;
        if is_redacted {
            files(dir.path(), &mut |path, bytes| {
                assert!(!has_planted(&bytes), "{}", path.display());
            });
        }
        let found = stored(&open(&dir).await, &id);
        let planted = found.iter().filter(|text| has_planted(text.as_bytes())).count();
        assert_eq!(planted == 0, is_redacted, "{found:#?}");
        assert!(!is_redacted || found.iter().any(|text| text.contains("[email]")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redacted_answer_is_served_from_disk_in_replay_mode_alone_and_says_so() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.redact = built_in(&["email"]);
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("write to bob@answered.org"));
    let (touched, plain) = (asking("alpha/m", "who?", false), asking("alpha/m", "x", false));
    sidecar.ask(touched.clone()).await;
    alpha.always(Answer::saying("nobody"));
    sidecar.ask(plain.clone()).await;
    let hit = sidecar.ask(touched.clone()).await;
    assert_eq!((hit.cache(), hit.header("warning")), ("understudy; hit", ""));
    assert!(hit.text().contains("bob@answered.org"));
    let sidecar = sidecar.restart(|_| {}).await;
    let missed = sidecar.ask(touched.clone()).await;
    assert!(missed.header("cache-status").contains("fwd=miss"), "{:?}", missed.headers);
    assert!(sidecar.ask(plain).await.cache().contains("hit"));
    alpha.always(Answer::saying("write to bob@answered.org"));
    let sidecar = sidecar.restart(|config| config.cache.mode = CacheMode::Replay).await;
    let replayed = sidecar.ask(asking("alpha/m", "who?", false)).await;
    assert_eq!(replayed.status, 200, "{}", replayed.text());
    sidecar.stop().await;

    let fresh = Provider::start().await;
    let mut config = crate::harness::sidecar::config(&[("alpha", &fresh)]);
    config.redact = built_in(&["email"]);
    let sidecar = Sidecar::start(config).await;
    fresh.always(Answer::saying("write to bob@answered.org"));
    sidecar.ask(touched.clone()).await;
    let sidecar = sidecar.restart(|config| config.cache.mode = CacheMode::Replay).await;
    let replayed = sidecar.ask(touched).await;
    assert!(replayed.text().contains("write to [email]"), "{}", replayed.text());
    assert!(replayed.header("cache-status").ends_with("detail=redacted"), "{:?}", replayed.headers);
    assert_eq!(replayed.header("warning"), "199 understudy \"stored without email\"");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_original_is_gone_is_not_sent() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    config.redact = built_in(&["email"]);
    config.experiments.push(experiment("alpha/m", "beta/m", Share::ALL, Share::NONE));
    let sidecar = Sidecar::start(config.clone()).await;
    alpha.always(Answer::saying("a"));
    let gate = Gate::new();
    beta.always(Answer::saying("a").after(&gate));
    for text in ["I am ann@asked.org", "I am nobody"] {
        assert_eq!(sidecar.ask(asking("alpha/m", text, false)).await.status, 200);
    }
    until("both copies", || beta.count() == 2).await;
    let dir = sidecar.abandon().await;
    // What comes now comes too late.
    gate.open();
    let sidecar = Sidecar::start_in(dir, config).await;
    until("the ends", || sidecar.funnel("lost") == 1 && sidecar.funnel("scored") == 1).await;
    let request = sidecar.client.get(format!("{}/api/v1/experiments/trial", sidecar.admin));
    let report = whole(request).await.json();
    assert_eq!(report["funnel"]["lost"], json!({"original_gone": 1}));
    assert_eq!(beta.count(), 3, "the other copy was sent once more");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_are_redacted_and_errors_too() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.redact = built_in(&["email"]);
    let error = Bytes::from_static(br#"{"error":{"message":"no such user: bob@answered.org"}}"#);
    alpha.always(Answer::new(404, "application/json", vec![Step::Send(error)]));
    let sidecar = Sidecar::start(config).await;
    let reply = sidecar.ask(asking("alpha/m", "who?", false)).await;
    assert!(reply.text().contains("bob@answered.org"));
    sidecar.flush().await;
    let url = format!("{}/api/v1/exchanges/export", sidecar.admin);
    let lines = whole(sidecar.client.get(&url)).await.text();
    assert!(lines.contains("no such user: [email]") && lines.contains(r#""redacted":["email"]"#));
    let id = serde_json::from_str::<serde_json::Value>(&lines).unwrap()["facts"]["id"].clone();
    let id = id.as_str().unwrap();
    let line = lines.replace("[email]", "bob@answered.org").replace(id, &id.replace('7', "8"));
    let url = format!("{}/api/v1/exchanges/import", sidecar.admin);
    let import = sidecar.client.post(url).header("content-type", "application/x-ndjson").body(line);
    assert_eq!(whole(import).await.json()["added"], 1);
    let dir = sidecar.leave().await;
    let found = stored(&open(&dir).await, "");
    assert!(found.iter().all(|text| !has_planted(text.as_bytes())), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_dialect_the_application_reads_what_was_said_and_the_store_does_not() {
    let question = |dialect: DialectName| match dialect {
        DialectName::Responses => json!({"model": "up/m", "input": "I am ann@asked.org"}),
        DialectName::Gemini => json!({"contents": [{"parts": [{"text": "I am ann@asked.org"}]}]}),
        _ => json!({"model": "up/m", "max_tokens": 50,
                    "messages": [{"role": "user", "content": "I am ann@asked.org"}]}),
    };
    for (dialect, path) in [
        (DialectName::OpenAi, "/v1/chat/completions"),
        (DialectName::Responses, "/v1/responses"),
        (DialectName::Anthropic, "/v1/messages"),
        (DialectName::Gemini, "/v1beta/models/up/m:streamGenerateContent?alt=sse"),
    ] {
        // In its own words and in translation.
        for answers in [dialect, DialectName::Cohere] {
            let provider = Provider::start().await;
            let base_url = format!("http://{}", provider.base_url().split('/').nth(2).unwrap());
            let mut endpoint = Endpoint::native("up", base_url.parse().unwrap(), answers);
            endpoint.dialects = vec![answers];
            endpoint.quota.learn = false;
            let mut config = config(&[]);
            config.providers.insert("up".to_owned(), endpoint);
            config.redact = built_in(&["email", "card"]);
            let sidecar = Sidecar::start(config).await;
            let body = Bytes::from(written(answers, &events(&[3, 5])));
            provider.always(Answer::stream(vec![Step::Send(body)]));
            let mut question = question(dialect);
            if dialect != DialectName::Gemini {
                question["stream"] = true.into();
            }
            let reply = whole(sidecar.post(path, question.to_string())).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let said = wire::fold(dialect.dialect(), true, [&reply.body[..]]);
            assert_eq!(said.text(), SAID, "{dialect:?} of {answers:?}");
            assert!(String::from_utf8_lossy(&provider.calls()[0].body).contains("ann@asked.org"));
            let dir = sidecar.leave().await;
            let mut seen = 0;
            open(&dir).await.scan(None, &mut |exchange| {
                let pieces = exchange.frames.iter().map(|frame| &frame.bytes[..]);
                let stored = wire::fold(answers.dialect(), true, pieces);
                assert!(stored.is_whole(), "{dialect:?} of {answers:?}");
                let wanted = "Dear Ann, I wrote to [email] and [email].";
                assert_eq!(stored.text(), wanted, "{dialect:?} of {answers:?}");
                assert!(!has_planted(&exchange.request));
                assert_eq!(exchange.head.redacted, ["card", "email"]);
                seen += 1;
                true
            });
            assert_eq!(seen, 1);
        }
    }
}
