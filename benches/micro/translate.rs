//! What translation costs: per chunk of a stream, per request and per whole answer.

use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;
use criterion::Throughput;
use understudy::chat::ChatEvent;
use understudy::chat::DialectName;
use understudy::chat::Stop;
use understudy::chat::Usage;
use understudy::chat::fold::Fold;
use understudy::upstream::way::Translation;
use understudy::upstream::way::Way;
use understudy::wire;
use understudy::wire::ChatRequest;
use understudy::wire::Dialect;
use understudy::wire::Frames;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

use crate::CHUNKS;
use crate::asked_stream;
use crate::request;

/// What providers speak.
const SOURCES: [DialectName; 6] = [
    DialectName::OpenAi,
    DialectName::Responses,
    DialectName::Anthropic,
    DialectName::Gemini,
    DialectName::Cohere,
    DialectName::Converse,
];

/// What applications speak.
const CLIENTS: [DialectName; 4] =
    [DialectName::OpenAi, DialectName::Anthropic, DialectName::Responses, DialectName::Gemini];

/// An answer in pieces as models give them: short words, now and then a quote or a letter of two
/// bytes.
fn events(chunks: usize) -> Vec<ChatEvent> {
    let text = |n: usize| match n % 16 {
        7 => " \"worn\"".to_owned(),
        11 => " Öl\n".to_owned(),
        _ => format!(" word{n}"),
    };
    let start = ChatEvent::Start {
        id: Some("chatcmpl-9x8y7z".to_owned()),
        model: Some("gpt-4o-2024-08-06".to_owned()),
        fingerprint: None,
    };
    let usage =
        Usage { input_tokens: Some(300), output_tokens: Some(chunks as u64), ..Usage::default() };
    let words = (0..chunks).map(|n| ChatEvent::Text { choice: 0, text: text(n) });
    let reason = "stop".to_owned();
    let finish = ChatEvent::Finish { choice: 0, reason, stop: Some(Stop::Stop) };
    let end = [finish, ChatEvent::Usage(usage), ChatEvent::Done];
    [start].into_iter().chain(words).chain(end).collect()
}

/// The stream as its provider would write it, an event a piece.
fn written(of: DialectName, events: &[ChatEvent]) -> Vec<Bytes> {
    let mut encoder = of.dialect().encoder(&asked_stream());
    let piece = |event: &ChatEvent| {
        let mut out = Vec::new();
        encoder.encode(event, &mut out);
        Bytes::from(out)
    };
    events.iter().map(piece).filter(|piece| !piece.is_empty()).collect()
}

/// As the pump does it: every piece is decoded, told and folded, and what was told goes out.
fn translate(from: &dyn Dialect, to: &dyn Dialect, pieces: &[Bytes]) -> usize {
    let (mut frames, mut decoder) = (Frames::new(from.framing()), from.decoder());
    let mut way = Way::Translated(Translation::new(to.encoder(&asked_stream())));
    let (mut events, mut fold, mut bytes) = (Vec::new(), Fold::new(), 0);
    for piece in pieces {
        frames.push(piece, |event| decoder.decode(event, &mut events));
        for event in events.drain(..) {
            way.tell(&event);
            fold.push(event);
        }
        bytes += black_box(way.take()).map_or(0, |piece| piece.len());
    }
    bytes
}

/// Every dialect's streams, read alone and translated.
pub fn streams(c: &mut Criterion) {
    let events = events(CHUNKS);
    let mut group = c.benchmark_group("translate");
    group.throughput(Throughput::Elements(CHUNKS as u64));
    for name in SOURCES {
        let (from, pieces) = (name.dialect(), written(name, &events));
        group.bench_function(format!("{}, {CHUNKS} chunks", name.as_str()), |b| {
            b.iter(|| wire::fold(from, true, pieces.iter().map(|piece| &piece[..])));
        });
        // What the others become as well is measured where the reading is cheapest.
        let into = if name == DialectName::OpenAi { 4 } else { 2 };
        for to in CLIENTS.into_iter().take(into) {
            let title = format!("{} to {}, {CHUNKS} chunks", name.as_str(), to.as_str());
            group.bench_function(title, |b| {
                b.iter(|| translate(from, to.dialect(), &pieces));
            });
        }
    }
    group.finish();
}

fn read_head(of: DialectName, body: Bytes) -> ChatRequest {
    let in_path = InPath { model: "gpt-4o".to_owned(), stream: true };
    let in_path = (of == DialectName::Gemini).then_some(in_path);
    of.dialect().read_head(body, in_path).unwrap()
}

/// A chat of 10 KB, read and written again.
pub fn requests(c: &mut Criterion) {
    let quirks = Quirks::NONE;
    let to = Recipient { model: "gpt-4o", quirks: &quirks };
    let head = read_head(DialectName::OpenAi, request(10 << 10));
    let asked = DialectName::OpenAi.dialect().read(&head).unwrap();
    let mut group = c.benchmark_group("translate a request of 10 KB");
    for from in CLIENTS {
        let head = read_head(from, from.dialect().write(&asked, &to).unwrap().body);
        group.bench_function(format!("{}, read", from.as_str()), |b| {
            b.iter(|| from.dialect().read(black_box(&head)).unwrap());
        });
        for into in SOURCES.into_iter().filter(|into| *into != from) {
            group.bench_function(format!("{} to {}", from.as_str(), into.as_str()), |b| {
                b.iter(|| {
                    let request = from.dialect().read(black_box(&head)).unwrap();
                    into.dialect().write(&request, &to).unwrap()
                });
            });
        }
    }
    group.finish();
}

/// A whole answer of 2 KB.
pub fn bodies(c: &mut Criterion) {
    let events = events(320);
    let asked = asked_stream();
    let mut group = c.benchmark_group("translate a body of 2 KB");
    for from in SOURCES {
        let body = from.dialect().encode_body(&asked, &events);
        for into in CLIENTS.into_iter().filter(|into| *into != from).take(2) {
            group.bench_function(format!("{} to {}", from.as_str(), into.as_str()), |b| {
                b.iter(|| {
                    let events = from.dialect().decode_body(black_box(&body));
                    into.dialect().encode_body(&asked, &events)
                });
            });
        }
    }
    group.finish();
}

/// Streams that would show anything quadratic: the time per byte must not grow with the size.
pub fn large(c: &mut Criterion) {
    let mut group = c.benchmark_group("large");
    for name in SOURCES {
        let dialect = name.dialect();
        for size in [256 << 10, 1 << 20] {
            // About as many chunks as make a stream of this size.
            let chunks = size / written(name, &events(100)).concat().len().div_ceil(100);
            let stream = written(name, &events(chunks)).concat();
            group.throughput(Throughput::Bytes(stream.len() as u64));
            let title = format!("{}, {} KB byte by byte", name.as_str(), size >> 10);
            group.bench_function(title, |b| {
                b.iter(|| wire::fold(dialect, true, stream.chunks(1)));
            });
        }
        for size in [1 << 20, 5 << 20] {
            let text = ChatEvent::Text { choice: 0, text: "a word \"é\" ".repeat(size / 13) };
            let line = written(name, &[text, ChatEvent::Done]).concat();
            group.throughput(Throughput::Bytes(line.len() as u64));
            group.bench_function(format!("{}, a line of {} MB", name.as_str(), size >> 20), |b| {
                b.iter(|| wire::fold(dialect, true, line.chunks(16 << 10)));
            });
        }
    }
    group.finish();
}
