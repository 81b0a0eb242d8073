//! What real providers sent, folded, against what people read in it.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::chat::Answer;
use understudy::wire;
use understudy::wire::DialectName;

use crate::shared;

/// One recording: its bytes and what they mean.
pub struct Recording {
    pub id: String,
    pub is_stream: bool,
    pub status: u16,
    pub bytes: Vec<u8>,
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
        expected: expected["expected"].clone(),
    }
}

pub fn fold(recording: &Recording, pieces: &[&[u8]]) -> Answer {
    let dialect = DialectName::OpenAi.dialect();
    wire::fold(dialect, recording.is_stream, pieces.iter().copied())
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
    for field in plain.into_iter().filter(|field| expected.get(field).is_some()) {
        if expected[field] != got[field] {
            out.push(format!("{field}: expected {}, got {}", expected[field], got[field]));
        }
    }
    for group in ["usage", "error"] {
        for (key, value) in expected[group].as_object().into_iter().flatten() {
            let known = !matches!(key.as_str(), "http_status" | "status");
            if known && *value != got[group][key] {
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
        for (key, value) in want.as_object().unwrap() {
            if *value != have[key] {
                out.push(format!("tool call {key}: expected {value}, got {}", have[key]));
            }
        }
    }
    out
}

#[test]
fn every_recorded_chat_answer_is_read_as_people_read_it() {
    let Some(recordings) = of_api("chat") else { return };
    let mut wrong = Vec::new();
    for recording in &recordings {
        let answer = fold(recording, &[&recording.bytes]);
        for difference in differences(&recording.expected, &describe(&answer)) {
            wrong.push(format!("{}: {difference}", recording.id));
        }
        let has_error = recording.expected.get("error").is_some();
        assert_eq!(answer.is_whole(), !has_error, "{} {answer:?}", recording.id);
    }
    println!("{} recordings, {} differences", recordings.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn any_chunking_of_a_recorded_stream_gives_one_answer() {
    let Some(recordings) = of_api("chat") else { return };
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
        prop_assert_eq!(fold(recording, &pieces), fold(recording, &[&recording.bytes]));
    });
}
