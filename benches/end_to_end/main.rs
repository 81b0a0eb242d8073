//! The whole proxy against a bare pass-through and no proxy at all, as separate processes.
//!
//! `cargo bench --bench end_to_end [-- --quick] [--json] [--threads N] [--rounds N]`
//!
//! The contenders take turns in short rounds, so that a machine whose speed drifts slows all of
//! them; figures are medians over rounds, and the rarest of them, p99, want 25 rounds or more. CPU time is that of the proxy's process over all of a
//! row's rounds and a pause after them, so what it does later for a request counts too.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]

mod bare;
mod load;
mod process;
mod table;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use understudy::caller;

use crate::load::Ask;
use crate::load::Until;
use crate::process::Process;
use crate::process::free_address;
use crate::table::Memory;
use crate::table::Row;

/// The allocator of the real thing, so that the bare pass-through is not slower for its sake.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Open requests at a time.
const CONCURRENCY: [usize; 3] = [1, 16, 64];

/// Longer than understudy waits before it flushes what it wrote.
const PAUSE: Duration = Duration::from_millis(700);

/// A contender that passes every request on.
const BARE: &str = "bare";

/// A contender that answers every request but the first from memory.
const MEMORY: &str = "memory";

/// The key of everybody.
const ANYBODY: &str = "sk-bench";

/// The key of a caller whom the guarded understudy knows.
const CALLER: &str = "us-bench";

/// What is configured where everything is on that guards a request: none of it ever refuses one.
const GUARDS: &str = r#"
    api_keys: [{ value: sk-one, weight: 3 }, { value: sk-two }]
    limits: { requests_per_minute: 100000000, tokens_per_minute: 1000000000, concurrency: 10000 }
  spare: { base_url: "http://UPSTREAM/v1", api_keys: [{ value: sk-one }] }
routes:
  simulated: { targets: [bench/simulated, spare/simulated], choose: score, hedge: { after: 30s } }
  echo: { targets: [bench/echo, spare/echo], choose: score, hedge: { after: 30s } }
prices:
  alias:
    bench/simulated: openai/gpt-4o
    bench/echo: openai/gpt-4o
    spare/simulated: openai/gpt-4o
    spare/echo: openai/gpt-4o
encryption_keys: [{ value: 0123456789abcdef0123456789abcdef }]
callers:
  bench:
    routes: [simulated, echo]
    limits: { requests_per_minute: 100000000, tokens_per_minute: 1000000000, concurrency: 10000 }
    budget: { usd_per_day: 1000000, tokens_per_month: 1000000000000 }
    metadata: { team: bench }
"#;

/// How large a run is.
struct Size {
    rounds: usize,
    round: Duration,
    /// Requests before memory is read.
    asked: u64,
}

const FULL: Size = Size { rounds: 5, round: Duration::from_millis(700), asked: 50_000 };
const QUICK: Size = Size { rounds: 1, round: Duration::from_millis(350), asked: 5_000 };

struct Options {
    size: Size,
    json: bool,
    threads: usize,
}

/// Everything that runs, and where.
struct Field {
    simulator: Process,
    bare: Process,
    memory: Process,
    understudy: Process,
    guarded: Process,
    admin: SocketAddr,
    numbers: Arc<AtomicU64>,
    folder: tempfile::TempDir,
    threads: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, listen, upstream, threads] = words.as_slice()
        && (first == BARE || first == MEMORY)
    {
        return match (listen.parse(), upstream.parse(), threads.parse()) {
            (Ok(listen), Ok(upstream), Ok(threads)) => {
                told(bare::run(listen, upstream, threads, first == MEMORY))
            }
            _ => ExitCode::FAILURE,
        };
    }
    let flag = |name: &str| words.iter().any(|word| word == name);
    let number = |name: &str| {
        let value = words.iter().skip_while(|word| *word != name).nth(1);
        value.and_then(|value| value.parse().ok())
    };
    let size = if flag("--quick") { QUICK } else { FULL };
    let options = Options {
        size: Size { rounds: number("--rounds").unwrap_or(size.rounds), ..size },
        json: flag("--json"),
        threads: number("--threads")
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from).min(4)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    told(runtime.and_then(|runtime| runtime.block_on(until_signal(&options))))
}

fn told(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything; a signal ends it by dropping, and so killing, what was started.
async fn until_signal(options: &Options) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = run(options) => done,
        _ = terminate.recv() => Err(io::Error::other("stopped")),
        _ = interrupt.recv() => Err(io::Error::other("stopped")),
    }
}

async fn run(options: &Options) -> io::Result<()> {
    let field = Field::start(options.threads).await?;
    let fresh = field.understudy.resident()?;
    field.check().await?;
    let mut rows = Vec::new();
    for (workload, different, stream) in
        [("miss", true, false), ("hit", false, false), ("stream", true, true)]
    {
        for concurrency in CONCURRENCY {
            let ask = asked(different, stream);
            rows.extend(field.row(workload, &ask, concurrency, &options.size).await?);
            eprintln!("{workload} at concurrency {concurrency}: done");
        }
    }
    let memory = field.memory(fresh, &options.size).await?;
    match options.json {
        true => println!("{}", table::json(options.threads, &rows, &memory)),
        false => print!("{}", table::text(options.threads, &rows, &memory)),
    }
    Ok(())
}

fn asked(different: bool, stream: bool) -> Ask {
    let model = if stream { "echo" } else { "simulated" };
    Ask { path: "/v1/chat/completions", model, different, stream, key: ANYBODY }
}

/// The same question through understudy, whose models carry their provider's name.
fn through(ask: &Ask) -> Ask {
    let model = if ask.stream { "bench/echo" } else { "bench/simulated" };
    Ask { model, ..ask.clone() }
}

/// The same from a caller it knows, whose models are routes.
fn known(ask: &Ask) -> Ask {
    Ask { key: CALLER, ..ask.clone() }
}

impl Field {
    async fn start(threads: usize) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let first = asked(true, false);
        let personas = folder.path().join("simulate.yaml");
        // A token a millisecond is as fast as timers are, and every chunk still travels alone.
        fs::write(&personas, "personas:\n  echo:\n    token_rate: 1000\n")?;
        let address = free_address()?;
        let arguments = [
            "--threads=1".to_owned(),
            "simulate".to_owned(),
            format!("--listen={address}"),
            format!("--config={}", personas.display()),
        ];
        let simulator = Process::start(&program(), &arguments, address, &first).await?;
        let bare = start_bare(BARE, simulator.address, threads).await?;
        let memory = start_bare(MEMORY, simulator.address, threads).await?;
        let data = folder.path().join("data");
        let (understudy, admin) =
            start_understudy(folder.path(), &data, simulator.address, threads).await?;
        let data = folder.path().join("guarded");
        let guarded = start_guarded(folder.path(), &data, simulator.address, threads).await?;
        let numbers = Arc::default();
        Ok(Self { simulator, bare, memory, understudy, guarded, admin, numbers, folder, threads })
    }

    /// Makes sure that the workloads are what they are called.
    async fn check(&self) -> io::Result<()> {
        let asks = |ask: fn(&Ask) -> Ask| (ask(&asked(false, false)), ask(&asked(true, true)));
        for (process, (same, stream)) in
            [(&self.understudy, asks(through)), (&self.guarded, asks(known))]
        {
            load::once(process.address, &same).await?;
            let again = load::once(process.address, &same).await?;
            let stream = load::once(process.address, &stream).await?;
            let texts = stream.matches("\"content\":\" gear\"").count();
            if !again.contains("understudy; hit") || texts + 1 != load::CHUNKS {
                let what = format!(
                    "no hit, or {texts} chunks of text: the figures would be of something else"
                );
                return Err(io::Error::other(what));
            }
        }
        // It would be cheap to guard nothing.
        let stranger = load::once(self.guarded.address, &asked(false, false)).await;
        match stranger {
            Ok(_) => Err(io::Error::other("a stranger was served: the guards are not on")),
            Err(_) => Ok(()),
        }
    }

    /// The contenders in turn.
    async fn row(
        &self,
        workload: &'static str,
        ask: &Ask,
        concurrency: usize,
        size: &Size,
    ) -> io::Result<Vec<Row>> {
        let (inside, guarded) = (through(ask), known(ask));
        // A hit asks nobody, so neither does what it is compared with.
        let (name, bare) = match workload {
            "hit" => (MEMORY, &self.memory),
            _ => (BARE, &self.bare),
        };
        let mut rows = [
            Row::new(workload, concurrency, "direct"),
            Row::new(workload, concurrency, name),
            Row::new(workload, concurrency, "understudy"),
            Row::new(workload, concurrency, "guarded"),
        ];
        let sides = [
            (None, self.simulator.address, ask),
            (Some(bare), bare.address, ask),
            (Some(&self.understudy), self.understudy.address, &inside),
            (Some(&self.guarded), self.guarded.address, &guarded),
        ];
        let before = sides.map(|(process, ..)| process.map(Process::cpu));
        for number in 0..=size.rounds {
            let mut turns: Vec<_> = rows.iter_mut().zip(sides).collect();
            // Forth and back, because who comes next shares the machine with what the last one
            // still writes.
            if number % 2 == 1 {
                turns.reverse();
            }
            for (row, (_, address, ask)) in turns {
                // The first round opens connections and is not timed.
                let until = Until::Passed(if number == 0 { size.round / 4 } else { size.round });
                let round = load::round(address, ask, concurrency, until, &self.numbers).await?;
                row.requests += round.whole.len() as u64;
                if number > 0 {
                    row.rounds.push(round);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        for ((row, (process, ..)), before) in rows.iter_mut().zip(sides).zip(before) {
            if let (Some(process), Some(before)) = (process, before) {
                row.cpu = Some(process.cpu()?.saturating_sub(before?));
            }
        }
        Ok(rows.into())
    }

    /// Memory and start-up of fresh processes, asked only what is counted.
    async fn memory(mut self, fresh: u64, size: &Size) -> io::Result<Memory> {
        let upstream = self.simulator.address;
        let data = self.folder.path().join("counted");
        drop(self.understudy);
        (self.understudy, self.admin) =
            start_understudy(self.folder.path(), &data, upstream, self.threads).await?;
        let first_answer = self.understudy.first_answer;
        self.bare = start_bare(BARE, upstream, self.threads).await?;
        let (miss, hit) = (asked(true, false), through(&asked(false, false)));
        let asked = Until::Asked(size.asked);
        let address = self.understudy.address;
        load::round(address, &through(&miss), 16, asked, &self.numbers).await?;
        tokio::time::sleep(PAUSE).await;
        let all_different = self.understudy.resident()?;
        load::round(address, &hit, 16, asked, &self.numbers).await?;
        let all_hits = self.understudy.resident()?;
        load::round(self.bare.address, &miss, 16, asked, &self.numbers).await?;
        let bare = self.bare.resident()?;
        let metrics = load::get(self.admin, "/metrics").await?;
        let value = |name: &str| {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
                as u64
        };
        let (stored, dropped) =
            (value("understudy_stored_answers "), value("understudy_recorder_dropped_total"));
        drop(self.understudy);
        let (again, _) =
            start_understudy(self.folder.path(), &data, upstream, self.threads).await?;
        Ok(Memory {
            asked: size.asked,
            fresh,
            all_different,
            all_hits,
            bare,
            stored,
            dropped,
            first_answer,
            bare_first_answer: self.bare.first_answer,
            first_answer_full: again.first_answer,
            full: again.resident()?,
        })
    }
}

async fn start_bare(kind: &str, upstream: SocketAddr, threads: usize) -> io::Result<Process> {
    let address = free_address()?;
    let arguments =
        [kind.to_owned(), address.to_string(), upstream.to_string(), threads.to_string()];
    let own = std::env::current_exe()?;
    Process::start(&own, &arguments, address, &asked(true, false)).await
}

async fn start_understudy(
    folder: &Path,
    data: &Path,
    upstream: SocketAddr,
    threads: usize,
) -> io::Result<(Process, SocketAddr)> {
    let first = through(&asked(true, false));
    start(folder, (data, ""), upstream, threads, &first).await
}

async fn start_guarded(
    folder: &Path,
    data: &Path,
    upstream: SocketAddr,
    threads: usize,
) -> io::Result<Process> {
    let hash = blake3::Hash::from_bytes(caller::digest(CALLER.as_bytes())).to_hex();
    let guards = GUARDS.replace("UPSTREAM", &upstream.to_string());
    let guards = format!("{guards}    key_blake3: {hash}\n");
    let first = known(&asked(true, false));
    Ok(start(folder, (data, &guards), upstream, threads, &first).await?.0)
}

async fn start(
    folder: &Path,
    (data, guards): (&Path, &str),
    upstream: SocketAddr,
    threads: usize,
    first: &Ask,
) -> io::Result<(Process, SocketAddr)> {
    let (address, admin) = (free_address()?, free_address()?);
    let config = data.with_extension("yaml");
    let provider = format!("providers:\n  bench:\n    base_url: http://{upstream}/v1\n{guards}");
    fs::write(&config, provider)?;
    let arguments = [
        format!("--threads={threads}"),
        "serve".to_owned(),
        format!("--listen={address}"),
        format!("--admin={admin}"),
        format!("--data-dir={}", data.display()),
        format!("--config={}", config.display()),
        format!("--experiments={}", none(folder)?.display()),
        "--log=error".to_owned(),
    ];
    Ok((Process::start(&program(), &arguments, address, first).await?, admin))
}

/// An empty folder, so that no experiment of the working directory takes part.
fn none(folder: &Path) -> io::Result<PathBuf> {
    let none = folder.join("no-experiments");
    fs::create_dir_all(&none)?;
    Ok(none)
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_understudy"))
}
