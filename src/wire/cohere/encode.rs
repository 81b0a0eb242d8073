//! Writes answers in Cohere's words.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;

use crate::chat::ChatEvent;
use crate::chat::Choice;
use crate::chat::Citation;
use crate::chat::ProviderError;
use crate::chat::Stop;
use crate::chat::TokenLogprob;
use crate::chat::Usage;
use crate::chat::fold::Fold;
use crate::wire::Asked;
use crate::wire::Encode;

/// Writes a stream; calls and the end are held back until the end, words are not.
pub struct Encoder {
    answer_id: String,
    is_started: bool,
    has_text: bool,
    blocks: u32,
    open: Option<&'static str>,
    citations: u32,
    held: Fold,
}

impl Encoder {
    /// Before the first event.
    pub fn new(asked: &Asked) -> Self {
        Self {
            answer_id: asked.id.clone(),
            is_started: false,
            has_text: false,
            blocks: 0,
            open: None,
            citations: 0,
            held: Fold::new(),
        }
    }

    fn start(&mut self, id: Option<&str>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_started, true) {
            return;
        }
        let message = json!({"role": "assistant", "content": [], "tool_plan": "",
                             "tool_calls": [], "citations": []});
        let id = id.unwrap_or(&self.answer_id);
        let start = json!({"id": id, "type": "message-start", "delta": {"message": message}});
        frame("message-start", &start, out);
    }

    /// A piece of text or thinking.
    fn piece(&mut self, kind: &'static str, text: &str, out: &mut Vec<u8>) {
        self.start(None, out);
        if self.open != Some(kind) {
            self.close(out);
            self.open = Some(kind);
            let mut content = json!({"type": kind});
            content[kind] = Value::from("");
            self.content("content-start", &content, out);
        }
        let mut content = json!({});
        content[kind] = Value::from(text);
        self.content("content-delta", &content, out);
    }

    fn content(&self, kind: &str, content: &Value, out: &mut Vec<u8>) {
        let delta = json!({"message": {"content": content}});
        frame(kind, &json!({"type": kind, "index": self.blocks, "delta": delta}), out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            frame("content-end", &json!({"type": "content-end", "index": self.blocks}), out);
            self.blocks += 1;
        }
    }

    fn citation(&mut self, citation: &Citation, out: &mut Vec<u8>) {
        self.start(None, out);
        let delta = json!({"message": {"citations": citation_json(citation)}});
        let index = self.citations;
        let start = json!({"type": "citation-start", "index": index, "delta": delta});
        frame("citation-start", &start, out);
        frame("citation-end", &json!({"type": "citation-end", "index": index}), out);
        self.citations += 1;
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(None, out);
        self.close(out);
        let held = std::mem::take(&mut self.held).finish();
        let choice = held.choices.into_iter().next().unwrap_or_default();
        for (index, call) in calls(&self.answer_id, &choice).into_iter().enumerate() {
            let arguments = call["function"]["arguments"].clone();
            let mut opening = call;
            opening["function"]["arguments"] = Value::from("");
            let call_event = |kind: &str, call: &Value| json!({"type": kind, "index": index, "delta": {"message": {"tool_calls": call}}});
            frame("tool-call-start", &call_event("tool-call-start", &opening), out);
            let piece = json!({"function": {"arguments": arguments}});
            frame("tool-call-delta", &call_event("tool-call-delta", &piece), out);
            frame("tool-call-end", &json!({"type": "tool-call-end", "index": index}), out);
        }
        let mut delta = json!({"finish_reason": finish_word(&choice)});
        if let Some(usage) = &held.usage {
            delta["usage"] = usage_json(usage);
        }
        frame("message-end", &json!({"type": "message-end", "delta": delta}), out);
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl Encode for Encoder {
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Start { id, .. } => self.start(id.as_deref(), out),
            ChatEvent::Text { choice: 0, text } => {
                self.has_text = true;
                self.piece("text", text, out);
            }
            // Beside text they only repeat it.
            ChatEvent::Refusal { choice: 0, text } | ChatEvent::Transcript { choice: 0, text }
                if !self.has_text =>
            {
                self.piece("text", text, out);
            }
            ChatEvent::Reasoning { choice: 0, text } => self.piece("thinking", text, out),
            ChatEvent::Citation { choice: 0, citation } => self.citation(citation, out),
            ChatEvent::Logprobs { choice: 0, tokens } => {
                self.start(None, out);
                for token in tokens {
                    let delta = json!({"message": {"content": {"text": ""}}});
                    let chunk = json!({"type": "content-delta", "index": self.blocks,
                                       "delta": delta, "logprobs": logprob_json(token)});
                    frame("content-delta", &chunk, out);
                }
            }
            ChatEvent::ToolCall { choice: 0, .. }
            | ChatEvent::Finish { choice: 0, .. }
            | ChatEvent::Usage(_) => self.held.push(event.clone()),
            ChatEvent::Error(failure) => error(failure, out),
            ChatEvent::Done => self.end(out),
            // Cohere gives one answer of words, and has no place for what is left.
            _ => {}
        }
    }
}

/// Writes a whole answer.
pub fn body(asked: &Asked, events: &[ChatEvent]) -> Bytes {
    let mut fold = Fold::new();
    events.iter().for_each(|event| fold.push(event.clone()));
    let answer = fold.finish();
    let choice = answer.choices.first().cloned().unwrap_or_default();
    let mut message = json!({"role": "assistant"});
    let blocks = [("thinking", choice.reasoning.as_str()), ("text", choice.said())];
    let blocks = blocks.into_iter().filter(|(_, text)| !text.is_empty()).map(|(kind, text)| {
        let mut block = json!({"type": kind});
        block[kind] = Value::from(text);
        block
    });
    let lists = [
        ("content", blocks.collect()),
        ("tool_calls", calls(&asked.id, &choice)),
        ("citations", choice.citations.iter().map(citation_json).collect()),
    ];
    for (key, list) in lists.into_iter().filter(|(_, list): &(_, Vec<Value>)| !list.is_empty()) {
        message[key] = Value::from(list);
    }
    let id = answer.id.as_deref().unwrap_or(&asked.id);
    let mut body = json!({"id": id, "message": message, "finish_reason": finish_word(&choice)});
    if let Some(usage) = &answer.usage {
        body["usage"] = usage_json(usage);
    }
    if !choice.logprobs.is_empty() {
        body["logprobs"] = choice.logprobs.iter().map(logprob_json).collect();
    }
    Bytes::from(body.to_string())
}

/// The end of a stream that failed.
pub fn error(error: &ProviderError, out: &mut Vec<u8>) {
    let delta = json!({"finish_reason": "ERROR", "error": error.message});
    frame("message-end", &json!({"type": "message-end", "delta": delta}), out);
}

fn frame(name: &str, data: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}

fn calls(answer_id: &str, choice: &Choice) -> Vec<Value> {
    let call = |(at, call): (usize, &crate::chat::ToolCall)| {
        let id = call.id.clone().unwrap_or_else(|| format!("call_{answer_id}_{at}"));
        let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
        json!({"id": id, "type": "function",
               "function": {"name": call.name, "arguments": arguments}})
    };
    choice.tool_calls.iter().enumerate().map(call).collect()
}

fn finish_word(choice: &Choice) -> &str {
    const WORDS: &[&str] = &["COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "ERROR_TOXIC"];
    match (choice.finish.as_deref(), choice.stop) {
        (Some(own), _) if WORDS.contains(&own) => own,
        (_, Some(Stop::Length)) => "MAX_TOKENS",
        (_, Some(Stop::ToolCalls)) => "TOOL_CALL",
        (_, Some(Stop::ContentFilter)) => "ERROR_TOXIC",
        (_, Some(Stop::Stop)) => "COMPLETE",
        (_, None) if choice.tool_calls.is_empty() => "COMPLETE",
        (_, None) => "TOOL_CALL",
    }
}

fn citation_json(citation: &Citation) -> Value {
    let mut document = json!({});
    let known = [("url", &citation.url), ("title", &citation.title), ("text", &citation.quote)];
    for (key, value) in known {
        if let Some(value) = value {
            document[key] = Value::from(value.as_str());
        }
    }
    let source = json!({"type": "document", "document": document});
    let mut written = json!({"sources": [source], "type": "TEXT_CONTENT"});
    if let Some((start, end)) = citation.span {
        written["start"] = Value::from(start);
        written["end"] = Value::from(end);
    }
    written
}

fn logprob_json(token: &TokenLogprob) -> Value {
    json!({"text": token.token, "token_ids": [], "logprobs": [token.logprob]})
}

fn usage_json(usage: &Usage) -> Value {
    let mut tokens = json!({});
    for (key, count) in
        [("input_tokens", usage.input_tokens), ("output_tokens", usage.output_tokens)]
    {
        if let Some(count) = count {
            tokens[key] = Value::from(count);
        }
    }
    let mut written = json!({"tokens": tokens});
    if let Some(count) = usage.cached_input_tokens {
        written["cached_tokens"] = Value::from(count);
    }
    written
}
