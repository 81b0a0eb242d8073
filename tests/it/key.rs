//! What makes two requests the same: on every request that was recorded, and across dialects.

mod change;

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::chat::DialectName;
use understudy::config::Config;
use understudy::experiment::Target;
use understudy::key;
use understudy::key::CacheKey;
use understudy::key::Reach;
use understudy::plan::Caller;
use understudy::plan::plan;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

use crate::shared;

/// A recorded request.
struct Recorded {
    file: String,
    dialect: DialectName,
    in_path: Option<InPath>,
    body: Value,
}

/// Every recorded request with a JSON body; none, with a printed line, where there are no
/// recordings.
fn recorded() -> Vec<Recorded> {
    let Some(root) = shared::data("recordings") else { return Vec::new() };
    let manifest = fs::read_to_string(root.join("manifest.jsonl")).unwrap();
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for row in manifest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let Some(file) = row["request"].as_str().map(str::to_owned) else { continue };
        if seen.contains(&file) {
            continue;
        }
        let request = json_file(&root.join(&file));
        seen.push(file.clone());
        let dialect = match row["api"].as_str().unwrap() {
            "chat" => DialectName::OpenAi,
            "responses" => DialectName::Responses,
            "messages" => DialectName::Anthropic,
            "generate_content" => DialectName::Gemini,
            "cohere_v2_chat" => DialectName::Cohere,
            "converse" => DialectName::Converse,
            "completions" => DialectName::Completions,
            "embeddings" => DialectName::Embeddings,
            other => panic!("an API nobody knows: {other}"),
        };
        let is_named_in_path = matches!(dialect, DialectName::Gemini | DialectName::Converse);
        let url = request["url"].as_str().unwrap_or_default();
        let in_path = is_named_in_path
            .then(|| InPath { model: "a-model".to_owned(), stream: url.contains("tream") });
        let mut body = request["body"].clone();
        if !body.is_object() {
            continue;
        }
        if in_path.is_none() && !body["model"].is_string() {
            body["model"] = json!("a-model");
        }
        all.push(Recorded { file, dialect, in_path, body });
    }
    all
}

fn json_file(path: &PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The digest in hexadecimal with its reach; `None` if the request is refused for its form.
fn digest(dialect: DialectName, in_path: Option<&InPath>, body: &str) -> Option<(String, Reach)> {
    let dialect = dialect.dialect();
    let head = dialect.read_head(Bytes::from(body.to_owned()), in_path.cloned()).ok()?;
    let reading = key::read(dialect, &head, &[]).ok()?;
    Some((reading.digest.to_string(), reading.reach))
}

/// Whether a change at this path may leave the digest as it is.
fn is_denied(recorded: &Recorded, path: &str) -> bool {
    let has_stream = recorded.in_path.is_none();
    let usage = "/stream_options/include_usage";
    path == "/model" || (has_stream && (path == "/stream" || path == usage))
        // The whole object, where it says nothing else.
        || (has_stream && path == "/stream_options"
            && recorded.body["stream_options"].as_object().is_some_and(|o| o.len() == 1))
}

#[test]
fn every_change_of_a_recorded_request_changes_its_digest() {
    let (mut requests, mut changes, mut refused) = (0, 0, 0);
    let mut reaches = [0; 3];
    let mut wrong = Vec::new();
    for recorded in recorded() {
        let of =
            |body: &Value| digest(recorded.dialect, recorded.in_path.as_ref(), &body.to_string());
        let Some((original, reach)) = of(&recorded.body) else { continue };
        requests += 1;
        reaches[reach as usize] += 1;
        for (path, changed) in change::all(&recorded.body) {
            changes += 1;
            match of(&changed) {
                None => refused += 1,
                Some((digest, _)) if digest == original && !is_denied(&recorded, &path) => {
                    wrong.push(format!("{} {path}", recorded.file));
                }
                Some(_) => {}
            }
        }
    }
    println!(
        "{requests} requests, {changes} changes, {refused} of them refused; any dialect {}, own \
         dialect {}, same form {}",
        reaches[0], reaches[1], reaches[2]
    );
    assert!(
        wrong.is_empty(),
        "{} do not count, first: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(40)]
    );
}

#[test]
fn the_spelling_of_a_recorded_request_does_not_change_its_digest() {
    let mut count = 0;
    for recorded in recorded() {
        let of = |text: &str| digest(recorded.dialect, recorded.in_path.as_ref(), text);
        let Some(original) = of(&recorded.body.to_string()) else { continue };
        count += 1;
        for order in 0..3 {
            let spelled = change::respelled(&recorded.body, order);
            assert_eq!(of(&spelled).as_ref(), Some(&original), "{}", recorded.file);
        }
    }
    println!("{count} requests, three spellings of each");
}

/// What is asked in one dialect and, translated without loss, in another, has one digest wherever
/// nothing in it is of one dialect only.
#[test]
fn requests_that_ask_the_same_in_two_dialects_share_their_digest() {
    const INTO: [DialectName; 4] =
        [DialectName::OpenAi, DialectName::Responses, DialectName::Anthropic, DialectName::Gemini];
    let (mut tried, mut equal, mut shared) = (0, 0, 0);
    for recorded in recorded() {
        let from = recorded.dialect.dialect();
        let body = Bytes::from(recorded.body.to_string());
        let Ok(head) = from.read_head(body, recorded.in_path.clone()) else { continue };
        let original = key::read(from, &head, &[]).unwrap();
        let Some(request) = original.request else { continue };
        for into in INTO.into_iter().filter(|into| *into != recorded.dialect) {
            let to = Recipient { model: "a-model", quirks: &Quirks::NONE };
            let Ok(written) = into.dialect().write(&request, &to) else { continue };
            if !written.losses.is_empty() {
                continue;
            }
            tried += 1;
            let in_path = (into == DialectName::Gemini)
                .then(|| InPath { model: "a-model".to_owned(), stream: request.stream });
            let head = into.dialect().read_head(written.body, in_path).unwrap();
            let again = key::read(into.dialect(), &head, &[]).unwrap();
            let Some(read) = again.request else { continue };
            let mut alike = read.clone();
            alike.dialect = request.dialect;
            alike.model.clone_from(&request.model);
            (alike.stream, alike.stream_usage) = (request.stream, request.stream_usage);
            alike.spelling.clone_from(&request.spelling);
            let is_equal = alike == request;
            equal += usize::from(is_equal);
            let both = [original.reach, again.reach] == [Reach::AnyDialect; 2];
            let is_shared = original.digest.0 == again.digest.0;
            shared += usize::from(is_shared);
            assert!(!is_shared || both, "{} into {}", recorded.file, into.as_str());
            if is_equal && both {
                assert!(is_shared, "{} into {}", recorded.file, into.as_str());
            }
        }
    }
    println!("{tried} translated without loss, {equal} equal when read again, {shared} share");
}
