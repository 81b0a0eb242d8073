//! Writes streams and bodies: one account of the items of an answer, told as events or as a whole.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;

use crate::chat::ChatEvent;
use crate::chat::ProviderError;
use crate::chat::Seal;
use crate::chat::Sealed;
use crate::chat::Stop;
use crate::chat::request::Request;
use crate::wire::Asked;
use crate::wire::Encode;
use crate::wire::responses::answer::Event;
use crate::wire::responses::answer::Failure;
use crate::wire::responses::answer::Incomplete;
use crate::wire::responses::answer::Response;
use crate::wire::responses::answer::Usage;
use crate::wire::responses::echo;
use crate::wire::responses::output::Output;
use crate::wire::responses::tell::Tell;

/// A writer of one stream, or of one body.
pub struct Encoder {
    request: Arc<Request>,
    created_s: i64,
    id: Option<String>,
    own_id: String,
    model: Option<String>,
    echo: Map<String, Value>,
    output: Output,
    tell: Tell,
    has_begun: bool,
    has_text: bool,
    is_over: bool,
    usage: Option<Usage>,
    finish: Option<(String, Option<Stop>)>,
}

/// Writes a whole body.
pub fn body(asked: &Asked, events: &[ChatEvent]) -> Bytes {
    let mut encoder = Encoder::new(asked);
    encoder.tell = Tell::nothing();
    let mut nothing = Vec::new();
    events.iter().for_each(|event| encoder.encode(event, &mut nothing));
    let (status, reason) = encoder.ending();
    encoder.output.close(status, &mut encoder.tell, &mut nothing);
    let body = serde_json::to_vec(&encoder.response(status, reason.as_deref(), None));
    Bytes::from(body.unwrap_or_default())
}

impl Encode for Encoder {
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        if let ChatEvent::Start { id, model, .. } = event {
            let new = || id.clone().filter(|id| !id.is_empty());
            // Once told, an answer's id may not change.
            self.id = self.id.take().or_else(|| new().filter(|_| !self.has_begun));
            let new = || model.clone().filter(|model| !model.is_empty());
            self.model = self.model.take().or_else(new);
        }
        self.begin(out);
        match event {
            ChatEvent::Usage(usage) => self.usage = Some(Usage::from(usage)),
            ChatEvent::Finish { choice: 0, reason, stop } => {
                self.finish = Some((reason.clone(), *stop));
            }
            ChatEvent::Error(error) => self.fail(error, out),
            ChatEvent::Done => self.end(out),
            _ => self.piece(event, out),
        }
    }
}

impl Encoder {
    /// Before the first event.
    pub fn new(asked: &Asked) -> Self {
        Self {
            request: Arc::clone(&asked.request),
            created_s: asked.created_s,
            id: None,
            own_id: format!("resp_{}", asked.id),
            model: None,
            echo: echo::of(&asked.request),
            output: Output::new(&asked.id, &asked.request),
            tell: Tell::default(),
            has_begun: false,
            has_text: false,
            is_over: false,
            usage: None,
            finish: None,
        }
    }

    /// What is said; of several answers only the first can be told.
    fn piece(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        let (output, tell) = (&mut self.output, &mut self.tell);
        match event {
            ChatEvent::Text { choice: 0, text } => {
                self.has_text |= !text.is_empty();
                output.text(text, tell, out);
            }
            // Servers that write what they say aloud as text too would say it twice.
            ChatEvent::Transcript { choice: 0, text } if !self.has_text => {
                output.text(text, tell, out);
            }
            ChatEvent::Refusal { choice: 0, text } => output.refusal(text, tell, out),
            ChatEvent::Reasoning { choice: 0, text } => output.reasoning(text, tell, out),
            ChatEvent::Seal { choice: 0, on, seal } => seal_on(output, *on, seal, tell, out),
            ChatEvent::ToolCall { choice: 0, index, id, name, arguments } => {
                let names = (id.as_deref(), name.as_deref());
                output.call(*index, names, arguments, tell, out);
            }
            ChatEvent::Citation { choice: 0, citation } => output.citation(citation, tell, out),
            ChatEvent::Media { choice: 0, mime, data } => output.media(mime, data, tell, out),
            ChatEvent::Logprobs { choice: 0, tokens } => output.logprobs(tokens),
            // Vectors and what another provider did besides have no place here.
            _ => {}
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.has_begun || self.tell.is_silent() {
            return;
        }
        self.has_begun = true;
        for kind in ["response.created", "response.in_progress"] {
            self.told(kind, "in_progress", None, None, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.is_over = true;
        let (status, reason) = self.ending();
        self.output.close(status, &mut self.tell, out);
        let kind = if status == "completed" { "response.completed" } else { "response.incomplete" };
        self.told(kind, status, reason.as_deref(), None, out);
    }

    /// What is open stays open: nothing may look like a good end.
    fn fail(&mut self, error: &ProviderError, out: &mut Vec<u8>) {
        self.is_over = true;
        self.told("response.failed", "failed", None, Some(error), out);
    }

    /// The status and, of an incomplete answer, why; a word of this dialect's own stays.
    fn ending(&self) -> (&'static str, Option<String>) {
        let Some((reason, stop)) = &self.finish else { return ("completed", None) };
        let own = |reason: &str| {
            matches!(reason, "max_output_tokens" | "max_messages" | "content_filter" | "steered")
        };
        match stop {
            Some(Stop::Stop | Stop::ToolCalls) => ("completed", None),
            Some(Stop::Length) => ("incomplete", Some("max_output_tokens".to_owned())),
            Some(Stop::ContentFilter) => ("incomplete", Some("content_filter".to_owned())),
            None if own(reason) => ("incomplete", Some(reason.clone())),
            None if reason == "incomplete" => ("incomplete", None),
            None => ("completed", None),
        }
    }

    fn response<'a>(
        &'a self,
        status: &'static str,
        reason: Option<&'a str>,
        error: Option<&'a ProviderError>,
    ) -> Response<'a> {
        Response {
            id: self.id.as_deref().unwrap_or(&self.own_id),
            object: "response",
            created_at: self.created_s,
            status,
            model: self.model.as_deref().unwrap_or(&self.request.model),
            error: error.map(|error| Failure {
                code: error.code.as_deref().or(error.kind.as_deref()).unwrap_or("server_error"),
                message: &error.message,
            }),
            incomplete_details: reason.map(|reason| Incomplete { reason }),
            output: self.output.items(),
            usage: self.usage.filter(Usage::is_known),
            echo: &self.echo,
        }
    }

    /// An event that holds the whole response.
    fn told(
        &mut self,
        kind: &'static str,
        status: &'static str,
        reason: Option<&str>,
        error: Option<&ProviderError>,
        out: &mut Vec<u8>,
    ) {
        if self.tell.is_silent() {
            return;
        }
        let sequence_number = self.tell.next();
        let response = self.response(status, reason, error);
        let event = Event { kind, sequence_number, response: Some(&response), ..Event::default() };
        event.write(out);
    }
}

fn seal_on(output: &mut Output, on: Sealed, seal: &Seal, tell: &mut Tell, out: &mut Vec<u8>) {
    match on {
        Sealed::Reasoning => output.seal_reasoning(seal, tell, out),
        Sealed::Hidden | Sealed::Text => output.seal_alone(seal, None, tell, out),
        Sealed::ToolCall(index) => output.seal_alone(seal, Some(index), tell, out),
    }
}
