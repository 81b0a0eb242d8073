//! A load generator that costs little itself: keep-alive connections in a closed loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The system prompt of every request: a body of about a kilobyte, as small chats have.
const SYSTEM: &str = "You are the support assistant of a small shop for bicycles and parts. \
    Answer in two or three sentences, in the language of the question. Name a part by its name \
    in the catalogue and never by its number. When you do not know a price say so and offer to \
    ask a colleague; never guess one. Orders that were sent cannot be changed, only returned \
    within thirty days, unworn and in their box, and the customer pays for the parcel unless the \
    fault is ours. Repairs take three working days, a week in spring. Test rides need an \
    identity card and a helmet, which we lend. Do not promise a date of delivery for cargo \
    bicycles. Leave politics, medicine and other shops alone, and stay friendly when somebody \
    is not: most people who write to us are standing next to a bicycle that does not work.";

/// The chunks of text in every stream.
pub const CHUNKS: usize = 200;

/// What is asked, again and again.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Path on the server.
    pub path: &'static str,
    /// The model to ask.
    pub model: &'static str,
    /// Every request differs from all before it.
    pub different: bool,
    /// The answer is to be a stream of [`CHUNKS`] chunks.
    pub stream: bool,
    /// The key of who asks.
    pub key: &'static str,
}

/// What one round showed.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// From sending to the first byte, each request, sorted.
    pub first_byte: Vec<Duration>,
    /// From sending to the last byte, each request, sorted.
    pub whole: Vec<Duration>,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so long; requests under way are finished.
    Passed(Duration),
    /// After so many requests.
    Asked(u64),
}

impl Ask {
    /// The whole request; `number` tells different ones apart.
    fn write(&self, number: u64) -> Vec<u8> {
        let number = if self.different { number } else { 0 };
        let question = match self.stream {
            // The echo model answers with what it is told, a token a word.
            true => format!("{number:06} {}", "gear ".repeat(CHUNKS - 1)),
            false => format!("My order number is {number}. May I still change the saddle?"),
        };
        let body = format!(
            "{{\"model\":\"{}\",\"stream\":{},\"temperature\":0.2,\"messages\":[\
             {{\"role\":\"system\",\"content\":\"{SYSTEM}\"}},\
             {{\"role\":\"user\",\"content\":\"{}\"}}]}}",
            self.model,
            self.stream,
            question.trim_end()
        );
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             authorization: Bearer {}\r\naccept: application/json\r\n\
             user-agent: bench\r\ncontent-length: {}\r\n\r\n",
            self.path,
            self.key,
            body.len()
        );
        [head.into_bytes(), body.into_bytes()].concat()
    }
}

/// Asks once on a connection of its own.
///
/// # Errors
/// There is no answer, or not status 200.
pub async fn once(address: SocketAddr, ask: &Ask) -> io::Result<String> {
    let mut connection = Connection::open(address).await?;
    connection.ask(&ask.write(u64::MAX / 2)).await?;
    Ok(String::from_utf8_lossy(&connection.buffer).into_owned())
}

/// Asks over `concurrency` connections until told to stop; `numbers` makes requests different.
///
/// # Errors
/// A connection broke or a status was not 200: such a measurement would mean nothing.
pub async fn round(
    address: SocketAddr,
    ask: &Ask,
    concurrency: usize,
    until: Until,
    numbers: &Arc<AtomicU64>,
) -> io::Result<Round> {
    let mut connections = Vec::new();
    for _ in 0..concurrency {
        connections.push(Connection::open(address).await?);
    }
    let last = match until {
        Until::Asked(count) => numbers.load(Ordering::Relaxed) + count,
        Until::Passed(_) => u64::MAX,
    };
    let started = Instant::now();
    let tasks = connections.into_iter().map(|mut connection| {
        let (ask, numbers) = (ask.clone(), numbers.clone());
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while !matches!(until, Until::Passed(limit) if started.elapsed() >= limit) {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if number >= last {
                    break;
                }
                seen.push(connection.ask(&ask.write(number)).await?);
            }
            io::Result::Ok(seen)
        })
    });
    let mut round = Round::default();
    for task in tasks.collect::<Vec<_>>() {
        for (first, whole) in task.await.map_err(io::Error::other)?? {
            round.first_byte.push(first);
            round.whole.push(whole);
        }
    }
    round.took = started.elapsed();
    round.first_byte.sort_unstable();
    round.whole.sort_unstable();
    Ok(round)
}

/// Reads a page with GET.
///
/// # Errors
/// There is no answer, or not status 200.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut connection = Connection::open(address).await?;
    connection.ask(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").as_bytes()).await?;
    Ok(String::from_utf8_lossy(&connection.buffer).into_owned())
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Where the body of an answer ends.
enum End {
    At(usize),
    LastChunk,
}

impl Connection {
    async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 << 10) })
    }

    /// Times to the first and to the last byte of the answer, which stays in the buffer.
    async fn ask(&mut self, request: &[u8]) -> io::Result<(Duration, Duration)> {
        self.buffer.clear();
        let sent = Instant::now();
        self.stream.write_all(request).await?;
        self.read().await?;
        let first = sent.elapsed();
        let end = loop {
            match self.end()? {
                Some(end) => break end,
                None => self.read().await?,
            }
        };
        while !self.is_at(&end) {
            self.read().await?;
        }
        Ok((first, sent.elapsed()))
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::other("the connection was closed")),
            _ => Ok(()),
        }
    }

    /// Reads the head once it is there; our own servers write header names in lower case.
    fn end(&self) -> io::Result<Option<End>> {
        let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(self.buffer.get(..at).unwrap_or_default());
        if !head.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned()));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        Ok(Some(match length.and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => End::At(at + 4 + length),
            None => End::LastChunk,
        }))
    }

    fn is_at(&self, end: &End) -> bool {
        match end {
            End::At(at) => self.buffer.len() >= *at,
            End::LastChunk => self.buffer.ends_with(b"\r\n0\r\n\r\n"),
        }
    }
}
