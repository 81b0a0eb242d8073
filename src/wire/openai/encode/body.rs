//! Answers as whole chat completions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::Choice;
use crate::chat::DialectName;
use crate::chat::Seal;
use crate::chat::Sealed;
use crate::chat::fold::Fold;
use crate::chat::request::Request;
use crate::wire::Asked;
use crate::wire::openai::detail::DetailOut;
use crate::wire::openai::encode::call::made_up_id;
use crate::wire::openai::encode::count;
use crate::wire::openai::encode::finish_word;
use crate::wire::openai::encode::shape::AnnotationOut;
use crate::wire::openai::encode::shape::AudioOut;
use crate::wire::openai::encode::shape::CallOut;
use crate::wire::openai::encode::shape::FunctionOut;
use crate::wire::openai::encode::shape::ImageOut;
use crate::wire::openai::json_into;
use crate::wire::openai::usage::LogprobsOut;
use crate::wire::openai::usage::UsageOut;

/// Whether the application asked in the old form, with `functions`, and so expects its answer.
pub fn wants_functions(request: &Request) -> bool {
    let functions = request.spelling.get("functions").and_then(Value::as_array);
    request.dialect == DialectName::OpenAi
        && functions.is_some_and(|functions| functions.len() == request.tools.len())
}

/// The whole body.
pub fn write(asked: &Asked, events: &[ChatEvent]) -> Vec<u8> {
    let mut fold = Fold::new();
    events.iter().for_each(|event| fold.push(event.clone()));
    let mut answer = fold.finish();
    if answer.choices.is_empty() {
        // Clients look at the first choice without asking whether there is one.
        answer.choices.push(Choice::default());
    }
    let thoughts: Vec<Thoughts> =
        answer.choices.iter().map(|c| Thoughts::of(asked, c, events)).collect();
    let mut out = Vec::new();
    json_into(&Body::of(asked, &answer, &thoughts), &mut out);
    out
}

#[derive(Serialize)]
struct Body<'a> {
    id: String,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<ChoiceOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageOut>,
}

impl<'a> Body<'a> {
    fn of(asked: &'a Asked, answer: &'a Answer, thoughts: &'a [Thoughts]) -> Self {
        let id = answer.id.clone().unwrap_or_else(|| format!("chatcmpl-{}", asked.id));
        let choices = answer.choices.iter().zip(thoughts);
        Self {
            id,
            object: "chat.completion",
            created: asked.created_s,
            model: answer.model.as_ref().unwrap_or(&asked.request.model),
            choices: choices.map(|(c, thoughts)| ChoiceOut::of(asked, c, thoughts)).collect(),
            usage: answer.usage.as_ref().map(UsageOut::of),
        }
    }
}

#[derive(Serialize)]
struct ChoiceOut<'a> {
    index: u32,
    message: MessageOut<'a>,
    logprobs: Option<LogprobsOut<'a>>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct MessageOut<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<DetailOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<AnnotationOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImageOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<AudioOut<'a>>,
}

impl<'a> ChoiceOut<'a> {
    fn of(asked: &Asked, choice: &'a Choice, thoughts: &'a Thoughts) -> Self {
        let is_old = wants_functions(&asked.request);
        let has_calls = !choice.tool_calls.is_empty();
        let reason = choice.finish.as_deref().unwrap_or_default();
        Self {
            index: choice.index,
            message: MessageOut::of(asked, choice, thoughts, is_old),
            logprobs: (!choice.logprobs.is_empty()).then(|| LogprobsOut::of(&choice.logprobs)),
            finish_reason: finish_word(reason, choice.stop, has_calls, is_old),
        }
    }
}

impl<'a> MessageOut<'a> {
    fn of(asked: &Asked, choice: &'a Choice, thoughts: &'a Thoughts, is_old: bool) -> Self {
        let some = |text: &'a String| (!text.is_empty()).then_some(text.as_str());
        let says_else = !choice.tool_calls.is_empty()
            || !choice.refusal.is_empty()
            || !choice.media.is_empty()
            || !choice.transcript.is_empty();
        let arguments = |text: &'a String| some(text).unwrap_or("{}");
        let first = choice.tool_calls.first().filter(|_| is_old);
        let is_sound = |mime: &str| mime.starts_with("audio/");
        let pictures = choice.media.iter().filter(|(mime, _)| !is_sound(mime));
        let sources = choice.citations.iter().map(|citation| AnnotationOut::of(citation, None));
        Self {
            role: "assistant",
            content: some(&choice.text).or((!says_else).then_some("")),
            refusal: some(&choice.refusal),
            reasoning_content: some(&choice.reasoning),
            reasoning_details: thoughts.details(is_old),
            tool_calls: if is_old { Vec::new() } else { thoughts.calls(choice) },
            function_call: first.map(|call| FunctionOut {
                name: Some(&call.name),
                arguments: arguments(&call.arguments),
            }),
            annotations: sources.collect(),
            images: pictures.map(|(mime, data)| ImageOut::of(mime, data, None)).collect(),
            audio: thoughts.audio(asked, choice),
        }
    }
}

/// What of a choice is not in its fold: where its seals belong, made-up ids, sound put together.
struct Thoughts {
    /// Words of reasoning and the seal that ends them; hidden ones have no words.
    sealed: Vec<(Option<String>, Seal)>,
    /// Seals on tool calls, by the call's place among the choice's.
    on_calls: Vec<(usize, Seal)>,
    ids: Vec<String>,
    sound: Option<String>,
}

impl Thoughts {
    fn of(asked: &Asked, choice: &Choice, events: &[ChatEvent]) -> Self {
        let (mut sealed, mut on_calls, mut words) = (Vec::new(), Vec::new(), String::new());
        for event in events {
            match event {
                ChatEvent::Reasoning { choice: of, text } if *of == choice.index => {
                    words.push_str(text);
                }
                ChatEvent::Seal { choice: of, on, seal } if *of == choice.index => {
                    let call = match on {
                        Sealed::ToolCall(index) => place_of(choice, *index),
                        _ => None,
                    };
                    match (on, call) {
                        (_, Some(at)) => on_calls.push((at, seal.clone())),
                        (Sealed::Reasoning, _) => {
                            sealed.push((Some(std::mem::take(&mut words)), seal.clone()));
                        }
                        _ => sealed.push((None, seal.clone())),
                    }
                }
                _ => {}
            }
        }
        let ids = choice.tool_calls.iter().enumerate().map(|(at, call)| {
            call.id.clone().unwrap_or_else(|| made_up_id(&asked.id, choice.index, at))
        });
        Self { sealed, on_calls, ids: ids.collect(), sound: sound(choice) }
    }

    fn details(&self, is_old: bool) -> Vec<DetailOut<'_>> {
        let mut details = Vec::new();
        for (words, seal) in &self.sealed {
            let index = count(&details);
            match words {
                Some(words) => details.extend(DetailOut::signed(words, seal, index)),
                None => details.push(DetailOut::hidden(seal, None, index)),
            }
        }
        // The old form of a call has no place for a seal.
        for (_, seal) in self.on_calls.iter().filter(|_| is_old) {
            details.push(DetailOut::hidden(seal, None, count(&details)));
        }
        details
    }

    fn calls<'a>(&'a self, choice: &'a Choice) -> Vec<CallOut<'a>> {
        let calls = choice.tool_calls.iter().zip(&self.ids).enumerate();
        let calls = calls.map(|(at, (call, id))| {
            let seal = self.on_calls.iter().rev().find(|(of, _)| *of == at).map(|(_, seal)| seal);
            let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
            CallOut::whole(id, &call.name, arguments, seal)
        });
        calls.collect()
    }

    fn audio<'a>(&'a self, asked: &Asked, choice: &'a Choice) -> Option<AudioOut<'a>> {
        if self.sound.is_none() && choice.transcript.is_empty() {
            return None;
        }
        Some(AudioOut {
            data: Some(self.sound.as_deref().unwrap_or_default()),
            transcript: Some(&choice.transcript),
            expires_at: Some(asked.created_s),
            ..AudioOut::piece(&asked.id)
        })
    }
}

/// The last call of that index, as the pieces after it belong to it.
fn place_of(choice: &Choice, index: u32) -> Option<usize> {
    choice.tool_calls.iter().rposition(|call| call.index == index)
}

/// The sounds of a choice as one; pieces that are no base64 are put together as they are.
fn sound(choice: &Choice) -> Option<String> {
    let sounds = choice.media.iter().filter(|(mime, _)| mime.starts_with("audio/"));
    let pieces: Vec<&String> = sounds.map(|(_, data)| data).collect();
    let (first, rest) = pieces.split_first()?;
    if rest.is_empty() {
        return Some((*first).clone());
    }
    let bytes: Result<Vec<Vec<u8>>, _> =
        pieces.iter().map(|piece| STANDARD.decode(piece.as_bytes())).collect();
    let whole = bytes.map(|bytes| STANDARD.encode(bytes.concat()));
    Some(whole.unwrap_or_else(|_| pieces.iter().map(|piece| piece.as_str()).collect()))
}
