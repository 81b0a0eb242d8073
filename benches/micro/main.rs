//! The parts of the request path one by one: key, wire format, pump, cache, plan, envelope, review.
#![allow(clippy::unwrap_used, reason = "a bench stops where it fails")]

mod review;
mod translate;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use futures_util::stream;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use understudy::cache::Cache;
use understudy::cache::Fit;
use understudy::cache::Found;
use understudy::cache::Wanted;
use understudy::chat::ChatEvent;
use understudy::chat::DialectName;
use understudy::chat::Frame;
use understudy::chat::request::Request;
use understudy::config;
use understudy::config::CachePolicy;
use understudy::config::Timeouts;
use understudy::experiment::Target;
use understudy::key;
use understudy::key::CacheKey;
use understudy::memory::Memory;
use understudy::plan;
use understudy::plan::CacheRules;
use understudy::plan::Caller;
use understudy::store::Store;
use understudy::store::cipher::Keys;
use understudy::store::exchange::Exchange;
use understudy::store::exchange::Head;
use understudy::store::seal;
use understudy::upstream::Opened;
use understudy::upstream::pump::Flow;
use understudy::upstream::pump::Terms;
use understudy::upstream::shared::Broadcast;
use understudy::upstream::shared::Read;
use understudy::upstream::way::Way;
use understudy::wire;
use understudy::wire::Asked;
use understudy::wire::Dialect;
use understudy::wire::carry::Losses;
use understudy::wire::sse;

/// The allocator of the real thing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The chunks of the streams here.
const CHUNKS: usize = 200;

criterion_group! {
    name = micro;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = keys, dialect, translate::streams, translate::requests, translate::bodies,
        translate::large, pump, cache, plans, envelope, review::reviews
}
criterion_main!(micro);

fn openai() -> &'static dyn Dialect {
    DialectName::OpenAi.dialect()
}

/// What is kept of an answer.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// A request of about `size` bytes, in turns of some 400 bytes as chats have.
fn request(size: usize) -> Bytes {
    let turn = |n: usize| {
        let role = if n.is_multiple_of(2) { "user" } else { "assistant" };
        let text = format!("Turn {n}: \"quoted\"\n{}", "the chain needs oil again. ".repeat(12));
        json!({"role": role, "content": text})
    };
    let body = |turns: usize| {
        let messages: Vec<_> = (0..turns).map(turn).collect();
        json!({"model": "openai/gpt-4o", "temperature": 0.2, "messages": messages}).to_string()
    };
    let turns = (1..).find(|turns| body(*turns).len() >= size).unwrap_or(1);
    Bytes::from(body(turns))
}

/// A stream as OpenAI writes it, a chunk a piece.
fn chunks() -> Vec<Bytes> {
    let head = r#"data: {"id":"chatcmpl-9x8y7z","object":"chat.completion.chunk","created":1780000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_1234","#;
    let chunk = |n: usize| {
        let text = format!(" word{n}");
        format!(
            "{head}\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
        )
    };
    let finish = format!(
        "{head}\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n"
    );
    let all = (0..CHUNKS).map(chunk).chain([finish, "data: [DONE]\n\n".to_owned()]);
    all.map(Bytes::from).collect()
}

fn whole_body() -> Bytes {
    let text = "The chain needs oil again, and the rear brake is worn. ".repeat(20);
    let message = json!({"role": "assistant", "content": text, "refusal": null});
    let usage = json!({"prompt_tokens": 300, "completion_tokens": 260, "total_tokens": 560});
    let body = json!({
        "id": "chatcmpl-9x8y7z", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}],
        "usage": usage,
    });
    Bytes::from(body.to_string())
}

fn exchange() -> Exchange {
    let head = Head {
        request_id: "0193d8a5-7c1e-7b52-8f0a-3f1e2d4c5b6a".into(),
        key: CacheKey([7; 32]),
        fresh_until_ms: i64::MAX,
        target: "openai/gpt-4o".into(),
        dialect: "openai".into(),
        status: 200,
        content_type: "application/json".into(),
        answered_ms: jiff::Timestamp::now().as_millisecond(),
        ..Head::default()
    };
    let frames = vec![Frame { at_us: 900, bytes: whole_body() }];
    Exchange { head, request: request(1 << 10), frames }
}

fn keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("key");
    for size in [1 << 10, 10 << 10, 100 << 10] {
        let head = openai().read_head(request(size), None).unwrap();
        group.throughput(Throughput::Bytes(head.body.len() as u64));
        group.bench_function(format!("{} KB", size >> 10), |b| {
            b.iter(|| key::read(openai(), black_box(&head), &[]).unwrap());
        });
        group.bench_function(format!("{} KB, reading alone", size >> 10), |b| {
            b.iter(|| openai().read(black_box(&head)).unwrap());
        });
    }
    group.finish();
}

fn asked_stream() -> Asked {
    let request = Arc::new(Request::new(DialectName::OpenAi, "m"));
    let id = "0199".to_owned();
    Asked { request, id, created_s: 1_700_000_000, input_estimate: 7, in_array: false }
}

fn dialect(c: &mut Criterion) {
    let (stream, body) = (chunks(), whole_body());
    let mut group = c.benchmark_group("dialect");
    let pieces = || stream.iter().map(|piece| &piece[..]);
    group.bench_function("server-sent events, 200 chunks", |b| {
        b.iter(|| {
            let (mut parser, mut bytes) = (sse::Parser::new(), 0);
            pieces().for_each(|piece| parser.push(piece, |event| bytes += event.data.len()));
            bytes
        });
    });
    group.bench_function("decode and fold, 200 chunks", |b| {
        b.iter(|| wire::fold(openai(), true, pieces()));
    });
    group.bench_function("decode and fold, whole body", |b| {
        b.iter(|| wire::fold(openai(), false, [&body[..]]));
    });
    let mut events: Vec<ChatEvent> = Vec::new();
    let (mut parser, mut decoder) = (sse::Parser::new(), openai().decoder());
    pieces().for_each(|piece| parser.push(piece, |event| decoder.decode(event, &mut events)));
    group.bench_function("encode, 200 chunks", |b| {
        b.iter(|| {
            let (mut encoder, mut out) = (openai().encoder(&asked_stream()), Vec::new());
            events.iter().for_each(|event| encoder.encode(event, &mut out));
            out
        });
    });
    let asked = request(10 << 10);
    group.bench_function("read a request, 10 KB", |b| {
        b.iter(|| openai().read_head(black_box(asked.clone()), None).unwrap());
    });
    group.finish();
}

fn opened(pieces: &[Bytes]) -> Opened {
    let pieces: Vec<Result<Bytes, std::io::Error>> = pieces.iter().cloned().map(Ok).collect();
    Opened {
        target: Target { provider: "openai".into(), model: "gpt-4o".into() },
        dialect: DialectName::OpenAi,
        losses: Losses::default(),
        unasked_usage: false,
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: reqwest::Body::wrap_stream(stream::iter(pieces)),
        payer: None,
        sent: Instant::now(),
        timeouts: Timeouts::default(),
        begun: None,
        ticket: None,
        permit: None,
    }
}

fn pump(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let stream = chunks();
    let mut group = c.benchmark_group("pump");
    group.throughput(Throughput::Elements(stream.len() as u64));
    group.bench_function("no pump, 202 pieces", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut body = opened(&stream).body;
                while let Some(piece) = body.frame().await {
                    black_box(piece.unwrap());
                }
            });
        });
    });
    let flow = || {
        let terms = Terms {
            dialect: openai(),
            is_stream: true,
            way: Way::Untouched,
            max_kept_bytes: MAX_KEPT_BYTES,
            must_finish: false,
        };
        Flow::new(opened(&stream), terms, Box::new(|account| drop(black_box(account))))
    };
    group.bench_function("pump, 202 pieces", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut flow = flow();
                while let Some(piece) = flow.next().await {
                    black_box(piece);
                }
            });
        });
    });
    group.bench_function("pump that may be shared, one reader, 202 pieces", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let shared = Broadcast::new(Box::new(flow()), Vec::new(), MAX_KEPT_BYTES);
                let mut reader = shared.read().unwrap();
                while let Read::Piece(piece) = reader.next().await {
                    black_box(piece);
                }
            });
        });
    });
    group.finish();
}

fn cache(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap().store;
    let key = CacheKey([7; 32]);
    store.put_exchange(&exchange()).unwrap();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let memory = Cache::new(store.clone(), &CachePolicy::default(), Memory::default());
    memory.insert(key, Arc::new(exchange()), 1);
    // Without room in memory every answer comes from the disk.
    let disk = Cache::new(
        store,
        &CachePolicy { max_bytes: 0, ..CachePolicy::default() },
        Memory::default(),
    );
    let day = Duration::from_secs(24 * 3600);
    let rules = CacheRules {
        read: true,
        write: true,
        only_if_cached: false,
        max_age: None,
        min_fresh: None,
        any_age: false,
        not_served: None,
        ttl: day,
        error_ttl: day,
        samples: 1,
        coalesce: true,
        any_tenant: false,
    };
    let wanted = Wanted { rules: &rules, now_ms, draw: &|| 0, fits: &|_| Some(Fit::AsItCame) };
    let mut group = c.benchmark_group("cache");
    for (name, cache) in [("hit in memory", &memory), ("hit on disk", &disk)] {
        group.bench_function(name, |b| {
            let found = || runtime.block_on(cache.get(&key, wanted));
            assert!(matches!(found(), Found::Answer(_)), "{name}");
            b.iter(found);
        });
    }
    let absent = CacheKey([8; 32]);
    group.bench_function("miss", |b| {
        b.iter(|| matches!(runtime.block_on(memory.get(&absent, wanted)), Found::Nothing));
    });
    group.finish();
}

fn plans(c: &mut Criterion) {
    let yaml = "experiment: upgrade\nmatch: {model: openai/gpt-4o}\n\
        control: {target: openai/gpt-4o}\ncandidates: {next: {target: openai/gpt-4.1}}\n\
        traffic: {split: {next: 10%}, shadow: 20%}\n\
        evaluate: {judge: {target: openai/gpt-4o-mini, criteria: correct and polite}}\n\
        decide: {goal: superior}\n";
    let loaded = |experiments: &[(String, String)]| {
        config::load(None, experiments, &|_| None, &|_| Err(std::io::Error::other("no file")))
    };
    let plain = loaded(&[]).unwrap().0;
    let request = openai().read_head(request(1 << 10), None).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer sk-bench"));
    let caller = Caller::new(&headers);
    let mut group = c.benchmark_group("plan");
    group.bench_function("1 KB, no experiment", |b| {
        b.iter(|| plan::plan(&plain, openai(), black_box(&request), &caller).unwrap());
    });
    let config = loaded(&[("bench.yaml".to_owned(), yaml.to_owned())]).unwrap().0;
    group.bench_function("1 KB, one experiment", |b| {
        b.iter(|| plan::plan(&config, openai(), black_box(&request), &caller).unwrap());
    });
    group.finish();
}

fn envelope(c: &mut Criterion) {
    let Exchange { head, request, frames } = exchange();
    let payload: Vec<&[u8]> =
        [&request[..]].into_iter().chain(frames.iter().map(|frame| &frame.bytes[..])).collect();
    let keys = Keys::default();
    let mut sealer = seal::Sealer::new(keys.clone()).unwrap();
    let record = sealer.seal(&head, &payload).unwrap();
    let mut group = c.benchmark_group("envelope");
    group.bench_function("seal", |b| b.iter(|| sealer.seal(black_box(&head), &payload).unwrap()));
    group.bench_function("unseal", |b| {
        b.iter(|| seal::unseal::<Head>(black_box(&record), &keys).unwrap());
    });
    group.finish();
}
