//! A provider that answers exactly as a test tells it to, and fails the test on any other call.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http_body_util::BodyExt;
use http_body_util::Collected;
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Opens once, for whoever waits for it.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub fn open(&self) {
        self.0.add_permits(1_000);
    }

    async fn pass(&self) {
        drop(self.0.acquire().await);
    }
}

/// One thing a body does.
#[derive(Clone)]
pub enum Step {
    /// These bytes, in one piece.
    Send(Bytes),
    /// Nothing, until the gate opens.
    Wait(Gate),
    /// A comment line again and again, with this pause between, until the connection ends.
    Trickle(Duration),
    /// The connection breaks.
    Cut,
    /// These bytes again and again, with this pause between, until the connection ends.
    Repeat(Bytes, Duration),
    /// Nothing, until the connection ends.
    Hang,
}

/// What a call is answered with.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    steps: Vec<Step>,
    /// Instead of an answer: nothing, until the connection ends or the gate opens.
    before_head: Option<Gate>,
    /// Instead of an answer: the connection ends.
    hangs_up: bool,
}

impl Answer {
    pub fn new(status: u16, content_type: &str, steps: Vec<Step>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, steps, before_head: None, hangs_up: false }
    }

    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::new(200, "application/json", vec![Step::Send(body.into())])
    }

    pub fn error(status: u16) -> Self {
        let body = format!("{{\"error\":{{\"message\":\"status {status}\",\"type\":\"t\"}}}}");
        Self::new(status, "application/json", vec![Step::Send(body.into())])
    }

    pub fn stream(steps: Vec<Step>) -> Self {
        Self::new(200, "text/event-stream", steps)
    }

    /// No answer at all.
    pub fn hang_up() -> Self {
        Self { hangs_up: true, ..Self::stream(Vec::new()) }
    }

    /// A plain answer that says `text`.
    pub fn saying(text: &str) -> Self {
        Self::json(completion(text))
    }

    /// Never answers while the gate is closed.
    pub fn after(mut self, gate: &Gate) -> Self {
        self.before_head = Some(gate.clone());
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The body of a whole chat answer.
pub fn completion(text: &str) -> String {
    serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
                     "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    })
    .to_string()
}

/// One frame of a streamed chat answer.
pub fn delta(text: &str) -> Step {
    let chunk = serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}],
    });
    Step::Send(format!("data: {chunk}\n\n").into())
}

/// The frames that end a streamed chat answer.
pub fn ending() -> Vec<Step> {
    let chunk = serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    });
    let chunk = Step::Send(format!("data: {chunk}\n\n").into());
    vec![chunk, Step::Send(Bytes::from_static(b"data: [DONE]\n\n"))]
}

/// `bytes` in pieces of random size, some 2,000 at most: more would only measure the loopback.
pub fn in_pieces(bytes: &[u8], rng: &mut fastrand::Rng) -> Vec<Step> {
    let mut rest = bytes;
    let mut steps = Vec::new();
    let most = (1 << rng.usize(1..12)).max(bytes.len() / 1000);
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rng.usize(1..=most).min(rest.len()));
        steps.push(Step::Send(Bytes::copy_from_slice(piece)));
        rest = tail;
    }
    steps
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Default)]
struct Script {
    next: VecDeque<Answer>,
    always: Option<Answer>,
    calls: Vec<Call>,
    unexpected: Vec<String>,
}

#[derive(Default)]
struct State {
    script: Mutex<Script>,
    /// Answers that the other side did not wait for.
    abandoned: AtomicUsize,
    /// Answers under way.
    open: AtomicUsize,
}

/// A running provider.
pub struct Provider {
    pub address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let server = tokio::spawn(serve(listener, state.clone()));
        Self { address, state, server }
    }

    /// What a configuration takes as base URL.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The next call gets this answer; it has to come.
    pub fn expect(&self, answer: Answer) {
        self.state.script.lock().unwrap().next.push_back(answer);
    }

    /// Any number of calls gets this answer.
    pub fn always(&self, answer: Answer) {
        self.state.script.lock().unwrap().always = Some(answer);
    }

    /// The calls that came since the last time.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state.script.lock().unwrap().calls)
    }

    /// How many calls came since [`Self::calls`].
    pub fn count(&self) -> usize {
        self.state.script.lock().unwrap().calls.len()
    }

    /// How many answers were broken off by the other side.
    pub fn abandoned(&self) -> usize {
        self.state.abandoned.load(Ordering::SeqCst)
    }

    /// How many answers are under way.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
        if thread::panicking() {
            return;
        }
        let script = self.state.script.lock().unwrap();
        assert!(script.unexpected.is_empty(), "unexpected calls: {:?}", script.unexpected);
        assert!(script.next.is_empty(), "{} expected calls never came", script.next.len());
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        stream.set_nodelay(true).unwrap();
        let state = state.clone();
        let service = service_fn(move |request| answer(state.clone(), request));
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            // A connection that a script cuts ends with an error, as it should.
            let _ended = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Counts an answer as abandoned unless it was finished.
struct Watch {
    state: Arc<State>,
    is_finished: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.state.open.fetch_sub(1, Ordering::SeqCst);
        let abandoned = usize::from(!self.is_finished);
        self.state.abandoned.fetch_add(abandoned, Ordering::SeqCst);
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.to_string();
    let call = Call { method: parts.method.to_string(), path, headers: parts.headers, body };
    let answer = {
        let mut script = state.script.lock().unwrap();
        let answer = script.next.pop_front().or_else(|| script.always.clone());
        if answer.is_none() {
            script.unexpected.push(format!("{} {}", call.method, call.path));
        }
        script.calls.push(call);
        answer.unwrap_or_else(|| Answer::error(599))
    };
    state.open.fetch_add(1, Ordering::SeqCst);
    let watch = Watch { state, is_finished: answer.hangs_up };
    if answer.hangs_up {
        return Err(io::Error::other("hung up by the script"));
    }
    if let Some(gate) = &answer.before_head {
        gate.pass().await;
    }
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let steps = VecDeque::from(answer.steps);
    let pieces = stream::unfold((steps, watch), |(mut steps, mut watch)| async move {
        let piece = play(&mut steps).await;
        watch.is_finished = watch.is_finished || piece.is_none() || matches!(piece, Some(Err(_)));
        Some((piece?, (steps, watch)))
    });
    Ok(response.body(Body::from_stream(pieces)).unwrap())
}

async fn play(steps: &mut VecDeque<Step>) -> Option<io::Result<Bytes>> {
    loop {
        match steps.front().cloned()? {
            Step::Send(bytes) => {
                steps.pop_front();
                // Lets the piece before leave on its own.
                tokio::task::yield_now().await;
                return Some(Ok(bytes));
            }
            Step::Wait(gate) => {
                gate.pass().await;
                steps.pop_front();
            }
            Step::Trickle(pause) => {
                tokio::time::sleep(pause).await;
                return Some(Ok(Bytes::from_static(b": still here\n\n")));
            }
            Step::Repeat(bytes, pause) => {
                tokio::time::sleep(pause).await;
                return Some(Ok(bytes));
            }
            Step::Cut => {
                // What was sent has to leave first: hyper throws it away with the connection.
                tokio::time::sleep(Duration::from_millis(30)).await;
                return Some(Err(io::Error::other("cut by the script")));
            }
            Step::Hang => std::future::pending().await,
        }
    }
}
