//! Mutated recordings against every decoder and request reader: no panic, no hang, no growth.
//!
//! `cargo test` runs a few thousand mutations with fixed seeds and everything in `corpus/`, where
//! inputs that once failed are kept. For longer runs of one target:
//! `FUZZ=decode:anthropic FUZZ_SECONDS=600 cargo test --test it fuzz::long -- --ignored --nocapture`.

mod mutate;

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use understudy::chat::Answer;
use understudy::chat::ChatEvent;
use understudy::chat::DIALECTS;
use understudy::chat::DialectName;
use understudy::chat::fold::Fold;
use understudy::wire;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

use crate::recordings;

/// The most processor time that one input may take, which a busy machine does not add to.
const TOO_LONG: Duration = Duration::from_secs(5);

/// What reads bytes from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// A provider's answers, as bodies and as streams.
    Decode(DialectName),
    /// Applications' requests, and their way into every other dialect.
    Read(DialectName),
}

impl Target {
    fn all() -> Vec<Self> {
        let names = DIALECTS.iter().map(|(_, name)| *name);
        names.clone().map(Self::Decode).chain(names.map(Self::Read)).collect()
    }

    fn name(self) -> String {
        match self {
            Self::Decode(dialect) => format!("decode:{}", dialect.as_str()),
            Self::Read(dialect) => format!("read:{}", dialect.as_str()),
        }
    }

    /// What people have really sent, to start from.
    fn seeds(self) -> Vec<Vec<u8>> {
        let (Self::Decode(dialect) | Self::Read(dialect)) = self;
        let api = match dialect {
            DialectName::OpenAi => "chat",
            DialectName::Responses => "responses",
            DialectName::Anthropic => "messages",
            DialectName::Gemini => "generate_content",
            DialectName::Completions => "completions",
            DialectName::Embeddings | DialectName::GeminiEmbeddings => "embeddings",
            DialectName::Cohere => "cohere_v2_chat",
            DialectName::Converse => "converse",
        };
        let recordings = recordings::of_api(api).unwrap_or_default();
        let seeds = recordings.into_iter().filter_map(|recording| match self {
            Self::Decode(_) => Some(recording.bytes),
            Self::Read(_) => Some(recording.request?["body"].to_string().into_bytes()),
        });
        let mut seeds: Vec<Vec<u8>> = seeds.filter(|seed| seed.len() < 60_000).collect();
        seeds.extend(corpus().into_iter().map(|(_, bytes)| bytes));
        seeds.push(b"{}".to_vec());
        seeds
    }

    fn run(self, input: &[u8], random: &mut fastrand::Rng) {
        let began = processor_time();
        match self {
            Self::Decode(dialect) => decode(dialect, input, random),
            Self::Read(dialect) => read(dialect, input),
        }
        let took = processor_time().saturating_sub(began);
        assert!(took < TOO_LONG, "{} took {took:?}", self.name());
    }
}

/// Of this thread, where the system tells; zero elsewhere.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn decode(dialect: DialectName, input: &[u8], random: &mut fastrand::Rng) {
    let dialect = dialect.dialect();
    for is_stream in [false, true] {
        let mut events = Vec::new();
        wire::events(dialect, is_stream, [input], |event| events.push(event));
        let whole = folded(&events);
        if is_stream {
            let mut pieces = Vec::new();
            let mut rest = input;
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(random.usize(1..=rest.len().min(97)));
                pieces.push(piece);
                rest = tail;
            }
            let in_pieces = wire::fold(dialect, true, pieces);
            assert_eq!(format!("{in_pieces:?}"), format!("{whole:?}"), "cut another way");
        }
        // What is said of an input is about as long as the input, however it was made.
        let size = format!("{whole:?}").len();
        assert!(size < 64 * input.len() + 4096, "{} bytes became {size}", input.len());
        for (_, into) in DIALECTS {
            let bytes = recordings::written(*into, &ended(&events), is_stream);
            assert!(bytes.len() < 4096 * (events.len() + 4) + 64 * input.len());
        }
    }
}

/// Encoders are told of one end only.
fn ended(events: &[ChatEvent]) -> Vec<ChatEvent> {
    let is_end = |event: &&ChatEvent| matches!(event, ChatEvent::Done | ChatEvent::Error(_));
    let end = events.iter().find(is_end).cloned().unwrap_or(ChatEvent::Done);
    events.iter().take_while(|event| !is_end(event)).cloned().chain([end]).collect()
}

fn folded(events: &[ChatEvent]) -> Answer {
    let mut fold = Fold::new();
    events.iter().for_each(|event| fold.push(event.clone()));
    fold.finish()
}

fn read(dialect: DialectName, input: &[u8]) {
    let in_path = InPath { model: "m".to_owned(), stream: false };
    let in_path =
        matches!(dialect, DialectName::Gemini | DialectName::GeminiEmbeddings).then_some(in_path);
    let dialect = dialect.dialect();
    let Ok(head) = dialect.read_head(Bytes::copy_from_slice(input), in_path) else { return };
    let _ = dialect.conversation(&head);
    let _ = dialect.read_count(&head);
    let Ok(request) = dialect.read(&head) else { return };
    let _ = understudy::tokens::estimate(&request);
    for (_, into) in DIALECTS {
        let to = Recipient { model: "m", quirks: &Quirks::NONE };
        if let Ok(written) = into.dialect().write(&request, &to) {
            assert!(written.body.len() < 64 * input.len() + 4096);
        }
    }
}

/// Inputs that once failed, or are of a kind that might.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/corpus");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |file: &Path| (file.display().to_string(), fs::read(file).unwrap());
    files.iter().map(|file| read(file)).collect()
}

#[test]
fn nothing_in_the_corpus_makes_a_reader_fail() {
    let mut random = fastrand::Rng::with_seed(1);
    for (name, input) in corpus() {
        for target in Target::all() {
            println!("{name}: {}", target.name());
            target.run(&input, &mut random);
        }
    }
}

#[test]
fn mutated_recordings_make_no_reader_fail() {
    for target in Target::all() {
        let seeds = target.seeds();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..60 {
            let input = mutate::mutated(&seeds, &mut random);
            target.run(&input, &mut random);
        }
    }
}

/// One target for as long as asked; the input that fails is left in the system's temporary folder.
#[test]
#[ignore = "runs for as long as FUZZ_SECONDS says"]
fn long() {
    let seconds = env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let wanted = env::var("FUZZ").unwrap_or_default();
    let until = Duration::from_secs(seconds);
    for target in
        Target::all().into_iter().filter(|target| wanted.is_empty() || target.name() == wanted)
    {
        let (began, seeds) = (Instant::now(), target.seeds());
        let seed = env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok());
        let mut random = seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let last = env::temp_dir().join(format!("fuzz-{}.bin", target.name().replace(':', "-")));
        let (mut runs, mut bytes, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
        while began.elapsed() < until {
            let input = mutate::mutated(&seeds, &mut random);
            fs::write(&last, &input).unwrap();
            let at = processor_time();
            target.run(&input, &mut random);
            slowest = slowest.max(processor_time().saturating_sub(at));
            (runs, bytes) = (runs + 1, bytes + input.len() as u64);
        }
        fs::remove_file(&last).unwrap();
        println!(
            "{}: {runs} inputs, {} MB in {:.0} s, slowest {:.0} ms, resident {}",
            target.name(),
            bytes >> 20,
            began.elapsed().as_secs_f64(),
            slowest.as_secs_f64() * 1e3,
            resident(),
        );
    }
}

fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.map_or("unknown", |line| line["VmRSS:".len()..].trim()).to_owned()
}
