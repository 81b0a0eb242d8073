//! A simulated model provider: believable answers, chosen timing and chosen faults, over HTTP.
//!
//! What to answer (`author`, `answers`, `persona`) knows nothing of wire formats; how a dialect
//! reads and writes it (`openai`, and `tongue` for the others) knows nothing of where answers come
//! from; `stage` joins the two and adds timing and faults.

mod answers;
mod args;
mod ask;
mod author;
mod chance;
mod counters;
mod delay;
mod fault;
mod openai;
mod pair;
mod persona;
mod playback;
mod prose;
mod recall;
mod reply;
mod schema;
mod script;
mod stage;
mod support;
mod tongue;
mod topics;
mod verdict;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use counters::Counters;
use stage::Stage;

pub use answers::{Answers, LoadError};
pub use args::{Args, Problems, Setup};
pub use counters::Counts;
pub use delay::{Latency, Span};
pub use fault::{Fault, FaultKind, When};
pub use persona::{Judge, Persona, PersonaRole, Price, Writer};
pub use support::{Fact, Support, Topic};

/// Connections beyond this wait to be accepted.
const MAX_CONNECTIONS: usize = 8192;
/// How long requests in flight may go on after the simulator is told to stop.
const DRAIN: Duration = Duration::from_millis(500);
/// Wait after the system refused a connection, so that a lack of descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(20);

/// How a simulator behaves. The default is instant, without faults, recordings or personas.
#[derive(Clone)]
pub struct Settings {
    /// Seed of every draw; the same seed and the same requests give the same run.
    pub seed: u64,
    /// Timing of answers.
    pub latency: Latency,
    /// Faults; the first that strikes a request counts.
    pub faults: Vec<Fault>,
    /// Recorded answers and verdicts.
    pub answers: Option<Arc<Answers>>,
    /// Personas by model name.
    pub personas: BTreeMap<String, Persona>,
    /// Keys that are let in; with none, every request is.
    pub api_keys: Vec<String>,
    /// Longest request body.
    pub max_body_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            latency: Latency::default(),
            faults: Vec::new(),
            answers: None,
            personas: BTreeMap::new(),
            api_keys: Vec::new(),
            max_body_bytes: 32 << 20,
        }
    }
}

/// A running simulator. Dropping it stops it.
pub struct Simulator {
    addr: SocketAddr,
    counters: Arc<Counters>,
    stop: DropGuard,
    task: JoinHandle<io::Result<()>>,
}

impl Simulator {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        Self::start_on(TcpListener::bind(("127.0.0.1", 0)).await?, settings)
    }

    /// Starts on a listener.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start_on(listener: TcpListener, settings: Settings) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let counters = Arc::new(Counters::default());
        let stage = Arc::new(Stage::new(settings, Arc::clone(&counters)));
        let task = tokio::spawn(run(listener, stage, stop.clone().cancelled_owned()));
        Ok(Self { addr, counters, stop: stop.drop_guard(), task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What an SDK takes as base URL: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// What it has been asked so far.
    pub fn counters(&self) -> Counts {
        self.counters.snapshot()
    }

    /// Stops accepting, gives requests in flight half a second, and closes.
    pub async fn shutdown(self) {
        drop(self.stop);
        // The task ends by itself; its result only says why accepting ended, which is our doing.
        let _ended = self.task.await;
    }
}

/// Serves until `stop` is done; then requests in flight have half a second.
///
/// # Errors
/// None at present: a failing accept is tried again.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    run(listener, Arc::new(Stage::new(settings, Arc::default())), stop).await
}

async fn run(
    listener: TcpListener,
    stage: Arc<Stage>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        tokio::select! {
            () = &mut stop => break,
            (accepted, permit) = accepted => match accepted {
                Ok((socket, _)) => {
                    let connection = connection(socket, Arc::clone(&stage), &graceful);
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    // What is left after the drain is cut off when the set is dropped.
    let _drained = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    Ok(())
}

fn connection(
    socket: TcpStream,
    stage: Arc<Stage>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    // Without this, small chunks wait for the peer's acknowledgement (40 ms on Linux). It can only
    // fail on a socket that is closed already.
    let _set = socket.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        let stage = Arc::clone(&stage);
        async move { stage.answer(request).await }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let connection = server.serve_connection(TokioIo::new(socket), service).into_owned();
    let watched = graceful.watch(connection);
    async move {
        // A connection ends with an error when the client leaves or a fault cuts it: both expected.
        let _ended = watched.await;
    }
}
