//! One answer on its way to a socket: each event one message, and what is remembered of it.

use std::borrow::Cow;

use bytes::Bytes;
use bytes::BytesMut;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Sender;

use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::http::data::upgrade::event::Refusal;
use crate::http::data::upgrade::event::nested_error;
use crate::http::data::upgrade::event::on_lane;
use crate::http::data::upgrade::memory::Past;
use crate::http::data::upgrade::memory::is_bare_reasoning;
use crate::http::data::upgrade::memory::joined;
use crate::wire::sse;

/// Follows the events of one answer.
pub struct Answer {
    lane: Option<String>,
    /// Everything said before, unless part of it is known to the provider alone.
    input: Option<String>,
    is_stored: bool,
    items: Vec<String>,
    past: Option<Past>,
    is_over: bool,
}

/// Nobody listens any more.
struct Gone;

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(default, borrow)]
    r#type: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ItemDone<'a> {
    #[serde(borrow)]
    item: &'a RawValue,
}

#[derive(Deserialize)]
struct Ended<'a> {
    #[serde(borrow)]
    response: Response<'a>,
}

#[derive(Deserialize)]
struct Response<'a> {
    id: String,
    #[serde(default, borrow)]
    output: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    store: Option<bool>,
}

impl Answer {
    /// Nothing said yet to `input`.
    pub fn new(lane: Option<String>, input: Option<String>, is_stored: bool) -> Self {
        Self { lane, input, is_stored, items: Vec::new(), past: None, is_over: false }
    }

    /// Sends the answer and returns what is to be remembered of it, if it ended well.
    pub async fn relay(
        mut self,
        reply: Reply,
        largest: usize,
        say: &Sender<String>,
    ) -> Option<Past> {
        let kind = reply.headers.get(header::CONTENT_TYPE);
        let kind = kind.map_or(&b""[..], |kind| kind.as_bytes());
        let is_events = kind.to_ascii_lowercase().starts_with(b"text/event-stream");
        let sent = match is_events && reply.status.is_success() {
            true => self.relay_events(reply.body, say).await,
            false => self.relay_whole(reply, largest, say).await,
        };
        sent.ok().and(self.past)
    }

    async fn relay_events(&mut self, body: ReplyBody, say: &Sender<String>) -> Result<(), Gone> {
        let (mut parser, mut out) = (sse::Parser::new(), Vec::new());
        match body {
            ReplyBody::Whole(bytes) => parser.push(&bytes, |event| out.extend(self.take(event))),
            ReplyBody::Live(mut pump) => {
                while let Some(Ok(frame)) = pump.frame().await {
                    let Ok(piece) = frame.into_data() else { continue };
                    parser.push(&piece, |event| out.extend(self.take(event)));
                    for text in out.drain(..) {
                        say.send(text).await.map_err(|_| Gone)?;
                    }
                }
            }
        }
        parser.finish(|event| out.extend(self.take(event)));
        if !self.is_over {
            let what = "the provider ended the stream before the answer was complete";
            let refusal = Refusal::new(StatusCode::BAD_GATEWAY.as_u16(), "provider_broken", what);
            out.push(refusal.message(self.lane.as_deref()));
        }
        for text in out {
            say.send(text).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// A refusal, or an answer of someone who does not stream.
    async fn relay_whole(
        &mut self,
        reply: Reply,
        largest: usize,
        say: &Sender<String>,
    ) -> Result<(), Gone> {
        let body = collect(reply.body, largest).await;
        let status = reply.status.as_u16();
        let response =
            reply.status.is_success().then(|| serde_json::from_slice::<Value>(&body).ok());
        let text = match response.flatten().filter(|whole| whole["object"] == "response") {
            Some(response) => {
                let status = response["status"].as_str().unwrap_or("completed");
                let kind = format!("response.{status}");
                let event = json!({"type": kind, "sequence_number": 0, "response": response});
                self.take(&sse::Event { name: kind, data: event.to_string(), cut: false })
            }
            None => {
                let status = if status < 400 { StatusCode::BAD_GATEWAY.as_u16() } else { status };
                let refusal = Refusal::told(status, &reply.headers, &body);
                Some(refusal.message(self.lane.as_deref()))
            }
        };
        match text {
            Some(text) => say.send(text).await.map_err(|_| Gone),
            None => Ok(()),
        }
    }

    /// What is sent of an event.
    fn take(&mut self, event: &sse::Event) -> Option<String> {
        let data = event.data.as_str();
        // Some compatible servers end every kind of stream like a chat.
        if self.is_over || data == "[DONE]" || data.is_empty() {
            return None;
        }
        let lane = self.lane.clone();
        if event.cut {
            self.is_over = true;
            let what =
                format!("an event of the answer is larger than {} bytes", sse::MAX_EVENT_BYTES);
            return Some(Refusal::new(502, "provider_broken", what).message(lane.as_deref()));
        }
        let kind = match event.name.as_str() {
            "" => serde_json::from_str(data).map_or("".into(), |Named { r#type }| r#type),
            name => name.into(),
        };
        match &*kind {
            "response.output_item.done" => {
                if let Ok(ItemDone { item }) = serde_json::from_str(data) {
                    self.items.push(item.get().to_owned());
                }
            }
            "response.completed" | "response.incomplete" => {
                self.is_over = true;
                self.remember(data);
            }
            "response.failed" | "response.cancelled" => self.is_over = true,
            "error" => {
                self.is_over = true;
                let nested = nested_error(data).unwrap_or_else(|| data.to_owned());
                return Some(on_lane(lane.as_deref(), nested));
            }
            _ => {}
        }
        Some(on_lane(lane.as_deref(), data.to_owned()))
    }

    fn remember(&mut self, data: &str) {
        let Some(input) = self.input.take() else { return };
        let Ok(Ended { response }) = serde_json::from_str(data) else { return };
        let told: Vec<&str> = response.output.iter().flatten().map(|item| item.get()).collect();
        // Some servers leave the output out at the end, because every item was told before.
        let output = match told.is_empty() {
            true => self.items.iter().map(String::as_str).collect(),
            false => told,
        };
        let is_stored = self.is_stored && response.store.unwrap_or(true);
        let kept = output.into_iter().filter(|item| is_stored || !is_bare_reasoning(item));
        let items = joined(std::iter::once(input.as_str()).chain(kept));
        self.past = Some(Past { id: response.id, items });
    }
}

/// A whole body, as far as it goes; what is larger than `largest` is cut.
async fn collect(body: ReplyBody, largest: usize) -> Bytes {
    let mut pump = match body {
        ReplyBody::Whole(bytes) => return bytes,
        ReplyBody::Live(pump) => pump,
    };
    let mut whole = BytesMut::new();
    while let Some(Ok(frame)) = pump.frame().await {
        let Ok(piece) = frame.into_data() else { continue };
        if whole.len() + piece.len() > largest {
            break;
        }
        whole.extend_from_slice(&piece);
    }
    whole.freeze()
}
