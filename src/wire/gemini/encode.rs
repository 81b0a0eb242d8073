//! Writes events as a stream of `generateContent` chunks.

use serde::Serialize;

use crate::chat::ChatEvent;
use crate::chat::Maker;
use crate::chat::ProviderError;
use crate::chat::Sealed;
use crate::chat::Usage;
use crate::wire::Asked;
use crate::wire::Encode;
use crate::wire::gemini::answer::Choice;
use crate::wire::gemini::answer::Ended;
use crate::wire::gemini::decode::BLOCKED;
use crate::wire::gemini::failure;
use crate::wire::gemini::shape::Blob;
use crate::wire::gemini::shape::Candidate;
use crate::wire::gemini::shape::Chunk;
use crate::wire::gemini::shape::Content;
use crate::wire::gemini::shape::Grounding;
use crate::wire::gemini::shape::Logprobs;
use crate::wire::gemini::shape::Part;
use crate::wire::gemini::shape::PromptFeedback;
use crate::wire::gemini::shape::UsageOut;
use crate::wire::openai::json_into;
use crate::wire::seal;

/// A stream being written.
///
/// Words are written as they come. Calls wait until they are whole, because their arguments must
/// be an object; why the answer ended waits for the last usage, because they share a chunk.
pub struct Encoder {
    id: String,
    model: String,
    is_started: bool,
    in_array: bool,
    has_written: bool,
    /// What follows the words of a chunk: the same every time, so written once.
    tail: Vec<u8>,
    usage: Option<Usage>,
    choices: Vec<Choice>,
}

impl Encoder {
    /// Before the first event.
    pub fn new(asked: &Asked) -> Self {
        Self {
            id: asked.id.clone(),
            model: asked.request.model.clone(),
            is_started: false,
            in_array: asked.in_array,
            has_written: false,
            tail: Vec::new(),
            usage: None,
            choices: Vec::new(),
        }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Start { id, model, .. } => self.start(id.as_ref(), model.as_ref()),
            ChatEvent::Text { choice, text }
            | ChatEvent::Refusal { choice, text }
            | ChatEvent::Transcript { choice, text } => {
                if Choice::find(&mut self.choices, *choice).says(event, text) {
                    self.words(*choice, text, b"}],\"role\":\"model\"},\"index\":", out);
                }
            }
            ChatEvent::Reasoning { choice, text } => {
                let mark = b",\"thought\":true}],\"role\":\"model\"},\"index\":";
                self.words(*choice, text, mark, out);
            }
            ChatEvent::Media { choice, mime, data } => {
                let inline_data = Some(Blob { mime_type: mime, data });
                self.part(*choice, Part { inline_data, ..Part::default() }, out);
            }
            ChatEvent::Seal { choice, on, seal } => {
                let signature = seal::write(seal, Maker::Gemini);
                let of_choice = Choice::find(&mut self.choices, *choice);
                if let Some(signature) = of_choice.seal_call(*on, signature) {
                    let is_thought = *on == Sealed::Reasoning;
                    let empty = if is_thought { Part::thought("") } else { Part::text("") };
                    let part = Part { thought_signature: Some(signature), ..empty };
                    self.part(*choice, part, out);
                }
            }
            ChatEvent::ToolCall { choice, index, id, name, arguments } => {
                let choice = Choice::find(&mut self.choices, *choice);
                choice.call(*index, id.as_deref(), name.as_deref(), arguments);
            }
            ChatEvent::Citation { choice, citation } => {
                Choice::find(&mut self.choices, *choice).citations.push(citation.clone());
            }
            ChatEvent::Logprobs { choice, tokens } => {
                let logprobs_result = Some(Logprobs::new(tokens));
                let index = *choice;
                self.candidate(Candidate { index, logprobs_result, ..Candidate::default() }, out);
            }
            ChatEvent::Finish { choice, reason, stop } => {
                self.flush(*choice, false, out);
                Choice::find(&mut self.choices, *choice).end(reason, *stop);
            }
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
            ChatEvent::Done => self.done(out),
            ChatEvent::Error(error) => self.fail(error, out),
            // Neither has a place in this dialect's answers.
            ChatEvent::Other { .. } | ChatEvent::Embedding { .. } => {}
        }
    }
}

impl Encoder {
    fn start(&mut self, id: Option<&String>, model: Option<&String>) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        self.id = id.unwrap_or(&self.id).clone();
        self.model = model.unwrap_or(&self.model).clone();
        self.tail.clear();
    }

    /// Nearly all chunks are words, so these are written without looking for anything else.
    fn words(&mut self, index: u32, text: &str, mark: &[u8], out: &mut Vec<u8>) {
        if self.tail.is_empty() {
            self.tail.extend_from_slice(b"}],\"modelVersion\":");
            json_into(&self.model, &mut self.tail);
            self.tail.extend_from_slice(b",\"responseId\":");
            json_into(&self.id, &mut self.tail);
            self.tail.extend_from_slice(if self.in_array { b"}" } else { b"}\r\n\r\n" });
        }
        begin(&mut self.has_written, self.in_array, out);
        out.extend_from_slice(b"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":");
        json_into(&text, out);
        out.extend_from_slice(mark);
        json_into(&index, out);
        out.extend_from_slice(&self.tail);
    }

    fn part(&mut self, index: u32, part: Part<'_>, out: &mut Vec<u8>) {
        let parts = [part];
        let content = Content::new(&parts);
        self.candidate(Candidate { index, content, ..Candidate::default() }, out);
    }

    fn candidate(&mut self, candidate: Candidate<'_>, out: &mut Vec<u8>) {
        begin(&mut self.has_written, self.in_array, out);
        let chunk = Chunk {
            candidates: &[candidate],
            prompt_feedback: None,
            usage_metadata: None,
            model_version: &self.model,
            response_id: &self.id,
        };
        write(&chunk, self.in_array, out);
    }

    /// Writes the calls of a choice, which are whole; after a failure only those that surely are.
    fn flush(&mut self, choice: u32, only_whole: bool, out: &mut Vec<u8>) {
        let of_choice = Choice::find(&mut self.choices, choice);
        let calls = of_choice.take_calls(only_whole);
        if !calls.is_empty() {
            let content = Content::new(&calls);
            self.candidate(Candidate { index: choice, content, ..Candidate::default() }, out);
        }
    }

    fn flush_all(&mut self, only_whole: bool, out: &mut Vec<u8>) {
        let indexes: Vec<u32> = self.choices.iter().map(|choice| choice.index).collect();
        indexes.into_iter().for_each(|index| self.flush(index, only_whole, out));
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        self.flush_all(false, out);
        begin(&mut self.has_written, self.in_array, out);
        let blocked = self.choices.iter().find_map(|choice| match &choice.ended {
            Some(Ended { blocked: Some(reason), .. }) => Some(reason.as_str()),
            _ => None,
        });
        let empty = [Part::text("")];
        let is_said =
            |choice: &&Choice| choice.ended.as_ref().is_none_or(|it| it.blocked.is_none());
        let candidates = self.choices.iter().filter(is_said).map(|choice| Candidate {
            index: choice.index,
            content: Content::new(&empty),
            finish_reason: Some(choice.finish_reason()),
            grounding_metadata: Grounding::new(&choice.citations, &choice.said),
            logprobs_result: None,
        });
        let candidates: Vec<_> = candidates.collect();
        let chunk = Chunk {
            candidates: &candidates,
            prompt_feedback: blocked.map(|block_reason| PromptFeedback { block_reason }),
            usage_metadata: self.usage.as_ref().map(UsageOut::from),
            model_version: &self.model,
            response_id: &self.id,
        };
        write(&chunk, self.in_array, out);
        if self.in_array {
            out.extend_from_slice(b"]");
        }
    }

    fn fail(&mut self, error: &ProviderError, out: &mut Vec<u8>) {
        self.flush_all(true, out);
        begin(&mut self.has_written, self.in_array, out);
        write(&failure::body(failure::status_of(error), error), self.in_array, out);
        if self.in_array {
            out.extend_from_slice(b"]");
        }
    }
}

/// What comes before a chunk.
fn begin(has_written: &mut bool, in_array: bool, out: &mut Vec<u8>) {
    let mark: &[u8] = match (in_array, *has_written) {
        (false, _) => b"data: ",
        (true, false) => b"[",
        (true, true) => b",\r\n",
    };
    out.extend_from_slice(mark);
    *has_written = true;
}

fn write(chunk: &impl Serialize, in_array: bool, out: &mut Vec<u8>) {
    // Writing to memory does not fail, and neither do strings and numbers as JSON.
    let _ = serde_json::to_writer(&mut *out, chunk);
    if !in_array {
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// The reason of a block, without the mark that the decoder puts before it.
pub fn block_reason(reason: &str) -> Option<String> {
    reason.strip_prefix(BLOCKED).map(str::to_owned)
}
