//! Turns `generateContent` answers, whole or streamed, into events.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::Citation;
use crate::chat::Maker;
use crate::chat::Sealed;
use crate::chat::Stop;
use crate::chat::TokenLogprob;
use crate::chat::Usage;
use crate::wire::Decode;
use crate::wire::gemini::chunk;
use crate::wire::gemini::chunk::Chunk;
use crate::wire::gemini::chunk::Mark;
use crate::wire::gemini::failure;
use crate::wire::gemini::partial::Arguments;
use crate::wire::gemini::span::Widths;
use crate::wire::seal;
use crate::wire::sse;

/// Begins the word for a prompt that was blocked, before Google's reason.
pub const BLOCKED: &str = "blocked:";

/// Reads a whole body; a list is a stream that was not asked for as server-sent events.
pub fn body(body: &str) -> Vec<ChatEvent> {
    let mut events = Vec::new();
    let mut decoder = Decoder::default();
    if body.trim_start().starts_with('[') {
        match serde_json::from_str::<Vec<&RawValue>>(body) {
            Ok(chunks) if !chunks.is_empty() => {
                chunks.into_iter().for_each(|chunk| decoder.read(chunk.get(), &mut events));
            }
            Ok(_) => events.push(ChatEvent::Error(failure::read(&Value::Null))),
            Err(error) => events.push(ChatEvent::Error(failure::not_json(&error))),
        }
    } else {
        decoder.read(body, &mut events);
    }
    if !events.iter().any(|event| matches!(event, ChatEvent::Error(_))) {
        decoder.close_all(&mut events);
        events.push(ChatEvent::Done);
    }
    events
}

/// What a stream has said so far, as far as later chunks need it.
#[derive(Default)]
pub struct Decoder {
    started: bool,
    usage: chunk::Usage,
    choices: Vec<Choice>,
}

#[derive(Default)]
struct Choice {
    calls: u32,
    /// The call whose arguments still come.
    open: Option<Open>,
    said: Widths,
    cited: Vec<Citation>,
    has_searched: bool,
}

struct Open {
    index: u32,
    id: Option<String>,
    arguments: Arguments,
}

impl Decode for Decoder {
    fn decode(&mut self, event: &sse::Event, out: &mut Vec<ChatEvent>) {
        // Some servers add OpenAI's end mark.
        if event.data.trim() == "[DONE]" {
            self.close_all(out);
            out.push(ChatEvent::Done);
        } else {
            self.read(&event.data, out);
        }
    }
}

impl Decoder {
    fn read(&mut self, json: &str, out: &mut Vec<ChatEvent>) {
        if let Err(error) = chunk::parse(json, |chunk| self.chunk(chunk, json, out)) {
            out.push(ChatEvent::Error(failure::not_json(&error)));
        }
    }

    fn chunk(&mut self, chunk: Chunk<'_>, json: &str, out: &mut Vec<ChatEvent>) {
        let Chunk { response_id: id, model_version: model, candidates, .. } = chunk;
        let is_answer = id.is_some() || candidates.is_some() || chunk.usage_metadata.is_some();
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            let error = Value::Object(serde_json::Map::from_iter([("error".to_owned(), error)]));
            out.push(ChatEvent::Error(failure::read(&error)));
            return;
        }
        let blocked = chunk.prompt_feedback.and_then(|feedback| feedback.block_reason);
        if !is_answer && model.is_none() && blocked.is_none() {
            let value = serde_json::from_str(json).unwrap_or(Value::Null);
            out.push(ChatEvent::Error(failure::read(&value)));
            return;
        }
        if !self.started && (id.is_some() || model.is_some()) {
            self.started = true;
            let own = |word: Option<chunk::Word<'_>>| word.map(|word| word.0.into_owned());
            out.push(ChatEvent::Start { id: own(id), model: own(model), fingerprint: None });
        }
        let candidates = candidates.unwrap_or_default();
        if let Some(reason) = blocked.filter(|_| candidates.is_empty()) {
            let (reason, stop) = (format!("{BLOCKED}{reason}"), Some(Stop::ContentFilter));
            out.push(ChatEvent::Finish { choice: 0, reason, stop });
        }
        for (at, candidate) in (0..).zip(candidates) {
            self.candidate(candidate.index.unwrap_or(at), candidate, out);
        }
        if let Some(usage) = chunk.usage_metadata {
            self.count(usage, out);
        }
    }

    fn candidate(&mut self, at: u32, candidate: chunk::Candidate, out: &mut Vec<ChatEvent>) {
        let mut lone = Choice::default();
        let choice = match usize::try_from(at).ok().filter(|at| *at < MAX_CHOICES) {
            Some(place) => {
                if place >= self.choices.len() {
                    self.choices.resize_with(place + 1, Choice::default);
                }
                self.choices.get_mut(place).unwrap_or(&mut lone)
            }
            None => &mut lone,
        };
        let parts = candidate.content.and_then(|content| content.parts);
        parts.into_iter().flatten().for_each(|part| choice.part(at, part, out));
        if let Some(logprobs) = candidate.logprobs_result {
            out.extend(tokens(at, *logprobs));
        }
        if let Some(citations) = candidate.citation_metadata {
            choice.recited(at, *citations, out);
        }
        if let Some(grounding) = candidate.grounding_metadata {
            choice.grounded(at, *grounding, out);
        }
        let fetched = candidate.url_context_metadata.and_then(|context| context.url_metadata);
        if fetched.is_some_and(|pages| !pages.is_empty()) {
            out.push(ChatEvent::Other { choice: at, kind: "urlContext".to_owned() });
        }
        if let Some(reason) = candidate.finish_reason.filter(|reason| !reason.is_empty()) {
            choice.close(at, out);
            let stop = stop(&reason, choice.calls > 0);
            out.push(ChatEvent::Finish { choice: at, reason, stop });
        }
    }

    /// Counts come with every chunk, and the last ones count; what was counted and is not any more
    /// was taken back. Chunks that count nothing still have the field.
    fn count(&mut self, next: chunk::Usage, out: &mut Vec<ChatEvent>) {
        let is_count = next.prompt_token_count.is_some() || next.total_token_count.is_some();
        let before = self.usage;
        let usage = if is_count {
            next
        } else {
            chunk::Usage {
                candidates_token_count: next
                    .candidates_token_count
                    .or(before.candidates_token_count),
                thoughts_token_count: next.thoughts_token_count.or(before.thoughts_token_count),
                ..before
            }
        };
        if usage != before {
            self.usage = usage;
            out.push(ChatEvent::Usage(usage.into()));
        }
    }

    fn close_all(&mut self, out: &mut Vec<ChatEvent>) {
        for (at, choice) in (0..).zip(&mut self.choices) {
            choice.close(at, out);
        }
    }
}

/// More answers than anyone asks for; what comes beyond is read without memory.
const MAX_CHOICES: usize = 256;

impl Choice {
    fn part(&mut self, choice: u32, part: chunk::Part, out: &mut Vec<ChatEvent>) {
        let signature = part.thought_signature.filter(|signature| !signature.is_empty());
        let is_thought = part.thought == Some(true);
        let on = if let Some(call) = part.function_call {
            match self.call(choice, *call, out) {
                Some(index) => Sealed::ToolCall(index),
                None => return,
            }
        } else if let Some(blob) = part.inline_data {
            out.push(ChatEvent::Media { choice, mime: blob.mime_type, data: blob.data });
            return;
        } else if let Some(kind) = own_kind(&part.executable_code, &part.code_execution_result)
            .or_else(|| tool_kind(&part.tool_call, &part.tool_response, &part.file_data))
        {
            // A seal on what only Google can say has nothing to return with elsewhere.
            out.push(ChatEvent::Other { choice, kind: kind.to_owned() });
            return;
        } else {
            let text = part.text.unwrap_or_default();
            let has_words = !text.is_empty();
            if has_words && is_thought {
                out.push(ChatEvent::Reasoning { choice, text });
            } else if has_words {
                self.said.push(&text);
                out.push(ChatEvent::Text { choice, text });
            }
            if is_thought { Sealed::Reasoning } else { Sealed::Text }
        };
        let Some(signature) = signature else { return };
        let seal = seal::read(&signature, Maker::Gemini);
        // Only we write another maker's seal on words, and that is all there was.
        let is_hidden = on == Sealed::Text && seal.by != Maker::Gemini;
        let on = if is_hidden { Sealed::Hidden } else { on };
        out.push(ChatEvent::Seal { choice, on, seal });
    }

    /// A call, or more of the open one; gives its index.
    fn call(
        &mut self,
        choice: u32,
        call: chunk::FunctionCall,
        out: &mut Vec<ChatEvent>,
    ) -> Option<u32> {
        let name = call.name.filter(|name| !name.is_empty());
        let id = call.id.filter(|id| !id.is_empty());
        let goes_on = self.open.as_ref().is_some_and(|open| {
            name.is_none() && (id.is_none() || id == open.id) || (id.is_some() && id == open.id)
        });
        let args = call.args.map(arguments).unwrap_or_default();
        let pieces = call.partial_args.unwrap_or_default();
        let will_continue = call.will_continue == Some(true);
        if !goes_on {
            self.close(choice, out);
            if name.is_none() && id.is_none() && args.is_empty() && pieces.is_empty() {
                return None;
            }
            let index = self.calls;
            self.calls = self.calls.saturating_add(1);
            let is_whole = pieces.is_empty() && !will_continue;
            let whole = if is_whole { args.clone() } else { String::new() };
            let begun = id.clone();
            out.push(ChatEvent::ToolCall { choice, index, id, name, arguments: whole });
            if is_whole {
                return Some(index);
            }
            self.open = Some(Open { index, id: begun, arguments: Arguments::default() });
        }
        let open = self.open.as_mut()?;
        let index = open.index;
        pieces.into_iter().for_each(|piece| open.arguments.push(piece));
        open.arguments.merge(&args);
        if !will_continue {
            self.close(choice, out);
        }
        Some(index)
    }

    /// The open call is whole; its last mark may be missing.
    fn close(&mut self, choice: u32, out: &mut Vec<ChatEvent>) {
        let Some(Open { index, arguments, .. }) = self.open.take() else { return };
        let arguments = arguments.finish();
        if !arguments.is_empty() {
            out.push(ChatEvent::ToolCall { choice, index, id: None, name: None, arguments });
        }
    }

    fn recited(&mut self, choice: u32, all: chunk::Citations, out: &mut Vec<ChatEvent>) {
        for source in all.citation_sources.into_iter().flatten() {
            let span = source.end_index.map(|end| self.span(source.start_index, end));
            let citation = Citation { url: source.uri, title: source.title, quote: None, span };
            self.cite(choice, citation, out);
        }
    }

    fn grounded(&mut self, choice: u32, all: chunk::Grounding, out: &mut Vec<ChatEvent>) {
        let has_searched = all.web_search_queries.is_some_and(|queries| !queries.is_empty());
        if has_searched && !self.has_searched {
            self.has_searched = true;
            out.push(ChatEvent::Other { choice, kind: "googleSearch".to_owned() });
        }
        let sources = all.grounding_chunks.unwrap_or_default();
        let mut is_used = vec![false; sources.len()];
        for support in all.grounding_supports.into_iter().flatten() {
            // Offsets count from the start of their part; of later parts we do not know where.
            let segment = support.segment.filter(|segment| segment.part_index.unwrap_or(0) == 0);
            let span = segment.and_then(|it| Some(self.span(it.start_index, it.end_index?)));
            for index in support.grounding_chunk_indices.into_iter().flatten() {
                let Some(source) = sources.get(index) else { continue };
                is_used.get_mut(index).into_iter().for_each(|used| *used = true);
                self.cite(choice, cited(source, span), out);
            }
        }
        for (source, _) in sources.iter().zip(is_used).filter(|(_, is_used)| !is_used) {
            self.cite(choice, cited(source, None), out);
        }
    }

    /// Later chunks of a stream may repeat what earlier ones cite.
    fn cite(&mut self, choice: u32, citation: Citation, out: &mut Vec<ChatEvent>) {
        if citation != Citation::default() && !self.cited.contains(&citation) {
            self.cited.push(citation.clone());
            out.push(ChatEvent::Citation { choice, citation });
        }
    }

    fn span(&self, start: Option<u64>, end: u64) -> (u64, u64) {
        (self.said.to_char(start.unwrap_or(0)), self.said.to_char(end))
    }
}

fn cited(source: &chunk::GroundingChunk, span: Option<(u64, u64)>) -> Citation {
    let page = source.web.as_ref().or(source.retrieved_context.as_ref()).or(source.maps.as_ref());
    let Some(page) = page else { return Citation::default() };
    let (url, title) = (page.uri.clone(), page.title.clone());
    Citation { url, title, quote: page.text.clone(), span }
}

fn own_kind(code: &Mark, result: &Mark) -> Option<&'static str> {
    let code = code.as_ref().map(|_| "executableCode");
    code.or(result.as_ref().map(|_| "codeExecutionResult"))
}

fn tool_kind(call: &Mark, response: &Mark, file: &Mark) -> Option<&'static str> {
    let call = call.as_ref().map(|_| "toolCall");
    let response = response.as_ref().map(|_| "toolResponse");
    call.or(response).or(file.as_ref().map(|_| "fileData"))
}

/// Arguments in one line: bodies are often indented, and a line end breaks other dialects' streams.
fn arguments(raw: Box<RawValue>) -> String {
    let text = raw.get();
    if text == "null" {
        return String::new();
    }
    if text.contains(['\n', '\r'])
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        return value.to_string();
    }
    String::from(Box::<str>::from(raw))
}

fn tokens(choice: u32, logprobs: chunk::Logprobs) -> Option<ChatEvent> {
    let mut rivals = logprobs.top_candidates.into_iter();
    let token = |chosen: chunk::Token| {
        let top = rivals.next().unwrap_or_default().candidates.into_iter();
        TokenLogprob {
            token: chosen.token,
            logprob: chosen.log_probability,
            top: top.map(|rival| (rival.token, rival.log_probability)).collect(),
        }
    };
    let tokens: Vec<_> = logprobs.chosen_candidates.into_iter().map(token).collect();
    (!tokens.is_empty()).then_some(ChatEvent::Logprobs { choice, tokens })
}

/// Google ends with `STOP` also when it wants tools called.
fn stop(reason: &str, has_calls: bool) -> Option<Stop> {
    match reason {
        "STOP" if has_calls => Some(Stop::ToolCalls),
        "STOP" => Some(Stop::Stop),
        "MAX_TOKENS" => Some(Stop::Length),
        "BLOCKLIST"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "IMAGE_SAFETY"
        | "MODEL_ARMOR"
        | "PROHIBITED_CONTENT"
        | "RECITATION"
        | "SAFETY"
        | "SPII" => Some(Stop::ContentFilter),
        _ => None,
    }
}

impl From<chunk::Usage> for Usage {
    fn from(usage: chunk::Usage) -> Self {
        let (said, thought) = (usage.candidates_token_count, usage.thoughts_token_count);
        let output = said.map(|said| said.saturating_add(thought.unwrap_or(0))).or(thought);
        Self {
            input_tokens: usage.prompt_token_count,
            output_tokens: output,
            total_tokens: usage.total_token_count,
            cached_input_tokens: usage.cached_content_token_count,
            cache_write_tokens: None,
            cache_write_1h_tokens: None,
            reasoning_tokens: thought,
        }
    }
}
