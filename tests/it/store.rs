//! The store of exchanges: room, start-up, crashes, damage, a full disk and older formats.

mod crash;
mod damage;
mod format;
mod full;
mod room;
mod secret;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use understudy::chat::Frame;
use understudy::key::CacheKey;
use understudy::key::ExchangeId;
use understudy::store::Store;
use understudy::store::exchange::Asked;
use understudy::store::exchange::Exchange;
use understudy::store::exchange::Head;

/// The key of exchange `number`: two tenants ask each prompt.
fn key(number: u64) -> CacheKey {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&digest(number / 2)[..16]);
    key[16..].copy_from_slice(&digest(number)[..16]);
    CacheKey(key)
}

fn digest(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_be_bytes()).as_bytes()
}

fn id(number: u64) -> ExchangeId {
    ExchangeId((u128::from(number) + (1 << 100)).to_be_bytes())
}

/// An exchange that is known by its number in every part, so that any mixture is seen.
fn exchange(number: u64) -> Exchange {
    sized(number, 300 + (number % 7) as usize * 500)
}

/// As [`exchange`], with an answer of so many bytes that do not compress.
fn sized(number: u64, bytes: usize) -> Exchange {
    let mut noise = vec![0; bytes];
    fastrand::Rng::with_seed(number).fill(&mut noise);
    let half = noise.len() / 2;
    let frames = [&noise[..half], &noise[half..]].into_iter().zip([7, 900]);
    let frames = frames.map(|(bytes, at_us)| Frame { at_us, bytes: Bytes::copy_from_slice(bytes) });
    let head = Head {
        id: id(number),
        request_id: format!("req-{number}"),
        key: key(number),
        asked: Asked { dialect: "openai".into(), model: "m".into(), ..Asked::default() },
        target: "p/m".into(),
        dialect: "openai".into(),
        status: 200,
        ended: "whole".into(),
        answered_ms: now_ms(),
        fresh_until_ms: now_ms() + 3_600_000,
        took_us: number,
        ..Head::default()
    };
    let frames = frames.collect();
    Exchange { head, request: Bytes::from(format!("{{\"number\":{number}}}")), frames }
}

/// Whether what is stored is this number's, whole.
fn is_right(found: &Exchange, number: u64) -> bool {
    let bytes = found.frames.iter().map(|frame| frame.bytes.len()).sum();
    let head = Head {
        answered_ms: found.head.answered_ms,
        fresh_until_ms: found.head.fresh_until_ms,
        ..sized(number, 0).head
    };
    *found == Exchange { head, ..sized(number, bytes) }
}

/// Asks for every number below `count`; whether each is there. Nothing may be there wrong.
fn there(store: &Store, count: u64) -> Vec<bool> {
    let check = |number| {
        let answers = store.answers(&key(number));
        let named = store.exchange(id(number));
        for found in answers.iter().chain(&named) {
            assert!(is_right(found, number), "{number}: {:?}", found.head);
        }
        !answers.is_empty()
    };
    (0..count).map(check).collect()
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What the files below a directory take, bytes.
fn disk(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().flatten();
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => disk(&entry.path()),
        _ => entry.metadata().map_or(0, |found| found.len()),
    };
    entries.map(size).sum()
}

/// The generations below a data directory that are in use, the oldest first.
fn generations(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir.join("exchanges")).unwrap().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| path.is_dir() && path.extension().is_none());
    found.sort();
    found
}
