//! The two embeddings dialects, against what was recorded and what their makers' documents say.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::ChatEvent;
use understudy::chat::DialectName;
use understudy::chat::ProviderError;
use understudy::chat::Usage;
use understudy::chat::request::Request;
use understudy::error::Error;
use understudy::wire;
use understudy::wire::Asked;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

use crate::recordings;

const BOTH: [DialectName; 2] = [DialectName::Embeddings, DialectName::GeminiEmbeddings];

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    let Some(recordings) = recordings::of_api("embeddings") else { return };
    for recording in &recordings {
        let answer = recordings::fold(DialectName::Embeddings, recording, &[&recording.bytes]);
        let (expected, id) = (&recording.expected, &recording.id);
        let got = recordings::describe(&answer);
        assert_eq!(recordings::differences(expected, &got), [""; 0], "{id}");
        let lengths: Vec<_> = answer.embeddings.iter().map(Vec::len).collect();
        if !expected["error"].is_null() {
            assert!(!answer.is_whole(), "{id}");
            continue;
        }
        assert!(answer.is_whole(), "{id}");
        assert_eq!(json!(lengths.len()), expected["n_embeddings"], "{id}");
        assert_eq!(json!(lengths), expected["dimensions"], "{id}");
        let body: Value = serde_json::from_slice(&recording.bytes).unwrap();
        let is_text = body["data"][0]["embedding"].is_string();
        assert_eq!(expected["encoding"], if is_text { "base64" } else { "float" }, "{id}");
    }
    println!("{} recordings", recordings.len());
}

#[test]
fn recorded_vectors_keep_every_bit_in_either_encoding_and_dialect() {
    let Some(recordings) = recordings::of_api("embeddings") else { return };
    for recording in &recordings {
        let events = recordings::events(DialectName::Embeddings, recording);
        let original = folded(&events);
        if original.error.is_some() {
            continue;
        }
        for (into, encoding) in [
            (DialectName::Embeddings, Some("base64")),
            (DialectName::Embeddings, Some("float")),
            (DialectName::Embeddings, None),
            (DialectName::GeminiEmbeddings, None),
        ] {
            let body = into.dialect().encode_body(&asked(into, encoding, false), &events);
            let again = wire::fold(into.dialect(), false, [&body[..]]);
            assert_eq!(again.embeddings, original.embeddings, "{} {into:?}", recording.id);
            assert_eq!(again.usage, original.usage, "{} {into:?}", recording.id);
            if into == DialectName::Embeddings {
                assert_eq!(again, original, "{}", recording.id);
            }
        }
    }
}

#[test]
fn every_recorded_request_asks_the_same_when_written_again() {
    recordings::requests_survive("embeddings", DialectName::Embeddings, |_| None, |_| {});
}

fn folded(events: &[ChatEvent]) -> Answer {
    let mut fold = understudy::chat::fold::Fold::new();
    events.iter().for_each(|event| fold.push(event.clone()));
    fold.finish()
}

fn asked(dialect: DialectName, encoding: Option<&str>, is_single: bool) -> Asked {
    let mut request = Request::new(dialect, "model-asked");
    request.embed = Some(understudy::chat::request::Embed {
        encoding: encoding.map(str::to_owned),
        is_single,
        ..Default::default()
    });
    Asked {
        request: Arc::new(request),
        id: "0199test".to_owned(),
        created_s: 0,
        input_estimate: 7,
        in_array: false,
    }
}

fn translated(
    from: DialectName,
    into: DialectName,
    body: &Value,
) -> Result<(Value, String), Error> {
    let in_path = InPath { model: "models/m".into(), stream: false };
    let in_path = (from == DialectName::GeminiEmbeddings).then_some(in_path);
    let head = from.dialect().read_head(Bytes::from(body.to_string()), in_path)?;
    let request = from.dialect().read(&head)?;
    let written =
        into.dialect().write(&request, &Recipient { model: "m", quirks: &Quirks::NONE })?;
    let losses = written.losses.fields().map(|(_, field)| field).collect::<Vec<_>>().join(" ");
    Ok((serde_json::from_slice(&written.body).unwrap(), losses))
}

#[test]
fn requests_are_carried_between_the_dialects() {
    use DialectName::Embeddings as O;
    use DialectName::GeminiEmbeddings as G;
    let of = |text: &str| json!({"model": "models/m", "content": {"parts": [{"text": text}]}});
    let with = |mut of: Value, key: &str, value: Value| {
        of[key] = value;
        of
    };
    for (from, into, body, expected, losses) in [
        (O, G, json!({"model": "m", "input": "a"}), json!({"requests": [of("a")]}), ""),
        (
            O,
            G,
            json!({"model": "m", "input": ["a", "b"], "dimensions": 8, "user": "u", "x": 1,
                   "encoding_format": "base64"}),
            json!({"requests": [with(of("a"), "outputDimensionality", json!(8)),
                                with(of("b"), "outputDimensionality", json!(8))]}),
            "user x",
        ),
        (
            G,
            O,
            json!({"content": {"parts": [{"text": "a"}]}, "task_type": "RETRIEVAL_QUERY",
                   "title": "t", "output_dimensionality": "8"}),
            json!({"model": "m", "input": "a", "dimensions": 8}),
            "taskType title",
        ),
        (G, O, json!({"requests": [of("a")]}), json!({"model": "m", "input": ["a"]}), ""),
        (
            G,
            G,
            json!({"requests": [with(of("a"), "title", json!("t")), with(of("b"), "x", json!(1))]}),
            json!({"requests": [with(of("a"), "title", json!("t")),
                                with(with(of("b"), "title", json!(null)), "x", json!(1))]}),
            "",
        ),
        (
            O,
            O,
            json!({"model": "m", "input": [[1, 2], [3]], "encoding_format": "float", "x": 1}),
            json!({"model": "m", "input": [[1, 2], [3]], "encoding_format": "float", "x": 1}),
            "",
        ),
        (O, O, json!({"model": "m", "input": [1, 2]}), json!({"model": "m", "input": [1, 2]}), ""),
    ] {
        let got = translated(from, into, &body).map_err(|error| error.detail);
        assert_eq!(got, Ok((expected, losses.to_owned())), "{body}");
    }
}

#[test]
fn what_cannot_be_carried_is_refused_with_its_place() {
    use DialectName::Embeddings as O;
    use DialectName::GeminiEmbeddings as G;
    let image = json!({"inlineData": {"mimeType": "image/png", "data": ""}});
    for (from, into, body, place) in [
        (O, G, json!({"model": "m", "input": [["a"]]}), "`input[0]`"),
        (O, G, json!({"model": "m", "input": [1, 2]}), "`input[0]`"),
        (O, G, json!({"model": "m", "input": ["a", 1]}), "`input[1]`"),
        (O, G, json!({"model": "m", "input": {}}), "`input`"),
        (O, G, json!({"model": "m"}), "`input`"),
        (O, G, json!({"model": "m", "input": "a", "dimensions": "8"}), "`dimensions`"),
        (G, O, json!({"content": {"parts": [image]}}), "`content.parts[0]`"),
        (G, O, json!({"requests": [{"content": {"parts": 1}}]}), "`requests[0].content.parts`"),
        (G, O, json!({"requests": [{}]}), "`requests[0].content`"),
        (G, O, json!({}), "`requests`"),
    ] {
        let detail = translated(from, into, &body).unwrap_err().detail;
        assert!(detail.contains(place), "{detail}");
    }
}

#[test]
fn answers_are_written_in_the_form_asked_for() {
    let events = [
        ChatEvent::Start { id: None, model: Some("m".into()), fingerprint: None },
        ChatEvent::Embedding { index: 0, vector: vec![0.5, -1.25] },
        ChatEvent::Usage(Usage { input_tokens: Some(3), ..Usage::default() }),
        ChatEvent::Done,
    ];
    let openai = |vector: Value| {
        json!({"object": "list", "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3},
               "data": [{"object": "embedding", "index": 0, "embedding": vector}]})
    };
    let usage = json!({"promptTokenCount": 3});
    let values = json!({"values": [0.5, -1.25]});
    for (dialect, encoding, is_single, expected) in [
        (DialectName::Embeddings, None, true, openai(json!([0.5, -1.25]))),
        (DialectName::Embeddings, Some("base64"), true, openai(json!("AAAAPwAAoL8="))),
        (
            DialectName::GeminiEmbeddings,
            None,
            true,
            json!({"embedding": values, "usageMetadata": usage}),
        ),
        (
            DialectName::GeminiEmbeddings,
            None,
            false,
            json!({"embeddings": [values], "usageMetadata": usage}),
        ),
    ] {
        let asked = asked(dialect, encoding, is_single);
        let body = dialect.dialect().encode_body(&asked, &events);
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        let mut streamed = Vec::new();
        let mut encoder = dialect.dialect().encoder(&asked);
        events.iter().for_each(|event| encoder.encode(event, &mut streamed));
        assert_eq!(streamed, body, "a stream, which there is none of, holds the body");
        let again = wire::fold(dialect.dialect(), false, [&body[..]]);
        assert_eq!(again.embeddings, [[0.5, -1.25]]);
        assert!(again.is_whole());
    }
}

#[test]
fn broken_answers_are_errors() {
    for (body, openai, gemini) in [
        ("{", "not JSON", "not JSON"),
        ("{}", "neither", "neither"),
        (r#"{"data":[{"embedding":"AAA"}]}"#, "base64", "neither"),
        (r#"{"data":[{"embedding":"AAAA"}]}"#, "base64", "neither"),
        (r#"{"embeddings":[{"values":["x"]}]}"#, "neither", "neither"),
        (r#"{"error":{"code":404,"message":"gone","status":"NOT_FOUND"}}"#, "gone", "gone"),
        (r#"[{"error":{"message":"gone"}}]"#, "gone", "gone"),
    ] {
        for (dialect, expected) in BOTH.into_iter().zip([openai, gemini]) {
            let answer = wire::fold(dialect.dialect(), false, [body.as_bytes()]);
            let message = answer.error.as_ref().map(|error| error.message.as_str());
            assert!(message.unwrap().contains(expected), "{body}: {message:?}");
            assert!(!answer.is_whole());
        }
    }
}

#[test]
fn vectors_come_in_the_order_of_their_inputs() {
    let body = r#"{"data":[{"index":1,"embedding":[1]},{"index":0,"embedding":[0]}]}"#;
    let answer = wire::fold(DialectName::Embeddings.dialect(), false, [body.as_bytes()]);
    assert_eq!(answer.embeddings, [[0.0], [1.0]]);
}

#[test]
fn errors_are_written_in_each_makers_shape() {
    let error = ProviderError { message: "slow down".into(), ..ProviderError::default() };
    let read = |dialect: DialectName| {
        serde_json::from_slice::<Value>(&dialect.dialect().error_body(429, &error)).unwrap()
    };
    assert_eq!(read(DialectName::Embeddings)["error"]["type"], "rate_limit_error");
    assert_eq!(read(DialectName::GeminiEmbeddings)["error"]["status"], "RESOURCE_EXHAUSTED");
}
