//! Decides what to answer: echo, persona, recorded answer, recorded verdict, or made-up text.

use serde_json::{Value, json};

use super::Settings;
use super::answers::{Judged, Recorded};
use super::ask::{Ask, Format, Tool, ToolChoice};
use super::chance::{self, Draw};
use super::persona::{Persona, PersonaRole};
use super::prose;
use super::reply::{Call, Choice, Finish, Refusal, Reply, TokenOdds, count_tokens};
use super::schema;
use super::support::Support;
use super::verdict::{self, Letters};

/// The model that answers with the last user message.
const ECHO: &str = "echo";
/// Tokens of framing billed per message and per request.
const TOKENS_PER_TURN: usize = 4;
const TOKENS_PER_REQUEST: usize = 3;

/// Where an answer came from, for the counters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Made,
    Recorded,
    Judged,
}

/// Answers requests.
pub(super) struct Author {
    support: Support,
}

impl Author {
    pub(super) fn new() -> Self {
        Self { support: Support::default() }
    }

    /// The names worth listing; any other name is answered too.
    pub(super) fn models(settings: &Settings) -> Vec<&str> {
        let recorded = settings.answers.iter().flat_map(|answers| answers.models());
        let personas = settings.personas.keys().map(String::as_str);
        let mut names: Vec<&str> = recorded.chain(personas).chain([ECHO, "simulated"]).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(super) fn answer(
        &self,
        settings: &Settings,
        ask: &Ask,
        draw: &Draw,
    ) -> Result<(Reply, Origin), Refusal> {
        let persona = settings.personas.get(&ask.model);
        let (choices, origin) = self.choices(settings, persona, ask, draw)?;
        let mut reply = Reply { choices, prompt_tokens: prompt_tokens(ask), cost_usd: None };
        let price = persona.and_then(|persona| persona.price);
        let completion = reply.completion_tokens();
        reply.cost_usd = price.map(|price| price.cost_usd(reply.prompt_tokens, completion));
        Ok((reply, origin))
    }

    fn choices(
        &self,
        settings: &Settings,
        persona: Option<&Persona>,
        ask: &Ask,
        draw: &Draw,
    ) -> Result<(Vec<Choice>, Origin), Refusal> {
        match persona.map(|persona| &persona.role) {
            Some(PersonaRole::Judge(judge)) => {
                let letters = judge.judge(ask, &self.support, draw);
                return Ok((verdicts(ask, letters), Origin::Judged));
            }
            Some(PersonaRole::Writer(writer)) => {
                if let Some(topic) = self.support.topic_of(ask.last_user()) {
                    let write = |n| words(writer.write(topic, ask, draw, n), ask, draw, n);
                    return Ok((several(ask, write), Origin::Made));
                }
            }
            None => {}
        }
        if ask.model == ECHO {
            let echo = |n| words(ask.last_user().to_owned(), ask, draw, n);
            return Ok((several(ask, echo), Origin::Made));
        }
        if let Some(answers) = settings.answers.as_ref().filter(|_| persona.is_none()) {
            match answers.recorded(&ask.model, ask.last_user()) {
                Recorded::Output(output) => return Ok((recorded(ask, output), Origin::Recorded)),
                Recorded::NotThisMessage => return Err(not_recorded(&ask.model)),
                Recorded::UnknownModel => {}
            }
            match answers.judged(&ask.model, &ask.all_text()) {
                Some((Judged::Preference(preference), a_first)) => {
                    let seen = if a_first { *preference } else { preference.swapped() };
                    return Ok((verdicts(ask, Letters::of(seen)), Origin::Judged));
                }
                Some((Judged::Replies(replies), a_first)) => {
                    // As recorded answers, recorded replies stay whole.
                    return Ok((several(ask, |_| replies.choice(ask, a_first)), Origin::Judged));
                }
                None => {}
            }
        }
        Ok((several(ask, |n| made_up(ask, draw, n)), Origin::Made))
    }
}

fn several(ask: &Ask, make: impl FnMut(usize) -> Choice) -> Vec<Choice> {
    (0..ask.choices).map(make).collect()
}

fn recorded(ask: &Ask, output: &str) -> Vec<Choice> {
    // A recorded answer stays whole: cut by a limit or a stop text, it would not be the record.
    several(ask, |_| with_odds(Choice::saying(output.to_owned()), ask, 0))
}

fn not_recorded(model: &str) -> Refusal {
    let message = format!("The model `{model}` has no recorded answer to this message.");
    Refusal::new(404, message).on("messages").code("no_recorded_answer")
}

fn verdicts(ask: &Ask, letters: Option<Letters>) -> Vec<Choice> {
    several(ask, |_| {
        let mut choice = verdict::choice(ask, letters);
        choice.limit(ask.max_tokens.unwrap_or(usize::MAX));
        choice.odds = choice.odds.map(|mut odds| {
            odds.truncate(choice.ends.len());
            odds
        });
        choice
    })
}

/// An answer from nothing but the request: a tool call, a JSON object or prose.
fn made_up(ask: &Ask, draw: &Draw, number: usize) -> Choice {
    let (model, message) = (ask.model.as_bytes(), ask.last_user().as_bytes());
    let number_bytes = (number as u64).to_le_bytes();
    let mut rng = chance::rng(draw.seed, &[b"answer", model, message, &number_bytes]);
    let tools = called(ask);
    if !tools.is_empty() {
        let mut choice = Choice::saying(String::new());
        choice.calls = tools.into_iter().map(|tool| call(tool, &mut rng)).collect();
        choice.finish = Finish::ToolCalls;
        return choice;
    }
    let text = match &ask.format {
        Format::Text => prose::answer(ask.last_user(), &mut rng),
        Format::Json => {
            let text = prose::answer(ask.last_user(), &mut rng);
            let confidence = f64::from(rng.u32(50..100)) / 100.0;
            json!({"answer": text, "confidence": confidence}).to_string()
        }
        Format::Schema(schema) => schema::example(schema, &mut rng).to_string(),
    };
    words(text, ask, draw, number)
}

/// Applies the request's stop texts and token limit.
fn words(text: String, ask: &Ask, draw: &Draw, number: usize) -> Choice {
    let mut text = text;
    let stops = ask.stop.iter().filter(|stop| !stop.is_empty());
    if let Some(at) = stops.filter_map(|stop| text.find(stop.as_str())).min() {
        text.truncate(at);
    }
    let mut choice = Choice::saying(text);
    choice.limit(ask.max_tokens.unwrap_or(usize::MAX));
    let seed = chance::hash(draw.seed, &[ask.model.as_bytes(), &(number as u64).to_le_bytes()]);
    with_odds(choice, ask, seed)
}

/// Adds made-up log-probabilities when they were asked for.
fn with_odds(mut choice: Choice, ask: &Ask, seed: u64) -> Choice {
    let Some(top) = ask.top_logprobs else { return choice };
    let mut rng = chance::rng(seed, &[choice.text.as_bytes()]);
    let odds = choice.pieces().map(|piece| {
        // The token said has most of the mass; each alternative has a quarter of what is left.
        let said = 0.55 + 0.449 * rng.f64();
        let mut left = 1.0 - said;
        let mut rows = vec![(piece.to_owned(), said.ln())];
        for n in 1..top {
            left *= 0.25;
            rows.push((format!(" {}", (b'a' + (n % 26) as u8) as char), left.ln()));
        }
        rows.truncate(top);
        TokenOdds { logprob: said.ln(), top: rows }
    });
    choice.odds = Some(odds.collect());
    choice
}

/// The tools to call: the forced one, else those whose name the user says.
fn called(ask: &Ask) -> Vec<&Tool> {
    let mut named: Vec<&Tool> = match &ask.tool_choice {
        ToolChoice::Never => return Vec::new(),
        ToolChoice::Named(name) => {
            return ask.tools.iter().filter(|tool| tool.name == *name).collect();
        }
        _ if ask.ends_with_tool_result() => Vec::new(),
        _ => {
            let message = ask.last_user().to_lowercase();
            ask.tools.iter().filter(|tool| mentions(&message, &tool.name)).collect()
        }
    };
    if !ask.parallel_tools {
        named.truncate(1);
    }
    if named.is_empty() && matches!(ask.tool_choice, ToolChoice::Required) {
        named.extend(ask.tools.first());
    }
    named
}

/// Whether the message names the tool, as `get_weather` or as "get weather".
fn mentions(message: &str, tool: &str) -> bool {
    let name = tool.to_lowercase();
    message.contains(&name) || message.contains(&name.replace(['_', '-'], " "))
}

fn call(tool: &Tool, rng: &mut fastrand::Rng) -> Call {
    let arguments = match schema::example(&tool.parameters, rng) {
        Value::Object(object) => Value::Object(object).to_string(),
        _ => "{}".to_owned(),
    };
    let id = format!("call_{:016x}{:08x}", rng.u64(..), rng.u32(..));
    Call { id, name: tool.name.clone(), arguments }
}

fn prompt_tokens(ask: &Ask) -> usize {
    let turns = ask.turns.iter().map(|turn| count_tokens(&turn.text) + TOKENS_PER_TURN);
    let tools = ask.tools.iter().map(|tool| count_tokens(&tool.parameters.to_string()));

    turns.sum::<usize>() + tools.sum::<usize>() + TOKENS_PER_REQUEST
}
