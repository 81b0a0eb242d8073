//! Writes completions, as streams and as bodies.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::Choice;
use crate::chat::Stop;
use crate::chat::TokenLogprob;
use crate::chat::Usage;
use crate::chat::fold::Fold;
use crate::chat::request::Request;
use crate::wire::Asked;
use crate::wire::Encode;
use crate::wire::openai::chunk::stop;
use crate::wire::openai::failure;
use crate::wire::openai::json_into;
use crate::wire::openai::usage::UsageOut;
use crate::wire::openai::usage::finite;

/// A body or a chunk.
#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: &'a [ChoiceOut<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageOut>,
}

#[derive(Serialize)]
struct ChoiceOut<'a> {
    text: &'a str,
    index: u32,
    logprobs: Option<LogprobsOut<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct LogprobsOut<'a> {
    tokens: Vec<&'a str>,
    token_logprobs: Vec<f64>,
    top_logprobs: Option<Vec<Map<String, Value>>>,
    text_offset: Vec<usize>,
}

impl<'a> LogprobsOut<'a> {
    /// Lists side by side; offsets count the characters of the answer, from `start`.
    fn of(tokens: &'a [TokenLogprob], start: usize) -> Option<Self> {
        if tokens.is_empty() {
            return None;
        }
        let mut offset = start;
        let text_offset = tokens.iter().map(|token| {
            let at = offset;
            offset += token.token.chars().count();
            at
        });
        let tops = tokens.iter().map(|token| {
            let tops = token.top.iter();
            tops.map(|(token, logprob)| (token.clone(), finite(*logprob).into())).collect()
        });
        Some(Self {
            text_offset: text_offset.collect(),
            tokens: tokens.iter().map(|token| token.token.as_str()).collect(),
            token_logprobs: tokens.iter().map(|token| finite(token.logprob)).collect(),
            top_logprobs: tokens.iter().any(|token| !token.top.is_empty()).then(|| tops.collect()),
        })
    }
}

/// The nearest of the dialect's three words.
fn finish_word(reason: &str, of: Option<Stop>) -> &'static str {
    match of.or_else(|| stop(reason)) {
        Some(Stop::Length) => "length",
        Some(Stop::ContentFilter) => "content_filter",
        Some(Stop::Stop | Stop::ToolCalls) | None => "stop",
    }
}

/// The whole body.
pub fn body(asked: &Asked, events: &[ChatEvent]) -> Vec<u8> {
    let mut fold = Fold::new();
    events.iter().for_each(|event| fold.push(event.clone()));
    let mut answer: Answer = fold.finish();
    if answer.choices.is_empty() {
        answer.choices.push(Choice::default());
    }
    let choices: Vec<_> = answer
        .choices
        .iter()
        .map(|choice| ChoiceOut {
            text: choice.said(),
            index: choice.index,
            logprobs: LogprobsOut::of(&choice.logprobs, 0),
            finish_reason: Some(finish_word(
                choice.finish.as_deref().unwrap_or_default(),
                choice.stop,
            )),
        })
        .collect();
    let made_up = format!("cmpl-{}", asked.id);
    let mut out = Vec::new();
    let whole = Completion {
        id: answer.id.as_deref().unwrap_or(&made_up),
        object: "text_completion",
        created: asked.created_s,
        model: answer.model.as_deref().unwrap_or(&asked.request.model),
        choices: &choices,
        usage: answer.usage.as_ref().map(UsageOut::of),
    };
    json_into(&whole, &mut out);
    out
}

/// The writer of one stream.
pub struct Encoder {
    request: Arc<Request>,
    id: Option<String>,
    model: Option<String>,
    made_up_id: String,
    created_s: i64,
    has_begun: bool,
    choices: Vec<Open>,
    usage: Option<Usage>,
    is_over: bool,
}

/// What has been said of one choice.
#[derive(Default)]
struct Open {
    index: u32,
    /// Characters that have a probability.
    offset: usize,
    has_text: bool,
    finish: Option<(String, Option<Stop>)>,
}

impl Encoder {
    /// Before the first event.
    pub fn new(asked: &Asked) -> Self {
        Self {
            request: Arc::clone(&asked.request),
            id: None,
            model: None,
            made_up_id: format!("cmpl-{}", asked.id),
            created_s: asked.created_s,
            has_begun: false,
            choices: Vec::new(),
            usage: None,
            is_over: false,
        }
    }

    fn chunk(&self, choices: &[ChoiceOut<'_>], usage: Option<UsageOut>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        let id = self.id.as_ref().unwrap_or(&self.made_up_id);
        let model = self.model.as_ref().unwrap_or(&self.request.model);
        let created = self.created_s;
        let whole = Completion { id, object: "text_completion", created, model, choices, usage };
        json_into(&whole, out);
        out.extend_from_slice(b"\n\n");
    }

    fn open(&mut self, choice: u32) -> Option<&mut Open> {
        let known = self.choices.iter().position(|open| open.index == choice);
        let at = known.unwrap_or_else(|| {
            self.choices.push(Open { index: choice, ..Open::default() });
            self.choices.len() - 1
        });
        self.choices.get_mut(at)
    }

    fn text(&mut self, choice: u32, text: &str, out: &mut Vec<u8>) {
        self.has_begun = true;
        self.open(choice);
        self.chunk(
            &[ChoiceOut { text, index: choice, logprobs: None, finish_reason: None }],
            None,
            out,
        );
    }

    fn logprobs(&mut self, choice: u32, tokens: &[TokenLogprob], out: &mut Vec<u8>) {
        self.has_begun = true;
        let more: usize = tokens.iter().map(|token| token.token.chars().count()).sum();
        let Some(open) = self.open(choice) else { return };
        let logprobs = LogprobsOut::of(tokens, open.offset);
        open.offset += more;
        self.chunk(
            &[ChoiceOut { text: "", index: choice, logprobs, finish_reason: None }],
            None,
            out,
        );
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        if self.choices.is_empty() {
            self.open(0);
        }
        for open in std::mem::take(&mut self.choices) {
            let (reason, stop) = open.finish.unwrap_or_default();
            let word = finish_word(&reason, stop);
            let (text, index) = ("", open.index);
            let choice = ChoiceOut { text, index, logprobs: None, finish_reason: Some(word) };
            self.chunk(&[choice], None, out);
        }
        if let Some(usage) = self.usage.filter(|_| self.request.stream_usage) {
            self.chunk(&[], Some(UsageOut::of(&usage)), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl Encode for Encoder {
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        match event {
            ChatEvent::Start { id, model, .. } if !self.has_begun => {
                self.id = self.id.take().or_else(|| id.clone());
                self.model = self.model.take().or_else(|| model.clone());
            }
            ChatEvent::Text { choice, text } => {
                if let Some(open) = self.open(*choice) {
                    open.has_text = true;
                }
                self.text(*choice, text, out);
            }
            // All there is for words of any kind is text; beside text, they would say it twice.
            ChatEvent::Refusal { choice, text } | ChatEvent::Transcript { choice, text } => {
                let has_text = self.open(*choice).is_some_and(|open| open.has_text);
                if !has_text {
                    self.text(*choice, text, out);
                }
            }
            ChatEvent::Logprobs { choice, tokens } => self.logprobs(*choice, tokens, out),
            ChatEvent::Finish { choice, reason, stop } => {
                if let Some(open) = self.open(*choice) {
                    open.finish = Some((reason.clone(), *stop));
                }
            }
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
            ChatEvent::Error(error) => {
                out.extend_from_slice(b"data: ");
                failure::write(500, error, out);
                out.extend_from_slice(b"\n\n");
                self.is_over = true;
            }
            ChatEvent::Done => {
                self.done(out);
                self.is_over = true;
            }
            _ => {}
        }
    }
}
