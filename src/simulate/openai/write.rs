//! Writes chat completions answers, whole or as a stream.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use crate::simulate::reply::{Choice, Finish, Reply, TokenOdds};

use super::DONE;

const FINGERPRINT: &str = "fp_understudy";

/// What identifies one answer.
pub(crate) struct Stamp<'a> {
    pub(crate) id: &'a str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: &'a str,
}

/// A stream, cut into its events.
pub(crate) struct Frames {
    pub(crate) events: Vec<Bytes>,
    /// Events before this one carry content; from here on the stream says that it is complete.
    pub(crate) ending_at: usize,
}

#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<WholeChoice<'a>>,
    usage: Usage,
    service_tier: &'static str,
    system_fingerprint: &'static str,
}

#[derive(Serialize)]
struct WholeChoice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Logprobs<'a> {
    content: Vec<Logprob<'a>>,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct Logprob<'a> {
    token: &'a str,
    logprob: f64,
    bytes: &'a [u8],
    top_logprobs: Vec<TopLogprob<'a>>,
}

#[derive(Serialize)]
struct TopLogprob<'a> {
    token: &'a str,
    logprob: f64,
    bytes: &'a [u8],
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<f64>,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: usize,
    audio_tokens: usize,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: usize,
    audio_tokens: usize,
    accepted_prediction_tokens: usize,
    rejected_prediction_tokens: usize,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// The outer option is absence, the inner one null.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
struct DeltaChoice<'a> {
    index: usize,
    delta: Delta<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<&'static str>,
}

/// The body of a whole answer.
pub(crate) fn whole(stamp: &Stamp<'_>, reply: &Reply) -> Bytes {
    let choices = reply.choices.iter().enumerate().map(|(index, choice)| WholeChoice {
        index,
        message: Message {
            role: "assistant",
            content: choice.calls.is_empty().then_some(choice.text.as_str()),
            refusal: None,
            tool_calls: tool_calls(choice),
        },
        logprobs: logprobs(choice),
        finish_reason: word(choice.finish),
    });
    let body = Whole {
        id: stamp.id,
        object: "chat.completion",
        created: stamp.created,
        model: stamp.model,
        choices: choices.collect(),
        usage: usage(reply),
        service_tier: "default",
        system_fingerprint: FINGERPRINT,
    };
    let mut out = BytesMut::with_capacity(1024).writer();
    put(&mut out, &body);
    out.into_inner().freeze()
}

/// The events of a streamed answer.
pub(crate) fn frames(stamp: &Stamp<'_>, reply: &Reply, include_usage: bool) -> Frames {
    let mut out = Events::new(stamp, include_usage);
    for (index, choice) in reply.choices.iter().enumerate() {
        out.opening(index, choice);
    }
    let longest = reply.choices.iter().map(|choice| choice.ends.len()).max().unwrap_or(0);
    let mut pieces: Vec<_> = reply.choices.iter().map(Choice::pieces).collect();
    for at in 0..longest {
        for (index, (choice, pieces)) in reply.choices.iter().zip(&mut pieces).enumerate() {
            if let Some(piece) = pieces.next() {
                let odds = choice.odds.as_ref().and_then(|odds| odds.get(at));
                out.piece(index, piece, odds);
            }
        }
    }
    for (index, choice) in reply.choices.iter().enumerate() {
        out.calls(index, choice);
    }
    let ending_at = out.cuts.len();
    for (index, choice) in reply.choices.iter().enumerate() {
        let finish_reason = Some(word(choice.finish));
        out.choice(&DeltaChoice { index, delta: Delta::default(), logprobs: None, finish_reason });
    }
    out.close(include_usage.then(|| usage(reply)), ending_at)
}

/// A whole answer (or a stream's event) with a hole for filler text: what comes before and after.
pub(crate) fn flood(stamp: &Stamp<'_>, stream: bool) -> (Bytes, Bytes) {
    let (object, field) =
        if stream { ("chat.completion.chunk", "delta") } else { ("chat.completion", "message") };
    let head = serde_json::json!({
        "id": stamp.id, "object": object, "created": stamp.created, "model": stamp.model,
    });
    let head = head.to_string();
    let head = head.strip_suffix('}').unwrap_or(&head);
    let data = if stream { "data: " } else { "" };
    let before = format!(
        "{data}{head},\"choices\":[{{\"index\":0,\"{field}\":{{\"role\":\"assistant\",\"content\":\""
    );
    let after = if stream {
        "\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
    } else {
        "\"},\"finish_reason\":\"stop\"}]}"
    };
    (Bytes::from(before), Bytes::from(after))
}

/// Builds all events in one buffer; each event is a slice of it.
struct Events {
    out: bytes::buf::Writer<BytesMut>,
    cuts: Vec<usize>,
    /// What every chunk starts and ends with.
    head: Vec<u8>,
    tail: &'static [u8],
}

impl Events {
    fn new(stamp: &Stamp<'_>, include_usage: bool) -> Self {
        let mut head = b"data: {\"id\":".to_vec();
        put(&mut head, &stamp.id);
        head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        put(&mut head, &stamp.created);
        head.extend_from_slice(b",\"model\":");
        put(&mut head, &stamp.model);
        head.extend_from_slice(b",\"service_tier\":\"default\",\"system_fingerprint\":");
        put(&mut head, &FINGERPRINT);
        head.extend_from_slice(b",\"choices\":[");
        let tail: &[u8] = if include_usage { b"],\"usage\":null}\n\n" } else { b"]}\n\n" };
        let out = BytesMut::with_capacity(16 * 1024).writer();
        Self { out, cuts: Vec::with_capacity(64), head, tail }
    }

    fn opening(&mut self, index: usize, choice: &Choice) {
        let content = Some(choice.calls.is_empty().then_some(""));
        let delta = Delta { role: Some("assistant"), content, tool_calls: Vec::new() };
        self.choice(&DeltaChoice { index, delta, logprobs: None, finish_reason: None });
    }

    fn piece(&mut self, index: usize, piece: &str, odds: Option<&TokenOdds>) {
        let one = |odds| Logprobs { content: vec![logprob(piece, odds)], refusal: None };
        let logprobs = odds.map(one);
        let delta = Delta { content: Some(Some(piece)), ..Delta::default() };
        self.choice(&DeltaChoice { index, delta, logprobs, finish_reason: None });
    }

    fn calls(&mut self, index: usize, choice: &Choice) {
        for (number, call) in choice.calls.iter().enumerate() {
            let opening = ToolCall {
                index: Some(number),
                id: Some(&call.id),
                kind: Some("function"),
                function: Function { name: Some(&call.name), arguments: "" },
            };
            self.call(index, opening);
            for arguments in Choice::saying(call.arguments.clone()).pieces() {
                let function = Function { name: None, arguments };
                self.call(index, ToolCall { index: Some(number), id: None, kind: None, function });
            }
        }
    }

    fn call(&mut self, index: usize, call: ToolCall<'_>) {
        let delta = Delta { tool_calls: vec![call], ..Delta::default() };
        self.choice(&DeltaChoice { index, delta, logprobs: None, finish_reason: None });
    }

    fn choice(&mut self, choice: &DeltaChoice<'_>) {
        self.out.get_mut().extend_from_slice(&self.head);
        put(&mut self.out, choice);
        self.out.get_mut().extend_from_slice(self.tail);
        self.cuts.push(self.out.get_ref().len());
    }

    fn close(mut self, usage: Option<Usage>, ending_at: usize) -> Frames {
        if let Some(usage) = usage {
            self.out.get_mut().extend_from_slice(&self.head);
            self.out.get_mut().extend_from_slice(b"],\"usage\":");
            put(&mut self.out, &usage);
            self.out.get_mut().extend_from_slice(b"}\n\n");
            self.cuts.push(self.out.get_ref().len());
        }
        self.out.get_mut().extend_from_slice(DONE);
        self.cuts.push(self.out.get_ref().len());
        let all = self.out.into_inner().freeze();
        let starts = std::iter::once(0).chain(self.cuts.iter().copied());
        let events = starts.zip(&self.cuts).map(|(from, to)| all.slice(from..*to)).collect();
        Frames { events, ending_at }
    }
}

/// Writing JSON to memory cannot fail: no map key is a non-string and no writer runs full.
fn put<W: Write, T: Serialize + ?Sized>(out: &mut W, value: &T) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}

fn tool_calls(choice: &Choice) -> Vec<ToolCall<'_>> {
    choice
        .calls
        .iter()
        .map(|call| ToolCall {
            index: None,
            id: Some(&call.id),
            kind: Some("function"),
            function: Function { name: Some(&call.name), arguments: &call.arguments },
        })
        .collect()
}

fn logprobs(choice: &Choice) -> Option<Logprobs<'_>> {
    let odds = choice.odds.as_ref()?;
    let content = choice.pieces().zip(odds).map(|(piece, odds)| logprob(piece, odds)).collect();
    Some(Logprobs { content, refusal: None })
}

fn logprob<'a>(token: &'a str, odds: &'a TokenOdds) -> Logprob<'a> {
    let top = |(token, logprob): &'a (String, f64)| TopLogprob {
        token,
        logprob: *logprob,
        bytes: token.as_bytes(),
    };
    let top_logprobs = odds.top.iter().map(top).collect();
    Logprob { token, logprob: odds.logprob, bytes: token.as_bytes(), top_logprobs }
}

fn usage(reply: &Reply) -> Usage {
    let (prompt_tokens, completion_tokens) = (reply.prompt_tokens, reply.completion_tokens());
    Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: prompt_tokens + completion_tokens,
        prompt_tokens_details: PromptDetails { cached_tokens: 0, audio_tokens: 0 },
        completion_tokens_details: CompletionDetails {
            reasoning_tokens: 0,
            audio_tokens: 0,
            accepted_prediction_tokens: 0,
            rejected_prediction_tokens: 0,
        },
        cost: reply.cost_usd,
    }
}

fn word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    }
}
