//! What real providers sent, folded, against what people read in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::chat::ChatEvent;
use understudy::chat::DialectName;
use understudy::chat::Stop;
use understudy::chat::fold::Fold;
use understudy::chat::request::Request;
use understudy::error::Error;
use understudy::wire;
use understudy::wire::Asked;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

use crate::shared;

/// One recording: its bytes and what they mean.
pub struct Recording {
    pub id: String,
    pub is_stream: bool,
    pub status: u16,
    pub bytes: Vec<u8>,
    /// Method, URL and body of the request, where the source has them.
    pub request: Option<Value>,
    pub expected: Value,
}

/// Every recording of one API.
pub fn of_api(api: &str) -> Option<Vec<Recording>> {
    let root = shared::data("recordings")?;
    let manifest = fs::read_to_string(root.join("manifest.jsonl")).unwrap();
    let rows = manifest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    Some(rows.filter(|row| row["api"] == api).map(|row| read(&root, &row)).collect())
}

fn read(root: &Path, row: &Value) -> Recording {
    let file = |key: &str| root.join(row[key].as_str().unwrap());
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(file("expected")).unwrap()).unwrap();
    Recording {
        id: row["id"].as_str().unwrap().to_owned(),
        is_stream: row["kind"] == "stream",
        status: u16::try_from(row["status"].as_u64().unwrap()).unwrap(),
        bytes: fs::read(file("id")).unwrap(),
        request: row["request"].as_str().map(|path| {
            serde_json::from_str(&fs::read_to_string(root.join(path)).unwrap()).unwrap()
        }),
        expected: expected["expected"].clone(),
    }
}

pub fn fold(dialect: DialectName, recording: &Recording, pieces: &[&[u8]]) -> Answer {
    wire::fold(dialect.dialect(), recording.is_stream, pieces.iter().copied())
}

/// What a recorded answer says, event by event; a good one ends with its end mark.
pub fn events(dialect: DialectName, recording: &Recording) -> Vec<ChatEvent> {
    let mut events = Vec::new();
    let pieces = [&recording.bytes[..]];
    wire::events(dialect.dialect(), recording.is_stream, pieces, |event| events.push(event));
    let is_over = |event: &ChatEvent| matches!(event, ChatEvent::Done | ChatEvent::Error(_));
    if !events.iter().any(is_over) {
        events.push(ChatEvent::Done);
    }
    events
}

/// An answer in the words of the expectations.
pub fn describe(answer: &Answer) -> Value {
    let choice = answer.choices.first().cloned().unwrap_or_default();
    let calls = choice.tool_calls.iter().map(|call| {
        json!({"id": call.id, "name": call.name, "arguments": call.arguments_json(),
               "arguments_raw": call.arguments})
    });
    json!({
        "model": answer.model,
        "text": choice.text,
        "reasoning": choice.reasoning,
        "refusal": choice.refusal,
        "audio_transcript": choice.transcript,
        "tool_calls": calls.collect::<Vec<_>>(),
        "finish_reason_raw": choice.finish,
        "finish_reason": choice.stop.map(Stop::as_str),
        "usage": answer.usage.map(|usage| json!({
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "cached_input_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        })),
        "error": answer.error.as_ref().map(|error| json!({
            "type": error.kind, "code": error.code, "param": error.param,
            "message": error.message,
        })),
    })
}

/// Every field that the expectation names has to agree; returns those that do not.
pub fn differences(expected: &Value, got: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let plain = ["model", "text", "reasoning", "refusal", "audio_transcript", "finish_reason_raw"];
    // The old word for the same end.
    let called = json!("tool_calls");
    let is_old = expected["finish_reason"] == "function_call";
    let want = if is_old { &called } else { &expected["finish_reason"] };
    // Where nothing is expected, nothing is prescribed.
    if !want.is_null() && *want != got["finish_reason"] {
        let have = &got["finish_reason"];
        out.push(format!("finish_reason: expected {want}, got {have}"));
    }
    for field in plain.into_iter().filter(|field| expected.get(field).is_some()) {
        if expected[field] != got[field] {
            out.push(format!("{field}: expected {}, got {}", expected[field], got[field]));
        }
    }
    for group in ["usage", "error"] {
        for (key, value) in expected[group].as_object().into_iter().flatten() {
            // Beside the meaning stand the provider's own counts, which only explain it.
            let is_known = got[group].as_object().is_none_or(|got| got.contains_key(key));
            // A code that is a number on the wire is kept as its digits.
            let digits = value.is_number().then(|| value.to_string());
            let is_digits = digits.is_some() && digits.as_deref() == got[group][key].as_str();
            if is_known && !is_digits && *value != got[group][key] {
                out.push(format!("{group}.{key}: expected {value}, got {}", got[group][key]));
            }
        }
        if expected.get(group).is_none() && !got[group].is_null() {
            out.push(format!("{group}: expected none, got {}", got[group]));
        }
    }
    let empty = Vec::new();
    let (want, have) = (expected["tool_calls"].as_array().unwrap_or(&empty), &got["tool_calls"]);
    if want.len() != have.as_array().unwrap().len() {
        out.push(format!("tool calls: expected {want:?}, got {have}"));
    }
    for (want, have) in want.iter().zip(have.as_array().unwrap()) {
        // A tool that takes plain text has no JSON arguments; they are the text itself.
        let custom = want.get("custom_input");
        for (key, value) in want.as_object().unwrap() {
            let key = match (custom, key.as_str()) {
                (Some(_), "arguments") => continue,
                (Some(_), "custom_input") => "arguments_raw",
                (_, key) => key,
            };
            if *value != have[key] {
                out.push(format!("tool call {key}: expected {value}, got {}", have[key]));
            }
        }
    }
    out
}

/// Every recorded answer of an API is read as people read it, and is whole unless it tells an error.
///
/// `exceptions` are recordings that differ, each with its reason.
pub fn answers_are_read(api: &str, dialect: DialectName, exceptions: &[(&str, &str)]) {
    let Some(recordings) = of_api(api) else { return };
    let mut wrong = Vec::new();
    for recording in &recordings {
        let answer = fold(dialect, recording, &[&recording.bytes]);
        let mut found = differences(&recording.expected, &describe(&answer));
        let has_error = recording.expected.get("error").is_some_and(|error| !error.is_null());
        if answer.is_whole() == has_error {
            found.push(format!("whole: {}, although error: {has_error}", !has_error));
        }
        let exception = exceptions.iter().find(|(id, _)| recording.id.contains(id));
        match exception {
            Some((id, reason)) if found.is_empty() => {
                wrong.push(format!("{id} is no exception any more ({reason})"));
            }
            Some(_) => {}
            None => wrong.extend(found.iter().map(|found| format!("{}: {found}", recording.id))),
        }
    }
    println!("{api}: {} recordings, {} differences", recordings.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// However a recorded stream is cut into pieces, it gives one answer.
pub fn any_chunking_gives_one_answer(api: &str, dialect: DialectName) {
    let Some(recordings) = of_api(api) else { return };
    let streams: Vec<_> = recordings.into_iter().filter(|r| r.is_stream).collect();
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() };
    let pick = (0..streams.len(), prop::collection::vec(1..400usize, 1..20));
    proptest!(config, |((at, sizes) in pick)| {
        let recording = &streams[at];
        let mut rest = recording.bytes.as_slice();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = tail;
            if rest.is_empty() { break }
        }
        let whole = fold(dialect, recording, &[&recording.bytes]);
        prop_assert_eq!(fold(dialect, recording, &pieces), whole);
    });
}

/// The system that ran a recorded answer is read wherever the provider names it.
#[test]
fn the_fingerprint_of_a_recorded_answer_is_read() {
    let mut named = 0;
    for (api, dialect) in [("chat", DialectName::OpenAi), ("completions", DialectName::Completions)]
    {
        for recording in of_api(api).unwrap_or_default() {
            let Ok(body) = serde_json::from_slice::<Value>(&recording.bytes) else { continue };
            let said = body["system_fingerprint"].as_str().filter(|said| !said.is_empty());
            let read = fold(dialect, &recording, &[&recording.bytes]).fingerprint;
            assert_eq!(read.as_deref(), said, "{}", recording.id);
            named += usize::from(said.is_some());
        }
    }
    assert!(shared::data("recordings").is_none() || named > 20, "{named}");
}

/// Every recorded answer, written in `into` as a body and as a stream and read again, differs from
/// the original only as `forgive` allows (it may clear what the dialect cannot say from both).
pub fn answers_survive(
    api: &str,
    from: DialectName,
    into: DialectName,
    forgive: impl Fn(&mut Answer),
) {
    let Some(recordings) = of_api(api) else { return };
    let mut wrong = Vec::new();
    for recording in &recordings {
        let events = events(from, recording);
        let mut original = Fold::new();
        events.iter().for_each(|event| original.push(event.clone()));
        let mut original = original.finish();
        if original.error.is_some() {
            continue;
        }
        // The system that ran it is a fact for the store, and no part of what is said.
        original.fingerprint = None;
        forgive(&mut original);
        for is_stream in [false, true] {
            let bytes = written(into, &events, is_stream);
            let mut again = wire::fold(into.dialect(), is_stream, [&bytes[..]]);
            forgive(&mut again);
            if again != original {
                let form = if is_stream { "stream" } else { "body" };
                let bytes = String::from_utf8_lossy(&bytes);
                let id = &recording.id;
                wrong.push(format!("{id} as {form}:\n {original:?}\n {again:?}\n {bytes}"));
            }
        }
    }
    let (from, into) = (from.as_str(), into.as_str());
    println!("{from} -> {into}: {} recordings, {} differ", recordings.len(), wrong.len());
    assert!(wrong.is_empty(), "{} differ, first: {}", wrong.len(), wrong[0]);
}

/// The id of every request here, of which ids in answers are made that bring none.
pub const ID: &str = "0199test";

/// Events in the words of a dialect.
pub fn written(dialect: DialectName, events: &[ChatEvent], is_stream: bool) -> Vec<u8> {
    let mut request = Request::new(dialect, "model-asked");
    (request.stream, request.stream_usage) = (is_stream, true);
    let asked = Asked {
        request: Arc::new(request),
        id: ID.to_owned(),
        created_s: 1_700_000_000,
        input_estimate: 7,
        in_array: false,
    };
    if !is_stream {
        return dialect.dialect().encode_body(&asked, events).to_vec();
    }
    let mut encoder = dialect.dialect().encoder(&asked);
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encoder.encode(event, &mut bytes));
    bytes
}

/// Every recorded request, read and written in its own dialect, asks the same; `normal` brings two
/// spellings of one meaning into one form.
pub fn requests_survive(
    api: &str,
    dialect: DialectName,
    in_path: impl Fn(&str) -> Option<InPath>,
    normal: impl Fn(&mut Value),
) {
    let Some(recordings) = of_api(api) else { return };
    let (mut count, mut wrong) = (0, Vec::new());
    for recording in &recordings {
        let Some(request) = &recording.request else { continue };
        if !request["body"].is_object() {
            continue;
        }
        count += 1;
        let in_path = in_path(request["url"].as_str().unwrap_or_default());
        let again = in_own_dialect(dialect, &request["body"], in_path);
        let mut original = request["body"].clone();
        let Ok(mut again) = again else {
            wrong.push(format!("{}: {}", recording.id, again.unwrap_err().detail));
            continue;
        };
        normal(&mut original);
        normal(&mut again);
        plain_numbers(&mut original);
        plain_numbers(&mut again);
        if original != again {
            wrong.push(format!("{}:\n {original}\n {again}", recording.id));
        }
    }
    println!("{api}: {count} requests, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{} differ, first: {}", wrong.len(), wrong[0]);
}

fn in_own_dialect(
    dialect: DialectName,
    body: &Value,
    in_path: Option<InPath>,
) -> Result<Value, Error> {
    let head = dialect.dialect().read_head(Bytes::from(body.to_string()), in_path)?;
    let request = dialect.dialect().read(&head)?;
    let to = Recipient { model: &head.model, quirks: &Quirks::NONE };
    let written = dialect.dialect().write(&request, &to)?;
    assert!(written.losses.is_empty(), "{:?}", written.losses);
    Ok(serde_json::from_slice(&written.body).unwrap())
}

/// `1` and `1.0` are one number.
fn plain_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => *value = json!(number.as_f64()),
        Value::Array(items) => items.iter_mut().for_each(plain_numbers),
        Value::Object(fields) => fields.values_mut().for_each(plain_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
