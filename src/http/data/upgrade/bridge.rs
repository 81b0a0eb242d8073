//! The Responses API's socket mode in front of any target: each event of a client becomes a plain
//! streamed request, and each event of its answer a message.
//!
//! Requests on one lane (`stream_id`, or none) run one after another, those of different lanes side
//! by side. A client that leaves ends its calls.

use std::time::Duration;

use axum::extract::ws::CloseFrame;
use axum::extract::ws::Message;
use axum::extract::ws::WebSocket;
use axum::extract::ws::close_code;
use http::HeaderMap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::chat::DialectName;
use crate::error::Error;
use crate::exchange::Incoming;
use crate::http::data::Edge;
use crate::http::data::Slot;
use crate::http::data::upgrade::answer::Answer;
use crate::http::data::upgrade::event::Create;
use crate::http::data::upgrade::event::Event;
use crate::http::data::upgrade::event::Refusal;
use crate::http::data::upgrade::event::on_lane;
use crate::http::data::upgrade::event::steer_failed;
use crate::http::data::upgrade::memory::Memory;
use crate::http::data::upgrade::memory::Past;
use crate::http::data::upgrade::memory::joined;
use crate::http::data::upgrade::queue::Queue;

/// The most answers under way on one socket, which is OpenAI's limit.
const MOST_RUNNING: usize = 16;

/// Messages that wait for a slow client; a provider is not read faster than that.
const MOST_UNSENT: usize = 32;

/// The pause between pings, which keep what lies between from closing a silent socket.
const PING: Duration = Duration::from_secs(30);

/// A socket in the Responses API's mode.
pub struct Bridge {
    edge: Edge,
    head: Incoming,
    memory: Memory,
    queue: Queue,
    running: JoinSet<(Option<String>, Option<Past>)>,
    say: mpsc::Sender<String>,
    said: mpsc::Receiver<String>,
    asked: u64,
    closing: Option<Closing>,
}

/// Why a socket takes no more requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// It has been open for as long as it may.
    Life,
    /// Nothing has come for as long as it may.
    Idle,
    /// The process stops.
    Stop,
    /// An answer panicked, and with it its lane is lost.
    Broken,
}

/// How a socket ends.
enum End {
    /// The client has left, or the connection broke.
    Gone,
    /// We say goodbye.
    Close(u16, &'static str),
}

impl Bridge {
    /// A socket that was opened with `head`, whose headers count for every request.
    pub fn new(edge: Edge, head: Incoming) -> Self {
        let (say, said) = mpsc::channel(MOST_UNSENT);
        let queue = Queue::new(edge.front.config.limits.max_request_bytes);
        Self {
            edge,
            head,
            memory: Memory::default(),
            queue,
            running: JoinSet::new(),
            say,
            said,
            asked: 0,
            closing: None,
        }
    }

    /// Serves the socket until it ends; what is still under way then is dropped.
    pub async fn run(mut self, mut socket: WebSocket) {
        let sockets = self.edge.door.sockets.clone();
        let ended = tokio::select! {
            ended = self.serve(&mut socket) => ended,
            () = sockets.ended() => End::Close(close_code::AWAY, "the server is stopping"),
        };
        self.running.shutdown().await;
        let End::Close(code, reason) = ended else { return };
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        // The client answers a close with its own, unless it has gone.
        let goodbye = async {
            if socket.send(close).await.is_ok() {
                while let Some(Ok(_)) = socket.recv().await {}
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }

    async fn serve(&mut self, socket: &mut WebSocket) -> End {
        let limits = self.edge.front.config.limits;
        let sockets = self.edge.door.sockets.clone();
        let life = sleep_until(Instant::now() + limits.socket_life);
        let mut life = std::pin::pin!(life);
        let pause = PING.min(limits.socket_idle);
        let mut ping = tokio::time::interval_at(Instant::now() + pause, pause);
        let mut heard = Instant::now();
        loop {
            self.begin();
            if let Some(end) = self.goodbye(socket).await {
                return end;
            }
            let is_open = self.closing.is_none();
            tokio::select! {
                Some(text) = self.said.recv() => {
                    if !self.send(socket, Message::Text(text.into())).await {
                        return End::Gone;
                    }
                }
                Some(ran) = self.running.join_next() => self.note(ran.ok()),
                message = socket.recv() => {
                    heard = Instant::now();
                    if let Some(end) = self.hear(socket, message).await {
                        return end;
                    }
                }
                () = sockets.stopped(), if is_open => self.closing = Some(Closing::Stop),
                () = &mut life, if is_open => self.closing = Some(Closing::Life),
                _ = ping.tick(), if is_open => {
                    if self.is_still() && heard.elapsed() >= limits.socket_idle {
                        self.closing = Some(Closing::Idle);
                    } else if !self.send(socket, Message::Ping(Vec::new().into())).await {
                        return End::Gone;
                    }
                }
            }
        }
    }

    /// Once nothing is under way any more on a socket that is closing, says why it closes.
    async fn goodbye(&mut self, socket: &mut WebSocket) -> Option<End> {
        let closing = self.closing.filter(|_| self.is_still())?;
        while let Ok(text) = self.said.try_recv() {
            if !self.send(socket, Message::Text(text.into())).await {
                return Some(End::Gone);
            }
        }
        if closing == Closing::Life {
            let text = too_old().message(None);
            self.send(socket, Message::Text(text.into())).await;
        }
        Some(match closing {
            Closing::Life => End::Close(close_code::NORMAL, "the connection's time is over"),
            Closing::Idle => End::Close(close_code::NORMAL, "nothing came for too long"),
            Closing::Stop => End::Close(close_code::AWAY, "the server is stopping"),
            Closing::Broken => End::Close(close_code::ERROR, "answering panicked"),
        })
    }

    fn is_still(&self) -> bool {
        self.running.is_empty() && self.queue.is_empty()
    }

    /// Takes a message; the end, if there is none or it cannot be read.
    async fn hear(
        &mut self,
        socket: &mut WebSocket,
        message: Option<Result<Message, axum::Error>>,
    ) -> Option<End> {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            // What follows a close is the end, as soon as it has been answered.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => return None,
            Some(Ok(Message::Binary(_))) => {
                let what = "the message is binary: send JSON as text";
                let refusal = Refusal::new(400, "invalid_json", what);
                return self.refuse(socket, None, &refusal).await;
            }
            None => return Some(End::Gone),
            Some(Err(error)) if error.to_string().contains("too long") => {
                let largest = self.edge.front.config.limits.max_request_bytes;
                let what = format!(
                    "the message is larger than {largest} bytes (limits.max_request_bytes)"
                );
                self.refuse(socket, None, &Refusal::new(413, "too_large", what)).await;
                return Some(End::Close(close_code::SIZE, "the message is too large"));
            }
            Some(Err(_)) => return Some(End::Gone),
        };
        match Event::read(&text) {
            Ok(Event::Create(create)) => match self.queue(create) {
                Ok(()) => None,
                Err((lane, refusal)) => self.refuse(socket, lane.as_deref(), &refusal).await,
            },
            Ok(Event::Steer(steer)) => {
                let text = steer_failed(&steer);
                (!self.send(socket, Message::Text(text.into())).await).then_some(End::Gone)
            }
            Err((lane, refusal)) => self.refuse(socket, lane.as_deref(), &refusal).await,
        }
    }

    fn queue(&mut self, create: Create) -> Result<(), (Option<String>, Refusal)> {
        let lane = create.lane.clone();
        let queued = match self.closing {
            Some(Closing::Stop) => {
                Err(Refusal::new(503, "overloaded", "the server is stopping: connect again"))
            }
            Some(Closing::Life | Closing::Idle | Closing::Broken) => Err(too_old()),
            None => self.queue.push(create),
        };
        queued.map_err(|refusal| (lane, refusal))
    }

    /// Begins every waiting request whose lane is free.
    fn begin(&mut self) {
        while self.running.len() < MOST_RUNNING {
            let Some(create) = self.queue.next() else { return };
            // A socket outlives configurations; each of its requests is made under the newest.
            self.edge = self.edge.door.edge();
            let lane = create.lane.clone();
            if let Err(refusal) = self.ask(create) {
                self.edge.count(DialectName::Responses, refusal.status);
                // Behind what was said before on this lane.
                let (say, text) = (self.say.clone(), refusal.message(lane.as_deref()));
                self.running.spawn(async move {
                    let _ = say.send(text).await;
                    (lane, None)
                });
            }
        }
    }

    /// Begins one request, or refuses it.
    fn ask(&mut self, create: Create) -> Result<(), Refusal> {
        let new = create.items();
        let before = create.previous.as_deref().and_then(|id| self.memory.items(id));
        let input = new.as_deref().map(|new| joined(before.into_iter().chain([new])));
        let is_expanded = before.is_some() && input.is_some();
        let body = create.body(input.as_deref().filter(|_| is_expanded));
        self.asked += 1;
        let incoming = self.incoming(body);
        let dialect = incoming.dialect;
        let told = |error: Error| Refusal::of(dialect, &error);
        if let Some(id) = create.previous.as_ref().filter(|_| !is_expanded)
            && !self.edge.front.is_native(&incoming).map_err(told)?
        {
            let what = format!("Previous response with id '{id}' not found.");
            let refusal = Refusal::new(400, "previous_response_not_found", what);
            return Err(refusal.at("previous_response_id"));
        }
        if !create.generates {
            self.edge.front.is_native(&incoming).map_err(told)?;
            self.prepare(&create, input.filter(|_| create.is_all()));
            return Ok(());
        }
        let slot = match self.running.is_empty() {
            // The socket's own place is for one answer.
            true => None,
            false => Some(self.edge.slot().map_err(told)?),
        };
        let is_known = create.previous.is_none() || is_expanded;
        let input = input.filter(|_| is_known && create.is_all());
        let answer = Answer::new(create.lane.clone(), input, create.is_stored);
        let (edge, say) = (self.edge.clone(), self.say.clone());
        self.running.spawn(async move {
            let past = run(&edge, incoming, create.lane.as_deref(), answer, slot, &say).await;
            (create.lane, past)
        });
        Ok(())
    }

    /// Remembers a request that is to be answered later, and says so.
    fn prepare(&mut self, create: &Create, input: Option<String>) {
        let id = format!("resp_{}", Uuid::now_v7().simple());
        let events = create.prepared(&id, jiff::Timestamp::now().as_second());
        let past = input.map(|items| Past { id, items });
        let (say, lane) = (self.say.clone(), create.lane.clone());
        self.edge.count(DialectName::Responses, 200);
        self.running.spawn(async move {
            for event in events {
                let _ = say.send(on_lane(lane.as_deref(), event.to_string())).await;
            }
            (lane, past)
        });
    }

    fn incoming(&self, body: bytes::Bytes) -> Incoming {
        Incoming {
            request_id: format!("{}-{}", self.head.request_id, self.asked),
            dialect: self.head.dialect,
            in_path: None,
            query: self.head.query.clone(),
            provider: self.head.provider.clone(),
            headers: HeaderMap::clone(&self.head.headers),
            body,
            patron: self.head.patron.clone(),
            arrived: Instant::now(),
            arrived_ms: jiff::Timestamp::now().as_millisecond(),
        }
    }

    fn note(&mut self, ran: Option<(Option<String>, Option<Past>)>) {
        let Some((lane, past)) = ran else {
            self.closing = Some(Closing::Broken);
            self.queue.clear();
            return;
        };
        self.queue.free(&lane);
        if let Some(past) = past {
            self.memory.keep(past);
        }
    }

    async fn refuse(
        &self,
        socket: &mut WebSocket,
        lane: Option<&str>,
        refusal: &Refusal,
    ) -> Option<End> {
        self.edge.count(DialectName::Responses, refusal.status);
        let text = refusal.message(lane);
        (!self.send(socket, Message::Text(text.into())).await).then_some(End::Gone)
    }

    /// Whether a message could be sent.
    async fn send(&self, socket: &mut WebSocket, message: Message) -> bool {
        let limit = self.edge.front.config.timeouts.total;
        matches!(tokio::time::timeout(limit, socket.send(message)).await, Ok(Ok(())))
    }
}

/// Asks and passes the answer on.
async fn run(
    edge: &Edge,
    incoming: Incoming,
    lane: Option<&str>,
    answer: Answer,
    slot: Option<Slot>,
    say: &mpsc::Sender<String>,
) -> Option<Past> {
    let dialect = incoming.dialect;
    let largest = edge.front.config.limits.max_answer_bytes;
    let past = match edge.front.answer(incoming).await {
        Ok(reply) => {
            edge.count(DialectName::Responses, reply.status.as_u16());
            answer.relay(reply, largest, say).await
        }
        Err(error) => {
            edge.count(DialectName::Responses, error.status());
            tracing::debug!(code = error.code(), detail = error.detail, "refused on a socket");
            let _ = say.send(Refusal::of(dialect, &error).message(lane)).await;
            None
        }
    };
    drop(slot);
    past
}

fn too_old() -> Refusal {
    let what =
        "this connection has been open for as long as it may: open a new one and go on there";
    Refusal::new(400, "websocket_connection_limit_reached", what)
}
